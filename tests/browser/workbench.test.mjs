import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { violations } from "./axe.mjs";
import { openBrowser, screenshot, withPage } from "./browser.mjs";
import { Companion } from "./companion.mjs";

let browser;
let companion;

before(async () => {
  [browser, companion] = await Promise.all([openBrowser(), Companion.start()]);
});

after(async () => {
  await Promise.all([browser?.close(), companion?.dispose()]);
});

for (const colorScheme of ["light", "dark"]) {
  test(`the page is served, paints and keeps nobody out, ${colorScheme}`, async () => {
    const name = `start-${colorScheme}`;
    await withPage(browser, companion, { name, colorScheme }, async (page) => {
      assert.match(await page.title(), /Mimeo/, "the title says whose page it is");
      await page.getByRole("heading").first().waitFor();
      await page.waitForFunction(
        () => performance.getEntriesByName("first-contentful-paint").length > 0,
      );
      await screenshot(page, name);
      assert.deepEqual(await violations(page), [], "WCAG 2.2 AA");
    });
  });
}

test("the page has a conversation with the companion", async () => {
  await withPage(browser, companion, { name: "conversation" }, async (page) => {
    const opened = page.waitForEvent("websocket");
    // Only now, so that the socket cannot be there before it is waited for.
    const [socket] = await Promise.all([opened, page.reload()]);
    assert.equal(new URL(socket.url()).pathname, "/ws", "the companion's socket");
    const answer = await socket.waitForEvent("framereceived");
    assert.notEqual(answer.payload.length, 0, "the companion answers the hello");
  });
});

test("the page is served again by a companion that was killed", async () => {
  await companion.kill();
  await companion.restart();
  await withPage(browser, companion, { name: "restarted" }, async (page) => {
    assert.match(await page.title(), /Mimeo/, "the same page at the same address");
  });
});
