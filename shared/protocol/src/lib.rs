//! The words that the page, the companion and the training code share.
//!
//! [`recipe`] is everything that decides what a training run does, as numbers that are valid by
//! type; the training code knows this module only. The rest is the conversation between a
//! [`client`](client::ClientMessage) (page, command line) and a [`server`](server::ServerMessage)
//! (companion, or the worker in the browser):
//!
//! ```text
//! client                                    server
//!   ── Hello {protocol, app, token} ──▶
//!                          ◀── Welcome {protocol, app, snapshot} ──   (or Rejected, and the end)
//!   PUT /blobs/<sha256>, /loras/<sha256>  (pictures and LoRAs, over HTTP)
//!   ── Submit {request, job} ─────────▶
//!                          ◀── Accepted {request, job} ──             (or Rejected)
//!                          ◀── Event {job, seq: 1, …}, {seq: 2, …} ── (kept, in order, none missing)
//!                          ◀── Progress {job, …} ──                   (the latest, at most 10 a second)
//!   ── Control {request, job, Pause} ─▶
//!                          ◀── Done {request} ──
//!   ── Resync {job, after: 17} ───────▶                               (after a reconnect, or a gap)
//!                          ◀── Event {seq: 18, …}, … ──
//!   GET /files/<id>, /blobs/<sha256>  (results and previews, over HTTP)
//! ```
//!
//! Messages are MessagePack with named fields ([`codec`]); a new field with a default is no new
//! version, anything else is. What they carry is stored as well, and has format numbers of its own:
//! [`mod@format`].

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "the golden files are on disk")
)]

pub mod client;
pub mod codec;
pub mod event;
pub mod fields;
pub mod format;
#[cfg(test)]
mod golden;
pub mod id;
pub mod job;
pub mod number;
pub mod recipe;
pub mod said;
pub mod score;
pub mod server;
pub mod state;

pub use client::{Canvas, ClientMessage, JobControl, LoraRef, PreviewRequest};
pub use codec::{DecodeError, MAX_CLIENT_FRAME, MAX_SERVER_FRAME};
pub use event::{
    FileKind, JobEvent, JobEventKind, LeakPoint, LossPoint, ResponseCurve, ResultFile,
};
pub use format::{Format, NewerFormat};
pub use id::{BaseId, BlobId, CopierId, FileId, InvalidId, JobId, JobName, RequestId, VaeId};
pub use job::{CopierChoice, Example, JobFormat, PreviewPlan, TrainJob};
pub use number::{
    Accumulation, Alpha, BatchSize, ClipNorm, ClipSkip, Crop, Feather, Gamma, Guidance,
    GuidanceRescale, InvalidNumber, InvalidSeed, LearningRate, Level, Multiplier, OutOfRange,
    Range, Rank, Resolution, ScoreBudget, Share, Steps, Strength, TimestepRange, Warmup, Weight,
    WeightDecay, parse_seed,
};
pub use recipe::{
    AddiftLoss, AddiftRecipe, AugmentRecipe, CopierKind, CopierRecipe, HoldRecipe, InvalidExamples,
    InvalidRecipe, LeakRecipe, LrSchedule, MaskRecipe, Method, ModelSize, Pass, Precision,
    PromptSyntax, Recipe, RecipeFormat, SliderRecipe, prompts_in,
};
pub use said::{Prediction, Said};
pub use score::{Graded, HeldOut, HeldOutGrading, Linearity, Scores, StyleLeak};
pub use server::{
    BaseInfo, CopierInfo, DeviceInfo, JobProgress, JobSummary, MemoryPlan, Pace, Rejection,
    ServerMessage, Snapshot, UnreadableJob, VaeInfo,
};
pub use state::{IllegalTransition, JobState, PauseReason, Phase, Transition};

/// Version of the conversation: both sides must speak the same one.
pub const PROTOCOL_VERSION: u32 = 4;
