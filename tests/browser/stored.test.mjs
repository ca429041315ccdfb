// What is stored and cannot be read, what a newer Mimeo stored, and what an older one did: in this
// browser, and in a companion's database.

import assert from "node:assert/strict";
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { screenshot } from "./browser.mjs";
import { RUN_WITHIN, eventually } from "./eventually.mjs";
import { readTree, writeTree } from "./opfs.mjs";
import { choose } from "./pages/choose.mjs";
import { apart, readTensors } from "./safetensors.mjs";
import { StaticHost } from "./static-host.mjs";
import { Suite } from "./suite.mjs";

const alone = new Suite(undefined, () => StaticHost.start());
const served = new Suite();

/** The browser itself says so while the companion is away; the page can do nothing about it. */
const GONE = [/WebSocket connection to/, /ERR_CONNECTION_REFUSED/, /Failed to load resource/];

/** What the trainer of format 1 kept, and the LoRA that its interrupted run came to. */
const FORMAT_1 = fileURLToPath(new URL("../stored/format-1/opfs", import.meta.url));
const EXPECTED = "expected.safetensors";

/** How long the interrupted run is; its state is saved every ten steps. */
const STEPS = 60;

/** Distance of two LoRAs as a share of the way that they were trained, as in wasm-cpu.test.mjs. */
const MOVED = 8e-4;

test("a run in this browser that cannot be read is one row with its reason, and harms no other", async () => {
  await alone.visit({ name: "unreadable-browser" }, async ({ page, bench, lower, companion: host }) => {
    await trainTwo(bench, lower);
    await page.goto(host.emptyUrl);
    const kept = await readTree(page);
    const damaged = kept.get("ledger/1").subarray(0, 100);
    await writeTree(page, new Map([["ledger/1", damaged]]));
    await page.goto(host.url);
    await bench.ready("Browser");
    await isOneRow(page, lower, "in this browser's storage", "unreadable-browser");

    await page.reload();
    await bench.ready("Browser");
    await isGone(lower);
  });
});

test("a row of the companion's that cannot be read is one too", async () => {
  const settings = { name: "unreadable-companion", expectedErrors: GONE };
  await served.visit(settings, async ({ page, bench, lower, companion }) => {
    await trainTwo(bench, lower);
    await companion.stop();
    await spoil(join(companion.data, "mimeo.db"), "spoilt");
    await companion.restart();
    await page.reload();
    await bench.ready();
    await isOneRow(page, lower, "in the folder results/1 of the companion's data", "unreadable-companion");

    await companion.kill();
    await companion.restart();
    await page.reload();
    await bench.ready();
    await isGone(lower);
  });
});

test("settings of a newer Mimeo stay until the user says otherwise", async () => {
  await alone.visit({ name: "newer-settings" }, async ({ page, bench, companion: host }) => {
    await bench.loadExample();
    await bench.recipe.name.fill("before");
    await eventually("it is kept", async () => (await keptSettings(page))?.includes('"before"'));
    await page.goto(host.emptyUrl);
    const newer = JSON.stringify({ ...JSON.parse(await keptSettings(page)), format: 2, colour: "blue" });
    await keepSettings(page, newer);
    await page.goto(host.url);
    await bench.ready("Browser");
    const told = bench.alerts.filter({ hasText: /newer Mimeo/ });
    await told.getByText(/has format 2 of a newer Mimeo.*update Mimeo.*What was kept stays/).waitFor();

    await bench.recipe.name.fill("after");
    await choose(bench.recipe.method("Direct difference"));
    await bench.stage.paint([[30, 30], [90, 60]]);
    await screenshot(page, "newer-settings");
    await page.reload();
    await told.waitFor();
    assert.equal(await keptSettings(page), newer, "to the letter, whatever was done on the page");

    await bench.ready("Browser");
    await bench.recipe.name.fill("after");
    await told.getByRole("button", { name: "Keep this page instead" }).click();
    await told.waitFor({ state: "detached" });
    const isWritten = async () => {
      const { format, colour, settings } = JSON.parse(await keptSettings(page));
      return format === 1 && colour === undefined && JSON.stringify(settings).includes('"after"');
    };
    await eventually("this page takes its place", isWritten);
    await page.reload();
    await bench.ready("Browser");
    assert.equal(await bench.recipe.name.inputValue(), "after", "and is what comes back");
    assert.equal(await told.count(), 0, "with nothing more to say");
  });
});

test("what the trainer of format 1 kept is opened, and its interrupted run goes on", async () => {
  const expected = await readFile(join(FORMAT_1, EXPECTED));
  const kept = await readFolder(FORMAT_1);
  kept.delete(EXPECTED);
  await alone.visit({ name: "stored-browser" }, async ({ page, bench, lower, companion: host }) => {
    await page.goto(host.emptyUrl);
    await writeTree(page, kept);
    await page.goto(host.url);
    await bench.ready("Browser");
    const lora = await goesOn(page, lower);
    const share = moved(lora, expected);
    console.log(`the LoRA of format 1: ${share.toExponential(1)} of its way off`);
    assert.ok(share <= MOVED, `the LoRA is ${share} of its way off`);

    await lower.open("Runs");
    await lower.runs.button("finished", "Show").click();
    await lower.result.shown();
    assert.equal(await lower.runs.region.getByText("Cannot be read", { exact: true }).count(), 0, "every run is read");
  });
});

test("what this version keeps is written if asked for", async (context) => {
  if (process.env.MIMEO_WRITE_STORED === undefined) {
    context.skip("MIMEO_WRITE_STORED=1 writes tests/stored, for a new format only");
    return;
  }
  await alone.visit({ name: "stored-written" }, async ({ page, bench, lower, companion: host }) => {
    await bench.loadExample();
    await small(bench, { name: "finished", steps: 4 });
    await bench.train.click();
    await lower.result.shown();
    await small(bench, { name: "interrupted", steps: STEPS });
    await bench.train.click();
    await lower.open("Run");
    await lower.run.says(new RegExp(`Training · step (1[1-9]|2\\d) of ${STEPS}`));
    await page.goto(host.emptyUrl);
    const tree = await readTree(page);
    for (const path of tree.keys()) {
      // The base comes with every Mimeo.
      if (path.startsWith("bases/") || path === "probe") {
        tree.delete(path);
      }
    }
    await page.goto(host.url);
    await bench.ready("Browser");
    tree.set(EXPECTED, await goesOn(page, lower));
    for (const [path, bytes] of tree) {
      const place = join(FORMAT_1, path);
      await mkdir(dirname(place), { recursive: true });
      await writeFile(place, bytes, { flag: "wx" });
    }
  });
});

/** Trains two runs: "spoilt", which is given up, and "whole". */
async function trainTwo(bench, lower) {
  await bench.loadExample();
  await bench.recipe.makeShort({ name: "spoilt", steps: 300 });
  await bench.train.click();
  await lower.run.says(/Training · step \d+ of 300/);
  await lower.run.discard();
  await bench.recipe.makeShort({ name: "whole", steps: 2 });
  await bench.train.click();
  await lower.result.shown();
}

/** Looks at the list with one run that cannot be read, then deletes that. */
async function isOneRow(page, lower, where, name) {
  const { runs } = lower;
  await lower.open("Runs");
  const row = runs.row("Run 1");
  await row.getByText("Cannot be read", { exact: true }).waitFor();
  const says = await row.getByText(/^This run cannot be read/).innerText();
  assert.match(says, /cannot be read \(.+\)\. If a newer Mimeo stored it, update Mimeo; else delete it/);
  assert.ok(says.includes(where), `where its files stay: ${says}`);
  await runs.row("whole").getByText("Finished").waitFor();
  assert.equal(await runs.row("spoilt").count(), 0, "it is listed once");
  await screenshot(page, name);
  await runs.button("whole", "Show").click();
  await lower.result.shown();

  await lower.open("Runs");
  await runs.button("Run 1", "Delete").click();
  await runs.button("Run 1", "Delete for good").click();
  await row.waitFor({ state: "detached" });
  await runs.row("whole").waitFor();
}

/** The deleted one does not come back, and the other does. */
async function isGone(lower) {
  await lower.open("Runs");
  await lower.runs.row("whole").waitFor();
  assert.equal(await lower.runs.row("Run 1").count(), 0, "it was deleted");
}

/**
 * Makes the job of that name unreadable, in a database that nobody uses.
 *
 * @param {string} database its file
 */
async function spoil(database, name) {
  const bytes = await readFile(database);
  // A text of MessagePack: its length, then its letters. Nothing begins with the other byte.
  const text = Buffer.from([0xa0 + name.length, ...Buffer.from(name)]);
  const at = bytes.indexOf(text);
  assert.ok(at >= 0, `${name} is in the database`);
  assert.equal(bytes.indexOf(text, at + 1), -1, `${name} is in there once`);
  bytes[at] = 0xc1;
  await writeFile(database, bytes);
}

/** The settings that the page kept, JSON; none if it kept none. */
async function keptSettings(page) {
  const settings = await page.evaluate(withStore, { mode: "readonly" });
  return settings && Buffer.from(settings).toString();
}

/** Puts settings in the place of what the page kept. */
async function keepSettings(page, json) {
  await page.evaluate(withStore, { mode: "readwrite", bytes: [...Buffer.from(json)] });
}

/** In the page: reads the settings or, given bytes, writes them. */
async function withStore({ mode, bytes }) {
  const answer = (request) =>
    new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  const database = await answer(indexedDB.open("mimeo"));
  const store = database.transaction("bench", mode).objectStore("bench");
  const request = bytes ? store.put(new Uint8Array(bytes), "settings") : store.get("settings");
  const found = await answer(request);
  database.close();
  return bytes ? undefined : found && [...found];
}

/** A run with the smallest LoRA that there is, on whatever is on the bench. */
async function small(bench, { name, steps }) {
  await bench.recipe.makeShort({ name, steps });
  await bench.recipe.openAdvanced();
  await bench.recipe.set("The LoRA", "Rank", 1);
  await bench.recipe.advanced.click();
}

/** Waits for the interrupted run, which goes on from what was saved, and returns its LoRA. */
async function goesOn(page, lower) {
  await lower.open("Runs");
  await lower.runs.button("interrupted", "Show").click();
  await lower.run.name("interrupted").waitFor();
  await lower.run.says(new RegExp(`Training · step [1-9]\\d of ${STEPS}`));
  await lower.result.shown(RUN_WITHIN);
  const [file] = await Promise.all([page.waitForEvent("download"), lower.result.download.click()]);
  return readFile(await file.path());
}

/** How far two LoRAs are apart, as a share of the way that the second was trained. */
function moved(ours, theirs) {
  // One half of each pair of factors begins at zero, and the other half is moved by it.
  const up = (bytes) => new Map([...readTensors(bytes)].filter(([name]) => name.includes("lora_up")));
  const expected = up(theirs);
  const start = new Map([...expected].map(([name, values]) => [name, values.map(() => 0)]));
  return apart(up(ours), expected, start);
}

/** All files below a folder, by their paths. */
async function readFolder(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map(async (entry) => {
    const path = join(entry.parentPath ?? entry.path, entry.name);
    return [path.slice(folder.length + 1).replaceAll("\\", "/"), await readFile(path)];
  });
  return new Map(await Promise.all(files));
}
