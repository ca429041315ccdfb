//! The recipe on the command line: a flag for every number that is often tuned.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use mimeo_protocol::{
    Accumulation, Alpha, BatchSize, ClipNorm, Feather, Gamma, LearningRate, LrSchedule, Method,
    ModelSize, Multiplier, OutOfRange, Pass, Precision, PromptSyntax, Rank, Recipe, ScoreBudget,
    Share, Steps, TimestepRange, Warmup, Weight, parse_seed,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::exit::BadInput;
use crate::output::Input;
use crate::recipe::RecipeFile;

/// Everything that changes the recipe. What is not given comes from the recipe file, then from the
/// preset for the method and the base.
#[derive(Debug, Args)]
#[command(next_help_heading = "Recipe")]
pub struct RecipeFlags {
    /// A recipe to start from: TOML or JSON with what is to differ from the preset, or a LoRA that
    /// Mimeo trained
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// How the pair becomes a LoRA [default: copier]
    #[arg(long, value_parser = words::<Method>(&["copier", "addift", "plain"]))]
    method: Option<Method>,
    /// Inner size of the LoRA
    #[arg(long, allow_hyphen_values = true)]
    rank: Option<Rank>,
    /// Scaling numerator [default: in the preset's proportion to the rank]
    #[arg(long, allow_hyphen_values = true)]
    alpha: Option<Alpha>,
    /// Optimiser updates
    #[arg(long, allow_hyphen_values = true)]
    steps: Option<Steps>,
    /// Peak learning rate
    #[arg(long, allow_hyphen_values = true)]
    lr: Option<LearningRate>,
    /// Noise and timestep draws per forward pass
    #[arg(long, allow_hyphen_values = true)]
    batch_size: Option<BatchSize>,
    /// Forward passes per update
    #[arg(long, allow_hyphen_values = true)]
    accumulation: Option<Accumulation>,
    /// Seed of every random draw: the same seed gives the same file
    #[arg(long, value_parser = parse_seed, allow_hyphen_values = true)]
    seed: Option<u64>,
    /// Prompt under which both pictures are trained
    #[arg(long, allow_hyphen_values = true)]
    prompt: Option<String>,
    /// How the prompt is read: emphasis as A1111 or ComfyUI means it, or every bracket a letter
    #[arg(long, value_name = "SYNTAX", value_parser = syntax())]
    prompt_syntax: Option<PromptSyntax>,
    /// Course of the learning rate
    #[arg(long, value_parser = words::<LrSchedule>(&["cosine", "constant"]))]
    schedule: Option<LrSchedule>,
    /// Steps over which the learning rate rises
    #[arg(long, allow_hyphen_values = true)]
    warmup: Option<Warmup>,
    /// min-SNR gamma, or "off"
    #[arg(long, value_name = "GAMMA|off", value_parser = or_off::<Gamma>, allow_hyphen_values = true)]
    min_snr: Option<OrNone<Gamma>>,
    /// Timesteps trained, such as 500-1000
    #[arg(long, value_name = "FROM-TO", value_parser = timesteps, allow_hyphen_values = true)]
    timesteps: Option<TimestepRange>,
    /// Largest gradient norm, or "off"
    #[arg(long, value_name = "NORM|off", value_parser = or_off::<ClipNorm>, allow_hyphen_values = true)]
    clip: Option<OrNone<ClipNorm>>,
    /// Leave the strength as it was trained
    #[arg(long)]
    no_calibrate: bool,
    /// What calibration and scores may take, as a share of what training takes; 0 leaves both out,
    /// "full" sets no limit
    #[arg(long, value_name = "SHARE|full", value_parser = or_full, allow_hyphen_values = true)]
    score_budget: Option<OrNone<ScoreBudget>>,
    /// Number format of the saved file
    #[arg(long, value_parser = words::<Precision>(&["f16", "f32"]))]
    precision: Option<Precision>,

    /// Method copier: updates of the copier
    #[arg(long, value_name = "STEPS", allow_hyphen_values = true)]
    copier_steps: Option<Steps>,
    /// Method copier: rank of the copier
    #[arg(long, value_name = "RANK", allow_hyphen_values = true)]
    copier_rank: Option<Rank>,
    /// Method copier: peak learning rate of the copier
    #[arg(long, value_name = "LR", allow_hyphen_values = true)]
    copier_lr: Option<LearningRate>,
    /// Method copier: the copier is ready once it copies this well
    #[arg(long, value_name = "SHARE", allow_hyphen_values = true)]
    fidelity_goal: Option<Share>,
    /// Method addift: strength of the LoRA while it is trained
    #[arg(long, allow_hyphen_values = true)]
    multiplier: Option<Multiplier>,

    /// Train the whole of B, not only what the mask covers
    #[arg(long)]
    no_composite: bool,
    /// Soft edge of the mask, in pixels
    #[arg(long, value_name = "PIXELS", allow_hyphen_values = true)]
    feather: Option<Feather>,
    /// Loss weight outside the mask
    #[arg(long, value_name = "SHARE", allow_hyphen_values = true)]
    unmasked_weight: Option<Share>,
    /// Weight of holding on to the base's own answer outside the mask
    #[arg(long, value_name = "WEIGHT", allow_hyphen_values = true)]
    prior_weight: Option<Weight>,
}

impl RecipeFlags {
    /// The recipe file, if one is read.
    pub fn input(&self) -> Option<Input<'_>> {
        self.recipe.as_deref().map(|recipe| ("--recipe", recipe))
    }

    /// Reads the recipe file, if one is named.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub async fn read_file(&self) -> anyhow::Result<Option<RecipeFile>> {
        Ok(match &self.recipe {
            Some(path) => Some(RecipeFile::read(path).await?),
            None => None,
        })
    }

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
        let mut recipe = match file {
            Some(file) => file.over(method, size)?,
            None => Recipe::preset(method, size),
        };
        self.apply(&mut recipe)?;
        self.check_idle(&recipe)?;
        match (recipe.check(), file) {
            (Ok(()), _) => Ok(recipe),
            // Flags are checked one by one already, but for this one.
            (Err(error), Some(file)) if self.multiplier.is_none() => Err(file.refusal(error)),
            (Err(error), _) => Err(BadInput(error.to_string())),
        }
    }

    /// A flag that says how a copier is trained, if one is given.
    pub fn copier_flag(&self) -> Option<&'static str> {
        let flags = [
            ("--copier-steps", self.copier_steps.is_some()),
            ("--copier-rank", self.copier_rank.is_some()),
            ("--copier-lr", self.copier_lr.is_some()),
            ("--fidelity-goal", self.fidelity_goal.is_some()),
        ];
        let given = flags.into_iter().find(|(_, is_given)| *is_given);
        given.map(|(flag, _)| flag)
    }

    /// Refuses a flag that would do nothing: whoever gives it expects something of it.
    fn check_idle(&self, recipe: &Recipe) -> Result<(), BadInput> {
        let method = recipe.method;
        if let Some(flag) = self.copier_flag()
            && method != Method::Copier
        {
            return Err(belongs_to(flag, Method::Copier, method));
        }
        if self.multiplier.is_some() && method != Method::Addift {
            return Err(belongs_to("--multiplier", Method::Addift, method));
        }
        let wants_min_snr = self.min_snr.is_some_and(|gamma| gamma.0.is_some());
        if wants_min_snr && method == Method::Addift {
            let why = "--min-snr does nothing with method addift, whose target has no noise. Leave one of them out.";
            return Err(BadInput(why.to_owned()));
        }
        if self.feather.is_some() && !recipe.mask.composite {
            let why =
                "--feather is the edge of what --no-composite leaves out. Leave one of them out.";
            return Err(BadInput(why.to_owned()));
        }
        Ok(())
    }

    fn apply(&self, recipe: &mut Recipe) -> Result<(), BadInput> {
        set(&mut recipe.method, self.method);
        set(&mut recipe.seed, self.seed);
        set(&mut recipe.prompt, self.prompt.clone());
        set(&mut recipe.prompt_syntax, self.prompt_syntax);
        set(&mut recipe.precision, self.precision);
        recipe.calibrate &= !self.no_calibrate;
        set(
            &mut recipe.score_budget,
            self.score_budget.map(|budget| budget.0),
        );

        let pass = &mut recipe.pass;
        set_rank(pass, self.rank, self.alpha, "--rank")?;
        set(&mut pass.steps, self.steps);
        set(&mut pass.learning_rate, self.lr);
        set(&mut pass.batch_size, self.batch_size);
        set(&mut pass.accumulation, self.accumulation);
        set(&mut pass.schedule, self.schedule);
        set(&mut pass.warmup, self.warmup);
        set(&mut pass.timesteps, self.timesteps);
        set(&mut pass.min_snr_gamma, self.min_snr.map(|gamma| gamma.0));
        set(&mut pass.clip_norm, self.clip.map(|norm| norm.0));

        let copier = &mut recipe.copier;
        set_rank(&mut copier.pass, self.copier_rank, None, "--copier-rank")?;
        set(&mut copier.pass.steps, self.copier_steps);
        set(&mut copier.pass.learning_rate, self.copier_lr);
        set(&mut copier.fidelity_goal, self.fidelity_goal);
        set(&mut recipe.addift.multiplier, self.multiplier);

        let mask = &mut recipe.mask;
        mask.composite &= !self.no_composite;
        set(&mut mask.feather, self.feather);
        set(&mut mask.unmasked_weight, self.unmasked_weight);
        set(&mut mask.prior_weight, self.prior_weight);
        Ok(())
    }
}

/// A flag of another method than the one that trains.
pub fn belongs_to(flag: &str, owner: Method, method: Method) -> BadInput {
    BadInput(format!(
        "{flag} belongs to method {owner}, and the method is {method}; leave one of them out."
    ))
}

fn set<T>(place: &mut T, flag: Option<T>) {
    if let Some(value) = flag {
        *place = value;
    }
}

/// Another rank keeps alpha / rank, and with it the learning rate that suits the base, unless alpha is
/// given as well.
fn set_rank(
    pass: &mut Pass,
    rank: Option<Rank>,
    alpha: Option<Alpha>,
    flag: &str,
) -> Result<(), BadInput> {
    let scale = pass.alpha.get() / f64::from(pass.rank.get());
    set(&mut pass.rank, rank);
    if let Some(alpha) = alpha {
        pass.alpha = alpha;
    } else if let Some(rank) = rank {
        let in_proportion = Alpha::try_from(scale * f64::from(rank.get()));
        pass.alpha = in_proportion.map_err(|error| {
            BadInput(format!(
                "{flag} {rank} would take alpha along in the recipe's proportion: {error}"
            ))
        })?;
    }
    Ok(())
}

/// A number, or a word for none.
#[derive(Debug, Clone, Copy, PartialEq)]
struct OrNone<T>(Option<T>);

fn or_off<T: FromStr<Err: Display>>(text: &str) -> Result<OrNone<T>, String> {
    number_or("off", "none", text)
}

fn or_full(text: &str) -> Result<OrNone<ScoreBudget>, String> {
    number_or("full", "no limit", text)
}

fn number_or<T: FromStr<Err: Display>>(
    word: &str,
    means: &str,
    text: &str,
) -> Result<OrNone<T>, String> {
    if text == word {
        return Ok(OrNone(None));
    }
    match text.parse() {
        Ok(number) => Ok(OrNone(Some(number))),
        Err(error) => Err(format!("{error} To have {means}, write {word}.")),
    }
}

/// One of some words, as recipe files spell them.
fn words<T>(words: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words)
        .try_map(|word| serde_json::from_value::<T>(Value::String(word)))
}

/// How prompts are read. What only old recipes mean is not offered.
pub fn syntax() -> impl TypedValueParser<Value = PromptSyntax> {
    words(&["a1111", "comfy", "plain"])
}

fn timesteps(text: &str) -> Result<TimestepRange, String> {
    let numbers = text.split_once('-').and_then(|(min, max)| {
        let number = |text: &str| text.trim().parse::<u32>().ok();
        Some((number(min)?, number(max)?))
    });
    let (min, max) = numbers.ok_or("write two whole numbers, such as 500-1000.")?;
    TimestepRange::new(min, max).map_err(|error: OutOfRange| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

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
        let refusal = set_rank(&mut pass, Some(Rank::constant(16)), None, "--rank");
        let refusal = refusal.unwrap_err().to_string();
        assert!(
            refusal.contains("--rank 16") && refusal.contains("Alpha must be between"),
            "{refusal}"
        );
    }
}
