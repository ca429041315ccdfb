//! Course of the learning rate, diffusers `optimization.py`.

use mimeo_protocol::{LrSchedule, Pass};

/// The learning rate of a step, counted from 0.
///
/// As in diffusers, warm-up starts at 0, and the cosine reaches 0 just after the last step.
#[must_use]
pub fn learning_rate(pass: &Pass, step: u32) -> f64 {
    let (step, steps) = (f64::from(step), f64::from(pass.steps.get()));
    let (peak, warmup) = (pass.learning_rate.get(), f64::from(pass.warmup.get()));
    if step < warmup {
        return peak * step / warmup;
    }
    match pass.schedule {
        LrSchedule::Constant => peak,
        LrSchedule::Cosine => {
            let progress = (step - warmup) / (steps - warmup).max(1.0);
            peak * (0.5 * (1.0 + (std::f64::consts::PI * progress).cos())).max(0.0)
        }
    }
}
