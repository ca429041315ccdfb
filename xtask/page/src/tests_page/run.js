// Shows what the tests say, line by line; they run in a worker.

const output = document.getElementById("output");
const show = (line) => output.append(`${line}\n`);

const worker = new Worker("worker.js", { type: "module" });
worker.addEventListener("message", ({ data }) => show(data));
worker.addEventListener("error", ({ message }) => show(`test result: FAILED. 0 passed; 1 failed: ${message}`));
