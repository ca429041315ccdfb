//! A loaded base as its user says that it is: its schedule and the layer that says a prompt are swapped,
//! its weights stay where they are.

use std::sync::Arc;

use mimeo_checkpoint::config::fields;
use mimeo_checkpoint::{Checkpoint, Family, PredictionType, SchedulerConfig, VaeConfig, VaeFile};
use mimeo_diffusion::{NoiseSchedule, OutputLayer};
use mimeo_protocol::{ClipSkip, InvalidRecipe, Prediction, Said};

use crate::base::{Base, check_widths, load_vae, read_config};
use crate::error::EngineError;
use crate::event::{Emit, Event};
use crate::memory::BaseShape;

/// How much of guidance's contrast is taken back by a base whose schedule ends in pure noise: what arXiv
/// 2305.08891 found best, and what ComfyUI's `RescaleCFG` and diffusers' documentation propose. Both
/// leave it to their users, who know such a base by its name; Mimeo knows it by its files. Without it
/// guidance overexposes what such a base draws (there section 3.4).
const RESCALE: f64 = 0.7;

/// A base as its files tell it.
#[derive(Debug, Clone)]
pub(crate) struct AsItIs {
    pub scheduler: SchedulerConfig,
    pub family: Family,
    /// Whose hidden states the UNet was trained with.
    pub output: OutputLayer,
}

impl Base {
    /// The same base as its user says that it is; what is not said is as its files say, whatever was said
    /// before. The weights are shared.
    ///
    /// # Errors
    /// [`EngineError::ClipSkip`] where it has no such layer; [`EngineError::Recipe`] where noise is to be
    /// predicted from pure noise.
    pub fn as_said(&self, said: &Said, emit: &mut impl Emit) -> Result<Self, EngineError> {
        let own = &self.as_it_is;
        let prediction_type = said.prediction_type.map(prediction_type);
        let scheduler = own
            .scheduler
            .as_said(prediction_type, said.zero_terminal_snr);
        let zero_terminal_snr = scheduler.has_zero_terminal_snr();
        if zero_terminal_snr && scheduler.prediction_type == PredictionType::Epsilon {
            return Err(InvalidRecipe::NoiseFromNoise.into());
        }
        let output = match said.clip_skip {
            Some(skip) => skipped(own.output, skip, self.text_layers())?,
            None => own.output,
        };
        if let Some(text) = note(said) {
            emit.emit(Event::Note { text });
        }
        let family = Family {
            prediction_type: scheduler.prediction_type,
            zero_terminal_snr,
            ..own.family
        };
        let is_other = family.prediction_type != own.family.prediction_type;
        let ends_otherwise = zero_terminal_snr != own.family.zero_terminal_snr;
        let mut base = self.clone();
        base.schedule = NoiseSchedule::new(&scheduler);
        (base.output, base.family) = (output, family);
        base.said = Said {
            prediction_type: said.prediction_type.filter(|_| is_other),
            zero_terminal_snr: ends_otherwise.then_some(zero_terminal_snr),
            clip_skip: said.clip_skip.filter(|_| output != own.output),
        };
        Ok(base)
    }

    /// The same base with the VAE of the checkpoint, which is that of this base with another one.
    ///
    /// # Errors
    /// [`EngineError`] when it is missing, damaged or does not fit.
    pub async fn with_vae_of(
        &self,
        checkpoint: &dyn Checkpoint,
        emit: &mut impl Emit,
    ) -> Result<Self, EngineError> {
        let json = read_config(checkpoint, fields::VAE, emit).await?;
        let vae_config = VaeConfig::from_json(&json)?;
        check_widths(&[self.vae_width(&vae_config)], checkpoint)?;
        let vae = load_vae(&vae_config, checkpoint, self.device(), emit).await?;
        let mut base = self.clone();
        base.vae = Arc::new(vae);
        (base.vae_config, base.vae_file) = (vae_config, checkpoint.vae_file().await?);
        base.shape = Arc::new(BaseShape::read(checkpoint).await?);
        Ok(base)
    }

    /// What is said of it and is not so by itself.
    #[must_use]
    pub const fn said(&self) -> &Said {
        &self.said
    }

    /// The file that its VAE was taken from; none: its own.
    #[must_use]
    pub const fn vae_file(&self) -> Option<&VaeFile> {
        self.vae_file.as_ref()
    }

    /// How much of the contrast that guidance adds is taken back where nobody says it.
    #[must_use]
    pub fn guidance_rescale(&self) -> f64 {
        match self.family.zero_terminal_snr {
            true => RESCALE,
            false => 0.0,
        }
    }
}

/// The layer that clip skip asks for. Whether the norm behind the last layer is applied is the family's:
/// A1111, ComfyUI and diffusers agree that it is in Stable Diffusion 1 and 2, and not in XL.
///
/// - `layers`: of the text encoder; of two, of the one that has fewer
///
/// # Errors
/// [`EngineError::ClipSkip`] where there is no such layer.
pub(crate) fn skipped(
    own: OutputLayer,
    skip: ClipSkip,
    layers: usize,
) -> Result<OutputLayer, EngineError> {
    let found = skip.get();
    let skipped = found as usize - 1;
    if skipped >= layers {
        return Err(EngineError::ClipSkip { found, layers });
    }
    Ok(OutputLayer { skipped, ..own })
}

const fn prediction_type(said: Prediction) -> PredictionType {
    match said {
        Prediction::Epsilon => PredictionType::Epsilon,
        Prediction::Velocity => PredictionType::VPrediction,
    }
}

/// What its user is told of what was said.
fn note(said: &Said) -> Option<String> {
    let prediction = said.prediction_type.map(|it| match it {
        Prediction::Epsilon => "it predicts noise".to_owned(),
        Prediction::Velocity => "it predicts velocity (v-prediction)".to_owned(),
    });
    let end = said.zero_terminal_snr.map(|it| match it {
        true => "its schedule ends in pure noise".to_owned(),
        false => "its schedule does not end in pure noise".to_owned(),
    });
    let layer = said.clip_skip.map(|skip| match skip.get() {
        1 => "the last layer of its text encoder says the prompt".to_owned(),
        skip => format!("layer {skip} from the end of its text encoder says the prompt"),
    });
    let said: Vec<String> = [prediction, end, layer].into_iter().flatten().collect();
    (!said.is_empty()).then(|| format!("as you say, {}.", said.join(" and ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundled;

    fn said(prediction_type: Option<Prediction>, zero_terminal_snr: Option<bool>) -> Said {
        Said {
            prediction_type,
            zero_terminal_snr,
            clip_skip: None,
        }
    }

    #[test]
    fn a_base_is_what_is_said_of_it_and_its_weights_stay_where_they_are() {
        let base = bundled::base();
        let mut notes = Vec::new();
        let mut as_said = |said: &Said| {
            base.as_said(said, &mut |event| {
                if let Event::Note { text } = event {
                    notes.push(text);
                }
            })
        };
        let pure = said(Some(Prediction::Velocity), Some(true));
        let other = as_said(&pure).expect("a base");
        assert!(Arc::ptr_eq(&other.unet, &base.unet), "nothing is loaded");
        assert_eq!(
            other.schedule.prediction_type(),
            PredictionType::VPrediction,
            "as it was said"
        );
        assert_eq!(other.schedule.alpha_cumprod(999), 0.0, "pure noise");
        assert_eq!(*other.said(), pure, "both are not so by themselves");
        assert_eq!(
            (base.guidance_rescale(), other.guidance_rescale()),
            (0.0, 0.7)
        );
        let again = other
            .as_said(&Said::default(), &mut |_| ())
            .expect("a base");
        assert_eq!(again.family, base.family, "what is said last counts");
        assert!(again.said().is_nothing(), "and nothing before");
        let true_anyway = as_said(&said(Some(Prediction::Epsilon), Some(false)));
        let true_anyway = true_anyway.expect("a base");
        assert!(true_anyway.said().is_nothing(), "it is so by itself");
        let refused = as_said(&said(None, Some(true))).map(|_| ());
        assert!(
            matches!(
                refused,
                Err(EngineError::Recipe(InvalidRecipe::NoiseFromNoise))
            ),
            "{refused:?}"
        );
        assert_eq!(
            notes[0],
            "as you say, it predicts velocity (v-prediction) and its schedule ends in pure noise.",
            "its user is told"
        );
    }

    #[test]
    fn clip_skip_counts_from_the_end_and_keeps_the_norm_of_the_family() {
        let skip = ClipSkip::constant;
        for (own, layer, skipped_layers) in [
            (OutputLayer::LAST, 1, 0),
            (OutputLayer::LAST, 2, 1),
            (OutputLayer::PENULTIMATE, 2, 1),
            (OutputLayer::PENULTIMATE, 1, 0),
            (OutputLayer::PENULTIMATE, 12, 11),
        ] {
            let found = skipped(own, skip(layer), 12).expect("a layer");
            assert_eq!(found.skipped, skipped_layers, "{layer} of {own:?}");
            assert_eq!(found.norm, own.norm, "{layer} of {own:?}");
        }
        let refused = skipped(OutputLayer::LAST, skip(3), 2).expect_err("two layers");
        assert_eq!(
            refused.to_string(),
            "clip skip 3 leaves nothing of this base's text encoder, which has 2 layers. Choose a number from 1 to 2."
        );
    }
}
