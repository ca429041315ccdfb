// The mask by mouse and by finger, and what undo makes of it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { eventually } from "./eventually.mjs";
import { keepFigures, spread } from "./measured.mjs";
import { pretendSide } from "./pretend.mjs";
import { plain } from "./pictures.mjs";
import { Fingers } from "./pages/fingers.mjs";
import { Suite } from "./suite.mjs";

const suite = new Suite();

const STROKES = 50;

/** Milliseconds; how fast a machine is says nothing about the page, a wait of this length does. */
const FAR_TOO_SLOW = { undo: 500, paint: 160 };

/** Frames that figures are taken at, px a side: the bundled base's, and that of a large one. */
const SIDES = [128, 1024];

/** As a telephone. */
const TELEPHONE = { viewport: { width: 390, height: 844 }, touch: true };

test("every tool masks what it is drawn around, and the right button takes away", async () => {
  await suite.visit({ name: "tools" }, async ({ bench }) => {
    const { stage } = bench;
    await emptyPair(bench);
    await stage.tool("Box").click();
    await stage.paint([[16, 16], [80, 80]]);
    await bench.maskCheck.getByText(/2[56] % masked/).waitFor();
    await stage.paint([[16, 16], [80, 48]], { button: "right" });
    await bench.maskCheck.getByText(/1[23] % masked/).waitFor();
    await stage.button("Clear").click();
    await stage.tool("Lasso").click();
    await stage.paint([[16, 16], [112, 16], [112, 112], [16, 112]]);
    await eventually("a lasso around most", async () => (await stage.maskedPixels()) > 96 * 90);
    await stage.button("Clear").click();
    await stage.tool("Brush").click();
    await stage.paint([[32, 64], [96, 64]]);
    const painted = await stage.maskedPixels();
    assert.ok(painted > 64 * 20, `a line of the brush's width: ${painted} px`);
    await stage.tool("Eraser").click();
    await stage.paint([[32, 64], [64, 64]]);
    assert.ok((await stage.maskedPixels()) < painted, "the eraser takes away");
  });
});

test("a box by numbers masks what was typed, and what is no number is refused by name", async () => {
  await suite.visit({ name: "typed-box" }, async ({ bench }) => {
    const { stage } = bench;
    await emptyPair(bench);
    await stage.openMore();
    await stage.field("Left").fill("a lot");
    await stage.button("Mask box").click();
    const refusal = bench.alerts.filter({ hasText: /Left must be a number between 0 and 127/ });
    await refusal.waitFor();
    assert.equal(await stage.maskedPixels(), 0, "nothing was painted");
    assert.equal(await stage.field("Left").inputValue(), "a lot", "what was typed stays");
    await stage.field("Left").fill("16");
    await stage.button("Mask box").click();
    await refusal.waitFor({ state: "detached" });
    assert.equal(await stage.maskedPixels(), 64 * 64, "the box");
  });
});

test("a stroke under way is taken back by Escape", async () => {
  await suite.visit({ name: "escape" }, async ({ page, bench }) => {
    const { stage } = bench;
    await emptyPair(bench);
    await page.mouse.move(...(await stage.place([40, 40])));
    await page.mouse.down();
    await page.mouse.move(...(await stage.place([90, 90])));
    assert.ok((await stage.maskedPixels()) > 0, "it shows while it is drawn");
    await page.keyboard.press("Escape");
    assert.equal(await stage.maskedPixels(), 0, "as if it never was");
    await page.mouse.up();
    assert.equal(await stage.maskedPixels(), 0, "letting go adds nothing");
  });
});

test("fifty strokes are undone one by one until nothing is masked, and redone", async () => {
  await suite.visit({ name: "undo" }, async ({ page, bench }) => {
    const { stage } = bench;
    await emptyPair(bench);
    for (let stroke = 0; stroke < STROKES; stroke += 1) {
      const [x, y] = [10 + (stroke % 10) * 12, 20 + Math.floor(stroke / 10) * 20];
      await stage.paint([[x, y], [x + 6, y + 6]]);
    }
    const painted = await stage.maskedPixels();
    const millis = [];
    for (let stroke = 0; stroke < STROKES; stroke += 1) {
      const before = await stage.maskedPixels();
      millis.push(await millisOf(page, "z"));
      assert.ok((await stage.maskedPixels()) < before, `undo ${stroke + 1} takes a stroke back`);
    }
    assert.equal(await stage.maskedPixels(), 0, "nothing is left");
    await bench.maskCheck.getByText(/Nothing is painted/).waitFor();
    for (let stroke = 0; stroke < STROKES; stroke += 1) {
      await page.keyboard.press("Control+Shift+z");
    }
    assert.equal(await stage.maskedPixels(), painted, "all of it is back");

    const { width, height } = await stage.frame();
    await keepFigures(`Undo of a stroke, frame of ${width} × ${height} px`, spread(millis));
    assert.ok(Math.max(...millis) < FAR_TOO_SLOW.undo, `undo takes ${Math.max(...millis)} ms`);
  });
});

for (const side of SIDES) {
  test(`a move of the pointer and an undo are on the canvas at once, at ${side} px`, async () => {
    const prepare = (context) => pretendSide(context, side);
    await suite.visit({ name: `latency-${side}`, prepare }, async ({ page, bench }) => {
      const { stage } = bench;
      await bench.dropFiles(pairOf(side));
      await bench.preflight.getByText(`${side} × ${side} px`).waitFor();
      await stage.slider("Size").fill(String(side / 8));
      const paints = await stroke(page, stage, side);
      const undos = [await millisOf(page, "z"), await millisOf(page, "y"), await millisOf(page, "z")];
      assert.equal(await stage.maskedPixels(), 0, "undone, redone and undone");

      const frame = `frame of ${side} × ${side} px`;
      await keepFigures(`Pointer to pixel, brush of ${side / 8} px, ${frame}`, spread(paints));
      await keepFigures(`Undo of a long stroke, ${frame}`, spread(undos));
      assert.ok(Math.max(...paints) < FAR_TOO_SLOW.paint, `painting takes ${Math.max(...paints)} ms`);
      assert.ok(Math.max(...undos) < FAR_TOO_SLOW.undo, `undo takes ${Math.max(...undos)} ms`);
    });
  });
}

test("the wheel zooms at the pointer, Space pans, and 0 shows everything again", async () => {
  await suite.visit({ name: "zoom" }, async ({ page, bench }) => {
    const { stage } = bench;
    await emptyPair(bench);
    const fitted = await stage.scale();
    const at = (await stage.place([64, 64])).map(Math.round);
    const under = await stage.point(at);
    await page.mouse.move(...at);
    await page.mouse.wheel(0, -400);
    await eventually("larger", async () => (await stage.scale()) > fitted * 1.5);
    isNear(await stage.place(under), at, "the point under the pointer stays");
    await page.keyboard.down("Space");
    await page.mouse.down();
    await page.mouse.move(at[0] + 40, at[1] + 10);
    await page.mouse.up();
    await page.keyboard.up("Space");
    isNear(await stage.place(under), [at[0] + 40, at[1] + 10], "the frame goes along");
    assert.equal(await stage.maskedPixels(), 0, "panning paints nothing");
    await page.keyboard.press("0");
    await eventually("fitted", async () => Math.abs((await stage.scale()) - fitted) < 0.01);
  });
});

test("one finger paints; two zoom and leave no paint; a tap of two undoes", async () => {
  await suite.visit({ name: "touch", ...TELEPHONE }, async ({ page, bench }) => {
    const { stage } = bench;
    await emptyPair(bench);
    await stage.mask.scrollIntoViewIfNeeded();
    const fingers = await Fingers.on(page);
    const [left, middle, right] = [
      await stage.place([30, 40]),
      await stage.place([64, 64]),
      await stage.place([98, 88]),
    ];

    await fingers.drag([left], [right]);
    const painted = await stage.maskedPixels();
    assert.ok(painted > 0, "one finger paints");

    const scale = await stage.scale();
    const [x, y] = middle;
    await fingers.drag([[x - 20, y], [x + 20, y]], [[x - 80, y], [x + 80, y]]);
    await eventually("larger", async () => (await stage.scale()) > scale * 1.5);
    assert.equal(await stage.maskedPixels(), painted, "two fingers paint nothing");

    await fingers.tap([[x - 30, y], [x + 30, y]]);
    await eventually("undone", async () => (await stage.maskedPixels()) === 0);
  });
});

/** The example without its mask. */
async function emptyPair(bench) {
  await bench.loadExample();
  await bench.stage.button("Clear").click();
  await bench.maskCheck.getByText(/Nothing is painted/).waitFor();
}

/** Two pictures of a size, which differ in a square in the middle. */
function pairOf(side) {
  const colour = [120, 160, 200];
  const square = { from: side / 4, to: side / 2, colour: [230, 60, 60] };
  return [plain("A.png", side, side, colour), plain("B.png", side, side, colour, square)];
}

/** A wave from left to right; milliseconds for each move. */
async function stroke(page, stage, side) {
  await page.mouse.move(...(await stage.place([side * 0.1, side / 2])));
  await page.mouse.down();
  const millis = [];
  for (let share = 0.12; share < 0.9; share += 0.02) {
    const y = 0.5 + 0.3 * Math.sin(share * 20);
    millis.push(await stage.millisToPaint(await stage.place([share * side, y * side])));
  }
  await page.mouse.up();
  return millis;
}

/** Milliseconds from Ctrl and a key until the page could be drawn anew. */
async function millisOf(page, key) {
  return page.evaluate(async (key) => {
    const settings = { key, ctrlKey: true, bubbles: true, cancelable: true };
    const { port1: hears, port2: says } = new MessageChannel();
    const isNextTask = new Promise((resolve) => (hears.onmessage = resolve));
    const begun = performance.now();
    document.body.dispatchEvent(new KeyboardEvent("keydown", settings));
    // Numbers and warnings follow within the same task.
    says.postMessage(undefined);
    await isNextTask;
    return performance.now() - begun;
  }, key);
}

function isNear([x, y], [wantedX, wantedY], why) {
  const distance = Math.hypot(x - wantedX, y - wantedY);
  assert.ok(distance < 2, `${why}: ${distance} px away`);
}
