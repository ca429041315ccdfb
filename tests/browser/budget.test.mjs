// How much there is to look at, and how soon it is there.

import assert from "node:assert/strict";
import { test } from "node:test";

import { keepFigures, spread } from "./measured.mjs";
import { choose } from "./pages/choose.mjs";
import { Suite } from "./suite.mjs";

const suite = new Suite();

/** Decisions that stand in the way before Advanced is opened. */
const MOST_CONTROLS = 8;

/** How often the page is opened to see how soon it paints. */
const VISITS = 5;

test("there are eight decisions at most before Advanced", async () => {
  await suite.visit({ name: "decisions" }, async ({ bench }) => {
    await bench.loadExample();
    for (const method of ["Copy machine", "Direct difference", "Plain LoRA"]) {
      await choose(bench.recipe.method(method));
      const decisions = await decisionsIn(bench.recipe.region);
      await keepFigures(`Decisions before Advanced, ${method}`, { decisions: decisions.join(", ") });
      const count = decisions.length;
      assert.ok(count <= MOST_CONTROLS && count >= 3, `${method}: ${count}`);
    }
  });
});

test("a page that is opened paints, and is connected", async () => {
  const millis = { paint: [], ready: [] };
  for (let visit = 0; visit < VISITS; visit += 1) {
    await suite.visit({ name: "first-paint" }, async ({ page }) => {
      millis.ready.push(await page.evaluate(() => performance.now()));
      millis.paint.push(
        await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime),
      );
    });
  }
  await keepFigures("First contentful paint, from a companion on this machine", spread(millis.paint));
  await keepFigures("Connected and ready to train, as above", spread(millis.ready));
});

test("the page is painted before its program has come", async () => {
  let isPainted = false;
  const prepare = async (context) => {
    await context.route(/\.wasm$/, async (route) => {
      const page = route.request().frame().page();
      await page.getByText("Mimeo", { exact: true }).waitFor();
      isPainted = true;
      await route.continue();
    });
  };
  await suite.visit({ name: "before-program", prepare }, async () => {
    assert.ok(isPainted, "the program was held back until there was something to see");
  });
});

/** What sets the recipe: a group of radio buttons is one decision, as is a field or a list. */
async function decisionsIn(region) {
  return region.evaluate((recipe) => {
    const isSeen = (it) => it.checkVisibility() && !it.closest("details:not([open])");
    const controls = [...recipe.querySelectorAll("input, select, textarea")].filter(isSeen);
    const nameOf = (it) => {
      const group = it.type === "radio" && it.closest("fieldset")?.querySelector("legend");
      return (group || it.labels[0])?.firstChild?.textContent?.trim() ?? it.id;
    };
    return [...new Set(controls.map(nameOf))];
  });
}
