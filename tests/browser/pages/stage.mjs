// The stage, in the coordinates of the frame: px of the picture that is trained.

import { strict as assert } from "node:assert";

export class Stage {
  #page;
  #region;

  /** @param {import("playwright-core").Page} page */
  constructor(page) {
    this.#page = page;
    this.#region = page.getByRole("region", { name: "Stage", exact: true });
  }

  /** The button of a tool: Brush, Eraser, Box, Lasso or Fill. */
  tool(name) {
    return this.#region.getByRole("toolbar", { name: "Tools" }).getByRole("button", { name });
  }

  /** A button around the stage, such as Suggest, Clear or Grow. */
  button(name) {
    return this.#region.getByRole("button", { name, exact: true });
  }

  /** A field around the stage, such as Left or Width of the box by numbers. */
  field(name) {
    return this.#region.getByLabel(name, { exact: true });
  }

  /** A slider around the stage, such as Size or Soft. */
  slider(name) {
    return this.#region.getByRole("slider", { name: new RegExp(`^${name}\\b`) });
  }

  /** One of the views: A, B, Split, Difference, As trained. */
  view(name) {
    return this.#region.getByRole("radio", { name, exact: true });
  }

  /** The line between A and B in the view "Split". */
  get splitLine() {
    return this.#region.getByRole("slider", { name: "Line between A and B" });
  }

  /** The button of the empty page. */
  get tryExample() {
    return this.#region.getByRole("button", { name: "Try the example" });
  }

  /** What else can be done to the mask. */
  async openMore() {
    const more = this.#region.getByText("More", { exact: true });
    if (!(await this.button("Grow").isVisible())) {
      await more.click();
    }
  }

  /** The field that picks a mask from a file. */
  get maskPicker() {
    return this.#region.getByLabel("Import mask…");
  }

  /** The sentence about what pointers do now. */
  get statusLine() {
    return this.#region.getByText(/paint|erase|drag/i).last();
  }

  /**
   * The canvas of the mask, which lies above all others and has no name: what it shows is told in
   * words by the preflight.
   */
  get mask() {
    return this.#region.locator("canvas").last();
  }

  /** Width and height of the frame, px. */
  async frame() {
    return this.mask.evaluate(({ width, height }) => ({ width, height }));
  }

  /** How many CSS px a px of the frame takes now. */
  async scale() {
    const { width } = await this.#bounds();
    return width / (await this.frame()).width;
  }

  /** Where a point of the frame is in the window, CSS px. */
  async place([x, y]) {
    const [bounds, frame] = [await this.#bounds(), await this.frame()];
    return [
      bounds.x + (x * bounds.width) / frame.width,
      bounds.y + (y * bounds.height) / frame.height,
    ];
  }

  /** Which point of the frame is at a place in the window, CSS px. */
  async point([x, y]) {
    const [bounds, frame] = [await this.#bounds(), await this.frame()];
    return [
      ((x - bounds.x) * frame.width) / bounds.width,
      ((y - bounds.y) * frame.height) / bounds.height,
    ];
  }

  /**
   * Paints with the mouse from point to point of the frame.
   *
   * @param {[number, number][]} points px of the frame
   * @param {{button?: "left" | "right"}} [options]
   */
  async paint(points, { button = "left" } = {}) {
    const places = [];
    for (const point of points) {
      places.push(await this.place(point));
    }
    const [first, ...others] = places;
    await this.#page.mouse.move(...first);
    await this.#page.mouse.down({ button });
    for (const place of others) {
      await this.#page.mouse.move(...place);
    }
    await this.#page.mouse.up({ button });
  }

  /** How many px of the frame are masked at all. */
  async maskedPixels() {
    return this.mask.evaluate((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.filter((value, at) => at % 4 === 3 && value > 0).length;
    });
  }

  /**
   * Milliseconds from a pointer's move to the end of all that it makes the page do at once; fails
   * if the mask does not change by then. The pointer is down already.
   *
   * @param {[number, number]} place in the window, CSS px
   */
  async millisToPaint([clientX, clientY]) {
    return this.mask.evaluate(
      (canvas, [clientX, clientY]) => {
        const settings = { clientX, clientY, pointerType: "mouse", bubbles: true, buttons: 1 };
        const pixels = () => {
          const context = canvas.getContext("2d");
          return context.getImageData(0, 0, canvas.width, canvas.height).data.join();
        };
        const before = pixels();
        const begun = performance.now();
        canvas.dispatchEvent(new PointerEvent("pointermove", settings));
        const millis = performance.now() - begun;
        if (pixels() === before) {
          throw new Error(`nothing is painted at ${clientX}, ${clientY}`);
        }
        return millis;
      },
      [clientX, clientY],
    );
  }

  /** Where the frame is in the window, into which the stage is scrolled if it is not there. */
  async #bounds() {
    await this.#region.scrollIntoViewIfNeeded();
    const bounds = await this.mask.boundingBox();
    assert.ok(bounds, "the stage shows a frame");
    return bounds;
  }
}
