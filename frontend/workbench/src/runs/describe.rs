//! A run in words.

use mimeo_protocol::fields::{Field, Kind};
use mimeo_protocol::{
    BlobId, CopierChoice, CopierId, CopierInfo, Example, JobState, LearningRate, Method,
    PauseReason, Phase, Recipe, TrainJob,
};
use serde_json::Value;

use super::phases::{Left, PhaseProgress, pass};
use super::run::Run;
use crate::fields::{FieldInRecipe as _, edited, text_of};
use crate::{plain, words};

impl Run {
    /// Where it is, in one line: "Training · step 12 of 30 · 1.4 s/step · 25 s left".
    #[must_use]
    pub fn headline(&self) -> String {
        let mut parts = vec![words::state(self.state()).to_owned()];
        match self.state() {
            JobState::Running { phase } => {
                parts.extend(self.current().and_then(units));
                parts.extend(self.pace_text(*phase));
                parts.extend(self.left().map(|left| left_text(left, *phase)));
            }
            JobState::Paused { phase, .. } => {
                parts.push(words::phase(*phase).to_owned());
                parts.extend(self.current().and_then(units));
            }
            JobState::Finished => parts.extend(self.scores().map(words::scores)),
            JobState::Stopped => parts.extend(self.stopped_at()),
            JobState::Queued | JobState::Failed { .. } => {}
        }
        parts.join(" · ")
    }

    /// What it learns from, where that is more than one pair: "12 pairs".
    #[must_use]
    pub fn pairs(&self) -> Option<String> {
        let count = self.job().examples.len();
        (count > 1).then(|| format!("{count} pairs"))
    }

    fn pace_text(&self, phase: Phase) -> Option<String> {
        let unit = words::unit(phase)?;
        self.secs_per_unit().map(|secs| words::pace(secs, unit))
    }

    fn stopped_at(&self) -> Option<String> {
        let curve = self.curves().last()?;
        let steps = pass(self.job(), curve.phase)?.steps;
        Some(format!("step {} of {steps}", curve.last_step()))
    }

    /// What a screen reader says by itself: changes with every phase and every quarter of a pass,
    /// and not in between. Failures are said where they stand.
    #[must_use]
    pub fn announcement(&self) -> String {
        let name = &self.job().name;
        let said = match self.state() {
            JobState::Running { phase } => {
                let quarter = self.current().filter(|_| words::unit(*phase).is_some());
                let quarter = quarter.as_ref().and_then(quarter_text).unwrap_or_default();
                format!("{}{quarter}", words::phase(*phase))
            }
            JobState::Finished => match self.scores() {
                Some(scores) => format!("finished, {}", words::scores(scores)),
                None => "finished".to_owned(),
            },
            state => words::state(state).to_lowercase(),
        };
        format!("{name}: {said}")
    }

    /// Why it waits or ended, in the server's sentence, where there is one.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self.state() {
            JobState::Failed { message }
            | JobState::Paused {
                reason: PauseReason::DiskFull { message },
                ..
            } => Some(message),
            _ => None,
        }
    }

    /// Whether it failed because its loss broke down, which a lower learning rate may cure.
    #[must_use]
    pub fn is_diverged(&self) -> bool {
        match self.state() {
            JobState::Failed { message } => {
                let message = message.to_lowercase();
                message.contains("the loss") || message.contains("learning rate")
            }
            _ => false,
        }
    }

    /// The job to put back on the bench: the same one; if its loss broke down, with half the
    /// learning rate in the pass that it came to, and in those after it.
    #[must_use]
    pub fn to_run_again(&self) -> TrainJob {
        let mut job = self.job().clone();
        if self.is_diverged() {
            let half = |rate: &mut LearningRate| {
                *rate = LearningRate::try_from(rate.get() / 2.0).unwrap_or(*rate);
            };
            let broke_down = self.curves().last().map(|curve| curve.phase);
            if broke_down == Some(Phase::Copier) {
                half(&mut job.recipe.copier.pass.learning_rate);
            }
            half(&mut job.recipe.pass.learning_rate);
        }
        job
    }

    /// Everything that somebody who is to help has to know, as text.
    #[must_use]
    pub fn report(&self) -> String {
        let job = self.job();
        let recipe = serde_json::to_string_pretty(&job.recipe).unwrap_or_default();
        let mut lines = vec![
            format!("Run {} ({}) on {}", self.id(), job.name, job.base),
            self.headline(),
        ];
        lines.extend(self.pairs());
        lines.extend(self.reason().map(str::to_owned));
        for curve in self.curves() {
            let (phase, step) = (words::phase(curve.phase), curve.last_step());
            lines.push(format!("{phase}: until step {step}"));
        }
        lines.extend(self.remarks());
        lines.push(recipe);
        lines.join("\n")
    }

    /// What the user should know of its course, a sentence each.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let resumed = self.resumptions().last().map(|resumption| {
            let (phase, step) = (words::phase(resumption.phase), resumption.step);
            format!("{phase} went on from step {step}, where it was saved last")
        });
        self.notes().iter().cloned().chain(resumed).collect()
    }
}

/// "step 12 of 30", "3 of 4", "38 %".
fn units(progress: PhaseProgress) -> Option<String> {
    let total = progress.total?;
    let done = progress.done;
    Some(match words::unit(progress.phase) {
        Some(unit) => format!("{unit} {done} of {total}"),
        None => words::percent(progress.share()?),
    })
}

fn quarter_text(progress: &PhaseProgress) -> Option<String> {
    let quarters = (progress.share()? * 4.0).floor();
    (quarters > 0.0).then(|| format!(", {}", words::percent(quarters / 4.0)))
}

fn left_text(left: Left, phase: Phase) -> String {
    let about = if left.is_rough { "about " } else { "" };
    let of = match phase {
        _ if left.is_all => "",
        Phase::Copier | Phase::Training => " of training",
        _ => " of this part",
    };
    format!("{about}{}{of} left", words::duration(left.secs))
}

/// What a job changed against another one, as label and new value, the weightiest first.
///
/// - `copiers`: those that the server has
#[must_use]
pub fn differs(
    before: &TrainJob,
    after: &TrainJob,
    copiers: &[CopierInfo],
) -> Vec<(&'static str, String)> {
    let mut changes = Vec::new();
    let count = after.examples.len();
    if before.examples.len() != count {
        changes.push(("Pairs", count.to_string()));
    }
    let examples = || before.examples.iter().zip(&after.examples);
    let is_other =
        |picture: fn(&Example) -> BlobId| examples().any(|(old, new)| picture(old) != picture(new));
    for (label, is_other) in [
        ("A", is_other(|example| example.original)),
        ("B", is_other(|example| example.target)),
    ] {
        if is_other {
            changes.push((label, "another picture".to_owned()));
        }
    }
    let mask = examples().find_map(|(old, new)| mask_change(old.mask, new.mask));
    changes.extend(mask.map(|value| ("Mask", value.to_owned())));
    if before.base != after.base {
        changes.push(("Base", after.base.to_string()));
    }
    if before.vae != after.vae {
        let vae = after.vae.as_ref().map(ToString::to_string);
        changes.push(("VAE", vae.unwrap_or_else(|| "the base's own".to_owned())));
    }
    if before.recipe.method != after.recipe.method {
        let (title, _) = plain::explain(after.recipe.method);
        changes.push(("Method", title.to_owned()));
    }
    if given(before) != given(after) && after.recipe.method == Method::Copier {
        let copier = match given(after) {
            None => "its own".to_owned(),
            Some(id) => {
                let known = copiers.iter().find(|copier| copier.id == id);
                known.map_or("one that is gone".to_owned(), |it| it.name.to_string())
            }
        };
        changes.push(("Copier", copier));
    }
    let fields = edited(&after.recipe, &before.recipe);
    changes.extend(
        fields
            .into_iter()
            .map(|field| (field.label, field_text(field, &after.recipe))),
    );
    changes
}

/// The finished copier that a job was told to build upon.
const fn given(job: &TrainJob) -> Option<CopierId> {
    match job.copier {
        CopierChoice::Given(id) => Some(id),
        CopierChoice::Cached | CopierChoice::New => None,
    }
}

fn mask_change(before: Option<BlobId>, after: Option<BlobId>) -> Option<&'static str> {
    match (before, after) {
        _ if before == after => None,
        (_, None) => Some("none"),
        (None, Some(_)) => Some("painted"),
        (Some(_), Some(_)) => Some("another one"),
    }
}

fn field_text(field: &Field, recipe: &Recipe) -> String {
    match (field.kind, field.value(recipe)) {
        (Kind::OptionalNumber(_, none), Value::Null) => none.word.to_owned(),
        (Kind::Lines, Value::Array(lines)) => format!("{} of one's own", lines.len()),
        (Kind::Lines, _) => "none of one's own".to_owned(),
        (_, Value::Null | Value::Bool(false)) => "off".to_owned(),
        (_, Value::Bool(true)) => "on".to_owned(),
        (_, Value::String(text)) if text.is_empty() => "none".to_owned(),
        (_, Value::String(text)) => format!("“{text}”"),
        (_, value) => text_of(&value),
    }
}
