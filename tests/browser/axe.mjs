// What keeps people out of the page, as far as a program can tell: axe-core, WCAG 2.2 AA.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

import { screenshot } from "./browser.mjs";

const RULES = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"];

/**
 * What a page does wrong now, one sentence for each violation; an empty list is what one wants.
 *
 * @param {import("playwright-core").Page} page
 * @returns {Promise<string[]>}
 */
export async function violations(page) {
  await page.evaluate(await source());
  const found = await page.evaluate(
    async (rules) => (await window.axe.run({ runOnly: rules })).violations,
    RULES,
  );
  return found.map(sentence);
}

/**
 * Nobody is kept out, in light and dark; nothing has to be scrolled sideways.
 *
 * @param {import("playwright-core").Page} page
 * @param {string} state names the screenshots
 * @param {[number, number][]} sizes CSS px
 */
export async function looks(page, state, sizes) {
  for (const [width, height] of sizes) {
    await page.setViewportSize({ width, height });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= width, `${state} at ${width} px takes ${wide} px`);
    for (const colorScheme of ["dark", "light"]) {
      await page.emulateMedia({ colorScheme });
      assert.deepEqual(await violations(page), [], `WCAG 2.2 AA, ${state}, ${colorScheme}`);
      await screenshot(page, `${state}-${width}-${colorScheme}`);
    }
  }
}

/** Evaluated by the debugger: as a script tag, the page's content security policy forbids it. */
async function source() {
  return readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
}

function sentence({ id, impact, help, nodes }) {
  const places = nodes.map(({ target, failureSummary }) => {
    const summary = failureSummary.replaceAll(/\s+/g, " ");
    return `  ${target.join(" ")}: ${summary}`;
  });
  return `${help} (${id}, ${impact}) at\n${places.join("\n")}`;
}
