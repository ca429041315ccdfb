//! The bundled base: a small checkpoint, example pairs and prompts it knows, as bytes.
//!
//! Data only. What the base is, how it was trained and under which licences it stands is in this
//! crate's `README.md` and the repository's `NOTICE`. Nothing here is decoded: the checkpoint goes
//! through the same readers as any other, the pictures through `mimeo-image`.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::unwrap_used,
        reason = "the files beside the program are on disk"
    )
)]

mod checkpoint;
mod examples;
mod judge;
mod prompts;

pub use checkpoint::{BaseFile, MANIFEST, files};
pub use examples::{ExamplePair, ExampleSet, SetTarget, pairs, set};
pub use judge::{JUDGE, PEOPLE};
pub use prompts::prompts;

/// The name of the base, as it stands in a LoRA's metadata.
pub const NAME: &str = "mimeo-avatars";

/// The side of the pictures it was trained on, px.
pub const SIDE: u32 = 128;

/// What both sides of a picture must be multiples of, px: 8 for the VAE and 4 for the two
/// downsamplers of the U-Net.
pub const SIDE_MULTIPLE: u32 = 32;

/// The classifier-free guidance it draws best at.
pub const GUIDANCE: f64 = 3.0;

/// DDIM steps it needs.
pub const SAMPLING_STEPS: u32 = 20;
