// The parity tests (tests/parity) once more, compiled for the browser: the same functions, fixtures and
// tolerances, in a Web Worker.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";

import { openBrowser, withPage } from "./browser.mjs";
import { eventually } from "./eventually.mjs";

/** Milliseconds that all of them may take. */
const END_WITHIN = 600_000;

/** What runs on WebGPU natively is no part of it; whatever else there is runs. */
const AT_LEAST = 60;

let browser;
let runner;
let url;

before(async () => {
  browser = await openBrowser();
  url = await serve();
});

after(async () => {
  await browser?.close();
  runner?.kill();
});

test("every number beside the reference, in the browser as natively", async () => {
  await withPage(browser, { url }, { name: "parity", expectedErrors: [/favicon/] }, async (page) => {
    const output = page.locator("#output");
    const told = /test result: (\w+)\. (\d+) passed; (\d+) failed/;
    const [, verdict, passed, failed] = await eventually(
      "the tests have ended",
      async () => (await output.textContent()).match(told),
      END_WITHIN,
    );
    const text = await output.textContent();
    console.log(`${passed} passed, ${failed} failed`);
    assert.equal(verdict, "ok", text);
    assert.ok(passed >= AT_LEAST, `only ${passed} ran:\n${text}`);
  });
});

/** Serves the page of the tests; its address. */
function serve() {
  return new Promise((resolve, reject) => {
    const program = process.env.WASM_TEST_RUNNER ?? "wasm-bindgen-test-runner";
    runner = spawn(program, [process.env.MIMEO_PARITY], {
      // It would look for a driver, and open a browser with it.
      env: { ...process.env, NO_HEADLESS: "1", WASM_BINDGEN_TEST_ADDRESS: "127.0.0.1:0" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const end = () => runner.kill();
    process.once("exit", end);
    // Read to the end: it does not survive a pipe that is closed.
    createInterface(runner.stdout).on("line", (line) => {
      const said = line.match(/available at (http:\/\/\S+)/);
      if (said) {
        resolve(`${said[1]}/`);
      }
    });
    runner.once("error", reject);
    runner.once("exit", (code) => {
      process.off("exit", end);
      reject(new Error(`the runner of the tests ended with ${code}`));
    });
  });
}
