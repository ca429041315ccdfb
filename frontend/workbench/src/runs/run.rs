//! One job as the page knows it.

use std::sync::Arc;

use mimeo_protocol::{
    BlobId, FileKind, JobControl, JobEvent, JobEventKind, JobId, JobProgress, JobState, JobSummary,
    PauseReason, Phase, ResultFile, Scores, TrainJob,
};

use super::curve::Curve;
use super::log::{Fidelity, Log, Resumption};
use super::paces::Paces;
use super::previews::{Column, Previews};
use super::{Gap, Outcome};

/// A job, what is known of it, and what was asked for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Run {
    id: JobId,
    job: Arc<TrainJob>,
    submitted_millis: u64,
    summary: Summary,
    log: Arc<Log>,
    progress: Option<JobProgress>,
    paces: Paces,
    /// Number of the newest event that was heard of.
    newest: u64,
    /// Events up to this one were asked for, and are on their way.
    awaited: u64,
}

/// What a snapshot says of a job, kept up to date.
#[derive(Debug, Clone)]
struct Summary {
    /// Number of the last event that it includes.
    seq: u64,
    state: JobState,
    files: Vec<ResultFile>,
    scores: Option<Scores>,
    /// Whether this attempt left what one stops it for: its LoRA, or its copier.
    has_kept: bool,
}

/// Something that happened at a step, to be marked on the loss chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    /// When.
    pub column: Column,
    /// Whether pictures were drawn.
    pub has_preview: bool,
    /// Whether the LoRA was saved as it was.
    pub has_file: bool,
}

impl Run {
    pub(super) fn new(summary: &JobSummary) -> Self {
        let mut run = Self {
            id: summary.id,
            job: Arc::new(summary.job.clone()),
            submitted_millis: summary.submitted_millis,
            summary: Summary::from(summary),
            log: Arc::default(),
            progress: None,
            paces: Paces::default(),
            newest: summary.seq,
            awaited: 0,
        };
        if let Some(progress) = &summary.progress {
            run.set_progress(progress);
        }
        run
    }

    /// The run on a new connection.
    pub(super) fn welcomed(mut self, summary: &JobSummary) -> Self {
        // The number may stand for another job if the server's data was replaced or put back.
        if !self.is_of(summary) || summary.seq < self.log.seq {
            return Self::new(summary);
        }
        self.awaited = 0;
        self.newest = summary.seq;
        self.summary = Summary::from(summary);
        self.progress = None;
        if let Some(progress) = &summary.progress {
            self.set_progress(progress);
        }
        self
    }

    /// The server said again that the job is new.
    pub(super) fn told_again(&mut self, summary: &JobSummary) {
        if !self.is_of(summary) {
            *self = Self::new(summary);
        } else if summary.seq >= self.summary.seq {
            self.newest = self.newest.max(summary.seq);
            self.summary = Summary::from(summary);
        }
    }

    fn is_of(&self, summary: &JobSummary) -> bool {
        self.submitted_millis == summary.submitted_millis && *self.job == summary.job
    }

    pub(super) fn event(&mut self, event: &JobEvent) -> Outcome {
        self.newest = self.newest.max(event.seq);
        let is_news = event.seq == self.summary.seq + 1;
        if is_news {
            self.summary.push(event);
            self.leave_old_progress();
        }
        if event.seq == self.log.seq + 1 {
            Arc::make_mut(&mut self.log).push(event);
            return Outcome::Changed;
        }
        if event.seq > self.log.seq {
            let is_coming = self.awaited > self.log.seq;
            let gap = self.ask();
            if !is_coming {
                return Outcome::Gap(gap);
            }
        }
        if is_news {
            Outcome::Changed
        } else {
            Outcome::Nothing
        }
    }

    pub(super) fn progressed(&mut self, progress: &JobProgress) -> Outcome {
        if self.progress.as_ref() == Some(progress) {
            return Outcome::Nothing;
        }
        self.set_progress(progress);
        Outcome::Changed
    }

    fn set_progress(&mut self, progress: &JobProgress) {
        self.paces.note(progress);
        self.progress = Some(progress.clone());
    }

    /// Progress and states come on ways of their own, so that of the next phase may be here before
    /// the phase, and that of a run that ended after its end.
    fn leave_old_progress(&mut self) {
        if !self.is_under_way() {
            self.progress = None;
        }
    }

    /// Notes that what is missing was asked for. What the server sends before it hears that, is in
    /// its answer as well.
    pub(super) fn ask(&mut self) -> Gap {
        self.awaited = self.newest;
        Gap {
            job: self.id,
            after: self.log.seq,
        }
    }

    pub(super) const fn not_coming(&mut self) {
        self.awaited = 0;
    }

    /// Whether its events matter before somebody looks at it: they did so far, or it runs.
    pub(super) fn is_followed(&self) -> bool {
        self.log.seq > 0 || self.is_under_way()
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    pub(super) const fn paces(&self) -> &Paces {
        &self.paces
    }

    /// The last that was told of this phase.
    pub(super) fn progress_in(&self, phase: Phase) -> Option<&JobProgress> {
        let progress = self.progress.as_ref();
        progress.filter(|progress| progress.phase == phase)
    }

    /// Whether events are missing, and nobody has asked for them: see [`super::Runs::ask`].
    #[must_use]
    pub fn needs_events(&self) -> bool {
        self.log.seq < self.newest && self.awaited <= self.log.seq
    }

    /// Its number.
    #[must_use]
    pub const fn id(&self) -> JobId {
        self.id
    }

    /// What was asked for.
    #[must_use]
    pub fn job(&self) -> &TrainJob {
        &self.job
    }

    /// When it was submitted, in milliseconds since 1970.
    #[must_use]
    pub const fn submitted_millis(&self) -> u64 {
        self.submitted_millis
    }

    /// Where it is in its life.
    #[must_use]
    pub const fn state(&self) -> &JobState {
        &self.summary.state
    }

    /// Whether it holds the device, running or paused.
    #[must_use]
    pub const fn is_under_way(&self) -> bool {
        matches!(
            self.summary.state,
            JobState::Running { .. } | JobState::Paused { .. }
        )
    }

    /// Number of the last event that is here without a gap before it; 0 for none.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.log.seq
    }

    /// What it made so far and can be fetched.
    #[must_use]
    pub fn files(&self) -> &[ResultFile] {
        &self.summary.files
    }

    /// The LoRA, or the copier where the job makes nothing else.
    #[must_use]
    pub fn result(&self) -> Option<&ResultFile> {
        self.file(match self.job().makes_copier() {
            true => FileKind::Copier,
            false => FileKind::Lora,
        })
    }

    /// The LoRA as it was when these pictures were drawn.
    #[must_use]
    pub fn file_at(&self, column: Column) -> Option<&ResultFile> {
        match column.phase {
            Phase::Saving => self.result(),
            phase => self.file(FileKind::Step {
                phase,
                step: column.step,
            }),
        }
    }

    fn file(&self, kind: FileKind) -> Option<&ResultFile> {
        self.files().iter().find(|file| file.kind == kind)
    }

    /// What its LoRA does, once measured.
    #[must_use]
    pub const fn scores(&self) -> Option<&Scores> {
        self.summary.scores.as_ref()
    }

    /// The losses, a curve for each pass that has any, in order.
    #[must_use]
    pub fn curves(&self) -> &[Curve] {
        &self.log.curves
    }

    /// The pictures.
    #[must_use]
    pub fn previews(&self) -> &Previews {
        &self.log.previews
    }

    /// How well the copier copied, by step.
    #[must_use]
    pub fn fidelities(&self) -> &[Fidelity] {
        &self.log.fidelities
    }

    /// How well the copier copies, as it was measured last.
    #[must_use]
    pub fn copy_fidelity(&self) -> Option<f64> {
        let measured = self.fidelities().last().map(|last| last.fidelity);
        measured.or_else(|| self.scores()?.copy_fidelity)
    }

    /// What the user should know, a sentence each.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.log.notes
    }

    /// Where it went on from a checkpoint.
    #[must_use]
    pub fn resumptions(&self) -> &[Resumption] {
        &self.log.resumptions
    }

    /// The picture that stands for it: the latest change, or the first B until there is
    /// one.
    #[must_use]
    pub fn thumbnail(&self) -> Option<BlobId> {
        let change = self.previews().latest_change();
        let example = self.job.examples.first();
        let drawn = change.map(|shot| shot.picture);
        drawn.or_else(|| example.map(|example| example.target))
    }

    /// Moments at which something was drawn or saved, in order: the columns of the grid.
    #[must_use]
    pub fn columns(&self) -> Vec<Column> {
        let drawn = self.previews().columns();
        let pins = self.pins().into_iter().map(|pin| pin.column);
        // All but the result, which is no step, are pins.
        let result = drawn
            .into_iter()
            .filter(|column| column.phase == Phase::Saving);
        pins.chain(result).collect()
    }

    /// Steps of a pass at which something was drawn or saved, in order.
    #[must_use]
    pub fn pins(&self) -> Vec<Pin> {
        let drawn = self.previews().columns().into_iter();
        let saved = self.files().iter().filter_map(|file| match file.kind {
            FileKind::Step { phase, step } => Some(Column { phase, step }),
            FileKind::Lora | FileKind::Copier => None,
        });
        let mut pins: Vec<Pin> = Vec::new();
        for column in drawn.filter(|column| column.phase != Phase::Saving) {
            pins.push(Pin {
                column,
                has_preview: true,
                has_file: false,
            });
        }
        for column in saved {
            match pins.iter_mut().find(|pin| pin.column == column) {
                Some(pin) => pin.has_file = true,
                None => pins.push(Pin {
                    column,
                    has_preview: false,
                    has_file: true,
                }),
            }
        }
        pins.sort_by_key(|pin| (pin.column.phase, pin.column.step));
        pins
    }

    /// Whether the server will do this now.
    ///
    /// # Errors
    /// Why not, in a few words for the button.
    pub const fn can(&self, control: JobControl) -> Result<(), &'static str> {
        use JobControl as C;
        use JobState as S;
        match (control, self.state()) {
            (C::Retry, S::Stopped | S::Failed { .. })
            | (C::Discard, S::Queued | S::Running { .. } | S::Paused { .. })
            | (C::Pause, S::Running { .. })
            | (
                C::Resume,
                S::Paused {
                    reason: PauseReason::User,
                    ..
                },
            )
            | (C::StopAndKeep, S::Running { .. } | S::Paused { .. }) => Ok(()),
            (
                C::SaveNow | C::PreviewNow,
                S::Running {
                    phase: Phase::Calibrating | Phase::Scoring | Phase::Saving,
                },
            ) => Err("training is over and the result is on its way"),
            (C::SaveNow | C::PreviewNow, S::Running { .. }) => Ok(()),
            (C::SaveNow | C::PreviewNow, S::Paused { .. }) => Err("resume it first"),
            (C::Resume, S::Paused { .. }) => Err("it goes on by itself when there is room"),
            (_, S::Queued) => Err("it waits for its turn"),
            (_, S::Running { .. }) => Err("it runs"),
            (_, S::Paused { .. }) => Err("it is paused"),
            (_, S::Finished | S::Stopped | S::Failed { .. }) => Err("it is over"),
        }
    }

    /// What must be true at any time.
    pub(super) fn check(&self) -> Result<(), String> {
        self.log.check()?;
        if self.log.seq.max(self.summary.seq) > self.newest {
            return Err("something newer is here than was heard of".to_owned());
        }
        let is_same_moment = self.log.seq == self.summary.seq && self.log.seq > 0;
        if is_same_moment && self.log.state.as_ref() != Some(self.state()) {
            return Err("its events lead to another state than its summary".to_owned());
        }
        let share = self.share();
        if !(0.0..=1.0).contains(&share) {
            return Err(format!("a share of {share}"));
        }
        Ok(())
    }
}

impl From<&JobSummary> for Summary {
    fn from(summary: &JobSummary) -> Self {
        Self {
            seq: summary.seq,
            state: summary.state.clone(),
            files: summary.files.clone(),
            scores: summary.scores.clone(),
            // Of this attempt or an earlier one: rather a file too many than one too few.
            has_kept: summary.files.iter().any(is_kept),
        }
    }
}

/// What a run is stopped for, rather than discarded.
const fn is_kept(file: &ResultFile) -> bool {
    matches!(file.kind, FileKind::Lora | FileKind::Copier)
}

impl Summary {
    /// Takes the event that follows the last one.
    fn push(&mut self, event: &JobEvent) {
        match &event.kind {
            JobEventKind::State { state } => {
                match state {
                    JobState::Queued => self.has_kept = false,
                    // Discarded: no event says so, but the server kept nothing.
                    JobState::Stopped if !self.has_kept => self.files.clear(),
                    _ => {}
                }
                self.state = state.clone();
            }
            JobEventKind::File { file } => {
                self.has_kept |= is_kept(file);
                match self.files.iter_mut().find(|known| known.name == file.name) {
                    Some(known) => *known = file.clone(),
                    None => self.files.push(file.clone()),
                }
            }
            JobEventKind::Scores { scores } => self.scores = Some(scores.clone()),
            _ => {}
        }
        self.seq = event.seq;
    }
}

impl PartialEq for Run {
    /// Equal in everything that can be shown; what was asked for does not count.
    fn eq(&self, other: &Self) -> bool {
        let shown = |run: &Self| (run.id, run.submitted_millis, run.summary.seq);
        shown(self) == shown(other)
            && self.summary.state == other.summary.state
            && self.summary.files == other.summary.files
            && self.summary.scores == other.summary.scores
            && self.progress == other.progress
            && self.paces == other.paces
            // A run is mostly compared with itself, a moment ago.
            && (Arc::ptr_eq(&self.job, &other.job) || self.job == other.job)
            && (Arc::ptr_eq(&self.log, &other.log) || self.log == other.log)
    }
}
