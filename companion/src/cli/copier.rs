//! `mimeo copier`: pictures in, and out what other LoRAs are trained upon.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use mimeo_engine::{DeviceChoice, PreparedJob, Recompute};
use mimeo_protocol::{CopierKind, ModelSize, Recipe};

use super::examples::Found;
use super::pictures::PairPaths;
use super::recipe_flags::CopierFlags;
use super::run_args::RunArgs;
use super::set::SetFolder;
use super::train::remote::Order;
use super::train::{Places, job_name, prepare, stem, train_here, train_there};
use crate::exit::{BadInput, Exit};
use crate::progress::Report;
use crate::recipe::RecipeFile;

/// What the kinds are for, and what comes next.
const KINDS: &str = "\
Kinds of copiers:
  identical  of one picture: draws it whatever the prompt. A LoRA that is trained on top of it
             on a changed version holds the change alone.
  framing    of one subject in several framings, each with a caption that names its own: draws
             the framing that the prompt names. For changes of size, such as of the head.
  style      of pictures of one style, each with a caption: draws anything in that style. A
             character that is trained on top of it, from pictures of that style, is free of it.

Then train upon it; it is left out of the file that is made:
  mimeo train --copier x.safetensors --original A.png --target B.png --out change.safetensors
  mimeo train --copier style.safetensors --copier-strength 0.9 --set CHARACTER --alone --out c.safetensors";

/// Make a copier, upon which LoRAs are trained that are free of what it draws.
#[derive(Debug, Args)]
#[command(after_help = KINDS)]
pub struct Copier {
    /// The picture that it draws (PNG, JPEG or WebP)
    #[arg(long, value_name = "A.png", required_unless_present = "set")]
    original: Option<PathBuf>,
    /// The pictures of a folder, with their captions (a.txt beside a.png) where there are any
    #[arg(long, value_name = "FOLDER", conflicts_with = "original")]
    set: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    recipe: CopierFlags,
}

impl Copier {
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
        let found = self.find()?;
        let places = self.claim_places(&found)?;
        let examples = found.read("set", report)?;
        let count = examples.len();
        if let Some(remote) = self.run.companion() {
            let (base, vae) = self.run.compute.remote_base()?;
            let file = mimeo_engine::runtime::block_on(self.recipe.file.read())?;
            let order = Order {
                name: job_name(&self.run.out)?,
                base,
                vae,
                examples,
                scores: false,
                copier: None,
                wants_copier: true,
            };
            let recipe = |size| self.build(file.as_ref(), size, count);
            return train_there(remote, order, recipe, places, report);
        }
        let file = self.recipe.file.read().await?;

        let started = Instant::now();
        let (base, compute) = self.run.compute.load(report).await?;
        let recipe = self.build(file.as_ref(), base.model_size(), count)?;
        let base = base.as_said(&recipe.said(), report)?;
        let mut job = PreparedJob {
            name: stem(&self.run.out),
            examples: prepare(&examples, &base, &recipe)?,
            recipe,
            copier: None,
            held_out_prompts: Vec::new(),
            scores: false,
            previews: None,
            recompute: Recompute::NOTHING,
        };
        job.recompute = self.run.recompute((&base, &compute), &job)?;
        train_here(&base, &job, places, started, report).await
    }

    fn find(&self) -> Result<Found, BadInput> {
        match (&self.original, &self.set) {
            (Some(original), _) => Ok(Found::Pair(PairPaths {
                original: original.clone(),
                target: None,
                mask: None,
                mask_from: Vec::new(),
            })),
            (None, Some(folder)) => Ok(Found::Set {
                folder: SetFolder::find(folder, true)?,
                mask_from: Vec::new(),
            }),
            (None, None) => Err(BadInput("name an --original, or a --set.".to_owned())),
        }
    }

    /// What is made is the copier, also if it is stopped before its end.
    fn claim_places(&self, found: &Found) -> Result<Places, BadInput> {
        let mut inputs = found.inputs();
        inputs.extend(self.recipe.file.input());
        let (lora, _) = self.run.claim(inputs)?;
        Ok(Places {
            copier: Some(lora.clone()),
            lora,
        })
    }

    /// The recipe of file and flags on a base.
    fn build(
        &self,
        file: Option<&RecipeFile>,
        size: ModelSize,
        examples: usize,
    ) -> Result<Recipe, BadInput> {
        let recipe = self.recipe.build(file, size)?;
        if examples > 1 && recipe.copier.kind == CopierKind::Identical {
            let why = format!(
                "an identical copier draws one picture, and there are {examples}. Choose --kind framing or --kind style, or name one --original."
            );
            return Err(BadInput(why));
        }
        Ok(recipe)
    }
}
