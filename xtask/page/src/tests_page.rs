//! A page that runs Rust's tests in a browser: what `wasm-bindgen-test-runner` would serve.

use std::path::Path;

use anyhow::Result;

use crate::{bindgen, folder};

const FILES: [(&str, &str); 3] = [
    ("index.html", include_str!("tests_page/index.html")),
    ("run.js", include_str!("tests_page/run.js")),
    ("worker.js", include_str!("tests_page/worker.js")),
];

/// Makes it of tests that run in a Web Worker.
pub fn make(compiled: &Path, dist: &Path) -> Result<()> {
    let stage = folder::Stage::new(dist)?;
    bindgen::tests(compiled, "tests", &stage.path())?;
    for (name, content) in FILES {
        folder::write(&stage.path().join(name), content)?;
    }
    stage.publish()
}
