import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { promisify } from "node:util";

import { screenshot } from "./browser.mjs";
import { binary } from "./companion.mjs";
import { choose } from "./pages/choose.mjs";
import { text } from "./pictures.mjs";
import { Suite } from "./suite.mjs";

const suite = new Suite();

test("Advanced counts what is edited, and gives every default back", async () => {
  await suite.visit({ name: "advanced" }, async ({ bench }) => {
    const { recipe } = bench;
    assert.equal(await recipe.advanced.innerText(), "Advanced", "nothing is edited at first");
    await recipe.openAdvanced();
    const before = await recipe.field("The LoRA", "Rank").inputValue();
    await recipe.set("The LoRA", "Rank", 5);
    await recipe.set("Run", "Seed", 7);
    assert.equal(await recipe.advanced.innerText(), "Advanced (2 edited)", "they are counted");
    await recipe.button(/^Reset Rank to/).click();
    assert.equal(await recipe.field("The LoRA", "Rank").inputValue(), before, "its default");
    assert.equal(await recipe.advanced.innerText(), "Advanced (1 edited)", "one less");
    await recipe.button("Reset all").click();
    assert.equal(await recipe.advanced.innerText(), "Advanced", "none");
  });
});

test("a number out of range is refused at its field, in words", async () => {
  await suite.visit({ name: "range" }, async ({ bench }) => {
    const { recipe } = bench;
    await recipe.openAdvanced();
    const rank = recipe.field("The LoRA", "Rank");
    const before = await rank.inputValue();
    await rank.fill("1000");
    await rank.press("Tab");
    await recipe.refusal.filter({ hasText: /between 1 and 128/ }).waitFor();
    await rank.fill(before);
    await rank.press("Tab");
    await recipe.refusal.waitFor({ state: "detached" });
  });
});

test("what is no number is refused at its field, with what is allowed", async () => {
  await suite.visit({ name: "mistyped" }, async ({ bench }) => {
    const { recipe } = bench;
    await choose(recipe.method("Direct difference"));
    await recipe.openAdvanced();
    for (const [heading, label, typed, says] of [
      ["The LoRA", "Learning rate", "0,001", /between 0.00000001 and 1, not "0,001".*point for decimals/],
      ["The LoRA", "Steps", "1.5", /whole number between 1 and 100000/],
      ["Direct difference", "Multiplier", "0", /between 0.01 and 8 or between -8 and -0.01/],
      ["Run", "Seed", "-1", /No number stands for a random seed/],
      ["Previews", "Seed", "any", /whole number between 0 and 18446744073709551615/],
      ["Previews", "Every", "1e30", /between 0 and 100000/],
    ]) {
      const field = recipe.field(heading, label);
      const before = await field.inputValue();
      await field.fill(typed);
      await field.press("Tab");
      await recipe.refusal.filter({ hasText: says }).waitFor();
      await field.fill(before);
      await field.press("Tab");
      await recipe.refusal.waitFor({ state: "detached" });
    }
  });
});

test("what is not understood in a prompt is said below it before anybody trains", async () => {
  await suite.visit({ name: "prompt" }, async ({ bench }) => {
    const { recipe } = bench;
    await recipe.openAdvanced();
    await recipe.set("Run", "Prompt", "(glasses:1.2), <lora:x:1>");
    const note = recipe.region.getByText(/“<lora:x:1>” is left out of the prompt/);
    await note.waitFor();
    await recipe.field("Run", "Prompt syntax").selectOption("plain");
    await note.waitFor({ state: "detached" });
    assert.equal(await recipe.advanced.innerText(), "Advanced (2 edited)", "the prompt and its syntax");
  });
});

test("the plain choices say what they cost, and Undo takes them back", async () => {
  await suite.visit({ name: "choices" }, async ({ bench }) => {
    const { recipe } = bench;
    await choose(recipe.method("Direct difference"));
    await choose(recipe.choice("What changes?", "Style or colour"));
    await choose(recipe.choice("Effort", "Quick"));
    await recipe.region.getByText(/^\d+ steps/).waitFor();
    await choose(recipe.choice("Size", "Large"));
    await recipe.region.getByText(/^rank 16/).waitFor();
    await bench.head("Undo").click();
    await recipe.region.getByText(/^rank 8/).waitFor();
    assert.ok(await recipe.choice("Effort", "Quick").isChecked(), "one step at a time");
  });
});

test("a recipe goes out as JSON and comes back, pasted or dropped", async () => {
  const permissions = ["clipboard-read", "clipboard-write"];
  await suite.visit({ name: "json", permissions }, async ({ page, bench }) => {
    const { recipe } = bench;
    await recipe.openAdvanced();
    await recipe.set("The LoRA", "Rank", 5);
    await recipe.openExchange();
    await recipe.button(/^Copy$/).click();
    await page.getByRole("status").filter({ hasText: "Copied" }).waitFor();
    const json = await page.evaluate(() => navigator.clipboard.readText());
    assert.equal(JSON.parse(json).pass.rank, 5, "what is on the bench");

    const [file] = await Promise.all([page.waitForEvent("download"), recipe.button("Save…").click()]);
    assert.equal(await readFile(await file.path(), "utf8"), json, "the same as a file");

    await recipe.pasteBox.fill(json.replace('"rank": 5', '"rank": 6'));
    await recipe.button("Load").click();
    await recipe.region.getByText(/^rank 6/).waitFor();
    await bench.dropFiles([text("another.json", json.replace('"rank": 5', '"rank": 7'))]);
    await recipe.region.getByText(/^rank 7/).waitFor();
    assert.equal(await recipe.name.inputValue(), "another", "it brings its name");
  });
});

test("a LoRA that is dropped brings back its recipe, and by a click its pair", async () => {
  const lora = await trained();
  await suite.visit({ name: "dropped-lora" }, async ({ page, bench }) => {
    await bench.dropFiles([lora]);
    const card = page.getByRole("complementary", { name: "Settings that came back" });
    await card.getByText("The settings of comes-back are on the bench").waitFor();
    assert.ok(await bench.recipe.method("Direct difference").isChecked(), "the method");
    await bench.recipe.openAdvanced();
    assert.equal(await bench.recipe.field("The LoRA", "Steps").inputValue(), "4", "the numbers");
    assert.equal(await bench.recipe.name.inputValue(), "comes-back", "the name");
    await card.getByRole("button", { name: "Its pair, too" }).click();
    await bench.preflight.getByText("64 × 64 px").waitFor();
    await bench.maskCheck.getByText(/\d % masked/).waitFor();
  });
});

test("a size and prompts of one's own reach the run, and its scores say whose they were", async () => {
  await suite.visit({ name: "size" }, async ({ page, bench, lower }) => {
    const { recipe } = bench;
    await bench.loadExample();
    await recipe.makeShort({ name: "larger", steps: 4 });
    await recipe.openAdvanced();
    await recipe.set("Run", "Resolution", 160);
    await bench.preflight.getByText("160 × 160 px").waitFor();
    await recipe.set("Run", "Held-out prompts", "smile, brown hair\nhat, beard");
    await recipe.field("Run", "Held-out prompts").scrollIntoViewIfNeeded();
    await screenshot(page, "held-out-prompts");
    await bench.train.click();
    await lower.result.shown();
    await lower.result.scores.getByText(/of 2 pictures of your prompts gain the change/).waitFor();
    const [file] = await Promise.all([page.waitForEvent("download"), lower.result.download.click()]);
    const { stdout } = await promisify(execFile)(binary(), ["inspect", "--json", await file.path()]);
    const lora = JSON.parse(stdout);
    assert.equal(lora.recipe.resolution, 160, "the size");
    assert.deepEqual(lora.recipe.held_out_prompts, ["smile, brown hair", "hat, beard"], "the prompts");
  });
});

/** A file of a short run, as somebody would have kept it. */
async function trained() {
  let lora;
  await suite.visit({ name: "trained" }, async ({ page, bench, lower }) => {
    await bench.loadExample();
    await bench.recipe.makeShort({ name: "comes-back", steps: 4 });
    await bench.train.click();
    await lower.result.shown();
    const [file] = await Promise.all([page.waitForEvent("download"), lower.result.download.click()]);
    const path = await file.path();
    await promisify(execFile)(binary(), ["inspect", path]);
    const buffer = await readFile(path);
    lora = { name: file.suggestedFilename(), mimeType: "application/octet-stream", buffer };
  });
  return lora;
}
