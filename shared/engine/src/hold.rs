//! Pictures that the base draws before training, which the LoRA is held to ([`mimeo_train::hold`]).

use burn::tensor::{Tensor, TensorData};
use mimeo_protocol::HoldRecipe;
use mimeo_train::NoiseRng;
use mimeo_train::hold::Hold;

use crate::base::read_back;
use crate::control::{Control, Within};
use crate::error::EngineError;
use crate::event::{Event, Phase};
use crate::leak::outside;
use crate::session::Session;
use crate::states::{Said, Walks};

/// Stream of the recipe's seed that the pictures start from.
const STREAM: u64 = 0x68;

impl Session<'_> {
    /// Draws what the LoRA is held to, if its recipe asks for that.
    pub(crate) async fn hold(
        &self,
        control: &mut impl Control,
    ) -> Result<Option<Hold>, EngineError> {
        let (base, recipe) = (self.base, &self.recipe);
        if !recipe.hold.is_on() {
            return Ok(None);
        }
        let Some(outside) = self.outside_all().await? else {
            let text =
                "The mask covers everything, so there is nothing that the LoRA could be held to.";
            control.emit(Event::Note {
                text: text.to_owned(),
            });
            return Ok(None);
        };
        let prompts: Vec<&str> = recipe.hold.prompts().collect();
        let pictures = HoldRecipe::PICTURES / prompts.len();
        let batch = recipe.pass.batch_size.get() as usize;
        let steps = HoldRecipe::DRAWING_STEPS;
        let units = prompts.len() * pictures.div_ceil(batch) * steps;
        control.emit(Event::Phase {
            phase: Phase::Encoding,
            total: Some(units as u32),
        });
        let rest = &mut Within::counted(control);
        let size = self.scene.size();
        let empty = Said::new(base, recipe, "", size).await?;
        let [_, channels, height, width] = self.scene.pair.original.dims();
        let mut rng = NoiseRng::new(recipe.seed, STREAM);
        let mut kept = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            let said = Said::new(base, recipe, prompt, size).await?;
            let noise = rng.normal([pictures, channels, height, width], base.device());
            let walks = Walks {
                noise: &noise,
                steps,
                batch,
                window: recipe.pass.timesteps,
            };
            let states = said.states(base, &empty.conditioning, walks, None, rest);
            kept.push(states.await?);
        }
        Ok(Some(Hold {
            kept,
            outside,
            weight: recipe.hold.weight.get(),
        }))
    }

    /// `o / (C Σ o)` with o what lies outside of every mask of the shown example's size; none where nothing does.
    async fn outside_all(&self) -> Result<Option<Tensor<4>>, EngineError> {
        let like = &self.scene.pair.original;
        let [_, channels, height, width] = like.dims();
        let mut all = vec![1.0_f32; height * width];
        let alike = self.examples.iter().map(|example| &example.pair);
        for pair in alike.filter(|pair| pair.original.dims() == like.dims()) {
            let mask = read_back(pair.mask.clone()).await?;
            for (all, one) in all.iter_mut().zip(outside(&mask, [height, width])) {
                *all = all.min(one);
            }
        }
        let sum: f32 = all.iter().sum();
        if sum == 0.0 {
            return Ok(None);
        }
        let weights =
            Tensor::from_data(TensorData::new(all, [1, 1, height, width]), &like.device());
        Ok(Some(weights / (f64::from(sum) * channels as f64)))
    }
}
