//! What is watched while a LoRA is trained.

use serde::{Deserialize, Serialize};

use super::InvalidRecipe;
use crate::number::Steps;

/// The leak meter: how much of the change that was meant, and of any other, the LoRA makes to
/// pictures that it is not trained on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeakRecipe {
    /// Measured every so many steps; none: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Steps>,
    /// End the pass where ever more of another change comes along with that which was meant, and keep the
    /// weights with which least did.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub stop_at_best: bool,
}

impl LeakRecipe {
    /// What the meter may take of a training's calls.
    const BUDGET: f64 = 0.1;

    /// Whether it says nothing.
    pub(super) fn is_off(&self) -> bool {
        *self == Self::default()
    }

    pub(super) const fn check(&self) -> Result<(), InvalidRecipe> {
        match (self.stop_at_best, self.every) {
            (true, None) => Err(InvalidRecipe::StopUnmeasured),
            _ => Ok(()),
        }
    }

    /// What the meter may take, in calls of the UNet without gradient.
    ///
    /// - `training_calls`: of the recipe
    #[must_use]
    pub fn calls(training_calls: u64) -> u64 {
        (training_calls as f64 * Self::BUDGET) as u64
    }
}
