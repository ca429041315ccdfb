//! File formats: what is in a checkpoint, a diffusers folder or a LoRA file, and how to write one.
//!
//! This crate knows bytes, not tensors: it hands out [`Array`]s (a shape and `f32`s) and leaves
//! devices to the crates above. Everything it reads may come from a stranger, so every reader
//! refuses with a sentence instead of panicking, and never allocates more than the file's own size
//! justifies. It reads no clock and has no randomness: the same input gives the same bytes.
//!
//! ```text
//! Checkpoint, of a Folder or a SingleFile: config, weights
//!          │ open
//!          ▼
//!     AsyncReadAt ──SafetensorsFile::open──▶ names, shapes, metadata
//!                                        │                        │
//!                                        ▼ read_f32               ▼ Family, UnetKeys
//!                                      Array                 which model, which key
//! ```

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::unwrap_used,
        reason = "files of a test are on disk, and its thread may wait"
    )
)]

mod array;
mod checkpoint;
pub mod config;
pub mod error;
pub mod family;
pub mod folder;
pub mod lora_file;
pub mod metadata;
pub mod names;
pub mod read_at;
pub mod safetensors;
mod sha256;
mod stranger;
mod text;

pub use array::Array;
pub use checkpoint::{
    Checkpoint, Component, ComponentWeights, SingleFile, VaeFile, WeightTensor, WithVae, check_vae,
};
pub use config::{
    ConfigError, PredictionType, SchedulerConfig, TextEncoderConfig, UNetConfig, VaeConfig,
};
pub use error::{CheckpointError, LoraFileError, ModuleProblem};
pub use family::{Architecture, Detected, Family, TRAINABLE, Untrainable};
pub use folder::{DiskFolder, EmbeddedFolder, Folder};
pub use lora_file::{
    AdapterConfig, AlphaOrigin, LeftOut, LoraFile, LoraModule, Precision, Remarks,
};
pub use metadata::TrainingMetadata;
pub use read_at::{AsyncReadAt, BoxFuture, DiskFile, MemoryFile, check_range};
pub use safetensors::{Dtype, Number, SafetensorsFile, TensorEntry};
pub use sha256::sha256_of;
pub use stranger::{Stranger, text_of};
pub use text::printable;
