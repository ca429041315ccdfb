//! The recipe on the command line: the method, and a flag for every field of the table that has one.

use std::marker::PhantomData;
use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use mimeo_protocol::fields::{FIELDS, Field, Flag, Group, Kind, NoNumber};
use mimeo_protocol::{
    Alpha, Method, ModelSize, OutOfRange, Pass, PromptSyntax, Range, Rank, Recipe, Said,
    SliderRecipe, TimestepRange, parse_seed,
};
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::exit::BadInput;
use crate::output::Input;
use crate::recipe::{RecipeFile, with_value};

mod copier;

pub use copier::CopierFlags;

/// The file that a recipe starts from.
#[derive(Debug, Args)]
pub struct RecipeFileArg {
    /// A recipe to start from: TOML or JSON with what is to differ from the preset, or a LoRA that
    /// Mimeo trained
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
}

impl RecipeFileArg {
    /// The recipe file, if one is read.
    pub fn input(&self) -> Option<Input<'_>> {
        self.recipe.as_deref().map(|recipe| ("--recipe", recipe))
    }

    /// Reads the recipe file, if one is named.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub async fn read(&self) -> anyhow::Result<Option<RecipeFile>> {
        Ok(match &self.recipe {
            Some(path) => Some(RecipeFile::read(path).await?),
            None => None,
        })
    }
}

/// Everything that changes the recipe. What is not given comes from the recipe file, then from the
/// preset for the method and the base.
#[derive(Debug, Args)]
#[command(next_help_heading = "Recipe")]
pub struct RecipeFlags {
    #[command(flatten)]
    pub file: RecipeFileArg,
    /// How the pair becomes a LoRA [default: copier]
    #[arg(long, value_parser = words::<Method>(&["copier", "addift", "plain"]))]
    method: Option<Method>,
    #[command(flatten)]
    fields: Given<OfTraining>,
}

/// One flag sets both ends, and is that of the first.
const WINDOW: &str = "/pass/timesteps/0";
const WINDOW_END: &str = "/pass/timesteps/1";
/// Of any copier, also one that was trained before.
const STRENGTH: &str = "/copier/strength";
/// Likewise: a LoRA of another program does not say it.
const KIND: &str = "/copier/kind";

impl RecipeFlags {
    /// The method: that of the flag, else that of the file.
    pub fn method(&self, file: Option<&RecipeFile>) -> Method {
        let asked = self.method.or_else(|| file.and_then(RecipeFile::method));
        asked.unwrap_or(Method::Copier)
    }

    /// The recipe: preset, file, flags.
    ///
    /// # Errors
    /// When the file asks for something that does not exist, a flag does nothing with the rest of the
    /// recipe, or the recipe cannot be trained.
    pub fn build(&self, file: Option<&RecipeFile>, size: ModelSize) -> Result<Recipe, BadInput> {
        let method = self.method(file);
        if !method.takes_pictures() {
            let why = format!("method {method} takes no pictures. Train it with mimeo slider.");
            return Err(BadInput(why));
        }
        self.build_with(method, file, size, |_| ())
    }

    /// The recipe of a slider of two prompts: preset, file, flags, and what `prompts` puts into it.
    ///
    /// # Errors
    /// As [`Self::build`], and when a method is named.
    pub fn build_slider(
        &self,
        file: Option<&RecipeFile>,
        size: ModelSize,
        prompts: impl FnOnce(&mut SliderRecipe),
    ) -> Result<Recipe, BadInput> {
        if let Some(method) = self.method {
            let why = format!("method {method} learns from pictures. Train it with mimeo train.");
            return Err(BadInput(why));
        }
        self.build_with(Method::Slider, file, size, prompts)
    }

    fn build_with(
        &self,
        method: Method,
        file: Option<&RecipeFile>,
        size: ModelSize,
        prompts: impl FnOnce(&mut SliderRecipe),
    ) -> Result<Recipe, BadInput> {
        let mut recipe = unflagged(method, file, size)?;
        prompts(&mut recipe.slider);
        let recipe = self.fields.over(recipe)?;
        self.fields.check_idle(&recipe)?;
        self.fields.checked(recipe, file)
    }

    /// A flag that says how a copier is trained, if one is given.
    pub fn copier_training_flag(&self) -> Option<String> {
        let mut given = self.fields.given.iter().map(|(field, _)| *field);
        let field = given
            .find(|field| field.group == Group::Copier && !matches!(field.path, STRENGTH | KIND));
        field.and_then(flag_of)
    }
}

/// What a file asks for, without flags: the preset where there is none.
fn unflagged(
    method: Method,
    file: Option<&RecipeFile>,
    size: ModelSize,
) -> Result<Recipe, BadInput> {
    let recipe = match file {
        Some(file) => file.over(method, size)?,
        None => Recipe::preset(method, size),
    };
    Ok(Recipe { method, ..recipe })
}

/// Which fields of the table a command has flags for.
trait Selection: std::fmt::Debug {
    /// The one method whose fields need not say that they are its own.
    const METHOD: Option<Method> = None;

    /// The fields, each with its flag.
    fn flags() -> impl Iterator<Item = (&'static Field, Flag)>;
}

/// Every field.
#[derive(Debug)]
struct OfTraining;

impl Selection for OfTraining {
    fn flags() -> impl Iterator<Item = (&'static Field, Flag)> {
        FIELDS.iter().filter_map(with_flag)
    }
}

/// What is said of the base.
#[derive(Debug)]
struct OfBase;

impl Selection for OfBase {
    fn flags() -> impl Iterator<Item = (&'static Field, Flag)> {
        let fields = FIELDS.iter().filter(|field| field.group == Group::Base);
        fields.filter_map(with_flag)
    }
}

/// A field that has a flag. One flag sets both ends of the window.
fn with_flag(field: &'static Field) -> Option<(&'static Field, Flag)> {
    let flag = field.flag.filter(|_| field.path != WINDOW_END)?;
    Some((field, flag))
}

/// The flags of a selection that are given, with their values.
#[derive(Debug)]
struct Given<S> {
    given: Vec<(&'static Field, Value)>,
    of: PhantomData<S>,
}

impl<S: Selection> Given<S> {
    /// The recipe, if it can be trained.
    fn checked(&self, recipe: Recipe, file: Option<&RecipeFile>) -> Result<Recipe, BadInput> {
        let Err(error) = recipe.check() else {
            return Ok(recipe);
        };
        match file {
            Some(file) if !self.has(error.path()) => Err(file.refusal(error)),
            _ => Err(BadInput(error.to_string())),
        }
    }

    /// The recipe with what is given.
    fn over(&self, mut recipe: Recipe) -> Result<Recipe, BadInput> {
        for (field, value) in &self.given {
            let rank = || Rank::deserialize(value).map_err(|error| BadInput(error.to_string()));
            match field.path {
                WINDOW => {
                    let window = TimestepRange::deserialize(value);
                    recipe.pass.timesteps = window.map_err(|error| BadInput(error.to_string()))?;
                }
                "/pass/rank" if !self.has("/pass/alpha") => {
                    set_rank(&mut recipe.pass, rank()?, "--rank")?;
                }
                "/copier/pass/rank" => {
                    set_rank(&mut recipe.copier.pass, rank()?, "--copier-rank")?;
                }
                path => {
                    let keys: Vec<&str> = path.split('/').skip(1).collect();
                    recipe = with_value(&recipe, &keys, value).map_err(BadInput)?;
                }
            }
        }
        Ok(recipe)
    }

    /// Refuses a flag that would do nothing: whoever gives it expects something of it.
    fn check_idle(&self, recipe: &Recipe) -> Result<(), BadInput> {
        let method = recipe.method;
        for (field, value) in &self.given {
            if let (Some(owner), Some(flag)) = (field.group.owner(), flag_of(field))
                && owner != method
            {
                return Err(belongs_to(&flag, owner, method));
            }
            let is_min_snr = field.path == "/pass/min_snr_gamma" && !value.is_null();
            if is_min_snr && matches!(method, Method::Addift | Method::Slider) {
                return Err(BadInput(format!(
                    "--min-snr does nothing with method {method}, whose target has no noise. Leave one of them out."
                )));
            }
            let is_of_pictures =
                matches!(field.path, "/prompt" | "/calibrate" | "/calibrate_guided");
            if let Some(flag) = flag_of(field)
                && (!field.group.is_for(method) || is_of_pictures && !method.takes_pictures())
            {
                return Err(BadInput(format!(
                    "{flag} is for pictures, and method {method} has none. Leave it out."
                )));
            }
            if field.path == WINDOW && recipe.auto_timesteps {
                let why = "--timesteps is what --auto-timesteps finds. Leave one of them out.";
                return Err(BadInput(why.to_owned()));
            }
            if field.path == "/mask/feather" && !recipe.mask.composite {
                let why = "--feather is the edge of what --no-composite leaves out. Leave one of them out.";
                return Err(BadInput(why.to_owned()));
            }
        }
        Ok(())
    }

    fn has(&self, path: &str) -> bool {
        self.given.iter().any(|(field, _)| field.path == path)
    }
}

impl<S: Selection> Args for Given<S> {
    fn augment_args(command: Command) -> Command {
        command.args(S::flags().map(argument::<S>))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<S: Selection> FromArgMatches for Given<S> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = S::flags().filter_map(|(field, flag)| Some((field, given(flag, matches)?)));
        Ok(Self {
            given: given.collect(),
            of: PhantomData,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The flags of the table that say something of the base.
#[derive(Debug, Args)]
pub struct SaidFlags {
    #[command(flatten)]
    fields: Given<OfBase>,
}

impl SaidFlags {
    /// What is said of the base, with what is given.
    ///
    /// # Errors
    /// When it cannot be said.
    pub fn over(&self, said: Said) -> Result<Said, BadInput> {
        let wrong = |error: serde_json::Error| BadInput(error.to_string());
        let mut json = serde_json::to_value(said).map_err(wrong)?;
        for (field, value) in &self.fields.given {
            json[field.path.trim_start_matches('/')] = value.clone();
        }
        Said::deserialize(json).map_err(wrong)
    }
}

/// The value that a flag gives its field, if it is given.
fn given(flag: Flag, matches: &ArgMatches) -> Option<Value> {
    match flag {
        Flag::Value { name, .. } => matches.get_one::<Value>(name).cloned(),
        Flag::On { name, .. } => matches.get_flag(name).then_some(Value::Bool(true)),
        Flag::Off { name, .. } => matches.get_flag(name).then_some(Value::Bool(false)),
    }
}

/// The flag of a field, for clap.
fn argument<S: Selection>((field, flag): (&'static Field, Flag)) -> Arg {
    let argument = Arg::new(flag.name())
        .long(flag.name())
        .help(help::<S>(field, flag));
    let Flag::Value { value: name, .. } = flag else {
        return argument.action(ArgAction::SetTrue);
    };
    let argument = argument.value_name(name);
    match field.kind {
        Kind::Choice(words) => return argument.value_parser(choice(words, None)),
        Kind::ChoiceOrBase(words) => {
            return argument.value_parser(choice(words, field.kind.none_word()));
        }
        Kind::SwitchOrBase => {
            return argument.value_parser(choice(&["true", "false"], field.kind.none_word()));
        }
        _ => {}
    }
    let argument = match field.path {
        WINDOW => argument.value_parser(timesteps),
        _ => argument.value_parser(|text: &str| value(field.kind, text)),
    };
    argument.allow_hyphen_values(true)
}

/// What a text means as a value of this kind, or the sentence that says why it means none.
fn value(kind: Kind, text: &str) -> Result<Value, String> {
    let number = |range: Range| {
        let value = range.parse(text);
        value.map(Value::from).map_err(|error| error.to_string())
    };
    match kind {
        Kind::OptionalNumber(_, none) if text == none.word => Ok(Value::Null),
        Kind::OptionalNumber(range, NoNumber { word, means }) => {
            number(range).map_err(|error| format!("{error} To have {means}, write {word}."))
        }
        Kind::Number(range) => number(range),
        Kind::Seed => parse_seed(text)
            .map(Value::from)
            .map_err(|error| error.to_string()),
        Kind::Switch
        | Kind::SwitchOrBase
        | Kind::Choice(_)
        | Kind::ChoiceOrBase(_)
        | Kind::Text
        | Kind::Lines => Ok(Value::from(text)),
    }
}

fn help<S: Selection>(field: &Field, flag: Flag) -> String {
    let hint = match (field.path, flag) {
        (_, Flag::On { hint, .. } | Flag::Off { hint, .. }) => hint.to_owned(),
        (WINDOW, _) => "Timesteps trained, such as 500-1000".to_owned(),
        ("/pass/alpha", _) => {
            format!(
                "{} [default: in the preset's proportion to the rank]",
                field.hint
            )
        }
        _ => format!("{}: {}", field.label, field.hint),
    };
    match field.group.owner() {
        Some(method) if S::METHOD != Some(method) => format!("Method {method}: {hint}"),
        _ => hint,
    }
}

fn flag_of(field: &Field) -> Option<String> {
    field.flag.map(|flag| format!("--{}", flag.name()))
}

/// A flag of another method than the one that trains.
pub fn belongs_to(flag: &str, owner: Method, method: Method) -> BadInput {
    BadInput(format!(
        "{flag} belongs to method {owner}, and the method is {method}; leave one of them out."
    ))
}

/// Another rank keeps alpha / rank, and with it the learning rate that suits the base, unless alpha is
/// given as well.
fn set_rank(pass: &mut Pass, rank: Rank, flag: &str) -> Result<(), BadInput> {
    let scale = pass.alpha.get() / f64::from(pass.rank.get());
    let in_proportion = Alpha::try_from(scale * f64::from(rank.get()));
    pass.alpha = in_proportion.map_err(|error| {
        BadInput(format!(
            "{flag} {rank} would take alpha along in the recipe's proportion: {error}"
        ))
    })?;
    pass.rank = rank;
    Ok(())
}

/// One of some words, as recipe files spell them.
fn words<T>(words: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words)
        .try_map(|word| serde_json::from_value::<T>(Value::String(word)))
}

/// The words of a field. What only old recipes mean is not offered.
///
/// - `none`: the word for no value, if there may be none
fn choice(
    words: &'static [&'static str],
    none: Option<&'static str>,
) -> impl TypedValueParser<Value = Value> {
    let words = words
        .iter()
        .filter(|word| **word != PromptSyntax::Cut.name());
    let words = words.copied().chain(none).map(|word| match word {
        // As people call it.
        "v_prediction" => PossibleValue::new(word).alias("v"),
        word => PossibleValue::new(word),
    });
    PossibleValuesParser::new(words).map(move |word| match &*word {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        word if none == Some(word) => Value::Null,
        _ => Value::String(word),
    })
}

/// How prompts are read, as the recipe's own flag takes it.
pub fn syntax() -> impl TypedValueParser<Value = PromptSyntax> {
    words(&["a1111", "comfy", "plain"])
}

/// Both ends of the window.
fn timesteps(text: &str) -> Result<Value, String> {
    let numbers = text.split_once('-').and_then(|(min, max)| {
        let number = |text: &str| text.trim().parse::<u32>().ok();
        Some((number(min)?, number(max)?))
    });
    let (min, max) = numbers.ok_or("write two whole numbers, such as 500-1000.")?;
    let window = TimestepRange::new(min, max);
    let window = window.map_err(|error: OutOfRange| error.to_string())?;
    Ok(Value::from(vec![window.min(), window.max()]))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use mimeo_protocol::{ClipSkip, Gamma, Prediction, ScoreBudget};

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        flags: RecipeFlags,
    }

    fn build(flags: &str) -> Recipe {
        try_build(flags).unwrap()
    }

    fn try_build(flags: &str) -> Result<Recipe, BadInput> {
        let words = std::iter::once("test").chain(flags.split_whitespace());
        let only = Only::try_parse_from(words).unwrap();
        only.flags.build(None, ModelSize::Small)
    }

    #[test]
    fn without_flags_the_copier_preset_is_used() {
        let preset = Recipe::preset(Method::Copier, ModelSize::Small);
        assert_eq!(build(""), preset, "two pictures and nothing else");
    }

    #[test]
    fn flags_change_what_they_name() {
        let recipe = build("--method plain --steps 3 --clip off --min-snr 5 --timesteps 500-1000");
        assert_eq!(recipe.method, Method::Plain, "the method");
        assert_eq!(recipe.pass.steps.get(), 3, "the steps");
        assert_eq!(recipe.pass.clip_norm, None, "switched off");
        assert_eq!(
            recipe.pass.min_snr_gamma.map(Gamma::get),
            Some(5.0),
            "switched on"
        );
        assert_eq!(
            recipe.pass.timesteps,
            TimestepRange::new(500, 1000).unwrap(),
            "the window"
        );
    }

    #[test]
    fn scores_take_what_they_are_given() {
        let budget = |flags: &str| build(flags).score_budget.map(ScoreBudget::get);
        assert_eq!(budget(""), Some(0.3), "the preset");
        assert_eq!(budget("--score-budget 2"), Some(2.0), "more");
        assert_eq!(budget("--score-budget 0"), Some(0.0), "nothing");
        assert_eq!(budget("--score-budget full"), None, "no limit");
        let words = ["test", "--score-budget", "101"];
        let refusal = Only::try_parse_from(words).err().unwrap().to_string();
        assert!(
            refusal.contains("To have no limit, write full."),
            "{refusal}"
        );
    }

    #[test]
    fn what_is_said_of_the_base_is_the_recipes() {
        let recipe = build("--prediction-type v --zero-terminal-snr true --clip-skip 2");
        let expected = Said {
            prediction_type: Some(Prediction::Velocity),
            zero_terminal_snr: Some(true),
            clip_skip: Some(ClipSkip::constant(2)),
        };
        assert_eq!(recipe.said(), expected, "all three");
        let of_base = "--prediction-type base --zero-terminal-snr base --clip-skip base";
        assert!(build(of_base).said().is_nothing(), "as the base says");
        let refusal = try_build("--prediction-type epsilon --zero-terminal-snr true");
        let refusal = refusal.unwrap_err().to_string();
        assert!(refusal.contains("cannot predict noise"), "{refusal}");

        let flags = |words: &str| {
            let words = std::iter::once("test").chain(words.split_whitespace());
            let matches = SaidFlags::augment_args(Command::new("test")).get_matches_from(words);
            SaidFlags::from_arg_matches(&matches).unwrap()
        };
        let over = flags("--prediction-type base --clip-skip 3").over(expected);
        let over = over.unwrap();
        assert_eq!(over.prediction_type, None, "taken back");
        assert_eq!(over.zero_terminal_snr, Some(true), "left");
        assert_eq!(over.clip_skip, Some(ClipSkip::constant(3)), "instead");
    }

    #[test]
    fn a_prompt_is_read_as_is_asked() {
        assert_eq!(build("").prompt_syntax, PromptSyntax::A1111, "the preset");
        for (word, syntax) in [
            ("a1111", PromptSyntax::A1111),
            ("comfy", PromptSyntax::Comfy),
            ("plain", PromptSyntax::Plain),
        ] {
            let recipe = build(&format!("--prompt-syntax {word}"));
            assert_eq!(recipe.prompt_syntax, syntax, "{word}");
        }
    }

    #[test]
    fn another_rank_keeps_the_scale_unless_alpha_is_given() {
        let scale = |pass: &Pass| pass.alpha.get() / f64::from(pass.rank.get());
        assert_eq!(scale(&build("--rank 4").pass), 1.0, "alpha follows");
        assert_eq!(
            build("--rank 4 --alpha 1").pass.alpha.get(),
            1.0,
            "as asked"
        );
    }

    #[test]
    fn numbers_out_of_range_are_refused_by_the_parser() {
        for flags in [
            "--rank=0",
            "--steps=0",
            "--lr=2",
            "--timesteps=5-5",
            "--clip=-1",
        ] {
            assert!(Only::try_parse_from(["test", flags]).is_err(), "{flags}");
        }
    }

    #[test]
    fn flags_that_would_do_nothing_are_refused_by_name() {
        for (flags, words) in [
            (
                "--method addift --copier-steps 9",
                "--copier-steps belongs to method copier",
            ),
            (
                "--method plain --copier-rank 9",
                "--copier-rank belongs to method copier",
            ),
            (
                "--method plain --copier-lr 0.1",
                "--copier-lr belongs to method copier",
            ),
            (
                "--method plain --fidelity-goal 0.9",
                "--fidelity-goal belongs to method copier",
            ),
            (
                "--multiplier 0.5",
                "--multiplier belongs to method addift, and the method is copier",
            ),
            (
                "--method addift --min-snr 5",
                "--min-snr does nothing with method addift",
            ),
            ("--no-composite --feather 3", "--feather is the edge"),
        ] {
            let refusal = try_build(flags).unwrap_err().to_string();
            assert!(refusal.contains(words), "{flags}: {refusal}");
        }
        build("--method addift --min-snr off --multiplier -0.5");
    }

    #[test]
    fn a_slider_takes_its_prompts_and_no_flags_of_pictures() {
        let slider = |words: &str| {
            let words = std::iter::once("test").chain(words.split_whitespace());
            let only = Only::try_parse_from(words).unwrap();
            only.flags.build_slider(None, ModelSize::Small, |slider| {
                slider.target = "glasses".to_owned();
            })
        };
        let recipe = slider("--steps 9 --guidance 2").unwrap();
        assert_eq!(recipe.method, Method::Slider, "the command's");
        assert_eq!(recipe.slider.guidance.get(), 2.0, "its own flag");
        for (words, told) in [
            ("--method plain", "Train it with mimeo train."),
            ("--feather 3", "--feather is for pictures"),
            ("--prompt hat", "--prompt is for pictures"),
            ("--trigger hat", "--trigger is for pictures"),
            ("--min-snr 5", "--min-snr does nothing with method slider"),
            ("--multiplier 1", "--multiplier belongs to method addift"),
            ("--auto-timesteps", "no pair by which to find its timesteps"),
        ] {
            let refusal = slider(words).unwrap_err().to_string();
            assert!(refusal.contains(told), "{words}: {refusal}");
        }
        let refusal = try_build("--guidance 2").unwrap_err().to_string();
        assert!(
            refusal.contains("--guidance belongs to method slider"),
            "{refusal}"
        );
    }

    #[test]
    fn what_is_watched_and_found_is_switched_on() {
        let recipe = build("--auto-timesteps --leak-every 20 --stop-at-best");
        assert!(recipe.auto_timesteps && recipe.leak.stop_at_best, "both");
        assert_eq!(
            recipe.leak.every.map(|every| every.get()),
            Some(20),
            "steps"
        );
        assert_eq!(build("--leak-every off").leak.every, None, "off");
        for (flags, words) in [
            ("--stop-at-best", "it has to be measured"),
            ("--auto-timesteps --timesteps 1-9", "--timesteps is what"),
        ] {
            let refusal = try_build(flags).unwrap_err().to_string();
            assert!(refusal.contains(words), "{flags}: {refusal}");
        }
    }

    #[test]
    fn a_recipe_that_trains_nothing_is_refused_by_name() {
        for multiplier in ["0", "-0", "0.001"] {
            let flags = format!("--method addift --multiplier {multiplier}");
            let refusal = try_build(&flags).unwrap_err().to_string();
            let words = "Multiplier must be between 0.01 and 8";
            assert!(refusal.contains(words), "{flags}: {refusal}");
        }
    }

    #[test]
    fn alpha_never_leaves_its_proportion_in_silence() {
        let mut pass = build("--alpha 1024 --rank 8").pass;
        let refusal = set_rank(&mut pass, Rank::constant(16), "--rank");
        let refusal = refusal.unwrap_err().to_string();
        assert!(
            refusal.contains("--rank 16") && refusal.contains("Alpha must be between"),
            "{refusal}"
        );
    }
}
