// Circumstances that cannot be had here, as far as the page can see.

/** In MessagePack: the key, and 128 as a number of one byte. */
const NATIVE_SIDE = Buffer.concat([Buffer.of(0xab), Buffer.from("native_side"), Buffer.of(0xcc, 128)]);

/**
 * Lets the companion say that its base was trained at another size, so that the page works on
 * frames of that size. Nothing can be trained then: the companion knows better.
 *
 * @param {import("playwright-core").BrowserContext} context
 * @param {number} side px
 */
export async function pretendSide(context, side) {
  const pretended = Buffer.from(NATIVE_SIDE.subarray(0, -2));
  const number = Buffer.of(0xcd, side >> 8, side & 0xff);
  await context.routeWebSocket(/\/ws$/, (socket) => {
    const companion = socket.connectToServer();
    companion.onMessage((message) => {
      const bytes = Buffer.from(message);
      const at = bytes.indexOf(NATIVE_SIDE);
      const after = at + NATIVE_SIDE.length;
      const changed = [bytes.subarray(0, at), pretended, number, bytes.subarray(after)];
      socket.send(at < 0 ? bytes : Buffer.concat(changed));
    });
  });
}

/**
 * Lets the page be drawn so seldom that what it puts off until then finds its part of the page gone.
 *
 * @param {import("playwright-core").BrowserContext} context
 */
export async function pretendSlowScreen(context) {
  await context.addInitScript(() => {
    const soon = window.requestAnimationFrame.bind(window);
    window.requestAnimationFrame = (draw) => soon(() => setTimeout(() => draw(performance.now()), 300));
  });
}
