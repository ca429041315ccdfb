// Drawing with any base, any LoRAs and any prompt.

export class Playground {
  #region;

  /** @param {import("playwright-core").Page} page */
  constructor(page) {
    this.#region = page.getByRole("region", { name: "Playground", exact: true });
  }

  /** Everything of it. */
  get region() {
    return this.#region;
  }

  get prompt() {
    return this.#region.getByRole("textbox", { name: "Prompt", exact: true });
  }

  /** The LoRAs that are drawn with. */
  get loras() {
    return this.#region.getByRole("group", { name: "LoRAs" });
  }

  /** Where LoRA files are picked. */
  get loraPicker() {
    return this.loras.getByLabel("Add a file…");
  }

  /** A button by its name, such as Draw, Add, Use as A. */
  button(name) {
    return this.#region.getByRole("button", { name, exact: true });
  }

  /** The picture of a prompt that is looked at. */
  picture(prompt) {
    return this.#region.getByRole("figure").getByRole("img", { name: prompt });
  }
}
