// A models folder with a hundred files in it: searched, chosen from, and why some cannot be chosen.

import assert from "node:assert/strict";
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";

import { violations } from "./axe.mjs";
import { screenshot } from "./browser.mjs";
import { Companion } from "./companion.mjs";
import { RUN_WITHIN, eventually } from "./eventually.mjs";
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

test("a base without a VAE is trained with one of the VAE folder, as what it is said to be", async () => {
  const bare = join(folder, "models/Stable-diffusion/Bare");
  await cp(MICRO, bare, { recursive: true, filter: (path) => !path.endsWith("/vae") });
  await mkdir(join(folder, "models/VAE"), { recursive: true });
  const weights = join(MICRO, "vae/diffusion_pytorch_model.safetensors");
  await cp(weights, join(folder, "models/VAE/anime.safetensors"));
  await put("models/VAE/page.safetensors", UNUSABLE.page[0]);
  await suite.visit({ name: "vae" }, async ({ page, bench, lower }) => {
    const { recipe } = bench;
    await recipe.base.click();
    await recipe.base.fill("bare");
    await recipe.bases.filter({ hasText: "without VAE" }).click();
    await bench.preflight.getByText("This base has no VAE of its own").waitFor();
    await bench.preflight.getByRole("button", { name: "Choose a VAE" }).click();
    assert.ok(await recipe.vae.evaluate((it) => it === document.activeElement), "it has the focus");
    assert.ok(await recipe.vae.getByRole("option", { name: "page" }).isDisabled(), "that is none");
    await recipe.vae.selectOption({ label: "anime" });
    await bench.preflight.getByText("Bare, with the VAE anime").waitFor();

    await recipe.openAdvanced();
    await recipe.field("The base", "Prediction type").selectOption("v_prediction");
    await recipe.field("The base", "Zero terminal SNR").selectOption("yes");
    assert.equal(await recipe.advanced.innerText(), "Advanced (2 edited)", "what is said of it");
    assert.deepEqual(await violations(page), [], "the choices keep nobody out");
    await recipe.field("The base", "Clip skip").scrollIntoViewIfNeeded();
    await screenshot(page, "vae");
    await recipe.advanced.click();
    await bench.example.click();
    await recipe.makeShort({ name: "said", steps: 4 });
    await bench.train.click();
    await page.getByText("said.safetensors").waitFor({ timeout: RUN_WITHIN });
    await lower.open("Playground");
    const { playground } = lower;
    await playground.region.getByText("As the base is").click();
    await playground.region.getByLabel("Guidance rescale").fill("2");
    await playground.region.getByLabel("Guidance rescale").press("Tab");
    await playground.region.getByText(/Guidance rescale must be between 0 and 1/).waitFor();
    await playground.region.getByLabel("Guidance rescale").fill("0.5");
    await playground.region.getByLabel("Guidance rescale").press("Tab");
    await playground.region.getByLabel("Prediction type").selectOption("v_prediction");
    await playground.prompt.fill("smile");
    await playground.button("Draw").click();
    await playground.picture("smile").waitFor({ timeout: RUN_WITHIN });
    assert.deepEqual(await violations(page), [], "nor what is said there");
    await screenshot(page, "playground-said");

    await recipe.base.click();
    await recipe.base.fill("tiny 3");
    await page.keyboard.press("Enter");
    await recipe.openAdvanced();
    const said = recipe.field("The base", "Prediction type");
    await eventually("nothing is said of another base", async () => (await said.inputValue()) === "");
    assert.equal(await recipe.vae.inputValue(), "", "and its own VAE is taken");
  });
  await rm(bare, { recursive: true });
  await rm(join(folder, "models/VAE"), { recursive: true });
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
