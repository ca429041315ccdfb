//! Stable Diffusion's models, schedule and samplers, readable beside diffusers and the papers.
//!
//! Structs and fields carry diffusers' names, so that a tensor's key in a checkpoint and a LoRA's
//! key are the path through these structs. Sources are cited as of diffusers 0.42.1 and
//! transformers 5.23 (`tests/reference/requirements.txt` has the exact versions). All weights are
//! frozen; what can be trained is a `mimeo-lora` network beside them.

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "the thread of a test may wait")
)]

pub mod arithmetic;
pub mod clip;
pub mod conditioning;
pub mod emphasis;
pub mod layers;
pub mod load;
pub mod ops;
pub mod sampler;
pub mod schedule;
mod strips;
pub mod tokenizer;
pub mod tuning;
pub mod unet;
pub mod vae;

pub use arithmetic::Arithmetic;
pub use clip::{ClipTextModel, ClipTextModelWithProjection, FinalNorm, OutputLayer};
pub use conditioning::Conditioning;
// What a schedule says of its model.
pub use mimeo_checkpoint::PredictionType;

pub use load::{LoadError, WeightFormat, WeightMap, Weights};
pub use sampler::{Ddim, Euler, Guidance};
pub use schedule::NoiseSchedule;
pub use tokenizer::Tokenizer;
pub use tuning::Tuning;
pub use unet::UNet2DConditionModel;
pub use unet::tape::{Recompute, Tape};
pub use vae::AutoencoderKl;
