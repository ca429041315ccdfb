// Figures that are kept and never judged: how fast a machine is says nothing about the page.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * Prints figures, and keeps them under a heading in measured.json in $MIMEO_OUT, if there is such
 * a folder.
 *
 * @param {string} heading
 * @param {Record<string, number | string>} figures names with their units
 */
export async function keepFigures(heading, figures) {
  console.log(heading);
  console.table(figures);
  const folder = process.env.MIMEO_OUT;
  if (!folder) {
    return;
  }
  await mkdir(folder, { recursive: true });
  const path = join(folder, "measured.json");
  const known = await readFile(path, "utf8").then(JSON.parse, () => ({}));
  await writeFile(path, `${JSON.stringify({ ...known, [heading]: figures }, null, 2)}\n`);
}

/** Middle, 95th percentile and largest of some milliseconds, rounded to a tenth. */
export function spread(millis) {
  const sorted = [...millis].sort((one, other) => one - other);
  const at = (share) => {
    const index = Math.min(sorted.length - 1, Math.floor(share * sorted.length));
    return Math.round(sorted[index] * 10) / 10;
  };
  return { "median ms": at(0.5), "95 % ms": at(0.95), "largest ms": at(1) };
}
