//! A job becomes a file: the one place where a request turns into a result.
//!
//! [`Base`] is a loaded checkpoint; [`run`] trains one [`PreparedJob`] on it and answers an
//! [`Artifact`]. Everything is async and reports through [`Emit`]; nothing blocks, prints or
//! touches a disk, so the same code serves the companion and, later, the browser.
//!
//! ```text
//! Base::load ─▶ encode ─▶ train (copier pass, then the kept LoRA) ─▶ calibrate ─▶ score ─▶ save
//! ```

pub mod artifact;
pub mod base;
mod budget;
#[cfg(test)]
mod bundled;
mod calibrate;
pub mod error;
pub mod event;
pub mod inpaint;
pub mod job;
pub mod memory;
mod pass;
mod phase;
mod prompt;
mod rehearsal;
pub mod runtime;
pub mod sample;
pub mod score;
pub mod state;
mod thumbnail;

pub use artifact::{Artifact, LoadedLora, Outcome};
pub use base::Base;
pub use error::EngineError;
pub use event::{Control, Directive, Emit, Event, FinishedCopier, Kept, Phase, Place};
pub use inpaint::{InpaintRequest, inpaint};
pub use job::PreparedJob;
/// Which adapters are active, for [`sample::sample`].
pub use mimeo_lora::LoraStack;
pub use mimeo_protocol::{HeldOut, Linearity, Scores};
pub use phase::{mask_note, measure_file, run, score_file};
pub use rehearsal::rehearse;
pub use runtime::{Compute, DeviceChoice, MemoryKind};
pub use sample::{SampleRequest, SamplerKind};
pub use state::{StateError, TrainingState};
