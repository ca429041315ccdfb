// All runs: what waits, in order, and what was done, the newest first.

export class RunsList {
  #region;

  /** @param {import("playwright-core").Page} page */
  constructor(page) {
    this.#region = page.getByRole("region", { name: "Runs", exact: true });
  }

  /** Everything of it. */
  get region() {
    return this.#region;
  }

  /** Runs that wait, in their order. */
  get waiting() {
    const queue = this.#region.getByRole("list", { name: "Waiting" });
    // Not the differences within a row.
    return queue.locator(":scope > li");
  }

  /** The names of the runs that wait, in their order. */
  async waitingNames() {
    const buttons = this.waiting.getByRole("group");
    return buttons.evaluateAll((groups) => groups.map((group) => group.getAttribute("aria-label")));
  }

  /** A run by its name. */
  row(name) {
    const actions = this.#region.page().getByRole("group", { name, exact: true });
    return this.#region.getByRole("listitem").filter({ has: actions });
  }

  /** A button of a run, such as Show, Run again, Earlier, Later, Discard…. */
  button(name, label) {
    const actions = this.#region.getByRole("group", { name, exact: true });
    return actions.getByRole("button", { name: label, exact: true });
  }
}
