// Files that people drop: the bundled pairs, and pictures that are wrong in one way each.

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { deflateSync } from "node:zlib";

/**
 * A file on its way into the page.
 *
 * @typedef {object} File
 * @property {string} name
 * @property {string} mimeType
 * @property {Buffer} buffer
 */

/**
 * A picture of a bundled pair.
 *
 * @param {string} pair the folder's name, such as "glasses"
 * @param {"A" | "B" | "mask"} role
 * @param {"00" | "01"} [number] of the pair in its folder
 * @returns {Promise<File>}
 */
export async function bundled(pair, role, number = "00") {
  const path = new URL(`../../shared/base/pairs/${pair}/${number}_${role}.png`, import.meta.url);
  return png(`${pair}-${role}.png`, await readFile(fileURLToPath(path)));
}

/**
 * A picture of the fixtures, whose README says what each is.
 *
 * @param {string} name
 * @returns {Promise<File>}
 */
export async function fixture(name) {
  const path = new URL(`../fixtures/pictures/${name}`, import.meta.url);
  const kind = name.endsWith(".jpg") ? "image/jpeg" : "image/png";
  return { name, mimeType: kind, buffer: await readFile(fileURLToPath(path)) };
}

/** A and B of a bundled pair. */
export async function bundledPair(pair) {
  return Promise.all([bundled(pair, "A"), bundled(pair, "B")]);
}

/**
 * A PNG of one colour, or of two.
 *
 * @param {string} name
 * @param {number} width px
 * @param {number} height px
 * @param {[number, number, number]} colour RGB, 0 to 255
 * @param {{from: number, to: number, colour: [number, number, number]}} [square] of another colour,
 *   from and to px of both sides
 * @returns {File}
 */
export function plain(name, width, height, colour, square) {
  // Every row begins with its filter, which is none.
  const row = Buffer.concat([Buffer.of(0), Buffer.alloc(width * 3, Buffer.from(colour))]);
  const rows = Buffer.concat(Array.from({ length: height }, () => row));
  if (square) {
    const { from, to } = square;
    for (let y = from; y < to; y += 1) {
      const begin = y * row.length + 1;
      rows.fill(Buffer.from(square.colour), begin + from * 3, begin + to * 3);
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8); // eight bits, RGB, deflate, filters, not interlaced
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const chunks = [chunk("IHDR", header), chunk("IDAT", deflateSync(rows)), chunk("IEND")];
  return png(name, Buffer.concat([signature, ...chunks]));
}

/**
 * The pixels of a picture, RGBA row by row.
 *
 * @param {import("playwright-core").Page} page any page: browsers know every format
 * @param {Buffer} bytes
 * @returns {Promise<number[]>}
 */
export async function pixels(page, bytes) {
  return page.evaluate(async (address) => {
    const picture = await createImageBitmap(await (await fetch(address)).blob());
    const canvas = new OffscreenCanvas(picture.width, picture.height);
    const context = canvas.getContext("2d");
    context.drawImage(picture, 0, 0);
    return [...context.getImageData(0, 0, picture.width, picture.height).data];
  }, `data:image/png;base64,${bytes.toString("base64")}`);
}

/** The first part of a file, as a download that broke off leaves it. */
export function cutOff(file) {
  return { ...file, name: `cut-${file.name}`, buffer: file.buffer.subarray(0, 500) };
}

/** A file of which a part in the middle was never written to the disk. */
export function zeroed(file) {
  const buffer = Buffer.from(file.buffer);
  const middle = Math.floor(buffer.length / 2);
  buffer.fill(0, middle, middle + 400);
  return { ...file, name: `zeroed-${file.name}`, buffer };
}

/** A file that is no picture. */
export function text(name, content) {
  return { name, mimeType: "text/plain", buffer: Buffer.from(content) };
}

function png(name, buffer) {
  return { name, mimeType: "image/png", buffer };
}

function chunk(kind, data = Buffer.alloc(0)) {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const body = Buffer.concat([Buffer.from(kind, "latin1"), data]);
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, checksum]);
}

/** CRC-32 of PNG chunks, a byte at a time (PNG specification, annex D); Node has one since 20.15. */
function crc32(bytes) {
  let rest = 0xffffffff;
  for (const byte of bytes) {
    rest ^= byte;
    for (let bit = 0; bit < 8; bit += 1) {
      rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1;
    }
  }
  return ~rest >>> 0;
}
