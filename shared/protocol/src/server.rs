//! What the server says.

use serde::{Deserialize, Serialize};

use crate::event::{JobEvent, ResultFile};
use crate::id::{BaseId, BlobId, CopierId, JobId, JobName, RequestId, VaeId};
use crate::job::TrainJob;
use crate::recipe::{CopierKind, Method, ModelSize};
use crate::score::Scores;
use crate::state::{JobState, Phase};

/// One message of the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerMessage {
    /// The client is let in; this is how things are.
    Welcome {
        /// Version of the conversation.
        protocol: u32,
        /// Version of the program, for people.
        app: String,
        /// Everything there is. Events from here on follow by themselves.
        snapshot: Snapshot,
    },
    /// It cannot be done, or was not understood.
    Rejected {
        /// What it answers; none if the frame could not be read that far.
        request: Option<RequestId>,
        /// Why.
        reason: Rejection,
    },
    /// The job is in the queue.
    Accepted {
        /// What it answers.
        request: RequestId,
        /// The job's number.
        job: JobId,
    },
    /// It is done, or will be after the step under way; the events tell.
    Done {
        /// What it answers.
        request: RequestId,
    },
    /// A job is new; its events follow.
    Added {
        /// The job as it is now.
        job: Box<JobSummary>,
    },
    /// A job is gone, with its results.
    Removed {
        /// Which.
        job: JobId,
    },
    /// A fact about a job, in order.
    Event(JobEvent),
    /// How far a job is: the latest only, at most ten a second.
    Progress(JobProgress),
    /// The waiting jobs, the next one first.
    Queue {
        /// In order.
        order: Vec<JobId>,
    },
    /// The finished copiers, whenever they change.
    Copiers {
        /// The newest first.
        copiers: Vec<CopierInfo>,
    },
    /// The picture that was asked for, a PNG.
    Preview {
        /// What it answers.
        request: RequestId,
        /// The picture.
        picture: BlobId,
    },
    /// The measurement that was asked for.
    Scored {
        /// What it answers.
        request: RequestId,
        /// The numbers.
        scores: Scores,
    },
    /// The bases that jobs can name, and VAEs in files of their own.
    Checkpoints {
        /// What it answers.
        request: RequestId,
        /// In the order to offer them.
        checkpoints: Vec<BaseInfo>,
        /// Likewise.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        vaes: Vec<VaeInfo>,
    },
    /// The devices of this machine.
    Devices {
        /// What it answers.
        request: RequestId,
        /// The one in use first.
        devices: Vec<DeviceInfo>,
    },
    /// What a job would take.
    Plan {
        /// What it answers.
        request: RequestId,
        /// The estimate.
        plan: MemoryPlan,
    },
    /// The server ends.
    Goodbye {
        /// Why, in one sentence.
        message: String,
    },
}

impl ServerMessage {
    /// Number of the request that this answers, if it answers one.
    #[must_use]
    pub const fn request(&self) -> Option<RequestId> {
        match self {
            Self::Accepted { request, .. }
            | Self::Done { request }
            | Self::Preview { request, .. }
            | Self::Scored { request, .. }
            | Self::Checkpoints { request, .. }
            | Self::Devices { request, .. }
            | Self::Plan { request, .. } => Some(*request),
            Self::Rejected { request, .. } => *request,
            Self::Welcome { .. }
            | Self::Added { .. }
            | Self::Removed { .. }
            | Self::Event(_)
            | Self::Progress(_)
            | Self::Queue { .. }
            | Self::Copiers { .. }
            | Self::Goodbye { .. } => None,
        }
    }
}

/// Everything there is, at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The newest first, at most [`Snapshot::MAX_JOBS`].
    pub jobs: Vec<JobSummary>,
    /// The waiting jobs, the next one first.
    pub queue: Vec<JobId>,
    /// The newest first.
    pub copiers: Vec<CopierInfo>,
    /// What computes here.
    pub device: DeviceInfo,
    /// The bases that jobs can name, in the order to offer them.
    pub checkpoints: Vec<BaseInfo>,
    /// The VAEs in files of their own, likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vaes: Vec<VaeInfo>,
    /// How fast steps went on this device: the newest measurement of each base, method and phase.
    pub paces: Vec<Pace>,
    /// Jobs that are kept and cannot be read, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableJob>,
}

impl Snapshot {
    /// Older jobs are on disk, and not listed.
    pub const MAX_JOBS: usize = 1000;
}

/// One job, in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSummary {
    /// Its number.
    pub id: JobId,
    /// What was asked for.
    pub job: TrainJob,
    /// Where it is.
    pub state: JobState,
    /// Number of its last event.
    pub seq: u64,
    /// When it was submitted, in milliseconds since 1970.
    pub submitted_millis: u64,
    /// What it made so far.
    pub files: Vec<ResultFile>,
    /// What its LoRA does, once measured.
    pub scores: Option<Scores>,
    /// How far it is, while it runs.
    pub progress: Option<JobProgress>,
}

/// A job that is kept and cannot be read: a newer program stored it, or it is damaged. Nothing can be
/// done with it but to delete it, and then its files stay where they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadableJob {
    /// Its number.
    pub id: JobId,
    /// When it was submitted, in milliseconds since 1970, if that can still be read.
    pub submitted_millis: Option<u64>,
    /// What is wrong and what to do, in one sentence.
    pub message: String,
}

impl UnreadableJob {
    /// The sentence about a job that cannot be read.
    ///
    /// - `reason`: what is wrong with it
    /// - `files`: where its files stay, after a deletion too: "in the folder x"
    #[must_use]
    pub fn sentence(reason: &str, files: &str) -> String {
        format!(
            "this run cannot be read ({reason}). If a newer Mimeo stored it, update Mimeo; else delete it: what it made stays {files}."
        )
    }
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobProgress {
    /// Which job.
    pub job: JobId,
    /// The part that is under way.
    pub phase: Phase,
    /// Units done.
    pub done: u32,
    /// Units in all; none where the end is not known.
    pub total: Option<u32>,
    /// How long a unit takes.
    pub secs_per_unit: Option<f64>,
    /// Until the end of the phase; none until the pace is known.
    pub left_secs: Option<f64>,
}

/// How long a step took, measured on a job: what other recipes will cost can be told from it,
/// since a step takes about as long as it has pixels (picture × batch × accumulation).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// The base that was trained upon.
    pub base: BaseId,
    /// The method.
    pub method: Method,
    /// The pass: [`Phase::Copier`] or [`Phase::Training`].
    pub phase: Phase,
    /// Draws per forward pass.
    pub batch_size: u32,
    /// Forward passes per step.
    pub accumulation: u32,
    /// LoRA inner size.
    pub rank: u32,
    /// Pixels of the picture as it was trained: width × height.
    pub pixels: u64,
    /// Duration of a step, in seconds.
    pub secs_per_step: f64,
}

/// A copier that can be used again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CopierInfo {
    /// Its number.
    pub id: CopierId,
    /// What the user calls it.
    pub name: JobName,
    /// The picture that it copies; of several the first. None of a LoRA that was imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<BlobId>,
    /// What it draws.
    #[serde(default, skip_serializing_if = "CopierKind::is_identical")]
    pub kind: CopierKind,
    /// The base that it is for.
    pub base: BaseId,
    /// How well it copies, if that was measured.
    pub fidelity: Option<f64>,
    /// Steps it was trained for; 0 of a LoRA that was imported.
    pub steps: u32,
    /// The file, for export.
    pub file: ResultFile,
    /// When it was finished or imported, in milliseconds since 1970.
    pub finished_millis: u64,
}

/// A base that jobs can name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseInfo {
    /// Its id.
    pub id: BaseId,
    /// Its name for people; comes from a file and may be anything.
    pub title: String,
    /// What it is, such as "Stable Diffusion 1.x".
    pub family: String,
    /// Which presets fit it; none if that cannot be told.
    pub size: Option<ModelSize>,
    /// Width and height of the pictures that it was trained on.
    pub native_side: Option<u32>,
    /// Both sides of a picture must be multiples of this; 64 where that cannot be told.
    pub side_multiple: u32,
    /// A few prompts that it understands, to begin with; empty where none are known.
    pub prompts: Vec<String>,
    /// Why it cannot be trained upon; none if it can.
    pub unusable: Option<String>,
    /// Whether it has no VAE of its own, so that one must be chosen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_vae: bool,
    /// What its UNet predicts, in short: "ε", "v", "v, ztSNR"; none where that cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<String>,
    /// How most of its UNet's numbers are stored: "F32", "F16", "BF16", "F8"; none where that cannot
    /// be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// Size of its files; none where they are not on a disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Version of the picture that lies beside it, if one does; to be fetched as `/previews/<id>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<u32>,
}

/// A VAE in a file of its own, which jobs can name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaeInfo {
    /// Its id.
    pub id: VaeId,
    /// Its name for people; comes from a file and may be anything.
    pub title: String,
    /// Why it cannot be used; none if it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unusable: Option<String>,
}

/// Something that computes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// Its name for people.
    pub name: String,
    /// Why it is in use, or is not.
    pub reason: String,
    /// Memory it has, where the system tells.
    pub memory_bytes: Option<u64>,
    /// Whether it is a GPU, and not software that stands in for one.
    #[serde(default)]
    pub is_gpu: bool,
    /// Whether jobs run on it.
    pub in_use: bool,
}

/// What a job takes of the device's memory, and its LoRA of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPlan {
    /// The base's weights.
    pub weights_bytes: u64,
    /// What the forward pass keeps for the backward pass, and the largest single tensors.
    pub activations_bytes: u64,
    /// The LoRA, its gradient, its moments.
    pub optimizer_bytes: u64,
    /// The size of the LoRA's file, within a few percent.
    #[serde(default)]
    pub file_bytes: u64,
    /// What the device has for it, where the system tells.
    pub available_bytes: Option<u64>,
    /// Which number to lower, where it does not fit.
    pub remedy: Option<String>,
    /// What is computed twice so that it fits, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recompute: Option<String>,
}

impl MemoryPlan {
    /// All of it.
    #[must_use]
    pub const fn needed_bytes(&self) -> u64 {
        self.weights_bytes + self.activations_bytes + self.optimizer_bytes
    }
}

/// Why something was not done: what is wrong and what to do, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// The two sides speak different versions.
    #[error(
        "this {client} speaks protocol {client_protocol}, the companion ({server}) {server_protocol}. Update the older of the two, or reload the page."
    )]
    Version {
        /// Program of the client.
        client: String,
        /// Protocol of the client.
        client_protocol: u32,
        /// Program of the server.
        server: String,
        /// Protocol of the server.
        server_protocol: u32,
    },
    /// The first message was no hello, or none came.
    #[error("the first message must be Hello, within {secs} s. Connect again.")]
    NoHello {
        /// Time that was given.
        secs: u64,
    },
    /// The token is not this start's.
    #[error("the companion was started anew, or this link is not from it. Reload the page.")]
    Token,
    /// The frame is no message.
    #[error("this message cannot be understood ({what}). Reload the page, or update the program.")]
    Undecodable {
        /// What is wrong with it.
        what: String,
    },
    /// The frame is too large.
    #[error(
        "this message has {bytes} bytes, and at most {limit} are taken. Upload pictures over HTTP."
    )]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// Something that was named is not there.
    #[error("{what} is not here (any more). {remedy}")]
    Missing {
        /// Which.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// The job is in a state in which that cannot be done.
    #[error("{message}")]
    State {
        /// The sentence.
        message: String,
    },
    /// Something is full.
    #[error("{message}")]
    Full {
        /// What is full, the limit, and what to do.
        message: String,
    },
    /// The job does not fit into the device's memory.
    #[error("{message}")]
    Memory {
        /// How much, and which number to lower.
        message: String,
    },
    /// It was tried and failed.
    #[error("{message}")]
    Failed {
        /// What is wrong and what to do.
        message: String,
    },
}
