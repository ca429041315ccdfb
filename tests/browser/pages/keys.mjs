// The list of keys.

export class Keys {
  #page;

  /** @param {import("playwright-core").Page} page */
  constructor(page) {
    this.#page = page;
  }

  /** The sheet, while it is open. */
  get sheet() {
    return this.#page.getByRole("complementary", { name: "Keys" });
  }

  /** Whether single keys do something. */
  get singleKeys() {
    return this.sheet.getByRole("checkbox", { name: "Single keys do something" });
  }

  /** Opens it by its own key. */
  async open() {
    await this.#page.keyboard.press("?");
    await this.sheet.waitFor();
  }
}
