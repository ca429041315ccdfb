//! `mimeo bench scores`: does what calibrates and measures within the budget come to the same as in full?

use clap::Args;
use clap::builder::PossibleValuesParser;
use mimeo_engine::{
    Base, DeviceChoice, EngineError, LoadedLora, Outcome, Scores, Stoppable, measure_file,
    score_file,
};
use mimeo_protocol::{Method, Recipe, Said, ScoreBudget};
use serde::Serialize;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use super::base::BaseArgs;
use super::bench::pair::{self, Pair};
use super::score_table::percent;
use crate::exit::Exit;
use crate::interrupt;
use crate::progress::Report;

/// Calibrate and measure the same LoRA in full and within a budget.
#[derive(Debug, Args)]
pub struct BenchScores {
    #[command(flatten)]
    base: BaseArgs,
    /// Pairs, by edit (glasses) or one by one (glasses/00), or a folder of rendered ones [default: all bundled]
    #[arg(long, value_delimiter = ',', value_name = "EDIT,…")]
    pairs: Vec<String>,
    /// How the LoRAs are trained
    #[arg(long, default_value = "addift",
          value_parser = PossibleValuesParser::new(Method::ALL.map(Method::name)))]
    method: String,
    /// The budget [default: the preset's]
    #[arg(long, value_name = "SHARE", allow_hyphen_values = true)]
    score_budget: Option<ScoreBudget>,
}

/// A strength that was found, and what a LoRA of that strength does, measured in full.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Found {
    strength: f64,
    /// See [`Scores::edit_gain`].
    edit_gain: f64,
    /// See [`Scores::spill`].
    spill: f64,
    /// Share of unseen pictures that gained the change.
    gained: f64,
    /// How far unseen pictures went towards it.
    progress: f64,
    /// Mean change elsewhere in unseen pictures, of 255.
    elsewhere: f64,
}

impl Found {
    fn new(strength: f64, scores: &Scores) -> Self {
        Self {
            strength,
            edit_gain: scores.edit_gain,
            spill: scores.spill,
            gained: scores.held_out.gained,
            progress: scores.held_out.progress,
            elsewhere: scores.held_out.elsewhere,
        }
    }

    /// Its line in the table.
    ///
    /// - `search`: how it was found
    /// - `secs`: processor seconds that took
    fn line(&self, pair: &str, search: &str, secs: f64) -> String {
        laid_out([
            pair.to_owned(),
            search.to_owned(),
            format!("{:.3}", self.strength),
            percent(self.edit_gain),
            percent(self.spill),
            percent(self.gained),
            percent(self.progress),
            format!("{:.1}", self.elsewhere),
            format!("{secs:.1}"),
        ])
    }
}

/// The table's head.
const HEAD: [&str; 9] = [
    "pair",
    "search",
    "strength",
    "gain",
    "spill",
    "gained",
    "progress",
    "elsewhere",
    "secs",
];

#[derive(Serialize)]
struct Columns {
    columns: [&'static str; 9],
}

fn laid_out(cells: [String; 9]) -> String {
    const WIDTHS: [usize; 9] = [15, 6, 8, 6, 6, 6, 8, 9, 6];
    let cell = |(index, (text, width)): (usize, (String, usize))| match index {
        0 | 1 => format!("{text:<width$}"),
        _ => format!("{text:>width$}"),
    };
    let cells: Vec<String> = cells
        .into_iter()
        .zip(WIDTHS)
        .enumerate()
        .map(cell)
        .collect();
    cells.join("  ")
}

/// What became of one pair.
#[derive(Debug, Serialize)]
struct Row {
    pair: String,
    /// Processor seconds of training.
    training_secs: f64,
    /// By the full search, measured in full.
    full: Found,
    full_secs: f64,
    /// Within the budget, measured in full.
    budget: Found,
    /// Within the budget, as it measured itself.
    told: Found,
    budget_secs: f64,
}

impl Row {
    fn lines(&self) -> String {
        let pair = &self.pair;
        [
            self.full.line(pair, "full", self.full_secs),
            self.budget.line(pair, "budget", self.budget_secs),
            self.told.line(pair, "told", self.budget_secs),
        ]
        .join("\n")
    }
}

impl BenchScores {
    /// Where it is to be computed.
    pub const fn device(&self) -> &DeviceChoice {
        self.base.device()
    }

    /// Trains each pair once, measures twice and tells.
    ///
    /// # Errors
    /// One sentence for the user.
    pub async fn run(self, report: &mut Report) -> anyhow::Result<Exit> {
        let pairs = pair::chosen(&self.pairs)?;
        let base = self.base.load(Said::default(), report).await?;
        let columns = Columns { columns: HEAD };
        report.answer("columns", &columns, &laid_out(HEAD.map(str::to_owned)));
        let mut largest: f64 = 0.0;
        let mut secs = [0.0; 3];
        for pair in &pairs {
            let Some(row) = self.measure(&base, pair, report).await? else {
                return Ok(Exit::Stopped);
            };
            largest = largest.max((row.budget.strength / row.full.strength).ln().abs());
            let of_pair = [row.training_secs, row.full_secs, row.budget_secs];
            for (sum, one) in secs.iter_mut().zip(of_pair) {
                *sum += one;
            }
            report.answer("row", &row, &row.lines());
        }
        let [training, full, budget] = secs;
        let summary = Summary {
            largest_factor: largest.exp(),
            full_of_training: full / training,
            budget_of_training: budget / training,
        };
        let text = format!(
            "Strengths differ by a factor of {:.2} at most; of training's processor time, the full search takes {}, the budgeted one {}",
            summary.largest_factor,
            percent(summary.full_of_training),
            percent(summary.budget_of_training),
        );
        report.result(&summary, &text);
        Ok(Exit::Done)
    }

    /// None if the user stopped.
    async fn measure(
        &self,
        base: &Base,
        pair: &Pair,
        report: &mut Report,
    ) -> anyhow::Result<Option<Row>> {
        let method = Method::ALL
            .into_iter()
            .find(|one| one.name() == self.method);
        let preset = Recipe::preset(method.unwrap_or(Method::Addift), base.model_size());
        let with = |score_budget| {
            let recipe = Recipe {
                score_budget,
                ..preset.clone()
            };
            pair.job(base, recipe, (self.base.unseen_prompts(), true))
        };
        let unmeasured = with(Some(ScoreBudget::constant(0.0)))?;
        let in_full = with(None)?;
        let in_budget = with(self.score_budget.or(preset.score_budget))?;

        let mut clock = Clock::start();
        let mut control = Stoppable {
            stop: interrupt::listen(),
            emit: report,
        };
        let run = mimeo_engine::run(base, &unmeasured, None, &mut control);
        let artifact = match Box::pin(run).await {
            Err(EngineError::StoppedBeforeTraining) => return Ok(None),
            artifact => artifact?,
        };
        let training_secs = clock.lap();
        let (Outcome::Finished, Some(file)) = (artifact.outcome, artifact.lora) else {
            return Ok(None);
        };
        let network = LoadedLora::new(base, &file, "the LoRA")?.network;

        let measured = measure_file(base, &in_full, network.clone(), &mut control);
        let full = Box::pin(measured).await?;
        let full_secs = clock.lap();
        let measured = measure_file(base, &in_budget, network.clone(), &mut control);
        let told = Box::pin(measured).await?;
        let budget_secs = clock.lap();
        let (Some(full), Some(told)) = (full, told) else {
            return Ok(None);
        };
        let strength = told.calibrated_strength;
        let scaled = network.scaled(strength);
        let scored = score_file(base, &in_full, &scaled, &mut control);
        let scores = Box::pin(scored).await?;
        Ok(scores.map(|scores| Row {
            pair: pair.name.clone(),
            training_secs,
            full: Found::new(full.calibrated_strength, &full),
            full_secs,
            budget: Found::new(strength, &scores),
            told: Found::new(strength, &told),
            budget_secs,
        }))
    }
}

/// What it came to.
#[derive(Debug, Serialize)]
struct Summary {
    /// Between the strengths of a pair.
    largest_factor: f64,
    full_of_training: f64,
    budget_of_training: f64,
}

/// Counts the time that this program had of all cores, which other programs on the machine do not
/// lengthen.
struct Clock {
    system: System,
    millis: u64,
}

impl Clock {
    fn start() -> Self {
        let mut clock = Self {
            system: System::new(),
            millis: 0,
        };
        clock.lap();
        clock
    }

    /// Processor seconds since it was asked last.
    fn lap(&mut self) -> f64 {
        let id = Pid::from_u32(std::process::id());
        let what = ProcessRefreshKind::nothing().with_cpu();
        self.system
            .refresh_processes_specifics(ProcessesToUpdate::Some(&[id]), true, what);
        let process = self.system.process(id);
        let now = process.map_or(0, sysinfo::Process::accumulated_cpu_time);
        let lap = now.saturating_sub(std::mem::replace(&mut self.millis, now));
        lap as f64 / 1e3
    }
}
