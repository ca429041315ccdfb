// The other tests prove something only if what they rely on can fail.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { violations } from "./axe.mjs";
import { openBrowser, withPage } from "./browser.mjs";
import { Companion } from "./companion.mjs";

let browser;
let companion;

before(async () => {
  [browser, companion] = await Promise.all([openBrowser(), Companion.start()]);
});

after(async () => {
  await Promise.all([browser?.close(), companion?.dispose()]);
});

test("what goes wrong inside a page fails its test", async () => {
  const goingWrong = {
    "an error on the console": () => console.error("on purpose"),
    "an exception that nobody catches": () => setTimeout(() => { throw new Error("on purpose"); }),
    "a request to a stranger": () => fetch("http://stranger.invalid/on-purpose").catch(() => {}),
  };
  for (const [what, happens] of Object.entries(goingWrong)) {
    const visit = withPage(browser, companion, {}, async (page) => {
      await page.evaluate(happens);
      await page.waitForTimeout(100);
    });
    await assert.rejects(visit, /on.purpose/, what);
  }
});

test("an error that belongs to a test does not fail it", async () => {
  const expectedErrors = [/on purpose/, /favicon/];
  await withPage(browser, companion, { expectedErrors }, async (page) => {
    await page.evaluate(() => console.error("on purpose"));
  });
});

test("a picture that says nothing to the blind is a violation", async () => {
  const expectedErrors = [/favicon/];
  await withPage(browser, companion, { expectedErrors }, async (page) => {
    await page.evaluate(() => document.body.append(document.createElement("img")));
    const found = await violations(page);
    assert.equal(
      found.filter((sentence) => sentence.includes("image-alt")).length,
      1,
      `one sentence tells: ${found.join("\n")}`,
    );
  });
});

test("a companion keeps its address and its data over a restart and leaves nothing behind", async () => {
  const other = await Companion.start();
  const { address } = other;
  await other.stop();
  await assert.rejects(fetch(other.url), "nobody answers once it is stopped");
  await other.restart();
  assert.equal(other.address, address, "the page finds it again");
  assert.equal((await fetch(`${other.url}health`)).status, 200, "and it answers");
  await other.dispose();
  await assert.rejects(fetch(other.url), "nobody answers once it is disposed of");
});
