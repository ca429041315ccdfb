// Starts the page's program: the companion's content security policy forbids inline scripts, so
// Trunk's own loader cannot. The hashed names stand in the links at the end of the page's head.

// An empty program with one vector instruction. The page is built with them, since it could train
// nothing without.
const vectors = [
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0],
  ...[10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11],
];
if (globalThis.WebAssembly?.validate(new Uint8Array(vectors))) {
  const address = (selector) => document.querySelector(selector).href;
  const { default: start } = await import(address("link[rel=modulepreload]"));
  await start({ module_or_path: address("link[rel=preload][as=fetch]") });
} else {
  document.getElementById("boot").textContent =
    "This browser is too old for Mimeo: it has no WebAssembly SIMD. Use a current Chrome, Edge, Firefox or Safari.";
}
