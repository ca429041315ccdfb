//! The recipe as plain choices: which method, what changes, how much effort, how large.

use mimeo_protocol::fields::Field;
use mimeo_protocol::{Alpha, Method, ModelSize, Rank, Recipe, Steps, TimestepRange};

use crate::fields::{FieldInRecipe as _, edited};

/// How each method works, in one sentence, and when to take it.
#[must_use]
pub const fn explain(method: Method) -> (&'static str, &'static str) {
    match method {
        Method::Copier => (
            "Copy machine",
            "First learns to copy A, then learns B on top of it. What both share cancels out. The most faithful.",
        ),
        Method::Addift => (
            "Direct difference",
            "Learns the step from A to B itself. Seconds instead of minutes.",
        ),
        Method::Plain => (
            "Plain LoRA",
            "An ordinary LoRA on B alone, for comparison. Learns everything in B.",
        ),
        Method::Slider => (
            "Two prompts",
            "Learns the difference between two prompts. Needs no pictures, and can only do what the base knows by name.",
        ),
    }
}

/// What kind of change the pair shows, for the direct difference.
///
/// The windows are TrainTrain's presets for ADDifT: high timesteps decide where things are, lower
/// ones how they look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// Shape or action: timesteps 500 to 1000.
    Shape,
    /// Style or colour: timesteps 200 to 400.
    Style,
}

impl ChangeKind {
    /// Both, in the order of the page.
    pub const ALL: [Self; 2] = [Self::Shape, Self::Style];

    /// What people call it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Shape => "Shape or action",
            Self::Style => "Style or colour",
        }
    }

    /// The timesteps that are trained.
    #[must_use]
    pub fn timesteps(self) -> TimestepRange {
        match self {
            Self::Shape => TimestepRange::SHAPE,
            Self::Style => TimestepRange::new(200, 400).unwrap_or(TimestepRange::SHAPE),
        }
    }

    /// Which one a recipe is for; none if its timesteps are neither.
    #[must_use]
    pub fn of(recipe: &Recipe) -> Option<Self> {
        let is_of = |effect: &Self| effect.timesteps() == recipe.pass.timesteps;
        Self::ALL.into_iter().find(is_of)
    }
}

/// How long to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Half the steps.
    Quick,
    /// The preset.
    Normal,
    /// Twice the steps.
    Thorough,
}

impl Effort {
    /// In the order of the page.
    pub const ALL: [Self; 3] = [Self::Quick, Self::Normal, Self::Thorough];

    /// What people call it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Quick => "Quick",
            Self::Normal => "Normal",
            Self::Thorough => "Thorough",
        }
    }

    /// Steps of the LoRA that is kept. The copier keeps its own: one that copies badly spills.
    #[must_use]
    pub fn steps(self, method: Method, size: ModelSize) -> Steps {
        let preset = Recipe::preset(method, size).pass.steps;
        let steps = f64::from(preset.get());
        let wanted = match self {
            Self::Quick => (steps / 2.0).ceil(),
            Self::Normal => steps,
            Self::Thorough => steps * 2.0,
        };
        Steps::try_from(wanted).unwrap_or(preset)
    }

    /// Which one a recipe has; none if its steps are none of them.
    #[must_use]
    pub fn of(recipe: &Recipe, size: ModelSize) -> Option<Self> {
        let is_of = |effort: &Self| effort.steps(recipe.method, size) == recipe.pass.steps;
        Self::ALL.into_iter().find(is_of)
    }
}

/// How much the LoRA can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capacity {
    /// Half the rank.
    Small,
    /// The preset.
    Normal,
    /// Twice the rank.
    Large,
}

impl Capacity {
    /// In the order of the page.
    pub const ALL: [Self; 3] = [Self::Small, Self::Normal, Self::Large];

    /// What people call it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Small => "Small",
            Self::Normal => "Normal",
            Self::Large => "Large",
        }
    }

    /// The rank, and the alpha that keeps the effect of the preset.
    #[must_use]
    pub fn rank(self, method: Method, size: ModelSize) -> (Rank, Alpha) {
        let preset = Recipe::preset(method, size).pass;
        let factor = match self {
            Self::Small => 0.5,
            Self::Normal => 1.0,
            Self::Large => 2.0,
        };
        let rank = Rank::try_from((f64::from(preset.rank.get()) * factor).ceil());
        let alpha = Alpha::try_from(preset.alpha.get() * factor);
        (rank.unwrap_or(preset.rank), alpha.unwrap_or(preset.alpha))
    }

    /// Which one a recipe has; none if its rank is none of them.
    #[must_use]
    pub fn of(recipe: &Recipe, size: ModelSize) -> Option<Self> {
        let is_of = |capacity: &Self| {
            capacity.rank(recipe.method, size) == (recipe.pass.rank, recipe.pass.alpha)
        };
        Self::ALL.into_iter().find(is_of)
    }
}

/// The recipe for another method, with what the user chose carried over: the plain choices as
/// such, everything else by its value.
#[must_use]
pub fn change_method(recipe: &Recipe, method: Method, size: ModelSize) -> Recipe {
    rebased(recipe, size, method, size)
}

/// The recipe for a base of another size, as [`change_method`].
#[must_use]
pub fn change_size(recipe: &Recipe, from: ModelSize, to: ModelSize) -> Recipe {
    rebased(recipe, from, recipe.method, to)
}

fn rebased(recipe: &Recipe, old_size: ModelSize, method: Method, size: ModelSize) -> Recipe {
    let old = Recipe::preset(recipe.method, old_size);
    let mut new = Recipe::preset(method, size);
    let effort = Effort::of(recipe, old_size);
    let capacity = Capacity::of(recipe, old_size);
    if let Some(effort) = effort {
        new.pass.steps = effort.steps(method, size);
    }
    if let Some(capacity) = capacity {
        (new.pass.rank, new.pass.alpha) = capacity.rank(method, size);
    }
    // The window says something about the change for the direct difference only.
    let keeps_window = recipe.method == method && method == Method::Addift;
    let is_chosen = |field: &Field| match field.path {
        "/pass/steps" => effort.is_some(),
        "/pass/rank" | "/pass/alpha" => capacity.is_some(),
        path => path.starts_with("/pass/timesteps") && !keeps_window,
    };
    for field in edited(recipe, &old) {
        if !is_chosen(field)
            // A value of one method can be out of range together with those of another.
            && let Ok(with) = field.with(&new, field.value(recipe))
        {
            new = with;
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: ModelSize = ModelSize::Small;

    #[test]
    fn the_preset_is_normal_in_every_respect() {
        for method in Method::ALL {
            for size in ModelSize::ALL {
                let recipe = Recipe::preset(method, size);
                assert_eq!(Effort::of(&recipe, size), Some(Effort::Normal), "{method}");
                assert_eq!(
                    Capacity::of(&recipe, size),
                    Some(Capacity::Normal),
                    "{method}"
                );
            }
        }
        let addift = Recipe::preset(Method::Addift, SMALL);
        assert_eq!(
            ChangeKind::of(&addift),
            Some(ChangeKind::Shape),
            "the preset"
        );
    }

    #[test]
    fn choices_go_along_to_another_method_and_numbers_too() {
        let mut recipe = Recipe::preset(Method::Copier, SMALL);
        recipe.pass.steps = Effort::Thorough.steps(Method::Copier, SMALL);
        recipe.seed = 7;
        let addift = change_method(&recipe, Method::Addift, SMALL);
        assert_eq!(
            Effort::of(&addift, SMALL),
            Some(Effort::Thorough),
            "thorough stays thorough, in its own steps"
        );
        assert_eq!(addift.seed, 7, "what was typed stays");
        assert_eq!(
            change_method(&addift, Method::Copier, SMALL),
            recipe,
            "and back again"
        );
    }

    #[test]
    fn a_number_of_steps_that_is_no_choice_is_kept_as_it_is() {
        let mut recipe = Recipe::preset(Method::Copier, SMALL);
        recipe.pass.steps = Steps::constant(77);
        assert_eq!(Effort::of(&recipe, SMALL), None, "77 has no name");
        let full = change_size(&recipe, SMALL, ModelSize::Sd1);
        assert_eq!(full.pass.steps.get(), 77, "on another base too");
    }
}
