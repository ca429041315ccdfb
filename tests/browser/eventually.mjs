// Waiting for what comes by itself, without ever guessing how long it takes.

/** Milliseconds that a run of a few seconds may take on a machine that does much else. */
export const RUN_WITHIN = 240_000;

/** Milliseconds between two looks. */
const LOOK_EVERY = 50;

/**
 * Looks again and again until `look` returns something true, and returns that.
 *
 * @template T
 * @param {string} what is waited for, as the end of "not in time: …"
 * @param {() => Promise<T> | T} look
 * @param {number} within milliseconds
 * @returns {Promise<T>}
 */
export async function eventually(what, look, within = 10_000) {
  const deadline = performance.now() + within;
  for (;;) {
    const seen = await look();
    if (seen) {
      return seen;
    }
    if (performance.now() > deadline) {
      throw new Error(`not in time: ${what} (last seen: ${JSON.stringify(seen)})`);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY));
  }
}
