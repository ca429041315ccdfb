//! What a running job reports.
//!
//! Every [`JobEvent`] is stored before it is sent, and carries a number without gaps, so that a
//! client that was away asks for what it missed.

use serde::{Deserialize, Serialize};

use crate::id::{BlobId, FileId, JobId};
use crate::number::{Strength, TimestepRange};
use crate::score::Scores;
use crate::state::{JobState, Phase};

/// One fact about a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobEvent {
    /// Whose.
    pub job: JobId,
    /// From 1, without gaps.
    pub seq: u64,
    /// When it happened, in milliseconds since 1970.
    pub at_millis: u64,
    /// What happened.
    pub kind: JobEventKind,
}

/// What happened to a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobEventKind {
    /// It is in another state.
    State {
        /// The new one.
        state: JobState,
    },
    /// It goes on from its checkpoint: later steps of this phase were lost and come again.
    Resumed {
        /// The pass.
        phase: Phase,
        /// Steps that the checkpoint holds.
        step: u32,
    },
    /// Losses of consecutive steps, at most ten batches a second.
    Losses {
        /// The pass they belong to.
        phase: Phase,
        /// In order.
        points: Vec<LossPoint>,
    },
    /// How well the copier copies.
    CopyFidelity {
        /// At which step it was measured.
        step: u32,
        /// 1 is a perfect copy, 0 no better than the base.
        fidelity: f64,
    },
    /// Which timesteps are trained, and why: a recipe with `auto_timesteps` leaves them to the base.
    Response {
        /// How the base answers to the change.
        curve: ResponseCurve,
    },
    /// What the LoRA does to pictures that it is not trained on.
    Leak {
        /// As measured.
        point: LeakPoint,
    },
    /// A picture drawn with the LoRA as it was.
    Preview {
        /// The pass that was running.
        phase: Phase,
        /// Steps done in it.
        step: u32,
        /// Strength of the LoRA.
        strength: Strength,
        /// What was asked for.
        prompt: String,
        /// The noise it started from.
        seed: u64,
        /// The picture, a PNG.
        picture: BlobId,
    },
    /// A file can be fetched.
    File {
        /// Which.
        file: ResultFile,
    },
    /// What the LoRA does.
    Scores {
        /// Measured numbers.
        scores: Scores,
    },
    /// Something the user should know, in one sentence.
    Note {
        /// The sentence.
        text: String,
    },
}

/// How much of the change between A and B a base restores by itself, by the noise that it sees it
/// through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResponseCurve {
    /// Where it was asked, the lowest first.
    pub timesteps: Vec<u32>,
    /// For each the share: 1 all of the change, 0 nothing.
    pub response: Vec<f32>,
    /// The timesteps that are trained.
    pub window: TimestepRange,
}

/// What the LoRA does to pictures that it is not trained on, in units of the change that was meant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LeakPoint {
    /// Steps done.
    pub step: u32,
    /// How far they went the way that was meant: 1 is all of it.
    pub intended: f32,
    /// How much else changed.
    pub unintended: f32,
}

/// The loss of one step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LossPoint {
    /// From 1.
    pub step: u32,
    /// Loss before the update.
    pub loss: f32,
}

/// A file that a job made, to be fetched as `/files/<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultFile {
    /// Where to fetch it.
    pub id: FileId,
    /// What it is.
    pub kind: FileKind,
    /// File name for the user.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: BlobId,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// The LoRA.
    Lora,
    /// The copier that the LoRA was trained upon.
    Copier,
    /// The LoRA (or copier) as it was after a step.
    Step {
        /// The pass.
        phase: Phase,
        /// Steps done in it.
        step: u32,
    },
}
