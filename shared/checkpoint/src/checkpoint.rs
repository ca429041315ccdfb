//! A checkpoint of Stable Diffusion, in whatever files it lies: how each of its components is
//! configured, and its weights, by the names that diffusers gives them.

mod folder;
mod pipeline;

use std::collections::BTreeMap;

use half::f16;

use crate::{Array, BoxFuture, CheckpointError, Number, SafetensorsFile, TensorEntry};

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

/// Where a base is read from. Every [`Folder`](crate::Folder) is one, in diffusers' layout.
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
}

/// The weights of one component by diffusers' names; each is read when it is asked for.
pub struct ComponentWeights {
    files: Vec<SafetensorsFile>,
    /// Which of the files holds a tensor.
    places: BTreeMap<String, usize>,
}

/// One of a component's weights: known by its header, not read yet.
#[derive(Clone, Copy)]
pub struct WeightTensor<'a> {
    /// Its name in diffusers.
    pub name: &'a str,
    /// How it is stored.
    pub entry: &'a TensorEntry,
    file: &'a SafetensorsFile,
}

impl ComponentWeights {
    /// Of files whose names are diffusers' already, no two the same.
    #[must_use]
    pub fn new(files: Vec<SafetensorsFile>) -> Self {
        let names = |(file, tensors): (usize, &SafetensorsFile)| {
            let names = tensors.tensors().keys();
            names.map(|name| (name.clone(), file)).collect::<Vec<_>>()
        };
        let places = files.iter().enumerate().flat_map(names).collect();
        Self { files, places }
    }

    /// All of them, in the order of their names.
    pub fn tensors(&self) -> impl Iterator<Item = WeightTensor<'_>> {
        self.places.iter().filter_map(|(name, place)| {
            let file = self.files.get(*place)?;
            let entry = file.tensors().get(name)?;
            Some(WeightTensor { name, entry, file })
        })
    }

    /// Refuses weights with a quantised tensor by their headers alone.
    ///
    /// # Errors
    /// [`CheckpointError::WrongDtype`] for the first one.
    pub fn refuse_quantised(&self) -> Result<(), CheckpointError> {
        self.files
            .iter()
            .try_for_each(SafetensorsFile::refuse_quantised)
    }
}

impl WeightTensor<'_> {
    /// Reads it as `f32`, whatever it is stored in of F32, F16 and BF16.
    ///
    /// # Errors
    /// If it is of another type, or cannot be read.
    pub async fn read_f32(&self) -> Result<Array, CheckpointError> {
        self.file.read_f32(self.name).await
    }

    /// Reads the numbers of one that is stored as F16, row-major.
    ///
    /// # Errors
    /// If it is of another type, or cannot be read.
    pub async fn read_f16(&self) -> Result<Vec<f16>, CheckpointError> {
        self.file.read_f16(self.name).await
    }

    /// What to say if it is stored in a type that nothing can be computed with.
    #[must_use]
    pub fn wrong_dtype(&self) -> CheckpointError {
        self.file.wrong_dtype(self.name, self.entry.dtype)
    }

    /// Refuses its numbers, as they were read, if one of them is infinite or not a number.
    ///
    /// # Errors
    /// [`CheckpointError::NotFinite`].
    pub fn require_finite<T: Number>(&self, numbers: &[T]) -> Result<(), CheckpointError> {
        self.file.require_finite(self.name, numbers)
    }
}
