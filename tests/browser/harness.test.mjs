// The other tests prove something only if what they rely on can fail.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { violations } from "./axe.mjs";
import { openBrowser, withPage } from "./browser.mjs";
import { Companion } from "./companion.mjs";
import { apart, readTensors, worstApart } from "./safetensors.mjs";
import { StaticHost } from "./static-host.mjs";

let browser;
let companion;

before(async () => {
  [browser, companion] = await Promise.all([openBrowser(), Companion.start()]);
});

after(async () => {
  await Promise.all([browser?.close(), companion?.dispose()]);
});

test("what goes wrong inside a page fails its test", async () => {
  const goingWrong = [
    ["an error on the console", "console", () => console.error("on purpose")],
    [
      "an exception that nobody catches",
      "pageerror",
      () => setTimeout(() => { throw new Error("on purpose"); }),
    ],
    [
      "a request to a stranger",
      "request",
      () => fetch("http://stranger.invalid/on-purpose").catch(() => {}),
    ],
  ];
  for (const [what, event, happens] of goingWrong) {
    const visit = withPage(browser, companion, {}, async (page) => {
      // A busy machine tells of it late.
      await Promise.all([page.waitForEvent(event), page.evaluate(happens)]);
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

test("a static host serves the page under its sub-path only, and nothing beside its folder", async () => {
  const host = await StaticHost.start(new URL("pages", import.meta.url).pathname);
  const at = (path) => fetch(new URL(path, host.url));
  const served = await at("keys.mjs");
  assert.deepEqual(
    [served.status, served.headers.get("content-type")],
    [200, "text/javascript; charset=utf-8"],
    "a file of the folder",
  );
  await served.text();
  for (const path of ["/keys.mjs", "none.mjs", "..%2fsuite.mjs", "%2e%2e%2fsuite.mjs"]) {
    const { status } = await at(path);
    assert.equal(status, 404, path);
  }
  await host.dispose();
});

test("numbers of every width are read from a LoRA, and a LoRA that is another one is seen", () => {
  const file = (values) => {
    const header = JSON.stringify({
      half: { dtype: "F16", shape: [1, 3], data_offsets: [8, 14] },
      brain: { dtype: "BF16", shape: [1], data_offsets: [14, 16] },
      single: { dtype: "F32", shape: [2], data_offsets: [0, 8] },
      __metadata__: { any: "thing" },
    });
    const bytes = Buffer.alloc(8 + header.length + 16);
    bytes.writeBigUInt64LE(BigInt(header.length));
    bytes.write(header, 8);
    values.forEach((value, at) => bytes.writeFloatLE(value, 8 + header.length + at * 4));
    // 1.5, -2^-24 and 65504; -3.
    [0x3e00, 0x8001, 0x7bff, 0xc040].forEach((bits, at) => bytes.writeUInt16LE(bits, 16 + header.length + at * 2));
    return readTensors(bytes);
  };
  const [start, theirs, ours] = [file([0, 0]), file([3, 4]), file([3, 3.9])];
  assert.deepEqual([...theirs.keys()], ["brain", "half", "single"], "in the order of their names");
  assert.deepEqual([...theirs.get("half")], [1.5, -(2 ** -24), 65504], "16 bits");
  assert.deepEqual([...theirs.get("brain")], [-3], "16 bits with the range of 32");
  assert.ok(Math.abs(apart(ours, theirs, start) - 0.02) < 1e-6, "a tenth of the five that it went");
  const { worst, at, trained } = worstApart(ours, theirs, start);
  assert.ok(Math.abs(worst - 0.025) < 1e-6, "a tenth of the four of its longest value");
  assert.deepEqual([at, trained], ["single", 1], "where, and how many were trained at all");
  assert.throws(() => apart(ours, start, start), /proves nothing/, "what was not trained");
  assert.throws(() => apart(file([NaN, 0]), theirs, start), /no numbers/, "what is no number");
});
