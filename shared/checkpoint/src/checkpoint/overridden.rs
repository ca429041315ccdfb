//! A checkpoint of which something is taken from elsewhere, because its user says so.

use std::rc::Rc;

use serde_json::{Map, Value};

use crate::family::Family;
use crate::{AsyncReadAt, BoxFuture, CheckpointError, PredictionType, SafetensorsFile, text};

use super::single_file::{VaeViews, set_prediction, vae_config, vae_views};
use super::{Checkpoint, Component, ComponentWeights};

/// A checkpoint with another VAE, or another prediction than its files say.
pub struct Overridden {
    checkpoint: Box<dyn Checkpoint>,
    vae: Option<Vae>,
    prediction_type: Option<PredictionType>,
    zero_terminal_snr: Option<bool>,
}

struct Vae {
    file: Rc<SafetensorsFile>,
    views: VaeViews,
}

impl Overridden {
    /// The checkpoint as it is.
    #[must_use]
    pub fn new(checkpoint: Box<dyn Checkpoint>) -> Self {
        Self {
            checkpoint,
            vae: None,
            prediction_type: None,
            zero_terminal_snr: None,
        }
    }

    /// With the VAE of a file, in ldm's or diffusers' names, alone or in another checkpoint.
    ///
    /// # Errors
    /// If the file cannot be read, or holds none.
    pub async fn with_vae(mut self, source: Box<dyn AsyncReadAt>) -> Result<Self, CheckpointError> {
        let file = SafetensorsFile::open(source).await?;
        let views = vae_views(&file)?;
        let file = Rc::new(file);
        self.vae = Some(Vae { file, views });
        Ok(self)
    }

    /// With this prediction.
    #[must_use]
    pub const fn predicting(mut self, prediction_type: PredictionType) -> Self {
        self.prediction_type = Some(prediction_type);
        self
    }

    /// With a schedule that ends in pure noise, or with one that does not.
    #[must_use]
    pub const fn with_zero_terminal_snr(mut self, zero_terminal_snr: bool) -> Self {
        self.zero_terminal_snr = Some(zero_terminal_snr);
        self
    }

    /// The scheduler's configuration with what was said instead.
    async fn scheduler(&self) -> Result<String, CheckpointError> {
        let json = self.checkpoint.config(Component::Scheduler).await?;
        if self.prediction_type.is_none() && self.zero_terminal_snr.is_none() {
            return Ok(json);
        }
        let found = Family::of(&*self.checkpoint).await?;
        let mut config: Map<String, Value> =
            serde_json::from_str(&json).map_err(|error| CheckpointError::BadConfig {
                reason: text::printable(&error.to_string(), 200),
                file: self.name(),
            })?;
        let prediction_type = self.prediction_type.unwrap_or(found.prediction_type);
        // Noise cannot be predicted from pure noise: a schedule that ends in it goes with velocity.
        let is_velocity = prediction_type == PredictionType::VPrediction;
        let said = self.zero_terminal_snr;
        let zero_terminal_snr = said.unwrap_or(found.zero_terminal_snr && is_velocity);
        set_prediction(&mut config, prediction_type, zero_terminal_snr);
        Ok(Value::Object(config).to_string())
    }
}

impl Checkpoint for Overridden {
    fn name(&self) -> String {
        self.checkpoint.name()
    }

    fn config(&self, component: Component) -> BoxFuture<'_, Result<String, CheckpointError>> {
        Box::pin(async move {
            match (component, &self.vae) {
                (Component::Scheduler, _) => self.scheduler().await,
                (Component::Vae, Some(vae)) => {
                    let family = Family::of(&*self.checkpoint).await?;
                    vae_config(&vae.views, family.architecture, vae.file.name())
                }
                _ => self.checkpoint.config(component).await,
            }
        })
    }

    fn weights(
        &self,
        component: Component,
    ) -> BoxFuture<'_, Result<ComponentWeights, CheckpointError>> {
        match (component, &self.vae) {
            (Component::Vae, Some(vae)) => {
                Box::pin(async move { Ok(ComponentWeights::of_views(&vae.file, &vae.views)) })
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

    fn notes(&self) -> Vec<String> {
        let mut notes = self.checkpoint.notes();
        if let Some(vae) = &self.vae {
            let file = text::name(vae.file.name());
            notes.push(format!("its VAE is taken from another file: {file}."));
        }
        let prediction = self.prediction_type.map(|it| match it {
            PredictionType::Epsilon => "it predicts noise",
            PredictionType::VPrediction => "it predicts velocity (v-prediction)",
        });
        let end = self.zero_terminal_snr.map(|it| match it {
            true => "its schedule ends in pure noise",
            false => "its schedule does not end in pure noise",
        });
        let said: Vec<&str> = prediction.into_iter().chain(end).collect();
        if !said.is_empty() {
            notes.push(format!("as you say, {}.", said.join(" and ")));
        }
        notes
    }
}
