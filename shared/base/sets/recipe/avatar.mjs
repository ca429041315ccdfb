// A person as the bundled base knows people, drawn as SVG and as PNG.
//
// Proportions and words are those of ../../recipe/render.mjs, with which the base's own training
// pictures were rendered, so that these pictures lie in what it can draw. Head size, framing and
// palette are free here, because the sets vary them.

import { deflateSync } from 'node:zlib';
// Not among what the package exports: its own styles choose at random, these sets must not.
import * as components from './node_modules/@dicebear/avataaars/lib/components/index.js';
import { Resvg } from '@resvg/resvg-js';

export const SIDE = 128;

/** What the base knows. Of each attribute: name -> [component or colour, word of the caption]. */
export const VOCABULARY = {
  top: {
    short: ['shortFlat', 'short hair'],
    buzz: ['theCaesar', 'buzz cut'],
    curly: ['curly', 'curly hair'],
    bob: ['bob', 'bob hair'],
    long: ['straight02', 'long hair'],
    bun: ['bun', 'hair bun'],
    medium: ['longButNotTooLong', 'medium hair'],
    mullet: ['shaggyMullet', 'mullet'],
    hat: ['hat', 'hat'],
    bald: [null, 'bald'],
    afro: ['fro', 'afro'],
    spiky: ['dreads02', 'spiky hair'],
    winterHat: ['winterHat03', 'winter hat'],
  },
  hairColor: {
    black: ['2c1b18', 'black'],
    brown: ['724133', 'brown'],
    blonde: ['d6b370', 'blonde'],
    red: ['c93305', 'red'],
    pink: ['f59797', 'pink'],
    silver: ['e8e1e1', 'silver'],
    blue: ['5199e4', 'blue'],
  },
  hatColor: { red: ['ff5c5c', 'red'], blue: ['5199e4', 'blue'], green: ['5fb878', 'green'], black: ['262e33', 'black'] },
  skin: {
    pale: ['ffdbb4', 'pale skin'],
    tan: ['e0a370', 'tan skin'],
    brown: ['ae5d29', 'brown skin'],
    dark: ['614335', 'dark skin'],
  },
  accessories: {
    none: [null, null],
    glasses: ['prescription02', 'glasses'],
    round: ['round', 'round glasses'],
    sunglasses: ['wayfarers', 'sunglasses'],
  },
  eyes: {
    open: ['default', 'open eyes'],
    happy: ['happy', 'happy eyes'],
    side: ['side', 'sideways glance'],
    wide: ['surprised', 'wide eyes'],
    closed: ['closed', 'closed eyes'],
    wink: ['wink', 'wink'],
    hearts: ['hearts', 'heart eyes'],
  },
  eyebrows: {
    normal: ['defaultNatural', null],
    angry: ['angryNatural', 'angry eyebrows'],
    raised: ['raisedExcited', 'raised eyebrows'],
    sad: ['sadConcernedNatural', 'sad eyebrows'],
  },
  mouth: {
    smile: ['smile', 'smile'],
    serious: ['serious', 'serious mouth'],
    frown: ['sad', 'frown'],
    open: ['screamOpen', 'open mouth'],
    slight: ['twinkle', 'slight smile'],
    tongue: ['tongue', 'tongue out'],
  },
  facialHair: {
    none: [null, null],
    beard: ['beardMedium', 'beard'],
    moustache: ['moustacheFancy', 'moustache'],
    longBeard: ['beardMajestic', 'long beard'],
  },
  clothing: {
    hoodie: ['hoodie', 'hoodie'],
    tshirt: ['shirtCrewNeck', 't-shirt'],
    sweater: ['collarAndSweater', 'sweater'],
    blazer: ['blazerAndShirt', 'blazer'],
    overalls: ['overall', 'overalls'],
  },
  clothingColor: {
    black: ['262e33', 'black'],
    blue: ['4a90e2', 'blue'],
    red: ['f04f4f', 'red'],
    green: ['4fae62', 'green'],
    yellow: ['f5cf4a', 'yellow'],
    purple: ['8e5fc9', 'purple'],
    pink: ['ff9fb2', 'pink'],
    white: ['ffffff', 'white'],
  },
  background: {
    white: ['ffffff', 'white background'],
    gray: ['d4d7dc', 'gray background'],
    blue: ['c4e1ff', 'blue background'],
    pink: ['ffd0de', 'pink background'],
    green: ['c8efc6', 'green background'],
    yellow: ['fff0b0', 'yellow background'],
  },
};

/** Whom the sets do not show: their seeds must give the people that they gave before these were here. */
const NOT_IN_SETS = {
  top: ['hat', 'bald', 'afro', 'spiky', 'winterHat'],
  hatColor: ['blue', 'green', 'black'],
  accessories: ['sunglasses'],
  eyes: ['closed', 'wink', 'hearts'],
  eyebrows: ['sad'],
  mouth: ['slight', 'tongue'],
  facialHair: ['longBeard'],
  clothingColor: ['pink', 'white'],
  background: ['yellow'],
};

/** Hair lies under them, so a caption names both. */
export const HATS = ['hat', 'winterHat'];

/** Numbers in 0..1 from a seed (mulberry32). */
export function random(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Somebody of the sets, with `fixed` attributes. */
export function person(next, fixed = {}) {
  const drawn = Object.entries(VOCABULARY).map(([attribute, values]) => {
    const names = Object.keys(values).filter((name) => !NOT_IN_SETS[attribute]?.includes(name));
    return [attribute, names[Math.floor(next() * names.length)]];
  });
  return { ...Object.fromEntries(drawn), accessories: 'none', facialHair: 'none', ...fixed };
}

/** Whether anything of somebody has the colour of hair. */
export const showsHair = (who) => who.top !== 'bald' || who.facialHair !== 'none';

/** The tags of a person, in the order in which the base learnt them. */
export function caption(who) {
  const word = (attribute) => VOCABULARY[attribute][who[attribute]][1];
  const hat = HATS.includes(who.top);
  const tags = [
    ...(hat ? [`${word('hatColor')} ${word('top')}`, 'buzz cut'] : [word('top')]),
    ...(showsHair(who) ? [`${word('hairColor')} hair`] : []),
    ...['skin', 'accessories', 'eyes', 'eyebrows', 'mouth', 'facialHair'].map(word),
    `${word('clothingColor')} ${word('clothing')}`,
    ...(who.head === 'small' ? ['small head'] : []),
    word('background'),
  ];
  return tags.filter(Boolean).join(', ');
}

const NECK = 'M108 168v31h-4a72 72 0 0 0-72 72v9h200v-9a72 72 0 0 0-72-72h-4v-31Z';
const HEAD =
  'M132 36a56 56 0 0 0-56 56v6.17A12 12 0 0 0 66 110v14a12 12 0 0 0 10.3 11.88 56.04 56.04 0 0 0 111.4 0A12 12 0 0 0 198 124v-14a12 12 0 0 0-10-11.83V92a56 56 0 0 0-56-56Z';
const SHADE =
  'M108 180.61v8a55.79 55.79 0 0 0 24 5.39c8.59 0 16.73-1.93 24-5.39v-8a55.79 55.79 0 0 1-24 5.39 55.79 55.79 0 0 1-24-5.39Z';

/** Framings: what part of the drawing is seen, `[x, y, side]`. */
export const FRAMINGS = {
  usual: [28, 10, 224],
  long: [-12, -60, 304],
  wide: [-92, -40, 304],
};

/**
 * @param who attributes
 * @param options `head`: scale of the head about its neck; `framing`: one of FRAMINGS; `palette`:
 *   changes each colour (hex without #); `skin`: such a colour, instead of the person's own
 */
export function svg(who, { head = 1, framing = 'usual', palette = (hex) => hex, skin } = {}) {
  const hex = (attribute) => `#${palette(VOCABULARY[attribute][who[attribute]][0])}`;
  const hair = hex('hairColor');
  const colours = {
    skin: skin ? `#${palette(skin)}` : hex('skin'),
    clothes: hex('clothingColor'),
    hat: hex('hatColor'),
    hair,
    facialHair: hair,
    accessories: `#${palette('262e33')}`,
    background: hex('background'),
  };
  const part = (group, attribute, at, name = VOCABULARY[attribute]?.[who[attribute]][0]) =>
    name ? `<g transform="translate(${at})">${components[group][name]({}, colours)}</g>` : '';
  const hat = HATS.includes(who.top) ? part('top', 'top', '-1 0', 'theCaesar') : '';
  const face = [
    `<path d="${HEAD}" fill="${colours.skin}"/>`,
    part('mouth', 'mouth', '78 134'),
    part('nose', '', '104 122', 'default'),
    part('eyes', 'eyes', '76 90'),
    part('eyebrows', 'eyebrows', '76 82'),
    hat + part('top', 'top', '-1 0'),
    part('facialHair', 'facialHair', '49 72'),
    part('accessories', 'accessories', '62 42'),
  ].join('');
  const body = `<path d="${NECK}" fill="${colours.skin}"/>${part('clothing', 'clothing', '0 170')}`;
  const [x, y, side] = FRAMINGS[framing];
  // The head scales about the neck, so that it stays attached.
  const scale = `translate(132 196) scale(${head}) translate(-132 -196)`;
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${x} ${y} ${side} ${side}" width="${SIDE}" height="${SIDE}">` +
    `<rect x="-300" y="-300" width="900" height="900" fill="${colours.background}"/>` +
    `<g transform="translate(8)">${body}<g transform="${scale}">` +
    `<path d="${SHADE}" fill="#000" fill-opacity=".1"/>${face}</g></g></svg>`
  );
}

/** RGB of an SVG, SIDE × SIDE, row by row. */
export function pixels(drawing) {
  const { pixels: rgba } = new Resvg(drawing, {
    fitTo: { mode: 'width', value: SIDE },
    font: { loadSystemFonts: false },
  }).render();
  const rgb = Buffer.alloc(SIDE * SIDE * 3);
  for (let at = 0; at < SIDE * SIDE; at++) rgba.copy(rgb, at * 3, at * 4, at * 4 + 3);
  return rgb;
}

/** White where two pictures differ by more than 8 of 255. */
export function mask(a, b) {
  const grey = Buffer.alloc(SIDE * SIDE);
  for (let at = 0; at < a.length; at++) if (Math.abs(a[at] - b[at]) > 8) grey[Math.floor(at / 3)] = 255;
  return grey;
}

/** A PNG file (ISO/IEC 15948) of `channels` 1 or 3. */
export function png(bytes, channels, width = SIDE) {
  const height = bytes.length / channels / width;
  const row = width * channels;
  const raw = Buffer.alloc(height * (row + 1));
  for (let y = 0; y < height; y++) bytes.copy(raw, y * (row + 1) + 1, y * row, (y + 1) * row);
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, channels === 3 ? 2 : 0, 0, 0, 0], 8);
  const signature = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(raw, { level: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

const CRC = Uint32Array.from({ length: 256 }, (_, start) => {
  let rest = start;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? 0xedb88320 ^ (rest >>> 1) : rest >>> 1;
  return rest;
});

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const ends = Buffer.alloc(8);
  ends.writeUInt32BE(data.length, 0);
  const crc = body.reduce((rest, byte) => CRC[(rest ^ byte) & 255] ^ (rest >>> 8), 0xffffffff);
  ends.writeUInt32BE((crc ^ 0xffffffff) >>> 0, 4);
  return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
}
