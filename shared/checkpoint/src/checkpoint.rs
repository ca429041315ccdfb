//! A checkpoint of Stable Diffusion, in whatever files it lies: how each of its components is
//! configured, and its weights, by the names that diffusers gives them.

mod folder;
mod pipeline;
mod single_file;
mod weights;
mod with_vae;

pub use single_file::SingleFile;
pub use weights::{ComponentWeights, WeightTensor};
pub use with_vae::{WithVae, check_vae};

use crate::{BoxFuture, CheckpointError};

/// A part of a checkpoint that has a configuration of its own, and all but the scheduler weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// The denoiser.
    Unet,
    /// Pictures to latents and back.
    Vae,
    /// The text encoder, or SDXL's first.
    TextEncoder,
    /// SDXL's second text encoder.
    TextEncoder2,
    /// The noise schedule.
    Scheduler,
}

impl Component {
    /// Those that LoRA files hold modules of.
    pub const ADAPTED: [Self; 3] = [Self::Unet, Self::TextEncoder, Self::TextEncoder2];

    /// What diffusers calls it: the folder, and what stands before its names in a LoRA.
    #[must_use]
    pub const fn diffusers_name(self) -> &'static str {
        match self {
            Self::Unet => "unet",
            Self::Vae => "vae",
            Self::TextEncoder => "text_encoder",
            Self::TextEncoder2 => "text_encoder_2",
            Self::Scheduler => "scheduler",
        }
    }

    /// What diffusers calls its configuration, relative to the whole folder.
    #[must_use]
    pub const fn config_path(self) -> &'static str {
        match self {
            Self::Unet => "unet/config.json",
            Self::Vae => "vae/config.json",
            Self::TextEncoder => "text_encoder/config.json",
            Self::TextEncoder2 => "text_encoder_2/config.json",
            Self::Scheduler => "scheduler/scheduler_config.json",
        }
    }
}

/// The file that a VAE is taken from, as kohya's metadata names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaeFile {
    /// Its name, without its folder.
    pub name: String,
    /// SHA-256 of all its bytes.
    pub sha256: String,
    /// The older, short hash: see [`SafetensorsFile::legacy_hash`](crate::SafetensorsFile::legacy_hash).
    pub legacy_hash: String,
}

/// Where a base is read from. Every [`Folder`](crate::Folder) is one, in diffusers' layout, and so is
/// a [`SingleFile`] in ldm's names.
///
/// Whoever reads through this trait sees diffusers' configurations and names, wherever they come
/// from: the layout of the files is the implementation's own affair.
pub trait Checkpoint {
    /// What to call it in a message to the user: a path, or a name.
    fn name(&self) -> String;

    /// The configuration of a component, as the JSON that diffusers writes.
    ///
    /// # Errors
    /// If it is missing or no text; for a UNet that is missing because the model has none, what the
    /// model is instead.
    fn config(&self, component: Component) -> BoxFuture<'_, Result<String, CheckpointError>>;

    /// The weights of a component: their names and shapes, and on demand each of them.
    ///
    /// # Errors
    /// If there are none, or none that can be read.
    fn weights(
        &self,
        component: Component,
    ) -> BoxFuture<'_, Result<ComponentWeights, CheckpointError>>;

    /// A file of a text encoder's tokenizer by the name that transformers gives it, such as
    /// `merges.txt`.
    ///
    /// # Errors
    /// [`CheckpointError::MissingFile`] if there is none of this name; if it is no text.
    fn tokenizer_file<'a>(
        &'a self,
        text_encoder: Component,
        name: &'a str,
    ) -> BoxFuture<'a, Result<String, CheckpointError>>;

    /// What identifies it in a LoRA's metadata and in the cache of copiers, as 64 lower-case hex
    /// digits: the SHA-256 of **all bytes of the file that the UNet's weights are in**, header and
    /// metadata included; of shards, one after the other.
    ///
    /// Text encoder, VAE, tokenizer and configuration of a folder are not part of it. So a folder
    /// saved again, or its fp16 twin, counts as another base, while the same file in another folder
    /// counts as the same.
    ///
    /// # Errors
    /// If the file is missing or cannot be read.
    fn hash(&self) -> BoxFuture<'_, Result<String, CheckpointError>>;

    /// The file that its VAE is taken from, where that is none of its own.
    ///
    /// # Errors
    /// If it cannot be read.
    fn vae_file(&self) -> BoxFuture<'_, Result<Option<VaeFile>, CheckpointError>> {
        Box::pin(async { Ok(None) })
    }

    /// What its user should know of how it was read, a sentence each: what it was taken for where its
    /// files do not say it themselves, and what is left aside.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}
