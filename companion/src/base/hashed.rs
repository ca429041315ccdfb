//! A checkpoint of which it is known what identifies it, so that its file need not be read for that.

use mimeo_checkpoint::{
    BoxFuture, Checkpoint, CheckpointError, Component, ComponentWeights, VaeFile,
};

/// A checkpoint and its hash.
pub struct Hashed {
    pub checkpoint: Box<dyn Checkpoint>,
    pub hash: String,
}

impl Checkpoint for Hashed {
    fn name(&self) -> String {
        self.checkpoint.name()
    }

    fn config(&self, component: Component) -> BoxFuture<'_, Result<String, CheckpointError>> {
        self.checkpoint.config(component)
    }

    fn weights(
        &self,
        component: Component,
    ) -> BoxFuture<'_, Result<ComponentWeights, CheckpointError>> {
        self.checkpoint.weights(component)
    }

    fn tokenizer_file<'a>(
        &'a self,
        text_encoder: Component,
        name: &'a str,
    ) -> BoxFuture<'a, Result<String, CheckpointError>> {
        self.checkpoint.tokenizer_file(text_encoder, name)
    }

    fn hash(&self) -> BoxFuture<'_, Result<String, CheckpointError>> {
        Box::pin(async { Ok(self.hash.clone()) })
    }

    fn vae_file(&self) -> BoxFuture<'_, Result<Option<VaeFile>, CheckpointError>> {
        self.checkpoint.vae_file()
    }

    fn notes(&self) -> Vec<String> {
        self.checkpoint.notes()
    }
}
