import assert from "node:assert/strict";
import { test } from "node:test";

import { bundled, bundledPair, cutOff, fixture, plain, text, zeroed } from "./pictures.mjs";
import { tensorFile } from "./safetensors.mjs";
import { Suite } from "./suite.mjs";

const suite = new Suite();

/** A remedy is something that one can do now. */
const REMEDY = /(choose|convert|export|scale|crop|try) /i;

test("a file that is no picture, a damaged one and a strip are refused in their well, and nothing is lost", async () => {
  await suite.visit({ name: "wrong-files" }, async ({ bench }) => {
    await bench.loadExample();
    await bench.stage.button("Suggest").click();
    const masked = await bench.maskCheck.innerText();
    const wrong = {
      "a text": [text("notes.txt", "no picture"), /text|not|convert/i],
      "a cut off PNG": [cutOff(await bundled("hat", "A")), /damaged or cut off/],
      "a JPEG with a hole": [zeroed(await fixture("restarts.jpg")), /damaged or cut off/],
      "a photo of a phone": [text("IMG_1.HEIC", "\0\0\0\x18ftypheic\0\0\0\0"), /HEIC/],
      "a dot": [plain("dot.png", 1, 1, [200, 30, 30]), /1x1 px/],
      "a strip": [plain("strip.png", 10, 3000, [200, 30, 30]), /narrow/],
    };
    for (const [what, [file, says]] of Object.entries(wrong)) {
      await bench.dropInto("A", file);
      const refusal = bench.well("A").getByRole("alert");
      await refusal.filter({ hasText: says }).waitFor();
      assert.match(await refusal.innerText(), REMEDY, `${what}: what to do about it`);
      assert.equal(await bench.alerts.count(), 1, `${what}: said once`);
      await bench.well("A").getByText("glasses A.png").waitFor();
      await bench.preflight.getByText("128 × 128 px").waitFor();
      assert.equal(await bench.maskCheck.innerText(), masked, `${what}: the mask is still there`);
    }
    await bench.dropInto("A", await bundled("hat", "A"));
    await bench.well("A").getByRole("alert").waitFor({ state: "detached" });
    await bench.well("A").getByText("hat-A.png").waitFor();
  });
});

test("colours in another space are converted, and the well says so", async () => {
  await suite.visit({ name: "adobe-rgb" }, async ({ bench }) => {
    await bench.dropInto("A", await fixture("adobe_rgb.png"));
    await bench.well("A").getByText(/converted from Adobe RGB.* to sRGB/).waitFor();
    await bench.dropInto("A", await bundled("hat", "A"));
    await bench.well("A").getByText("hat-A.png").waitFor();
    assert.equal(await bench.well("A").getByText(/converted/).count(), 0, "of that file only");
  });
});

test("what is refused anywhere on the page is said at the pair", async () => {
  await suite.visit({ name: "wrong-drop" }, async ({ bench }) => {
    await bench.dropFiles([text("notes.txt", "no picture")]);
    const refusal = bench.pair.getByRole("alert");
    await refusal.filter({ hasText: /notes\.txt/ }).waitFor();
    assert.match(await refusal.innerText(), REMEDY, "what to do about it");
  });
});

test("one wrong file of two does not keep the other one out", async () => {
  await suite.visit({ name: "wrong-half" }, async ({ bench }) => {
    const [original] = await bundledPair("glasses");
    await bench.dropFiles([original, text("notes.txt", "no picture")]);
    await bench.well("A").getByText("glasses-A.png").waitFor();
    await bench.pair.getByRole("alert").filter({ hasText: /notes\.txt/ }).waitFor();
  });
});

test("two identical pictures cannot be trained, and Train says why", async () => {
  await suite.visit({ name: "identical" }, async ({ page, bench }) => {
    const original = await bundled("glasses", "A");
    await bench.dropFiles([original, { ...original, name: "copy.png" }]);
    await bench.preflight.getByText(/identical.*choose a B/i).waitFor();
    await bench.train.click();
    const focused = page.locator(":focus");
    assert.match(await focused.innerText(), /Choose B/, "Train leads to what is to be mended");
  });
});

test("a recipe with a typing error is refused by name", async () => {
  await suite.visit({ name: "wrong-recipe" }, async ({ bench }) => {
    await bench.dropFiles([text("mine.json", '{"methodd": "addift"}')]);
    await bench.recipe.refusal.filter({ hasText: /methodd/ }).waitFor();
  });
});

test("what of a LoRA is not applied is said below it, and one of nothing else is refused", async () => {
  await suite.visit({ name: "foreign-loras" }, async ({ lower }) => {
    const { playground } = lower;
    await lower.open("Playground");
    const module = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_k";
    const kohya = (name) => [`${name}.lora_down.weight`, `${name}.lora_up.weight`];
    const peft = (name) => [`base_model.model.${name}.lora_A.weight`, `base_model.model.${name}.lora_B.weight`];
    const file = (name, keys) => {
      const shapes = keys.map((key) => [key, /down|lora_A/.test(key.slice(-20)) ? [2, 64] : [64, 2]]);
      return { ...text(name, ""), buffer: tensorFile(Object.fromEntries(shapes)) };
    };
    const unet = kohya(`lora_unet_${module.replaceAll(".", "_")}`);
    const norm = kohya("lora_unet_mid_block_attentions_0_norm");

    await playground.loraPicker.setInputFiles([file("part.safetensors", [...unet, ...norm])]);
    await playground.loras.getByText(/Not all of part.*norm layers 1/).waitFor();
    const refusal = playground.loras.getByRole("alert");
    await playground.loraPicker.setInputFiles([file("norms.safetensors", norm)]);
    await refusal.filter({ hasText: /Nothing of this LoRA.*norm layers 1.*norms/ }).waitFor();

    const weights = file("adapter_model.safetensors", peft(module));
    await playground.loraPicker.setInputFiles([weights]);
    await refusal.filter({ hasText: /adapter_config\.json.*together/ }).waitFor();
    const config = text("adapter_config.json", '{"peft_type": "LORA", "r": 2, "lora_alpha": 4}');
    await playground.loraPicker.setInputFiles([config, weights]);
    await playground.loras.getByRole("group", { name: "adapter_model" }).waitFor();
    await refusal.waitFor({ state: "detached" });
  });
});
