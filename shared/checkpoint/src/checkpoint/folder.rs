//! A folder as diffusers saves it.
//!
//! Layout: <https://huggingface.co/docs/diffusers/using-diffusers/other-formats>.

use crate::folder::{MODEL_INDEX, base_hash, open_weights, read_json, read_text};
use crate::{BoxFuture, CheckpointError, Folder};

use super::{Checkpoint, Component, ComponentWeights, pipeline};

/// A diffusers configuration is about 2 KB.
const MAX_CONFIG_BYTES: u64 = 1 << 20;
const MAX_VOCABULARY_BYTES: u64 = 16 << 20;

impl<F: Folder> Checkpoint for F {
    fn name(&self) -> String {
        Folder::name(self)
    }

    fn config(&self, component: Component) -> BoxFuture<'_, Result<String, CheckpointError>> {
        Box::pin(async move {
            match read_json(self, component.config_path(), MAX_CONFIG_BYTES).await {
                Err(missing @ CheckpointError::MissingFile { .. })
                    if component == Component::Unet =>
                {
                    let index = read_json(self, MODEL_INDEX, MAX_CONFIG_BYTES).await.ok();
                    let found = index.and_then(|json| pipeline::without_unet(&json));
                    Err(match found {
                        Some(found) => CheckpointError::UnknownFamily {
                            found,
                            file: Folder::name(self),
                        },
                        None => missing,
                    })
                }
                config => config,
            }
        })
    }

    fn weights(
        &self,
        component: Component,
    ) -> BoxFuture<'_, Result<ComponentWeights, CheckpointError>> {
        Box::pin(async move {
            let files = open_weights(self, component.diffusers_name()).await?;
            Ok(ComponentWeights::new(files))
        })
    }

    fn tokenizer_file<'a>(
        &'a self,
        text_encoder: Component,
        name: &'a str,
    ) -> BoxFuture<'a, Result<String, CheckpointError>> {
        Box::pin(async move {
            let folder = match text_encoder {
                Component::TextEncoder2 => "tokenizer_2",
                _ => "tokenizer",
            };
            let path = format!("{folder}/{name}");
            if name.ends_with(".json") {
                read_json(self, &path, MAX_VOCABULARY_BYTES).await
            } else {
                read_text(self, &path, MAX_VOCABULARY_BYTES).await
            }
        })
    }

    fn hash(&self) -> BoxFuture<'_, Result<String, CheckpointError>> {
        Box::pin(base_hash(self))
    }
}
