//! What a job's events add up to, from the first one on.

use mimeo_protocol::{
    JobEvent, JobEventKind, JobState, LeakPoint, LossPoint, Phase, ResponseCurve,
};

use super::curve::Curve;
use super::previews::{Column, Previews, Shot};

/// How well the copier copied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fidelity {
    /// At which step it was measured.
    pub step: u32,
    /// 1 is a perfect copy, 0 no better than the base.
    pub fidelity: f64,
}

/// A run went on from its checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumption {
    /// The pass.
    pub phase: Phase,
    /// Steps that the checkpoint held.
    pub step: u32,
}

/// A time of work, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub phase: Phase,
    pub from_millis: u64,
    /// None while it lasts.
    pub until_millis: Option<u64>,
}

/// The sum of a job's events without gaps.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Log {
    /// Number of the last event; 0 for none.
    pub seq: u64,
    /// State after it.
    pub state: Option<JobState>,
    pub curves: Vec<Curve>,
    pub previews: Previews,
    pub fidelities: Vec<Fidelity>,
    pub response: Option<ResponseCurve>,
    /// Readings of the leak meter, by step.
    pub leaks: Vec<LeakPoint>,
    pub notes: Vec<String>,
    pub resumptions: Vec<Resumption>,
    pub spans: Vec<Span>,
    /// When the last event happened.
    last_millis: u64,
}

impl Log {
    /// Takes the event that follows the last one.
    pub fn push(&mut self, event: &JobEvent) {
        match &event.kind {
            JobEventKind::State { state } => self.enter(state, event.at_millis),
            JobEventKind::Resumed { phase, step } => self.resume(*phase, *step),
            JobEventKind::Losses { phase, points } => self.losses(*phase, points),
            JobEventKind::CopyFidelity { step, fidelity } => {
                self.fidelities.retain(|known| known.step < *step);
                self.fidelities.push(Fidelity {
                    step: *step,
                    fidelity: *fidelity,
                });
            }
            JobEventKind::Response { curve } => self.response = Some(curve.clone()),
            JobEventKind::Leak { point } => {
                self.leaks.retain(|known| known.step < point.step);
                self.leaks.push(*point);
            }
            JobEventKind::Preview {
                phase,
                step,
                strength,
                prompt,
                seed,
                picture,
            } => self.previews.add(Shot {
                column: Column {
                    phase: *phase,
                    step: *step,
                },
                strength: *strength,
                picture: *picture,
                prompt: prompt.clone(),
                seed: *seed,
            }),
            // Said again at each beginning of a job that goes on.
            JobEventKind::Note { text } if self.notes.contains(text) => {}
            JobEventKind::Note { text } => self.notes.push(text.clone()),
            // Part of the summary.
            JobEventKind::File { .. } | JobEventKind::Scores { .. } => {}
        }
        self.seq = event.seq;
        self.last_millis = event.at_millis;
    }

    fn enter(&mut self, state: &JobState, at_millis: u64) {
        let ended_millis = match state {
            // It was interrupted, perhaps by a power cut hours ago: nobody worked on it since.
            JobState::Queued => self.last_millis,
            _ => at_millis,
        };
        if let Some(span) = self.spans.last_mut() {
            span.until_millis.get_or_insert(ended_millis);
        }
        if let JobState::Running { phase } = state {
            self.spans.push(Span {
                phase: *phase,
                from_millis: at_millis,
                until_millis: None,
            });
        }
        self.state = Some(state.clone());
    }

    fn resume(&mut self, phase: Phase, step: u32) {
        self.forget_from(phase, step);
        self.resumptions.push(Resumption { phase, step });
    }

    fn losses(&mut self, phase: Phase, points: &[LossPoint]) {
        let Some(first) = points.first() else { return };
        // A job that was begun anew, without a checkpoint, does its steps again too.
        self.forget_from(phase, first.step.saturating_sub(1));
        let known = self.curves.iter().position(|curve| curve.phase == phase);
        let at = known.unwrap_or_else(|| {
            let at = self.curves.partition_point(|curve| curve.phase < phase);
            self.curves.insert(at, Curve::new(phase));
            at
        });
        for point in points {
            self.curves[at].push(*point);
        }
    }

    /// Forgets what comes again after this step: the rest of its pass, and later passes.
    fn forget_from(&mut self, phase: Phase, step: u32) {
        self.curves.retain(|curve| curve.phase <= phase);
        for curve in &mut self.curves {
            if curve.phase == phase {
                curve.keep_until(step);
            }
        }
        self.leaks
            .retain(|known| phase == Phase::Training && known.step <= step);
        if phase == Phase::Copier {
            self.fidelities.retain(|known| known.step <= step);
        }
    }

    /// Whether the job was ever in this phase.
    pub fn was_in(&self, phase: Phase) -> bool {
        self.spans.iter().any(|span| span.phase == phase)
    }

    /// The phase that was worked on last.
    pub fn last_phase(&self) -> Option<Phase> {
        self.spans.last().map(|span| span.phase)
    }

    /// Steps of a pass that are done.
    pub fn steps(&self, phase: Phase) -> u32 {
        let curve = self.curves.iter().find(|curve| curve.phase == phase);
        let told = curve.map_or(0, Curve::last_step);
        let last = self.resumptions.last();
        let resumed = last.filter(|last| last.phase == phase);
        told.max(resumed.map_or(0, |resumed| resumed.step))
    }

    /// What must be true at any time.
    pub fn check(&self) -> Result<(), String> {
        self.previews.check()?;
        self.curves.iter().try_for_each(Curve::check)?;
        let in_order = |a: &Curve, b: &Curve| a.phase < b.phase;
        if !self.curves.is_sorted_by(in_order) {
            return Err("the curves are not in order, each once".to_owned());
        }
        if !self.fidelities.is_sorted_by(|a, b| a.step < b.step) {
            return Err("the copy fidelities are not in order, each once".to_owned());
        }
        if !self.leaks.is_sorted_by(|a, b| a.step < b.step) {
            return Err("the leak meter's readings are not in order, each once".to_owned());
        }
        let open = self.spans.iter().filter(|span| span.until_millis.is_none());
        let is_running = matches!(self.state, Some(JobState::Running { .. }));
        if open.count() != usize::from(is_running) {
            return Err("time is counted exactly while it runs".to_owned());
        }
        Ok(())
    }
}
