//! How fast a phase goes, and how long it still takes.

use mimeo_engine::runtime::Stopwatch;

/// Weight of the newest unit in the running mean.
const NEWEST: f64 = 0.1;
/// No estimate before so many units.
const SETTLED: u32 = 3;

/// The pace of one phase.
#[derive(Debug, Clone)]
pub struct Pace {
    total: Option<u32>,
    done: u32,
    /// Units that the pace is measured on.
    measured: u32,
    secs_per_unit: f64,
    since: Stopwatch,
}

impl Pace {
    /// A phase that begins.
    pub fn new(total: Option<u32>) -> Self {
        Self {
            total,
            done: 0,
            measured: 0,
            secs_per_unit: 0.0,
            since: Stopwatch::start(),
        }
    }

    /// The phase goes on after so many units.
    pub const fn starts_at(&mut self, done: u32) {
        self.done = done;
    }

    /// So many units are done, the last in this time.
    pub fn took(&mut self, done: u32, secs: f64) {
        self.done = done;
        // A plain mean at first, so that the first unit does not weigh for long.
        let weight = NEWEST.max(f64::from(self.measured + 1).recip());
        self.secs_per_unit += (secs - self.secs_per_unit) * weight;
        self.measured += 1;
    }

    /// So many units are done, by now.
    pub fn reached(&mut self, done: u32) {
        let units = done.saturating_sub(self.done);
        if units > 0 {
            let secs = self.since.secs() / f64::from(units);
            self.took(done, secs);
            self.since = Stopwatch::start();
        }
    }

    /// Units done.
    pub const fn done(&self) -> u32 {
        self.done
    }

    /// Units in all.
    pub const fn total(&self) -> Option<u32> {
        self.total
    }

    /// How long a unit takes, once that is known.
    pub fn secs_per_unit(&self) -> Option<f64> {
        (self.measured > 0).then_some(self.secs_per_unit)
    }

    /// How long a unit takes, once that has settled.
    pub fn settled_secs(&self) -> Option<f64> {
        (self.measured >= SETTLED).then_some(self.secs_per_unit)
    }

    /// Until the end, once the pace has settled.
    pub fn left_secs(&self) -> Option<f64> {
        let left = self.total?.saturating_sub(self.done);
        Some(f64::from(left) * self.settled_secs()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_told_from_the_third_unit_on() {
        let mut pace = Pace::new(Some(10));
        pace.took(1, 4.0);
        pace.took(2, 2.0);
        assert_eq!(pace.left_secs(), None, "too early");
        pace.took(3, 3.0);
        assert_eq!(pace.secs_per_unit(), Some(3.0), "the mean of three");
        assert_eq!(pace.left_secs(), Some(21.0), "seven units of 3 s");
    }

    #[test]
    fn a_phase_that_goes_on_counts_only_its_own_units() {
        let mut pace = Pace::new(Some(100));
        pace.starts_at(90);
        assert_eq!((pace.done(), pace.left_secs()), (90, None), "no pace yet");
        for step in 91..=93 {
            pace.took(step, 2.0);
        }
        assert_eq!(pace.left_secs(), Some(14.0), "seven of 2 s");
    }
}
