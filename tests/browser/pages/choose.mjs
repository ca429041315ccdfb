// Radio buttons that look like cards or like a bar: what one sees, and clicks, is their label.

import assert from "node:assert/strict";

/**
 * Clicks it where it is once the page does not move any more, and looks whether it is chosen.
 *
 * @param {import("playwright-core").Locator} radio
 */
export async function choose(radio) {
  await radio.locator("xpath=ancestor::label").click();
  assert.ok(await radio.isChecked(), `${radio} is chosen`);
}
