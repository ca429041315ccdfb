// Starts the page's program: the companion's content security policy forbids inline scripts, so
// Trunk's own loader cannot. The hashed names stand in the links that Trunk wrote.
const address = (selector) => document.querySelector(selector).href;
const { default: start } = await import(address("link[rel=modulepreload]"));
await start({ module_or_path: address("link[rel=preload][as=fetch]") });
