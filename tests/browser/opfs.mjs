// The files that the browser's trainer keeps (OPFS), seen from a page of the same origin on which
// nothing of it runs.

/** The folder of everything that it keeps. */
const ROOT = "mimeo";

/**
 * Reads all files.
 *
 * @param {import("playwright-core").Page} page
 * @returns {Promise<Map<string, Buffer>>} by their paths below the trainer's folder
 */
export async function readTree(page) {
  const files = await page.evaluate(async (root) => {
    const found = [];
    const look = async (folder, path) => {
      for await (const [name, handle] of folder.entries()) {
        const at = path === "" ? name : `${path}/${name}`;
        if (handle.kind === "directory") {
          await look(handle, at);
        } else {
          const bytes = new Uint8Array(await (await handle.getFile()).arrayBuffer());
          found.push([at, Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")]);
        }
      }
    };
    const all = await navigator.storage.getDirectory();
    await look(await all.getDirectoryHandle(root, { create: true }), "");
    return found;
  }, ROOT);
  return new Map(files.map(([path, letters]) => [path, Buffer.from(letters, "latin1")]));
}

/**
 * Writes files, in the place of those that are there.
 *
 * @param {import("playwright-core").Page} page
 * @param {Map<string, Buffer>} tree by their paths below the trainer's folder
 */
export async function writeTree(page, tree) {
  const files = [...tree].map(([path, bytes]) => [path, bytes.toString("latin1")]);
  await page.evaluate(async ([root, files]) => {
    const all = await navigator.storage.getDirectory();
    for (const [path, letters] of files) {
      const names = [root, ...path.split("/")];
      let folder = all;
      for (const name of names.slice(0, -1)) {
        folder = await folder.getDirectoryHandle(name, { create: true });
      }
      const handle = await folder.getFileHandle(names.at(-1), { create: true });
      const writable = await handle.createWritable();
      await writable.write(Uint8Array.from(letters, (letter) => letter.charCodeAt(0)));
      await writable.close();
    }
  }, [ROOT, files]);
}
