// The same program outside of the browser: what `mimeo` makes of a job on this machine's CPU.

import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { binary } from "./companion.mjs";
import { readTensors } from "./safetensors.mjs";

const run = promisify(execFile);

/**
 * Trains, and tells what a `BrowserWorker` would.
 *
 * @param {object} asked
 * @param {string} [asked.base] a folder; the bundled base if not given
 * @param {Record<"original" | "target" | "mask", Buffer>} asked.pair
 * @param {object} asked.recipe as `recipe` of jobs.mjs makes it
 * @param {string} [asked.device] "cpu" if not given
 * @param {number} [asked.threads] all of them if not given
 * @returns {Promise<{losses: Record<"copier" | "training", number[]>, secs: number[],
 *   lora: Map<string, Float32Array>, file: Buffer, copier?: Map<string, Float32Array>}>} secs: of
 *   each step of the LoRA's own pass; file: the LoRA's
 */
export async function trainNatively({ base = "bundled", pair, recipe, device = "cpu", threads }) {
  return inFolder(async (folder) => {
    const place = (name) => join(folder, name);
    await writeFile(place("recipe.json"), JSON.stringify(recipe));
    const pictures = Object.entries(pair).map(async ([role, bytes]) => {
      await writeFile(place(`${role}.png`), bytes);
      return [`--${role}`, place(`${role}.png`)];
    });
    const copier = recipe.method === "copier" ? ["--save-copier", place("copier.safetensors")] : [];
    const told = await mimeo(
      [
        ...["train", "--json", "--no-score", "--device", device, "--base", base],
        ...["--recipe", place("recipe.json"), "--method", recipe.method],
        ...["--out", place("lora.safetensors"), ...copier],
        ...(await Promise.all(pictures)).flat(),
      ],
      threads,
    );
    const steps = told.filter(({ event }) => event === "step");
    const of = (phase) => steps.filter((step) => step.phase === phase);
    const losses = (phase) => of(phase).map(({ loss }) => loss);
    const tensors = async (name) => readTensors(await readFile(place(name)));
    return {
      losses: { copier: losses("copier"), training: losses("training") },
      secs: of("training").map(({ secs }) => secs),
      lora: await tensors("lora.safetensors"),
      file: await readFile(place("lora.safetensors")),
      copier: copier.length > 0 ? await tensors("copier.safetensors") : undefined,
    };
  });
}

/**
 * What a recipe starts from: the LoRA, and the copier, after a step that is too small to be seen.
 *
 * @param {{base?: string, pair: Record<string, Buffer>}} asked
 * @param {object} recipe of any method: all start from the same noise
 */
export async function startNatively(asked, recipe) {
  const still = (pass) => ({ ...pass, steps: 1, learning_rate: 1e-8, weight_decay: 0 });
  const copier = { ...recipe.copier, pass: still(recipe.copier.pass) };
  const asCopier = { ...recipe, method: "copier", pass: still(recipe.pass), copier };
  return trainNatively({ ...asked, recipe: asCopier });
}

/**
 * Draws a picture with a LoRA at strength 1.
 *
 * @param {{base?: string, prompt: string, seed: number, lora: Buffer}} asked
 * @returns {Promise<Buffer>} a PNG
 */
export async function drawNatively({ base = "bundled", prompt, seed, lora }) {
  return inFolder(async (folder) => {
    const place = (name) => join(folder, name);
    await writeFile(place("lora.safetensors"), lora);
    await mimeo([
      ...["sample", "--json", "--device", "cpu", "--base", base],
      ...["--prompt", prompt, "--seed", String(seed), "--lora", `${place("lora.safetensors")}:1`],
      ...["--out", place("picture.png")],
    ]);
    return readFile(place("picture.png"));
  });
}

/** What `mimeo inspect` says of a LoRA file; fails if it does not accept it. */
export async function inspect(path) {
  const { stdout } = await run(binary(), ["inspect", path]);
  return stdout;
}

async function mimeo(words, threads) {
  const env = { ...process.env, ...(threads && { RAYON_NUM_THREADS: String(threads) }) };
  const { stdout } = await run(binary(), words, { env, maxBuffer: 1 << 26 });
  return stdout.trim().split("\n").map((line) => JSON.parse(line));
}

async function inFolder(body) {
  const folder = await mkdtemp(join(tmpdir(), "mimeo-native-"));
  try {
    return await body(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
