//! How far a run is, phase by phase and in all, and how long it still takes.

use mimeo_protocol::{CopierChoice, JobState, Method, Pass, Phase, TrainJob};

use super::run::Run;

/// Whether a phase was done, is or will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhaseStatus {
    /// Comes later.
    Planned,
    /// Under way, or paused in it.
    UnderWay,
    /// Done.
    Done,
    /// Was not needed: a copier was there already, or the user did not want to wait.
    Skipped,
    /// The run ended in it.
    Ended,
}

/// A phase and its progress.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PhaseProgress {
    /// Which.
    pub phase: Phase,
    /// Whether it was done, is or will be.
    pub status: PhaseStatus,
    /// Units done.
    pub done: u32,
    /// Units in all; none where that is not known.
    pub total: Option<u32>,
}

impl PhaseProgress {
    /// From 0 to 1; none where the end is not known.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        match (self.status, self.total) {
            (PhaseStatus::Done | PhaseStatus::Skipped, _) => Some(1.0),
            (PhaseStatus::Planned | PhaseStatus::Ended, None) => Some(0.0),
            (_, None | Some(0)) => None,
            (_, Some(total)) => Some((f64::from(self.done) / f64::from(total)).min(1.0)),
        }
    }
}

/// How long a run still takes, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Left {
    /// Seconds.
    pub secs: f64,
    /// Whether a part of it is told from another part's pace.
    pub is_rough: bool,
    /// Whether nothing of which the duration is not known comes after it.
    pub is_all: bool,
}

/// The phases that a job is going to have.
pub(super) fn planned(job: &TrainJob) -> impl Iterator<Item = Phase> {
    let trains_copier =
        job.recipe.method == Method::Copier && !matches!(job.copier, CopierChoice::Given(_));
    let trains_more = !job.makes_copier();
    let is_measured = job.recipe.is_measured() && trains_more;
    let (calibrates, scores) = (
        job.recipe.calibrate && is_measured,
        job.scores && is_measured,
    );
    Phase::ALL.into_iter().filter(move |phase| match phase {
        // Only a browser's GPU takes its time, and only the first time: shown once it does.
        Phase::Compiling => false,
        Phase::Copier => trains_copier,
        Phase::Training => trains_more,
        Phase::Calibrating => calibrates,
        Phase::Scoring => scores,
        _ => true,
    })
}

/// Numbers of the pass that is trained in a phase.
pub(super) const fn pass(job: &TrainJob, phase: Phase) -> Option<&Pass> {
    match phase {
        Phase::Copier => Some(&job.recipe.copier.pass),
        Phase::Training => Some(&job.recipe.pass),
        _ => None,
    }
}

/// What share of a job's time a phase takes, counted in training steps.
///
/// Fixed, and not told from the pace, so that a bar never goes backwards.
fn weight(job: &TrainJob, phase: Phase) -> f64 {
    match phase {
        Phase::Copier | Phase::Training => {
            pass(job, phase).map_or(0.0, |pass| pass.steps.get().into())
        }
        Phase::Loading => 4.0,
        // Nobody knows whether it will be, and a bar never goes backwards.
        Phase::Compiling => 0.0,
        Phase::Encoding | Phase::Saving => 2.0,
        Phase::Calibrating => measuring(job) / 4.0,
        Phase::Scoring => measuring(job) * 3.0 / 4.0,
    }
}

/// What calibration and scores take together, in training steps.
fn measuring(job: &TrainJob) -> f64 {
    /// Measured on the bundled base, of any method.
    const IN_FULL: f64 = 240.0;
    let Some(budget) = job.recipe.score_budget else {
        return IN_FULL;
    };
    let copier = match job.recipe.method {
        Method::Copier => weight(job, Phase::Copier),
        Method::Addift | Method::Plain => 0.0,
    };
    let trained = copier + weight(job, Phase::Training);
    (trained * budget.get()).min(IN_FULL)
}

impl Run {
    /// Every phase of the run, in order.
    #[must_use]
    pub fn phases(&self) -> Vec<PhaseProgress> {
        let planned: Vec<Phase> = planned(self.job()).collect();
        let is_shown = |phase: &Phase| {
            let was_compiled = *phase == Phase::Compiling && self.log().was_in(*phase);
            planned.contains(phase) || self.current_phase() == Some(*phase) || was_compiled
        };
        let shown = Phase::ALL.into_iter().filter(is_shown);
        shown.map(|phase| self.phase(phase)).collect()
    }

    /// The phase under way, or paused in.
    #[must_use]
    pub const fn current_phase(&self) -> Option<Phase> {
        match self.state() {
            JobState::Running { phase } | JobState::Paused { phase, .. } => Some(*phase),
            _ => None,
        }
    }

    /// The phase under way with its progress.
    #[must_use]
    pub fn current(&self) -> Option<PhaseProgress> {
        self.current_phase().map(|phase| self.phase(phase))
    }

    fn phase(&self, phase: Phase) -> PhaseProgress {
        let status = self.status(phase);
        let told = self.progress_in(phase);
        let planned = pass(self.job(), phase).map(|pass| pass.steps.get());
        let steps = self.log().steps(phase);
        let (done, total) = match (status, told) {
            (PhaseStatus::UnderWay, Some(told)) => (told.done, told.total),
            // It may have been good enough early.
            (PhaseStatus::Done, _) if steps > 0 => (steps, Some(steps)),
            (PhaseStatus::Done, _) => (planned.unwrap_or(0), planned),
            _ => (steps, planned),
        };
        PhaseProgress {
            phase,
            status,
            done,
            total,
        }
    }

    fn status(&self, phase: Phase) -> PhaseStatus {
        let log = self.log();
        // Without its events nobody knows; most runs skip nothing.
        let was_done = log.spans.is_empty() || log.was_in(phase);
        let done = if was_done {
            PhaseStatus::Done
        } else {
            PhaseStatus::Skipped
        };
        let reached = match self.state() {
            JobState::Queued => None,
            JobState::Finished => return done,
            JobState::Running { phase } | JobState::Paused { phase, .. } => Some(*phase),
            JobState::Stopped | JobState::Failed { .. } => self.ended_in(),
        };
        let Some(reached) = reached else {
            return PhaseStatus::Planned;
        };
        match phase.cmp(&reached) {
            std::cmp::Ordering::Less => done,
            std::cmp::Ordering::Equal if self.state().is_over() => PhaseStatus::Ended,
            std::cmp::Ordering::Equal => PhaseStatus::UnderWay,
            std::cmp::Ordering::Greater => PhaseStatus::Planned,
        }
    }

    /// The phase that did not come to its end.
    fn ended_in(&self) -> Option<Phase> {
        let last = self.log().last_phase()?;
        let steps = self.job().recipe.pass.steps.get();
        // What was trained until then is saved in any case.
        let was_cut = last == Phase::Saving && self.log().steps(Phase::Training) < steps;
        Some(if was_cut { Phase::Training } else { last })
    }

    /// How much of the run is done, from 0 to 1. Falls only where it goes on from a checkpoint.
    #[must_use]
    pub fn share(&self) -> f64 {
        if *self.state() == JobState::Finished {
            return 1.0;
        }
        let (mut done, mut all) = (0.0, 0.0);
        for phase in self.phases() {
            let weight = weight(self.job(), phase.phase);
            done += weight * phase.share().unwrap_or(0.0);
            all += weight;
        }
        done / all
    }

    /// How long the run still takes; none while that is not known, or not steady.
    #[must_use]
    pub fn left(&self) -> Option<Left> {
        let JobState::Running { phase } = self.state() else {
            return None;
        };
        let progress = self.progress_in(*phase)?;
        let secs = progress.left_secs?;
        if !self.paces().is_steady() || !secs.is_finite() {
            return None;
        }
        let training = self.training_after(*phase, progress.secs_per_unit);
        let measured = [Phase::Calibrating, Phase::Scoring];
        let is_unknown = |later: Phase| later > *phase && measured.contains(&later);
        let starts = [Phase::Loading, Phase::Compiling, Phase::Encoding].contains(phase);
        Some(Left {
            secs: secs + training.unwrap_or(0.0),
            is_rough: training.is_some(),
            is_all: !starts && !planned(self.job()).any(is_unknown),
        })
    }

    /// What training takes after the copier, told from the copier's pace: a step takes about as
    /// long as it has draws.
    fn training_after(&self, phase: Phase, secs_per_step: Option<f64>) -> Option<f64> {
        if phase != Phase::Copier {
            return None;
        }
        let recipe = &self.job().recipe;
        let draws = |pass: &Pass| f64::from(pass.batch_size.get() * pass.accumulation.get());
        let secs = secs_per_step? * draws(&recipe.pass) / draws(&recipe.copier.pass);
        Some(secs * f64::from(recipe.pass.steps.get()))
    }

    /// How long a unit of the phase under way takes, once that is known.
    #[must_use]
    pub fn secs_per_unit(&self) -> Option<f64> {
        let JobState::Running { phase } = self.state() else {
            return None;
        };
        self.progress_in(*phase)?.secs_per_unit
    }

    /// How long it was worked on, in milliseconds; none while that is not known. Waiting and pauses
    /// do not count.
    #[must_use]
    pub fn elapsed_millis(&self, now_millis: u64) -> Option<u64> {
        let spans = &self.log().spans;
        let length = |span: &super::log::Span| {
            let until = span.until_millis.unwrap_or(now_millis);
            until.saturating_sub(span.from_millis)
        };
        (!spans.is_empty()).then(|| spans.iter().map(length).sum())
    }
}
