//! Writes down what a running job reports.
//!
//! Nothing is reported that is not kept: when the [`Archive`] cannot take any more, the run ends
//! with that [`Trouble`].

use mimeo_engine::runtime::Stopwatch;
use mimeo_engine::{Event, Phase};
use mimeo_protocol::{
    JobEventKind, JobProgress, LossPoint, Pace as KnownPace, TrainJob, Transition,
};

use crate::archive::{Archive, Trouble};
use crate::pace::Pace;
use crate::store::StoredJob;

/// Losses are told at most this often.
const LOSSES_EVERY_SECS: f64 = 0.1;

/// The writer of one run.
#[derive(Debug)]
pub(crate) struct Recorder<A> {
    archive: A,
    job: StoredJob,
    /// Of base, picture and recipe, once known.
    pub fingerprint: Option<String>,
    /// Of the largest picture as it is trained, once known.
    pub pixels: Option<u64>,
    phase: Phase,
    pace: Pace,
    losses: Vec<LossPoint>,
    losses_told: Stopwatch,
    /// Whether it was told that previews have no room.
    pub told_no_room: bool,
    trouble: Option<Trouble>,
}

impl<A: Archive> Recorder<A> {
    /// The writer of a run that begins.
    pub fn new(archive: A, job: StoredJob) -> Self {
        Self {
            archive,
            job,
            fingerprint: None,
            pixels: None,
            phase: Phase::Loading,
            pace: Pace::new(None),
            losses: Vec::new(),
            losses_told: Stopwatch::start(),
            told_no_room: false,
            trouble: None,
        }
    }

    /// Where it writes.
    pub const fn archive(&mut self) -> &mut A {
        &mut self.archive
    }

    /// What was asked for.
    pub const fn job(&self) -> &TrainJob {
        &self.job.job
    }

    /// What keeps the run from going on.
    pub const fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Takes an event of the engine.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Phase { phase, total } => {
                self.tell_losses();
                self.keep_pace();
                self.phase = phase;
                self.pace = Pace::new(total);
                self.change_state(&Transition::Enter(phase));
                self.tell_progress();
            }
            Event::Progress { done } => {
                self.pace.reached(done);
                self.tell_progress();
            }
            Event::Resumed { phase, step } => {
                self.pace.starts_at(step);
                self.record(&JobEventKind::Resumed { phase, step });
                self.tell_progress();
            }
            Event::Step {
                step, loss, secs, ..
            } => {
                self.losses.push(LossPoint { step, loss });
                if self.losses_told.secs() >= LOSSES_EVERY_SECS {
                    self.tell_losses();
                }
                self.pace.took(step, secs);
                self.tell_progress();
            }
            Event::CopyFidelity { step, fidelity } => {
                self.tell_losses();
                self.record(&JobEventKind::CopyFidelity { step, fidelity });
            }
            Event::Response { curve } => self.record(&JobEventKind::Response { curve }),
            Event::Leak { point } => {
                self.tell_losses();
                self.record(&JobEventKind::Leak { point });
            }
            Event::Note { text } => self.record(&JobEventKind::Note { text }),
        }
    }

    /// Adds a fact.
    pub fn record(&mut self, kind: &JobEventKind) {
        self.persist(|archive| archive.record(kind));
    }

    /// Changes the job's state.
    pub fn change_state(&mut self, transition: &Transition) {
        self.persist(|archive| archive.change_state(transition));
    }

    /// Tells the losses that were not told yet.
    pub fn tell_losses(&mut self) {
        if self.losses.is_empty() {
            return;
        }
        let points = std::mem::take(&mut self.losses);
        let phase = self.phase;
        self.losses_told = Stopwatch::start();
        self.record(&JobEventKind::Losses { phase, points });
    }

    /// Remembers how long the steps of this pass take: what the next recipe will cost is told from
    /// it.
    pub fn keep_pace(&mut self) {
        let job = &self.job.job;
        let pass = match self.phase {
            Phase::Copier => &job.recipe.copier.pass,
            Phase::Training => &job.recipe.pass,
            _ => return,
        };
        let (Some(pixels), Some(secs_per_step)) = (self.pixels, self.pace.settled_secs()) else {
            return;
        };
        let pace = KnownPace {
            base: job.base.clone(),
            method: job.recipe.method,
            phase: self.phase,
            batch_size: pass.batch_size.get(),
            accumulation: pass.accumulation.get(),
            rank: pass.rank.get(),
            pixels,
            secs_per_step,
        };
        self.archive.keep_pace(&pace);
    }

    /// Notes that the run cannot go on.
    pub fn fail(&mut self, message: String) {
        self.trouble.get_or_insert(Trouble::Failed(message));
    }

    fn tell_progress(&mut self) {
        self.archive.tell_progress(JobProgress {
            job: self.job.id,
            phase: self.phase,
            done: self.pace.done(),
            total: self.pace.total(),
            secs_per_unit: self.pace.secs_per_unit(),
            left_secs: self.pace.left_secs(),
        });
    }

    /// Uses the archive. After trouble, nothing any more.
    pub fn persist<T>(&mut self, write: impl FnOnce(&mut A) -> Result<T, Trouble>) -> Option<T> {
        if self.trouble.is_some() {
            return None;
        }
        let written = write(&mut self.archive);
        written.map_err(|trouble| self.trouble = Some(trouble)).ok()
    }
}
