// The browser's own trainer, spoken with as the page does: `worker.js` in a page that has nothing
// else on it. What it says arrives here one by one, also while its thread is busy for minutes.

import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { decode, encode } from "@msgpack/msgpack";

const protocol = await readFile(new URL("../../shared/protocol/src/lib.rs", import.meta.url), "utf8");
/** Version of the conversation (`mimeo_protocol::PROTOCOL_VERSION`). */
const PROTOCOL = Number(/PROTOCOL_VERSION: u32 = (\d+)/.exec(protocol)[1]);

/** Milliseconds that anything may take; SwiftShader compiles for a minute. */
const ANSWER_WITHIN = 280_000;

let workers = 0;

export class BrowserWorker {
  /** The latest of everything that it told on its way, such as `pipelines` or `base`. */
  told = {};
  /** What it said that it is: device, bases, jobs. */
  snapshot;
  /** Its finished copiers, the newest first. */
  copiers = [];
  /** All events of its jobs, with `heardAt` in milliseconds of this process. */
  events = [];
  #handle;
  #requests = 0;
  #waiting = new Set();

  /**
   * Starts one, waits until it listens, and says hello.
   *
   * @param {import("playwright-core").Page} page of the host
   * @param {"cpu" | "webgpu"} device
   */
  static async start(page, device) {
    const worker = await BrowserWorker.open(page, device);
    await worker.#until("that it is ready", () => worker.told.ready);
    await worker.hello();
    return worker;
  }

  /** Starts one that may have to wait for another. */
  static async open(page, device) {
    const worker = new BrowserWorker();
    workers += 1;
    const name = `heardOfWorker${workers}`;
    await page.exposeFunction(name, (kind, value) => worker.#hear(kind, value));
    worker.#handle = await page.evaluateHandle(openInPage, { name, device });
    return worker;
  }

  /** Introduces this client. */
  async hello() {
    await this.#send({ hello: { protocol: PROTOCOL, app: "browser tests", token: "" } });
    await this.#until("the welcome", () => this.snapshot);
    return this.snapshot;
  }

  /** Keeps a file, as the companion's HTTP PUT does. */
  async put(path, bytes) {
    await this.#exchange({ put: path }, bytes);
  }

  /** Fetches a file, as the companion's HTTP GET does. */
  async get(path) {
    const { file } = await this.#exchange({ get: path });
    return Buffer.from(file, "base64");
  }

  /** Fetches a file and does not read it yet, like a page that shows it: `read` does. */
  async hold(path) {
    await this.#exchange({ get: path });
    const file = await this.#handle.evaluateHandle((worker) => worker.latestFile);
    const read = () => file.evaluate(async (file) => [...new Uint8Array(await file.arrayBuffer())]);
    return { read: async () => Buffer.from(await read()) };
  }

  /** Keeps a picture, and returns the hash that is its name. */
  async upload(bytes) {
    return this.#putByHash("blobs", bytes);
  }

  /** Keeps a LoRA, and returns the hash that is its name. */
  async uploadLora(bytes) {
    return this.#putByHash("loras", bytes);
  }

  /** Gives it a diffusers folder of this disk as the base of an id. */
  async putBase(name, folder) {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    const files = {};
    for (const entry of entries.filter((entry) => entry.isFile())) {
      const path = join(entry.parentPath ?? entry.path, entry.name);
      const inside = path.slice(folder.length).split(/[/\\]/).filter(Boolean).join("/");
      files[inside] = await readFile(path);
    }
    await this.#exchange({ put: `bases/${name}` }, files);
  }

  /**
   * Asks for something, and returns what is answered.
   *
   * @param {string} kind such as "submit"
   * @param {object} body
   */
  async ask(kind, body = {}) {
    const request = (this.#requests += 1);
    const answered = this.#until(`the answer to ${kind}`, (message) => {
      const [[answer, content]] = Object.entries(message ?? { none: {} });
      if (content?.request !== request) {
        return undefined;
      }
      if (answer === "rejected") {
        throw new Error(`${kind} was refused: ${JSON.stringify(content.reason)}`);
      }
      return content;
    });
    await this.#send({ [kind]: { request, ...body } });
    return answered;
  }

  /**
   * Asks for many things, and waits for no answer before it asks for the next.
   *
   * @param {{after: number, kind: string, body?: object}[]} wishes `after`: milliseconds since the one
   *   before was sent
   * @param {number} within milliseconds that the answers may take
   * @returns {Promise<object[][]>} everything that was answered to each of them
   */
  async askAll(wishes, within = 60_000) {
    const first = this.#requests + 1;
    const frames = wishes.map(({ after, kind, body }) => {
      this.#requests += 1;
      return [after, frame({ [kind]: { request: this.#requests, ...body } })];
    });
    const answers = wishes.map(() => []);
    const listen = (message) => {
      const [content] = Object.values(message ?? {});
      answers[content?.request - first]?.push(message);
    };
    this.#waiting.add(listen);
    try {
      await this.#handle.evaluate((worker, frames) => worker.postFrames(frames), frames);
      await this.#until("all answers", () => answers.every((of) => of.length > 0), within);
      // Whatever else it says to them, it says before it answers this.
      await this.ask("devices");
    } catch (error) {
      const missing = wishes.filter((_, at) => answers[at].length === 0).map(({ kind }) => kind);
      error.message += `; ${missing.length} of ${wishes.length} not answered: ${missing.slice(0, 9).join(", ")}`;
      throw error;
    } finally {
      this.#waiting.delete(listen);
    }
    return answers;
  }

  /** Puts a job into the queue, and returns its number. */
  async submit(job) {
    return (await this.ask("submit", { job })).job;
  }

  /** Steers a job: "pause", "resume", "discard" and so on. */
  async control(job, control) {
    await this.ask("control", { job, control });
  }

  /** What a job would take. */
  async plan(job) {
    return (await this.ask("plan", { job })).plan;
  }

  /** Draws a picture and returns it, a PNG. */
  async preview(preview) {
    const { picture } = await this.ask("preview", { preview });
    return this.get(`blobs/${picture}`);
  }

  /** Pipelines, dispatches, submissions and readbacks so far, and the size of its heap. */
  async counts() {
    return JSON.parse((await this.get("counts")).toString());
  }

  /** The events of a job that are of a kind, such as "losses". */
  eventsOf(job, kind) {
    const kinds = this.events.filter((event) => event.job === job && kind in event.kind);
    return kinds.map((event) => ({ ...event, ...event.kind[kind] }));
  }

  /**
   * The losses of a pass: one for each step, the last one told of those that came twice.
   *
   * @param {number} job
   * @param {"copier" | "training"} phase
   * @returns {number[]}
   */
  losses(job, phase) {
    const events = this.eventsOf(job, "losses").filter((event) => event.phase === phase);
    const points = events.flatMap((event) => event.points);
    return Object.values(Object.fromEntries(points.map(({ step, loss }) => [step, loss])));
  }

  /** Waits until so many steps of a pass were told. */
  async steps(job, count, phase = "training") {
    await this.#until(`${count} steps`, () => this.losses(job, phase).length >= count);
  }

  /** Waits until a job is in a state, such as "paused"; fails when it fails. */
  async state(job, name, within = ANSWER_WITHIN) {
    const isIt = () => {
      const state = this.eventsOf(job, "state").at(-1)?.state;
      const key = typeof state === "string" ? state : Object.keys(state ?? { none: {} })[0];
      if (key === "failed" && name !== "failed") {
        throw new Error(`the job failed: ${state.failed.message}`);
      }
      return key === name;
    };
    await this.#until(`that the job is ${name}`, isIt, within);
  }

  /** Waits until a job is finished, and returns its files by their kind. */
  async finished(job, within = ANSWER_WITHIN) {
    await this.state(job, "finished", within);
    const files = this.eventsOf(job, "file").map((event) => event.file);
    return Object.fromEntries(files.map((file) => [file.kind, file]));
  }

  /** Waits until a job has saved a LoRA on its way, and tells which file that is. */
  async saved(job) {
    return this.#until("a LoRA that is saved on the way", () => {
      return this.eventsOf(job, "file").find(({ file }) => file.kind.step)?.file;
    });
  }

  /** A result of a job. */
  async file(id) {
    return this.get(`files/${id}`);
  }

  /** Takes its GPU away, as a driver that crashes does, and returns the sentence that it ends with. */
  async loseDevice() {
    await this.#handle.evaluate((worker) => worker.postMessage({ lose: true }));
    return this.#until("that it is lost", () => this.told.lost);
  }

  /** Takes over from another tab. */
  async take() {
    await this.#handle.evaluate((worker) => worker.postMessage({ take: true }));
  }

  /** Waits until it has told something, such as `elsewhere`, and returns that. */
  async says(what) {
    return this.#until(`that it says ${what}`, () => this.told[what]);
  }

  /** Ends it as a tab that is closed does. */
  async terminate() {
    await this.#handle.evaluate((worker) => worker.terminate());
  }

  async #putByHash(kind, bytes) {
    const hash = createHash("sha256").update(bytes).digest("hex");
    await this.put(`${kind}/${hash}`, bytes);
    return hash;
  }

  async #send(message) {
    await this.#handle.evaluate((worker, base64) => worker.postFrame(base64), frame(message));
  }

  /** @param {Buffer | Record<string, Buffer>} [payload] a file, or files by their paths */
  async #exchange(message, payload) {
    const id = (this.#requests += 1);
    const answered = this.#until(`the answer to ${JSON.stringify(message)}`, (heard) => {
      if (heard?.id !== id) {
        return undefined;
      }
      if (heard.error) {
        throw new Error(`${JSON.stringify(message)} was refused: ${heard.error}`);
      }
      return heard;
    });
    await this.#handle.evaluate((worker, [message, wire]) => worker.postFile(message, wire), [
      { id, ...message },
      payload && wireOf(payload),
    ]);
    return answered;
  }

  #hear(kind, value) {
    const message = kind === "frame" ? decode(Buffer.from(value, "base64")) : value;
    if (message.welcome) {
      this.snapshot = message.welcome.snapshot;
      this.copiers = this.snapshot.copiers;
    } else if (message.copiers) {
      this.copiers = message.copiers.copiers;
    } else if (message.event) {
      this.events.push({ ...message.event, heardAt: performance.now() });
    } else if (kind === "message" && message.id === undefined) {
      Object.assign(this.told, message);
    }
    for (const look of [...this.#waiting]) {
      look(message);
    }
  }

  /** Looks at every message until `look` returns something true, and returns that. */
  #until(what, look, within = ANSWER_WITHIN) {
    return new Promise((resolve, reject) => {
      const settle = (done, value) => {
        this.#waiting.delete(see);
        clearTimeout(late);
        done(value);
      };
      const see = (message) => {
        try {
          const seen = look(message);
          if (seen) {
            settle(resolve, seen);
          } else if (this.told.lost) {
            settle(reject, new Error(`the worker is lost while ${what} is waited for: ${this.told.lost}`));
          }
        } catch (error) {
          settle(reject, error);
        }
      };
      const tell = () => `not in time: ${what} (told: ${JSON.stringify(this.told)})`;
      const late = setTimeout(() => settle(reject, new Error(tell())), within);
      this.#waiting.add(see);
      see();
    });
  }
}

/** A message as it travels to the page. */
function frame(message) {
  return Buffer.from(encode(message)).toString("base64");
}

/** A file, or files by their paths, as it travels to the page. */
function wireOf(payload) {
  if (payload instanceof Uint8Array) {
    return Buffer.from(payload).toString("base64");
  }
  return Object.fromEntries(Object.entries(payload).map(([path, bytes]) => [path, wireOf(bytes)]));
}

/** In the page: starts the worker, and passes everything on as what Playwright can carry. */
function openInPage({ name, device }) {
  const heard = window[name];
  const toBase64 = (bytes) => {
    let letters = "";
    for (let at = 0; at < bytes.length; at += 0x8000) {
      letters += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
    }
    return btoa(letters);
  };
  const toBytes = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const address = new URL(`worker.js?device=${device}`, document.baseURI);
  const worker = new Worker(address, { type: "module" });
  worker.onmessage = async ({ data }) => {
    if (data instanceof Uint8Array) {
      heard("frame", toBase64(data));
    } else if (data.file) {
      worker.latestFile = data.file;
      heard("message", { ...data, file: toBase64(new Uint8Array(await data.file.arrayBuffer())) });
    } else {
      heard("message", data);
    }
  };
  worker.onerror = ({ message }) => heard("message", { lost: `it does not start: ${message}` });
  worker.postFrame = (base64) => {
    const frame = toBytes(base64);
    worker.postMessage(frame, [frame.buffer]);
  };
  worker.postFrames = async (frames) => {
    for (const [after, base64] of frames) {
      if (after > 0) {
        await new Promise((resolve) => setTimeout(resolve, after));
      }
      worker.postFrame(base64);
    }
  };
  const toFile = (wire) => {
    if (typeof wire === "string") {
      return new Blob([toBytes(wire)]);
    }
    return Object.fromEntries(Object.entries(wire).map(([path, base64]) => [path, toFile(base64)]));
  };
  worker.postFile = (message, wire) => {
    worker.postMessage(wire === undefined ? message : { ...message, file: toFile(wire) });
  };
  return worker;
}
