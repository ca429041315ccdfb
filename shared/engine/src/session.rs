//! A job on its base, with its pictures encoded.

use burn::tensor::{Tensor, TensorData};
use mimeo_checkpoint::LoraFile;
use mimeo_image::{
    Difference, FittedPair, ImageError, LatentMask, Mask, MaskRemedy, MaskView, MaskWarning,
    PairWarning, Rgb, composite,
};
use mimeo_lora::{LoraNetwork, LoraStack};
use mimeo_protocol::{MaskRecipe, Pass, Recipe, Scores, only_example};
use mimeo_train::loss::MaskWeights;
use mimeo_train::{Example, NoiseRng, Pair};

use crate::artifact::{Provenance, describe, file_from_network};
use crate::base::Base;
use crate::error::EngineError;
use crate::event::{Emit, Event, Phase};
use crate::job::{PreparedExample, PreparedJob};

/// Streams of the seed for a pass, so that no part of a job disturbs another's draws.
#[derive(Clone, Copy)]
pub(crate) struct Streams {
    /// Of the LoRA's first values.
    pub weights: u64,
    /// Of noise and timesteps.
    pub noise: u64,
}

impl Streams {
    pub(crate) const COPIER: Self = Self {
        weights: 1,
        noise: 2,
    };
    pub(crate) const LORA: Self = Self {
        weights: 3,
        noise: 4,
    };
}

/// A job on its base, with its pictures encoded.
pub(crate) struct Session<'a> {
    pub base: &'a Base,
    pub job: &'a PreparedJob,
    /// What is trained on, but for a slider.
    pub examples: Vec<Example>,
    /// The example that is measured on and shown.
    pub shown: &'a PreparedExample,
    pub scene: Scene,
}

/// The pictures of an example, ready for measuring.
pub(crate) struct Scene {
    /// A and B at the base's size; B as it is trained, so composited where the recipe says so.
    pub original: Rgb,
    pub target: Rgb,
    pub mask: Mask,
    /// The same as latents.
    pub pair: Pair,
}

impl Scene {
    pub(crate) fn size(&self) -> (u32, u32) {
        (self.original.width(), self.original.height())
    }
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        base: &'a Base,
        job: &'a PreparedJob,
        emit: &mut impl Emit,
    ) -> Result<Self, EngineError> {
        job.recipe.check()?;
        let shown = only_example(&job.examples)?;
        for prompt in &job.held_out_prompts {
            // Not after the training, which would be lost.
            base.check_prompt(prompt, job.recipe.prompt_syntax)?;
        }
        emit.emit(Event::Phase {
            phase: Phase::Encoding,
            total: None,
        });
        let (example, scene) = encode(base, shown, &job.recipe, emit)?;
        Ok(Self {
            base,
            job,
            examples: vec![example],
            shown,
            scene,
        })
    }

    /// Says the prompt as under a copier, below which the LoRA is trained. One of Mimeo's changes nothing
    /// of it; another program's may.
    pub(crate) fn prompt_under(&mut self, copier: &LoraNetwork) -> Result<(), EngineError> {
        let stack = LoraStack::none().with(copier, 1.0);
        if stack.changes_text() {
            let (recipe, size) = (&self.job.recipe, self.scene.size());
            let (prompt, syntax) = (self.shown.prompt(recipe), recipe.prompt_syntax);
            let said = self.base.encode_prompt(prompt, syntax, size, &stack)?;
            for example in &mut self.examples {
                example.pair.conditioning = said.clone();
            }
        }
        Ok(())
    }

    /// A LoRA that changes nothing yet.
    pub(crate) fn fresh_network(&self, pass: &Pass, streams: Streams) -> LoraNetwork {
        let mut rng = NoiseRng::new(self.job.recipe.seed, streams.weights);
        let (rank, alpha) = (pass.rank.get() as usize, pass.alpha.get());
        let device = self.base.device();
        LoraNetwork::new(self.base.unet.targets(), rank, alpha, rng.rng(), device)
    }

    /// The LoRA as a file with its provenance.
    ///
    /// - `pass`: how it was trained, and the steps done
    pub(crate) async fn lora_file(
        &self,
        network: &LoraNetwork,
        pass: (&Pass, u32),
        scores: Option<&Scores>,
    ) -> Result<LoraFile, EngineError> {
        let shows = &self.scene.target;
        self.file(network, &self.job.name, pass, scores, shows)
            .await
    }

    /// The same for the copier, which shows A.
    pub(crate) async fn copier_file(
        &self,
        network: &LoraNetwork,
        steps: u32,
    ) -> Result<LoraFile, EngineError> {
        let name = format!("{}_copy", self.job.name);
        let pass = (&self.job.recipe.copier.pass, steps);
        let shows = &self.scene.original;
        self.file(network, &name, pass, None, shows).await
    }

    async fn file(
        &self,
        network: &LoraNetwork,
        name: &str,
        (pass, steps): (&Pass, u32),
        scores: Option<&Scores>,
        shows: &Rgb,
    ) -> Result<LoraFile, EngineError> {
        let mut file = file_from_network(self.base, network).await?;
        let provenance = Provenance {
            name,
            recipe: &self.job.recipe,
            pass,
            steps,
            size: self.scene.size(),
            scores,
            example: self.shown.named.as_ref(),
            shows,
        };
        describe(&mut file, self.base, &provenance)?;
        Ok(file)
    }
}

fn encode(
    base: &Base,
    example: &PreparedExample,
    recipe: &Recipe,
    emit: &mut impl Emit,
) -> Result<(Example, Scene), EngineError> {
    let FittedPair {
        original,
        target,
        mask,
    } = &example.pictures;
    let difference = Difference::between(original, target)?;
    if let Some(warning) = PairWarning::of(original, target, mask.as_ref())? {
        emit.emit(Event::Note {
            text: warning.to_string(),
        });
    }
    let mask = match mask {
        Some(mask) => {
            let view = MaskView::new(&difference.without_noise(), mask)?;
            if let Some(text) = told_of_mask(&view) {
                emit.emit(Event::Note { text });
            }
            mask.clone()
        }
        None => {
            let mask = difference.suggested_mask();
            let share = mask.coverage() * 100.0;
            let text = format!(
                "No mask was given, so the LoRA learns where the pictures differ: {share:.0} % of them."
            );
            emit.emit(Event::Note { text });
            mask
        }
    };
    let target = match composite_feather(&recipe.mask) {
        Some(feather) => composite(original, target, &mask, feather)?,
        None => target.clone(),
    };
    // Compositing may have removed all that differed.
    Difference::between(original, &target).map_err(|error| match error {
        ImageError::Identical => ImageError::SameInsideMask,
        other => other,
    })?;

    let latent_mask = LatentMask::new(&mask)?;
    let shape = [
        1,
        1,
        latent_mask.height as usize,
        latent_mask.width as usize,
    ];
    // Σ (1 - mask) over the latent.
    let outside = latent_mask
        .weights
        .iter()
        .map(|weight| 1.0 - f64::from(*weight))
        .sum();
    let pair = Pair {
        original: base.encode_picture(original),
        target: base.encode_picture(&target),
        mask: Tensor::from_data(TensorData::new(latent_mask.weights, shape), base.device()),
        conditioning: base.encode_prompt(
            example.prompt(recipe),
            recipe.prompt_syntax,
            (original.width(), original.height()),
            &LoraStack::none(),
        )?,
    };
    let [_, channels, ..] = pair.original.dims();
    let weights = MaskWeights::new(&pair.mask, channels, outside, &recipe.mask);
    let scene = Scene {
        original: original.clone(),
        target,
        mask,
        pair: pair.clone(),
    };
    Ok((Example { pair, weights }, scene))
}

/// What is to be known of a mask before it is trained with; nothing of one that holds the change.
fn told_of_mask(view: &MaskView) -> Option<String> {
    /// Soft edges leave out less.
    const WORTH_TELLING: f64 = 0.05;
    if let Some(warning) = view.warning() {
        return Some(mask_note(&warning));
    }
    let share = view.left_out * 100.0;
    (view.left_out >= WORTH_TELLING)
        .then(|| format!("{share:.0} % of what differs lies outside the mask."))
}

/// What is wrong with a mask, with the option of `mimeo train` that mends it.
pub fn mask_note(warning: &MaskWarning) -> String {
    let option = match warning.remedy() {
        MaskRemedy::Stretch => " (--mask-from stretched)",
        MaskRemedy::Invert => " (--mask-from inverted)",
        MaskRemedy::MaskDifference => " (leave out --mask)",
        MaskRemedy::Grow => "",
    };
    let sentence = warning.to_string();
    format!("{}{option}.", sentence.trim_end_matches('.'))
}

fn composite_feather(recipe: &MaskRecipe) -> Option<u32> {
    recipe
        .composite
        .then(|| recipe.feather.get().round() as u32)
}
