// People of the whole vocabulary of the bundled base, as the judge is trained on them and as its pairs
// show them.

import { VOCABULARY, caption, pixels, showsHair, svg } from '../sets/recipe/avatar.mjs';

export { HATS, mask, png, random } from '../sets/recipe/avatar.mjs';

/** Scale of a head. */
const HEADS = { normal: 1, small: 0.78 };

/** Names of each attribute's values, as they stand in `avatar.mjs`. */
const VALUES = {
  ...Object.fromEntries(Object.entries(VOCABULARY).map(([attribute, values]) => [attribute, Object.keys(values)])),
  head: Object.keys(HEADS),
};

/** What is drawn more often than its fellows: else half of all people had a beard and glasses. */
const USUAL = { accessories: 'none', facialHair: 'none', head: 'normal' };

const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Attributes and their values as the records of pairs name them; the judge reads these. */
export const ATTRIBUTES = Object.fromEntries(
  Object.entries(VALUES)
    .filter(([attribute]) => attribute !== 'hatColor')
    .map(([attribute, values]) => [snake(attribute), values.map(snake)]),
);

const oneOf = (next, values) => values[Math.floor(next() * values.length)];

/** Anybody: each value as often as another, the usual ones in half of all people. */
export function anybody(next, fixed = {}) {
  const drawn = Object.entries(VALUES).map(([attribute, values]) => {
    const [usual, value] = [next() < 0.5 && USUAL[attribute], oneOf(next, values)];
    return [attribute, usual || value];
  });
  return { ...Object.fromEntries(drawn), ...fixed };
}

/** One of the values that `keep` holds of, of an attribute. */
export const another = (next, attribute, keep) => oneOf(next, VALUES[attribute].filter(keep));

/** The picture of somebody, RGB. */
export const draw = (who) => pixels(svg(who, { head: HEADS[who.head] }));

const names = Object.keys(VALUES).filter((attribute) => attribute !== 'hatColor');

/** What somebody is like, by the names of records. */
export const record = (who) => Object.fromEntries(names.map((name) => [snake(name), snake(who[name])]));

/** What a caption says of somebody, by attribute; the colour of clothes goes before them. */
export function tags(who) {
  const word = (attribute) => VOCABULARY[attribute]?.[who[attribute]][1];
  const said = { ...Object.fromEntries(names.map((name) => [name, word(name)])), hairColor: `${word('hairColor')} hair` };
  return Object.fromEntries(names.filter((name) => said[name]).map((name) => [snake(name), said[name]]));
}

/** What is to be seen of somebody, by the names of records; null where it is hidden. */
export function seen(who) {
  const covered = who.accessories === 'sunglasses';
  const shown = {
    ...who,
    hairColor: showsHair(who) ? who.hairColor : null,
    eyes: covered ? null : who.eyes,
    eyebrows: covered ? null : who.eyebrows,
  };
  return Object.fromEntries(names.map((name) => [snake(name), shown[name] && snake(shown[name])]));
}

export { caption };
