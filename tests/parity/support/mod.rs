//! Fixtures, models and comparisons that the topics share.

pub mod close;
pub mod fixture;
pub mod lora;
pub mod models;
pub mod scene;
pub mod step;
pub mod walk;

/// What marks a test, natively and in a browser.
#[cfg(not(target_family = "wasm"))]
pub use core::prelude::v1::test;
#[cfg(target_family = "wasm")]
pub use wasm_bindgen_test::wasm_bindgen_test as test;
