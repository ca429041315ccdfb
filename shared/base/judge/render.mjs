// Renders the pictures that the judge learns from: `node render.mjs OUT [TRAINING [HELD_OUT]]`.
// `npm install` in ../sets/recipe comes first. OUT/NAME.rgb holds 128×128 RGB pictures, OUT/NAME.jsonl
// a line for each: its caption, and what is to be seen in it.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ATTRIBUTES, anybody, caption, draw, random, seen } from './people.mjs';

const [out, training = '8000', heldOut = '600'] = process.argv.slice(2);
if (!out) throw new Error('node render.mjs OUT [TRAINING [HELD_OUT]]: say where to put the renders');

function render(name, count, seed) {
  const next = random(seed);
  const people = Array.from({ length: count }, () => anybody(next));
  writeFileSync(join(out, `${name}.rgb`), Buffer.concat(people.map(draw)));
  const line = (who) => `${JSON.stringify({ caption: caption(who), ...seen(who) })}\n`;
  writeFileSync(join(out, `${name}.jsonl`), people.map(line).join(''));
}

mkdirSync(out, { recursive: true });
writeFileSync(join(out, 'attributes.json'), JSON.stringify(ATTRIBUTES));
render('training', Number(training), 60001);
render('held_out', Number(heldOut), 60002);
