//! What the workbench is and does, without a page: pair, mask, recipe, tools, history and runs as
//! plain values and functions, tested without a browser.
