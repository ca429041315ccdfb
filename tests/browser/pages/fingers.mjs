// Fingers on the glass, which Playwright has for taps only: through the debugger of Chromium.

/** Moves that the browser hears of one drag. */
const MOVES = 8;

export class Fingers {
  #session;

  /** @param {import("playwright-core").Page} page */
  static async on(page) {
    const fingers = new Fingers();
    fingers.#session = await page.context().newCDPSession(page);
    return fingers;
  }

  /**
   * Puts as many fingers down as there are places, one after the other, moves them in a straight
   * line, and lifts all.
   *
   * @param {[number, number][]} from places in the window, CSS px
   * @param {[number, number][]} to as many
   */
  async drag(from, to) {
    await this.#press(from);
    for (let move = 1; move <= MOVES; move += 1) {
      const share = move / MOVES;
      const between = (at, axis) => from[at][axis] + (to[at][axis] - from[at][axis]) * share;
      await this.#send("touchMove", from.map((_, at) => [between(at, 0), between(at, 1)]));
    }
    await this.#send("touchEnd", []);
  }

  /** Puts fingers down and lifts them. */
  async tap(places) {
    await this.#press(places);
    await this.#send("touchEnd", []);
  }

  async #press(places) {
    for (const count of places.keys()) {
      await this.#send("touchStart", places.slice(0, count + 1));
    }
  }

  async #send(type, places) {
    const touchPoints = places.map(([x, y], id) => ({ x, y, id }));
    await this.#session.send("Input.dispatchTouchEvent", { type, touchPoints });
  }
}
