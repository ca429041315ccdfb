//! Compiles the program again when the page was built after it.
//!
//! What is embedded is tracked file by file, and a page that was built anew consists of files with
//! new names.

use std::env;
use std::fs;

/// The page, as in `src/service/page.rs`.
const WORKBENCH: &str = "workbench";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The tables are compiled in; a new file among them changes no source.
    println!("cargo::rerun-if-changed=migrations");
    // Other builds read the page from disk, where they find a newer one by themselves.
    if env::var_os("PROFILE").is_some_and(|profile| profile == "release") {
        // A folder that is not there would count as changed in every build. One that cannot be made
        // costs no more than that.
        _ = fs::create_dir(WORKBENCH);
        println!("cargo::rerun-if-changed={WORKBENCH}");
    }
}
