//! What a choice costs, from what steps took on this machine so far.

use mimeo_protocol::{JobProgress, Method, Pace, Pass, Phase, Recipe, TrainJob};

use crate::words;
use crate::workbench::Settings;

/// What calibration and scores take beside training, in words.
#[must_use]
pub fn of_scores(recipe: &Recipe) -> String {
    match recipe.score_budget {
        None => "scores in full".to_owned(),
        Some(_) if !recipe.is_measured() => "no scores".to_owned(),
        Some(budget) => format!("scores up to {} more", words::percent(budget.get())),
    }
}

/// Seconds of training, as far as a pace is known; without calibration and scores, which
/// [`of_scores`] tells of.
///
/// A step takes about as long as it has pixels: picture × batch × accumulation.
#[must_use]
pub fn training_secs(settings: &Settings, pixels: u64, paces: &[Pace]) -> Option<f64> {
    let recipe = &settings.recipe;
    let kept = pass_secs(settings, &recipe.pass, Phase::Training, pixels, paces)?;
    if recipe.method != Method::Copier || settings.copier.is_some() {
        return Some(kept);
    }
    let copier = pass_secs(settings, &recipe.copier.pass, Phase::Copier, pixels, paces)?;
    Some(copier + kept)
}

/// What a running job teaches about the pace; none outside of its training passes.
///
/// - `pixels`: of the picture as it is trained
#[must_use]
pub fn measured(job: &TrainJob, progress: &JobProgress, pixels: u64) -> Option<Pace> {
    let pass = match progress.phase {
        Phase::Training => &job.recipe.pass,
        Phase::Copier => &job.recipe.copier.pass,
        _ => return None,
    };
    Some(Pace {
        base: job.base.clone(),
        method: job.recipe.method,
        phase: progress.phase,
        batch_size: pass.batch_size.get(),
        accumulation: pass.accumulation.get(),
        rank: pass.rank.get(),
        pixels,
        secs_per_step: progress.secs_per_unit?,
    })
}

/// Puts a measurement in the place of an older one of the same kind.
pub fn remember(paces: &mut Vec<Pace>, new: Pace) {
    paces.retain(|old| (&old.base, old.method, old.phase) != (&new.base, new.method, new.phase));
    paces.insert(0, new);
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
    use mimeo_protocol::{BaseId, ScoreBudget};

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
    fn scores_are_told_as_what_they_add() {
        let told = |budget| {
            let mut recipe = Settings::default().recipe;
            recipe.score_budget = budget;
            of_scores(&recipe)
        };
        let budget = |share| Some(ScoreBudget::constant(share));
        assert_eq!(told(budget(0.3)), "scores up to 30 % more", "the preset");
        assert_eq!(told(budget(0.0)), "no scores", "off");
        assert_eq!(told(None), "scores in full", "no limit");
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
    fn a_newer_measurement_takes_the_place_of_the_older_one() {
        let mut paces = vec![pace(Phase::Training, 4, 0.1), pace(Phase::Copier, 4, 0.2)];
        remember(&mut paces, pace(Phase::Training, 2, 0.05));
        let secs: Vec<f64> = paces.iter().map(|pace| pace.secs_per_step).collect();
        assert_eq!(secs, [0.05, 0.2], "the copier's stays");
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
