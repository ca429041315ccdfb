//! Everything the server told of its jobs, as the page shows it: a reducer without a clock.
//!
//! [`Runs`] takes what the server says on its own account, in any order in which reconnects and
//! repetitions may deliver it, and answers what the page has to do: nothing, draw, or ask again.
//!
//! What is known of a job comes from two sources, each with the number of the last event that it
//! includes. The *summary* is what a [`Snapshot`] says of it: state, files, scores. The *log* is
//! what its events add up to: losses, previews, times. A job that came with a snapshot has a
//! summary and an empty log; its events are asked for when it is looked at, and replay into the
//! log without doing anything twice to the summary.

mod curve;
mod describe;
mod log;
mod paces;
mod phases;
mod previews;
mod run;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use mimeo_protocol::{
    JobEvent, JobId, JobProgress, JobState, JobSummary, ServerMessage, Snapshot, UnreadableJob,
};

pub use curve::{Curve, Point};
pub use describe::differs;
pub use log::{Fidelity, Resumption};
pub use phases::{Left, PhaseProgress, PhaseStatus};
pub use previews::{Column, Previews, Shot};
pub use run::{Pin, Run};

/// What a message changed, or what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Nothing that is shown.
    Nothing,
    /// Something that is shown.
    Changed,
    /// Events are missing that nobody has asked for yet: send `Resync`. It counts as asked now.
    Gap(Gap),
}

/// Events that are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Of which job.
    pub job: JobId,
    /// The last one that is here; 0 for none.
    pub after: u64,
}

/// Every job that the server told of.
#[derive(Debug, Clone, Default)]
pub struct Runs {
    runs: BTreeMap<JobId, Run>,
    queue: Vec<JobId>,
    unreadable: Vec<UnreadableJob>,
}

impl Runs {
    /// A connection begins: this is how things are. What was asked for on the last connection does
    /// not come any more; the answer is what to ask for now, of the runs whose events were followed
    /// or are happening.
    pub fn welcome(&mut self, snapshot: &Snapshot) -> Vec<Gap> {
        let mut old = std::mem::take(&mut self.runs);
        for summary in &snapshot.jobs {
            let run = match old.remove(&summary.id) {
                Some(run) => run.welcomed(summary),
                None => Run::new(summary),
            };
            self.runs.insert(summary.id, run);
        }
        self.queue.clone_from(&snapshot.queue);
        self.unreadable.clone_from(&snapshot.unreadable);
        let followed = |run: &&mut Run| run.needs_events() && run.is_followed();
        self.runs
            .values_mut()
            .filter(followed)
            .map(Run::ask)
            .collect()
    }

    /// Takes what the server says on its own account; answers to requests change nothing.
    pub fn apply(&mut self, message: &ServerMessage) -> Outcome {
        match message {
            ServerMessage::Added { job } => self.added(job),
            ServerMessage::Removed { job } => self.removed(*job),
            ServerMessage::Event(event) => self.event(event),
            ServerMessage::Progress(progress) => self.progress(progress),
            ServerMessage::Queue { order } => {
                self.queue.clone_from(order);
                Outcome::Changed
            }
            _ => Outcome::Nothing,
        }
    }

    fn added(&mut self, summary: &JobSummary) -> Outcome {
        match self.runs.get_mut(&summary.id) {
            Some(run) => run.told_again(summary),
            None => {
                self.runs.insert(summary.id, Run::new(summary));
            }
        }
        Outcome::Changed
    }

    fn removed(&mut self, job: JobId) -> Outcome {
        self.queue.retain(|waiting| *waiting != job);
        let listed = self.runs.len() + self.unreadable.len();
        self.runs.remove(&job);
        self.unreadable.retain(|unreadable| unreadable.id != job);
        if self.runs.len() + self.unreadable.len() < listed {
            Outcome::Changed
        } else {
            Outcome::Nothing
        }
    }

    fn event(&mut self, event: &JobEvent) -> Outcome {
        // A job that is not listed is older than the server lists, or was deleted meanwhile.
        let run = self.runs.get_mut(&event.job);
        run.map_or(Outcome::Nothing, |run| run.event(event))
    }

    fn progress(&mut self, progress: &JobProgress) -> Outcome {
        let run = self.runs.get_mut(&progress.job);
        run.map_or(Outcome::Nothing, |run| run.progressed(progress))
    }

    /// What to ask for before a run can be shown; none if everything is here or on its way. It
    /// counts as asked from now on.
    pub fn ask(&mut self, job: JobId) -> Option<Gap> {
        let run = self.runs.get_mut(&job)?;
        run.needs_events().then(|| run.ask())
    }

    /// What was asked for was refused, and may be asked for again.
    pub fn not_coming(&mut self, job: JobId) {
        if let Some(run) = self.runs.get_mut(&job) {
            run.not_coming();
        }
    }

    /// A run, by its number.
    #[must_use]
    pub fn get(&self, job: JobId) -> Option<&Run> {
        self.runs.get(&job)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.unreadable.is_empty()
    }

    /// What the server keeps and cannot read, the newest first.
    #[must_use]
    pub fn unreadable(&self) -> &[UnreadableJob] {
        &self.unreadable
    }

    /// Every run, the newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Run> {
        self.runs.values().rev()
    }

    /// The waiting ones, the next one first.
    #[must_use]
    pub fn waiting(&self) -> Vec<&Run> {
        let waits = |run: &&Run| *run.state() == JobState::Queued;
        let mut waiting: Vec<&Run> = self.runs.values().filter(waits).collect();
        let place = |run: &&Run| {
            // Its place comes in a message of its own; until then it is last.
            let place = self.queue.iter().position(|job| *job == run.id());
            place.unwrap_or(usize::MAX)
        };
        waiting.sort_by_key(place);
        waiting
    }

    /// The one that holds the device, running or paused.
    #[must_use]
    pub fn under_way(&self) -> Option<&Run> {
        self.runs.values().find(|run| run.is_under_way())
    }

    /// Whether one is under way or waiting.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let is_busy = |run: &Run| run.is_under_way() || *run.state() == JobState::Queued;
        self.runs.values().any(is_busy)
    }

    /// The run that was submitted before this one.
    #[must_use]
    pub fn previous(&self, job: JobId) -> Option<&Run> {
        self.runs.range(..job).next_back().map(|(_, run)| run)
    }

    /// Before which job a waiting one has to be put so that it moves by so many places, as
    /// `Reorder` wants it; none if it is at that end already, or does not wait.
    #[must_use]
    pub fn moved(&self, job: JobId, by: isize) -> Option<Option<JobId>> {
        let order: Vec<JobId> = self.waiting().iter().map(|run| run.id()).collect();
        let from = order.iter().position(|waiting| *waiting == job)?;
        let last = order.len() - 1;
        let to = from.saturating_add_signed(by).min(last);
        if to == from {
            return None;
        }
        // Without the job itself, what stands at its new place comes after it.
        let others: Vec<JobId> = order
            .into_iter()
            .filter(|waiting| *waiting != job)
            .collect();
        Some(others.get(to).copied())
    }

    /// What must be true after every message; the tests ask after each.
    ///
    /// # Errors
    /// What is not.
    pub fn check(&self) -> Result<(), String> {
        for (id, run) in &self.runs {
            if *id != run.id() {
                return Err(format!("run {} is kept as {id}", run.id()));
            }
            run.check().map_err(|wrong| format!("run {id}: {wrong}"))?;
        }
        Ok(())
    }
}
