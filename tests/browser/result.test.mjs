// What one does with a LoRA: look at it, take it along, change one thing, draw with it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { RUN_WITHIN, eventually } from "./eventually.mjs";
import { choose } from "./pages/choose.mjs";
import { Suite } from "./suite.mjs";

const NAME = "first-run";

/** All tests look at the result of this run. */
const suite = new Suite(async () => {
  await suite.visit({ name: "before-result" }, async ({ bench, lower }) => {
    await bench.loadExample();
    await bench.recipe.makeShort({ name: NAME, steps: 6, side: null });
    await bench.train.click();
    await lower.result.shown();
  });
});

test("the strength dial draws where it stops, and what is compared can be chosen", async () => {
  await suite.visit({ name: "dial" }, async ({ lower }) => {
    const { result } = lower;
    await openResult(lower);
    await result.picture("The LoRA at strength +1").waitFor({ timeout: RUN_WITHIN });
    await result.strength.fill("0.5");
    await result.picture("The LoRA at strength +0.5").waitFor({ timeout: RUN_WITHIN });
    await result.dial.getByText("Shown is +0.5", { exact: true }).waitFor({ timeout: RUN_WITHIN });

    const left = result.region.getByRole("group", { name: "Left" });
    await choose(left.getByRole("radio", { name: "A", exact: true }));
    await result.picture("A, before").waitFor();
    const by = result.region.getByRole("group", { name: "Compare by" });
    for (const mode of ["Side by side", "Difference", "Slide"]) {
      await choose(by.getByRole("radio", { name: mode }));
      await result.picture("A, before").waitFor();
    }
  });
});

test("the line between the pictures follows the mouse, and a double click puts it in the middle", async () => {
  await suite.visit({ name: "compare" }, async ({ page, lower }) => {
    const { line } = lower.result;
    await openResult(lower);
    await lower.result.picture("The LoRA at strength +1").waitFor({ timeout: RUN_WITHIN });
    await line.scrollIntoViewIfNeeded();
    const { x, y, width, height } = await line.boundingBox();
    await page.mouse.move(x + width / 2, y + height / 2);
    await page.mouse.down();
    await page.mouse.move(x + width / 2 - 100, y + height / 2, { steps: 4 });
    await page.mouse.up();
    const place = Number(await line.getAttribute("aria-valuenow"));
    assert.ok(place > 10 && place < 45, `dragged to the left: ${place} %`);
    await line.dblclick();
    assert.equal(await line.getAttribute("aria-valuenow"), "50", "in the middle again");
  });
});

test("prompts and strengths are drawn as a table, two by two", async () => {
  await suite.visit({ name: "grid" }, async ({ lower }) => {
    const { result } = lower;
    await openResult(lower);
    await result.drawGrid(["short hair, blue hoodie", "long hair, red hoodie"], ["0", "1"]);
    await eventually("four pictures", async () => (await result.grid.getByRole("img").count()) === 4, RUN_WITHIN);
    await result.grid.getByRole("img", { name: "long hair, red hoodie, strength +1" }).waitFor();
  });
});

test("its name for other programs is copied", async () => {
  const permissions = ["clipboard-read", "clipboard-write"];
  await suite.visit({ name: "copy", permissions }, async ({ page, lower }) => {
    await openResult(lower);
    await lower.result.button(`Copy <lora:${NAME}:1>`).click();
    await page.getByRole("status").filter({ hasText: "Copied" }).waitFor();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    assert.equal(copied, `<lora:${NAME}:1>`, "as other programs read it");
  });
});

test("a run is run again with one change, and the list tells the difference in bold", async () => {
  await suite.visit({ name: "again" }, async ({ bench, lower }) => {
    const { runs } = lower;
    await openResult(lower);
    await lower.result.button("Run again with one change").click();
    await bench.preflight.getByText("128 × 128 px").waitFor();
    await bench.maskCheck.getByText(/\d % masked/).waitFor();
    await eventually("its name", async () => (await bench.recipe.name.inputValue()) === NAME);
    await bench.recipe.openAdvanced();
    assert.equal(await bench.recipe.field("The LoRA", "Steps").inputValue(), "6", "its recipe");

    await bench.recipe.set("The LoRA", "Rank", 3);
    await bench.recipe.name.fill("second-run");
    await bench.train.click();
    await lower.run.name("second-run").waitFor();
    await lower.run.says(/step \d+ of 6|Measuring|Saving/);
    await lower.open("Runs");
    const differences = runs.row("second-run").getByRole("list", { name: /^Changed since/ });
    await differences.getByRole("listitem").filter({ hasText: /^Rank 3$/ }).waitFor();
    assert.equal(await differences.getByRole("strong").or(differences.locator("b")).innerText(), "3", "in bold");
    await runs.button("second-run", "Show").click();
    await lower.run.discard();
  });
});

test("the playground draws with a LoRA, and its picture becomes A", async () => {
  await suite.visit({ name: "playground" }, async ({ bench, lower }) => {
    const { playground } = lower;
    await lower.open("Playground");
    await playground.prompt.fill("short hair, green hoodie");
    await playground.prompt.press("Enter");
    await playground.picture("short hair, green hoodie").waitFor({ timeout: RUN_WITHIN });
    await playground.button("Add").click();
    await playground.loras.getByRole("group", { name: new RegExp(NAME) }).waitFor();
    await playground.button("Draw").click();
    await playground.region.getByRole("list", { name: /^Pictures drawn before/ }).waitFor({ timeout: RUN_WITHIN });
    await playground.button("Use as A").click();
    await bench.well("A").getByText(/short-hair-green-hoodie-\d+\.png/).waitFor();
  });
});

test("a prompt that is too long to be sent is refused in a sentence", async () => {
  await suite.visit({ name: "endless-prompt" }, async ({ lower }) => {
    const { playground } = lower;
    await lower.open("Playground");
    await playground.prompt.fill("hat ".repeat(80_000));
    await playground.button("Draw").click();
    await playground.region.getByRole("alert").getByText(/too long to be sent/).waitFor();
  });
});

/** The newest run is shown to whoever comes; its result is a tab away. */
async function openResult(lower) {
  await lower.open("Runs");
  await lower.runs.button(NAME, "Show").click();
  await lower.result.shown();
}
