// The copier library: copiers by kind, and the one that the next run builds upon.

export class Copiers {
  #page;
  #region;

  /** @param {import("playwright-core").Page} page */
  constructor(page) {
    this.#page = page;
    this.#region = page.getByRole("region", { name: "Recipe", exact: true });
  }

  /** What folds it; it says how many there are. */
  get fold() {
    return this.#region.locator("summary").filter({ hasText: "Copier library" });
  }

  /** Waits until there are so many. */
  async has(count, timeout) {
    await this.fold.filter({ hasText: `(${count})` }).waitFor({ timeout });
  }

  /** The copiers of a kind: "Identical", "Framing", "Style". */
  kind(title) {
    return this.#region.getByRole("region", { name: title, exact: true }).getByRole("listitem");
  }

  /** What can be done with a copier: Use it, Export, Delete. */
  actions(name) {
    return this.#region.getByRole("group", { name, exact: true });
  }

  button(name, label) {
    return this.actions(name).getByRole("button", { name: label, exact: true });
  }

  /** What is told of the copier that the next run builds upon. */
  get inUse() {
    return this.#region.getByRole("status").filter({ hasText: "Builds upon the copier" });
  }

  /** Lets the next run train a copier of its own. */
  get takeBack() {
    return this.#region.getByRole("button", { name: "Train its own", exact: true });
  }

  /** Calls a copier something else. */
  async rename(name, other) {
    await this.#region.getByRole("button", { name: `Rename ${name}`, exact: true }).click();
    const field = this.#region.getByLabel("Name of the copier", { exact: true });
    await field.fill(other);
    await field.press("Enter");
    await this.actions(other).waitFor();
  }

  /** Imports a LoRA as a copier of a kind. */
  async import(kind, file) {
    await this.#region.getByLabel("Import as").selectOption(kind);
    await this.#region.getByLabel("Import a LoRA…").setInputFiles(file);
  }

  /** What it does not take, and why. */
  get refusal() {
    return this.#region.getByRole("alert");
  }
}
