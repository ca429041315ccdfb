//! The licences of everything that is in an archive: of the packages that cargo compiled into the
//! program, the page and the browser's trainer, of Rust's own library, and of the font.

mod document;
mod files;
mod packages;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::Make;
use crate::archive::Entry;
use packages::Part;

/// Every package and its licence.
pub const PACKAGES: &str = "licences/THIRD-PARTY.txt";
/// The licence of the glyphs that NOTICE names.
pub const FONT: &str = "licences/OFL-1.1.txt";
/// What the toolchain says about Rust's own library.
const RUST_LIBRARY: &str = "licences/RUST-LIBRARY.html";

/// What the browser is called.
const WASM: &str = "wasm32-unknown-unknown";

/// All of them as files of the archive.
pub fn collect(make: &Make) -> Result<Vec<Entry>> {
    let browser = |name, package| Part {
        name,
        package,
        platform: WASM,
        features: None,
    };
    let parts = [
        Part {
            name: "program",
            package: "mimeo-companion",
            platform: &make.platform,
            features: Some(&make.features),
        },
        browser("page", "mimeo-app"),
        browser("trainer", "mimeo-worker"),
    ];
    let packages = packages::find(&make.root, &parts)?;
    let rust = rust_library(&make.root);
    let text = document::write(&packages, rust.is_some());

    let font = spdx::license_id("OFL-1.1").context("spdx knows the licence of fonts")?;
    let mut entries = vec![Entry::text(PACKAGES, text), Entry::text(FONT, font.text())];
    if let Some(rust) = rust {
        let bytes = fs::read(&rust)
            .with_context(|| format!("this file cannot be read: {}", rust.display()))?;
        entries.push(Entry::text(RUST_LIBRARY, bytes));
    }
    Ok(entries)
}

/// Where the toolchain keeps the licences of Rust's library; rustup's has them.
fn rust_library(root: &Path) -> Option<PathBuf> {
    let mut rustc = Command::new("rustc");
    let output = rustc
        .args(["--print", "sysroot"])
        .current_dir(root)
        .output();
    let sysroot = String::from_utf8(output.ok()?.stdout).ok()?;
    let file = Path::new(sysroot.trim()).join("share/doc/rust/COPYRIGHT-library.html");
    file.is_file().then_some(file)
}
