//! `mimeo score`: what a LoRA does to a pair, in numbers.

use std::path::PathBuf;

use clap::Args;
use mimeo_checkpoint::LoraFile;
use mimeo_checkpoint::metadata::RECIPE;
use mimeo_engine::{PreparedJob, Scores, Stoppable, score_file};
use mimeo_protocol::{Method, NewerFormat, Recipe, RecipeFormat};
use serde::Serialize;

use super::base::BaseArgs;
use super::held_out::HeldOutArgs;
use super::pictures::PairArgs;
use super::{lora, score_table};
use crate::exit::{BadInput, Exit};
use crate::interrupt;
use crate::progress::Report;

/// Measure what a LoRA does to a pair: edit gain, spill, held-out change, linearity.
#[derive(Debug, Args)]
pub struct Score {
    /// The LoRA
    #[arg(value_name = "x.safetensors")]
    lora: PathBuf,
    #[command(flatten)]
    pair: PairArgs,
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    held_out: HeldOutArgs,
}

#[derive(Serialize)]
struct ScoreResult<'a> {
    scores: &'a Scores,
}

impl Score {
    /// Measures and tells.
    ///
    /// # Errors
    /// One sentence for the user.
    pub async fn run(self, report: &mut Report) -> anyhow::Result<Exit> {
        let pair = self.pair.read(report)?;
        let held_out = self.held_out.read()?;
        let file = lora::read(&self.lora).await?;
        let recipe = recipe_of(&file).map_err(|newer| BadInput::file(newer, &self.lora))?;
        // As it was when the LoRA was trained.
        let said = recipe.as_ref().map(Recipe::said).unwrap_or_default();
        let base = self.base.load(said, report).await?;
        let preset = || Recipe::preset(Method::Copier, base.model_size());
        let mut recipe = recipe.unwrap_or_else(preset);
        let lora = lora::load(&base, &file, &self.lora, report)?;
        if let Some(held_out) = &held_out {
            recipe = held_out.over(recipe)?;
        }
        let job = PreparedJob {
            name: String::new(),
            examples: vec![pair.prepare(&base, recipe.resolution)?],
            held_out_prompts: self.base.held_out_prompts(&recipe),
            recipe,
            copier: None,
            previews: None,
        };
        let mut control = Stoppable {
            stop: interrupt::listen(),
            emit: report,
        };
        let scores = Box::pin(score_file(&base, &job, &lora.network, &mut control)).await?;
        let Some(scores) = scores else {
            return Ok(Exit::Stopped);
        };
        report.result(
            &ScoreResult { scores: &scores },
            &score_table::table(&scores, &job.recipe),
        );
        Ok(Exit::Done)
    }
}

/// What the LoRA was trained with decides which B it is compared with (see `MaskRecipe`); one that does
/// not say is measured as the preset would train it.
///
/// # Errors
/// When a newer Mimeo trained it, by a recipe that may mean something else.
fn recipe_of(file: &LoraFile) -> Result<Option<Recipe>, NewerFormat> {
    let Some(json) = file.metadata.get(RECIPE) else {
        return Ok(None);
    };
    RecipeFormat::check(&mut serde_json::Deserializer::from_str(json))?;
    Ok(serde_json::from_str(json).ok())
}
