// The parity tests (tests/parity) once more, compiled for the browser: the same functions, fixtures and
// tolerances, in a Web Worker.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { openBrowser, withPage } from "./browser.mjs";
import { eventually } from "./eventually.mjs";
import { StaticHost } from "./static-host.mjs";

/** Milliseconds that all of them may take. */
const END_WITHIN = 1_200_000;

/** What runs on WebGPU natively is no part of it; whatever else there is runs. */
const AT_LEAST = 60;

let browser;
let host;

before(async () => {
  // What `mimeo-page tests` made of them.
  [browser, host] = await Promise.all([openBrowser(), StaticHost.start(process.env.MIMEO_PARITY)]);
});

after(async () => {
  await Promise.all([browser?.close(), host?.dispose()]);
});

test("every number beside the reference, in the browser as natively", async () => {
  await withPage(browser, host, { name: "parity" }, async (page) => {
    const output = page.locator("#output");
    const told = /test result: (\w+)\. (\d+) passed; (\d+) failed/;
    const [, verdict, passed, failed] = await eventually(
      "the tests have ended",
      async () => (await output.textContent()).match(told),
      END_WITHIN,
    );
    const text = await output.textContent();
    console.log(`${passed} passed, ${failed} failed`);
    assert.equal(verdict, "ok", text);
    assert.ok(passed >= AT_LEAST, `only ${passed} ran:\n${text}`);
  });
});
