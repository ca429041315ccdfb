// The page as `cargo xtask run` makes it, without the browser's trainer: it leaves the training to the
// companion, says how to have it otherwise, and asks for nothing that is not there.

import { test } from "node:test";

import { openBrowser, screenshot, withPage } from "./browser.mjs";
import { choose } from "./pages/choose.mjs";
import { Workbench } from "./pages/workbench.mjs";
import { StaticHost } from "./static-host.mjs";

/** What brings the trainer. */
const REMEDY = /cargo xtask run --browser/;

test("a page without the browser's trainer says so, and looks for nothing else", async () => {
  const host = await StaticHost.start(process.env.MIMEO_WITHOUT_TRAINER);
  const browser = await openBrowser();
  try {
    await withPage(browser, host, { name: "without-trainer" }, async (page) => {
      const bench = new Workbench(page);
      await bench.banner.filter({ hasText: REMEDY }).waitFor();
      await bench.backend.click();
      for (const place of ["Browser (CPU)", "Browser (WebGPU)"]) {
        await choose(bench.backendChoice(place));
        await bench.backendDetails.getByText(/You chose this browser, but/).filter({ hasText: REMEDY }).waitFor();
      }
      await screenshot(page, "without-trainer");
    });
  } finally {
    await Promise.all([browser.close(), host.dispose()]);
  }
});
