//! A recipe: the method and all its numbers. It is what a user tunes, what a LoRA's metadata
//! stores, and what `mimeo-train` reads. Same recipe, same pictures, same base, same device: same
//! LoRA, bit for bit.

use serde::{Deserialize, Serialize};

use crate::format::{Format, Kind};
use crate::job::Example;
use crate::number::{
    Accumulation, Alpha, BatchSize, ClipNorm, ClipSkip, Crop, Feather, Gamma, LearningRate,
    Multiplier, Rank, Resolution, ScoreBudget, Share, Steps, Strength, TimestepRange, Warmup,
    Weight, WeightDecay,
};
use crate::said::{Prediction, Said};

mod hold;
mod leak;
mod slider;

pub use hold::HoldRecipe;
pub use leak::LeakRecipe;
pub use slider::SliderRecipe;

/// How a LoRA is made of a pair of pictures, or of two prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Copy machine learning: a copier of the original first, the difference on top of it.
    Copier,
    /// Teacher difference (known as ADDifT): one LoRA, seconds instead of minutes.
    Addift,
    /// Ordinary LoRA on the target alone, for comparison.
    Plain,
    /// The difference of two prompts, without pictures.
    Slider,
}

impl Method {
    /// Every method, in the order in which tables list them.
    pub const ALL: [Self; 4] = [Self::Copier, Self::Addift, Self::Plain, Self::Slider];
    /// Those that learn from pictures.
    pub const OF_PICTURES: [Self; 3] = [Self::Copier, Self::Addift, Self::Plain];

    /// The word that the command line and recipe files use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Copier => "copier",
            Self::Addift => "addift",
            Self::Plain => "plain",
            Self::Slider => "slider",
        }
    }

    /// Whether it learns from pictures; else from prompts alone.
    #[must_use]
    pub const fn takes_pictures(self) -> bool {
        !matches!(self, Self::Slider)
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Which defaults fit a base: its learning rates, batches, size and guidance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelSize {
    /// A few million parameters, such as the bundled base: high learning rates, large batches.
    Small,
    /// Stable Diffusion 1.x, and 2.x where it was trained at 512 px as well. "full" is what was
    /// written while it stood for every base that is not small.
    #[serde(alias = "full")]
    Sd1,
    /// Stable Diffusion 2.x at 768 px.
    Sd2,
    /// Stable Diffusion XL.
    Xl,
}

impl ModelSize {
    /// Every one, in the order of their size.
    pub const ALL: [Self; 4] = [Self::Small, Self::Sd1, Self::Sd2, Self::Xl];

    /// The size to train at: that at which the family was trained. None for small bases, each of
    /// which has its own.
    #[must_use]
    pub const fn resolution(self) -> Option<Resolution> {
        match self {
            Self::Small => None,
            Self::Sd1 => Some(Resolution::constant(512)),
            Self::Sd2 => Some(Resolution::constant(768)),
            Self::Xl => Some(Resolution::constant(1024)),
        }
    }

    /// Classifier-free guidance to draw with: for Stable Diffusion 1.x and 2.x A1111's default (diffusers
    /// takes 7.5), for XL that of diffusers' `StableDiffusionXLPipeline`, for small bases what the
    /// bundled one was tuned with.
    #[must_use]
    pub const fn guidance(self) -> f64 {
        match self {
            Self::Small => 3.0,
            Self::Sd1 | Self::Sd2 => 7.0,
            Self::Xl => 5.0,
        }
    }
}

/// Course of the learning rate over a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LrSchedule {
    /// Half a cosine from the peak down to 0.
    Cosine,
    /// The peak throughout.
    Constant,
}

/// Number format of the weights in the saved file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Half precision: what other programs expect, half the size.
    F16,
    /// Single precision: exactly what was trained.
    F32,
}

/// How a prompt is read: what its brackets mean, what emphasis does, and where a long one is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PromptSyntax {
    /// As A1111 (stable-diffusion-webui) reads it: `(word)`, `(word:1.2)`, `[word]`, `BREAK`, and
    /// weights that keep the mean of what the text encoder says.
    A1111,
    /// As ComfyUI reads it: `(word)`, `(word:1.2)`, and weights that lead away from the empty prompt.
    Comfy,
    /// Every bracket is a letter; what is longer than 75 tokens goes on in the next chunk.
    Plain,
    /// Every bracket is a letter, and what comes after 75 tokens is cut off: what Mimeo did before
    /// there was a choice, and so what a recipe without this field means.
    #[default]
    Cut,
}

impl PromptSyntax {
    /// What is used if nobody says otherwise: the syntax that most published prompts are written in.
    pub const USUAL: Self = Self::A1111;

    /// The word that the command line and recipe files use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::A1111 => "a1111",
            Self::Comfy => "comfy",
            Self::Plain => "plain",
            Self::Cut => "cut",
        }
    }

    /// For messages and recipes without the field, which are newer than it.
    #[must_use]
    pub(crate) const fn usual() -> Self {
        Self::USUAL
    }

    /// So that messages that say nothing new have the bytes that they always had.
    #[must_use]
    pub(crate) fn is_usual(&self) -> bool {
        *self == Self::USUAL
    }

    /// The same for recipes, where saying nothing means something else.
    #[must_use]
    fn is_cut(&self) -> bool {
        *self == Self::Cut
    }
}

/// Of stored recipes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OfRecipe;

impl Kind for OfRecipe {
    const NAME: &'static str = "the recipe";
    const NEWEST: u32 = 1;
}

/// The format of a [`Recipe`].
pub type RecipeFormat = Format<OfRecipe>;

/// One training pass over one LoRA.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pass {
    /// LoRA inner size.
    pub rank: Rank,
    /// LoRA scaling numerator.
    pub alpha: Alpha,
    /// Optimiser updates.
    pub steps: Steps,
    /// Noise and timestep draws per forward pass.
    pub batch_size: BatchSize,
    /// Forward passes per update.
    pub accumulation: Accumulation,
    /// Peak learning rate.
    pub learning_rate: LearningRate,
    /// Course of the learning rate.
    pub schedule: LrSchedule,
    /// Steps of linear warm-up.
    pub warmup: Warmup,
    /// AdamW's weight decay.
    pub weight_decay: WeightDecay,
    /// Largest global gradient norm; none: no clipping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<ClipNorm>,
    /// min-SNR γ; none: every timestep weighs the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_snr_gamma: Option<Gamma>,
    /// Timesteps trained.
    pub timesteps: TimestepRange,
}

/// What a copier draws, and what it leaves to the prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CopierKind {
    /// One picture whatever the prompt.
    #[default]
    Identical,
    /// The picture of the caption that the prompt holds, such as a framing, whatever else it asks for.
    Framing,
    /// Anything in one style.
    Style,
}

impl CopierKind {
    /// Saying nothing is what was said before there was a choice.
    #[must_use]
    pub(crate) fn is_identical(&self) -> bool {
        *self == Self::Identical
    }
}

/// The first pass of [`Method::Copier`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopierRecipe {
    /// What it draws.
    #[serde(default, skip_serializing_if = "CopierKind::is_identical")]
    pub kind: CopierKind,
    /// How strongly it acts below the LoRA that is trained on top of it.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub strength: Strength,
    /// How the copier is trained.
    pub pass: Pass,
    /// The pass ends early once copy fidelity stays above this.
    pub fidelity_goal: Share,
    /// Copy fidelity is measured every so many steps.
    pub check_every: Steps,
}

/// In what the error of a step is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddiftLoss {
    /// In what the model predicts, as the published method does: an error of the same size in the picture then
    /// counts hardly anything where noise is high, which is where shapes are decided.
    #[default]
    Prediction,
    /// In the clean picture that the prediction leads to.
    Picture,
}

impl AddiftLoss {
    /// Whether it is what was done before there was a choice.
    fn is_of_prediction(&self) -> bool {
        *self == Self::Prediction
    }
}

/// What only [`Method::Addift`] needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddiftRecipe {
    /// Multiplier of the LoRA while it is trained; the reverse direction uses its negative. Not 0:
    /// see [`Recipe::check`].
    pub multiplier: Multiplier,
    /// Train the reverse direction in turn, so that negative strength undoes the change.
    pub antisymmetric: bool,
    /// Weight of "do nothing on pure noise".
    pub preservation: Weight,
    /// In what the error is measured.
    #[serde(default, skip_serializing_if = "AddiftLoss::is_of_prediction")]
    pub loss: AddiftLoss,
}

/// Versions of each example that are trained on beside it: its pictures and mask, changed alike. None
/// of it is done unless it is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentRecipe {
    /// Every other version is mirrored.
    pub mirror: bool,
    /// How much of each side is cut off at most; what is left is brought to the whole size again.
    pub crop: Crop,
    /// How far hues are turned at most, either way; 1 is half the circle.
    pub hue: Share,
}

impl AugmentRecipe {
    /// The examples as they are.
    pub const NONE: Self = Self {
        mirror: false,
        crop: Crop::constant(0.0),
        hue: Share::constant(0.0),
    };

    /// Versions of each example, itself included.
    #[must_use]
    pub fn versions(&self) -> usize {
        match (self.crop.get() > 0.0 || self.hue.get() > 0.0, self.mirror) {
            (true, _) => 4,
            (false, true) => 2,
            (false, false) => 1,
        }
    }

    fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

/// For recipes from before there was a choice, and those that say only a part.
impl Default for AugmentRecipe {
    fn default() -> Self {
        Self::NONE
    }
}

/// What the mask does. Each part can be switched off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskRecipe {
    /// Replace the target by the original outside the mask.
    pub composite: bool,
    /// Soft edge of that replacement, in pixels.
    pub feather: Feather,
    /// Loss weight outside the mask (inside it is 1); 1 switches the loss weight off.
    pub unmasked_weight: Share,
    /// Weight of holding the student to the base's own answer outside the mask; 0 switches it off.
    pub prior_weight: Weight,
}

/// The method and all its numbers.
///
/// Unknown fields are refused, here and in all its parts: people write recipes, and a typing error
/// must not train something else. The fields of format 1 are required, which tells a whole recipe
/// from one that says only what is to differ. Every field that comes later has a default, which a
/// stored recipe gets that is older than the field: what was done before there was a choice, or what
/// the presets say. If an older program must not overlook it, [`OfRecipe`] gets another number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The format that it has.
    #[serde(default, skip_serializing_if = "Format::is_first")]
    pub format: RecipeFormat,
    /// How the pair becomes a LoRA.
    pub method: Method,
    /// Seed of every random draw of the run.
    #[serde(deserialize_with = "crate::number::deserialize_seed")]
    pub seed: u64,
    /// Prompt under which both pictures are trained; empty works best on one pair.
    pub prompt: String,
    /// How it is read, and with it every prompt that this LoRA is drawn with while it is trained.
    #[serde(default, skip_serializing_if = "PromptSyntax::is_cut")]
    pub prompt_syntax: PromptSyntax,
    /// A word that stands before each caption, so that prompts can call what was learnt; empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trigger: String,
    /// How often an example is trained under the empty prompt instead of its caption.
    #[serde(default = "no_dropout", skip_serializing_if = "is_no_dropout")]
    pub caption_dropout: Share,
    /// Versions of the examples that are trained on beside them.
    #[serde(default, skip_serializing_if = "AugmentRecipe::is_none")]
    pub augment: AugmentRecipe,
    /// The pair is trained at about as many pixels as a square of this side has, in its own
    /// proportions (kohya's `resolution`). None: its longer side is the base's own, which is what was
    /// done before there was a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
    /// The LoRA that is kept.
    pub pass: Pass,
    /// First pass of [`Method::Copier`]; the other methods ignore it.
    pub copier: CopierRecipe,
    /// Settings of [`Method::Addift`]; the other methods ignore it.
    pub addift: AddiftRecipe,
    /// Settings of [`Method::Slider`]; the other methods ignore it.
    #[serde(default, skip_serializing_if = "SliderRecipe::is_unset")]
    pub slider: SliderRecipe,
    /// Find the timesteps of the LoRA that is kept by asking the base, instead of those of its pass. A
    /// LoRA's own recipe has in its pass what was found.
    #[serde(default, skip_serializing_if = "is_false")]
    pub auto_timesteps: bool,
    /// What is watched while the LoRA is trained that is kept.
    #[serde(default, skip_serializing_if = "LeakRecipe::is_off")]
    pub leak: LeakRecipe,
    /// What keeps it from changing pictures that it is not shown.
    #[serde(default, skip_serializing_if = "HoldRecipe::is_unset")]
    pub hold: HoldRecipe,
    /// What the mask does, when there is one.
    pub mask: MaskRecipe,
    /// What the base predicts; none: what its files say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction_type: Option<Prediction>,
    /// Whether the base's schedule ends in pure noise (arXiv 2305.08891, section 3.1); none: as its
    /// files say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zero_terminal_snr: Option<bool>,
    /// Which layer of the text encoder says the prompt; none: the one that the base's family was
    /// trained with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_skip: Option<ClipSkip>,
    /// Fold the strength that reproduces the change into the weights after training.
    pub calibrate: bool,
    /// Look for that strength on pictures of the held-out prompts, drawn with the base's guidance, as the
    /// LoRA is used; else on what the base draws of the pair's own prompt without any.
    #[serde(default, skip_serializing_if = "is_false")]
    pub calibrate_guided: bool,
    /// What calibration and scores may take of [`Self::training_calls`]; 0 leaves both out. None:
    /// all that they ask for, which is what they took before there was a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_budget: Option<ScoreBudget>,
    /// Prompts of the held-out score, at most [`Self::MAX_HELD_OUT`]; empty: prompts that suit the
    /// base. Part of the recipe, and with it of the file, because scores of other prompts are not to
    /// be compared with these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_out_prompts: Vec<String>,
    /// Number format of the saved file.
    pub precision: Precision,
}

/// A recipe that cannot be trained, though each of its numbers is in range.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum InvalidRecipe {
    /// The LoRA would have no part in the answers that it is to be trained by.
    #[error(
        "Multiplier must be between 0.01 and 8 or between -8 and -0.01 to train with method addift, not {found}. Choose a value in one of these ranges."
    )]
    Multiplier {
        /// The value that was given.
        found: f64,
    },
    /// More pictures than anybody waits for.
    #[error(
        "{found} held-out prompts are too many, {limit} can be drawn. Take some away.",
        limit = Recipe::MAX_HELD_OUT
    )]
    HeldOut {
        /// How many there are.
        found: usize,
    },
    /// Noise cannot be predicted where there is nothing else.
    #[error(
        "a base whose schedule ends in pure noise (zero terminal SNR) cannot predict noise. Choose v_prediction, or leave one of the two to the base."
    )]
    NoiseFromNoise,
    /// Between them is nothing to learn.
    #[error(
        "the original and the target prompt are the same, so there is no difference to learn. Change one of them."
    )]
    SamePrompts,
    /// More pictures than anybody waits for.
    #[error(
        "{found} prompts to keep are too many, {limit} can be. Take some away.",
        limit = SliderRecipe::MAX_KEEP
    )]
    Keep {
        /// How many there are.
        found: usize,
    },
    /// More pictures than are drawn.
    #[error(
        "{found} prompts to hold are too many, {limit} can be. Take some away.",
        limit = HoldRecipe::PICTURES
    )]
    Hold {
        /// How many there are.
        found: usize,
    },
    /// The best is only known where it is measured.
    #[error(
        "to stop at the best trade-off it has to be measured. Say every how many steps (--leak-every), or leave one of the two out."
    )]
    StopUnmeasured,
    /// Where prompts decide, there is no pair to ask the base about.
    #[error("method slider has no pair by which to find its timesteps. Leave one of the two out.")]
    AutoWithoutPair,
    /// What lies below would draw one version, and what is trained upon it learn to make another.
    #[error(
        "a copier draws its pictures as they are, so they cannot be mirrored, cropped or turned in hue. Switch that off, make it a copier of a style, or choose another method."
    )]
    AugmentedCopier,
}

impl InvalidRecipe {
    /// Where in the recipe's JSON it is (RFC 6901).
    #[must_use]
    pub const fn path(&self) -> &'static str {
        match self {
            Self::Multiplier { .. } => "/addift/multiplier",
            Self::HeldOut { .. } => "/held_out_prompts",
            Self::NoiseFromNoise => "/zero_terminal_snr",
            Self::SamePrompts => "/slider/target",
            Self::Keep { .. } => "/slider/keep",
            Self::Hold { .. } => "/hold/prompts",
            Self::StopUnmeasured => "/leak/stop_at_best",
            Self::AutoWithoutPair => "/auto_timesteps",
            Self::AugmentedCopier => "/augment/mirror",
        }
    }
}

/// Examples that a job cannot be trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidExamples {
    /// There are none.
    #[error("there are no pictures to train on. Add at least one pair.")]
    Nothing,
    /// More than anybody waits for.
    #[error(
        "{found} examples are too many, {limit} can be trained on. Take some away.",
        limit = Recipe::MAX_EXAMPLES
    )]
    TooMany {
        /// How many there are.
        found: usize,
    },
    /// The LoRA has no part in the answers that it would be trained by.
    #[error("example {number} has level 0, at which a LoRA does nothing. Choose another level.")]
    AtLevelZero {
        /// Which, counted from 1.
        number: usize,
    },
    /// It would be looked at for nothing.
    #[error(
        "example {number} has weight 0, so it counts for nothing. Take it away, or give it a weight."
    )]
    Weightless {
        /// Which, counted from 1.
        number: usize,
    },
    /// A teacher and its student would see the same.
    #[error(
        "example {number} is one picture, and method addift learns from pairs. Add what it is to become, or choose method copier or plain."
    )]
    Alone {
        /// Which, counted from 1.
        number: usize,
    },
}

const fn no_dropout() -> Share {
    Share::constant(0.0)
}

const fn whole() -> Strength {
    Strength::constant(1.0)
}

fn is_whole(strength: &Strength) -> bool {
    *strength == whole()
}

fn is_no_dropout(share: &Share) -> bool {
    *share == no_dropout()
}

/// So that recipes that do not switch it on have the bytes that they always had.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_false(switch: &bool) -> bool {
    !*switch
}

/// Closer to 0, a LoRA's gradients drown in what keeps AdamW from dividing by 0 (its ε is 1e-8).
const LEAST_MULTIPLIER: f64 = 0.01;

/// Calls of the UNet that one answer with its gradient counts for: the way back through frozen
/// weights takes about twice as long as the way there.
const WITH_GRADIENT: u64 = 3;

/// The prompts of a text: one on each line, without those that are empty or begin with `#`, as in the
/// prompt files of kohya's tools.
#[must_use]
pub fn prompts_in(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    let prompts = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    prompts.map(str::to_owned).collect()
}

impl Recipe {
    /// More held-out prompts are refused.
    pub const MAX_HELD_OUT: usize = 32;
    /// More examples are refused.
    pub const MAX_EXAMPLES: usize = 500;

    /// Whether it can be trained. Asked before a job is taken rather than when a recipe is read:
    /// older versions took and stored what is refused now, and that has to be readable.
    ///
    /// # Errors
    /// [`InvalidRecipe`], of what the method uses.
    pub fn check(&self) -> Result<(), InvalidRecipe> {
        let found = self.addift.multiplier.get();
        if self.method == Method::Addift && found.abs() < LEAST_MULTIPLIER {
            return Err(InvalidRecipe::Multiplier { found });
        }
        let predicts_noise = self.prediction_type == Some(Prediction::Epsilon);
        if predicts_noise && self.zero_terminal_snr == Some(true) {
            return Err(InvalidRecipe::NoiseFromNoise);
        }
        let copies = self.method == Method::Copier && self.copier.kind != CopierKind::Style;
        if copies && !self.augment.is_none() {
            return Err(InvalidRecipe::AugmentedCopier);
        }
        let found = self.held_out_prompts.len();
        if found > Self::MAX_HELD_OUT {
            return Err(InvalidRecipe::HeldOut { found });
        }
        if self.method == Method::Slider {
            self.slider.check()?;
            if self.auto_timesteps {
                return Err(InvalidRecipe::AutoWithoutPair);
            }
        }
        self.hold.check()?;
        self.leak.check()
    }

    /// Whether it can be trained on these examples.
    ///
    /// # Errors
    /// [`InvalidExamples`].
    pub fn check_examples<'a>(
        &self,
        examples: impl IntoIterator<Item = &'a Example>,
    ) -> Result<(), InvalidExamples> {
        let mut found = 0;
        for (example, number) in examples.into_iter().zip(1..) {
            found = number;
            if example.level.get() == 0.0 {
                return Err(InvalidExamples::AtLevelZero { number });
            }
            if example.weight.get() == 0.0 {
                return Err(InvalidExamples::Weightless { number });
            }
            if self.method == Method::Addift && example.is_alone() {
                return Err(InvalidExamples::Alone { number });
            }
        }
        match found {
            0 => Err(InvalidExamples::Nothing),
            found if found > Self::MAX_EXAMPLES => Err(InvalidExamples::TooMany { found }),
            _ => Ok(()),
        }
    }

    /// The prompt that an example is trained under: the trigger word and its caption, or the recipe's
    /// prompt where it has none.
    #[must_use]
    pub fn prompt_of(&self, example: &Example) -> String {
        let caption = match &*example.caption {
            "" => &*self.prompt,
            caption => caption,
        };
        match (&*self.trigger, caption) {
            ("", caption) => caption.to_owned(),
            (trigger, "") => trigger.to_owned(),
            (trigger, caption) => format!("{trigger}, {caption}"),
        }
    }

    /// What it says of the base.
    #[must_use]
    pub const fn said(&self) -> Said {
        Said {
            prediction_type: self.prediction_type,
            zero_terminal_snr: self.zero_terminal_snr,
            clip_skip: self.clip_skip,
        }
    }

    /// What training takes, in calls of the UNet without gradient, of one picture each. A copier
    /// counts whether it is trained or found: the same recipe has to give the same LoRA.
    #[must_use]
    pub fn training_calls(&self) -> u64 {
        let rows = |pass: &Pass| {
            let per_step = u64::from(pass.batch_size.get()) * u64::from(pass.accumulation.get());
            per_step * u64::from(pass.steps.get())
        };
        // Where the student is held to the model's own answer, that is asked for too.
        let held = u64::from(self.mask.prior_weight.get() > 0.0);
        let kept = rows(&self.pass);
        let drawn = match self.method {
            Method::Slider => 0,
            _ => self.hold.training_calls(kept),
        };
        drawn
            + match self.method {
                Method::Plain => kept * (WITH_GRADIENT + held),
                Method::Copier => {
                    kept * (WITH_GRADIENT + held) + rows(&self.copier.pass) * WITH_GRADIENT
                }
                // Each student has its teacher; there is a second pair of them on pure noise.
                Method::Addift => {
                    let pairs = 1 + u64::from(self.addift.preservation.get() > 0.0);
                    kept * pairs * (WITH_GRADIENT + 1)
                }
                Method::Slider => self.slider.training_calls(kept),
            }
    }

    /// What the leak meter may take, in the same calls; none where it is off.
    #[must_use]
    pub fn leak_calls(&self) -> Option<u64> {
        self.leak
            .every
            .map(|_| LeakRecipe::calls(self.training_calls()))
    }

    /// What calibration and scores may take together, in the same calls; none without a limit.
    #[must_use]
    pub fn score_calls(&self) -> Option<u64> {
        let share = self.score_budget?.get();
        Some((self.training_calls() as f64 * share) as u64)
    }

    /// Whether anything is calibrated or measured at all.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.score_budget.is_none_or(|budget| budget.get() > 0.0)
    }

    /// Good settings of a method on a base of this kind: nothing else need be given.
    #[must_use]
    pub fn preset(method: Method, size: ModelSize) -> Self {
        let (copier, pass) = match size {
            ModelSize::Small => (small_copier_pass(), small_pass(method)),
            size => (full_copier_pass(size), full_pass(method, size)),
        };
        Self {
            format: RecipeFormat::default(),
            method,
            seed: 0,
            prompt: String::new(),
            prompt_syntax: PromptSyntax::USUAL,
            trigger: String::new(),
            caption_dropout: no_dropout(),
            augment: AugmentRecipe::NONE,
            resolution: size.resolution(),
            pass,
            copier: CopierRecipe {
                kind: CopierKind::Identical,
                strength: whole(),
                pass: copier,
                // A copier that was stopped at 0.9 spills three times as much as the same one
                // trained to the end of its schedule.
                fidelity_goal: Share::constant(0.95),
                check_every: Steps::constant(50),
            },
            addift: AddiftRecipe {
                // Fitted at a quarter and used at 1: the quarter alone is learnt as a direction that
                // also works on other pictures, the whole change only on this pair.
                multiplier: Multiplier::constant(0.25),
                antisymmetric: true,
                preservation: Weight::constant(0.0),
                // Measured on the bundled base; for others as TrainTrain has it.
                loss: match size {
                    ModelSize::Small => AddiftLoss::Picture,
                    ModelSize::Sd1 | ModelSize::Sd2 | ModelSize::Xl => AddiftLoss::Prediction,
                },
            },
            slider: SliderRecipe::default(),
            auto_timesteps: false,
            leak: LeakRecipe::default(),
            hold: HoldRecipe::default(),
            mask: MaskRecipe {
                composite: true,
                feather: Feather::constant(2.0),
                // The composited pair is the same outside the mask, which holds it there by itself.
                unmasked_weight: Share::constant(1.0),
                prior_weight: Weight::constant(0.0),
            },
            prediction_type: None,
            zero_terminal_snr: None,
            clip_skip: None,
            // Strength 1 of a slider is what its prompts say already.
            calibrate: method != Method::Slider,
            calibrate_guided: method != Method::Slider,
            // The direct difference is trained in so few calls that measuring takes as many.
            score_budget: Some(match method {
                Method::Addift => ScoreBudget::constant(1.0),
                Method::Copier | Method::Plain | Method::Slider => ScoreBudget::constant(0.3),
            }),
            held_out_prompts: Vec::new(),
            precision: Precision::F16,
        }
    }
}

/// Pass 1 on the bundled base, as measured in `shared/base/README.md`.
fn small_copier_pass() -> Pass {
    Pass {
        rank: Rank::constant(16),
        alpha: Alpha::constant(16.0),
        steps: Steps::constant(300),
        batch_size: BatchSize::constant(4),
        accumulation: Accumulation::constant(1),
        learning_rate: LearningRate::constant(4e-3),
        schedule: LrSchedule::Cosine,
        warmup: Warmup::constant(0),
        weight_decay: WeightDecay::constant(0.01),
        clip_norm: Some(ClipNorm::constant(1.0)),
        min_snr_gamma: None,
        timesteps: TimestepRange::ALL,
    }
}

fn small_pass(method: Method) -> Pass {
    match method {
        // Longer than `shared/base/README.md`: large changes (hat, beard) then reach unseen
        // pictures at a lower strength, and with a quarter less change elsewhere.
        Method::Copier => Pass {
            rank: Rank::constant(8),
            alpha: Alpha::constant(8.0),
            steps: Steps::constant(300),
            learning_rate: LearningRate::constant(2e-3),
            ..small_copier_pass()
        },
        Method::Plain => Pass {
            steps: Steps::constant(120),
            ..small_pass(Method::Copier)
        },
        Method::Addift => Pass {
            steps: Steps::constant(120),
            batch_size: BatchSize::constant(1),
            timesteps: TimestepRange::SHAPE,
            ..small_pass(Method::Copier)
        },
        Method::Slider => Pass {
            steps: Steps::constant(200),
            ..small_pass(Method::Copier)
        },
    }
}

/// Both passes as TrainTrain (hako-mikan/sd-webui-traintrain 7b58929) has them in its preset
/// `Difference_Use2ndPass`, which is one for all families. XL takes one noise at a time: each
/// costs four times as much there, and TrainTrain's README says that more make little difference.
fn full_copier_pass(size: ModelSize) -> Pass {
    let batch_size = match size {
        ModelSize::Xl => 1,
        ModelSize::Small | ModelSize::Sd1 | ModelSize::Sd2 => 2,
    };
    Pass {
        rank: Rank::constant(16),
        alpha: Alpha::constant(16.0),
        steps: Steps::constant(500),
        batch_size: BatchSize::constant(batch_size),
        learning_rate: LearningRate::constant(5e-4),
        min_snr_gamma: Some(Gamma::constant(5.0)),
        ..small_copier_pass()
    }
}

/// The direct difference as in its presets `ADDifT_Action_SD1.5` and `ADDifT_Action_XL`, but for the
/// steps: its README asks for 30 to 100 of them, and its presets take 30 with five timesteps, where
/// here every step draws another one. There is none for 2.x, which is as wide as 1.x.
fn full_pass(method: Method, size: ModelSize) -> Pass {
    let copier = full_copier_pass(size);
    match method {
        Method::Copier | Method::Plain => Pass {
            rank: Rank::constant(4),
            alpha: Alpha::constant(4.0),
            learning_rate: LearningRate::constant(1e-4),
            ..copier
        },
        Method::Addift => Pass {
            rank: Rank::constant(4),
            alpha: Alpha::constant(1.0),
            steps: Steps::constant(60),
            batch_size: BatchSize::constant(1),
            learning_rate: match size {
                ModelSize::Xl => LearningRate::constant(2e-4),
                ModelSize::Small | ModelSize::Sd1 | ModelSize::Sd2 => LearningRate::constant(1e-4),
            },
            min_snr_gamma: None,
            timesteps: TimestepRange::SHAPE,
            ..copier
        },
        // As in ai-toolkit's `config/examples/train_slider.example.yml` (27a03a91), but for its
        // min-SNR weight: the target has no noise.
        Method::Slider => Pass {
            rank: Rank::constant(8),
            alpha: Alpha::constant(4.0),
            batch_size: BatchSize::constant(1),
            learning_rate: LearningRate::constant(2e-4),
            min_snr_gamma: None,
            ..copier
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_survives_json() {
        for method in Method::ALL {
            let recipe = Recipe::preset(method, ModelSize::Small);
            let json = serde_json::to_string(&recipe).expect("a recipe is plain data");
            let back: Recipe = serde_json::from_str(&json).expect("what was written can be read");
            assert_eq!(back, recipe, "{method} changed on its way through JSON");
        }
    }

    #[test]
    fn a_recipe_from_before_there_was_a_syntax_means_what_it_meant() {
        let preset = Recipe::preset(Method::Copier, ModelSize::Small);
        let mut old = serde_json::to_value(&preset).expect("a recipe is plain data");
        let fields = old.as_object_mut().expect("a table");
        let said = fields.remove("prompt_syntax");
        assert_eq!(said, Some("a1111".into()), "new recipes say it");
        let read: Recipe = serde_json::from_value(old.clone()).expect("old recipes can be read");
        assert_eq!(read.prompt_syntax, PromptSyntax::Cut, "as it was trained");
        let again = serde_json::to_value(&read).expect("a recipe is plain data");
        assert_eq!(again, old, "and is written as it was");
    }

    #[test]
    fn a_recipe_from_before_there_was_a_budget_is_measured_in_full() {
        let preset = Recipe::preset(Method::Addift, ModelSize::Small);
        let mut old = serde_json::to_value(&preset).expect("a recipe is plain data");
        let said = old.as_object_mut().expect("a table").remove("score_budget");
        assert_eq!(said, Some(1.0.into()), "new recipes say it");
        let read: Recipe = serde_json::from_value(old.clone()).expect("old recipes can be read");
        assert_eq!(read.score_calls(), None, "as it was");
        let again = serde_json::to_value(&read).expect("a recipe is plain data");
        assert_eq!(again, old, "and is written as it was");
    }

    #[test]
    fn a_recipe_that_says_no_resolution_is_written_without_one() {
        let preset = Recipe::preset(Method::Addift, ModelSize::Small);
        let json = serde_json::to_value(&preset).expect("a recipe is plain data");
        assert_eq!(json.get("resolution"), None, "as before there was a choice");
        let mut chosen = json;
        chosen["resolution"] = 768.into();
        let read: Recipe = serde_json::from_value(chosen.clone()).expect("a resolution");
        assert_eq!(read.resolution, Some(Resolution::constant(768)), "as asked");
        let again = serde_json::to_value(&read).expect("a recipe is plain data");
        assert_eq!(again, chosen, "there and back");
    }

    #[test]
    fn what_is_said_of_the_base_is_written_only_if_it_is_said() {
        let preset = Recipe::preset(Method::Addift, ModelSize::Sd1);
        let plain = serde_json::to_value(&preset).expect("a recipe is plain data");
        let of_base = ["prediction_type", "zero_terminal_snr", "clip_skip"];
        for key in of_base {
            assert_eq!(plain.get(key), None, "as before there was {key}");
        }
        assert!(preset.said().is_nothing(), "all as the base says");
        let mut said = plain;
        said["prediction_type"] = "v".into();
        said["zero_terminal_snr"] = true.into();
        said["clip_skip"] = 2.into();
        let read: Recipe = serde_json::from_value(said.clone()).expect("all three");
        assert_eq!(read.prediction_type, Some(Prediction::Velocity), "in short");
        said["prediction_type"] = "v_prediction".into();
        let again = serde_json::to_value(&read).expect("a recipe is plain data");
        assert_eq!(again, said, "in diffusers' word");
        said["clip_skip"] = 13.into();
        let refusal = serde_json::from_value::<Recipe>(said).expect_err("no encoder is so deep");
        let words = "Clip skip must be between 1 and 12, not 13";
        assert!(refusal.to_string().contains(words), "{refusal}");
    }

    #[test]
    fn what_only_sets_need_is_written_only_if_it_is_said() {
        let preset = Recipe::preset(Method::Copier, ModelSize::Small);
        let plain = serde_json::to_value(&preset).expect("a recipe is plain data");
        for path in [
            "/trigger",
            "/caption_dropout",
            "/augment",
            "/copier/kind",
            "/copier/strength",
        ] {
            assert_eq!(plain.pointer(path), None, "as before there was {path}");
        }
        let mut said = plain;
        said["trigger"] = "anna".into();
        said["augment"] = serde_json::json!({ "mirror": true });
        said["copier"]["kind"] = "style".into();
        said["copier"]["strength"] = 0.9.into();
        let read: Recipe = serde_json::from_value(said.clone()).expect("all of it");
        assert_eq!(read.augment.versions(), 2, "it and its mirror image");
        assert_eq!(read.check(), Ok(()), "a style has no place");
        said["augment"] = serde_json::json!({ "mirror": true, "crop": 0.0, "hue": 0.0 });
        let again = serde_json::to_value(&read).expect("a recipe is plain data");
        assert_eq!(again, said, "there and back");
        said["copier"]["kind"] = "framing".into();
        let read: Recipe = serde_json::from_value(said).expect("all of it");
        let refusal = read.check().expect_err("framings have one");
        assert_eq!(refusal, InvalidRecipe::AugmentedCopier);
    }

    #[test]
    fn the_trigger_word_stands_before_the_caption() {
        let [original, target] = [1, 2].map(|byte| crate::BlobId::from_sha256([byte; 32]));
        let mut recipe = Recipe::preset(Method::Plain, ModelSize::Small);
        let mut example = Example::new(original, target);
        assert_eq!(recipe.prompt_of(&example), "", "nothing is said");
        recipe.prompt = "a girl".to_owned();
        assert_eq!(recipe.prompt_of(&example), "a girl", "that of all");
        example.caption = "from side".to_owned();
        assert_eq!(recipe.prompt_of(&example), "from side", "its own");
        recipe.trigger = "anna".to_owned();
        assert_eq!(recipe.prompt_of(&example), "anna, from side", "both");
        example.caption = String::new();
        recipe.prompt = String::new();
        assert_eq!(recipe.prompt_of(&example), "anna", "no comma");
    }

    #[test]
    fn examples_that_teach_nothing_are_refused_by_their_number() {
        let [original, target] = [1, 2].map(|byte| crate::BlobId::from_sha256([byte; 32]));
        let pair = Example::new(original, target);
        let check = |method, second: Example| {
            let recipe = Recipe::preset(method, ModelSize::Small);
            recipe.check_examples(&[pair.clone(), second])
        };
        let alone = Example::new(original, original);
        for method in [Method::Copier, Method::Plain] {
            assert_eq!(check(method, alone.clone()), Ok(()), "{method}");
        }
        let number = 2;
        let refused = check(Method::Addift, alone);
        assert_eq!(refused, Err(InvalidExamples::Alone { number }));
        let level = Example {
            level: crate::Level::constant(0.0),
            ..pair.clone()
        };
        let refused = check(Method::Addift, level);
        assert_eq!(refused, Err(InvalidExamples::AtLevelZero { number }));
        let weight = Example {
            weight: Weight::constant(0.0),
            ..pair.clone()
        };
        let refused = check(Method::Plain, weight);
        assert_eq!(refused, Err(InvalidExamples::Weightless { number }));
        let recipe = Recipe::preset(Method::Plain, ModelSize::Small);
        let nothing: [Example; 0] = [];
        let refused = recipe.check_examples(&nothing);
        assert_eq!(refused, Err(InvalidExamples::Nothing));
        let found = Recipe::MAX_EXAMPLES + 1;
        let refused = recipe.check_examples(&vec![pair; found]);
        assert_eq!(refused, Err(InvalidExamples::TooMany { found }));
    }

    #[test]
    fn noise_is_not_predicted_from_pure_noise() {
        let mut recipe = Recipe::preset(Method::Plain, ModelSize::Sd1);
        recipe.zero_terminal_snr = Some(true);
        assert_eq!(recipe.check(), Ok(()), "the base may predict velocity");
        recipe.prediction_type = Some(Prediction::Epsilon);
        let refusal = recipe.check().expect_err("both said");
        assert_eq!(refusal, InvalidRecipe::NoiseFromNoise);
        assert_eq!(refusal.path(), "/zero_terminal_snr", "where");
        recipe.zero_terminal_snr = Some(false);
        assert_eq!(recipe.check(), Ok(()), "an ordinary schedule");
    }

    #[test]
    fn the_budget_is_a_share_of_what_training_takes() {
        let of = |method| Recipe::preset(method, ModelSize::Small);
        let addift = of(Method::Addift);
        assert_eq!(
            addift.training_calls(),
            120 * (1 + 3),
            "teacher and student"
        );
        assert_eq!(addift.score_calls(), Some(480), "as many again");
        let plain = of(Method::Plain);
        assert_eq!(plain.score_calls(), Some(432), "three tenths of them");
        assert_eq!(of(Method::Plain).training_calls(), 120 * 4 * 3, "students");
        assert_eq!(
            of(Method::Copier).training_calls(),
            2 * 300 * 4 * 3,
            "two passes"
        );
        let mut slider = of(Method::Slider);
        slider.slider.target = "glasses".to_owned();
        let (pool, students) = (16 * 10 * (1 + 1), 200 * 4 * 3);
        assert_eq!(slider.training_calls(), pool + students, "drawn and taught");
        slider.slider.keep = vec!["a hat".to_owned()];
        let (pool, students) = (16 * 10 * (1 + 1 + 2), 200 * 4 * 2 * 3);
        assert_eq!(slider.training_calls(), pool + students, "and kept");
        let mut held = of(Method::Addift);
        held.hold.weight = Weight::constant(1.0);
        let (pool, students) = (16 * 10, 120 * 3);
        assert_eq!(held.training_calls(), 120 * 4 + pool + students, "and held");
        held.hold.prompts = vec!["a hat".to_owned(), String::new()];
        let pool = 8 * 10 * (2 + 1);
        assert_eq!(held.training_calls(), 120 * 4 + pool + students, "guided");
        let mut held = of(Method::Plain);
        held.mask.prior_weight = Weight::constant(1.0);
        assert_eq!(held.training_calls(), 120 * 4 * 4, "and the own answers");
        let off = Recipe {
            score_budget: Some(ScoreBudget::constant(0.0)),
            ..addift
        };
        assert_eq!(
            (off.score_calls(), off.is_measured()),
            (Some(0), false),
            "off"
        );
    }

    #[test]
    fn what_is_new_is_written_only_if_it_is_said() {
        for method in Method::OF_PICTURES {
            let preset = Recipe::preset(method, ModelSize::Small);
            let json = serde_json::to_value(&preset).expect("a recipe is plain data");
            for key in ["slider", "auto_timesteps", "leak"] {
                assert_eq!(json.get(key), None, "as before there was {key}");
            }
        }
        let mut said = Recipe::preset(Method::Slider, ModelSize::Small);
        said.slider.target = "glasses".to_owned();
        said.leak.every = Some(Steps::constant(20));
        let json = serde_json::to_value(&said).expect("a recipe is plain data");
        let (slider, leak) = (&json["slider"], &json["leak"]);
        assert_eq!(*slider, serde_json::json!({"target": "glasses"}), "alone");
        assert_eq!(*leak, serde_json::json!({"every": 20}), "alone");
        let back: Recipe = serde_json::from_value(json).expect("what was written can be read");
        assert_eq!(back, said, "there and back");
    }

    #[test]
    fn a_slider_needs_two_prompts_that_differ() {
        let mut recipe = Recipe::preset(Method::Slider, ModelSize::Small);
        let refusal = recipe.check().expect_err("both are empty");
        assert_eq!(refusal, InvalidRecipe::SamePrompts);
        recipe.slider.target = "glasses".to_owned();
        assert_eq!(recipe.check(), Ok(()), "of the empty prompt");
        assert_eq!(recipe.slider.neutral(), "", "the original");
        recipe.slider.neutral = "a face".to_owned();
        assert_eq!(recipe.slider.neutral(), "a face", "as said");
        recipe.slider.keep = vec!["a hat".to_owned(); SliderRecipe::MAX_KEEP + 1];
        let refusal = recipe.check().expect_err("one too many");
        assert_eq!(refusal.path(), "/slider/keep", "where");
        recipe.method = Method::Plain;
        assert_eq!(recipe.check(), Ok(()), "others have no prompts");
    }

    #[test]
    fn the_best_trade_off_is_only_known_where_it_is_measured() {
        let mut recipe = Recipe::preset(Method::Addift, ModelSize::Small);
        assert_eq!(recipe.leak_calls(), None, "off");
        recipe.leak.stop_at_best = true;
        assert_eq!(recipe.check(), Err(InvalidRecipe::StopUnmeasured));
        recipe.leak.every = Some(Steps::constant(10));
        assert_eq!(recipe.check(), Ok(()), "measured");
        assert_eq!(recipe.leak_calls(), Some(48), "a tenth of 480");
    }

    /// Where the fields are that a recipe must have, below `path`: those without which it is refused.
    fn required(whole: &serde_json::Value, path: &str, found: &mut Vec<String>) {
        let table = whole.pointer(path).and_then(serde_json::Value::as_object);
        for key in table.into_iter().flat_map(serde_json::Map::keys) {
            let mut without = whole.clone();
            let fields = without.pointer_mut(path).and_then(|at| at.as_object_mut());
            fields.expect("a table").remove(key);
            let path = format!("{path}/{key}");
            if serde_json::from_value::<Recipe>(without).is_err() {
                found.push(path.clone());
            }
            required(whole, &path, found);
        }
    }

    /// This list is that of format 1, and never grows: a recipe that was stored before a field
    /// existed is read without it.
    #[test]
    fn every_field_that_format_1_did_not_have_has_a_default() {
        let whole = serde_json::to_value(Recipe::preset(Method::Copier, ModelSize::Sd1));
        let mut found = Vec::new();
        required(&whole.expect("a recipe is plain data"), "", &mut found);
        let pass = [
            "accumulation",
            "alpha",
            "batch_size",
            "learning_rate",
            "rank",
            "schedule",
            "steps",
            "timesteps",
            "warmup",
            "weight_decay",
        ];
        let pass_of = |table: &str| pass.map(|field| format!("{table}/pass/{field}")).to_vec();
        let of = |table: &str, fields: &[&str]| -> Vec<String> {
            let fields = fields.iter();
            fields.map(|field| format!("{table}/{field}")).collect()
        };
        let mask = ["composite", "feather", "prior_weight", "unmasked_weight"];
        let mut expected = [
            of("/addift", &["antisymmetric", "multiplier", "preservation"]),
            of("/copier", &["check_every", "fidelity_goal", "pass"]),
            of("/mask", &mask),
            pass_of("/copier"),
            pass_of(""),
            of("", &["addift", "calibrate", "copier", "mask", "method"]),
            of("", &["pass", "precision", "prompt", "seed"]),
        ]
        .concat();
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "give a new field a default");
    }

    #[test]
    fn every_family_is_trained_at_its_own_size_and_what_was_called_full_is_the_first() {
        let sizes = ModelSize::ALL.map(|size| {
            let recipe = Recipe::preset(Method::Addift, size);
            recipe.resolution.map(Resolution::get)
        });
        assert_eq!(sizes, [None, Some(512), Some(768), Some(1024)], "px");
        for (word, size) in [
            ("small", ModelSize::Small),
            ("full", ModelSize::Sd1),
            ("sd1", ModelSize::Sd1),
            ("sd2", ModelSize::Sd2),
            ("xl", ModelSize::Xl),
        ] {
            let read: ModelSize = serde_json::from_value(word.into()).expect(word);
            assert_eq!(read, size, "{word}");
        }
    }

    #[test]
    fn a_hold_that_is_off_says_nothing_and_knows_how_much_it_can_draw() {
        let mut recipe = Recipe::preset(Method::Copier, ModelSize::Small);
        let json = serde_json::to_value(&recipe).expect("JSON");
        assert_eq!(json.get("hold"), None, "nothing that is new");
        recipe.hold = HoldRecipe {
            weight: Weight::constant(1.0),
            prompts: vec!["a hat".to_owned(); HoldRecipe::PICTURES],
        };
        assert_eq!(recipe.check(), Ok(()), "a picture each");
        recipe.hold.prompts.push("a cat".to_owned());
        let refusal = recipe.check().expect_err("one too many");
        assert_eq!(refusal.path(), "/hold/prompts", "where");
    }

    #[test]
    fn held_out_prompts_are_lines_and_no_more_than_anybody_waits_for() {
        let text = "# people\n a girl \n\n#things\na cat, (red:1.2)";
        assert_eq!(
            prompts_in(text),
            ["a girl", "a cat, (red:1.2)"],
            "of {text:?}"
        );
        let mut recipe = Recipe::preset(Method::Plain, ModelSize::Small);
        let json = serde_json::to_value(&recipe).expect("a recipe is plain data");
        assert_eq!(json.get("held_out_prompts"), None, "nothing that is new");
        recipe.held_out_prompts = vec!["a girl".to_owned(); Recipe::MAX_HELD_OUT];
        assert_eq!(recipe.check(), Ok(()), "just so many");
        recipe.held_out_prompts.push("a cat".to_owned());
        let refusal = recipe.check().expect_err("one too many");
        assert_eq!(refusal.path(), "/held_out_prompts", "where");
        let sentence = refusal.to_string();
        assert!(
            sentence.contains("33 held-out prompts are too many, 32"),
            "{sentence}"
        );
    }

    #[test]
    fn an_unknown_field_is_refused_so_that_typing_errors_are_seen() {
        let recipe = Recipe::preset(Method::Addift, ModelSize::Sd1);
        let mut json = serde_json::to_value(&recipe).expect("a recipe is plain data");
        json["pass"]["stepz"] = 3.into();
        let error = serde_json::from_value::<Recipe>(json).expect_err("stepz is no field");
        assert!(
            error.to_string().contains("stepz"),
            "the sentence names the field: {error}"
        );
    }

    #[test]
    fn a_multiplier_of_zero_is_read_and_cannot_be_trained() {
        let mut recipe = Recipe::preset(Method::Addift, ModelSize::Small);
        assert_eq!(recipe.check(), Ok(()), "the preset");
        for found in [0.0, -0.0, 0.001, -0.009] {
            recipe.addift.multiplier = Multiplier::constant(found);
            let json = serde_json::to_string(&recipe).expect("a recipe is plain data");
            let read: Recipe = serde_json::from_str(&json).expect("it was stored once");
            let refusal = read.check().expect_err("it trains nothing");
            assert_eq!(refusal.path(), "/addift/multiplier", "where");
            assert!(
                refusal
                    .to_string()
                    .starts_with("Multiplier must be between 0.01 and 8"),
                "{refusal}"
            );
        }
        recipe.method = Method::Copier;
        assert_eq!(recipe.check(), Ok(()), "the copier has no multiplier");
    }

    #[test]
    fn a_seed_that_is_none_is_refused_with_what_is_allowed() {
        let recipe = Recipe::preset(Method::Plain, ModelSize::Small);
        let json = serde_json::to_value(&recipe).expect("a recipe is plain data");
        for seed in ["-1", "1.5", "\"7\""] {
            let mut json = json.clone();
            json["seed"] = serde_json::from_str(seed).expect("JSON");
            let error = serde_json::from_value::<Recipe>(json).expect_err("no seed");
            let expected = format!("between 0 and 18446744073709551615, not {seed}");
            assert!(error.to_string().contains(&expected), "{error}");
        }
        let mut json = json;
        json["seed"] = u64::MAX.into();
        let read: Recipe = serde_json::from_value(json).expect("the largest seed");
        assert_eq!(read.seed, u64::MAX, "every digit of it");
    }
}
