//! What a LoRA is measured on, if the user says so.

use std::path::PathBuf;

use clap::Args;
use mimeo_checkpoint::{Stranger, text_of};
use mimeo_protocol::{Recipe, prompts_in};

use crate::exit::BadInput;
use crate::input;
use crate::output::Input;

/// Far above any list of prompts.
const MAX_BYTES: u64 = 1 << 20;

/// The held-out prompts, the same for every command that measures.
#[derive(Debug, Args)]
pub struct HeldOutArgs {
    /// Prompts for the held-out score, one on each line; lines that begin with # are left out
    /// [default: ordinary ones of people and things, for the bundled base some in its own words]
    #[arg(long, value_name = "FILE")]
    held_out: Option<PathBuf>,
}

impl HeldOutArgs {
    /// The file that is read.
    pub fn input(&self) -> Option<Input<'_>> {
        self.held_out.as_deref().map(|path| ("--held-out", path))
    }

    /// The prompts that were given.
    ///
    /// # Errors
    /// When there are none in the file, or more than can be drawn.
    pub fn read(&self) -> Result<Option<HeldOut>, BadInput> {
        let Some(path) = self.held_out.as_deref() else {
            return Ok(None);
        };
        let bytes = input::read(path, "list of prompts", MAX_BYTES)?;
        let text = text_of(&bytes).map_err(|Stranger { found, remedy }| {
            BadInput::file(format!("the list of prompts is {found}; {remedy}"), path)
        })?;
        let prompts = prompts_in(&text);
        if prompts.is_empty() {
            let why = "there is no prompt in it; write one on each line";
            return Err(BadInput::file(why, path));
        }
        Ok(Some(HeldOut(prompts)))
    }
}

/// Prompts that were given.
#[derive(Debug)]
pub struct HeldOut(Vec<String>);

impl HeldOut {
    /// The recipe with them.
    ///
    /// # Errors
    /// When there are too many.
    pub fn over(&self, mut recipe: Recipe) -> Result<Recipe, BadInput> {
        recipe.held_out_prompts.clone_from(&self.0);
        let checked = recipe.check();
        checked.map_err(|error| BadInput(error.to_string()))?;
        Ok(recipe)
    }

    /// The same for a run that may leave the scores out.
    ///
    /// # Errors
    /// As [`Self::over`]; when nothing in the run asks them.
    pub fn over_run(&self, recipe: Recipe, scores: bool) -> Result<Recipe, BadInput> {
        let recipe = self.over(recipe)?;
        if scores || recipe.calibrate && recipe.calibrate_guided {
            return Ok(recipe);
        }
        let why = "--held-out is for scores and guided calibration, and this run has neither; leave it out.";
        Err(BadInput(why.to_owned()))
    }
}
