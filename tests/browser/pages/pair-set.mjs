// The table of pairs: pictures, captions, and what is said of each.

import { drop } from "../transfer.mjs";

export class PairSet {
  #page;

  /** @param {import("playwright-core").Page} page */
  constructor(page) {
    this.#page = page;
  }

  /** Everything of it, once there is more than one pair. */
  get region() {
    return this.#page.getByRole("region", { name: /^\d+ pairs?$/ });
  }

  /** Waits until there are so many. */
  async has(count) {
    await this.#page.getByRole("heading", { name: `${count} pairs`, exact: true }).waitFor();
  }

  /** A picture, "A" or "B", of a pair from 1. */
  picture(letter, number) {
    return this.region.getByRole("button", { name: `${letter} of pair ${number}:` });
  }

  /** What the pictures are called, row by row: [A, B]. */
  async names() {
    const buttons = this.region.getByRole("button", { name: /^[AB] of pair \d+: / });
    const labels = await buttons.evaluateAll((found) => found.map((it) => it.ariaLabel));
    const names = labels.map((label) => label.replace(/^.*?: /, ""));
    return names.flatMap((name, at) => (at % 2 === 0 ? [[name, names[at + 1]]] : []));
  }

  caption(number) {
    return this.region.getByLabel(`Caption of pair ${number}`, { exact: true });
  }

  /** The cell that says how much is masked. */
  mask(number) {
    // `has` looks inside the row only, where there is no region.
    const has = this.#page.getByLabel(`Caption of pair ${number}`, { exact: true });
    const row = this.region.getByRole("row").filter({ has });
    return row.getByRole("cell").nth(2);
  }

  /** Opens what else a pair has, and gives it. */
  async more(number) {
    const button = this.region.getByRole("button", { name: `More of pair ${number}`, exact: true });
    if ((await button.getAttribute("aria-expanded")) === "false") {
      await button.click();
    }
    return this.region.getByRole("group", { name: `More of pair ${number}`, exact: true });
  }

  /** A tag that captions share, as "hat 3/12". */
  tag(text) {
    return this.region.getByRole("group", { name: /^Tags/ }).getByText(text, { exact: true });
  }

  /** A button of the head: Add a pair, Add folder…, Download captions. */
  button(name) {
    return this.region.getByRole("button", { name, exact: true });
  }

  /** Drops a file onto a picture. */
  async dropOnto(letter, number, file) {
    await drop(this.picture(letter, number), [file]);
  }

  /** Files that were left out, each with the reason. */
  get left() {
    return this.#page.getByRole("region", { name: "Files that were left out" });
  }
}
