// What keeps people out of the page, as far as a program can tell: axe-core, WCAG 2.2 AA.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

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
