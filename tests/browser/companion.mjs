// The real companion, as its users start it: `mimeo serve` with a data folder of its own.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** Milliseconds from the start until it serves; far more than it takes. */
const START_WITHIN = 30_000;

/** Milliseconds in which it ends by itself when it is asked to: it saves the running job. */
const END_WITHIN = 20_000;

export class Companion {
  /** Folder of its jobs and pictures; deleted by `dispose`. */
  data;
  /** Host and port, such as "127.0.0.1:40123"; stays the same when it is started again. */
  address;
  #arguments;
  #process;
  #said = [];

  /**
   * Starts one on a free port, computing on the CPU.
   *
   * @param {string[]} extra more arguments for `mimeo serve`
   */
  static async start(extra = []) {
    const companion = new Companion();
    companion.data = await mkdtemp(join(tmpdir(), "mimeo-browser-"));
    companion.#arguments = ["--device", "cpu", ...extra];
    try {
      await companion.#serve(0);
    } catch (error) {
      await companion.dispose();
      throw error;
    }
    return companion;
  }

  /** What the page says where it trains. */
  get trainsOn() {
    return "Companion";
  }

  /** Where the page is. */
  get url() {
    return `http://${this.address}/`;
  }

  /** All that it printed so far, for the message of a test that failed. */
  get output() {
    return this.#said.join("\n");
  }

  /** Ends it as Ctrl+C does: its job is saved. */
  async stop() {
    const child = this.#running();
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    const forced = setTimeout(() => child.kill("SIGKILL"), END_WITHIN);
    const [code, signal] = await ended;
    clearTimeout(forced);
    this.#process = undefined;
    if (code !== 0) {
      throw new Error(`mimeo serve ended with ${code ?? signal}:\n${this.output}`);
    }
  }

  /** Ends it as a power cut does. */
  async kill() {
    const child = this.#running();
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
    this.#process = undefined;
  }

  /** Starts it again after `stop` or `kill`: same data, same port, so the same page finds it. */
  async restart() {
    if (this.#runs()) {
      throw new Error("the companion still runs; stop or kill it first");
    }
    const port = Number(this.address.split(":").at(-1));
    await this.#serve(port);
  }

  /** Ends it if it still runs, and deletes its data. */
  async dispose() {
    if (this.#runs()) {
      await this.kill();
    }
    await rm(this.data, { recursive: true, force: true });
  }

  #runs() {
    const child = this.#process;
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  #running() {
    if (!this.#runs()) {
      throw new Error(`the companion does not run (any more):\n${this.output}`);
    }
    return this.#process;
  }

  async #serve(port) {
    const child = spawn(
      binary(),
      [
        ...["serve", "--json", "--no-open", "--port", String(port), "--data", this.data],
        ...this.#arguments,
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    this.#process = child;
    // A test run that breaks off leaves no companion behind.
    const end = () => child.kill("SIGKILL");
    process.once("exit", end);
    child.once("exit", () => process.off("exit", end));
    createInterface(child.stderr).on("line", (line) => this.#said.push(line));
    // Read to the end, so that a full pipe never holds the companion up.
    const lines = createInterface(child.stdout);
    lines.on("line", (line) => this.#said.push(line));

    this.address = await new Promise((resolve, reject) => {
      const fail = (why) => reject(new Error(`mimeo serve ${why}:\n${this.output}`));
      const late = setTimeout(() => fail("does not serve in time"), START_WITHIN);
      lines.on("line", (line) => {
        const event = JSON.parse(line);
        if (event.event === "serving") {
          clearTimeout(late);
          resolve(event.address);
        }
      });
      child.once("error", (error) => {
        clearTimeout(late);
        this.#process = undefined;
        fail(`does not start (${error.message})`);
      });
      child.once("close", (code) => {
        clearTimeout(late);
        fail(`ended with ${code}`);
      });
    });
  }
}

/** The program that is tested. */
export function binary() {
  const path = process.env.MIMEO_BIN;
  if (!path) {
    throw new Error("MIMEO_BIN names no program to test; run `cargo xtask test --only browser`");
  }
  return path;
}
