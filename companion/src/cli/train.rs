//! `mimeo train`: pictures in, one LoRA out.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use mimeo_checkpoint::LoraFile;
use mimeo_engine::artifact::encode as encode_lora;
use mimeo_engine::{
    Base, DeviceChoice, Outcome, Phase, PreparedExample, PreparedJob, Recompute, Scores, Stoppable,
};
use mimeo_protocol::{InvalidId, JobName, Method, ModelSize, Recipe};
use serde::Serialize;

use super::examples::{CheckedExample, ExampleArgs, Found};
use super::held_out::{HeldOut, HeldOutArgs};
use super::recipe_flags::{RecipeFlags, belongs_to};
use super::run_args::RunArgs;
use super::{lora, score_table};

pub(super) mod remote;

use crate::exit::{BadInput, Exit};
use crate::interrupt;
use crate::output::{Format, OutFile};
use crate::progress::{Report, duration};
use crate::recipe::RecipeFile;
use remote::Order;

/// Train a LoRA from two pictures, or from the pairs of a folder.
#[derive(Debug, Args)]
pub struct Train {
    #[command(flatten)]
    examples: ExampleArgs,
    #[command(flatten)]
    run: RunArgs,
    /// Skip measuring what the LoRA does
    #[arg(long)]
    no_score: bool,
    #[command(flatten)]
    held_out: HeldOutArgs,
    /// Method copier: use this finished copier of the original instead of training one
    #[arg(long, value_name = "FILE", conflicts_with = "save_copier")]
    copier: Option<PathBuf>,
    /// Method copier: write the copier as well
    #[arg(long, value_name = "FILE")]
    save_copier: Option<PathBuf>,
    #[command(flatten)]
    recipe: RecipeFlags,
}

/// Where the results go.
pub(super) struct Places {
    pub lora: OutFile,
    pub copier: Option<OutFile>,
}

/// Files that were written.
#[derive(Default)]
struct Written {
    lora: Option<String>,
    copier: Option<String>,
}

impl Train {
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
        let found = self.examples.find()?;
        let places = self.claim_places(&found)?;
        let examples = found.read("set", report)?;
        let held_out = self.held_out.read()?;
        let recipe_file = self.recipe.file.read().await?;
        self.tell_idle(recipe_file.as_ref(), report);
        let copier = lora::CopierFile::read(self.copier.as_deref()).await?;

        let started = Instant::now();
        let (base, compute) = self.run.compute.load(report).await?;
        let recipe = self.build(recipe_file.as_ref(), base.model_size(), held_out.as_ref())?;
        let base = base.as_said(&recipe.said(), report)?;
        if copier.is_some() || !makes_copier(&examples, &recipe) {
            report.plan(&recipe, !self.no_score);
        }
        let copier = copier.map(|copier| copier.fit(&base, report)).transpose()?;
        let mut job = PreparedJob {
            name: stem(&self.run.out),
            examples: prepare(&examples, &base, &recipe)?,
            held_out_prompts: self.run.compute.held_out_prompts(&recipe),
            scores: !self.no_score,
            recipe,
            copier,
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
        let found = self.examples.find()?;
        let places = self.claim_places(&found)?;
        let examples = found.read("set", report)?;
        let (base, vae) = self.run.compute.remote_base()?;
        let held_out = self.held_out.read()?;
        let recipe_file = mimeo_engine::runtime::block_on(self.recipe.file.read())?;
        self.tell_idle(recipe_file.as_ref(), report);
        let copier = mimeo_engine::runtime::block_on(async {
            let copier = lora::CopierFile::read(self.copier.as_deref()).await?;
            match copier {
                Some(copier) => copier.upload().await.map(Some),
                None => Ok(None),
            }
        })?;
        let name = job_name(&self.run.out)?;
        let recipe = |size| self.build(recipe_file.as_ref(), size, held_out.as_ref());
        let order = Order {
            name,
            base,
            vae,
            examples,
            scores: !self.no_score,
            copier,
            wants_copier: self.save_copier.is_some(),
        };
        train_there(remote, order, recipe, places, report)
    }

    fn claim_places(&self, found: &Found) -> Result<Places, BadInput> {
        let copier = self.copier.as_deref().map(|copier| ("--copier", copier));
        let mut inputs = found.inputs();
        inputs.extend(self.recipe.file.input());
        inputs.extend(copier);
        inputs.extend(self.held_out.input());
        let (lora, mut claims) = self.run.claim(inputs)?;
        let copier = self.save_copier.as_ref();
        let copier = copier.map(|path| claims.claim(path, Format::Lora));
        Ok(Places {
            lora,
            copier: copier.transpose()?,
        })
    }

    /// The recipe of file and flags on a base.
    fn build(
        &self,
        file: Option<&RecipeFile>,
        size: ModelSize,
        held_out: Option<&HeldOut>,
    ) -> Result<Recipe, BadInput> {
        let mut recipe = self.recipe.build(file, size)?;
        if let Some(held_out) = held_out {
            recipe = held_out.over_run(recipe, !self.no_score)?;
        }
        self.check_copier_flags(&recipe)?;
        Ok(recipe)
    }

    /// A file may hold what several methods need, and only one is trained.
    fn tell_idle(&self, file: Option<&RecipeFile>, report: &mut Report) {
        let method = self.recipe.method(file);
        for note in file.into_iter().flat_map(|file| file.idle(method)) {
            report.note(note);
        }
    }

    fn check_copier_flags(&self, recipe: &Recipe) -> Result<(), BadInput> {
        let flag = match (&self.copier, &self.save_copier) {
            (Some(_), _) => "--copier",
            (_, Some(_)) => "--save-copier",
            _ => return Ok(()),
        };
        if recipe.method != Method::Copier {
            return Err(belongs_to(flag, Method::Copier, recipe.method));
        }
        match self
            .recipe
            .copier_training_flag()
            .filter(|_| self.copier.is_some())
        {
            Some(idle) => Err(BadInput(format!(
                "{idle} is about training a copier, and --copier brings one; leave one of them out."
            ))),
            None => Ok(()),
        }
    }
}

/// Whether there is no pair to learn a difference from, so that a copier is all that is made, unless one
/// is given: there is no pass but its own then, and nothing to calibrate or measure.
fn makes_copier(examples: &[CheckedExample], recipe: &Recipe) -> bool {
    let are_alone = examples.iter().all(|example| example.example.is_alone());
    recipe.method == Method::Copier && are_alone
}

/// Examples at the size at which the base trains them.
pub(super) fn prepare(
    examples: &[CheckedExample],
    base: &Base,
    recipe: &Recipe,
) -> anyhow::Result<Vec<PreparedExample>> {
    let examples = examples.iter();
    examples
        .map(|example| example.prepare(base, recipe.resolution))
        .collect()
}

/// Trains here, saves what came of it, and tells.
///
/// - `started`: when the work began
pub(super) async fn train_here(
    base: &Base,
    job: &PreparedJob,
    places: Places,
    started: Instant,
    report: &mut Report,
) -> anyhow::Result<Exit> {
    let mut control = Stoppable {
        stop: interrupt::listen(),
        emit: report,
    };
    let run = mimeo_engine::run(base, job, None, &mut control);
    let artifact = Box::pin(run).await?;
    let precision = job.recipe.precision;
    let mut encode = |file: &Option<LoraFile>| match file {
        Some(file) => encode_lora(file, precision, |note| report.note(note)).map(Some),
        None => Ok(None),
    };
    let result = Trained {
        lora: encode(&artifact.lora)?,
        copier: encode(&artifact.copier)?,
        scores: artifact.scores,
        outcome: artifact.outcome,
    };
    let written = places.save(&result, report)?;
    let secs = started.elapsed().as_secs_f64();
    Ok(tell(&result, &job.recipe, &written, secs, report))
}

/// Lets a companion train, saves here what came of it, and tells.
///
/// - `recipe`: on a base of its size
pub(super) fn train_there(
    (url, token): (&str, Option<&str>),
    order: Order,
    recipe: impl FnOnce(ModelSize) -> Result<Recipe, BadInput>,
    places: Places,
    report: &mut Report,
) -> anyhow::Result<Exit> {
    let started = Instant::now();
    let training = remote::train(url, token, order, recipe, report);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (result, recipe) = runtime.block_on(training)?;
    let written = places.save(&result, report)?;
    let secs = started.elapsed().as_secs_f64();
    Ok(tell(&result, &recipe, &written, secs, report))
}

/// What a LoRA is called: as its file.
pub(super) fn stem(out: &Path) -> String {
    let stem = out.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// The same as a companion takes it.
pub(super) fn job_name(out: &Path) -> Result<JobName, BadInput> {
    let name = stem(out).parse();
    name.map_err(|error: InvalidId| BadInput(error.to_string()))
}

/// What training came to, here or at a companion.
pub struct Trained {
    /// The LoRA's bytes; none if it ended before its first step.
    pub lora: Option<Vec<u8>>,
    /// The copier's bytes, if this run trained one.
    pub copier: Option<Vec<u8>>,
    /// What the LoRA does, if it was measured.
    pub scores: Option<Scores>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Places {
    /// Both files are put somewhere before either is told of, so that trouble with one does not lose
    /// the other.
    fn save(self, trained: &Trained, report: &mut Report) -> anyhow::Result<Written> {
        let is_finished = trained.outcome == Outcome::Finished;
        let broke_down = matches!(trained.outcome, Outcome::Diverged { .. });
        // What was stopped was wanted so. What broke down is kept, but replaces nothing.
        let settled = |place: OutFile| match broke_down {
            true => place.or_beside(BROKEN_DOWN),
            false => place,
        };
        let made_only_copier = is_finished && trained.lora.is_none();
        let copier = match self.copier {
            Some(place) => Some(settled(place)),
            // It is what was asked for.
            None if made_only_copier => Some(self.lora.clone()),
            // Nobody asked for it, but without it an interrupted run starts from nothing.
            None if !is_finished => Some(self.lora.beside("_copy")),
            None => None,
        };
        let lora = settled(self.lora);
        let mut save = |place: &OutFile, bytes: &Option<Vec<u8>>| {
            bytes
                .as_ref()
                .map(|bytes| place.save(bytes, report))
                .transpose()
        };
        let lora = save(&lora, &trained.lora);
        let copier = copier.map(|place| save(&place, &trained.copier));
        match (lora, copier.transpose()) {
            (Err(lora), Err(copier)) => anyhow::bail!("{lora}. The copier: {copier}"),
            (lora, copier) => Ok(Written {
                lora: lora?,
                copier: copier?.flatten(),
            }),
        }
    }
}

/// What the name of a LoRA says that a run kept when it broke down.
const BROKEN_DOWN: &str = "_broken_down";

/// What `--json` prints last.
#[derive(Serialize)]
struct TrainResult<'a> {
    out: Option<&'a str>,
    copier: Option<&'a str>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped_in: Option<Phase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped_after_step: Option<u32>,
    scores: Option<&'a Scores>,
    secs: f64,
}

/// Tells what a run came to.
fn tell(
    trained: &Trained,
    recipe: &Recipe,
    written: &Written,
    secs: f64,
    report: &mut Report,
) -> Exit {
    let is_finished = trained.outcome == Outcome::Finished;
    let only_copier = written.copier.as_deref();
    let only_copier = only_copier.filter(|_| is_finished && trained.lora.is_none());
    let mut result = TrainResult {
        out: written.lora.as_deref().or(only_copier),
        copier: written.copier.as_deref(),
        outcome: "finished",
        reason: None,
        stopped_in: None,
        stopped_after_step: None,
        scores: trained.scores.as_ref(),
        secs,
    };
    let files = file_lines(written);
    match &trained.outcome {
        Outcome::Finished => {
            let scores = trained.scores.as_ref();
            let scores = scores.map(|scores| score_table::table(scores, recipe));
            let scores = scores.map(|table| format!("{table}\n")).unwrap_or_default();
            report.result(&result, &format!("{scores}{files} in {}", duration(secs)));
            Exit::Done
        }
        Outcome::Stopped { phase, step } => {
            result.outcome = "stopped";
            result.stopped_in = Some(*phase);
            result.stopped_after_step = Some(*step);
            let (pass, what) = match phase {
                Phase::Copier => (&recipe.copier.pass, "the copier's "),
                _ => (&recipe.pass, ""),
            };
            let stop = format!("Stopped after {what}step {step} of {}", pass.steps);
            report.result(&result, &format!("{stop}\n{files}{}", hint(written)));
            Exit::Stopped
        }
        Outcome::Diverged { reason } => {
            result.outcome = "diverged";
            result.reason = Some(reason);
            report.result(&result, &files);
            report.error_sentence(reason);
            Exit::Failure
        }
    }
}

fn file_lines(written: &Written) -> String {
    let line = |what: &str, path: &Option<String>| {
        path.as_ref()
            .map(|path| format!("Saved the {what} to {path:?}"))
    };
    let lines = [line("LoRA", &written.lora), line("copier", &written.copier)];
    lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// How a stopped run can be taken up again.
fn hint(written: &Written) -> &'static str {
    match written.copier {
        Some(_) => "; --copier uses it next time",
        None => "",
    }
}
