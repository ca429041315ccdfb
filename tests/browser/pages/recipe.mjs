// The recipe: a method, three plain choices, and Advanced.

import { eventually } from "../eventually.mjs";
import { choose } from "./choose.mjs";

/** Calls of the UNet that the scores of a short run may take; they need 40. */
const SCORE_CALLS = 60;

/** Pixels on a side of the pictures of a short run: a quarter of what the bundled base computes of its own. */
const SMALL = 64;

export class Recipe {
  #region;

  /** @param {import("playwright-core").Page} page */
  constructor(page) {
    this.#region = page.getByRole("region", { name: "Recipe", exact: true });
  }

  /** Everything of it. */
  get region() {
    return this.#region;
  }

  /** One of the three methods, by its title. */
  method(title) {
    return this.#region.getByRole("group", { name: "Method" }).getByRole("radio", { name: title });
  }

  /** A radio button of "What changes?", "Effort" or "Size". */
  choice(legend, label) {
    const group = this.#region.getByRole("group", { name: legend, exact: true });
    return group.getByRole("radio", { name: label, exact: true });
  }

  /** The base: its title, or what is searched for while the list is open. */
  get base() {
    return this.#region.getByRole("combobox", { name: "Base", exact: true });
  }

  /** The bases that are listed, while the list is open. */
  get bases() {
    return this.#region.getByRole("listbox", { name: "Bases" }).getByRole("option");
  }

  /** The VAE that goes with the base, where there is a choice. */
  get vae() {
    return this.#region.getByRole("combobox", { name: "VAE", exact: true });
  }

  /** How many of them are listed. */
  get basesCount() {
    return this.#region.getByRole("status").filter({ hasText: / of \d+/ });
  }

  /** The button that picks a base from disk: "File" or "Folder". */
  fromDisk(kind) {
    return this.#region.getByRole("button", { name: `${kind} from disk…` });
  }

  /** A base from disk that is closed or chosen, by its title: how it stands, and what can be done. */
  onDisk(title) {
    return this.#region.getByRole("group", { name: title, exact: true });
  }

  /** What the LoRA will be called. */
  get name() {
    return this.#region.getByRole("textbox", { name: "Name", exact: true });
  }

  /** The fold of all numbers; it says how many are edited. */
  get advanced() {
    return this.#region.getByText(/^Advanced/);
  }

  /** A field of Advanced under one of its headings, such as "The LoRA" or "Previews". */
  field(heading, label) {
    const group = this.#region.getByRole("group", { name: heading, exact: true });
    return group.getByLabel(label, { exact: true });
  }

  /** A button of Advanced or of "Recipe as JSON". */
  button(name) {
    return this.#region.getByRole("button", { name });
  }

  /** The box that a recipe is pasted into. */
  get pasteBox() {
    return this.#region.getByRole("textbox", { name: /Paste one here/ });
  }

  /** What it does not take, and why. */
  get refusal() {
    return this.#region.getByRole("alert");
  }

  /** Opens Advanced, if it is closed. */
  async openAdvanced() {
    if (!(await this.field("The LoRA", "Steps").isVisible())) {
      await this.advanced.click();
    }
  }

  /** Opens "Recipe as JSON", if it is closed. */
  async openExchange() {
    if (!(await this.pasteBox.isVisible())) {
      await this.#region.getByText("Recipe as JSON").click();
    }
  }

  /** Writes a number into a field of Advanced, and leaves it. */
  async set(heading, label, value) {
    const field = this.field(heading, label);
    await field.fill(String(value));
    await field.press("Tab");
    await eventually(`${label} is ${value}`, async () => (await field.inputValue()) === String(value));
  }

  /**
   * Makes the run one of a few seconds: the direct difference of small pictures, with few steps and no
   * calibration. The preset's share of so few steps would be too little for scores: they get a little more than they
   * need, of a step that takes four calls of the UNet.
   *
   * @param {{name: string, steps?: number, previewEvery?: number, side?: number | null}} wishes side of
   *   the pictures in pixels; the base's own if null
   */
  async makeShort({ name, steps = 8, previewEvery = 0, side = SMALL }) {
    await choose(this.method("Direct difference"));
    await this.name.fill(name);
    await this.openAdvanced();
    await this.set("The LoRA", "Steps", steps);
    await this.set("Previews", "Every", previewEvery);
    await this.field("Run", "Calibrate strength").uncheck();
    await this.set("Run", "Score budget", SCORE_CALLS / (4 * steps));
    if (side !== null) {
      await this.set("Run", "Resolution", side);
    }
    await this.advanced.click();
  }
}
