//! Tests that concern more than one crate.
//!
//! `parity/` compares the numeric core with torch, diffusers and transformers; what has to be true
//! of the source itself is in `architecture.rs`.

#[cfg(test)]
mod architecture;
