// The upper half of the page: the pair, the stage, the recipe, and Train.

import { drop } from "../transfer.mjs";
import { Recipe } from "./recipe.mjs";
import { Stage } from "./stage.mjs";

export class Workbench {
  /** The stage and its tools. */
  stage;
  /** Method, choices and numbers. */
  recipe;
  #page;

  /** @param {import("playwright-core").Page} page */
  constructor(page) {
    this.#page = page;
    this.stage = new Stage(page);
    this.recipe = new Recipe(page);
  }

  /** The wells, what differs, and what is suspicious. */
  get pair() {
    return this.#page.getByRole("region", { name: "Pair", exact: true });
  }

  /** The well of a picture, "A" or "B". */
  well(letter) {
    const meaning = letter === "A" ? "before" : "after";
    return this.pair.getByRole("group", { name: `${letter}, ${meaning}` });
  }

  /** The field that picks a file for a well. */
  picker(letter) {
    return this.pair.getByLabel(`Choose ${letter}`);
  }

  /** Puts in the bundled pair that is chosen. */
  get example() {
    return this.pair.getByRole("button", { name: "Example", exact: true });
  }

  /** Four checks, and Train. */
  get preflight() {
    return this.#page.getByRole("region", { name: "Before the run" });
  }

  /** The check of the mask: "7 % masked", or that nothing is painted. */
  get maskCheck() {
    return this.preflight.getByRole("listitem").filter({ hasText: /mask|painted/i });
  }

  get train() {
    return this.preflight.getByRole("button", { name: "Train", exact: true });
  }

  /** A button of the head: Undo, Redo, Keys, Dark colours. */
  head(name) {
    return this.#page.getByRole("banner").getByRole("button", { name, exact: true });
  }

  /** Where it trains; pressed, it tells why there. */
  get backend() {
    return this.#page.getByRole("banner").locator("summary").filter({ hasText: "Train on:" });
  }

  /** Everything that it tells. */
  get backendDetails() {
    // `has` looks inside the details only, where there is no banner.
    const has = this.#page.locator("summary").filter({ hasText: "Train on:" });
    return this.#page.getByRole("banner").locator("details").filter({ has });
  }

  /** Where it could train: Automatic, Companion, Browser (WebGPU), Browser (CPU). */
  backendChoice(name) {
    return this.backendDetails.getByRole("radio", { name, exact: true });
  }

  /** What concerns everything, such as a companion that is gone. */
  get banner() {
    return this.#page.getByRole("alert").filter({ hasText: /companion/i }).first();
  }

  /** Everything that is said as wrong now. */
  get alerts() {
    return this.#page.getByRole("alert");
  }

  /**
   * Waits until the page is there and what it trains on answers: "Companion" or "Browser".
   *
   * @param {string} [says] of the base that is chosen
   */
  async ready(trainsOn = "Companion", says = "Mimeo Avatars") {
    await this.backend.filter({ hasText: trainsOn }).waitFor();
    await this.preflight.getByText(says).waitFor();
  }

  /** Drops files anywhere on the page, as one drag. */
  async dropFiles(files) {
    await drop(this.#page.getByRole("main"), files);
  }

  /** Drops one file into a well. */
  async dropInto(letter, file) {
    await drop(this.well(letter), [file]);
  }

  /** Puts in the example and waits until it is on the stage. */
  async loadExample() {
    await this.example.click();
    await this.preflight.getByText("128 × 128 px").waitFor();
  }
}
