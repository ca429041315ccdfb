// What the page weighs on the network, and its trainer, which is fetched only when the browser itself
// is to train: `node bundle-size.mjs FOLDER`. Fails when either is too much.

import { readdir, readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { argv, exit } from "node:process";
import { brotliCompressSync } from "node:zlib";

/** Compressed bytes that must arrive before anything can be done in the page. */
const PAGE_BUDGET = 1_316_000;
/** Compressed bytes of the trainer. */
const TRAINER_BUDGET = 3_857_000;

const isTrainer = ({ name }) => /worker/.test(name);

const PROGRAM = [".wasm", ".js", ".css"];

async function weigh(folder) {
  const entries = await readdir(folder, { recursive: true });
  const names = entries.filter((name) => PROGRAM.includes(extname(name))).sort();
  return Promise.all(
    names.map(async (name) => {
      const bytes = await readFile(join(folder, name));
      return { name, raw: bytes.length, brotli: brotliCompressSync(bytes).length };
    }),
  );
}

function table(rows) {
  const width = Math.max(...rows.map(({ name }) => name.length));
  const line = (name, raw, brotli) =>
    `${name.padEnd(width)} ${raw.padStart(10)} ${brotli.padStart(10)}`;
  const kilobytes = (bytes) => `${(bytes / 1000).toFixed(1)} kB`;
  return [
    line("", "raw", "brotli"),
    ...rows.map(({ name, raw, brotli }) => line(name, kilobytes(raw), kilobytes(brotli))),
  ].join("\n");
}

function total(name, files) {
  const sum = (key) => files.reduce((bytes, file) => bytes + file[key], 0);
  return { name, raw: sum("raw"), brotli: sum("brotli") };
}

const [folder] = argv.slice(2);
const files = await weigh(folder);
if (!files.some(({ name }) => name.endsWith(".wasm"))) {
  console.error(`error: no page was built in ${folder}; run \`cargo xtask test --only page\``);
  exit(1);
}
const page = total("page", files.filter((file) => !isTrainer(file)));
const trainer = total("trainer", files.filter(isTrainer));
console.log(table([...files, page, trainer]));
for (const [{ name, brotli }, budget] of [
  [page, PAGE_BUDGET],
  [trainer, TRAINER_BUDGET],
]) {
  if (brotli > budget) {
    console.error(
      `error: the ${name} takes ${brotli} compressed bytes, ${budget} are allowed; ` +
        "find what grew (`twiggy top` lists what the .wasm is made of)",
    );
    exit(1);
  }
}
