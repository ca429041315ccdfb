// Any static host, as the worst of them does it: files under a sub-path, types by their names, and
// nothing else.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize, sep } from "node:path";
import { fileURLToPath } from "node:url";

const TYPES = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
  ".wasm": "application/wasm",
};

/** Where the page lies on the host: whoever asks for "/worker.js" finds nothing. */
const PLACE = "/some/sub-path/";

/** Beside the page, for tests that speak with the worker themselves. */
const EMPTY = "empty.html";

export class StaticHost {
  /** Where the page is. */
  url;
  #server;

  /**
   * Serves the built page on a free port.
   *
   * @param {string} folder a page; $MIMEO_DIST if not given, or where the workbench is built
   */
  static async start(folder = distribution()) {
    const host = new StaticHost();
    host.#server = createServer((request, response) => {
      answer(folder, request, response).catch((error) => response.destroy(error));
    });
    await new Promise((resolve, reject) => {
      host.#server.once("error", reject);
      host.#server.listen(0, "127.0.0.1", resolve);
    });
    host.url = `http://127.0.0.1:${host.#server.address().port}${PLACE}`;
    return host;
  }

  /** What the page says where it trains. */
  get trainsOn() {
    return "Browser";
  }

  /** A page with nothing on it, of the same origin and at the same place. */
  get emptyUrl() {
    return `${this.url}${EMPTY}`;
  }

  /** Stops; connections that browsers keep open end too. */
  async dispose() {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }
}

/** The folder that is served. */
export function distribution() {
  const built = new URL("../../companion/workbench", import.meta.url);
  return process.env.MIMEO_DIST ?? fileURLToPath(built);
}

async function answer(folder, request, response) {
  const { pathname } = new URL(request.url, "http://host");
  const path = decodeURIComponent(pathname);
  const name = path.slice(PLACE.length) || "index.html";
  if (path === `${PLACE}${EMPTY}`) {
    send(response, 200, TYPES[".html"], "<!doctype html><title>Empty</title><link rel=icon href=data:,>");
    return;
  }
  const file = normalize(join(folder, name));
  const isInside = path.startsWith(PLACE) && file.startsWith(normalize(folder) + sep);
  const found = isInside ? await stat(file).catch(() => undefined) : undefined;
  if (!found?.isFile()) {
    send(response, 404, TYPES[".txt"], "Not found\n");
    return;
  }
  const type = TYPES[extname(file)] ?? "application/octet-stream";
  response.writeHead(200, { "content-type": type, "content-length": found.size });
  createReadStream(file).pipe(response);
}

function send(response, status, type, text) {
  response.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(text) });
  response.end(text);
}
