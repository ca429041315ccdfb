// The lower half: the run that is shown, its result, all runs, the playground.

import { Playground } from "./playground.mjs";
import { ResultPanel } from "./result-panel.mjs";
import { RunPanel } from "./run-panel.mjs";
import { RunsList } from "./runs-list.mjs";

export class Lower {
  /** The run that is shown. */
  run;
  /** What it made. */
  result;
  /** All of them. */
  runs;
  /** Drawing with any LoRAs. */
  playground;
  #region;

  /** @param {import("playwright-core").Page} page */
  constructor(page) {
    this.#region = page.getByRole("region", { name: "Runs and results" });
    this.run = new RunPanel(page);
    this.result = new ResultPanel(page);
    this.runs = new RunsList(page);
    this.playground = new Playground(page);
  }

  /** One of the tabs: Run, Result, Runs, Playground. */
  tab(name) {
    return this.#region.getByRole("tab", { name, exact: true });
  }

  /** Opens a tab. */
  async open(name) {
    await this.tab(name).click();
  }
}
