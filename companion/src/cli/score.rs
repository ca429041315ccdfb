//! `mimeo score`: what a LoRA does to a pair, in numbers.

use std::path::PathBuf;

use clap::Args;
use mimeo_checkpoint::LoraFile;
use mimeo_checkpoint::metadata::{EXAMPLES, PAIR, RECIPE};
use mimeo_engine::{DeviceChoice, PreparedJob, Recompute, Scores, Stoppable, score_file};
use mimeo_protocol::{Example, Method, NewerFormat, Recipe, RecipeFormat};
use serde::Serialize;

use super::base::BaseArgs;
use super::examples::{CheckedExample, Found};
use super::held_out::HeldOutArgs;
use super::pictures::PairArgs;
use super::train::prepare;
use super::{lora, score_table};
use crate::exit::{BadInput, Exit};
use crate::interrupt;
use crate::progress::Report;

/// Measure what a LoRA does to a pair: edit gain, spill, held-out change, linearity; or to a style.
#[derive(Debug, Args)]
pub struct Score {
    /// The LoRA
    #[arg(value_name = "x.safetensors")]
    lora: PathBuf,
    #[command(flatten)]
    pair: PairArgs,
    /// Measure on pairs of a folder, up to four of them, as `mimeo train --set` finds them
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["original", "target", "mask"])]
    set: Option<PathBuf>,
    /// The style copier that it was trained upon: measures style leak as well, of a picture without a
    /// --target nothing else
    #[arg(long, value_name = "FILE")]
    copier: Option<PathBuf>,
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
    /// Where it is to be computed.
    pub const fn device(&self) -> &DeviceChoice {
        self.base.device()
    }

    /// Measures and tells.
    ///
    /// # Errors
    /// One sentence for the user.
    pub async fn run(self, report: &mut Report) -> anyhow::Result<Exit> {
        let mut examples = self.find()?.read("set", report)?;
        let held_out = self.held_out.read()?;
        let file = lora::read(&self.lora).await?;
        let copier = lora::CopierFile::read(self.copier.as_deref()).await?;
        for CheckedExample { example, .. } in &mut examples {
            if let Some(caption) = caption_of(&file, example) {
                example.caption = caption;
            }
        }
        let recipe = recipe_of(&file).map_err(|newer| BadInput::file(newer, &self.lora))?;
        // As it was when the LoRA was trained.
        let said = recipe.as_ref().map(Recipe::said).unwrap_or_default();
        let base = self.base.load(said, report).await?;
        let preset = || Recipe::preset(Method::Copier, base.model_size());
        let mut recipe = recipe.unwrap_or_else(preset);
        let lora = lora::load(&base, &file, &self.lora, report)?;
        let copier = copier.map(|copier| copier.fit(&base, report)).transpose()?;
        if let Some(held_out) = &held_out {
            recipe = held_out.over(recipe)?;
        }
        let job = PreparedJob {
            name: String::new(),
            examples: prepare(&examples, &base, &recipe)?,
            held_out_prompts: self.base.held_out_prompts(&recipe),
            scores: true,
            recipe,
            copier,
            previews: None,
            recompute: Recompute::NOTHING,
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

    fn find(&self) -> Result<Found, BadInput> {
        match (&self.set, self.pair.paths()) {
            (Some(folder), _) => Found::in_folder(folder),
            (None, Some(paths)) => Ok(Found::Pair(paths)),
            (None, None) => Err(BadInput("name an --original, or a --set.".to_owned())),
        }
    }
}

/// The caption under which a LoRA of Mimeo was trained on this picture, if it says so.
fn caption_of(file: &LoraFile, example: &Example) -> Option<String> {
    let one = file.metadata.get(PAIR);
    let one = one.and_then(|json| serde_json::from_str::<Example>(json).ok());
    let several = file.metadata.get(EXAMPLES);
    let several = several.and_then(|json| serde_json::from_str::<Vec<Example>>(json).ok());
    let mut trained = one.into_iter().chain(several.into_iter().flatten());
    let same = trained.find(|trained| trained.original == example.original);
    same.map(|trained| trained.caption)
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
