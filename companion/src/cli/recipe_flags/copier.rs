//! The flags of a recipe that makes a copier and nothing else.

use clap::Args;
use mimeo_protocol::fields::{FIELDS, Field, Flag, Group};
use mimeo_protocol::{Method, ModelSize, Recipe};

use super::{Given, RecipeFileArg, STRENGTH, Selection, unflagged, with_flag};
use crate::exit::BadInput;
use crate::recipe::RecipeFile;

/// Everything that changes how a copier is trained. What is not given comes from the recipe file, then
/// from the preset for the base.
#[derive(Debug, Args)]
#[command(next_help_heading = "Recipe")]
pub struct CopierFlags {
    #[command(flatten)]
    pub file: RecipeFileArg,
    #[command(flatten)]
    fields: Given<OfCopier>,
}

/// What of the recipe there is to say of a copier.
#[derive(Debug)]
struct OfCopier;

/// What begins the names of its own flags where there are others.
const PREFIX: &str = "copier-";

impl Selection for OfCopier {
    const METHOD: Option<Method> = Some(Method::Copier);

    fn flags() -> impl Iterator<Item = (&'static Field, Flag)> {
        let is_its_own = |field: &&Field| match field.group {
            // It has no part in how a copier is trained.
            Group::Copier => field.path != STRENGTH,
            Group::Set | Group::Base => true,
            Group::Run => !matches!(
                field.path,
                "/calibrate" | "/calibrate_guided" | "/score_budget"
            ),
            Group::Lora | Group::Addift | Group::Slider | Group::Mask => false,
        };
        let fields = FIELDS.iter().filter(is_its_own).filter_map(with_flag);
        fields.map(|(field, flag)| match flag {
            Flag::Value { name, value } => {
                let name = name.strip_prefix(PREFIX).unwrap_or(name);
                (field, Flag::Value { name, value })
            }
            switch => (field, switch),
        })
    }
}

impl CopierFlags {
    /// The recipe: preset, file, flags.
    ///
    /// # Errors
    /// When the file asks for something that does not exist, or the recipe cannot be trained.
    pub fn build(&self, file: Option<&RecipeFile>, size: ModelSize) -> Result<Recipe, BadInput> {
        let recipe = unflagged(Method::Copier, file, size)?;
        self.fields.checked(self.fields.over(recipe)?, file)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use mimeo_protocol::CopierKind;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        flags: CopierFlags,
    }

    fn build(flags: &str) -> Result<Recipe, BadInput> {
        let words = std::iter::once("test").chain(flags.split_whitespace());
        let only = Only::try_parse_from(words).expect("flags");
        only.flags.build(None, ModelSize::Small)
    }

    #[test]
    fn its_own_flags_need_no_prefix() {
        let recipe = build("--kind style --steps 9 --rank 4 --lr 0.001 --fidelity-goal 0.5");
        let recipe = recipe.expect("a recipe");
        let copier = &recipe.copier;
        assert_eq!(copier.kind, CopierKind::Style, "the kind");
        assert_eq!(copier.pass.steps.get(), 9, "the copier's steps");
        assert_eq!(copier.pass.rank.get(), 4, "the copier's rank");
        let preset = Recipe::preset(Method::Copier, ModelSize::Small);
        let scale = |pass: &mimeo_protocol::Pass| pass.alpha.get() / f64::from(pass.rank.get());
        assert_eq!(scale(&copier.pass), scale(&preset.copier.pass), "its scale");
        assert_eq!(recipe.pass, preset.pass, "nothing else");
    }

    #[test]
    fn what_does_nothing_to_a_copier_is_no_flag() {
        for flag in [
            "--feather=3",
            "--strength=0.8",
            "--timesteps=1-9",
            "--score-budget=1",
        ] {
            assert!(Only::try_parse_from(["test", flag]).is_err(), "{flag}");
        }
        let refusal = build("--mirror").expect_err("of one picture").to_string();
        assert!(refusal.contains("make it a copier of a style"), "{refusal}");
    }
}
