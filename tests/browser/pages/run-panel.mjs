// The run that is shown: where it is, how far, and what can be done about it.

import { RUN_WITHIN } from "../eventually.mjs";

export class RunPanel {
  #page;
  #region;

  /** @param {import("playwright-core").Page} page */
  constructor(page) {
    this.#page = page;
    this.#region = page.getByRole("region", { name: "Run", exact: true });
  }

  /** Its heading, which is the name of the LoRA. */
  name(name) {
    return this.#region.getByRole("heading", { name, exact: true });
  }

  /** Everything that it says in words. */
  get region() {
    return this.#region;
  }

  /** A button of: Pause, Resume, Preview now, Save now, Stop and keep, Discard…, Retry. */
  button(name) {
    const steer = this.#region.getByRole("group", { name: "Steer the run" });
    return steer.getByRole("button", { name, exact: true });
  }

  /** The only question that the page ever asks. */
  get discardDialog() {
    return this.#page.getByRole("dialog", { name: "Discard this run?" });
  }

  /** Pictures that were drawn on the way; their names end with the strength. */
  previews(strength) {
    const grid = this.#page.getByRole("grid", { name: /^Previews/ });
    return grid.getByRole("button", { name: new RegExp(`^(?!Star).*strength ${strength}`) });
  }

  /** Previews with a star. */
  get stars() {
    return this.#page.getByRole("button", { name: /^Star /, pressed: true });
  }

  /** Links to the LoRA as it was on the way. */
  get savedSteps() {
    return this.#page.getByRole("link", { name: /^Save this step/ });
  }

  /** The losses; it is read like a slider. */
  get chart() {
    return this.#page.getByRole("slider", { name: "Step of the loss chart" });
  }

  /** Throws the run away, which is asked about first. */
  async discard() {
    await this.button("Discard…").click();
    await this.confirmDiscard();
  }

  /** Answers the question. */
  async confirmDiscard() {
    await this.discardDialog.getByRole("button", { name: "Discard", exact: true }).click();
    await this.discardDialog.waitFor({ state: "hidden" });
  }

  /** Waits until a sentence about where it is matches. */
  async says(pattern, timeout = RUN_WITHIN) {
    await this.#region.getByText(pattern).first().waitFor({ timeout });
  }
}
