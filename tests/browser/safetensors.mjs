// LoRA files as numbers, and checkpoints in miniature.

/** Bytes of a value, and how it is read. */
const READERS = {
  F32: [4, (view, at) => view.getFloat32(at, true)],
  F16: [2, (view, at) => half(view.getUint16(at, true))],
  BF16: [2, (view, at) => singleOf(view.getUint16(at, true) << 16)],
};

/**
 * Reads a .safetensors file.
 *
 * @param {Uint8Array} bytes
 * @returns {Map<string, Float32Array>} the tensors by their names, in the order of their names
 */
export function readTensors(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  delete header.__metadata__;
  const tensors = Object.entries(header).map(([name, { dtype, shape, data_offsets: [from] }]) => {
    const [size, read] = READERS[dtype];
    const count = shape.reduce((product, side) => product * side, 1);
    const begin = 8 + length + from;
    return [name, Float32Array.from({ length: count }, (_, index) => read(view, begin + index * size))];
  });
  return new Map(tensors.sort(([one], [other]) => (one < other ? -1 : 1)));
}

/**
 * Writes a .safetensors file of small tensors, each filled with a half.
 *
 * @param {Record<string, number[]>} shapes of the tensors by their names
 * @returns {Buffer}
 */
export function tensorFile(shapes) {
  let end = 0;
  const entries = Object.entries(shapes).map(([name, shape]) => {
    const from = end;
    end += 4 * shape.reduce((product, side) => product * side, 1);
    return [name, { dtype: "F32", shape, data_offsets: [from, end] }];
  });
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const values = Buffer.from(new Float32Array(end / 4).fill(0.5).buffer);
  return Buffer.concat([length, header, values]);
}

/**
 * A checkpoint of the fixtures with a whole vocabulary instead of its few tokens: the rows of its token
 * embedding again and again.
 *
 * @param {Buffer} file of f16
 * @param {number} times
 * @returns {Buffer}
 */
export function withVocabulary(file, times) {
  return repeated(file, (name) => (name.endsWith("token_embedding.weight") ? times : 1));
}

/**
 * A checkpoint without those of its tensors whose names begin so.
 *
 * @param {Buffer} file
 * @param {string} prefix
 * @returns {Buffer}
 */
export function without(file, prefix) {
  return repeated(file, (name) => (name.startsWith(prefix) ? 0 : 1));
}

/** A file with the rows of each tensor as many times as its name says; 0: without the tensor. */
function repeated(file, timesOf) {
  const length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, 8 + length).toString());
  const data = file.subarray(8 + length);
  const parts = [];
  let end = 0;
  for (const [name, entry] of Object.entries(header).filter(([name]) => name !== "__metadata__")) {
    const times = timesOf(name);
    if (times === 0) {
      delete header[name];
      continue;
    }
    const [from, to] = entry.data_offsets;
    const bytes = data.subarray(from, to);
    parts.push(...Array(times).fill(bytes));
    if (times > 1) {
      entry.shape[0] *= times;
    }
    const start = end;
    end += bytes.length * times;
    entry.data_offsets = [start, end];
  }
  const text = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([prefix, text, ...parts]);
}

/**
 * How far two LoRAs are apart, as a share of the way that the second was trained.
 *
 * Value by value would say nothing: Adam moves a value by the learning rate even where its gradient
 * is hardly more than rounding, in the direction of that rounding.
 *
 * @param {Map<string, Float32Array>} ours
 * @param {Map<string, Float32Array>} theirs
 * @param {Map<string, Float32Array>} start both, before they were trained
 */
export function apart(ours, theirs, start) {
  let [distance, way] = [0, 0];
  for (const [name, values] of pairs(ours, theirs, start)) {
    for (const [one, other, begin] of values) {
      distance += (one - other) ** 2;
      way += (other - begin) ** 2;
    }
    if (Number.isNaN(distance)) {
      throw new Error(`${name} has values that are no numbers`);
    }
  }
  if (way === 0) {
    throw new Error("the LoRA was not trained at all, which proves nothing");
  }
  return Math.sqrt(distance / way);
}

/**
 * How far two LoRAs are apart value by value, in units of the longest way that a value of the same
 * tensor went; the worst of all.
 *
 * @param {Map<string, Float32Array>} ours
 * @param {Map<string, Float32Array>} theirs
 * @param {Map<string, Float32Array>} start both, before they were trained
 * @returns {{worst: number, at: string, trained: number}} and how many tensors moved at all
 */
export function worstApart(ours, theirs, start) {
  let [worst, at, trained] = [0, "", 0];
  for (const [name, values] of pairs(ours, theirs, start)) {
    const longest = Math.max(...values.map(([, other, begin]) => Math.abs(other - begin)));
    const furthest = Math.max(...values.map(([one, other]) => Math.abs(one - other)));
    if (!Number.isFinite(furthest) || (longest === 0 && furthest > 0)) {
      return { worst: Infinity, at: name, trained };
    }
    trained += longest > 0 ? 1 : 0;
    if (longest > 0 && furthest / longest > worst) {
      [worst, at] = [furthest / longest, name];
    }
  }
  return { worst, at, trained };
}

/** Every tensor with its values side by side; alpha is no value that is trained. */
function pairs(ours, theirs, start) {
  const names = [...theirs.keys()].filter((name) => !name.endsWith(".alpha"));
  for (const others of [ours, start]) {
    const missing = names.filter((name) => others.get(name)?.length !== theirs.get(name).length);
    if (missing.length > 0 || others.size !== theirs.size) {
      throw new Error(`the LoRAs have different tensors, such as ${missing[0] ?? "one more"}`);
    }
  }
  return names.map((name) => {
    const [one, other, begin] = [ours, theirs, start].map((tensors) => tensors.get(name));
    return [name, Array.from(other, (value, index) => [one[index], value, begin[index]])];
  });
}

/** A number of 16 bits (IEEE 754 binary16). */
function half(bits) {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 0x1f, bits & 0x3ff];
  if (exponent === 0) {
    return sign * fraction * 2 ** -24;
  }
  if (exponent === 0x1f) {
    return fraction === 0 ? sign * Infinity : NaN;
  }
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function singleOf(bits) {
  const view = new DataView(new ArrayBuffer(4));
  view.setInt32(0, bits);
  return view.getFloat32(0);
}
