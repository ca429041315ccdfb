// Runs every test of a program, as `wasm-bindgen-test` wants to be called.

import start, * as program from "./tests.js";

/** What the names of tests begin with among the program's exports. */
const TEST = "__wbgt_";

// Both are called by the program.
globalThis.__wbg_test_invoke = (test) => test();
globalThis.__wbg_test_output_writeln = (line) => postMessage(line);

const address = new URL("tests_bg.wasm", import.meta.url);
const compiled = await WebAssembly.compileStreaming(fetch(address));
const names = WebAssembly.Module.exports(compiled).map(({ name }) => name);
const exports = await start({ module_or_path: compiled });

// What a test prints is shown with it, if it fails.
for (const method of ["debug", "log", "info", "warn", "error"]) {
  const record = program[`__wbgtest_console_${method}`];
  console[method] = (...values) => record(values);
}

const context = new program.WasmBindgenTestContext(false);
const tests = names.filter((name) => name.startsWith(TEST)).map((name) => exports[name]);
await context.run(tests);
