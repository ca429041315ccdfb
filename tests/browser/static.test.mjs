// The page from any static host, under a sub-path and with no companion anywhere: what it trains, it
// trains in this browser.

import assert from "node:assert/strict";
import { test } from "node:test";

import { openBrowser, withPage } from "./browser.mjs";
import { RUN_WITHIN, eventually } from "./eventually.mjs";
import { MICRO, job, microPair, recipe, uploadPair } from "./jobs.mjs";
import { keepFigures } from "./measured.mjs";
import { inspect } from "./native.mjs";
import { choose } from "./pages/choose.mjs";
import { Lower } from "./pages/lower.mjs";
import { StaticHost } from "./static-host.mjs";
import { Suite } from "./suite.mjs";
import { BrowserWorker } from "./worker.mjs";

const suite = new Suite(undefined, () => StaticHost.start());

/** Milliseconds from which browsers call a task long, and from which a frame is missed. */
const LONG = 50;

/** How often one trains in a row, and after how many of them the worker has all that it ever needs. */
const [RUNS, WARM] = [30, 5];

test("example, mask and the direct difference become a LoRA, soon, and the page stays quick", async () => {
  const settings = { name: "static-addift", prepare: watchLongTasks };
  await suite.visit(settings, async ({ page, bench, lower }) => {
    await bench.loadExample();
    await bench.stage.button("Clear").click();
    await bench.stage.tool("Box").click();
    await bench.stage.paint([[28, 40], [100, 72]]);
    await bench.recipe.makeShort({ name: "static", steps: 40 });
    await bench.train.click();
    const asked = await page.evaluate(() => performance.now());
    await lower.run.says(/Training · step [1-9]\d* of 40/);
    const stepped = await page.evaluate(() => performance.now());
    const begun = await page.evaluate(() => longTasks.length);
    await lower.run.says(/step (3\d|40) of 40|Measuring|Saving/);
    const long = await page.evaluate((begun) => longTasks.slice(begun), begun);
    await keepFigures("From a static host on this machine, with nothing cached", {
      "ms from Train to a step": Math.round(stepped - asked),
      "long tasks while it trains": long.length,
      "ms of the longest": Math.max(0, ...long),
    });
    assert.deepEqual(long.filter((millis) => millis > LONG), [], "ms that the page's thread was busy");
    await downloads(page, lower, "static");
    await sendAgain(bench, lower);
  });
});

test("a short copier run becomes a LoRA", async () => {
  await suite.visit({ name: "static-copier" }, async ({ page, bench, lower }) => {
    const { recipe } = bench;
    await bench.loadExample();
    await recipe.name.fill("copied");
    await recipe.openAdvanced();
    await recipe.set("The copier", "Copier steps", 4);
    await recipe.set("The copier", "Copier batch size", 1);
    await recipe.set("The LoRA", "Steps", 4);
    await recipe.set("The LoRA", "Batch size", 1);
    await recipe.set("Previews", "Every", 0);
    await recipe.field("Run", "Calibrate strength").uncheck();
    await recipe.set("Run", "Score budget", 3);
    await bench.train.click();
    await downloads(page, lower, "copied");
  });
});

test("a reload in the middle of a run goes on from where it was saved", async () => {
  await suite.visit({ name: "static-reload" }, async ({ page, bench, lower }) => {
    await bench.loadExample();
    await bench.recipe.makeShort({ name: "reloaded", steps: 120 });
    await bench.train.click();
    await lower.run.says(/Training · step (2[1-9]|[3-9]\d) of 120/);

    await page.reload();
    await bench.ready("Browser");
    await bench.well("A").getByText("glasses A.png").waitFor();
    await lower.run.name("reloaded").waitFor();
    await lower.run.says(/Training · step [1-9]\d* of 120/);
    const [, step] = /step (\d+) of/.exec(await lower.run.region.innerText());
    assert.ok(Number(step) >= 10, `it is saved every ten steps, and went on at ${step}`);
    await eventually(
      "the run goes on",
      async () => Number(/step (\d+) of/.exec(await lower.run.region.innerText())?.[1] ?? 0) > Number(step),
      RUN_WITHIN,
    );
    await lower.run.discard();
  });
});

test("without WebGPU it trains on the CPU, and says why", async () => {
  const prepare = async (context) => context.addInitScript(() => delete Navigator.prototype.gpu);
  const wanting = {
    "a browser that has no WebGPU": [{ prepare }, /has no WebGPU/],
    "one that finds no GPU": [{}, /offers no GPU/],
  };
  for (const [what, [settings, says]] of Object.entries(wanting)) {
    await suite.visit({ name: "no-webgpu", ...settings }, async ({ bench }) => {
      assert.match(await bench.backend.innerText(), /CPU/, what);
      await bench.backend.click();
      await bench.backendDetails.getByText(says).first().waitFor();
      await choose(bench.backendChoice("Browser (WebGPU)"));
      await bench.backendDetails.getByText(says).first().waitFor();
      assert.ok(await bench.backendChoice("Companion").isVisible(), `${what}: always overridable`);
    });
  }
});

test("a second tab says that another one trains, and can take over", async () => {
  await suite.visit({ name: "static-two-tabs" }, async ({ page, bench, lower, tab }) => {
    await bench.loadExample();
    await bench.recipe.makeShort({ name: "taken", steps: 300 });
    await bench.train.click();
    await lower.run.says(/Training · step (1[1-9]|[2-9]\d) of 300/);

    const second = await tab();
    await second.getByText(/another tab/i).first().waitFor();
    await second.getByRole("button", { name: /here|take over/i }).first().click();
    await page.getByText(/another tab/i).first().waitFor();
    const there = new Lower(second);
    await there.run.says(/Training · step [1-9]\d+ of 300/);
    await there.run.discard();
  });
});

test("thirty runs in a row take no more memory than five", async () => {
  const host = await StaticHost.start();
  const browser = await openBrowser();
  try {
    await withPage(browser, host, { name: "thirty-runs", at: host.emptyUrl }, async (page) => {
      const worker = await BrowserWorker.start(page, "cpu");
      await worker.putBase("micro", MICRO);
      const hashes = await uploadPair(worker, microPair());
      const heap = [];
      for (let run = 0; run < RUNS; run += 1) {
        const method = ["addift", "plain", "copier"][run % 3];
        await worker.finished(await worker.submit(job("micro", hashes, recipe(method))));
        heap.push((await worker.counts()).heap_bytes);
      }
      await keepFigures("The worker's heap", { "MiB after 5 runs": mib(heap[WARM - 1]), "MiB after 30": mib(heap.at(-1)) });
      // A heap never shrinks, and grows by pages of 64 KiB: what is taken once and given back again
      // may lie differently the next time, so a little of its size is no leak of thirty runs.
      assert.ok(heap.at(-1) <= heap[WARM - 1] * 1.05, `bytes after each run: ${heap.join(", ")}`);
    });
  } finally {
    await Promise.all([browser.close(), host.dispose()]);
  }
});

/**
 * Draws, sends the pair again, and looks at all that was there before: the pictures on the page are
 * still the ones that it was given, or the browser prints an error.
 */
async function sendAgain(bench, lower) {
  const { playground, run, runs } = lower;
  await lower.open("Playground");
  await playground.prompt.fill("short hair, green hoodie");
  await playground.prompt.press("Enter");
  await playground.picture("short hair, green hoodie").waitFor({ timeout: RUN_WITHIN });
  await bench.train.click();
  await lower.open("Run");
  await run.says(/Training · step [1-9]\d* of 40/);
  await run.discard();
  await lower.open("Runs");
  await runs.button("static", "Show").last().click();
  await lower.result.shown(RUN_WITHIN);
}

/** Waits for the result, downloads it, and lets the command line read it. */
async function downloads(page, lower, name) {
  await lower.result.shown(RUN_WITHIN);
  const [file] = await Promise.all([page.waitForEvent("download"), lower.result.download.click()]);
  assert.equal(file.suggestedFilename(), `${name}.safetensors`, "its name");
  const path = await file.path();
  assert.match(await inspect(path), /Stable Diffusion 1\.x|built like/, "mimeo inspect accepts it");
  if (process.env.MIMEO_OUT) {
    await file.saveAs(`${process.env.MIMEO_OUT}/${name}.safetensors`);
  }
}

/** Collects the durations of all long tasks of the page's own thread. */
async function watchLongTasks(context) {
  await context.addInitScript(() => {
    window.longTasks = [];
    const add = (list) => longTasks.push(...list.getEntries().map(({ duration }) => duration));
    new PerformanceObserver(add).observe({ type: "longtask", buffered: true });
  });
}

function mib(bytes) {
  return Math.round((bytes / (1 << 20)) * 10) / 10;
}
