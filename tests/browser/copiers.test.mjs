// The copier library: a framing copier is made, renamed, used again and taken back; a LoRA becomes one.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { looks } from "./axe.mjs";
import { RUN_WITHIN, eventually } from "./eventually.mjs";
import { kept } from "./kept.mjs";
import { choose } from "./pages/choose.mjs";
import { Copiers } from "./pages/copiers.mjs";
import { PairSet } from "./pages/pair-set.mjs";
import { text } from "./pictures.mjs";
import { readTensors } from "./safetensors.mjs";
import { StaticHost } from "./static-host.mjs";
import { Suite } from "./suite.mjs";

const served = new Suite();
const alone = new Suite(undefined, () => StaticHost.start());

/** Each from nearer or farther, with its caption beside A. */
const FRAMINGS = ["long", "usual", "wide"];
/** CSS px. */
const SIZES = [[1280, 800], [720, 900], [390, 844]];

test("a framing copier is made, renamed, reused by another run, and kept", async () => {
  await served.visit({ name: "copiers", reducedMotion: true }, async ({ page, bench, lower }) => {
    const [set, copiers] = [new PairSet(page), new Copiers(page)];
    await bench.dropFiles(await framings("A"));
    await set.has(3);
    assert.equal(await set.caption(1).inputValue(), "long shot", "its framing");
    await makeShort(bench, "framings");
    await bench.recipe.openAdvanced();
    await bench.recipe.field("The copier", "Kind of copier").selectOption("framing");
    await bench.recipe.advanced.click();
    await bench.preflight.getByText("3 pictures").waitFor();
    await copiers.fold.click();
    await copiers.has(0);
    await bench.train.click();
    await lower.run.name("framings").waitFor();
    await copiers.has(1, RUN_WITHIN);
    await copiers.kind("Framing").filter({ hasText: "framings" }).waitFor();
    await copiers.kind("Framing").getByText(/\d+ % faithful · 4 steps · just now/).waitFor();
    await copiers.rename("framings", "three framings");

    await bench.pair.getByRole("button", { name: "Start over" }).click();
    await bench.dropFiles([...(await framings("A")), ...(await framings("B"))]);
    await set.has(3);
    await copiers.button("three framings", "Use it").click();
    await copiers.inUse.getByText("three framings").waitFor();
    await bench.preflight.getByText("upon the copier three framings").waitFor();
    await looks(page, "copiers", SIZES);
    await copiers.takeBack.click();
    await copiers.inUse.waitFor({ state: "detached" });
    await copiers.button("three framings", "Use it").click();
    await copiers.inUse.getByText("three framings").waitFor();
    await eventually("it is kept", async () => (await kept(page, "settings")).includes("three framings"));
    await page.reload();
    await bench.ready();
    await copiers.inUse.getByText("three framings").waitFor();
    await set.has(3);
    await bench.recipe.name.fill("small heads");
    await bench.train.click();
    await lower.run.name("small heads").waitFor();
    await lower.result.shown(RUN_WITHIN);
    await copiers.fold.click();
    await copiers.has(1);
    await lower.open("Runs");
    await lower.runs.button("small heads", "Run again").waitFor();
  });
});

for (const [where, suite] of [["a companion", served], ["the browser alone", alone]]) {
  test(`in ${where} anybody's LoRA becomes a copier and stays one, and what does not fit is refused`, async () => {
    await suite.visit({ name: "copiers-import" }, async ({ page, bench, lower, companion }) => {
      const copiers = new Copiers(page);
      const before = await countOf(copiers);
      await bench.loadExample();
      await bench.recipe.makeShort({ name: "glasses" });
      await bench.train.click();
      await lower.result.shown(RUN_WITHIN);
      const [download] = await Promise.all([
        page.waitForEvent("download"),
        lower.result.download.click(),
      ]);
      const lora = await readFile(await download.path());
      await choose(bench.recipe.method("Copy machine"));
      await copiers.fold.click();
      await copiers.import("Style", text("notes.safetensors", "no LoRA at all"));
      await copiers.refusal.filter({ hasText: "notes.safetensors" }).waitFor();
      const file = { name: "inks.safetensors", mimeType: "application/octet-stream", buffer: lora };
      await copiers.import("Style", file);
      await copiers.has(before + 1);
      await copiers.kind("Style").filter({ hasText: "inks" }).getByText(/imported/).waitFor();
      await copiers.import("Style", file);
      await copiers.refusal.filter({ hasText: "as inks" }).waitFor();

      const [exported] = await Promise.all([
        page.waitForEvent("download"),
        copiers.actions("inks").getByRole("link", { name: "Export inks" }).click(),
      ]);
      assert.equal(exported.suggestedFilename(), "inks_copy.safetensors");
      const tensors = readTensors(await readFile(await exported.path()));
      assert.ok(tensors.size > 0, "a LoRA");
      await page.reload();
      await bench.ready(companion.trainsOn);
      await copiers.has(before + 1);
      await copiers.fold.click();
      await copiers.button("inks", "Use it").click();
      await copiers.inUse.getByText("inks").waitFor();
      await makeShort(bench, "upon inks");
      await bench.recipe.set("Run", "Score budget", 0);
      await bench.train.click();
      await lower.run.name("upon inks").waitFor();
      await lower.run.says(/^Finished/);
      await copiers.takeBack.click();
      await copiers.button("inks", "Delete").click();
      await copiers.button("inks", "Delete for good").click();
      await copiers.has(before);
    });
  });
}

/** How many there are before. */
async function countOf(copiers) {
  const says = await copiers.fold.innerText();
  return Number(says.match(/\((\d+)\)/)[1]);
}

/** Pictures of the framings with their captions, "A" or "B". */
async function framings(letter) {
  const read = async (name) => {
    const path = new URL(`../../shared/base/sets/framing/${name}`, import.meta.url);
    return readFile(fileURLToPath(path));
  };
  const files = FRAMINGS.map(async (framing) => {
    const name = `${framing}_${letter}.png`;
    const picture = { name, mimeType: "image/png", buffer: await read(name) };
    if (letter === "B") {
      return [picture];
    }
    const caption = (await read(`${framing}_A.txt`)).toString();
    return [picture, text(`${framing}_A.txt`, caption)];
  });
  return (await Promise.all(files)).flat();
}

/** Makes the copier's run, and that upon it, ones of a few seconds, with no scores. */
async function makeShort(bench, name) {
  const { recipe } = bench;
  await choose(recipe.method("Copy machine"));
  await recipe.name.fill(name);
  await recipe.openAdvanced();
  await recipe.set("The LoRA", "Steps", 4);
  await recipe.set("The copier", "Copier steps", 4);
  await recipe.set("Previews", "Every", 0);
  await recipe.field("Run", "Calibrate strength").uncheck();
  await recipe.set("Run", "Score budget", 8);
  await recipe.set("Run", "Resolution", 64);
}
