// What the page keeps of the bench in this browser.

/**
 * What it kept under a key, as text; empty if it kept none.
 *
 * @param {import("playwright-core").Page} page
 * @param {string} key "set", "settings"
 * @returns {Promise<string>}
 */
export async function kept(page, key) {
  return page.evaluate(async (key) => {
    const answer = (request) =>
      new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    const database = await answer(indexedDB.open("mimeo"));
    const found = await answer(database.transaction("bench").objectStore("bench").get(key));
    database.close();
    return found ? new TextDecoder().decode(found) : "";
  }, key);
}
