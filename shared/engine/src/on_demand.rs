//! Components of a base whose weights are on the device only while they are needed.
//!
//! While a LoRA is trained, text encoders and VAE have nothing to do, and weigh 0.4 GB of Stable
//! Diffusion 1.5 and 1.8 GB of XL in f16. They are read again when a preview or a score asks for them,
//! which takes less time than one step does. The two are never there together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::tensor::Device;
use mimeo_checkpoint::ComponentWeights;
use mimeo_diffusion::{LoadError, WeightFormat, WeightMap};

use crate::error::EngineError;

/// Makes a model of its weights.
type Build<M> = dyn Fn(&mut WeightMap) -> Result<M, LoadError> + Send + Sync;

/// A model that is on the device while somebody needs it.
pub(crate) struct OnDemand<M> {
    weights: ComponentWeights,
    device: Device,
    build: Box<Build<M>>,
    held: Mutex<Option<Arc<M>>>,
}

impl<M> OnDemand<M> {
    /// Puts the model onto the device; answers also the weights that it has no use for.
    ///
    /// # Errors
    /// [`EngineError::Load`] when a weight is missing, damaged or of another shape.
    pub async fn load(
        weights: ComponentWeights,
        device: &Device,
        build: impl Fn(&mut WeightMap) -> Result<M, LoadError> + Send + Sync + 'static,
    ) -> Result<(Self, WeightMap), EngineError> {
        let component = Self {
            weights,
            device: device.clone(),
            build: Box::new(build),
            held: Mutex::default(),
        };
        let (model, unused) = component.read().await?;
        *component.held() = Some(Arc::new(model));
        Ok((component, unused))
    }

    /// The model, which is read again if it was put down.
    ///
    /// # Errors
    /// As [`Self::load`]: its file may be gone by now.
    pub async fn hold(&self) -> Result<Arc<M>, EngineError> {
        let held = self.held().clone();
        if let Some(model) = held {
            return Ok(model);
        }
        let (model, _) = self.read().await?;
        let model = Arc::new(model);
        *self.held() = Some(Arc::clone(&model));
        Ok(model)
    }

    /// Takes the model off the device, once nobody holds it any more.
    pub fn put_down(&self) {
        self.held().take();
    }

    async fn read(&self) -> Result<(M, WeightMap), EngineError> {
        let format = WeightFormat::of_others(&self.device);
        let mut weights = WeightMap::read(&self.weights, &self.device, format).await?;
        Ok(((self.build)(&mut weights)?, weights))
    }

    fn held(&self) -> MutexGuard<'_, Option<Arc<M>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use mimeo_image::Rgb;
    use mimeo_lora::LoraStack;
    use mimeo_protocol::PromptSyntax;

    use super::*;
    use crate::base::read_back;
    use crate::bundled;
    use crate::runtime::block_on;

    #[test]
    fn what_was_put_down_is_off_the_device_and_comes_back_the_same() {
        let base = bundled::base();
        let picture = Rgb::filled(128, 128, [200, 120, 40]);
        let answers = || {
            let syntax = PromptSyntax::A1111;
            let own = LoraStack::none();
            let said = block_on(base.encode_prompt("glasses", syntax, (128, 128), &own));
            let said = said.unwrap().hidden_states;
            let latent = block_on(base.encode_picture(&picture)).unwrap();
            let numbers = [block_on(read_back(said)), block_on(read_back(latent))];
            numbers.map(Result::unwrap)
        };
        let before = answers();
        let vae = Arc::downgrade(&block_on(base.vae.hold()).unwrap());
        let text = &base.text_encoders[0].model;
        let text = Arc::downgrade(&block_on(text.hold()).unwrap());
        base.put_down_encoders();
        assert!(vae.upgrade().is_none(), "nobody has the VAE");
        assert!(text.upgrade().is_none(), "nor the text encoder");
        assert_eq!(answers(), before, "read again");
    }
}
