// Chromium, and pages in it that fail their test with whatever goes wrong inside them.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { chromium } from "playwright-core";

/** Milliseconds that anything in the page may take before its test fails. */
const ANSWER_WITHIN = 10_000;

/** What a browser without a GPU needs to have WebGPU all the same: software that stands in for it. */
const SOFTWARE_GPU = [
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--enable-features=Vulkan",
];

/**
 * A browser that talks to the companion and to nobody else.
 *
 * @param {{softwareGpu?: boolean}} [wishes] without them WebGPU finds what there is, such as nothing
 */
export async function openBrowser({ softwareGpu = false } = {}) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--headless=new",
      // Root, as in a container, is refused otherwise; the only pages are our own.
      "--no-sandbox",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...(softwareGpu ? SOFTWARE_GPU : []),
    ],
  });
}

/**
 * Opens the workbench, does something in it, and closes it.
 *
 * Fails with what `body` throws, which leaves a screenshot in $MIMEO_OUT, or else with what went
 * wrong inside the page: errors on its console, uncaught exceptions, requests to anybody but its
 * host.
 *
 * @param {import("playwright-core").Browser} browser
 * @param {{url: string}} host where the page is: a companion, or a static host
 * @param {Settings} settings
 * @param {(page: import("playwright-core").Page, openTab: OpenTab) => Promise<void>} body
 *
 * @typedef {() => Promise<import("playwright-core").Page>} OpenTab another tab of the same browser
 *   on the workbench, watched like the first
 *
 * @typedef {object} Settings
 * @property {string} [name] of its screenshots; "page" if not given
 * @property {"light" | "dark"} [colorScheme] light if not given
 * @property {{width: number, height: number}} [viewport] in CSS pixels; 1280 × 800 if not given
 * @property {boolean} [touch] a finger instead of a mouse
 * @property {boolean} [reducedMotion] the user asked for no animations
 * @property {string[]} [permissions] what the user allows, such as "clipboard-read"
 * @property {(context: import("playwright-core").BrowserContext) => Promise<void>} [prepare] what
 *   is done before the page is opened
 * @property {string} [at] another page of the host
 * @property {RegExp[]} [expectedErrors] errors that belong to what is tested
 */
export async function withPage(browser, host, settings, body) {
  const context = await browser.newContext({
    colorScheme: settings.colorScheme ?? "light",
    viewport: settings.viewport ?? { width: 1280, height: 800 },
    hasTouch: settings.touch ?? false,
    isMobile: settings.touch ?? false,
    reducedMotion: settings.reducedMotion ? "reduce" : "no-preference",
    permissions: settings.permissions ?? [],
  });
  try {
    context.setDefaultTimeout(ANSWER_WITHIN);
    await settings.prepare?.(context);
    const errors = [];
    const openTab = async () => {
      const page = await context.newPage();
      watch(page, host.url, errors);
      await page.goto(settings.at ?? host.url);
      return page;
    };
    const page = await openTab();
    try {
      await body(page, openTab);
    } catch (error) {
      await screenshot(page, `${settings.name ?? "page"}-failed`);
      error.message += described(errors);
      throw error;
    }
    const expected = settings.expectedErrors ?? [];
    const unexpected = errors.filter((error) => !expected.some((known) => known.test(error)));
    if (unexpected.length > 0) {
      throw new Error(`the page went wrong${described(unexpected)}`);
    }
  } finally {
    await context.close();
  }
}

/**
 * Keeps what a page looks like now, all of it from top to bottom, as NAME.png in $MIMEO_OUT;
 * nothing without that folder.
 */
export async function screenshot(page, name) {
  const folder = process.env.MIMEO_OUT;
  if (folder) {
    await mkdir(folder, { recursive: true });
    await unstick(page, "static");
    await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
    await unstick(page, "");
  }
}

/** What sticks to the edge of the window would lie across a picture of the whole page. */
async function unstick(page, position) {
  const sticky = page.getByRole("region", { name: "Before the run" }).or(page.getByRole("banner"));
  await sticky.evaluateAll((found, position) => {
    for (const { style } of found) {
      style.setProperty("position", position);
    }
  }, position);
}

/** Adds everything that goes wrong inside a page to `errors`. */
function watch(page, home, errors) {
  page.on("console", (message) => {
    if (message.type() === "error") {
      errors.push(`console: ${message.text()} (${message.location().url})`);
    }
  });
  page.on("pageerror", (error) => errors.push(`uncaught: ${error.message}`));
  page.on("crash", () => errors.push("the page crashed"));
  page.on("request", (request) => {
    const { protocol, origin } = new URL(request.url());
    const local = ["data:", "blob:"].includes(protocol) || origin === new URL(home).origin;
    if (!local) {
      errors.push(`a request to a stranger: ${request.url()}`);
    }
  });
}

function described(errors) {
  return errors.length === 0 ? "" : `\nIn the page:\n  ${errors.join("\n  ")}`;
}
