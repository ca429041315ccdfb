// A models folder with a hundred files in it: searched, chosen from, and why some cannot be chosen.

import assert from "node:assert/strict";
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";

import { violations } from "./axe.mjs";
import { screenshot } from "./browser.mjs";
import { Companion } from "./companion.mjs";
import { eventually } from "./eventually.mjs";
import { MICRO } from "./jobs.mjs";
import { plain } from "./pictures.mjs";
import { tensorFile } from "./safetensors.mjs";
import { Suite } from "./suite.mjs";

/** Files that cannot be trained upon, by what they hold and a part of the reason. */
const UNUSABLE = {
  "sd2": [checkpoint(1024), "Stable Diffusion 1.x"],
  "mislaid": [tensorFile({ "lora_unet_x.lora_down.weight": [4, 320] }), "LoRA"],
  "page": [Buffer.from("<!DOCTYPE html><html></html>"), "web page"],
  "cut": [checkpoint(768).subarray(0, 5000), "ends early"],
};

/** Bases that can be trained upon. */
const USABLE = 20;

/** Files of each kind that cannot. */
const OF_EACH = 20;

/** The bundled one as well. */
const ALL = 1 + USABLE + Object.keys(UNUSABLE).length * OF_EACH;

let folder;

const suite = new Suite(undefined, async () => {
  folder = await mkdtemp(join(tmpdir(), "mimeo-models-"));
  for (let at = 0; at < USABLE; at += 1) {
    await cp(MICRO, join(folder, `models/Stable-diffusion/anime/Tiny ${at}`), { recursive: true });
  }
  await put("models/Stable-diffusion/anime/Tiny 7.preview.png", plain("", 64, 96, [200, 60, 90]).buffer);
  for (const [kind, [bytes]] of Object.entries(UNUSABLE)) {
    for (let at = 0; at < OF_EACH; at += 1) {
      await put(`models/Stable-diffusion/${kind}-${at}.safetensors`, bytes);
    }
  }
  await put("models/Stable-diffusion/sd2-3.png", plain("", 96, 64, [60, 90, 200]).buffer);
  await put("models/Lora/never-listed.safetensors", UNUSABLE.mislaid[0]);
  return Companion.start(["--models", folder]);
});

after(async () => rm(folder, { recursive: true, force: true }));

test("a hundred bases are searched and chosen from by keyboard", async () => {
  await suite.visit({ name: "bases" }, async ({ page, bench }) => {
    const { recipe } = bench;
    const { keyboard } = page;
    await recipe.base.focus();
    assert.equal(await recipe.bases.count(), 0, "closed until it is wanted");
    await keyboard.press("ArrowDown");
    await recipe.basesCount.filter({ hasText: `${ALL} of ${ALL}` }).waitFor();
    assert.equal(await recipe.bases.count(), ALL, "all of them");
    const unusable = recipe.region.locator('[role="option"][aria-disabled="true"]');
    assert.equal(await unusable.count(), ALL - 1 - USABLE, "those that cannot be used as well");
    const picture = recipe.bases.filter({ hasText: "anime/Tiny 7" }).locator("img");
    await picture.scrollIntoViewIfNeeded();
    await eventually("the picture beside it", () => picture.evaluate((image) => image.naturalWidth > 0));
    assert.deepEqual(await violations(page), [], "an open list keeps nobody out");
    await screenshot(page, "bases");

    await keyboard.type("tiny 1");
    // 1 and 10 to 19.
    await recipe.basesCount.filter({ hasText: `11 of ${ALL}` }).waitFor();
    await keyboard.press("ArrowDown");
    const at = await recipe.base.getAttribute("aria-activedescendant");
    const wanted = page.locator(`#${at} .base-title`);
    const title = await wanted.textContent();
    await keyboard.press("Enter");
    assert.equal(await recipe.base.inputValue(), title, "the one that the keys were at");
    assert.equal(await recipe.bases.count(), 0, "closed by the choice");
    await bench.preflight.getByText(title).waitFor();
    await recipe.region.getByText(/Stable Diffusion 1\.x · .* · F\d+ · .*B$/).waitFor();

    await keyboard.type("no such base");
    await recipe.basesCount.filter({ hasText: `None of ${ALL}` }).waitFor();
    await keyboard.press("Escape");
    assert.equal(await recipe.base.inputValue(), title, "as it was");
  });
});

test("why a base cannot be used is said, and it is not chosen", async () => {
  await suite.visit({ name: "bases-unusable" }, async ({ page, bench }) => {
    const { recipe } = bench;
    const before = await recipe.base.inputValue();
    for (const [kind, [, why]] of Object.entries(UNUSABLE)) {
      await recipe.base.click();
      await recipe.base.fill(`${kind}-3`);
      const option = recipe.bases.filter({ hasText: `${kind}-3` });
      await option.filter({ hasText: why }).waitFor();
      assert.equal(await recipe.bases.count(), 1, `${kind} is found by its name`);
      await screenshot(page, `bases-${kind}`);
      await option.click({ force: true });
      await page.keyboard.press("Enter");
      assert.equal(await recipe.bases.count(), 1, `${kind}: the list stays open`);
      await page.keyboard.press("Escape");
      assert.equal(await recipe.base.inputValue(), before, `${kind} is not chosen`);
    }
  });
});

test("a file that comes while the list is open is listed, and one that goes is not", async () => {
  await suite.visit({ name: "bases-change" }, async ({ bench }) => {
    const { recipe } = bench;
    await recipe.base.click();
    await recipe.basesCount.filter({ hasText: `${ALL} of ${ALL}` }).waitFor();
    await put("models/Stable-diffusion/late.ckpt", Buffer.from([0x80, 2, 0x7d, 0x71, 0, 0x2e]));
    await recipe.bases.filter({ hasText: "late" }).filter({ hasText: "pickle" }).waitFor();
    await rm(join(folder, "models/Stable-diffusion/late.ckpt"));
    await recipe.basesCount.filter({ hasText: `${ALL} of ${ALL}` }).waitFor();
  });
});

/** A checkpoint in one file, as far as its family can be told. */
function checkpoint(contextWidth) {
  const block = "model.diffusion_model.input_blocks";
  return tensorFile({
    [`${block}.0.0.weight`]: [320, 4, 3, 3],
    [`${block}.1.1.transformer_blocks.0.attn2.to_k.weight`]: [8, contextWidth],
  });
}

async function put(path, bytes) {
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), bytes);
}
