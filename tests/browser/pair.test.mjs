// How pictures come onto the bench, and what comes of them there.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { eventually } from "./eventually.mjs";
import { bundled, bundledPair, plain } from "./pictures.mjs";
import { Suite } from "./suite.mjs";
import { paste } from "./transfer.mjs";

const suite = new Suite();

test("pictures are pasted, the first into A and the second into B", async () => {
  await suite.visit({ name: "paste" }, async ({ page, bench }) => {
    const [original, target] = await bundledPair("hat");
    await paste(page, original);
    await bench.well("A").getByText("hat-A.png").waitFor();
    await paste(page, target);
    await bench.well("B").getByText("hat-B.png").waitFor();
    await bench.pair.getByText(/\d % of the picture changes/).waitFor();
  });
});

test("pictures are picked, and picked again", async () => {
  await suite.visit({ name: "pick" }, async ({ bench }) => {
    for (const pair of ["hat", "smile"]) {
      for (const letter of ["A", "B"]) {
        await bench.picker(letter).setInputFiles(await bundled(pair, letter));
        await bench.well(letter).getByText(`${pair}-${letter}.png`).waitFor();
      }
    }
  });
});

test("a well shows its whole picture, above the button that replaces it", async () => {
  await suite.visit({ name: "well" }, async ({ bench }) => {
    await bench.loadExample();
    for (const letter of ["A", "B"]) {
      // Nameless: the file's name stands beside it.
      const shown = await bench.well(letter).locator("img").boundingBox();
      const well = await bench.well(letter).boundingBox();
      const button = await bench.well(letter).getByText("Replace…").boundingBox();
      assert.ok(shown.y + shown.height <= button.y + 1, `${letter} ends above its button`);
      assert.ok(shown.width <= well.width, `${letter} fits`);
      assert.ok(Math.abs(shown.width - shown.height) < 2, `${letter} is a square, as its file is`);
    }
  });
});

test("a well that is dragged onto the other one swaps them", async () => {
  await suite.visit({ name: "swap" }, async ({ page, bench }) => {
    await bench.loadExample();
    await bench.well("A").dragTo(bench.well("B"));
    await bench.well("A").getByText("glasses B.png").waitFor();
    await bench.well("B").getByText("glasses A.png").waitFor();
    await page.keyboard.press("x");
    await bench.well("A").getByText("glasses A.png").waitFor();
    await bench.head("Undo").click();
    await bench.well("A").getByText("glasses B.png").waitFor();
  });
});

test("a well that is dragged onto itself, or elsewhere, changes nothing", async () => {
  await suite.visit({ name: "no-swap" }, async ({ page, bench }) => {
    await bench.loadExample();
    const [inside, outside] = [{ x: 20, y: 20 }, page.getByRole("region", { name: "Recipe" })];
    await bench.well("A").dragTo(bench.well("A"), { sourcePosition: inside });
    await bench.well("A").dragTo(outside, { sourcePosition: inside });
    await bench.well("A").getByText("glasses A.png").waitFor();
    await bench.preflight.getByText("128 × 128 px").waitFor();
    assert.equal(await bench.alerts.count(), 0, "nothing is wrong either");
  });
});

test("pictures of two shapes are fitted by one crop that can be moved", async () => {
  await suite.visit({ name: "crop" }, async ({ bench }) => {
    const square = { from: 60, to: 100, colour: [220, 40, 40] };
    await bench.dropFiles([
      plain("wide.png", 300, 150, [90, 120, 90]),
      plain("wide-too.png", 300, 150, [90, 120, 90], square),
    ]);
    await bench.pair.getByText(/\d % of the picture changes/).waitFor();
    const { width, height } = await bench.stage.frame();
    assert.deepEqual([width, height], [128, 64], "the whole of both");
    await bench.dropInto("B", plain("square.png", 150, 150, [90, 120, 90], square));
    const down = bench.pair.getByRole("slider", { name: /^Crop, down/ });
    await down.waitFor();
    await down.press("Home");
    assert.equal(Number(await down.inputValue()), 0, "moved to the top");
  });
});

test("a B that is darker all over is said to be, and its colours are matched by a click", async () => {
  await suite.visit({ name: "brightness" }, async ({ bench }) => {
    const square = { from: 30, to: 60, colour: [220, 40, 40] };
    await bench.dropFiles([
      plain("A.png", 128, 128, [150, 150, 150]),
      plain("B.png", 128, 128, [120, 120, 120], square),
    ]);
    await bench.pair.getByRole("button", { name: "Match colours" }).click();
    await bench.pair.getByText(/^[5-8] % of the picture changes/).waitFor();
    assert.equal(await bench.pair.getByRole("button", { name: "Match colours" }).count(), 0, "done");
  });
});

test("B is made of A here: another colour inside the mask", async () => {
  await suite.visit({ name: "make" }, async ({ bench }) => {
    await bench.picker("A").setInputFiles(await bundled("hat", "A"));
    await bench.stage.openMore();
    await bench.stage.button("Mask box").click();
    await bench.pair.getByText("Make the pair here").click();
    await bench.pair.getByRole("button", { name: "Make B" }).click();
    await bench.pair.getByText(/2[0-9] % of the picture changes/).waitFor();
    await bench.maskCheck.getByText(/2[56] % masked/).waitFor();
  });
});

test("A is drawn here by the base", async () => {
  await suite.visit({ name: "draw" }, async ({ bench }) => {
    await bench.pair.getByText("Make the pair here").click();
    await bench.pair.getByRole("textbox", { name: "Prompt for A" }).fill("short hair, red hair");
    await bench.pair.getByRole("button", { name: "Draw A" }).click();
    await bench.well("A").getByText("short hair, red hair, seed 1.png").waitFor({ timeout: 60_000 });
  });
});

test("a mask is taken out as a file and comes back in", async () => {
  await suite.visit({ name: "mask-file" }, async ({ page, bench }) => {
    const { stage } = bench;
    await bench.loadExample();
    const masked = await stage.maskedPixels();
    await stage.openMore();
    const [file] = await Promise.all([
      page.waitForEvent("download"),
      stage.button("Export mask").click(),
    ]);
    await stage.button("Clear").click();
    await eventually("an empty mask", async () => (await stage.maskedPixels()) === 0);
    await stage.maskPicker.setInputFiles(await file.path());
    await eventually("the mask is back", async () => (await stage.maskedPixels()) === masked);
  });
});

test("a mask that leaves out the change is told before the first step, and mended by a click", async () => {
  await suite.visit({ name: "mask-leaves-out" }, async ({ page, bench }) => {
    await bench.loadExample();
    await bench.stage.openMore();
    const wrong = {
      "M_inverted.png": [/outside the mask, which looks inverted/, "Invert the mask"],
      "M_comfy_erased.png": [/a picture whose painted part was erased/, "Invert the mask"],
      "M_value1.png": [/nearly black, 1 of 255/, "Mask what differs"],
    };
    for (const [name, [says, fix]] of Object.entries(wrong)) {
      const path = fileURLToPath(new URL(`../cases/masks/${name}`, import.meta.url));
      await bench.stage.maskPicker.setInputFiles(path);
      await bench.maskCheck.getByText(says).waitFor();
      if (name === "M_comfy_erased.png") {
        await page.getByRole("status").getByText(/alpha channel is the mask/).waitFor();
      }
      await bench.train.click();
      const button = bench.preflight.getByRole("button", { name: fix });
      const isFocused = await button.evaluate((button) => button === document.activeElement);
      assert.ok(isFocused, `${name}: Train leads to the remedy`);
      await button.click();
      const good = /\d % masked(, and all that differs is inside|; \d % of what differs lies outside)$/;
      await bench.maskCheck.getByText(good).waitFor();
      await bench.head("Undo").click();
      await bench.maskCheck.getByText(says).waitFor();
    }
  });
});
