//! A checkpoint whose VAE is taken from another file, because its user says so.

use std::sync::Arc;

use crate::family::{Architecture, Family};
use crate::{AsyncReadAt, BoxFuture, CheckpointError, SafetensorsFile, text};

use super::single_file::{VaeViews, vae_config, vae_views};
use super::{Checkpoint, Component, ComponentWeights, VaeFile};

/// Whether a file holds a VAE; of its tensors only the header is read.
///
/// # Errors
/// If it cannot be read, or holds none that is built as Stable Diffusion's.
pub async fn check_vae(source: Box<dyn AsyncReadAt>) -> Result<(), CheckpointError> {
    let file = SafetensorsFile::open(source).await?;
    let views = vae_views(&file)?;
    // Architectures differ in how latents are scaled, and not in how a VAE is built.
    vae_config(&views, Architecture::Sd1, file.name()).map(drop)
}

/// A checkpoint with the VAE of another file.
pub struct WithVae {
    checkpoint: Box<dyn Checkpoint>,
    file: Arc<SafetensorsFile>,
    views: VaeViews,
}

impl WithVae {
    /// Takes the VAE of a file, in ldm's or diffusers' names, alone or in another checkpoint.
    ///
    /// # Errors
    /// If the file cannot be read, or holds none.
    pub async fn new(
        checkpoint: Box<dyn Checkpoint>,
        source: Box<dyn AsyncReadAt>,
    ) -> Result<Self, CheckpointError> {
        let file = SafetensorsFile::open(source).await?;
        let views = vae_views(&file)?;
        Ok(Self {
            checkpoint,
            file: Arc::new(file),
            views,
        })
    }
}

impl Checkpoint for WithVae {
    fn name(&self) -> String {
        self.checkpoint.name()
    }

    fn config(&self, component: Component) -> BoxFuture<'_, Result<String, CheckpointError>> {
        Box::pin(async move {
            if component != Component::Vae {
                return self.checkpoint.config(component).await;
            }
            let family = Family::of(&*self.checkpoint).await?;
            vae_config(&self.views, family.architecture, self.file.name())
        })
    }

    fn weights(
        &self,
        component: Component,
    ) -> BoxFuture<'_, Result<ComponentWeights, CheckpointError>> {
        match component {
            Component::Vae => {
                Box::pin(async move { Ok(ComponentWeights::of_views(&self.file, &self.views)) })
            }
            _ => self.checkpoint.weights(component),
        }
    }

    fn tokenizer_file<'a>(
        &'a self,
        text_encoder: Component,
        name: &'a str,
    ) -> BoxFuture<'a, Result<String, CheckpointError>> {
        self.checkpoint.tokenizer_file(text_encoder, name)
    }

    fn hash(&self) -> BoxFuture<'_, Result<String, CheckpointError>> {
        self.checkpoint.hash()
    }

    fn vae_file(&self) -> BoxFuture<'_, Result<Option<VaeFile>, CheckpointError>> {
        Box::pin(async move {
            Ok(Some(VaeFile {
                name: text::name(file_name(self.file.name())),
                sha256: self.file.sha256().await?,
                legacy_hash: self.file.legacy_hash().await?,
            }))
        })
    }

    fn notes(&self) -> Vec<String> {
        let file = text::name(self.file.name());
        let mut notes = self.checkpoint.notes();
        notes.push(format!("its VAE is taken from another file: {file}."));
        notes
    }
}

/// The name of a file without its folder, as either kind of system writes it.
fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}
