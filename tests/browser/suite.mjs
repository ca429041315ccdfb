// One browser and one host for all tests of a file; every visit is a new user.

import { after, before } from "node:test";

import { openBrowser, withPage } from "./browser.mjs";
import { Companion } from "./companion.mjs";
import { Lower } from "./pages/lower.mjs";
import { Workbench } from "./pages/workbench.mjs";

/**
 * What a test sees of a visit.
 *
 * @typedef {object} Visit
 * @property {import("playwright-core").Page} page
 * @property {Workbench} bench the upper half of the page
 * @property {Lower} lower the lower half
 * @property {Companion} companion
 * @property {() => Promise<Visit>} another opens another tab in the same browser
 * @property {import("./browser.mjs").OpenTab} tab the same, and waits for nothing
 */

/** The browser and the host of a test file, from before its first test to after its last. */
export class Suite {
  /** The companion that all tests of the file share, or the host that they share instead. */
  companion;
  #browser;

  /**
   * @param {() => Promise<void>} [prepare] what all tests of the file build upon
   * @param {() => Promise<{url: string, trainsOn: string, dispose: () => Promise<void>}>} [start] a
   *   companion if not given
   */
  constructor(prepare, start = () => Companion.start()) {
    before(async () => {
      [this.#browser, this.companion] = await Promise.all([openBrowser(), start()]);
      await prepare?.();
    });
    after(async () => {
      await Promise.all([this.#browser?.close(), this.companion?.dispose()]);
    });
  }

  /**
   * Visits the workbench as a new user, and waits until it can train.
   *
   * @param {import("./browser.mjs").Settings} settings
   * @param {(visit: Visit) => Promise<void>} body
   */
  async visit(settings, body) {
    await withPage(this.#browser, this.companion, settings, async (page, openTab) => {
      const enter = async (page) => {
        const bench = new Workbench(page);
        await bench.ready(this.companion.trainsOn);
        return { page, bench, lower: new Lower(page), companion: this.companion };
      };
      const visit = await enter(page);
      await body({ ...visit, another: async () => enter(await openTab()), tab: openTab });
    });
  }
}
