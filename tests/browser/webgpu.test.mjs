// Training on WebGPU beside training on the CPU, in the browser and outside of it: the real worker,
// spoken with as the page does.
//
// There is no GPU where this runs, and SwiftShader, which stands in for one, takes half a minute for a
// step of the bundled base. So it is the base in miniature: one block of each kind, 32 channels, 8 × 8
// latents. Whatever WebGPU does on it is compiled here for the first time, and the tests follow one
// another on the same worker, so that this happens once; the last one takes its device away.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { openBrowser, withPage } from "./browser.mjs";
import { MICRO, job, microPair, recipe, uploadPair } from "./jobs.mjs";
import { keepFigures } from "./measured.mjs";
import { drawNatively, startNatively, trainNatively } from "./native.mjs";
import { pixels } from "./pictures.mjs";
import { apart, readTensors, worstApart } from "./safetensors.mjs";
import { StaticHost } from "./static-host.mjs";
import { BrowserWorker } from "./worker.mjs";

/**
 * Sums in another order, and WGSL's own exp and sqrt: 3.4e-5 measured, of addift, whose loss is the
 * small difference of two answers.
 */
const LOSS = 1.5e-4;

/** Distance of two LoRAs as a share of the way that they were trained: 3.5e-3 measured. */
const MOVED = 1.4e-2;

/** Of the longest way of each tensor's values (`GENTLY`): 1.7e-3 measured. */
const GRADIENT = 7e-3;

/** Mean distance of two pictures, of 255, which nobody sees: 0.001 measured. */
const PICTURE = 2;

/**
 * Clipped to a millionth, a gradient is as small as Adam's ε: a step is no longer its sign but nearly
 * proportional to it, and the way of a LoRA shows its gradients, value by value. From the second step on
 * that of every factor: `up` begins at zero, and until it has moved `down` has none.
 */
const GENTLY = { clip_norm: 1e-6, learning_rate: 0.01, weight_decay: 0 };

/** Tensors that are read back for a state that a run saves, which it does by the clock. */
const SAVED_TENSORS = 4;

const DRAWN = { prompt: "smile", seed: 3 };

const pair = microPair();
let host;
let browser;
/** What all LoRAs start from. */
let start;
/** What the command line makes of everything that is compared. */
const native = {};

before(async () => {
  [host, browser] = await Promise.all([StaticHost.start(), openBrowser({ softwareGpu: true })]);
  const asked = { base: MICRO, pair };
  start = await startNatively(asked, recipe("plain"));
  native.plain = await trainNatively({ ...asked, recipe: recipe("plain", GENTLY) });
  for (const method of ["addift", "copier"]) {
    native[method] = await trainNatively({ ...asked, recipe: recipe(method) });
  }
  native.picture = await drawNatively({ base: MICRO, lora: native.plain.file, ...DRAWN });
  const llvmpipe = { ...asked, recipe: recipe("plain"), device: "gpu:llvmpipe" };
  native.llvmpipe = await trainNatively(llvmpipe).catch(() => undefined);
});

after(async () => {
  await Promise.all([browser?.close(), host?.dispose()]);
});

test("the same in the browser, on its CPU and on WebGPU, as natively", async (context) => {
  const settings = { name: "webgpu", at: host.emptyUrl, expectedErrors: [/device.*(lost|destroyed)/i] };
  await withPage(browser, host, settings, async (page) => {
    for (const device of ["cpu", "webgpu"]) {
      let opened = await open(page, device);
      assert.match(opened.worker.snapshot.device.name, device === "cpu" ? /CPU/ : /WebGPU/, "what computes");
      const counted = {};

      const interrupted = device === "cpu" ? "" : ", whose device is lost in the middle";
      await context.test(`gradients and steps of plain on ${device}${interrupted}`, async () => {
        const asked = recipe("plain", GENTLY);
        let id;
        if (device === "cpu") {
          [id] = await train(opened, asked);
        } else {
          [id, opened] = await loseInTheMiddle(page, opened, asked);
        }
        const lora = await loraOf(opened.worker, id, "lora");
        assertLosses(opened.worker.losses(id, "training"), native.plain.losses.training);
        const { worst, at, trained } = worstApart(lora, native.plain.lora, start.lora);
        console.log(`gradients: ${worst.toExponential(1)} at ${at}`);
        assert.ok(worst <= GRADIENT, `${at} is ${worst} of its longest way off`);
        assert.equal(trained, [...lora.keys()].filter((name) => !name.endsWith(".alpha")).length, "factors");
      });

      await context.test(`steps of addift on ${device}`, async () => {
        const { worker } = opened;
        const [id, counts] = await train(opened, recipe("addift"));
        assertLosses(worker.losses(id, "training"), native.addift.losses.training);
        assertTogether(await loraOf(worker, id, "lora"), native.addift.lora);
        counted.addift = counts;
      });

      await context.test(`steps of both passes of copier on ${device}`, async () => {
        const { worker } = opened;
        await (device === "cpu" ? copyToTheEnd(opened) : copyForAWhile(opened));
        // On the copier that the CPU finished, so that it need not be looked at on SwiftShader.
        const [{ id: given }] = worker.copiers;
        const [id, counts] = await train(opened, recipe("copier"), { copier: { given } });
        assertLosses(worker.losses(id, "training"), native.copier.losses.training);
        assertTogether(await loraOf(worker, id, "lora"), native.copier.lora);
        counted.copier = counts;
      });

      await context.test(`a picture drawn with a LoRA on ${device}`, async () => {
        const { worker } = opened;
        const lora = await worker.uploadLora(native.plain.file);
        const loras = [[{ uploaded: { lora } }, 1]];
        const request = { base: "micro", canvas: "native", negative_prompt: "", loras, ...DRAWN };
        const theirs = await pixels(page, native.picture);
        const ours = await pixels(page, await worker.preview(request));
        assert.equal(ours.length, theirs.length, "its size");
        const contrast = mean(theirs, (value, at) => Math.abs(value - theirs[at ^ 4]));
        assert.ok(contrast > PICTURE, `there is something on it: ${contrast}`);
        const distance = mean(ours, (value, at) => Math.abs(value - theirs[at]));
        console.log(`picture: ${distance.toFixed(3)} of 255`);
        assert.ok(distance <= PICTURE, `${distance} of 255`);
      });

      if (device === "webgpu") {
        await context.test("a step on WebGPU reads back its loss alone, and compiles nothing any more", async () => {
          await assertThrifty(counted, opened);
        });
      }
      await opened.worker.terminate();
    }
  });
});

/** What the steps took of the GPU, beside what they may. */
async function assertThrifty(counted, { worker }) {
  for (const [method, counts] of Object.entries(counted)) {
    const steps = perStep(counts);
    const least = (name) => Math.min(...steps.map((step) => step[name]));
    // Several steps may be told of at once, as their losses are read together.
    const mean = (name) => steps.reduce((sum, step) => sum + step[name], 0) / steps.length;
    await keepFigures(`WebGPU, a step of ${method} on the base in miniature`, {
      dispatches: Math.round(mean("dispatches")),
      submits: Math.round(mean("submits")),
      readbacks: mean("readbacks"),
      "s on SwiftShader": Math.round(mean("millis")) / 1000,
    });
    // Its loss, if it is not read with that of another step; and beside any step, a state may be saved.
    const expected = [0, 1, SAVED_TENSORS, 1 + SAVED_TENSORS];
    for (const { readbacks } of steps) {
      assert.ok(expected.includes(readbacks), `${method}: ${readbacks} readbacks, not ${expected.join(" or ")}`);
    }
    assert.equal(least("pipelines"), 0, `${method} was compiled before its first step`);
  }
  const { pipelines } = await worker.counts();
  const secs = native.llvmpipe ? Math.min(...native.llvmpipe.secs) : "not here";
  await keepFigures("All of it", { pipelines, "s for a step of plain on llvmpipe": secs });
}

/** A worker with the base, which jobs that wait for it may need before anything is said, and the pair. */
async function open(page, device) {
  const worker = await BrowserWorker.open(page, device);
  await worker.says("ready");
  await worker.putBase("micro", MICRO);
  await worker.hello();
  return { worker, hashes: await uploadPair(worker, pair) };
}

/** Trains to the end; the job's number, and the counts after every step. */
async function train({ worker, hashes }, recipe, changes = {}) {
  const id = await worker.submit({ ...job("micro", hashes, recipe), ...changes });
  const [, counted] = await Promise.all([worker.finished(id), countSteps(worker, id)]);
  return [id, counted];
}

/**
 * The last counts before the loss of each step was told. The worker answers nothing while it asks the
 * GPU for a step, and then waits for its loss: so all of the step is counted, and nothing of the next.
 */
async function countSteps(worker, id) {
  const counted = [];
  while (!worker.eventsOf(id, "state").some(({ state }) => state === "finished" || state.failed)) {
    const counts = await worker.counts();
    const { length } = worker.losses(id, "training");
    counted[length] = { ...counts, millis: performance.now() };
  }
  // After the last step other things are counted.
  return counted.slice(0, -1);
}

/** What each step added to the counts. */
function perStep(counted) {
  const known = counted.filter(Boolean);
  const names = Object.keys(known[0]);
  return known.slice(1).map((counts, at) => {
    return Object.fromEntries(names.map((name) => [name, counts[name] - known[at][name]]));
  });
}

/** Both passes, and what the first one made. */
async function copyToTheEnd(opened) {
  const { worker } = opened;
  const [id] = await train(opened, recipe("copier"));
  assertLosses(worker.losses(id, "copier"), native.copier.losses.copier);
  assertTogether(await loraOf(worker, id, "copier"), native.copier.copier, "copier");
}

/**
 * The first pass, and the copier as it is after two steps or three: at the end of the pass SwiftShader
 * would draw with it for minutes, to see how well it copies.
 */
async function copyForAWhile({ worker, hashes }) {
  const asked = recipe("copier");
  const id = await worker.submit(job("micro", hashes, withCopierSteps(asked, 100)));
  await worker.steps(id, 1, "copier");
  await worker.control(id, "save_now");
  const file = await worker.saved(id);
  const copier = readTensors(await worker.file(file.id));
  await worker.control(id, "discard");
  await worker.state(id, "stopped");

  const { step } = file.kind.step;
  const theirs = await trainNatively({ base: MICRO, pair, recipe: withCopierSteps(asked, step) });
  assertLosses(worker.losses(id, "copier").slice(0, step), theirs.losses.copier);
  assertTogether(copier, theirs.copier, "copier");
}

function withCopierSteps(recipe, steps) {
  return { ...recipe, copier: { ...recipe.copier, pass: { ...recipe.copier.pass, steps } } };
}

/** Saves a run, takes its device away, and lets another worker end it: the job, and that worker. */
async function loseInTheMiddle(page, { worker: first, hashes }, recipe) {
  const id = await first.submit(job("micro", hashes, recipe));
  await first.steps(id, 1);
  await first.control(id, "pause");
  await first.state(id, "paused");
  const saved = first.losses(id, "training").length;
  assert.ok(saved < recipe.pass.steps, "it was saved before its end");
  await first.control(id, "resume");
  assert.match(await first.loseDevice(), /GPU/, "what the user is told");
  await first.terminate();

  const opened = await open(page, "webgpu");
  await opened.worker.ask("resync", { job: id, after: 0 });
  await opened.worker.finished(id);
  const { step } = opened.worker.eventsOf(id, "resumed").at(-1);
  assert.ok(step >= saved, `it went on from what was saved after ${saved}: ${step}`);
  return [id, opened];
}

async function loraOf(worker, id, kind) {
  const files = worker.eventsOf(id, "file").map(({ file }) => file);
  return readTensors(await worker.file(files.findLast((file) => file.kind === kind).id));
}

function assertLosses(ours, theirs) {
  assert.equal(ours.length, theirs.length, "steps");
  const distances = theirs.map((loss, at) => Math.abs(ours[at] - loss) / Math.abs(loss));
  console.log(`losses: ${distances.map((distance) => distance.toExponential(1)).join(", ")} off`);
  distances.forEach((distance, at) => {
    assert.ok(distance <= LOSS, `loss of step ${at + 1}: ${ours[at]} is ${distance} off ${theirs[at]}`);
  });
}

/** @param {"lora" | "copier"} kind what it is: they start from different noise */
function assertTogether(ours, theirs, kind = "lora") {
  const share = apart(ours, theirs, start[kind]);
  console.log(`LoRA: ${share.toExponential(1)} of its way off`);
  assert.ok(share <= MOVED, `the LoRA is ${share} of its way off`);
}

function mean(values, of) {
  return values.reduce((sum, value, at) => sum + of(value, at), 0) / values.length;
}
