// The browser's own CPU beside the same program outside of it, on the bundled base.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { openBrowser, withPage } from "./browser.mjs";
import { glassesPair, job, recipe, uploadPair } from "./jobs.mjs";
import { keepFigures } from "./measured.mjs";
import { startNatively, trainNatively } from "./native.mjs";
import { apart, readTensors } from "./safetensors.mjs";
import { StaticHost } from "./static-host.mjs";
import { BrowserWorker } from "./worker.mjs";

/** Sums of vectors of 4 instead of 8 numbers, so in another order: 9.8e-6 measured. */
const LOSS = 4e-5;

/** Distance of two LoRAs as a share of the way that they were trained: 1.9e-4 measured. */
const MOVED = 8e-4;

/** Rounds in which browser and command line take turns, so that whatever else runs slows both. */
const ROUNDS = 3;

/** Steps of a round; the first is not counted, in which memory is taken. */
const STEPS = 8;

let host;
let browser;
let pair;

before(async () => {
  [host, browser, pair] = await Promise.all([StaticHost.start(), openBrowser(), glassesPair()]);
});

after(async () => {
  await Promise.all([browser?.close(), host?.dispose()]);
});

test("the same recipe and seed make the same LoRA, and how long a step takes", async () => {
  const asked = { pair, recipe: recipe("addift", { steps: STEPS, rank: 8, alpha: 8 }) };
  const start = await startNatively(asked, asked.recipe);
  const secs = { browser: [], "one thread": [], "two threads": [] };
  let millis;
  await withPage(browser, host, { name: "wasm-cpu", at: host.emptyUrl }, async (page) => {
    const opened = performance.now();
    const worker = await BrowserWorker.start(page, "cpu");
    const ready = performance.now();
    const hashes = await uploadPair(worker, pair);
    for (let round = 0; round < ROUNDS; round += 1) {
      const native = await trainNatively({ ...asked, threads: 1 });
      secs["one thread"].push(...native.secs.slice(1));
      const submitted = performance.now();
      const id = await worker.submit(job("bundled", hashes, asked.recipe));
      const { lora } = await worker.finished(id);
      const [{ heardAt }] = worker.eventsOf(id, "losses");
      // The first round begins with a native run, which the worker does not have to wait for.
      millis ??= { ready: ready - opened, stepped: ready - opened + heardAt - submitted };
      secs.browser.push(...stepSecs(worker, id));
      secs["two threads"].push(...(await trainNatively({ ...asked, threads: 2 })).secs.slice(1));

      const losses = worker.losses(id, "training");
      assert.equal(losses.length, STEPS, "a loss for every step");
      const distance = Math.max(...losses.map((loss, at) => Math.abs(loss / native.losses.training[at] - 1)));
      console.log(`losses: ${distance.toExponential(1)} off`);
      assert.ok(distance <= LOSS, `a loss is ${distance} off`);
      const share = apart(readTensors(await worker.file(lora.id)), native.lora, start.lora);
      console.log(`LoRA: ${share.toExponential(1)} of its way off`);
      assert.ok(share <= MOVED, `the LoRA is ${share} of its way off`);
    }
  });
  await keepFigures("A worker that nothing is cached for, program and base from this machine", {
    "ms until it listens": Math.round(millis.ready),
    "ms until its first step is done": Math.round(millis.stepped),
  });
  const [ours, one, two] = Object.values(secs).map((all) => Math.min(...all));
  const rounded = (value) => Math.round(value * 1000) / 1000;
  await keepFigures("A step of addift on the bundled base, the shortest of three rounds", {
    "s in the browser, CPU": rounded(ours),
    "s natively, one thread": rounded(one),
    "s natively, two threads": rounded(two),
    "browser over one thread": rounded(ours / one),
    "browser over two threads": rounded(ours / two),
  });
});

/** Seconds between the losses of consecutive steps, as the worker's own clock tells them. */
function stepSecs(worker, id) {
  const events = worker.eventsOf(id, "losses");
  return events.slice(1).map(({ at_millis: millis, points }, at) => {
    return (millis - events[at].at_millis) / 1000 / points.length;
  });
}
