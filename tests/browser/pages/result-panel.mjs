// What a run made: looking at it, measuring it, taking it along.

import { RUN_WITHIN } from "../eventually.mjs";

export class ResultPanel {
  #region;

  /** @param {import("playwright-core").Page} page */
  constructor(page) {
    this.#region = page.getByRole("region", { name: "Result", exact: true });
  }

  /** Everything of it. */
  get region() {
    return this.#region;
  }

  /** The scores in words. */
  get scores() {
    return this.#region.getByRole("region", { name: "What it does" });
  }

  /** The line between what is left and what is right of it. */
  get line() {
    return this.#region.getByRole("slider", { name: "Line between left and right" });
  }

  /** The dial from −2 to 2. */
  get dial() {
    return this.#region.getByRole("region", { name: "Strength dial" });
  }

  /** The slider of the dial. */
  get strength() {
    return this.dial.getByRole("slider", { name: "Strength" });
  }

  /** The link to the file. */
  get download() {
    return this.#region.getByRole("link", { name: /^Download .*\.safetensors$/ }).first();
  }

  /** A button by its name. */
  button(name) {
    return this.#region.getByRole("button", { name });
  }

  /** The picture that is looked at, by its caption. */
  picture(name) {
    return this.#region.getByRole("img", { name }).first();
  }

  /** Opens the table of prompts and strengths, and draws it. */
  async drawGrid(prompts, strengths) {
    await this.#region.getByText("Prompts × strengths").click();
    await this.#region.getByRole("textbox", { name: /^Prompts/ }).fill(prompts.join("\n"));
    await this.#region.getByRole("textbox", { name: /^Strengths/ }).fill(strengths.join(", "));
    await this.button("Draw the grid").click();
  }

  /** The table, once there is one. */
  get grid() {
    return this.#region.getByRole("table", { name: /each prompt/ });
  }

  /** Waits until it is there, which is when the run has ended well. */
  async shown(timeout = RUN_WITHIN) {
    await this.scores.getByText(/(of|from) the change/).first().waitFor({ timeout });
  }
}
