//! `mimeo bench methods`: every method on every pair.

mod judge;
pub mod pair;
mod row;

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use mimeo_checkpoint::LoraFile;
use mimeo_engine::sample::sample;
use mimeo_engine::{
    Base, DeviceChoice, EngineError, Event, LoadedLora, LoraStack, NoRest, Outcome, Phase,
    PreparedJob, SampleRequest, Scores, Stoppable,
};
use mimeo_image::Sheet;
use mimeo_protocol::{Method, Recipe, Said};

use super::base::BaseArgs;
use super::grid::rows;
use super::number::whole;
use super::pictures::save_png;
use crate::exit::{BadInput, Exit};
use crate::interrupt;
use crate::output::{Claims, Existing, Format, OutFile};
use crate::progress::Report;
use judge::JudgeArgs;
use pair::Pair;
use row::{HEAD, Measured, Row};

/// Seed of a sheet's first row; training counts from 0.
const SHEET_SEED: u64 = 7000;
const SHEET_SCALE: u32 = 2;

/// Compare the methods on pairs, each with its preset.
#[derive(Debug, Args)]
pub struct Methods {
    #[command(flatten)]
    base: BaseArgs,
    /// Pairs, by edit (glasses) or one by one (glasses/00), or a folder of rendered ones [default: all bundled]
    #[arg(long, value_delimiter = ',', value_name = "EDIT,…")]
    pairs: Vec<String>,
    /// Methods [default: all]
    #[arg(long, value_delimiter = ',', value_name = "METHOD,…",
          value_parser = PossibleValuesParser::new(Method::OF_PICTURES.map(Method::name)))]
    methods: Vec<String>,
    /// Training seeds per pair and method; the table shows their mean
    #[arg(long, default_value_t = 1, value_parser = whole("Seeds", 1..=100), allow_hyphen_values = true)]
    seeds: u32,
    /// A folder for one sheet per pair: the base and each method, unseen prompts, the same seeds
    #[arg(long, value_name = "FOLDER", conflicts_with = "judge")]
    sheets: Option<PathBuf>,
    /// Replace files that exist
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    judge: JudgeArgs,
}

impl Methods {
    /// Where it is to be computed.
    pub const fn device(&self) -> &DeviceChoice {
        self.base.device()
    }

    /// Trains, measures and tells.
    ///
    /// # Errors
    /// One sentence for the user.
    pub async fn run(self, report: &mut Report) -> anyhow::Result<Exit> {
        let pairs = pair::chosen(&self.pairs)?;
        let methods: Vec<Method> = Method::ALL
            .into_iter()
            .filter(|method| self.wants(*method))
            .collect();
        let existing = Existing::from(self.overwrite);
        if self.judge.judge {
            let out = self.judge.claim(existing)?;
            let base = self.base.load(Said::default(), report).await?;
            let prompts = self.base.unseen_prompts();
            let base = (&base, &*prompts);
            let run = self
                .judge
                .run(base, &pairs, &methods, self.seeds, &out, report);
            return Box::pin(run).await;
        }
        let sheets = self.claim_sheets(&pairs)?;
        let base = self.base.load(Said::default(), report).await?;

        let mut table = Vec::new();
        let mut exit = Exit::Done;
        report.answer("columns", &HEAD.columns(), &HEAD.line());
        'pairs: for (index, pair) in pairs.iter().enumerate() {
            let mut loras = Vec::new();
            for method in &methods {
                let Some((row, lora)) = self.measure(&base, pair, *method, report).await? else {
                    exit = Exit::Stopped;
                    break 'pairs;
                };
                report.answer("row", &row, &row.line());
                table.push(row);
                loras.push((*method, lora));
            }
            if let Some(out) = sheets.get(index) {
                self.draw_sheet(&base, pair, &loras, out, report).await?;
            }
        }
        for method in &methods {
            if let Some(mean) = Row::mean(*method, &table) {
                report.answer("mean", &mean, &mean.line());
            }
        }
        Ok(exit)
    }

    fn wants(&self, method: Method) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|name| name == method.name())
    }

    fn claim_sheets(&self, pairs: &[Pair]) -> Result<Vec<OutFile>, BadInput> {
        let Some(folder) = &self.sheets else {
            return Ok(Vec::new());
        };
        let mut claims = Claims::new(Existing::from(self.overwrite), self.base.inputs());
        let name = |pair: &Pair| folder.join(format!("{}.png", pair.name.replace('/', "-")));
        pairs
            .iter()
            .map(|pair| claims.claim(&name(pair), Format::Picture))
            .collect()
    }

    /// One row: the mean over the seeds, and the LoRA of the first. None if the user stopped.
    async fn measure(
        &self,
        base: &Base,
        pair: &Pair,
        method: Method,
        report: &mut Report,
    ) -> anyhow::Result<Option<(Row, LoraFile)>> {
        let mut measured = Vec::new();
        let mut first = None;
        for seed in 0..u64::from(self.seeds) {
            let recipe = Recipe {
                seed,
                // Methods are compared here, and by every picture that there is.
                score_budget: None,
                ..Recipe::preset(method, base.model_size())
            };
            let job = pair.job(base, recipe, (self.base.unseen_prompts(), true))?;
            let Some(trained) = train(base, &job, report).await? else {
                return Ok(None);
            };
            let Some(scores) = &trained.scores else {
                return Err(not_measured(&job));
            };
            measured.push(Measured::new(scores, trained.secs));
            first.get_or_insert(trained.lora);
        }
        let row = Row::of_pair(&pair.name, method, &measured);
        Ok(first.map(|lora| (row, lora)))
    }

    async fn draw_sheet(
        &self,
        base: &Base,
        pair: &Pair,
        loras: &[(Method, LoraFile)],
        out: &OutFile,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let prompts = self.base.unseen_prompts();
        let pictures = prompts.iter().cloned().zip(SHEET_SEED..).collect();
        let request = SampleRequest::new(base, pictures);
        let mut labels = vec!["base".to_owned()];
        let mut columns = vec![sample(base, &request, &LoraStack::none(), &mut NoRest).await?];
        for (method, file) in loras {
            let lora = LoadedLora::new(base, file, method.name())?;
            let stack = LoraStack::none().with(&lora.network, 1.0);
            labels.push(method.name().to_owned());
            columns.push(sample(base, &request, &stack, &mut NoRest).await?);
        }
        let sheet = Sheet {
            title: pair.name.clone(),
            columns: labels,
            rows: rows(prompts, &columns),
            scale: SHEET_SCALE,
        };
        save_png(out, &sheet.render()?, report)?;
        Ok(())
    }
}

/// What training left.
struct Trained {
    lora: LoraFile,
    /// None for a job without held-out prompts.
    scores: Option<Scores>,
    /// Seconds that its passes took.
    secs: f64,
}

/// Trains one job. None if the user stopped.
async fn train(
    base: &Base,
    job: &PreparedJob,
    report: &mut Report,
) -> anyhow::Result<Option<Trained>> {
    let mut secs = 0.0;
    let mut passes_since = None;
    let mut emit = |event: Event| {
        if let Event::Phase { phase, .. } = event {
            match phase {
                Phase::Copier | Phase::Training => {
                    passes_since.get_or_insert_with(std::time::Instant::now);
                }
                _ => {
                    if let Some(since) = passes_since.take() {
                        secs = since.elapsed().as_secs_f64();
                    }
                }
            }
        }
        mimeo_engine::Emit::emit(report, event);
    };
    let mut control = Stoppable {
        stop: interrupt::listen(),
        emit: &mut emit,
    };
    let run = mimeo_engine::run(base, job, None, &mut control);
    let artifact = match Box::pin(run).await {
        Err(EngineError::StoppedBeforeTraining) => return Ok(None),
        artifact => artifact?,
    };
    let scores = artifact.scores;
    match (artifact.outcome, artifact.lora) {
        (Outcome::Stopped { .. }, _) => Ok(None),
        (Outcome::Finished, Some(lora)) => Ok(Some(Trained { lora, scores, secs })),
        (Outcome::Diverged { reason }, _) => anyhow::bail!("{} ({reason})", job.name),
        (Outcome::Finished, None) => Err(not_measured(job)),
    }
}

fn not_measured(job: &PreparedJob) -> anyhow::Error {
    anyhow::anyhow!(
        "{} was not measured; run it with `mimeo train` to see why.",
        job.name
    )
}

/// A line of a table: pair and method on the left of their columns, numbers on the right of theirs.
fn laid_out(cells: &[impl std::fmt::Display], widths: &[usize]) -> String {
    let cell = |(index, (text, width)): (usize, (_, &usize))| match index {
        0 | 1 => format!("{text:<width$}"),
        _ => format!("{text:>width$}"),
    };
    let cells: Vec<String> = cells.iter().zip(widths).enumerate().map(cell).collect();
    cells.join("  ")
}
