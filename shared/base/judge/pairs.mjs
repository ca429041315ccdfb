// Renders more pairs to measure on: `node pairs.mjs OUT [SEED]`, after `npm install` in ../sets/recipe.
// OUT/EDIT/ID_{A,B,mask}.png and ID.json, as in ../pairs, for `mimeo bench methods --pairs OUT`; the records of a
// third say `held_out`: those are only looked at in the end. Also OUT/people.json, the people that
// the judge has drawn; that of seed 1 lies here.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HATS, anybody, another, caption, draw, mask, png, random, record, tags } from './people.mjs';

const [out, seed = '1'] = process.argv.slice(2);
if (!out) throw new Error('node pairs.mjs OUT [SEED]: say where to put the pairs');

const HAIRLESS = ['bald', ...HATS];
const hairy = (top) => !HAIRLESS.includes(top);
const bare = { accessories: 'none' };
const shaven = { facialHair: 'none' };

/** Of each edit: what A has for it, what B has instead, and how many pairs there are. */
const EDITS = {
  // The bundled ones, on other people.
  glasses: [bare, { accessories: 'glasses' }, 2],
  smile: [{ ...shaven, mouth: 'serious' }, { mouth: 'smile' }, 2],
  closed_eyes: [{ ...bare, eyes: 'open' }, { eyes: 'closed' }, 2],
  beard: [shaven, { facialHair: 'beard' }, 2],
  hat: [{ top: 'buzz', hatColor: 'red' }, { top: 'hat' }, 2],
  hair_color: [{ ...shaven, hairColor: 'brown' }, { hairColor: 'pink' }, 2],
  small_head: [{}, { head: 'small' }, 2],
  // Others of the vocabulary.
  sunglasses: [bare, { accessories: 'sunglasses' }, 2],
  round_glasses: [bare, { accessories: 'round' }, 1],
  moustache: [shaven, { facialHair: 'moustache' }, 2],
  open_mouth: [{ ...shaven, mouth: 'serious' }, { mouth: 'open' }, 2],
  frown: [{ ...shaven, mouth: 'smile' }, { mouth: 'frown' }, 1],
  wide_eyes: [{ ...bare, eyes: 'open' }, { eyes: 'wide' }, 1],
  wink: [{ ...bare, eyes: 'open' }, { eyes: 'wink' }, 1],
  angry_eyebrows: [{ ...bare, eyebrows: 'normal' }, { eyebrows: 'angry' }, 1],
  green_clothes: [{ clothingColor: 'red' }, { clothingColor: 'green' }, 2],
  hoodie: [{ clothing: 'tshirt' }, { clothing: 'hoodie' }, 1],
  blonde_hair: [{ ...shaven, hairColor: 'black' }, { hairColor: 'blonde' }, 1],
  afro: [{ top: 'short' }, { top: 'afro' }, 1],
  dark_skin: [{ skin: 'pale' }, { skin: 'dark' }, 1],
  // Two at once, which one LoRA should not be praised for telling apart: a negative control.
  glasses_and_smile: [{ ...bare, ...shaven, mouth: 'serious' }, { accessories: 'glasses', mouth: 'smile' }, 1],
  hat_and_beard: [{ ...shaven, top: 'buzz', hatColor: 'red' }, { top: 'hat', facialHair: 'beard' }, 1],
  sunglasses_and_moustache: [{ ...bare, ...shaven }, { accessories: 'sunglasses', facialHair: 'moustache' }, 1],
  closed_eyes_and_green_clothes: [
    { ...bare, eyes: 'open', clothingColor: 'red' },
    { eyes: 'closed', clothingColor: 'green' },
    1,
  ],
};

/** Fewer pixels than this, and something lies over the edit. */
const LEAST_PIXELS = 20;

const next = random(Number(seed) * 1000 + 800);
let count = 0;
for (const [edit, [before, after, wanted]] of Object.entries(EDITS)) {
  mkdirSync(join(out, edit), { recursive: true });
  for (let number = 0; number < wanted; ) {
    const somebody = anybody(next, { head: 'normal', top: another(next, 'top', hairy), ...before });
    const [a, b] = [somebody, { ...somebody, ...after }];
    const [rgbA, rgbB] = [a, b].map(draw);
    const changed = mask(rgbA, rgbB);
    const pixels = changed.filter((value) => value > 0).length;
    if (pixels < LEAST_PIXELS) continue;
    const id = String(number).padStart(2, '0');
    const place = join(out, edit, id);
    writeFileSync(`${place}_A.png`, png(rgbA, 3));
    writeFileSync(`${place}_B.png`, png(rgbB, 3));
    writeFileSync(`${place}_mask.png`, png(changed, 1));
    const [A, B] = [a, b].map(record);
    const words = { caption_A: caption(a), caption_B: caption(b) };
    const said = { kind: edit, id, held_out: count % 3 === 1, A, B, ...words, mask_pixels: pixels };
    writeFileSync(`${place}.json`, `${JSON.stringify(said, null, 1)}\n`);
    number += 1;
    count += 1;
  }
}

// People who leave room for most edits.
const plain = { accessories: 'none', facialHair: 'none', head: 'normal' };
const people = Array.from({ length: 48 }, () => anybody(next, { ...plain, top: another(next, 'top', hairy) }));
writeFileSync(join(out, 'people.json'), `${JSON.stringify(people.map(tags), null, 1)}\n`);
