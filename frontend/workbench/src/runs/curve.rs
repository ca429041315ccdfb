//! The losses of one pass, with their running mean.

use mimeo_protocol::{LossPoint, Phase};

/// Weight of the newest loss in the running mean.
const NEWEST: f32 = 0.1;

/// One step of a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// From 1.
    pub step: u32,
    /// Loss before the update; not finite where it broke down.
    pub loss: f32,
    /// Exponential moving average up to here; finite as soon as one loss was.
    pub ema: f32,
}

/// The losses of one pass, by step.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The pass.
    pub phase: Phase,
    points: Vec<Point>,
}

impl Curve {
    pub(crate) const fn new(phase: Phase) -> Self {
        Self {
            phase,
            points: Vec::new(),
        }
    }

    /// In ascending order of steps, each step once.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The last step that is here; 0 for none.
    #[must_use]
    pub fn last_step(&self) -> u32 {
        self.points.last().map_or(0, |point| point.step)
    }

    /// Adds a step. One that is here already comes again, and with it all that follow.
    pub(crate) fn push(&mut self, LossPoint { step, loss }: LossPoint) {
        self.keep_until(step.saturating_sub(1));
        let mean = self.points.last().map_or(f32::NAN, |point| point.ema);
        // A plain mean at first, so that the first loss does not weigh for long.
        let weight = NEWEST.max((self.points.len() as f32 + 1.0).recip());
        let ema = match (mean.is_finite(), loss.is_finite()) {
            (true, true) => mean + (loss - mean) * weight,
            (false, _) => loss,
            (true, false) => mean,
        };
        self.points.push(Point { step, loss, ema });
    }

    /// Forgets the steps after this one.
    pub(super) fn keep_until(&mut self, step: u32) {
        let kept = self.points.partition_point(|point| point.step <= step);
        self.points.truncate(kept);
    }

    /// What must be true at any time.
    pub(super) fn check(&self) -> Result<(), String> {
        let ascends = self.points.is_sorted_by(|a, b| a.step < b.step);
        if !ascends {
            return Err(format!("the steps of {:?} do not ascend", self.phase));
        }
        let first_finite = self.points.iter().position(|point| point.loss.is_finite());
        let from = first_finite.unwrap_or(self.points.len());
        if !self.points[from..]
            .iter()
            .all(|point| point.ema.is_finite())
        {
            return Err(format!("the mean of {:?} broke down", self.phase));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(losses: &[(u32, f32)]) -> Curve {
        let mut curve = Curve::new(Phase::Training);
        for (step, loss) in losses {
            curve.push(LossPoint {
                step: *step,
                loss: *loss,
            });
        }
        curve
    }

    #[test]
    fn the_mean_is_plain_at_first() {
        let curve = curve(&[(1, 3.0), (2, 1.0), (3, 2.0)]);
        let means: Vec<f32> = curve.points().iter().map(|point| point.ema).collect();
        assert_eq!(means, [3.0, 2.0, 2.0], "of one, two and three");
    }

    #[test]
    fn a_step_that_comes_again_replaces_all_that_followed() {
        let again = curve(&[(1, 3.0), (2, 9.0), (3, 9.0), (2, 1.0)]);
        assert_eq!(again, curve(&[(1, 3.0), (2, 1.0)]), "as if never seen");
    }

    #[test]
    fn a_loss_that_broke_down_does_not_take_the_mean_along() {
        let curve = curve(&[(1, f32::NAN), (2, 4.0), (3, f32::INFINITY), (4, 4.0)]);
        assert_eq!(curve.check(), Ok(()), "finite from the second on");
        assert_eq!(curve.points()[3].ema, 4.0, "the mean of what is finite");
    }
}
