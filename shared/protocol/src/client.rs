//! What a client says.

use serde::{Deserialize, Serialize};

use crate::id::{BaseId, BlobId, CopierId, FileId, JobId, JobName, RequestId, VaeId};
use crate::job::TrainJob;
use crate::number::{GuidanceRescale, Resolution, Strength};
use crate::recipe::{CopierKind, PromptSyntax};
use crate::said::Said;

/// One message of a client. [`Self::Hello`] is the first; every other one is answered under its
/// request number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientMessage {
    /// Who is there, and may they.
    Hello {
        /// Version of the conversation.
        protocol: u32,
        /// Version of the program, for people.
        app: String,
        /// The secret of this server's start.
        token: String,
    },
    /// Queue a job. Answered by `Accepted`.
    Submit {
        /// Number of the request.
        request: RequestId,
        /// The job.
        job: Box<TrainJob>,
    },
    /// Steer a job. Answered by `Done`.
    Control {
        /// Number of the request.
        request: RequestId,
        /// Which job.
        job: JobId,
        /// What to do.
        control: JobControl,
    },
    /// Move a waiting job. Answered by `Done`.
    Reorder {
        /// Number of the request.
        request: RequestId,
        /// Which job.
        job: JobId,
        /// It runs just before this one; none: last.
        before: Option<JobId>,
    },
    /// Remove a job that is over, with its results. Answered by `Done`.
    Delete {
        /// Number of the request.
        request: RequestId,
        /// Which job.
        job: JobId,
    },
    /// Draw a picture. Answered by `Preview`.
    Preview {
        /// Number of the request.
        request: RequestId,
        /// What to draw.
        preview: PreviewRequest,
    },
    /// Measure a job's LoRA on its pair. Answered by `Scored`.
    Score {
        /// Number of the request.
        request: RequestId,
        /// A LoRA that a job of this server made.
        file: FileId,
    },
    /// How much memory a job would take. Answered by `Plan`.
    Plan {
        /// Number of the request.
        request: RequestId,
        /// The job; its pictures need not be uploaded.
        job: Box<TrainJob>,
    },
    /// Which bases there are. Answered by `Checkpoints`.
    ListCheckpoints {
        /// Number of the request.
        request: RequestId,
    },
    /// Which devices there are. Answered by `Devices`.
    Devices {
        /// Number of the request.
        request: RequestId,
    },
    /// Call a copier something else. Answered by `Done`.
    RenameCopier {
        /// Number of the request.
        request: RequestId,
        /// Which copier.
        copier: CopierId,
        /// The new name.
        name: JobName,
    },
    /// Make a LoRA that was uploaded as `/loras/<sha256>` a copier that jobs can build upon. It is
    /// tried on the base first. Answered by `Done`.
    ImportCopier {
        /// Number of the request.
        request: RequestId,
        /// Its SHA-256.
        lora: BlobId,
        /// What to call it.
        name: JobName,
        /// What it draws.
        kind: CopierKind,
        /// The base that it is for.
        base: BaseId,
        /// The VAE that goes with the base; none: its own.
        vae: Option<VaeId>,
    },
    /// Forget a copier. Answered by `Done`.
    DeleteCopier {
        /// Number of the request.
        request: RequestId,
        /// Which copier.
        copier: CopierId,
    },
    /// Show a file in its folder, on the server's own screen: refused unless only its own machine
    /// can reach it. Answered by `Done`.
    Reveal {
        /// Number of the request.
        request: RequestId,
        /// Which file.
        file: FileId,
    },
    /// Send a job's events again, from after this one. Answered by those events, then `Done`.
    Resync {
        /// Number of the request.
        request: RequestId,
        /// Which job.
        job: JobId,
        /// The last one that the client has; 0 for none.
        after: u64,
    },
}

/// What to do with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobControl {
    /// Wait after this step.
    Pause,
    /// Go on.
    Resume,
    /// End and keep what was trained.
    StopAndKeep,
    /// End and keep nothing; a waiting job leaves the queue.
    Discard,
    /// Write the LoRA as it is now.
    SaveNow,
    /// Draw previews now.
    PreviewNow,
    /// Do a stopped or failed job after all, from its checkpoint if it has one.
    Retry,
}

/// A picture to draw: same request, same base, same device, same picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PreviewRequest {
    /// The base that draws.
    pub base: BaseId,
    /// The VAE that decodes; none: the base's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vae: Option<VaeId>,
    /// What is said of the base.
    #[serde(default, skip_serializing_if = "Said::is_nothing")]
    pub said: Said,
    /// What it draws on.
    pub canvas: Canvas,
    /// LoRAs that are active, at most [`Self::MAX_LORAS`]; none: the base alone.
    #[serde(default)]
    pub loras: Vec<(LoraRef, Strength)>,
    /// What to draw.
    pub prompt: String,
    /// What to keep away from; empty for nothing.
    #[serde(default)]
    pub negative_prompt: String,
    /// How both are read.
    #[serde(
        default = "PromptSyntax::usual",
        skip_serializing_if = "PromptSyntax::is_usual"
    )]
    pub prompt_syntax: PromptSyntax,
    /// How much of the contrast that guidance adds is taken back; none: as much as suits the base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance_rescale: Option<GuidanceRescale>,
    /// Which noise it starts from.
    #[serde(deserialize_with = "crate::number::deserialize_seed")]
    pub seed: u64,
}

impl PreviewRequest {
    /// More LoRAs at once are refused.
    pub const MAX_LORAS: usize = 8;

    /// A new picture by a base alone.
    #[must_use]
    pub fn new(base: BaseId, prompt: String, seed: u64) -> Self {
        Self {
            base,
            vae: None,
            said: Said::default(),
            canvas: Canvas::Native,
            loras: Vec::new(),
            prompt,
            negative_prompt: String::new(),
            prompt_syntax: PromptSyntax::USUAL,
            guidance_rescale: None,
            seed,
        }
    }
}

/// What a picture is drawn on. Pictures and masks were uploaded before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Canvas {
    /// A new picture of the base's own size.
    Native,
    /// A new picture of the size at which this one is trained.
    Like {
        /// The picture.
        picture: BlobId,
        /// Of the recipe.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resolution: Option<Resolution>,
    },
    /// This picture, drawn anew where the mask is painted: what comes back has its size and, but
    /// for a soft edge of 2 px around the mask, its very pixels elsewhere. Both sides must be
    /// multiples of the base's `side_multiple` and at most twice its `native_side`.
    Inpaint {
        /// The picture.
        picture: BlobId,
        /// Where to draw, of the same size.
        mask: BlobId,
    },
}

/// A LoRA that can be drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoraRef {
    /// One that a job of this server made.
    File {
        /// Its file.
        file: FileId,
    },
    /// One that was uploaded as `/loras/<sha256>`.
    Uploaded {
        /// Its SHA-256.
        lora: BlobId,
    },
}

impl ClientMessage {
    /// Number of the request; none for `Hello`.
    #[must_use]
    pub const fn request(&self) -> Option<RequestId> {
        match self {
            Self::Hello { .. } => None,
            Self::Submit { request, .. }
            | Self::Control { request, .. }
            | Self::Reorder { request, .. }
            | Self::Delete { request, .. }
            | Self::Preview { request, .. }
            | Self::Score { request, .. }
            | Self::Plan { request, .. }
            | Self::ListCheckpoints { request }
            | Self::Devices { request }
            | Self::RenameCopier { request, .. }
            | Self::DeleteCopier { request, .. }
            | Self::ImportCopier { request, .. }
            | Self::Reveal { request, .. }
            | Self::Resync { request, .. } => Some(*request),
        }
    }
}
