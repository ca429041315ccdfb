//! What `wasm-bindgen` makes of a compiled program: WebAssembly and the JavaScript around it.

use std::path::Path;

use anyhow::{Context as _, Result};
use wasm_bindgen_cli_support::Bindgen;

/// Writes `NAME.js`, a module, and `NAME_bg.wasm`, with the settings that Trunk calls it with; beside
/// them a folder `snippets` with the JavaScript of dependencies, if any has some.
pub fn program(compiled: &Path, name: &str, folder: &Path) -> Result<()> {
    bind(compiled, name, folder, |bindgen| bindgen)
}

/// The same for tests, which are started one by one.
pub fn tests(compiled: &Path, name: &str, folder: &Path) -> Result<()> {
    bind(compiled, name, folder, |bindgen| {
        bindgen.emit_start(false).debug(true)
    })
}

fn bind(
    compiled: &Path,
    name: &str,
    folder: &Path,
    change: impl FnOnce(&mut Bindgen) -> &mut Bindgen,
) -> Result<()> {
    let failed = || format!("wasm-bindgen fails on {}", compiled.display());
    let mut bindgen = Bindgen::new();
    bindgen
        .input_path(compiled)
        .out_name(name)
        .typescript(false)
        // The program of the same name and folder, for callers who do not say where it is.
        .omit_default_module_path(false)
        .web(true)
        .with_context(failed)?;
    change(&mut bindgen).generate(folder).with_context(failed)
}
