import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

import { binary } from "./companion.mjs";
import { bundledPair } from "./pictures.mjs";
import { Suite } from "./suite.mjs";

const suite = new Suite();

/** Dropping two files, Suggest, Train; one to spare. */
const MOST_ACTIONS = 4;

test("the whole job by mouse takes four actions at most, and ends with a file for other programs", async () => {
  await suite.visit({ name: "mouse" }, async ({ page, bench, lower, companion }) => {
    // Not an action of a user: it makes the run a short one.
    await bench.recipe.makeShort({ name: "by-mouse", steps: 8, previewEvery: 4 });

    let actions = 0;
    const act = async (action) => {
      actions += 1;
      await action;
    };
    await act(bench.dropFiles(await bundledPair("glasses")));
    await bench.pair.getByText(/\d % of the picture changes/).waitFor();
    await act(bench.stage.button("Suggest").click());
    await bench.preflight.getByText(/\d % masked/).waitFor();
    await act(bench.train.click());
    await lower.run.name("by-mouse").waitFor();
    await lower.run.says(/Training · step \d+ of 8/);
    assert.ok(actions <= MOST_ACTIONS, `from the empty page to a run in ${actions} actions`);

    for (const strength of ["−1", "0", "\\+1"]) {
      await lower.run.previews(strength).first().waitFor({ timeout: 120_000 });
    }
    await lower.result.shown();
    const [file] = await Promise.all([
      page.waitForEvent("download"),
      lower.result.download.click(),
    ]);
    const path = join(companion.data, file.suggestedFilename());
    await file.saveAs(path);
    const { stdout } = await promisify(execFile)(binary(), ["inspect", path]);
    assert.match(stdout, /rank/i, "what it is");
    assert.match(stdout, /recipe/i, "and how it was made");
  });
});
