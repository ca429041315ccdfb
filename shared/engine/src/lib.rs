//! A job becomes a file: the one place where a request turns into a result.
//!
//! [`Base`] is a loaded checkpoint; [`run`] trains one [`TrainJob`] on it and answers an
//! [`Artifact`]. Everything is async and reports through [`Emit`]; nothing blocks, prints or
//! touches a disk, so the same code serves the companion and, later, the browser.
//!
//! ```text
//! Base::load ─▶ encode ─▶ train (copier pass, then the kept LoRA) ─▶ calibrate ─▶ score ─▶ save
//! ```

pub mod artifact;
pub mod base;
mod calibrate;
pub mod error;
pub mod event;
pub mod job;
mod phase;
pub mod runtime;
pub mod sample;
pub mod score;

pub use artifact::{Artifact, LoadedLora, Outcome};
pub use base::Base;
pub use error::EngineError;
pub use event::{Control, Emit, Event, Phase};
pub use job::TrainJob;
/// Which adapters are active, for [`sample::sample`].
pub use mimeo_lora::LoraStack;
pub use phase::{run, score_file};
pub use runtime::{Compute, DeviceChoice};
pub use sample::{SampleRequest, SamplerKind};
pub use score::{HeldOut, Linearity, Scores};
