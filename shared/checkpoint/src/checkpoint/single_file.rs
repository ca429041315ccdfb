//! A whole Stable Diffusion in one file, as people share them: ldm's names of UNet, VAE and text
//! encoder, SGM's for the two text encoders of XL.
//!
//! Nothing is converted when the file is opened: what is handed out by diffusers' names is read from
//! where it lies. The configurations that no such file has follow from the shapes of its tensors.

mod config;
mod left_aside;
mod parts;
mod unet;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::VAE;
use crate::family::Detected;
use crate::folder::read_text;
use crate::names::LDM_UNET_PREFIX;
use crate::{Architecture, AsyncReadAt, BoxFuture, CheckpointError, Folder, SafetensorsFile};

use super::weights::View;
use super::{Checkpoint, Component, ComponentWeights};
use left_aside::LeftAside;

/// CLIP's vocabulary is 1 MB.
const MAX_VOCABULARY_BYTES: u64 = 16 << 20;

/// The files of CLIP's vocabulary that are taken from elsewhere: it is the same for every Stable
/// Diffusion.
const VOCABULARY: [&str; 2] = ["vocab.json", "merges.txt"];

/// Where transformers says which token fills a prompt.
const PADDING: &str = "special_tokens_map.json";

/// A checkpoint in a single file.
pub struct SingleFile {
    file: Arc<SafetensorsFile>,
    detected: Detected,
    parts: BTreeMap<Component, Views>,
    left_aside: LeftAside,
    vocabulary: Box<dyn Folder>,
}

/// The weights of a component by diffusers' names.
type Views = BTreeMap<String, View>;

impl SingleFile {
    /// Opens it by its header; of its tensors only a few that tell what it is are read.
    ///
    /// - `vocabulary`: a diffusers folder with CLIP's whole vocabulary, which no such file holds
    ///
    /// # Errors
    /// If it is no sound safetensors file, or holds no UNet of a Stable Diffusion that is known; says
    /// what it is instead, where that is known.
    pub async fn open(
        source: Box<dyn AsyncReadAt>,
        vocabulary: Box<dyn Folder>,
    ) -> Result<Self, CheckpointError> {
        let file = SafetensorsFile::open(source).await?;
        let detected = Detected::of(&file).await?;
        if !file
            .tensors()
            .keys()
            .any(|key| key.starts_with(LDM_UNET_PREFIX))
        {
            return Err(CheckpointError::UnknownFamily {
                found: "a UNet alone, one file of a diffusers folder".to_owned(),
                file: file.name().to_owned(),
            });
        }
        let (parts, left_aside) = parts::sorted(&file, detected.family.architecture).await?;
        Ok(Self {
            file: Arc::new(file),
            detected,
            parts,
            left_aside,
            vocabulary,
        })
    }

    /// What it is, and by which of its marks.
    #[must_use]
    pub const fn detected(&self) -> &Detected {
        &self.detected
    }

    fn part(&self, component: Component) -> Result<&Views, CheckpointError> {
        self.parts.get(&component).ok_or_else(|| {
            let has_text = self.parts.contains_key(&Component::TextEncoder);
            // Of a UNet alone: a VAE is soon found, and would help nothing.
            let is_unet_alone = component == Component::Vae && !has_text;
            let component = if is_unet_alone {
                Component::TextEncoder
            } else {
                component
            };
            missing(component, self.file.name())
        })
    }

    fn derived(&self, component: Component) -> Result<String, CheckpointError> {
        let family = &self.detected.family;
        if component == Component::Scheduler {
            return Ok(config::scheduler(family));
        }
        let views = self.part(component)?;
        let derived = match component {
            Component::Unet => {
                config::unet(views, self.parts.get(&Component::TextEncoder2), family)
            }
            Component::Vae => config::vae(views, family.architecture),
            _ => config::text_encoder(views, component, family.architecture),
        };
        derived.map_err(|unfit| unfit.in_file(self.file.name()))
    }
}

/// What to say if a file has no such part.
fn missing(component: Component, file: &str) -> CheckpointError {
    const WHOLE: &str = "choose a checkpoint that holds it too";
    let (component, remedy) = match component {
        Component::Vae => (
            VAE,
            "name a file that holds one (--vae FILE), or choose a checkpoint that does",
        ),
        Component::TextEncoder => ("text encoder", WHOLE),
        Component::TextEncoder2 => ("second text encoder", WHOLE),
        Component::Unet => ("UNet", WHOLE),
        Component::Scheduler => ("schedule", WHOLE),
    };
    CheckpointError::MissingComponent {
        component,
        remedy,
        file: file.to_owned(),
    }
}

impl Checkpoint for SingleFile {
    fn name(&self) -> String {
        self.file.name().to_owned()
    }

    fn config(&self, component: Component) -> BoxFuture<'_, Result<String, CheckpointError>> {
        Box::pin(async move { self.derived(component) })
    }

    fn weights(
        &self,
        component: Component,
    ) -> BoxFuture<'_, Result<ComponentWeights, CheckpointError>> {
        Box::pin(async move {
            let views = self.part(component)?;
            Ok(ComponentWeights::of_views(&self.file, views))
        })
    }

    fn tokenizer_file<'a>(
        &'a self,
        text_encoder: Component,
        name: &'a str,
    ) -> BoxFuture<'a, Result<String, CheckpointError>> {
        Box::pin(async move {
            if VOCABULARY.contains(&name) {
                let path = format!("tokenizer/{name}");
                return read_text(&*self.vocabulary, &path, MAX_VOCABULARY_BYTES).await;
            }
            if name == PADDING {
                return Ok(config::special_tokens(
                    text_encoder,
                    self.detected.family.architecture,
                ));
            }
            Err(CheckpointError::MissingFile {
                path: name.to_owned(),
                folder: self.name(),
            })
        })
    }

    fn hash(&self) -> BoxFuture<'_, Result<String, CheckpointError>> {
        Box::pin(self.file.sha256())
    }

    fn notes(&self) -> Vec<String> {
        let read_as = format!("the file is read as {}.", self.detected);
        let mut notes = vec![read_as];
        notes.extend(self.left_aside.note());
        notes
    }
}

/// The weights of a VAE by diffusers' names, in a file of its own or among others.
pub(super) type VaeViews = Views;

/// Finds them.
///
/// # Errors
/// [`CheckpointError::NotAVae`]; if two are the same weight, or one has another shape than its name
/// calls for.
pub(super) fn vae_views(file: &SafetensorsFile) -> Result<VaeViews, CheckpointError> {
    let views = parts::vae(file)?;
    if views.contains_key("decoder.conv_in.weight") {
        return Ok(views);
    }
    Err(CheckpointError::NotAVae {
        file: file.name().to_owned(),
    })
}

/// Their configuration, for a base of this architecture.
///
/// # Errors
/// If it is not built as Stable Diffusion's.
pub(super) fn vae_config(
    views: &VaeViews,
    architecture: Architecture,
    file: &str,
) -> Result<String, CheckpointError> {
    config::vae(views, architecture).map_err(|unfit| unfit.in_file(file))
}

/// Whether the text encoder is OpenCLIP's, as since 2.0.
const fn has_open_clip(architecture: Architecture) -> bool {
    matches!(architecture, Architecture::Sd2 | Architecture::Sd2Like)
}

#[cfg(test)]
mod tests;
