//! The recipe as a table of fields: of each its name, its meaning, what it may be, and how the command
//! line and the page ask for it. Whatever lets a person change a recipe reads this one table.

use crate::number::{
    Accumulation, Alpha, BatchSize, ClipNorm, ClipSkip, Crop, Feather, Gamma, Guidance,
    LearningRate, Multiplier, Range, Rank, Resolution, ScoreBudget, Share, Steps, Strength,
    TimestepRange, Warmup, Weight, WeightDecay,
};
use crate::recipe::Method;

/// How a field is entered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A number of this range.
    Number(Range),
    /// The same, or none.
    OptionalNumber(Range, NoNumber),
    /// A whole number with more digits than a [`Range`] holds.
    Seed,
    /// Yes or no.
    Switch,
    /// Yes or no, or none of both: as the base says.
    SwitchOrBase,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// The same, or none: what the base says.
    ChoiceOrBase(&'static [&'static str]),
    /// Free text.
    Text,
    /// Several of it, one on each line.
    Lines,
}

impl Kind {
    /// The word that stands for no value, where there may be none.
    #[must_use]
    pub const fn none_word(self) -> Option<&'static str> {
        match self {
            Self::OptionalNumber(_, none) => Some(none.word),
            Self::SwitchOrBase | Self::ChoiceOrBase(_) => Some(BASE.word),
            Self::Number(_)
            | Self::Seed
            | Self::Switch
            | Self::Choice(_)
            | Self::Text
            | Self::Lines => None,
        }
    }
}

/// No number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoNumber {
    /// The word that stands for it, where nothing cannot be written.
    pub word: &'static str,
    /// What it means.
    pub means: &'static str,
}

const OFF: NoNumber = NoNumber {
    word: "off",
    means: "none",
};
const FULL: NoNumber = NoNumber {
    word: "full",
    means: "no limit",
};
const NATIVE: NoNumber = NoNumber {
    word: "native",
    means: "the base's own size as the longer side",
};
const BASE: NoNumber = NoNumber {
    word: "base",
    means: "as the base was trained",
};

/// One number of the recipe.
#[derive(Debug, PartialEq)]
pub struct Field {
    /// Where it is in the recipe's JSON (RFC 6901).
    pub path: &'static str,
    /// What people call it.
    pub label: &'static str,
    /// What it does, in one line.
    pub hint: &'static str,
    /// How it is entered.
    pub kind: Kind,
    /// The heading it stands under.
    pub group: Group,
    /// How the command line sets it; none: only a recipe file does.
    pub flag: Option<Flag>,
}

/// An option of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// `--name VALUE`.
    Value {
        /// Without the dashes.
        name: &'static str,
        /// What stands for its value in the help.
        value: &'static str,
    },
    /// Switches the field on.
    On {
        /// Without the dashes.
        name: &'static str,
        /// What that does.
        hint: &'static str,
    },
    /// Switches the field off.
    Off {
        /// Without the dashes.
        name: &'static str,
        /// What that does.
        hint: &'static str,
    },
}

impl Flag {
    /// Without the dashes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Value { name, .. } | Self::On { name, .. } | Self::Off { name, .. } => name,
        }
    }
}

/// Headings of Advanced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// The LoRA that is kept.
    Lora,
    /// The copier, for the copy machine.
    Copier,
    /// The direct difference.
    Addift,
    /// The slider of two prompts.
    Slider,
    /// What the mask does.
    Mask,
    /// Captions, and other versions of the examples.
    Set,
    /// What is said of the base.
    Base,
    /// Everything else.
    Run,
}

impl Group {
    /// In the order of the page.
    pub const ALL: [Self; 8] = [
        Self::Lora,
        Self::Copier,
        Self::Addift,
        Self::Slider,
        Self::Mask,
        Self::Set,
        Self::Base,
        Self::Run,
    ];

    /// The heading.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Lora => "The LoRA",
            Self::Copier => "The copier",
            Self::Addift => "Direct difference",
            Self::Slider => "Two prompts",
            Self::Mask => "Mask",
            Self::Set => "Captions and versions",
            Self::Base => "The base",
            Self::Run => "Run",
        }
    }

    /// The one method with which its fields do anything; none: all.
    #[must_use]
    pub const fn owner(self) -> Option<Method> {
        match self {
            Self::Copier => Some(Method::Copier),
            Self::Addift => Some(Method::Addift),
            Self::Slider => Some(Method::Slider),
            Self::Lora | Self::Mask | Self::Set | Self::Base | Self::Run => None,
        }
    }

    /// Whether its fields do anything with this method.
    #[must_use]
    pub fn is_for(self, method: Method) -> bool {
        let is_of_pictures = matches!(self, Self::Mask | Self::Set);
        self.owner().is_none_or(|owner| owner == method)
            && (method.takes_pictures() || !is_of_pictures)
    }
}

const fn field(
    group: Group,
    path: &'static str,
    kind: Kind,
    flag: Option<Flag>,
    label: &'static str,
    hint: &'static str,
) -> Field {
    Field {
        path,
        label,
        hint,
        kind,
        group,
        flag,
    }
}

const fn flag(name: &'static str, value: &'static str) -> Option<Flag> {
    Some(Flag::Value { name, value })
}

const fn on(name: &'static str, hint: &'static str) -> Option<Flag> {
    Some(Flag::On { name, hint })
}

const fn off(name: &'static str, hint: &'static str) -> Option<Flag> {
    Some(Flag::Off { name, hint })
}

use Group::{Addift, Base, Copier, Lora, Mask, Run, Set, Slider};
use Kind::{Choice, ChoiceOrBase, Lines, Number, OptionalNumber, Seed, Switch, SwitchOrBase, Text};

/// Every field, in the order of the page. Two that one flag sets are the ends of a window.
#[rustfmt::skip]
pub const FIELDS: &[Field] = &[
    field(Lora, "/pass/steps", Number(Steps::RANGE), flag("steps", "STEPS"), "Steps", "Optimiser updates; more is slower"),
    field(Lora, "/pass/rank", Number(Rank::RANGE), flag("rank", "RANK"), "Rank", "Inner size of the LoRA; more makes a larger file"),
    field(Lora, "/pass/alpha", Number(Alpha::RANGE), flag("alpha", "ALPHA"), "Alpha", "Scaling numerator: the effect is alpha ÷ rank"),
    field(Lora, "/pass/learning_rate", Number(LearningRate::RANGE), flag("lr", "LR"), "Learning rate", "Its peak; lower it if the loss explodes"),
    field(Lora, "/pass/schedule", Choice(&["cosine", "constant"]), flag("schedule", "SCHEDULE"), "Schedule", "Course of the learning rate"),
    field(Lora, "/pass/warmup", Number(Warmup::RANGE), flag("warmup", "WARMUP"), "Warm-up steps", "Steps over which the learning rate rises"),
    field(Lora, "/pass/batch_size", Number(BatchSize::RANGE), flag("batch-size", "BATCH_SIZE"), "Batch size", "Noise and timestep draws per forward pass; more takes more memory"),
    field(Lora, "/pass/accumulation", Number(Accumulation::RANGE), flag("accumulation", "ACCUMULATION"), "Accumulation", "Forward passes averaged into one update"),
    field(Lora, "/pass/weight_decay", Number(WeightDecay::RANGE), None, "Weight decay", "Pulls the weights towards 0"),
    field(Lora, "/pass/clip_norm", OptionalNumber(ClipNorm::RANGE, OFF), flag("clip", "NORM|off"), "Gradient clipping", "Largest norm of the gradient"),
    field(Lora, "/pass/min_snr_gamma", OptionalNumber(Gamma::RANGE, OFF), flag("min-snr", "GAMMA|off"), "min-SNR gamma", "Evens out the timesteps"),
    field(Lora, "/pass/timesteps/0", Number(TimestepRange::FIRST), flag("timesteps", "FROM-TO"), "First timestep", "0 is the finished picture, 1000 pure noise"),
    field(Lora, "/pass/timesteps/1", Number(TimestepRange::LAST), flag("timesteps", "FROM-TO"), "Last timestep", "High timesteps decide shapes, low ones texture"),
    field(Lora, "/auto_timesteps", Switch, on("auto-timesteps", "Find the timesteps by asking the base, instead of --timesteps"), "Find timesteps", "Ask the base where it decides about the change, and train there"),
    field(Lora, "/leak/every", OptionalNumber(Steps::RANGE, OFF), flag("leak-every", "STEPS|off"), "Leak meter", "Every so many steps: what the LoRA does to pictures that it is not trained on"),
    field(Lora, "/leak/stop_at_best", Switch, on("stop-at-best", "End the training at the best trade-off that the leak meter finds"), "Stop at the best", "Keep the weights with most of the change and least else, as the leak meter finds them"),
    field(Lora, "/hold/weight", Number(Weight::RANGE), flag("hold", "WEIGHT"), "Hold others", "Weight of “leave pictures that the base draws as they are”, outside the mask; 0 is off"),
    field(Lora, "/hold/prompts", Lines, None, "Held prompts", "What those pictures show, a prompt a line; empty means whatever the base draws by itself"),
    field(Copier, "/copier/kind", Choice(&["identical", "framing", "style"]), flag("copier-kind", "KIND"), "Kind of copier", "identical draws one picture, framing that of the caption, style anything in one style"),
    field(Copier, "/copier/strength", Number(Strength::RANGE), flag("copier-strength", "STRENGTH"), "Copier strength", "How strongly it acts below the LoRA; 0.8 to 1 for a style"),
    field(Copier, "/copier/pass/steps", Number(Steps::RANGE), flag("copier-steps", "STEPS"), "Copier steps", "A copier that copies badly makes the LoRA spill"),
    field(Copier, "/copier/pass/rank", Number(Rank::RANGE), flag("copier-rank", "RANK"), "Copier rank", "It has to hold the whole picture"),
    field(Copier, "/copier/pass/alpha", Number(Alpha::RANGE), None, "Copier alpha", "The effect is alpha ÷ rank"),
    field(Copier, "/copier/pass/learning_rate", Number(LearningRate::RANGE), flag("copier-lr", "LR"), "Copier learning rate", "Lower it if the loss explodes"),
    field(Copier, "/copier/pass/batch_size", Number(BatchSize::RANGE), None, "Copier batch size", "Noises per update"),
    field(Copier, "/copier/fidelity_goal", Number(Share::RANGE), flag("fidelity-goal", "SHARE"), "Good enough at", "Copy fidelity at which the copier is done early"),
    field(Copier, "/copier/check_every", Number(Steps::RANGE), None, "Measured every", "Steps between measurements of copy fidelity"),
    field(Addift, "/addift/multiplier", Number(Multiplier::RANGE), flag("multiplier", "MULTIPLIER"), "Multiplier", "Strength of the LoRA while it is trained"),
    field(Addift, "/addift/antisymmetric", Switch, None, "Both directions", "Negative strength then undoes the change"),
    field(Addift, "/addift/preservation", Number(Weight::RANGE), None, "Preservation", "Weight of “do nothing on pure noise”"),
    field(Addift, "/addift/loss", Choice(&["prediction", "picture"]), flag("addift-loss", "WHERE"), "Error in", "In what the error is measured: what the model predicts, or the clean picture that it leads to"),
    field(Slider, "/slider/original", Text, None, "Original prompt", "What the change leads away from; may be empty"),
    field(Slider, "/slider/target", Text, None, "Target prompt", "What it leads to"),
    field(Slider, "/slider/neutral", Text, None, "Neutral prompt", "Whose pictures are changed while it is trained; empty means the original prompt's"),
    field(Slider, "/slider/keep", Lines, None, "Keep", "Prompts whose pictures stay as they are, one a line"),
    field(Slider, "/slider/guidance", Number(Guidance::RANGE), flag("guidance", "ETA"), "Guidance", "How many times the prompts' difference strength 1 adds; as the guidance that you draw with, it does what the target prompt does"),
    field(Mask, "/mask/composite", Switch, off("no-composite", "Train the whole of B, not only what the mask covers"), "A outside the mask", "B is taken inside the mask only"),
    field(Mask, "/mask/feather", Number(Feather::RANGE), flag("feather", "PIXELS"), "Soft edge", "Width of the transition, px"),
    field(Mask, "/mask/unmasked_weight", Number(Share::RANGE), flag("unmasked-weight", "SHARE"), "Outside weight", "How much the loss minds what is outside the mask"),
    field(Mask, "/mask/prior_weight", Number(Weight::RANGE), flag("prior-weight", "WEIGHT"), "Hold outside", "Weight of “draw outside as the base does”"),
    field(Set, "/trigger", Text, flag("trigger", "WORD"), "Trigger word", "Stands before each caption, so that prompts can call what was learnt"),
    field(Set, "/caption_dropout", Number(Share::RANGE), flag("caption-dropout", "SHARE"), "Caption dropout", "How often an example is trained without its caption"),
    field(Set, "/augment/mirror", Switch, on("mirror", "Train on the mirror image of each example as well"), "Mirror", "The mirror image of each example is trained on as well"),
    field(Set, "/augment/crop", Number(Crop::RANGE), flag("crop", "SHARE"), "Crop", "How much of each side other versions of an example lack at most"),
    field(Set, "/augment/hue", Number(Share::RANGE), flag("hue", "SHARE"), "Hue", "How far the colours of other versions are turned at most; 1 is half the circle"),
    field(Base, "/prediction_type", ChoiceOrBase(&["epsilon", "v_prediction"]), flag("prediction-type", "TYPE"), "Prediction type", "What the base predicts, noise or velocity, where its files do not say it or say it wrongly"),
    field(Base, "/zero_terminal_snr", SwitchOrBase, flag("zero-terminal-snr", "true|false"), "Zero terminal SNR", "Whether the base's schedule ends in pure noise, likewise"),
    field(Base, "/clip_skip", OptionalNumber(ClipSkip::RANGE, BASE), flag("clip-skip", "LAYER"), "Clip skip", "Layer of the text encoder that says the prompt: 1 is the last, 2 the one before, which XL takes by itself"),
    field(Run, "/seed", Seed, flag("seed", "SEED"), "Seed", "Same seed, same LoRA"),
    field(Run, "/prompt", Text, flag("prompt", "PROMPT"), "Prompt", "Both pictures are trained under it; empty works best on one pair"),
    field(Run, "/prompt_syntax", Choice(&["a1111", "comfy", "plain", "cut"]), flag("prompt-syntax", "SYNTAX"), "Prompt syntax", "Emphasis as A1111 or ComfyUI means it; plain takes brackets as letters, cut also stops after 75 tokens, as old recipes do"),
    field(Run, "/resolution", OptionalNumber(Resolution::RANGE, NATIVE), flag("size", "PIXELS|native"), "Resolution", "Side of a square with as many pixels as the pair is trained at; its proportions stay"),
    field(Run, "/calibrate", Switch, off("no-calibrate", "Leave the strength as it was trained"), "Calibrate strength", "So that 1 means the change you showed"),
    field(Run, "/calibrate_guided", Switch, off("calibrate-unguided", "Calibrate on what the base draws of the pair's own prompt, without guidance"), "Calibrate guided", "On pictures of the held-out prompts, drawn as the LoRA is used"),
    field(Run, "/score_budget", OptionalNumber(ScoreBudget::RANGE, FULL), flag("score-budget", "SHARE|full"), "Score budget", "What calibration and scores may take, as a share of training; 0 leaves them out"),
    field(Run, "/held_out_prompts", Lines, None, "Held-out prompts", "What the LoRA is measured on, a prompt a line; empty means prompts that suit the base"),
    field(Run, "/precision", Choice(&["f16", "f32"]), flag("precision", "PRECISION"), "Number format", "f16 is half the size, and what other programs expect"),
];

impl Field {
    /// The field at a path.
    #[must_use]
    pub fn at(path: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.path == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_for_one_field() {
        let mut names: Vec<String> = FIELDS
            .iter()
            .flat_map(|field| {
                let flag = field.flag.map(|flag| format!("--{}", flag.name()));
                flag.into_iter()
                    .chain([field.path.to_owned(), field.label.to_owned()])
            })
            .collect();
        let whole = names.len();
        names.sort();
        names.dedup();
        assert_eq!(whole - names.len(), 1, "but for the window of timesteps");
    }
}
