//! Whether a run has a pace that one can tell its end from.

use mimeo_protocol::{JobProgress, Phase};

/// An estimate whose pace went up and down by more than this is not shown.
const STEADY: f64 = 1.5;
/// Paces that are compared for that.
const PACES: usize = 5;

/// The latest paces of the phase under way, to see whether they are steady.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Paces {
    phase: Option<Phase>,
    done: u32,
    secs: Vec<f64>,
}

impl Paces {
    pub fn note(&mut self, progress: &JobProgress) {
        if self.phase != Some(progress.phase) || progress.done < self.done {
            self.secs.clear();
        }
        let is_new = self.secs.is_empty() || progress.done != self.done;
        (self.phase, self.done) = (Some(progress.phase), progress.done);
        if let Some(secs) = progress.secs_per_unit.filter(|_| is_new) {
            if self.secs.len() == PACES {
                self.secs.remove(0);
            }
            self.secs.push(secs);
        }
    }

    pub fn is_steady(&self) -> bool {
        let slowest = self.secs.iter().copied().fold(0.0, f64::max);
        let fastest = self.secs.iter().copied().fold(f64::INFINITY, f64::min);
        slowest <= fastest * STEADY
    }
}
