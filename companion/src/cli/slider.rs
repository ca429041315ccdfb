//! `mimeo slider`: two prompts in, one LoRA out.

use std::time::Instant;

use clap::Args;
use mimeo_engine::{DeviceChoice, PreparedJob, Recompute};
use mimeo_protocol::{ModelSize, Recipe};

use super::held_out::{HeldOut, HeldOutArgs};
use super::recipe_flags::RecipeFlags;
use super::run_args::RunArgs;
use super::train::remote::Order;
use super::train::{Places, job_name, stem, train_here, train_there};
use crate::exit::{BadInput, Exit};
use crate::progress::Report;
use crate::recipe::RecipeFile;

/// Train a LoRA from two prompts, without pictures.
#[derive(Debug, Args)]
pub struct Slider {
    /// What the change leads away from [default: the recipe's, which is empty]
    #[arg(long, value_name = "PROMPT", allow_hyphen_values = true)]
    original: Option<String>,
    /// What it leads to
    #[arg(
        long,
        value_name = "PROMPT",
        required_unless_present = "recipe",
        allow_hyphen_values = true
    )]
    target: Option<String>,
    /// The prompt whose pictures are changed while it is trained; that of the target makes a slider that
    /// also takes away [default: the original prompt]
    #[arg(long, value_name = "PROMPT", allow_hyphen_values = true)]
    neutral: Option<String>,
    /// A prompt whose pictures stay as they are; may be given several times
    #[arg(long, value_name = "PROMPT", allow_hyphen_values = true)]
    keep: Vec<String>,
    #[command(flatten)]
    run: RunArgs,
    /// Skip measuring what the LoRA does
    #[arg(long)]
    no_score: bool,
    #[command(flatten)]
    held_out: HeldOutArgs,
    #[command(flatten)]
    recipe: RecipeFlags,
}

impl Slider {
    /// Where it is to be computed; none if a companion does it.
    pub fn device(&self) -> Option<&DeviceChoice> {
        self.run.device()
    }

    /// Trains, saves and tells.
    ///
    /// # Errors
    /// One sentence for the user. A run that was stopped or diverged is no error if it left something
    /// that was trained: that is saved.
    pub async fn run(self, report: &mut Report) -> anyhow::Result<Exit> {
        if let Some(remote) = self.run.companion() {
            return self.run_remote(remote, report);
        }
        let places = self.claim_places()?;
        let held_out = self.held_out.read()?;
        let recipe_file = self.recipe.file.read().await?;

        let started = Instant::now();
        let (base, compute) = self.run.compute.load(report).await?;
        let recipe = self.build(recipe_file.as_ref(), base.model_size(), held_out.as_ref())?;
        let base = base.as_said(&recipe.said(), report)?;
        report.plan(&recipe, !self.no_score);
        let mut job = PreparedJob {
            name: stem(&self.run.out),
            examples: Vec::new(),
            held_out_prompts: self.run.compute.held_out_prompts(&recipe),
            scores: !self.no_score,
            recipe,
            copier: None,
            previews: None,
            recompute: Recompute::NOTHING,
        };
        job.recompute = self.run.recompute((&base, &compute), &job)?;
        train_here(&base, &job, places, started, report).await
    }

    /// Lets a companion do it, and saves here what it made.
    fn run_remote(
        &self,
        remote: (&str, Option<&str>),
        report: &mut Report,
    ) -> anyhow::Result<Exit> {
        let places = self.claim_places()?;
        let (base, vae) = self.run.compute.remote_base()?;
        let held_out = self.held_out.read()?;
        let recipe_file = mimeo_engine::runtime::block_on(self.recipe.file.read())?;
        let name = job_name(&self.run.out)?;
        let recipe = |size| self.build(recipe_file.as_ref(), size, held_out.as_ref());
        let order = Order {
            name,
            base,
            vae,
            examples: Vec::new(),
            scores: !self.no_score,
            copier: None,
            wants_copier: false,
        };
        train_there(remote, order, recipe, places, report)
    }

    fn claim_places(&self) -> Result<Places, BadInput> {
        let mut inputs: Vec<_> = self.recipe.file.input().into_iter().collect();
        inputs.extend(self.held_out.input());
        let (lora, _) = self.run.claim(inputs)?;
        Ok(Places { lora, copier: None })
    }

    /// The recipe of file and flags on a base.
    fn build(
        &self,
        file: Option<&RecipeFile>,
        size: ModelSize,
        held_out: Option<&HeldOut>,
    ) -> Result<Recipe, BadInput> {
        let recipe = self.recipe.build_slider(file, size, |slider| {
            let over = |place: &mut String, prompt: &Option<String>| {
                if let Some(prompt) = prompt {
                    place.clone_from(prompt);
                }
            };
            over(&mut slider.original, &self.original);
            over(&mut slider.target, &self.target);
            over(&mut slider.neutral, &self.neutral);
            if !self.keep.is_empty() {
                slider.keep.clone_from(&self.keep);
            }
        })?;
        match held_out {
            Some(held_out) => held_out.over_run(recipe, !self.no_score),
            None => Ok(recipe),
        }
    }
}
