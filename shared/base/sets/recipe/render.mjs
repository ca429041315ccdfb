// Renders the example sets beside this folder: `npm install`, then `node render.mjs OUT [SEED]`.
// The project's are those of seed 1; other seeds give other people, for measuring.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FRAMINGS, SIDE, VOCABULARY, caption, mask, person, pixels, png, random, svg } from './avatar.mjs';

const [out, seed = '1'] = process.argv.slice(2);
if (!out) throw new Error('node render.mjs OUT [SEED]: say where to put the sets');

const shown = [];

function write(set, name, rgb, text) {
  const folder = join(out, set);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${name}.png`), png(rgb, 3));
  if (text !== undefined) writeFileSync(join(folder, `${name}.txt`), `${text}\n`);
  shown.push(rgb);
}

function writePair(set, name, a, b, text) {
  write(set, `${name}_A`, a, text);
  write(set, `${name}_B`, b);
  writeFileSync(join(out, set, `${name}_mask.png`), png(mask(a, b), 1));
}

/** One change of twelve people. */
function pairs(set, change, fixed = {}) {
  const next = random(Number(seed) * 1000 + set.length);
  for (let number = 1; number <= 12; number++) {
    const who = person(next, fixed);
    const [a, b] = [svg(who), change(who)].map(pixels);
    writePair(set, String(number).padStart(2, '0'), a, b);
  }
}

const rgb = (hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));

/** A colour on the way from one (0) to another (1). */
const between = (from, to, share) => {
  const mixed = from.map((value, at) => Math.round(value + (to[at] - value) * share));
  return mixed.map((value) => value.toString(16).padStart(2, '0')).join('');
};

const two = (hex) => {
  // Luminance (ITU-R BT.709) between two inks.
  const [r, g, b] = rgb(hex).map((value) => value / 255);
  return between([30, 40, 110], [250, 225, 170], 0.2126 * r + 0.7152 * g + 0.0722 * b);
};

// One change, twelve people.
pairs('hat', (who) => svg({ ...who, top: 'hat' }), { top: 'buzz', hatColor: 'red' });
pairs('beard', (who) => svg({ ...who, facialHair: 'beard' }));

// One person in three framings, with a usual and a small head. The words are ones that the base has
// met, in other company: what it never met, its text encoder cannot tell apart.
{
  const who = person(random(Number(seed) * 1000 + 500), { top: 'bob' });
  const words = { usual: 'medium shot', long: 'long shot', wide: 'wide shot' };
  for (const framing of Object.keys(FRAMINGS)) {
    const [a, b] = [1, 0.78].map((head) => pixels(svg(who, { head, framing })));
    writePair('framing', framing, a, b, words[framing]);
  }
}

/** One person at five levels of one change. */
function graded(set, who, change) {
  for (const level of [-2, -1, 0, 1, 2]) {
    write(set, `${set}_${level}`, pixels(svg(who, change(level))));
  }
}

// Five sizes of head, of which the base knows the usual one and the smallest.
graded('head', person(random(Number(seed) * 1000 + 600), { top: 'short' }), (level) => ({ head: 1 - 0.11 * level }));

// Skin from pale to dark, which the base knows both, in even steps.
{
  const [pale, dark] = ['pale', 'dark'].map((name) => rgb(VOCABULARY.skin[name][0]));
  const who = person(random(Number(seed) * 1000 + 800), { top: 'short' });
  graded('skin', who, (level) => ({ skin: between(pale, dark, (level + 2) / 4) }));
}

// A style: people printed in two inks. And somebody who is known in that style only.
{
  const next = random(Number(seed) * 1000 + 700);
  for (let number = 1; number <= 16; number++) {
    const who = person(next);
    write('style', String(number).padStart(2, '0'), pixels(svg(who, { palette: two })), caption(who));
  }
  const fixed = { top: 'curly', hairColor: 'silver', skin: 'dark', accessories: 'round', facialHair: 'moustache' };
  for (let number = 1; number <= 6; number++) {
    const who = person(next, fixed);
    const text = ['rollo', ...caption(who).split(', ').filter((tag) => /eyes|mouth|smile|frown|background/.test(tag))];
    write('character', String(number).padStart(2, '0'), pixels(svg(who, { palette: two })), text.join(', '));
  }
}

// All of them, to look at.
const columns = 24;
const rows = Math.ceil(shown.length / columns);
const sheet = Buffer.alloc(columns * SIDE * rows * SIDE * 3, 255);
shown.forEach((rgb, index) => {
  const [left, top] = [(index % columns) * SIDE, Math.floor(index / columns) * SIDE];
  for (let y = 0; y < SIDE; y++) {
    rgb.copy(sheet, ((top + y) * columns * SIDE + left) * 3, y * SIDE * 3, (y + 1) * SIDE * 3);
  }
});
writeFileSync(join(out, 'sheet.png'), png(sheet, 3, columns * SIDE));
