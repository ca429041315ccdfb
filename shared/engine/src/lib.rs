//! A job becomes a file: the one place where a request turns into a result.
//!
//! [`Base`] is a loaded checkpoint; [`run`] trains one [`PreparedJob`] on it and answers an
//! [`Artifact`]. Everything is async, reports through [`Emit`] and is steered through [`Control`];
//! nothing blocks, prints or touches a disk, so the same code serves the companion and the browser.
//!
//! ```text
//! Base::load ─▶ encode ─▶ train (copier pass, then the kept LoRA) ─▶ calibrate ─▶ score ─▶ save
//! ```

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "the thread of a test may wait")
)]

pub mod artifact;
mod augment;
pub mod base;
mod budget;
#[cfg(test)]
mod bundled;
mod calibrate;
mod change;
pub mod control;
pub mod error;
pub mod event;
mod hold;
mod inpaint;
pub mod job;
mod leak;
pub mod memory;
mod on_demand;
mod pass;
mod phase;
mod prompt;
mod rehearsal;
mod response;
pub mod rest;
pub mod runtime;
mod said;
pub mod sample;
pub mod score;
mod session;
pub mod slider;
pub mod state;
mod states;
mod style;
pub mod text;
mod thumbnail;
pub mod trial;

pub use artifact::{Artifact, LoadedLora, Outcome};
pub use base::Base;
pub use control::{Control, Directive, FinishedCopier, Kept, PassStep, Stoppable, Unsteered};
pub use error::EngineError;
pub use event::{Emit, Event, Phase};
pub use inpaint::{InpaintRequest, inpaint};
pub use job::{PreparedExample, PreparedJob};
/// Which adapters are active, for [`sample::sample`].
pub use mimeo_diffusion::{Arithmetic, Recompute};
pub use mimeo_lora::LoraStack;
pub use mimeo_protocol::{HeldOut, Linearity, Scores, StyleLeak};
pub use phase::{measure_file, run, score_file};
pub use rehearsal::rehearse;
pub use rest::{GivenUp, NoRest, Rest};
pub use runtime::{ArithmeticChoice, Compute, DeviceChoice, DeviceError, MemoryKind};
pub use sample::{SampleRequest, SamplerKind};
pub use session::mask_note;
pub use state::{StateError, TrainingState};
