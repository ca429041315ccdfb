//! The recipe as a table of fields: of each its name, its meaning, what it may be, and how the command
//! line and the page ask for it. Whatever lets a person change a recipe reads this one table.
//!
//! Values are read and written through the recipe's own JSON, so a field is in range by the same
//! check that guards recipe files, and says the same sentence.

use serde_json::Value;

use crate::number::{
    Accumulation, Alpha, BatchSize, ClipNorm, Feather, Gamma, LearningRate, Multiplier, Range,
    Rank, Share, Steps, TimestepRange, Warmup, Weight, WeightDecay, parse_seed,
};
use crate::recipe::{Method, PromptSyntax, Recipe};

/// How a field is entered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A number of this range.
    Number(Range),
    /// The same, and it can be switched off.
    OptionalNumber(Range),
    /// A whole number with more digits than a [`Range`] holds.
    Seed,
    /// Yes or no.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Free text.
    Text,
}

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
            Self::Value { name, .. } | Self::Off { name, .. } => name,
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
    /// What the mask does.
    Mask,
    /// Everything else.
    Run,
}

impl Group {
    /// In the order of the page.
    pub const ALL: [Self; 5] = [
        Self::Lora,
        Self::Copier,
        Self::Addift,
        Self::Mask,
        Self::Run,
    ];

    /// The heading.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Lora => "The LoRA",
            Self::Copier => "The copier",
            Self::Addift => "Direct difference",
            Self::Mask => "Mask",
            Self::Run => "Run",
        }
    }

    /// The one method with which its fields do anything; none: all.
    #[must_use]
    pub const fn owner(self) -> Option<Method> {
        match self {
            Self::Copier => Some(Method::Copier),
            Self::Addift => Some(Method::Addift),
            Self::Lora | Self::Mask | Self::Run => None,
        }
    }

    /// Whether its fields do anything with this method.
    #[must_use]
    pub fn is_for(self, method: Method) -> bool {
        self.owner().is_none_or(|owner| owner == method)
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

const fn off(name: &'static str, hint: &'static str) -> Option<Flag> {
    Some(Flag::Off { name, hint })
}

use Group::{Addift, Copier, Lora, Mask, Run};
use Kind::{Choice, Number, OptionalNumber, Seed, Switch, Text};

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
    field(Lora, "/pass/clip_norm", OptionalNumber(ClipNorm::RANGE), flag("clip", "NORM|off"), "Gradient clipping", "Largest norm of the gradient"),
    field(Lora, "/pass/min_snr_gamma", OptionalNumber(Gamma::RANGE), flag("min-snr", "GAMMA|off"), "min-SNR gamma", "Evens out the timesteps"),
    field(Lora, "/pass/timesteps/0", Number(TimestepRange::FIRST), flag("timesteps", "FROM-TO"), "First timestep", "0 is the finished picture, 1000 pure noise"),
    field(Lora, "/pass/timesteps/1", Number(TimestepRange::LAST), flag("timesteps", "FROM-TO"), "Last timestep", "High timesteps decide shapes, low ones texture"),
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
    field(Mask, "/mask/composite", Switch, off("no-composite", "Train the whole of B, not only what the mask covers"), "A outside the mask", "B is taken inside the mask only"),
    field(Mask, "/mask/feather", Number(Feather::RANGE), flag("feather", "PIXELS"), "Soft edge", "Width of the transition, px"),
    field(Mask, "/mask/unmasked_weight", Number(Share::RANGE), flag("unmasked-weight", "SHARE"), "Outside weight", "How much the loss minds what is outside the mask"),
    field(Mask, "/mask/prior_weight", Number(Weight::RANGE), flag("prior-weight", "WEIGHT"), "Hold outside", "Weight of “draw outside as the base does”"),
    field(Run, "/seed", Seed, flag("seed", "SEED"), "Seed", "Same seed, same LoRA"),
    field(Run, "/prompt", Text, flag("prompt", "PROMPT"), "Prompt", "Both pictures are trained under it; empty works best on one pair"),
    field(Run, "/prompt_syntax", Choice(&["a1111", "comfy", "plain", "cut"]), flag("prompt-syntax", "SYNTAX"), "Prompt syntax", "Emphasis as A1111 or ComfyUI means it; plain takes brackets as letters, cut also stops after 75 tokens, as old recipes do"),
    field(Run, "/calibrate", Switch, off("no-calibrate", "Leave the strength as it was trained"), "Calibrate strength", "So that 1 means the change you showed"),
    field(Run, "/precision", Choice(&["f16", "f32"]), flag("precision", "PRECISION"), "Number format", "f16 is half the size, and what other programs expect"),
];

impl Field {
    /// The field at a path.
    #[must_use]
    pub fn at(path: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.path == path)
    }

    /// Its value in a recipe; null where it is switched off.
    #[must_use]
    pub fn value(&self, recipe: &Recipe) -> Value {
        let json = serde_json::to_value(recipe).unwrap_or_default();
        let value = json.pointer(self.path).cloned().unwrap_or_default();
        match (self.kind, &value) {
            // The only word that is not written: what recipes meant before there was a choice.
            (Choice(_), Value::Null) => PromptSyntax::default().name().into(),
            _ => value,
        }
    }

    /// The recipe with another value here.
    ///
    /// # Errors
    /// The sentence that says why the value cannot be one.
    pub fn with(&self, recipe: &Recipe, value: Value) -> Result<Recipe, String> {
        let mut json = serde_json::to_value(recipe).unwrap_or_default();
        let (parent, key) = self.path.rsplit_once('/').unwrap_or(("", self.path));
        match json.pointer_mut(parent) {
            Some(Value::Object(fields)) if value.is_null() => {
                fields.remove(key);
            }
            Some(Value::Object(fields)) => {
                fields.insert(key.to_owned(), value);
            }
            Some(Value::Array(items)) => {
                if let Some(item) = key.parse().ok().and_then(|at: usize| items.get_mut(at)) {
                    *item = value;
                }
            }
            _ => {}
        }
        let with: Recipe = serde_json::from_value(json).map_err(|error| error.to_string())?;
        match with.check() {
            // What is wrong elsewhere is said there.
            Err(error) if error.path() == self.path => Err(error.to_string()),
            _ => Ok(with),
        }
    }

    /// The value that a text means. What is no number where one is needed stays a text, which
    /// [`Self::with`] refuses in the recipe's own words.
    #[must_use]
    pub fn parse(&self, text: &str) -> Value {
        let text = text.trim();
        match self.kind {
            OptionalNumber(_) if text.is_empty() => Value::Null,
            Number(_) | OptionalNumber(_) | Seed => {
                // As this page writes them, with a real minus.
                let typed = text.replace('\u{2212}', "-");
                // Whole numbers stay whole: a seed has more digits than a float.
                let whole = || typed.parse::<u64>().ok().map(Value::from);
                let number = || typed.parse().ok().filter(|number: &f64| number.is_finite());
                let value = whole().or_else(|| number().map(Value::from));
                value.unwrap_or_else(|| Value::from(text))
            }
            Switch => Value::Bool(text == "true"),
            Choice(_) | Text => Value::from(text),
        }
    }

    /// The value that a text means where nothing but this field is at hand.
    ///
    /// # Errors
    /// The sentence that says why it cannot be one.
    pub fn check(&self, text: &str) -> Result<Value, String> {
        let number = |range: Range| {
            let value = range.parse(text);
            value.map(Value::from).map_err(|error| error.to_string())
        };
        match self.kind {
            OptionalNumber(_) if text == "off" => Ok(Value::Null),
            OptionalNumber(range) => {
                number(range).map_err(|error| format!("{error} To have none, write off."))
            }
            Number(range) => number(range),
            Seed => parse_seed(text)
                .map(Value::from)
                .map_err(|error| error.to_string()),
            Text => Ok(Value::from(text)),
            Switch | Choice(_) => Ok(self.parse(text)),
        }
    }

    /// A value as it stands in its box.
    #[must_use]
    pub fn text(value: &Value) -> String {
        match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            Value::Number(number) => number_text(number),
            other => other.to_string(),
        }
    }
}

/// "8" for 8.0, and no digits that nobody entered.
fn number_text(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(value) if number.is_f64() => format!("{value}"),
        _ => number.to_string(),
    }
}

/// Fields of a recipe that are not as in `defaults`, of those that its method uses.
#[must_use]
pub fn edited(recipe: &Recipe, defaults: &Recipe) -> Vec<&'static Field> {
    let of = |recipe: &Recipe| serde_json::to_value(recipe).unwrap_or_default();
    let (mine, theirs) = (of(recipe), of(defaults));
    let differs = |field: &&Field| mine.pointer(field.path) != theirs.pointer(field.path);
    FIELDS
        .iter()
        .filter(|field| field.group.is_for(recipe.method))
        .filter(differs)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::ModelSize;

    fn recipe() -> Recipe {
        Recipe::preset(Method::Copier, ModelSize::Small)
    }

    #[test]
    fn every_leaf_of_a_recipe_is_a_field() {
        fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
            match value {
                Value::Object(fields) => fields
                    .iter()
                    .for_each(|(key, value)| leaves(value, &format!("{path}/{key}"), found)),
                Value::Array(items) => items
                    .iter()
                    .enumerate()
                    .for_each(|(at, value)| leaves(value, &format!("{path}/{at}"), found)),
                _ => found.push(path.to_owned()),
            }
        }
        let mut found = Vec::new();
        leaves(&serde_json::to_value(recipe()).unwrap(), "", &mut found);
        // The method has its cards. What shapes the copier's pass beyond these is not worth a
        // box: it can be given in a recipe file.
        let elsewhere = |path: &String| {
            path == "/method"
                || [
                    "schedule",
                    "warmup",
                    "accumulation",
                    "weight_decay",
                    "clip_norm",
                    "timesteps/0",
                    "timesteps/1",
                ]
                .iter()
                .any(|key| *path == format!("/copier/pass/{key}"))
        };
        found.retain(|path| !elsewhere(path) && Field::at(path).is_none());
        assert!(found.is_empty(), "nobody can edit {found:?}");
    }

    #[test]
    fn every_field_reads_writes_and_reads_the_same() {
        for field in FIELDS {
            let value = field.value(&recipe());
            let text = Field::text(&value);
            let parsed = field.parse(&text);
            let written = field.with(&recipe(), parsed);
            assert_eq!(
                written.as_ref(),
                Ok(&recipe()),
                "{} as {text:?}",
                field.path
            );
        }
    }

    #[test]
    fn a_recipe_from_before_prompts_had_a_syntax_shows_the_one_that_it_means() {
        let field = Field::at("/prompt_syntax").unwrap();
        let mut json = serde_json::to_value(recipe()).unwrap();
        json.as_object_mut().unwrap().remove("prompt_syntax");
        let old: Recipe = serde_json::from_value(json).unwrap();
        assert_eq!(field.value(&old), "cut", "in its box");
        assert_eq!(edited(&old, &recipe()), [field], "and as edited");
        let again = field.with(&recipe(), "cut".into());
        assert_eq!(again, Ok(old), "and it can be chosen");
    }

    #[test]
    fn a_value_out_of_range_is_refused_with_the_range() {
        let rank = Field::at("/pass/rank").unwrap();
        let reason = rank.with(&recipe(), 0.into()).unwrap_err();
        assert!(reason.contains("between 1 and 128"), "{reason}");
        let reason = rank.with(&recipe(), rank.parse("eight")).unwrap_err();
        assert!(
            reason.contains("Rank must be a number between 1 and 128"),
            "{reason}"
        );
    }

    #[test]
    fn every_number_refuses_what_people_mistype_with_what_is_allowed() {
        let mut addift = recipe();
        addift.method = Method::Addift;
        for field in FIELDS {
            let (Number(_) | OptionalNumber(_) | Seed) = field.kind else {
                continue;
            };
            for typed in ["0,001", "nan", "inf", "1e30", "-1e30", "ten", "5 %"] {
                let refusal = field.with(&addift, field.parse(typed));
                let Err(refusal) = refusal else {
                    panic!("{} takes {typed}", field.path);
                };
                assert!(
                    refusal.contains(" must be ") && refusal.contains("between"),
                    "{} of {typed}: {refusal}",
                    field.path
                );
            }
        }
        let refused = |path: &str, typed: &str| {
            let field = Field::at(path).unwrap();
            field.with(&addift, field.parse(typed)).unwrap_err()
        };
        for (path, typed, words) in [
            (
                "/addift/multiplier",
                "0",
                "Multiplier must be between 0.01 and 8",
            ),
            ("/seed", "-1", "No number stands for a random seed"),
            ("/pass/steps", "1.5", "Steps must be a whole number"),
            ("/pass/learning_rate", "0,001", "Use a point for decimals"),
            (
                "/pass/timesteps/0",
                "-1",
                "First timestep must be between 0 and 999",
            ),
        ] {
            let refusal = refused(path, typed);
            assert!(refusal.contains(words), "{path}: {refusal}");
        }
    }

    /// Refused in the same words, wherever it is typed.
    #[test]
    fn a_number_is_checked_alone_as_it_is_in_its_recipe() {
        for field in FIELDS {
            let (Number(_) | OptionalNumber(_) | Seed) = field.kind else {
                continue;
            };
            // What stands there is checked, and what a person may mistype.
            let text = Field::text(&field.value(&recipe()));
            let texts = ["1e30", "-1e30", "ten", "0,5", "0.5", &text];
            for text in texts.into_iter().filter(|text| !text.is_empty()) {
                // How what was typed is quoted is left out.
                let words = |error: String| error.split(", not").next().map(str::to_owned);
                let alone = field.check(text).map(|_| ()).map_err(words);
                let within = field.with(&recipe(), field.parse(text));
                let within = within.map(|_| ()).map_err(words);
                assert_eq!(alone, within, "{} of {text}", field.path);
            }
        }
    }

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

    #[test]
    fn a_field_says_nothing_about_what_is_wrong_elsewhere() {
        let mut broken = recipe();
        broken.method = Method::Addift;
        broken.addift.multiplier = Multiplier::constant(0.0);
        let seed = Field::at("/seed").unwrap();
        assert!(seed.with(&broken, 7.into()).is_ok(), "the seed is well");
        let multiplier = Field::at("/addift/multiplier").unwrap();
        let minus = multiplier.with(&broken, multiplier.parse("\u{2212}0.5"));
        assert!(minus.is_ok(), "a real minus: {minus:?}");
    }

    #[test]
    fn an_optional_number_can_be_switched_off_and_on() {
        let clip = Field::at("/pass/clip_norm").unwrap();
        let off = clip.with(&recipe(), clip.parse(" ")).unwrap();
        assert_eq!(off.pass.clip_norm, None, "empty is off");
        let on = clip.with(&off, clip.parse("2")).unwrap();
        assert_eq!(
            on.pass.clip_norm.map(|norm| norm.get()),
            Some(2.0),
            "and on"
        );
    }

    #[test]
    fn only_what_the_method_uses_counts_as_edited() {
        let mut mine = recipe();
        let multiplier = Field::at("/addift/multiplier").unwrap();
        mine = multiplier.with(&mine, 1.into()).unwrap();
        assert!(
            edited(&mine, &recipe()).is_empty(),
            "the copier has no multiplier"
        );
        let seed = Field::at("/seed").unwrap();
        mine = seed.with(&mine, 7.into()).unwrap();
        assert_eq!(
            edited(&mine, &recipe()),
            [seed],
            "the seed is for every method"
        );
    }
}
