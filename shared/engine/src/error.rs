//! Why a job cannot be done.

use mimeo_checkpoint::{CheckpointError, ConfigError, LoraFileError, TRAINABLE, Untrainable};
use mimeo_diffusion::LoadError;
use mimeo_diffusion::tokenizer::TokenizerError;
use mimeo_image::ImageError;
use mimeo_protocol::{InvalidExamples, InvalidRecipe};
use mimeo_train::{NoExample, TrainError};

use crate::rest::GivenUp;
use crate::runtime::DeviceError;

/// Why a job cannot be done: one sentence that says what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No such device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A file of the base is missing or damaged.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The base is configured in a way that Mimeo cannot compute.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The base's weights do not fit its configuration.
    #[error(transparent)]
    Load(LoadError),
    /// The base's vocabulary is not CLIP's.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The base is of a kind that cannot be trained yet.
    #[error(
        "this checkpoint is {found}, and Mimeo trains {TRAINABLE}. Choose another folder: {folder}"
    )]
    UnsupportedFamily {
        /// What it is.
        found: Untrainable,
        /// The folder.
        folder: String,
    },
    /// No layer is left to say the prompt.
    #[error(
        "clip skip {found} leaves nothing of this base's text encoder, which has {layers} layers. Choose a number from 1 to {layers}."
    )]
    ClipSkip {
        /// What was asked for.
        found: u32,
        /// Layers that there are.
        layers: usize,
    },
    /// The parts of the base are not those of one model.
    #[error(
        "the parts of this base do not fit together ({what}). Copy the whole folder of one model: {folder}"
    )]
    Mixed {
        /// Which parts, and how they differ.
        what: String,
        /// The folder.
        folder: String,
    },
    /// A picture or mask cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A LoRA file is damaged.
    #[error(transparent)]
    LoraFile(#[from] LoraFileError),
    /// A LoRA file is for another model.
    #[error(
        "this LoRA is for {found}: {matched} of its {total} modules fit the base ({base}). Choose a LoRA trained on that base, or its base: {file}"
    )]
    LoraMismatch {
        /// Modules whose name and shape the base has.
        matched: usize,
        /// Modules of the file that belong to parts which a LoRA changes.
        total: usize,
        /// What the LoRA is for.
        found: String,
        /// The base in use.
        base: String,
        /// The LoRA.
        file: String,
    },
    /// The recipe cannot be trained.
    #[error(transparent)]
    Recipe(#[from] InvalidRecipe),
    /// The examples cannot be trained on.
    #[error(transparent)]
    Examples(#[from] InvalidExamples),
    /// One among several cannot be used.
    #[error("example {number}: {error}")]
    InExample {
        /// Which, counted from 1.
        number: usize,
        /// What is wrong with it.
        error: ImageError,
    },
    /// There are none.
    #[error(transparent)]
    NoExample(#[from] NoExample),
    /// The base does not know what the prompts differ in.
    #[error(
        "this base draws the same under both prompts ({original:?} and {target:?}), so there is nothing to learn. Choose words that it knows."
    )]
    SamePictures {
        /// One.
        original: String,
        /// The other.
        target: String,
    },
    /// A window that a drawing leaps over.
    #[error(
        "none of the {steps} steps in which a slider's pictures are drawn lies in timesteps {min}-{max}. Widen the window."
    )]
    NoStates {
        /// Steps of a drawing.
        steps: usize,
        /// Where the window begins.
        min: u32,
        /// Where it ends.
        max: u32,
    },
    /// Training cannot go on.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The job came to its end, or broke down, with nothing that is worth keeping.
    #[error("{reason}")]
    NothingTrained {
        /// What happened and what to do.
        reason: String,
    },
    /// The job was stopped before anything was trained.
    #[error("stopped before anything was trained, so there is nothing to keep.")]
    StoppedBeforeTraining,
    /// Whoever asked for it does not want it any more.
    #[error(transparent)]
    GivenUp(#[from] GivenUp),
    /// A picture size that the base cannot draw.
    #[error(
        "{width}x{height} cannot be drawn by this base. Use multiples of {multiple}, at most {limit}."
    )]
    Size {
        /// Asked width.
        width: u32,
        /// Asked height.
        height: u32,
        /// Sides must be multiples of this.
        multiple: u32,
        /// Longest side allowed.
        limit: u32,
    },
    /// Noise for pictures of another size, or for another program's model.
    #[error(
        "the noise to start from has the shape {found:?}, and a picture of this size starts from {expected:?}. Give --width and --height of the picture that it was made for."
    )]
    Noise {
        /// Shape of what was given.
        found: Vec<usize>,
        /// `[1, channels, height, width]` of the latent.
        expected: [usize; 4],
    },
    /// A prompt that nobody wrote by hand.
    #[error(
        "a prompt has {chunks} chunks of 75 tokens, and at most {limit} can be read. Shorten it: {prompt}"
    )]
    PromptTooLong {
        /// Chunks that it has.
        chunks: usize,
        /// Chunks that can be read.
        limit: usize,
        /// How it begins.
        prompt: String,
    },
    /// A mask in which nothing is painted.
    #[error(
        "the mask is empty (all black), so there is nothing to draw. Paint white what is to be drawn anew."
    )]
    NothingToDraw,
    /// The device could not hand out its numbers.
    #[error(
        "the device failed while computing ({reason}). Free memory on it or choose another device with --device."
    )]
    Readback {
        /// What it said.
        reason: String,
    },
}

impl EngineError {
    /// Whether a base has no VAE, so that one can be brought.
    #[must_use]
    pub fn is_missing_vae(&self) -> bool {
        matches!(self, Self::Checkpoint(error) if error.is_missing_vae())
    }
}

impl From<LoadError> for EngineError {
    fn from(error: LoadError) -> Self {
        match error {
            // It names its file, as the others of its kind.
            LoadError::File(error) => Self::Checkpoint(error),
            error => Self::Load(error),
        }
    }
}
