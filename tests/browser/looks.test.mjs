// Every state of the page: nobody is kept out, nothing has to be scrolled sideways, and what it
// looks like is kept for people to judge.

import assert from "node:assert/strict";
import { test } from "node:test";

import { violations } from "./axe.mjs";
import { screenshot } from "./browser.mjs";
import { RUN_WITHIN, eventually } from "./eventually.mjs";
import { choose } from "./pages/choose.mjs";
import { Keys } from "./pages/keys.mjs";
import { Suite } from "./suite.mjs";

const suite = new Suite();

/** CSS px: a telephone, a laptop, a large screen. */
const WIDTHS = { 390: 844, 1280: 800, 2560: 1440 };

const USUAL = { width: 1280, height: 800 };

test("the empty page, a pair, the keys and the playground keep nobody out", async () => {
  await suite.visit({ name: "looks" }, async ({ page, bench, lower }) => {
    await keepsNobodyOut(page, "empty");
    await bench.loadExample();
    await bench.stage.openMore();
    await bench.recipe.openAdvanced();
    await bench.recipe.openExchange();
    await bench.pair.getByText("Make the pair here").click();
    await keepsNobodyOut(page, "everything-open");

    const keys = new Keys(page);
    await page.getByRole("heading", { name: "Mimeo" }).click();
    await keys.open();
    await keepsNobodyOut(page, "keys");
    await page.keyboard.press("Escape");

    await lower.open("Playground");
    await lower.playground.prompt.waitFor();
    await keepsNobodyOut(page, "playground");
  });
});

test("a pair, a run, its result and the list of runs keep nobody out at any width", async () => {
  await suite.visit({ name: "looks-run", reducedMotion: true }, async ({ page, bench, lower }) => {
    await bench.loadExample();
    await choose(bench.stage.view("Split"));
    await keepLooks(page, "pair");

    await bench.recipe.makeShort({ name: "looked-at", steps: 12, previewEvery: 4 });
    await bench.train.click();
    await lower.run.says(/Training · step \d+ of 12/);
    await lower.run.previews("\\+1").first().waitFor({ timeout: RUN_WITHIN });
    // A run that waits looks the same for as long as one looks at it.
    await lower.run.button("Pause").click();
    await lower.run.button("Resume").waitFor({ timeout: RUN_WITHIN });
    await keepLooks(page, "running");
    await keepsNobodyOut(page, "running");

    await lower.run.button("Resume").click();
    await lower.result.shown();
    await eventually("the dial's first picture", () => lower.result.picture(/strength \+1/).isVisible(), RUN_WITHIN);
    await keepLooks(page, "result");
    await keepsNobodyOut(page, "result");

    await lower.open("Runs");
    await lower.runs.row("looked-at").waitFor();
    await keepLooks(page, "runs");
    await keepsNobodyOut(page, "runs");
  });
});

/** In light and dark. */
async function keepsNobodyOut(page, state) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    assert.deepEqual(await violations(page), [], `WCAG 2.2 AA, ${state}, ${colorScheme}`);
  }
  await screenshot(page, `${state}-dark`);
  await page.emulateMedia({ colorScheme: "light" });
}

/** Keeps a picture of every width; at each, the page is as wide as the window and no wider. */
async function keepLooks(page, state) {
  for (const [width, height] of Object.entries(WIDTHS)) {
    await page.setViewportSize({ width: Number(width), height });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= width, `${state} at ${width} px takes ${wide} px: ${await tooWide(page)}`);
    await screenshot(page, `${state}-${width}`);
  }
  await page.setViewportSize(USUAL);
}

/** What sticks out on the right, as tags with their classes. */
async function tooWide(page) {
  const found = await page.evaluate(() => {
    const elements = [...document.body.querySelectorAll("*")];
    const out = elements.filter((it) => it.getBoundingClientRect().right > innerWidth + 1);
    return out.slice(0, 5).map((it) => `${it.tagName.toLowerCase()}.${it.className}`);
  });
  return found.join(", ");
}
