// Starts the trainer in a Web Worker: one per browser, its program fetched with the bytes counted,
// and what only JavaScript sees of the GPU told to the page. The page's side of every message is in
// frontend/app/src/link/worker.rs.

import start from "./mimeo-worker.js";
import { counts, loseDevice, onFault, onLost, onPipeline, watchGpu } from "./worker-gpu.js";

/** Only who holds it trains and writes: two trainers would share the GPU and overwrite files. */
const LOCK = "mimeo-worker";
/** Milliseconds between two messages about the same progress. */
const TELL_EVERY = 100;

let memory;
/** The user wants the training here, although another tab has it. */
let resolveTaken;
const taken = new Promise((resolve) => {
  resolveTaken = resolve;
});

/** The worker is of no use any more; the page starts another one. */
function lose(sentence) {
  if (!globalThis.mimeoLost) {
    // Read by the program, which then fails no job for it.
    globalThis.mimeoLost = true;
    postMessage({ lost: sentence });
  }
}

/** Tells what went wrong in the program, which cannot go on after it. */
function loseTo(error) {
  const isFull = memory !== undefined && memory.buffer.byteLength > 3.9e9;
  const sentence = isFull
    ? "The browser's memory for this page is full (4 GiB). Lower the batch size or take a smaller picture or base, or train with the companion."
    : `The trainer failed (${error?.message ?? error}).`;
  lose(sentence);
}

addEventListener("error", (event) => loseTo(event.error ?? event.message));
addEventListener("unhandledrejection", (event) => loseTo(event.reason));

/** Runs the body when no other tab trains; while one does, the page says so. */
async function alone(body) {
  let isElsewhere = false;
  const hold = (lock) => {
    isElsewhere = lock === null;
    if (isElsewhere) {
      return undefined;
    }
    body();
    // Until the tab is closed.
    return new Promise(() => {});
  };
  try {
    await navigator.locks.request(LOCK, { ifAvailable: true }, hold);
    if (isElsewhere) {
      postMessage({ elsewhere: true });
      await Promise.race([navigator.locks.request(LOCK, hold), taken]);
      // Stolen only when the user says so: the other tab's trainer ends with it.
      await navigator.locks.request(LOCK, { steal: true }, hold);
    }
  } catch (error) {
    if (error.name !== "AbortError") {
      throw error;
    }
    postMessage({ taken: "Another tab of this browser took the training over. It goes on there." });
    close();
  }
}

/** The program, told byte by byte. */
async function fetchProgram() {
  const answer = await fetch(new URL("mimeo-worker_bg.wasm", import.meta.url));
  if (!answer.ok) {
    throw new Error(`the trainer's program cannot be fetched (${answer.status}); reload the page`);
  }
  // The length of what travels: of compressed files nothing tells how long they become.
  const isPlain = !answer.headers.get("content-encoding");
  const total = (isPlain && Number(answer.headers.get("content-length"))) || null;
  // Counted on a copy, because browsers keep what they compile of an answer that was not touched.
  count(answer.clone().body, total);
  return answer;
}

/** Tells how much of the program has come; nobody waits for it. */
async function count(body, total) {
  let done = 0;
  let told = 0;
  const reader = body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    done += part.value.byteLength;
    const now = performance.now();
    if (now - told >= TELL_EVERY || done === total) {
      told = now;
      postMessage({ program: [done, total] });
    }
  }
}

onLost((info) => {
  lose(`The browser took the GPU away (${info.message || info.reason}).`);
});
onFault((error) => {
  const isFull = error instanceof GPUOutOfMemoryError;
  const sentence = isFull
    ? "The GPU's memory is full. Lower the batch size or take a smaller picture or base, or train with the companion."
    : `The GPU refused a program (${error.message}).`;
  lose(sentence);
});
let pipelinesTold = 0;
onPipeline((done) => {
  // Read by the program when it is done.
  globalThis.mimeoPipelines = done;
  if (performance.now() - pipelinesTold < TELL_EVERY) {
    return;
  }
  pipelinesTold = performance.now();
  const expected = Math.max(globalThis.mimeoExpectedPipelines ?? 0, done);
  postMessage({ pipelines: [done, expected] });
});
addEventListener("message", ({ data }) => {
  if (data.take) {
    resolveTaken();
  } else if (data.lose) {
    loseDevice();
  } else if (data.get === "counts") {
    const numbers = { ...counts, heap_bytes: memory?.buffer.byteLength ?? 0 };
    const file = new Blob([JSON.stringify(numbers)], { type: "application/json" });
    postMessage({ id: data.id, ok: true, file });
  }
});

alone(async () => {
  try {
    watchGpu();
    ({ memory } = await start({ module_or_path: fetchProgram() }));
  } catch (error) {
    loseTo(error);
  }
});
