// Files that reach the page as people bring them: dropped, or pasted.

/**
 * Drops files as one drag from outside of the page.
 *
 * @param {import("playwright-core").Locator} target where they are dropped
 * @param {import("./pictures.mjs").File[]} files
 */
export async function drop(target, files) {
  const transfer = await transferOf(target.page(), files);
  for (const kind of ["dragenter", "dragover", "drop"]) {
    await target.dispatchEvent(kind, { dataTransfer: transfer });
  }
  await transfer.dispose();
}

/**
 * Pastes a file into whatever has the focus.
 *
 * @param {import("playwright-core").Page} page
 * @param {import("./pictures.mjs").File} file
 */
export async function paste(page, file) {
  const transfer = await transferOf(page, [file]);
  await page.evaluate((clipboardData) => {
    const settings = { clipboardData, bubbles: true, cancelable: true };
    (document.activeElement ?? document.body).dispatchEvent(new ClipboardEvent("paste", settings));
  }, transfer);
  await transfer.dispose();
}

async function transferOf(page, files) {
  const wire = files.map(({ name, mimeType, buffer }) => ({
    name,
    mimeType,
    base64: buffer.toString("base64"),
  }));
  return page.evaluateHandle((files) => {
    const transfer = new DataTransfer();
    for (const { name, mimeType, base64 } of files) {
      const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
      transfer.items.add(new File([bytes], name, { type: mimeType }));
    }
    return transfer;
  }, wire);
}
