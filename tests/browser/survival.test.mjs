// Tabs that are closed, opened twice, and a companion that is gone for a while.

import assert from "node:assert/strict";
import { test } from "node:test";

import { RUN_WITHIN, eventually } from "./eventually.mjs";
import { choose } from "./pages/choose.mjs";
import { Suite } from "./suite.mjs";

const suite = new Suite();

/** The browser itself says so for every try; the page can do nothing about it. */
const GONE = [/WebSocket connection to/, /ERR_CONNECTION_REFUSED/, /Failed to load resource/];

test("a reload loses nothing of the bench, and comes back to the run that goes on", async () => {
  await suite.visit({ name: "reload" }, async ({ page, bench, lower }) => {
    await bench.loadExample();
    await bench.stage.button("Clear").click();
    await bench.stage.paint([[30, 30], [90, 60]]);
    await choose(bench.stage.view("A"));
    await bench.recipe.makeShort({ name: "reloaded", steps: 60 });
    const painted = await bench.stage.maskedPixels();
    await bench.train.click();
    await lower.run.says(/Training · step \d+ of 60/);
    const step = await stepOf(lower);

    await page.reload();
    await bench.ready();
    await bench.well("A").getByText("glasses A.png").waitFor();
    await bench.well("B").getByText("glasses B.png").waitFor();
    assert.equal(await bench.stage.maskedPixels(), painted, "every px of the mask");
    assert.equal(await bench.recipe.name.inputValue(), "reloaded", "the name");
    assert.ok(await bench.recipe.method("Direct difference").isChecked(), "the method");
    await bench.recipe.openAdvanced();
    assert.equal(await bench.recipe.field("The LoRA", "Steps").inputValue(), "60", "the recipe");

    await lower.run.name("reloaded").waitFor();
    await eventually("the run went on", async () => (await stepOf(lower)) > step, RUN_WITHIN);
    await lower.run.discard();
  });
});

test("two tabs see the same run, and steering in one is seen in the other", async () => {
  await suite.visit({ name: "two-tabs" }, async (first) => {
    await first.bench.loadExample();
    await first.bench.recipe.makeShort({ name: "in-two-tabs", steps: 60 });
    const second = await first.another();
    await first.bench.train.click();
    await first.lower.run.says(/Training · step \d+ of 60/);

    await second.lower.open("Runs");
    await second.lower.runs.button("in-two-tabs", "Show").click();
    await second.lower.run.says(/Training · step \d+ of 60/);
    await second.lower.run.button("Pause").click();
    await first.lower.run.button("Resume").waitFor({ timeout: RUN_WITHIN });
    await first.lower.run.says(/Paused/);
    await first.lower.run.button("Resume").click();
    await second.lower.run.button("Pause").waitFor({ timeout: RUN_WITHIN });
    await first.lower.run.discard();
    await Promise.all([first, second].map(({ lower }) => lower.run.says(/Stopped/)));
  });
});

test("a companion that is killed and started again is found without a click, and the run ends", async () => {
  const settings = { name: "killed", expectedErrors: GONE };
  await suite.visit(settings, async ({ page, bench, lower, companion }) => {
    await bench.loadExample();
    await bench.recipe.makeShort({ name: "survivor", steps: 24 });
    await bench.train.click();
    await lower.run.says(/Training · step \d+ of 24/);

    await companion.kill();
    await bench.banner.getByText(/companion is gone/i).waitFor();
    await bench.stage.button("Clear").click();
    await bench.maskCheck.getByText(/Nothing is painted/).waitFor();
    await companion.restart();
    await bench.banner.waitFor({ state: "detached", timeout: RUN_WITHIN });
    await bench.backend.filter({ hasText: "Companion" }).waitFor();

    await lower.result.shown();
    await lower.open("Run");
    await lower.run.says(/Finished/);
    assert.equal(await page.title(), "Mimeo", "nothing runs any more");
  });
});

/** The step that is told now; 0 before the first. */
async function stepOf(lower) {
  const [, step] = /step (\d+) of/.exec(await lower.run.region.innerText()) ?? [];
  return Number(step ?? 0);
}
