//! How much is drawn after training, so that calibration and scores cost no more than the recipe
//! gives them ([`Recipe::score_calls`]).
//!
//! Counted in calls of the UNet without gradient, of one picture each: one for every step of a
//! drawing, two where guidance asks for the negative prompt as well.

use mimeo_protocol::Recipe;

use crate::{calibrate, score};

/// What is wanted of the time after training.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub calibration: bool,
    /// Held-out prompts to measure with; none without scores.
    pub prompts: usize,
    /// Level of each example to measure on, at least one, in the order in which they are.
    pub levels: Vec<f64>,
}

impl Wanted {
    /// How many levels the first examples have.
    fn levels_of(&self, examples: usize) -> usize {
        let mut levels = self.levels[..examples].to_vec();
        levels.sort_by(f64::total_cmp);
        levels.dedup();
        levels.len()
    }
}

/// What is drawn after training: none of what nobody wants, or what there are too few calls for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Plan {
    pub calibration: Option<calibrate::Effort>,
    pub scores: Option<score::Effort>,
    /// Examples that are measured on.
    pub examples: usize,
}

impl Plan {
    /// Nothing is drawn.
    pub const NOTHING: Self = Self {
        calibration: None,
        scores: None,
        examples: 1,
    };

    /// The most that is within the recipe's budget; first as many examples as are wanted, because they
    /// differ more from each other than what is drawn roughly does from what is drawn well.
    pub fn new(recipe: &Recipe, wanted: &Wanted) -> Self {
        let calls = recipe.score_calls().unwrap_or(u64::MAX);
        let is_guided = recipe.calibrate_guided;
        let steps = |examples| {
            let steps = calibrate::Effort::ALL.into_iter().zip(score::Effort::ALL);
            steps.map(move |(calibration, scores)| Self {
                calibration: wanted.calibration.then_some(calibration.guided(is_guided)),
                scores: (wanted.prompts > 0).then_some(scores),
                examples,
            })
        };
        let plans = (1..=wanted.levels.len()).rev().flat_map(steps);
        let mut within = plans.filter(|plan| plan.calls(wanted) <= calls);
        within.next().unwrap_or(Self::NOTHING)
    }

    /// What it takes.
    pub fn calls(&self, wanted: &Wanted) -> u64 {
        let calibration = self.calibration.map_or(0, calibrate::Effort::calls);
        let measured = (self.examples, wanted.levels_of(self.examples));
        let scores = self
            .scores
            .map_or(0, |effort| effort.calls(wanted.prompts, measured));
        calibration + scores
    }

    /// What to say about a recipe whose budget is too small for what is wanted; nothing where it is
    /// switched off.
    pub fn told_of_small(&self, recipe: &Recipe, wanted: &Wanted) -> Option<String> {
        let is_wanted = wanted.calibration || wanted.prompts > 0;
        if *self != Self::NOTHING || !is_wanted || !recipe.is_measured() {
            return None;
        }
        let least = Self {
            calibration: wanted
                .calibration
                .then_some(calibrate::Effort::LEAST.guided(recipe.calibrate_guided)),
            scores: (wanted.prompts > 0).then_some(score::Effort::LEAST),
            examples: 1,
        };
        let needs = least.calls(wanted);
        let share = needs as f64 / recipe.training_calls() as f64;
        let share = (share * 100.0).ceil() / 100.0;
        Some(format!(
            "The score budget is too small to calibrate and measure with, so the LoRA stays as it was trained. That takes {needs} calls of the UNet: train longer, or give it {share} (--score-budget)."
        ))
    }
}

#[cfg(test)]
mod tests {
    use mimeo_protocol::{Method, ModelSize, ScoreBudget};

    use super::*;

    /// Of so many examples, all of one level.
    fn both(examples: usize) -> Wanted {
        Wanted {
            calibration: true,
            prompts: 8,
            levels: vec![1.0; examples],
        }
    }

    fn recipe(method: Method, budget: Option<f64>) -> Recipe {
        Recipe {
            score_budget: budget.map(ScoreBudget::constant),
            ..Recipe::preset(method, ModelSize::Small)
        }
    }

    #[test]
    fn a_plan_is_within_its_budget_and_grows_with_it() {
        for method in Method::ALL {
            let mut last = 0;
            for share in [0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 100.0] {
                let recipe = recipe(method, Some(share));
                let calls = Plan::new(&recipe, &both(1)).calls(&both(1));
                let budget = recipe.score_calls().expect("a limit");
                assert!(calls <= budget, "{method}: {calls} of {budget}");
                assert!(calls >= last, "{method}: {calls} after {last}");
                last = calls;
            }
        }
    }

    #[test]
    fn without_a_limit_and_with_a_large_one_all_is_drawn() {
        for budget in [None, Some(100.0)] {
            for (calibrate_guided, calls) in [(false, 720), (true, 2 * 720)] {
                let recipe = Recipe {
                    calibrate_guided,
                    ..recipe(Method::Addift, budget)
                };
                let plan = Plan::new(&recipe, &both(1));
                let full = calibrate::Effort::FULL.guided(calibrate_guided);
                assert_eq!(plan.calibration, Some(full), "{budget:?}");
                assert_eq!(plan.scores, Some(score::Effort::FULL), "{budget:?}");
                assert_eq!(plan.calls(&both(1)), calls + 160 + 640, "{budget:?}");
            }
        }
    }

    #[test]
    fn every_preset_is_calibrated_and_measured() {
        for method in Method::ALL {
            for size in ModelSize::ALL {
                let recipe = Recipe::preset(method, size);
                let plan = Plan::new(&recipe, &both(1));
                assert!(
                    plan.calibration.is_some() && plan.scores.is_some(),
                    "{method} {size:?}: {plan:?}"
                );
            }
        }
    }

    #[test]
    fn what_nobody_wants_leaves_its_calls_to_the_rest() {
        let recipe = recipe(Method::Addift, Some(0.3));
        let only = |calibration, prompts| {
            let wanted = Wanted {
                calibration,
                prompts,
                ..both(1)
            };
            Plan::new(&recipe, &wanted)
        };
        assert_eq!(only(false, 0), Plan::NOTHING, "nothing");
        assert_eq!(only(true, 0).scores, None, "strength alone");
        assert!(
            only(true, 0).calls(&Wanted {
                prompts: 0,
                ..both(1)
            }) >= Plan::new(&recipe, &both(1)).calls(&both(1)) / 2,
            "with more of it"
        );
    }

    #[test]
    fn of_a_set_as_many_examples_are_measured_as_the_budget_has_room_for() {
        let wanted = both(4);
        let mut last = 1;
        for share in [0.15, 0.3, 0.5, 5.0] {
            let recipe = recipe(Method::Addift, Some(share));
            let plan = Plan::new(&recipe, &wanted);
            let budget = recipe.score_calls().expect("a limit");
            assert!(plan.calls(&wanted) <= budget, "{plan:?} of {budget}");
            assert!(plan.examples >= last, "{plan:?} after {last}");
            last = plan.examples;
        }
        assert_eq!(last, 4, "all that are wanted");
    }

    #[test]
    fn of_several_levels_held_out_pictures_are_drawn_at_each_where_they_are_many() {
        let graded = Wanted {
            levels: vec![1.0, -2.0, -1.0, 2.0],
            ..both(4)
        };
        let more = |scores| {
            let plan = Plan {
                scores: Some(scores),
                examples: 4,
                ..Plan::NOTHING
            };
            plan.calls(&graded) - plan.calls(&both(4))
        };
        let drawing = 8 * 20 * 2;
        assert_eq!(more(score::Effort::FULL), 3 * drawing, "three more levels");
        assert_eq!(more(score::Effort::LEAST), 0, "of two pictures none");
    }

    #[test]
    fn a_budget_that_is_too_small_is_told_with_what_is_enough() {
        let told = |budget| {
            let recipe = recipe(Method::Addift, budget);
            Plan::new(&recipe, &both(1)).told_of_small(&recipe, &both(1))
        };
        let small = told(Some(0.01)).expect("it is told");
        assert!(small.contains("--score-budget"), "{small}");
        assert_eq!(told(Some(0.0)), None, "it is switched off");
        assert_eq!(told(Some(0.3)), None, "the preset's is enough");
        assert_eq!(told(None), None, "no limit");
    }
}
