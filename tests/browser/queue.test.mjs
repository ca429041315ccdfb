import assert from "node:assert/strict";
import { test } from "node:test";

import { RUN_WITHIN, eventually } from "./eventually.mjs";
import { Suite } from "./suite.mjs";

const suite = new Suite();

test("a queue keeps its order, is moved by keys, loses what is discarded, and runs as it then is", async () => {
  await suite.visit({ name: "queue", reducedMotion: true }, async ({ page, bench, lower }) => {
    await bench.loadExample();
    await bench.recipe.makeShort({ name: "at-work", steps: 200 });
    await bench.train.click();
    await lower.run.name("at-work").waitFor();
    await lower.run.says(/Training · step \d+ of 200/);
    await bench.recipe.openAdvanced();
    await bench.recipe.set("The LoRA", "Steps", 4);
    const names = ["first", "second", "third"];
    for (const [at, name] of names.entries()) {
      await bench.recipe.name.fill(name);
      await bench.train.click();
      await lower.run.name(name).waitFor();
      await lower.open("Runs");
      const isListed = async () => (await lower.runs.waiting.count()) === at + 1;
      await eventually(`${name} waits`, isListed);
    }
    assert.deepEqual(await lower.runs.waitingNames(), names, "in the order they came");

    await lower.runs.button("third", "Earlier").focus();
    await page.keyboard.press("Enter");
    await inOrder(lower, ["first", "third", "second"]);
    await eventually("the moved button keeps the focus", async () =>
      lower.runs.button("third", "Earlier").evaluate((it) => it === document.activeElement),
    );
    await page.keyboard.press("Enter");
    await inOrder(lower, ["third", "first", "second"]);

    await lower.runs.button("first", "Discard…").click();
    await lower.run.confirmDiscard();
    await inOrder(lower, ["third", "second"]);

    for (const [running, waiting] of [["at-work", "third,second"], ["third", "second"], ["second", ""]]) {
      await eventually(`${running} is at work`, async () => {
        await lower.open("Runs");
        return (await lower.runs.waitingNames()).join() === waiting;
      }, RUN_WITHIN);
      await lower.runs.button(running, "Show").click();
      await lower.run.name(running).waitFor();
      await lower.run.discard();
    }
  });
});

async function inOrder(lower, names) {
  await eventually(`the order ${names}`, async () => {
    const now = await lower.runs.waitingNames();
    return now.join() === names.join();
  });
}
