// A run under way: what it shows, and what can be done about it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { RUN_WITHIN, eventually } from "./eventually.mjs";
import { pretendSlowScreen } from "./pretend.mjs";
import { Suite } from "./suite.mjs";

const suite = new Suite();

test("previews are drawn and files are saved on demand, and are walked through by keys", async () => {
  await suite.visit({ name: "on-demand" }, async ({ page, bench, lower }) => {
    const { run } = lower;
    await bench.loadExample();
    await bench.recipe.makeShort({ name: "steered", steps: 900 });
    await bench.train.click();
    await run.says(/Training · step \d+ of 900 · .*left/);
    assert.match(await page.title(), /^\d+ % · Mimeo$/, "the tab tells how far it is");
    await run.button("Preview now").click();
    await run.previews("\\+1").first().waitFor({ timeout: RUN_WITHIN });
    await run.button("Save now").click();
    await run.savedSteps.first().waitFor({ timeout: RUN_WITHIN });

    await run.previews("\\+1").first().focus();
    await page.keyboard.press("ArrowUp");
    await eventually("the picture above has the focus", () => hasFocus(run.previews("0").first()));
    await page.keyboard.press("s");
    await eventually("a star", async () => (await run.stars.count()) === 1);
    await page.keyboard.press("Enter");
    const enlarged = page.getByRole("img", { name: "The preview, enlarged" });
    await enlarged.waitFor();
    await page.keyboard.press("Escape");
    await enlarged.waitFor({ state: "detached" });
    await run.discard();
    await run.says(/Stopped/);
  });
});

test("the loss can be read by keys, and as a table", async () => {
  await suite.visit({ name: "loss" }, async ({ page, bench, lower }) => {
    await bench.loadExample();
    await bench.recipe.makeShort({ name: "read", steps: 200 });
    await bench.train.click();
    await lower.run.says(/Training · step ([5-9]|\d\d+) of 200/);
    const { chart } = lower.run;
    await chart.focus();
    await page.keyboard.press("Home");
    assert.match(await chart.getAttribute("aria-valuetext"), /^Training, step 1: /, "the first");
    await page.keyboard.press("ArrowRight");
    assert.match(await chart.getAttribute("aria-valuetext"), /^Training, step 2: /, "the next");
    await page.getByText("Losses as a table").click();
    await page.getByRole("cell", { name: "Training" }).first().waitFor();
    await lower.run.discard();
  });
});

test("the copy machine tells how well it copies A", async () => {
  await suite.visit({ name: "copier" }, async ({ bench, lower }) => {
    const { recipe } = bench;
    await bench.loadExample();
    await recipe.name.fill("copies");
    await recipe.openAdvanced();
    await recipe.set("The copier", "Copier steps", 60);
    await recipe.set("The copier", "Copier batch size", 1);
    await recipe.set("The copier", "Measured every", 4);
    await recipe.set("Previews", "Every", 0);
    await bench.train.click();
    await lower.run.says(/Copying A · step \d+ of 60/);
    await lower.run.says(/copies A: \d+ %/);
    await lower.run.discard();
  });
});

test("a run whose loss breaks down says so, and offers half the learning rate", async () => {
  await suite.visit({ name: "diverged" }, async ({ bench, lower }) => {
    const { recipe } = bench;
    await bench.loadExample();
    await recipe.makeShort({ name: "breaks-down", steps: 40 });
    await recipe.openAdvanced();
    await recipe.set("The LoRA", "Learning rate", 1);
    await recipe.set("The LoRA", "Gradient clipping", "");
    await bench.train.click();
    const trouble = lower.run.region.getByRole("alert");
    await trouble.waitFor({ timeout: RUN_WITHIN });
    await lower.run.button("Half the learning rate").click();
    const rate = recipe.field("The LoRA", "Learning rate");
    await eventually("half of it", async () => (await rate.inputValue()) === "0.5");
  });
});

test("on a slow screen nothing is asked of parts of the page that are gone", async () => {
  const settings = { name: "slow-screen", prepare: pretendSlowScreen };
  await suite.visit(settings, async ({ page, bench, lower }) => {
    await bench.loadExample();
    await bench.recipe.makeShort({ name: "left-alone", steps: 900 });
    await bench.train.click();
    await lower.run.says(/Training · step \d+ of 900/);
    await lower.run.button("Pause").click();
    await lower.run.button("Resume").waitFor();
    await lower.run.button("Resume").click();
    await lower.run.button("Pause").waitFor();
    for (const tab of ["Runs", "Playground", "Result", "Run", "Runs"]) {
      await lower.open(tab);
    }
    await lower.runs.button("left-alone", "Show").click();
    await lower.run.button("Discard…").click();
    await lower.run.confirmDiscard();
    await lower.open("Runs");
    await lower.runs.row("left-alone").getByText("Stopped").waitFor();
    // Whatever was put off has happened by then.
    await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(resolve)));
  });
});

async function hasFocus(target) {
  return target.evaluate((element) => element === document.activeElement);
}
