//! Mimeo's arithmetic beside the reference's.
//!
//! What torch, diffusers, transformers, peft, compel and LittleCMS answer lies in `tests/fixtures`, whose README says
//! what each file holds and which Python function made it. One module per topic; `gpu` compares
//! two of Burn's backends instead. The same tests run in a browser (`tests/browser/parity.test.mjs`),
//! where WebGPU is compared through the whole trainer. `cargo test --workspace --test parity -- --nocapture` prints how
//! far apart the two sides are, comparison by comparison. Each tolerance is about four times the
//! largest distance measured on x86-64 with AVX2, because another processor sums in another order,
//! and says where that distance comes from.

#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test that cannot go on has nothing better to do than to stop"
)]

mod applied;
mod clip;
mod config;
mod determinism;
#[cfg(not(target_family = "wasm"))]
mod dispatches;
mod families;
#[cfg(not(target_family = "wasm"))]
mod gpu;
mod half;
mod invariants;
#[cfg(not(target_family = "wasm"))]
mod kernels;
mod lora;
mod micro;
#[cfg(not(target_family = "wasm"))]
mod mixed;
mod names;
mod ops;
mod optimizer;
mod pictures;
mod prompt;
mod resume;
mod samplers;
mod schedule;
mod sets;
mod support;
mod tokenizer;
mod train;
mod unet;
mod vae;

// A page has to answer meanwhile.
#[cfg(target_family = "wasm")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);
