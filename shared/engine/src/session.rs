//! A job on its base, with its pictures encoded.

use std::borrow::Cow;

use burn::tensor::{Tensor, TensorData};
use mimeo_checkpoint::LoraFile;
use mimeo_diffusion::Conditioning;
use mimeo_image::{
    Difference, FittedPair, ImageError, LatentMask, Mask, MaskRemedy, MaskView, MaskWarning,
    PairWarning, Rgb, composite,
};
use mimeo_lora::{LoraNetwork, LoraStack};
use mimeo_protocol::{MaskRecipe, Pass, Recipe, Scores};
use mimeo_train::loss::MaskWeights;
use mimeo_train::{Dataset, Example, NoExample, NoiseRng, Pair};

use crate::artifact::{Provenance, describe, file_from_network};
use crate::augment::versions;
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
    /// The job's, with the timesteps that were found where they are to be.
    pub recipe: Recipe,
    /// What is trained on, but for a slider: each example of the job in all its versions.
    pub examples: Vec<Example>,
    /// Which example of the job each of them is.
    numbers: Vec<usize>,
    /// The example that is shown, and measured on before all others.
    pub scene: Scene,
    /// Those that are measured on as well.
    pub other_scenes: Vec<Scene>,
}

/// The pictures of an example, ready for measuring.
pub(crate) struct Scene {
    /// A and B at the base's size; B as it is trained, so composited where the recipe says so.
    pub original: Rgb,
    pub target: Rgb,
    pub mask: Mask,
    /// The same as latents.
    pub pair: Pair,
    /// That it is trained under.
    pub prompt: String,
    /// The strength at which its change is to come.
    pub level: f64,
    /// Whether it is one picture, which shows no change.
    pub is_alone: bool,
    /// Which example of the job it is.
    number: usize,
}

impl Scene {
    pub(crate) fn size(&self) -> (u32, u32) {
        (self.original.width(), self.original.height())
    }
}

impl<'a> Session<'a> {
    pub(crate) async fn new(
        base: &'a Base,
        job: &'a PreparedJob,
        emit: &mut impl Emit,
    ) -> Result<Self, EngineError> {
        job.recipe.check()?;
        let said: Vec<_> = job.examples.iter().map(PreparedExample::example).collect();
        job.recipe.check_examples(said.iter().map(|said| &**said))?;
        for prompt in &job.held_out_prompts {
            // Not after the training, which would be lost.
            base.check_prompt(prompt, job.recipe.prompt_syntax)?;
        }
        let count = job.examples.len();
        let is_set = count > 1;
        emit.emit(Event::Phase {
            phase: Phase::Encoding,
            total: is_set.then_some(count as u32),
        });
        let measured = measured(&said);
        let (mut examples, mut numbers) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut scenes: Vec<Option<Scene>> = measured.iter().map(|_| None).collect();
        for (index, prepared) in job.examples.iter().enumerate() {
            let number = index + 1;
            let mut emit = |event: Event| emit.emit(if is_set { of(number, event) } else { event });
            let encoded = encode(base, (index, prepared), &job.recipe, &mut emit);
            let (versions, scene) = encoded.await.map_err(|error| match error {
                EngineError::Image(error) if is_set => EngineError::InExample { number, error },
                other => other,
            })?;
            numbers.extend(versions.iter().map(|_| index));
            examples.extend(versions);
            if let Some(place) = measured.iter().position(|measured| *measured == index) {
                scenes[place] = Some(scene);
            }
            if is_set {
                let done = number as u32;
                emit(Event::Progress { done });
            }
        }
        let mut scenes = scenes.into_iter().flatten();
        let scene = scenes.next().ok_or(NoExample)?;
        Ok(Self {
            base,
            job,
            recipe: job.recipe.clone(),
            examples,
            numbers,
            scene,
            other_scenes: scenes.collect(),
        })
    }

    /// What is said of an example's prompt where the LoRA is trained.
    pub(crate) fn conditioning<'b>(&'b self, scene: &'b Scene) -> &'b Conditioning {
        let place = self
            .numbers
            .iter()
            .position(|number| *number == scene.number);
        // Every example is there.
        place.map_or(&scene.pair.conditioning, |place| {
            &self.examples[place].pair.conditioning
        })
    }

    /// What is trained on, and in which order.
    pub(crate) fn dataset(&self) -> Result<Dataset<'_>, EngineError> {
        let recipe = &self.recipe;
        let dropout = recipe.caption_dropout.get();
        Ok(Dataset::new(&self.examples, recipe.seed, dropout)?)
    }

    /// Says the prompts as under a copier, below which the LoRA is trained. One of Mimeo's changes nothing
    /// of them; another program's may.
    pub(crate) async fn prompt_under(&mut self, copier: &LoraNetwork) -> Result<(), EngineError> {
        let recipe = &self.recipe;
        let stack = LoraStack::none().with(copier, recipe.copier.strength.get());
        if stack.changes_text() {
            for (number, example) in self.numbers.iter().zip(&mut self.examples) {
                let prepared = &self.job.examples[*number];
                let original = &prepared.pictures.original;
                let size = (original.width(), original.height());
                let said = say(self.base, prepared, recipe, size, &stack);
                (example.pair.conditioning, example.uncaptioned) = said.await?;
            }
        }
        Ok(())
    }

    /// A LoRA that changes nothing yet.
    pub(crate) fn fresh_network(&self, pass: &Pass, streams: Streams) -> LoraNetwork {
        let mut rng = NoiseRng::new(self.recipe.seed, streams.weights);
        let (rank, alpha) = (pass.rank.get() as usize, pass.alpha.get());
        let device = self.base.device();
        LoraNetwork::new(self.base.unet.targets(), rank, alpha, rng.rng(), device)
    }

    /// The examples, if the LoRA is to say what it was trained on.
    fn named(&self) -> Vec<&mimeo_protocol::Example> {
        let examples = self.job.examples.iter();
        let named: Option<Vec<_>> = examples.map(|example| example.named.as_ref()).collect();
        named.unwrap_or_default()
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
        let pass = (&self.recipe.copier.pass, steps);
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
            recipe: &self.recipe,
            pass,
            steps,
            size: self.scene.size(),
            scores,
            examples: &self.named(),
            shows,
        };
        describe(&mut file, self.base, &provenance)?;
        Ok(file)
    }
}

/// Examples that are measured on beside the one that is shown.
const MAX_OTHERS: usize = 3;

/// Which examples are measured on, the one that is shown first: the first of those whose level is
/// that of the user's dial, or nearest to it. The others are spread over the levels, and among equal
/// ones over the set. Pictures alone are as those of equal levels.
fn measured(examples: &[Cow<'_, mimeo_protocol::Example>]) -> Vec<usize> {
    let level = |index: &usize| examples[*index].level.get();
    let pairs = (0..examples.len()).filter(|index| !examples[*index].is_alone());
    let mut pairs: Vec<usize> = pairs.collect();
    let away = |index: &usize| (level(index) - 1.0).abs();
    let nearest = |a: &usize, b: &usize| away(a).total_cmp(&away(b));
    // Of equal ones the first.
    let shown = pairs.iter().copied().min_by(nearest).unwrap_or(0);
    if pairs.is_empty() {
        pairs = (0..examples.len()).collect();
    } else {
        pairs.sort_by(|a, b| level(a).total_cmp(&level(b)));
    }
    pairs.retain(|index| *index != shown);
    let count = pairs.len().min(MAX_OTHERS);
    let last = pairs.len().saturating_sub(1);
    let others = (0..count).map(|other| pairs[other * last / count.saturating_sub(1).max(1)]);
    std::iter::once(shown).chain(others).collect()
}

/// An event that tells of one example among several.
fn of(number: usize, event: Event) -> Event {
    match event {
        Event::Note { text } => Event::Note {
            text: format!("Example {number}: {text}"),
        },
        other => other,
    }
}

/// The prompt of an example, and what stands in for it where its caption is dropped.
async fn say(
    base: &Base,
    example: &PreparedExample,
    recipe: &Recipe,
    size: (u32, u32),
    stack: &LoraStack<'_>,
) -> Result<(Conditioning, Option<Conditioning>), EngineError> {
    let (syntax, prompt) = (recipe.prompt_syntax, example.prompt(recipe));
    let said = base.encode_prompt(&prompt, syntax, size, stack).await?;
    let uncaptioned = match recipe.caption_dropout.get() > 0.0 {
        true => Some(base.encode_prompt("", syntax, size, stack).await?),
        false => None,
    };
    Ok((said, uncaptioned))
}

/// An example in all its versions, itself first.
async fn encode(
    base: &Base,
    (index, example): (usize, &PreparedExample),
    recipe: &Recipe,
    emit: &mut impl Emit,
) -> Result<(Vec<Example>, Scene), EngineError> {
    let said = example.example();
    let FittedPair {
        original, target, ..
    } = &example.pictures;
    let (target, mask) = if said.is_alone() {
        let everywhere = || Mask::full(original.width(), original.height());
        let mask = example.pictures.mask.clone();
        let mask = mask.filter(|mask| !mask.is_empty());
        (target.clone(), mask.unwrap_or_else(everywhere))
    } else {
        meant(&example.pictures, recipe, emit)?
    };

    let size = (original.width(), original.height());
    let own = LoraStack::none();
    let (conditioning, uncaptioned) = say(base, example, recipe, size, &own).await?;
    let mut encoded = Vec::new();
    for version in versions(&recipe.augment, index) {
        let mask = version.mask(&mask)?;
        let latent_mask = LatentMask::new(&mask)?;
        // What was to be learnt was cut off.
        if !encoded.is_empty() && latent_mask.weights.iter().all(|weight| *weight == 0.0) {
            continue;
        }
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
            original: base.encode_picture(&version.picture(original)?).await?,
            target: base.encode_picture(&version.picture(&target)?).await?,
            mask: Tensor::from_data(TensorData::new(latent_mask.weights, shape), base.device()),
            conditioning: conditioning.clone(),
        };
        let [_, channels, ..] = pair.original.dims();
        let weights = MaskWeights::new(&pair.mask, channels, outside, &recipe.mask);
        encoded.push(Example {
            pair,
            weights: weights.weighing(said.weight.get()),
            level: said.level.get(),
            uncaptioned: uncaptioned.clone(),
        });
    }
    let own = encoded.first().ok_or(NoExample)?;
    let scene = Scene {
        original: original.clone(),
        target,
        mask,
        pair: own.pair.clone(),
        prompt: example.prompt(recipe),
        level: said.level.get(),
        is_alone: said.is_alone(),
        number: index,
    };
    Ok((encoded, scene))
}

/// B as it is trained, and where; tells what is to be known of them.
fn meant(
    pictures: &FittedPair,
    recipe: &Recipe,
    emit: &mut impl Emit,
) -> Result<(Rgb, Mask), EngineError> {
    let FittedPair {
        original,
        target,
        mask,
    } = pictures;
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
    Ok((target, mask))
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
