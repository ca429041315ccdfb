// The browser's trainer is asked at random moments: just after its welcome, in the middle of runs, while
// they begin and end, while it writes. Every request is answered, and once; and what the page was given
// stays what it is.
//
// $MIMEO_SEED sets other moments.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { openBrowser, withPage } from "./browser.mjs";
import { MICRO, job, microPair, recipe, uploadPair } from "./jobs.mjs";
import { StaticHost } from "./static-host.mjs";
import { BrowserWorker } from "./worker.mjs";

const SEED = Number(process.env.MIMEO_SEED ?? 1);

/** Workers that are asked for a picture just after their welcome, and within how many milliseconds. */
const [STARTS, AFTER_WELCOME] = [6, 15];

/** Requests while one long run goes on, and again while short ones begin and end; many for a soak. */
const REQUESTS = Number(process.env.MIMEO_REQUESTS ?? 400);

/** Milliseconds between two requests that do not come at once. */
const APART = 8;

/** Different pictures that are asked for, by their seeds. */
const PICTURES = [1, 2, 3];

/** What each request is answered by; any but a wish about a job is answered so at every moment. */
const ANSWERS = {
  preview: "preview",
  plan: "plan",
  devices: "devices",
  list_checkpoints: "checkpoints",
  resync: "done",
  submit: "accepted",
  // Of what is not there.
  delete: "rejected",
  delete_copier: "rejected",
  rename_copier: "rejected",
  reorder: "rejected",
  reveal: "rejected",
  score: "rejected",
};

let host;
let browser;

before(async () => {
  [host, browser] = await Promise.all([StaticHost.start(), openBrowser()]);
});

after(async () => {
  await Promise.all([browser?.close(), host?.dispose()]);
});

test("a picture that is asked for just after the welcome is drawn, whatever the moment", async () => {
  const random = chance(SEED);
  await withPage(browser, host, { name: "asked-at-start", at: host.emptyUrl }, async (page) => {
    for (let start = 0; start < STARTS; start += 1) {
      const worker = await BrowserWorker.open(page, "cpu");
      await worker.says("ready");
      await worker.putBase("micro", MICRO);
      const after = Math.floor(random() * AFTER_WELCOME);
      const wish = { after, kind: "preview", body: { preview: drawing(PICTURES[0]) } };
      await worker.hello();
      const [answers] = await worker.askAll([wish]);
      assert.ok(answers.length === 1 && answers[0].preview, `${after} ms later: ${JSON.stringify(answers)}`);
      await worker.terminate();
    }
  });
});

test("requests at random moments are answered, each once", async () => {
  const random = chance(SEED);
  await withPage(browser, host, { name: "asked", at: host.emptyUrl }, async (page) => {
    const worker = await BrowserWorker.start(page, "cpu");
    await worker.putBase("micro", MICRO);
    const hashes = await uploadPair(worker, microPair());
    const short = job("micro", hashes, recipe("plain"));
    const pictures = new Map();
    for (const seed of PICTURES) {
      pictures.set(seed, (await worker.ask("preview", { preview: drawing(seed) })).picture);
    }

    const long = await worker.submit(job("micro", hashes, recipe("plain", { steps: 100_000 })));
    await worker.steps(long, 1);
    const steered = ["pause", "resume", "save_now", "preview_now"];
    const during = storm(random, short, [[10, () => control(long, pick(random, steered))]]);
    assertAnswered(during, await worker.askAll(during), pictures);
    await worker.control(long, "discard");
    await worker.state(long, "stopped");

    // Numbers of jobs that come one after the other, so some of them are not there yet.
    const jobs = Array.from({ length: REQUESTS / 40 }, (_, at) => long + 1 + at);
    const ended = ["pause", "resume", "save_now", "stop_and_keep", "discard", "retry"];
    const between = storm(random, short, [
      [10, () => control(pick(random, jobs), pick(random, ended))],
      [2, () => ({ kind: "submit", body: { job: short } })],
    ]);
    assertAnswered(between, await worker.askAll(between), pictures);
    assert.ok(between.filter(({ kind }) => kind === "submit").length >= 5, "jobs begin and end meanwhile");
  });
});

test("what needs another base than a paused run does not wait for it", async () => {
  await withPage(browser, host, { name: "asked-while-paused", at: host.emptyUrl }, async (page) => {
    const worker = await BrowserWorker.start(page, "cpu");
    await worker.putBase("micro", MICRO);
    const hashes = await uploadPair(worker, microPair());
    const run = await worker.submit(job("micro", hashes, recipe("plain", { steps: 100_000 })));
    await worker.steps(run, 1);
    await worker.control(run, "pause");
    await worker.state(run, "paused");
    const other = { ...drawing(PICTURES[0]), base: "bundled" };
    await assert.rejects(worker.ask("preview", { preview: other }), /Resume or end that run/);
    await worker.ask("preview", { preview: drawing(PICTURES[0]) });
  });
});

test("a file that the page was given stays what it was when the trainer writes that file again", async () => {
  await withPage(browser, host, { name: "held", at: host.emptyUrl }, async (page) => {
    const worker = await BrowserWorker.start(page, "cpu");
    await worker.putBase("micro", MICRO);
    const pair = microPair();
    const hashes = await uploadPair(worker, pair);
    const picture = await worker.hold(`blobs/${hashes.original}`);
    await uploadPair(worker, pair);
    assert.deepEqual(await picture.read(), pair.original, "a picture that was sent again");

    const { picture: id } = await worker.ask("preview", { preview: drawing(PICTURES[0]) });
    const drawn = await worker.hold(`blobs/${id}`);
    const before = await worker.get(`blobs/${id}`);
    await worker.ask("preview", { preview: drawing(PICTURES[0]) });
    assert.deepEqual(await drawn.read(), before, "a picture that was drawn again");

    const run = await worker.submit(job("micro", hashes, recipe("plain", { steps: 100_000 })));
    await worker.steps(run, 1);
    await worker.control(run, "pause");
    await worker.state(run, "paused");
    const told = worker.losses(run, "training").length;
    const state = await worker.hold(`states/${run}`);
    await worker.control(run, "resume");
    await worker.steps(run, told + 1);
    await worker.control(run, "pause");
    await worker.state(run, "paused");
    const newer = await worker.get(`states/${run}`);
    const older = await state.read();
    assert.ok(older.length > 0 && !older.equals(newer), "a state that was saved, before a newer one");
    await worker.control(run, "discard");
    await worker.state(run, "stopped");
    assert.deepEqual(await state.read(), older, "and after it was removed");
  });
});

/** Many requests at random moments: those that can always be made, and others by their weights. */
function storm(random, short, others) {
  const always = [
    [2, () => ({ kind: "preview", body: { preview: drawing(pick(random, PICTURES)) } })],
    [20, () => ({ kind: "plan", body: { job: short } })],
    [15, () => ({ kind: "devices" })],
    [10, () => ({ kind: "list_checkpoints" })],
    [10, () => ({ kind: "resync", body: { job: 1, after: 1 << 30 } })],
    [5, () => ({ kind: "delete", body: { job: 99_999 } })],
    [5, () => ({ kind: "delete_copier", body: { copier: 99_999 } })],
    [5, () => ({ kind: "rename_copier", body: { copier: 99_999, name: "none" } })],
    [5, () => ({ kind: "reorder", body: { job: 99_999, before: null } })],
    [5, () => ({ kind: "reveal", body: { file: 99_999 } })],
    [5, () => ({ kind: "score", body: { file: 99_999 } })],
  ];
  const all = [...always, ...others].flatMap(([weight, make]) => Array(weight).fill(make));
  return Array.from({ length: REQUESTS }, () => {
    // Half of them come together with the one before.
    const after = random() < 0.5 ? 0 : Math.ceil(random() * APART);
    return { after, ...pick(random, all)() };
  });
}

function control(job, control) {
  return { kind: "control", body: { job, control } };
}

function drawing(seed) {
  return { base: "micro", canvas: "native", negative_prompt: "", loras: [], prompt: "smile", seed };
}

function assertAnswered(wishes, answers, pictures) {
  wishes.forEach(({ kind, body }, at) => {
    const shown = `${kind}, request ${at}: ${JSON.stringify(answers[at])}`;
    assert.equal(answers[at].length, 1, shown);
    const [[answer, content]] = Object.entries(answers[at][0]);
    // Whether a wish about a job comes in time depends on the moment.
    const isRight = kind === "control" ? ["done", "rejected"].includes(answer) : answer === ANSWERS[kind];
    assert.ok(isRight, shown);
    if (kind === "preview") {
      assert.equal(content.picture, pictures.get(body.preview.seed), shown);
    }
  });
}

/** Numbers from 0 to 1, the same for the same seed: the generator of the C standard's example. */
function chance(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) / 2 ** 24;
  };
}

function pick(random, choices) {
  return choices[Math.floor(random() * choices.length)];
}
