//! What a choice costs, from what steps took on this machine so far.

use mimeo_protocol::{Method, Pace, Pass, Phase};

use crate::workbench::Settings;

/// Seconds of training, as far as a pace is known; without calibration and scores, which take
/// about as long whatever the recipe.
///
/// A step takes about as long as it has pixels: picture × batch × accumulation.
#[must_use]
pub fn training_secs(settings: &Settings, pixels: u64, paces: &[Pace]) -> Option<f64> {
    let recipe = &settings.recipe;
    let kept = pass_secs(settings, &recipe.pass, Phase::Training, pixels, paces)?;
    if recipe.method != Method::Copier {
        return Some(kept);
    }
    let copier = pass_secs(settings, &recipe.copier.pass, Phase::Copier, pixels, paces)?;
    Some(copier + kept)
}

fn pass_secs(
    settings: &Settings,
    pass: &Pass,
    phase: Phase,
    pixels: u64,
    paces: &[Pace],
) -> Option<f64> {
    let of_base = || paces.iter().filter(|pace| pace.base == settings.base);
    let is_same = |pace: &&Pace| pace.method == settings.recipe.method && pace.phase == phase;
    // Another method's step is not the same, but of the same size: better than no number.
    let pace = of_base().find(is_same).or_else(|| of_base().next())?;
    let size = |batch: u32, accumulation: u32, pixels: u64| {
        f64::from(batch) * f64::from(accumulation) * pixels as f64
    };
    let mine = size(pass.batch_size.get(), pass.accumulation.get(), pixels);
    let measured = size(pace.batch_size, pace.accumulation, pace.pixels);
    let secs = f64::from(pass.steps.get()) * pace.secs_per_step * mine / measured.max(1.0);
    secs.is_finite().then_some(secs)
}

#[cfg(test)]
mod tests {
    use mimeo_protocol::BaseId;

    use super::*;

    fn pace(phase: Phase, batch_size: u32, secs_per_step: f64) -> Pace {
        Pace {
            base: BaseId::bundled(),
            method: Method::Copier,
            phase,
            batch_size,
            accumulation: 1,
            rank: 8,
            pixels: 128 * 128,
            secs_per_step,
        }
    }

    #[test]
    fn a_copier_job_costs_both_passes() {
        let paces = [pace(Phase::Training, 4, 0.1), pace(Phase::Copier, 4, 0.2)];
        let secs = training_secs(&Settings::default(), 128 * 128, &paces).unwrap();
        assert!((secs - (300.0 * 0.1 + 300.0 * 0.2)).abs() < 1e-9, "{secs}");
    }

    #[test]
    fn four_times_the_pixels_take_four_times_as_long() {
        let paces = [pace(Phase::Training, 4, 0.1)];
        let settings = Settings::default();
        let small = training_secs(&settings, 128 * 128, &paces).unwrap();
        let large = training_secs(&settings, 256 * 256, &paces).unwrap();
        assert!((large / small - 4.0).abs() < 1e-9, "{small} {large}");
    }

    #[test]
    fn nothing_is_said_about_a_base_that_was_never_trained_on() {
        let mut other = pace(Phase::Training, 4, 0.1);
        other.base = BaseId::try_from("other".to_owned()).unwrap();
        assert_eq!(
            training_secs(&Settings::default(), 1, &[other]),
            None,
            "no guess"
        );
    }
}
