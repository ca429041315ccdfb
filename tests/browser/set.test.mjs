// Many pairs: dropped together, corrected, captioned, masked, trained, and all of it kept.

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { looks } from "./axe.mjs";
import { RUN_WITHIN, eventually } from "./eventually.mjs";
import { kept } from "./kept.mjs";
import { writeTree } from "./opfs.mjs";
import { choose } from "./pages/choose.mjs";
import { Keys } from "./pages/keys.mjs";
import { PairSet } from "./pages/pair-set.mjs";
import { bundled, plain, text } from "./pictures.mjs";
import { readTensors } from "./safetensors.mjs";
import { Suite } from "./suite.mjs";

const suite = new Suite();

/** Folders of the bundled pairs, and numbers of the pairs in them: twelve. */
const CHANGES = ["beard", "closed_eyes", "glasses", "hair_color", "hat", "smile"];
const NUMBERS = ["00", "01"];

/** CSS px: a telephone, a laptop. */
const SIZES = [[390, 844], [1280, 800]];

test("a folder of twelve pairs is dropped, corrected by keyboard, masked, captioned, trained and kept", async () => {
  await suite.visit({ name: "set", reducedMotion: true }, async ({ page, bench, lower }) => {
    const set = new PairSet(page);
    await bench.dropFiles(await folder());
    await set.has(12);
    assert.deepEqual(
      (await set.names()).map(([a, b]) => `${a} ${b}`),
      // As their names say, which is wrong for two of them.
      Array.from({ length: 12 }, (_, at) => `${name(at)}_before.png ${name(at)}_after.png`),
    );
    await bench.preflight.getByText("12 pairs, 128 × 128 px").waitFor();
    assert.equal(await set.caption(1).inputValue(), "a person, beard", "from the text beside it");
    await set.left.getByText(/notes\.pdf: it is neither a picture .* nor a caption/).waitFor();
    await looks(page, "set-dropped", SIZES);

    // The after of the third belongs to the fourth, and the other way round.
    await set.picture("A", 1).focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    await isFocused(set.picture("B", 3));
    await page.keyboard.press("Alt+ArrowDown");
    await isFocused(set.picture("B", 4));
    // Of the ninth, before and after are confused.
    for (let row = 4; row < 9; row += 1) {
      await page.keyboard.press("ArrowDown");
      await isFocused(set.picture("B", row + 1));
    }
    await page.keyboard.press("Alt+ArrowLeft");
    await isFocused(set.picture("A", 9));
    const corrected = await set.names();
    assert.deepEqual(corrected[2], [`${name(2)}_before.png`, `${name(3)}_after.png`], "the third");
    assert.deepEqual(corrected[3], [`${name(3)}_before.png`, `${name(2)}_after.png`], "the fourth");
    assert.deepEqual(corrected[8], [`${name(8)}_after.png`, `${name(8)}_before.png`], "the ninth");

    for (let row = 9; row > 6; row -= 1) {
      await page.keyboard.press("ArrowUp");
      await isFocused(set.picture("A", row - 1));
    }
    await page.keyboard.press("Enter");
    await bench.pair.getByText("6 of 12").waitFor();
    await bench.stage.paint([[28, 60], [100, 60], [100, 66], [28, 66]]);
    await set.mask(6).getByText(/^\d+ %$/).waitFor();
    await bench.preflight.getByText(/1 of 12 pairs.*the others learn wherever A and B differ/).waitFor();
    assert.equal(await set.mask(7).innerText(), "–", "the others are not");

    await set.caption(2).fill("a person, beard, blue sky");
    await set.caption(2).press("Tab");
    await set.tag("a person 12/12").waitFor();
    await set.tag("beard 2/12").click();
    await set.tag("beard 12/12").waitFor();
    await bench.head("Undo").click();
    await set.tag("beard 2/12").waitFor();

    const expected = { names: await set.names(), masked: await set.mask(6).innerText() };
    await eventually("it is kept", async () => (await kept(page, "set")).includes("blue sky"));
    await page.reload();
    await bench.ready();
    await set.has(12);
    assert.deepEqual(await set.names(), expected.names, "pictures and their places");
    assert.equal(await set.mask(6).innerText(), expected.masked, "the mask");
    assert.equal(await set.caption(2).inputValue(), "a person, beard, blue sky", "captions");
    await bench.pair.getByText("6 of 12").waitFor();
    await looks(page, "set-corrected", SIZES);

    const [zip] = await Promise.all([
      page.waitForEvent("download"),
      set.button("Download captions").click(),
    ]);
    const captions = (await readFile(await zip.path())).toString("latin1");
    assert.ok(captions.includes("a person, beard, blue sky"), "what was typed");
    assert.ok(captions.includes(`${name(1)}_before.txt`), "beside its picture");

    await choose(bench.recipe.method("Direct difference"));
    await bench.recipe.makeShort({ name: "twelve", steps: 12 });
    await bench.train.click();
    await lower.run.name("twelve").waitFor();
    await page.getByRole("region", { name: "Run", exact: true }).getByText("12 pairs").waitFor();
    await lower.result.shown(RUN_WITHIN);
    await lower.result.region.getByText("Trained on 12 pairs").waitFor();
    const [file] = await Promise.all([
      page.waitForEvent("download"),
      lower.result.download.click(),
    ]);
    const tensors = readTensors(await readFile(await file.path()));
    assert.ok(tensors.size > 0, "a LoRA");
    await lower.open("Runs");
    await lower.runs.row("twelve").getByText("12 pairs").waitFor();

    await bench.pair.getByRole("button", { name: "Start over" }).click();
    await set.region.waitFor({ state: "detached" });
    await lower.runs.button("twelve", "Run again").click();
    await set.has(12);
    assert.equal(await set.caption(2).inputValue(), "a person, beard, blue sky", "they come back");
    assert.equal(await set.mask(6).innerText(), expected.masked, "with the mask");
  });
});

test("one pair has no table until there is more, and what is missing is led to", async () => {
  await suite.visit({ name: "set-grows" }, async ({ page, bench }) => {
    const set = new PairSet(page);
    await bench.loadExample();
    assert.equal(await set.region.count(), 0, "one pair is one pair");
    await bench.pair.getByRole("button", { name: "Add a pair" }).click();
    await set.has(2);
    await bench.pair.getByText("2 of 2").waitFor();
    await set.dropOnto("A", 2, await bundled("hat", "A"));
    await set.picture("A", 1).click();
    await bench.preflight.getByText("Pair 2: B is missing.").waitFor();
    await bench.train.click();
    const show = bench.preflight.getByRole("button", { name: "Show it" });
    await isFocused(show);
    await show.click();
    await bench.pair.getByText("2 of 2").waitFor();
    await set.dropOnto("B", 2, await bundled("hat", "B"));
    await bench.preflight.getByText("2 pairs, 128 × 128 px").waitFor();

    const moves = await set.more(2);
    await moves.getByLabel("Level").fill("-1");
    await moves.getByLabel("Level").press("Tab");
    await moves.getByLabel("Weight").fill("much");
    await moves.getByLabel("Weight").press("Tab");
    await bench.alerts.filter({ hasText: /weight must be a number/ }).waitFor();
    await moves.getByRole("button", { name: "Move B to the pair above" }).click();
    await eventually("B is swapped", async () => (await set.names())[0][1] === "hat-B.png");
    assert.equal(await moves.getByLabel("Level").inputValue(), "-1", "the level stays");
    await looks(page, "set-more", SIZES);
    await moves.getByRole("button", { name: "Remove pair" }).click();
    await set.region.waitFor({ state: "detached" });
    assert.equal(await bench.alerts.count(), 0, "and nothing is wrong");
    for (const count of [2, 2]) {
      await bench.head("Undo").click();
      await set.has(count);
    }
    await eventually("B is back", async () => (await set.names())[0][1] === "glasses B.png");
  });
});

test("a folder is picked with its button, with handles and without", async () => {
  const framing = fileURLToPath(new URL("../../shared/base/sets/framing", import.meta.url));
  const names = (await readdir(framing)).sort();
  const check = async (set) => {
    await set.has(5);
    const found = (await set.names()).slice(2);
    const expected = ["long", "usual", "wide"].map((name) => [`${name}_A.png`, `${name}_B.png`]);
    assert.deepEqual(found, expected, "behind those that there are");
    assert.equal(await set.caption(3).inputValue(), "long shot", "with its caption");
    await set.mask(3).getByText(/^\d+ %$/).waitFor();
  };
  const settings = { name: "set-picked", prepare: pretendFolder };
  await suite.visit(settings, async ({ page, bench }) => {
    const set = await two(page, bench);
    const read = async (name) => [`picked/${name}`, await readFile(`${framing}/${name}`)];
    await writeTree(page, new Map(await Promise.all(names.map(read))));
    await set.button("Add folder…").click();
    await check(set);
  });
  const without = async (context) => context.addInitScript(() => delete window.showDirectoryPicker);
  await suite.visit({ name: "set-picked-files", prepare: without }, async ({ page, bench }) => {
    const set = await two(page, bench);
    const [dialog] = await Promise.all([
      page.waitForEvent("filechooser"),
      set.button("Add folder…").click(),
    ]);
    await dialog.setFiles(framing);
    await check(set);
  });
});

test("a picture is dragged onto another one, and the keys are listed", async () => {
  await suite.visit({ name: "set-drag", reducedMotion: true }, async ({ page, bench }) => {
    const set = new PairSet(page);
    const files = ["1_a", "1_b", "2_a", "2_b"].map((name, at) =>
      plain(`${name}.png`, 64, 64, [60 * at, 90, 120]),
    );
    await bench.dropFiles(files);
    await set.has(2);
    // Rows move while their pictures come.
    await eventually("all are shown", async () => (await page.locator(".set-picture img").count()) === 4);
    await eventually("they change places", async () => {
      const [[, first]] = await set.names();
      if (first === "1_b.png") {
        // Chromium loses the button's press at times, and nothing is dragged then.
        await set.picture("B", 1).dragTo(set.picture("B", 2));
      }
      return first === "2_b.png";
    });
    await page.getByRole("heading", { name: "Mimeo" }).click();
    const keys = new Keys(page);
    await keys.open();
    await page.getByText("Move the picture to another pair").waitFor();
  });
});

/** Two pairs on the bench, so that there is a table. */
async function two(page, bench) {
  const set = new PairSet(page);
  const files = ["1_a", "1_b", "2_a", "2_b"].map((name, at) =>
    plain(`${name}.png`, 64, 64, [60 * at, 90, 120]),
  );
  await bench.dropFiles(files);
  await set.has(2);
  return set;
}

/** What a user picks without a user: a folder of this origin has a handle as well. */
async function pretendFolder(context) {
  await context.addInitScript(() => {
    window.showDirectoryPicker = async () => {
      const all = await navigator.storage.getDirectory();
      return (await all.getDirectoryHandle("mimeo")).getDirectoryHandle("picked");
    };
  });
}

/** What a row of the folder is called. */
function name(at) {
  return `person${String(at + 1).padStart(2, "0")}`;
}

/** Twelve pairs with captions, two of them mixed up, one the wrong way round, and a stranger. */
async function folder() {
  const pairs = CHANGES.flatMap((change) => NUMBERS.map((number) => ({ change, number })));
  const files = [];
  for (const [at, { change, number }] of pairs.entries()) {
    const other = { 2: pairs[3], 3: pairs[2] }[at] ?? { change, number };
    let before = await bundled(change, "A", number);
    let after = await bundled(other.change, "B", other.number);
    if (at === 8) {
      [before, after] = [after, before];
    }
    files.push({ ...before, name: `${name(at)}_before.png` });
    files.push({ ...after, name: `${name(at)}_after.png` });
    files.push(text(`${name(at)}.txt`, `a person, ${change}\n`));
  }
  // Whatever the order in which a browser brings them.
  files.reverse();
  return [...files, text("notes.pdf", "%PDF")];
}

async function isFocused(locator) {
  const isActive = () => locator.evaluate((element) => element === document.activeElement);
  await eventually("it has the focus", isActive);
}
