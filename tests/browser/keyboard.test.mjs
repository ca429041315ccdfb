// The whole job without a mouse: nothing here points at anything.

import assert from "node:assert/strict";
import { test } from "node:test";

import { RUN_WITHIN, eventually } from "./eventually.mjs";
import { Keys } from "./pages/keys.mjs";
import { Suite } from "./suite.mjs";

const suite = new Suite();

/** More presses of Tab than there are stops on the page. */
const MOST_STOPS = 120;

test("the whole job by keyboard, from the empty page to the file", async () => {
  await suite.visit({ name: "keyboard" }, async ({ page, bench, lower }) => {
    const { keyboard } = page;
    await tabTo(bench.example);
    await keyboard.press("Enter");
    await bench.preflight.getByText("128 × 128 px").waitFor();

    // A mask by numbers: a quarter of the frame.
    await keyboard.press("Delete");
    await bench.maskCheck.getByText(/Nothing is painted/).waitFor();
    await tabTo(page.getByRole("region", { name: "Stage" }).locator("summary"));
    await keyboard.press("Enter");
    await tabTo(bench.stage.field("Left"));
    await tabTo(bench.stage.button("Mask box"));
    await keyboard.press("Enter");
    await bench.maskCheck.getByText("25 % masked").waitFor();
    await keyboard.press("g");
    await bench.maskCheck.getByText(/^(?!25).*% masked/).waitFor();

    await tabTo(bench.recipe.method("Copy machine"));
    await keyboard.press("ArrowRight");
    assert.ok(await bench.recipe.method("Direct difference").isChecked(), "arrows choose");
    await tabTo(bench.recipe.name);
    await keyboard.press("Control+a");
    await keyboard.type("by-keyboard");
    await tabTo(bench.recipe.advanced);
    await keyboard.press("Enter");
    await type(bench.recipe.field("The LoRA", "Steps"), "8");
    const calibrate = bench.recipe.field("Run", "Calibrate strength");
    await tabTo(calibrate);
    await keyboard.press("Space");
    assert.ok(!(await calibrate.isChecked()), "Space unticks a box");
    // What is typed counts, though the box is not left.
    await tabTo(bench.recipe.field("Run", "Score budget"));
    await keyboard.press("Control+a");
    await keyboard.type("3");
    await keyboard.press("Control+Enter");
    await lower.run.name("by-keyboard").waitFor();
    await lower.result.shown();

    await tabTo(lower.tab("Result"));
    await keyboard.press("ArrowRight");
    await isFocused(lower.tab("Runs"), "arrows move among the tabs");
    await lower.runs.row("by-keyboard").waitFor();
    await keyboard.press("ArrowLeft");
    await lower.result.line.waitFor({ timeout: RUN_WITHIN });

    await tabTo(lower.result.line);
    const moves = { Home: "0", ArrowRight: "1", "Shift+ArrowRight": "11", End: "100", ArrowLeft: "99" };
    for (const [key, place] of Object.entries(moves)) {
      await keyboard.press(key);
      assert.equal(await lower.result.line.getAttribute("aria-valuenow"), place, `after ${key}`);
    }
    await tabTo(lower.result.strength);
    await keyboard.press("Home");
    assert.equal(await lower.result.strength.inputValue(), "-2", "the dial's end");
    await tabTo(lower.result.download);
    const [file] = await Promise.all([page.waitForEvent("download"), keyboard.press("Enter")]);
    assert.equal(file.suggestedFilename(), "by-keyboard.safetensors", "the file is taken along");
  });
});

test("Train by key leads to what is missing, and its fix is one press away", async () => {
  await suite.visit({ name: "keyboard-missing" }, async ({ page, bench }) => {
    await page.keyboard.press("Control+Enter");
    const fix = bench.preflight.getByRole("button", { name: "Example" });
    await isFocused(fix, "the fix has the focus");
    await page.keyboard.press("Enter");
    await bench.preflight.getByText("128 × 128 px").waitFor();
  });
});

test("the tools are one stop, and every one of them has its key", async () => {
  await suite.visit({ name: "keyboard-tools" }, async ({ page, bench }) => {
    await bench.example.press("Enter");
    await bench.preflight.getByText("128 × 128 px").waitFor();
    await tabTo(bench.stage.tool("Brush"));
    await page.keyboard.press("ArrowRight");
    await isFocused(bench.stage.tool("Eraser"), "arrows move among the tools");
    const keys = { b: "Brush", e: "Eraser", r: "Box", l: "Lasso", f: "Fill" };
    for (const [key, tool] of Object.entries(keys)) {
      await page.keyboard.press(key);
      assert.equal(await bench.stage.tool(tool).getAttribute("aria-pressed"), "true", tool);
    }
    const views = ["A", "B", "Split", "Difference", "As trained"];
    for (const [at, view] of views.entries()) {
      await page.keyboard.press(`${at + 1}`);
      assert.ok(await bench.stage.view(view).isChecked(), `view ${at + 1}`);
    }
  });
});

test("single keys are text in a field, and can be switched off", async () => {
  await suite.visit({ name: "keyboard-single" }, async ({ page, bench }) => {
    await bench.example.press("Enter");
    await bench.preflight.getByText("128 × 128 px").waitFor();
    await bench.recipe.name.focus();
    await page.keyboard.type("e");
    assert.equal(await bench.stage.tool("Brush").getAttribute("aria-pressed"), "true", "a letter");
    await bench.train.focus();

    const keys = new Keys(page);
    await keys.open();
    await isFocused(keys.sheet.getByRole("button", { name: "Close" }), "the sheet has the focus");
    await tabTo(keys.singleKeys);
    await page.keyboard.press("Space");
    await page.keyboard.press("Escape");
    await keys.sheet.waitFor({ state: "detached" });
    await isFocused(bench.train, "the focus is back where it was");
    await page.keyboard.press("e");
    assert.equal(await bench.stage.tool("Brush").getAttribute("aria-pressed"), "true", "is off");
  });
});

/** Presses Tab until this has the focus, as somebody without a mouse has to. */
async function tabTo(target) {
  const page = target.page();
  for (let stops = 0; stops < MOST_STOPS; stops += 1) {
    if (await hasFocus(target)) {
      return;
    }
    await page.keyboard.press("Tab");
  }
  throw new Error(`Tab never comes to ${target}`);
}

async function type(field, value) {
  await tabTo(field);
  await field.page().keyboard.press("Control+a");
  await field.page().keyboard.type(value);
  await field.page().keyboard.press("Tab");
}

async function isFocused(target, why) {
  await eventually(`${why}: ${target}`, () => hasFocus(target));
}

async function hasFocus(target) {
  const one = target.first();
  const isThere = (await one.count()) > 0;
  return isThere && one.evaluate((element) => element === document.activeElement);
}
