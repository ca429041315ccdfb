// Jobs of a few steps, the same for the browser and for the command line.

import { fileURLToPath } from "node:url";

import { bundled, plain } from "./pictures.mjs";

/** The base in miniature (tests/fixtures/README.md), as a folder of this disk. */
export const MICRO = fileURLToPath(new URL("../fixtures/micro", import.meta.url));

/**
 * Everything that a recipe says, for a run as short as one can be: no calibration, single
 * precision, and a learning rate that moves the LoRA well beyond rounding.
 *
 * @param {"plain" | "addift" | "copier"} method
 * @param {object} [pass] what is different about the LoRA's own pass
 */
export function recipe(method, pass = {}) {
  const common = {
    rank: 2,
    alpha: 2,
    steps: 3,
    batch_size: 1,
    accumulation: 1,
    learning_rate: 0.004,
    schedule: "constant",
    warmup: 0,
    weight_decay: 0.01,
    clip_norm: 1,
    min_snr_gamma: 5,
    timesteps: [0, 1000],
  };
  return {
    method,
    seed: 8,
    prompt: "smile",
    pass: { ...common, ...pass },
    copier: { pass: common, fidelity_goal: 1, check_every: 1000 },
    addift: { multiplier: 0.25, antisymmetric: true, preservation: 0 },
    mask: { composite: true, feather: 2, unmasked_weight: 0.1, prior_weight: 0.5 },
    calibrate: false,
    precision: "f32",
  };
}

/**
 * A job for `BrowserWorker.submit`: no previews, no scores.
 *
 * @param {string} base its id
 * @param {{original: string, target: string, mask: string}} pair hashes of the pictures
 * @param {object} recipe
 */
export function job(base, pair, recipe) {
  return { name: "proof", base, ...pair, recipe, copier: "new", previews: null, scores: false };
}

/**
 * Two pictures of 64 × 64 px, the size of the base in miniature, and where they differ.
 *
 * @returns {Record<"original" | "target" | "mask", Buffer>}
 */
export function microPair() {
  const [from, to] = [16, 44];
  const picture = (name, ground, square) => plain(name, 64, 64, ground, { from, to, colour: square }).buffer;
  return {
    original: picture("original.png", [180, 190, 60], [60, 90, 120]),
    target: picture("target.png", [180, 190, 60], [220, 40, 90]),
    mask: picture("mask.png", [0, 0, 0], [255, 255, 255]),
  };
}

/**
 * The bundled glasses, in the size of the bundled base.
 *
 * @returns {Promise<Record<"original" | "target" | "mask", Buffer>>}
 */
export async function glassesPair() {
  const [original, target, mask] = await Promise.all(
    ["A", "B", "mask"].map((role) => bundled("glasses", role)),
  );
  return { original: original.buffer, target: target.buffer, mask: mask.buffer };
}

/** Gives a worker the pictures of a pair, and returns their hashes. */
export async function uploadPair(worker, pair) {
  const names = {};
  for (const [role, bytes] of Object.entries(pair)) {
    names[role] = await worker.upload(bytes);
  }
  return names;
}
