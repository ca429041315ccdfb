// A base as one file of the user's disk, trained upon in this browser: picked, dropped, and found again
// after a reload.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { violations } from "./axe.mjs";
import { screenshot } from "./browser.mjs";
import { eventually } from "./eventually.mjs";
import { inspect } from "./native.mjs";
import { writeTree } from "./opfs.mjs";
import { text } from "./pictures.mjs";
import { tensorFile, withVocabulary, without } from "./safetensors.mjs";
import { StaticHost } from "./static-host.mjs";
import { Suite } from "./suite.mjs";

const alone = new Suite(undefined, () => StaticHost.start());
const served = new Suite();

const NAME = "one.safetensors";

/** The miniature knows 64 tokens of CLIP's 49408. */
const TIMES = 772;

/** What is told of it beside its name. */
const FACTS = /small model built like Stable Diffusion 1\.x · ε · F16 · .*MB/;

/** Stable Diffusion 1 in miniature, in one file. */
async function checkpoint() {
  const path = new URL("../fixtures/single/sd1.safetensors", import.meta.url);
  return withVocabulary(await readFile(fileURLToPath(path)), TIMES);
}

test("a file that is picked trains, and after a reload it is there without being asked for", async () => {
  const settings = { name: "from-disk", prepare: pretendPicker };
  await alone.visit(settings, async ({ page, bench, lower }) => {
    const { recipe } = bench;
    await putOnDisk(page, await checkpoint());
    await recipe.fromDisk("File").click();
    await isChosen(bench);
    assert.deepEqual(await violations(page), [], "the choice keeps nobody out");
    await screenshot(page, "from-disk");

    await bench.example.click();
    await small(recipe, { name: "on-file", steps: 3 });
    await bench.train.click();
    await downloads(page, lower, "on-file");

    await page.reload();
    await bench.ready("Browser", "one");
    await isChosen(bench);
    await small(recipe, { name: "again", steps: 2 });
    await bench.train.click();
    await downloads(page, lower, "again");

    await recipe.onDisk("one").getByRole("button", { name: "Forget" }).click();
    await bench.preflight.getByText("Mimeo Avatars").waitFor();
    await page.reload();
    await bench.preflight.getByText(/^(Mimeo Avatars|The base that was chosen is not here)/).waitFor();
    await recipe.base.click();
    await recipe.bases.filter({ hasText: "Mimeo avatars" }).waitFor();
    assert.equal(await recipe.bases.filter({ hasText: "one" }).count(), 0, "it is forgotten");
  });
});

test("a run waits for a base that the browser asks for first, and goes on", async () => {
  const prepare = async (context) => {
    await pretendPicker(context);
    await askFirst(context);
  };
  await alone.visit({ name: "from-disk-asked", prepare }, async ({ page, bench, lower }) => {
    const { recipe } = bench;
    await putOnDisk(page, await checkpoint());
    await recipe.fromDisk("File").click();
    await isChosen(bench);
    await bench.example.click();
    await small(recipe, { name: "waits", steps: 60 });
    await bench.train.click();
    await lower.run.says(/Training · step (1[1-9]|[2-5]\d) of 60/);

    await page.reload();
    await lower.run.name("waits").waitFor();
    await lower.run.says(/waits for its base: one\.safetensors is on your disk/);
    await recipe.onDisk("one").waitFor();
    await bench.preflight.getByText(/one\.safetensors is on your disk; open it again/).waitFor();
    assert.deepEqual(await violations(page), [], "a closed base keeps nobody out");
    await screenshot(page, "from-disk-closed");

    // Another run, on the bundled base, does not wait for it.
    await recipe.base.click();
    await recipe.base.fill("avatars");
    await page.keyboard.press("Enter");
    await small(recipe, { name: "before", steps: 2 });
    await bench.train.click();
    await lower.run.name("before").waitFor();
    await lower.run.says(/^Finished/);

    await recipe.onDisk("one").getByRole("button", { name: "Open again" }).click();
    await isChosen(bench);
    await lower.open("Runs");
    await lower.runs.button("waits", "Show").click();
    await lower.run.says(/Training · step [1-9]\d* of 60/);
    const [, step] = /step (\d+) of/.exec(await lower.run.region.innerText());
    assert.ok(Number(step) >= 10, `it is saved every ten steps, and went on at ${step}`);
    await lower.run.discard();
  });
});

test("a file that has changed is told, and used as it is now; one that is gone is told", async () => {
  const settings = { name: "from-disk-changed", prepare: pretendPicker };
  await alone.visit(settings, async ({ page, bench, companion: host }) => {
    const { recipe } = bench;
    const file = await checkpoint();
    await putOnDisk(page, file);
    await recipe.fromDisk("File").click();
    await isChosen(bench);

    await page.goto(host.emptyUrl);
    await putOnDisk(page, Buffer.concat([file.subarray(0, -1), Buffer.from([1])]));
    await page.goto(host.url);
    const closed = recipe.onDisk("one");
    await closed.getByText("one.safetensors has changed since it was picked").waitFor();
    await closed.getByRole("button", { name: "Use it as it is now" }).click();
    await isChosen(bench);

    await page.goto(host.emptyUrl);
    await page.evaluate(async () => {
      const all = await navigator.storage.getDirectory();
      const mimeo = await all.getDirectoryHandle("mimeo");
      await mimeo.removeEntry("disk", { recursive: true });
    });
    await page.goto(host.url);
    await closed.getByText("one.safetensors is not where it was picked any more").waitFor();
    await screenshot(page, "from-disk-gone");
    await closed.getByRole("button", { name: "Forget" }).click();
    await bench.preflight.getByText("Mimeo Avatars").waitFor();
  });
});

test("a browser without handles says that the file is to be picked again", async () => {
  const settings = { name: "from-disk-again", prepare: withoutPickers };
  await alone.visit(settings, async ({ page, bench, lower }) => {
    const { recipe } = bench;
    const file = { name: NAME, mimeType: "", buffer: await checkpoint() };
    await pick(page, recipe.fromDisk("File"), file);
    await isChosen(bench);
    await page.reload();
    const closed = recipe.onDisk("one");
    await closed.getByText(/this browser does not keep where; pick it again/).waitFor();
    await pick(page, closed.getByRole("button", { name: "Pick it again…" }), file);
    await isChosen(bench);
    await bench.example.click();
    await small(recipe, { name: "again", steps: 2 });
    await bench.train.click();
    await downloads(page, lower, "again");
  });
});

test("a folder is picked as before, and one that is near is told", async () => {
  const settings = { name: "from-disk-folder", prepare: withoutPickers };
  await alone.visit(settings, async ({ page, bench }) => {
    const { recipe } = bench;
    const fixtures = fileURLToPath(new URL("../fixtures", import.meta.url));
    await pick(page, recipe.fromDisk("Folder"), `${fixtures}/micro`);
    await eventually("it is chosen", async () => (await recipe.base.inputValue()) === "micro");
    await bench.preflight.getByText("micro").waitFor();
    await pick(page, recipe.fromDisk("Folder"), `${fixtures}/micro/unet`);
    await recipe.refusal.filter({ hasText: /unet: this is one part of a base; choose the folder/ }).waitFor();
    assert.equal(await recipe.base.inputValue(), "micro", "as it was");
  });
});

test("a base without a VAE is trained with one that is picked, also after a reload", async () => {
  const settings = { name: "from-disk-vae", prepare: withoutPickers };
  await alone.visit(settings, async ({ page, bench, lower }) => {
    const { recipe } = bench;
    const bare = { name: NAME, mimeType: "", buffer: without(await checkpoint(), "first_stage_model.") };
    const path = new URL("../fixtures/micro/vae/diffusion_pytorch_model.safetensors", import.meta.url);
    const vae = { name: "anime.safetensors", mimeType: "", buffer: await readFile(fileURLToPath(path)) };
    await pick(page, recipe.fromDisk("File"), bare);
    await bench.preflight.getByText(/This base has no VAE of its own.*pick one from disk/).waitFor();
    await pick(page, recipe.fromDisk("File"), vae);
    await bench.preflight.getByText("one, with the VAE anime").waitFor();
    await recipe.onDisk("anime").getByText("anime.safetensors is read where it is").waitFor();
    assert.deepEqual(await recipe.vae.getByRole("option").allInnerTexts(), ["It has none: choose one", "anime"]);
    await recipe.base.click();
    assert.equal(await recipe.bases.filter({ hasText: "anime" }).count(), 0, "it is no base");
    await page.keyboard.press("Escape");
    assert.deepEqual(await violations(page), [], "the choice keeps nobody out");
    await screenshot(page, "from-disk-vae");
    await bench.example.click();
    await small(recipe, { name: "with-vae", steps: 2 });
    await bench.train.click();
    await downloads(page, lower, "with-vae");

    await page.reload();
    await pick(page, recipe.onDisk("one").getByRole("button", { name: "Pick it again…" }), bare);
    await bench.preflight.getByText(/anime\.safetensors is on your disk, and this browser does not keep where/).waitFor();
    await pick(page, bench.preflight.getByRole("button", { name: "Pick it again…" }), vae);
    await bench.preflight.getByText("one, with the VAE anime").waitFor();
    await bench.example.click();
    await small(recipe, { name: "again", steps: 2 });
    await bench.train.click();
    await downloads(page, lower, "again");

    await recipe.onDisk("anime").getByRole("button", { name: "Forget" }).click();
    await bench.preflight.getByText("This base has no VAE of its own").waitFor();
  });
});

test("a checkpoint that is dropped becomes the base, and what is none says what it is", async () => {
  await alone.visit({ name: "from-disk-dropped" }, async ({ page, bench, lower }) => {
    const { recipe } = bench;
    await bench.dropFiles([{ name: NAME, mimeType: "", buffer: await checkpoint() }]);
    await isChosen(bench);
    const truncated = (await checkpoint()).subarray(0, 9000);
    const lora = tensorFile({ "lora_unet_x.lora_down.weight": [4, 320], "lora_unet_x.lora_up.weight": [320, 4] });
    const wrong = {
      "page.safetensors": [Buffer.from("<!DOCTYPE html>"), /web page.*download failed/],
      "cut.safetensors": [truncated, /ends early/],
      "old.ckpt": [Buffer.from([0x80, 2, 0x7d, 0x71, 0, 0x2e]), /pickle.*torch\.load/],
      "flux.gguf": [Buffer.from("GGUF\u0003\0\0\0"), /GGUF.*\.safetensors/],
      "flux.safetensors": [tensorFile({ "double_blocks.0.img_attn.qkv.weight": [8, 8] }), /Flux/],
      "vae.safetensors": [tensorFile({ "decoder.conv_in.weight": [8, 4, 3, 3] }), /a VAE/],
    };
    for (const [name, [buffer, says]] of Object.entries(wrong)) {
      await bench.dropFiles([{ ...text(name, ""), buffer }]);
      await recipe.refusal.filter({ hasText: says }).waitFor();
      assert.equal(await recipe.refusal.count(), 1, `${name}: said once`);
      assert.equal(await recipe.base.inputValue(), "one", `${name} is not chosen`);
    }
    await bench.dropFiles([{ ...text("mine.safetensors", ""), buffer: lora }]);
    await recipe.refusal.filter({ hasText: /holds no recipe; only LoRAs trained by Mimeo do/ }).waitFor();

    await bench.example.click();
    await small(recipe, { name: "on-drop", steps: 2 });
    await bench.train.click();
    await downloads(page, lower, "on-drop");
  });
});

test("a LoRA that is picked as a base says what it is", async () => {
  const settings = { name: "from-disk-lora", prepare: withoutPickers };
  await alone.visit(settings, async ({ page, bench }) => {
    const buffer = tensorFile({ "lora_unet_x.lora_down.weight": [4, 320], "lora_unet_x.lora_up.weight": [320, 4] });
    await pick(page, bench.recipe.fromDisk("File"), { ...text("mine.safetensors", ""), buffer });
    await bench.recipe.refusal.filter({ hasText: /mine\.safetensors: This is a LoRA, not a checkpoint/ }).waitFor();
    await bench.recipe.base.click();
    assert.equal(await bench.recipe.bases.count(), 1, "only the bundled one is listed");
  });
});

test("where the companion trains, a checkpoint that is dropped says how it gets there", async () => {
  await served.visit({ name: "from-disk-companion" }, async ({ bench }) => {
    await bench.dropFiles([{ name: NAME, mimeType: "", buffer: await checkpoint() }]);
    const told = bench.recipe.refusal.filter({ hasText: /one\.safetensors is a checkpoint/ });
    await told.getByText(/mimeo serve --models FOLDER/).waitFor();
    assert.equal(await bench.recipe.fromDisk("File").count(), 0, "the companion finds its own");
  });
});

/** A run of a few steps, of one row each and without scores: the miniature would take pictures of 512 px. */
async function small(recipe, { name, steps }) {
  await recipe.makeShort({ name, steps });
  await recipe.openAdvanced();
  await recipe.set("The LoRA", "Batch size", 1);
  await recipe.set("Run", "Score budget", 0);
  await recipe.set("Run", "Resolution", 64);
  await recipe.advanced.click();
}

/** Waits until it is chosen, and described as the companion describes it. */
async function isChosen(bench) {
  await eventually("it is chosen", async () => (await bench.recipe.base.inputValue()) === "one");
  await bench.recipe.region.getByText(FACTS).waitFor();
  await bench.recipe.onDisk("one").getByText("one.safetensors is read where it is").waitFor();
  await bench.preflight.getByText("one", { exact: true }).waitFor();
}

/** Waits for the result, downloads it, and lets the command line read it. */
async function downloads(page, lower, name) {
  await lower.run.name(name).waitFor();
  await lower.run.says(/^Finished/);
  await lower.open("Result");
  const [file] = await Promise.all([page.waitForEvent("download"), lower.result.download.click()]);
  assert.equal(file.suggestedFilename(), `${name}.safetensors`, "its name");
  assert.match(await inspect(await file.path()), /built like Stable Diffusion 1\.x/, "mimeo inspect accepts it");
}

/** Picks files by a button that opens the browser's own dialog. */
async function pick(page, button, files) {
  const [dialog] = await Promise.all([page.waitForEvent("filechooser"), button.click()]);
  await dialog.setFiles(files);
}

/** Puts the file where the pretended picker finds it: a file of this origin has a handle as well. */
async function putOnDisk(page, bytes) {
  await writeTree(page, new Map([[`disk/${NAME}`, bytes]]));
}

/** What a user picks without a user. */
async function pretendPicker(context) {
  await context.addInitScript((name) => {
    window.showOpenFilePicker = async () => {
      const all = await navigator.storage.getDirectory();
      const disk = await (await all.getDirectoryHandle("mimeo")).getDirectoryHandle("disk");
      return [await disk.getFileHandle(name)];
    };
  }, NAME);
}

/** The browser lets the page read what was picked before once the user says so. */
async function askFirst(context) {
  await context.addInitScript(() => {
    let isAllowed = false;
    FileSystemHandle.prototype.queryPermission = async () => (isAllowed ? "granted" : "prompt");
    FileSystemHandle.prototype.requestPermission = async () => {
      isAllowed = navigator.userActivation.isActive;
      return isAllowed ? "granted" : "denied";
    };
  });
}

/** As browsers are that give no handles. */
async function withoutPickers(context) {
  await context.addInitScript(() => {
    delete window.showOpenFilePicker;
    delete window.showDirectoryPicker;
  });
}
