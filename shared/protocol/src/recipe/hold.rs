//! What keeps a LoRA from changing pictures that nobody showed it.

use serde::{Deserialize, Serialize};

use super::{InvalidRecipe, WITH_GRADIENT};
use crate::number::Weight;

/// Held to itself: the base draws some pictures before training, and the LoRA, at full strength, is to leave them as
/// they are outside of the mask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HoldRecipe {
    /// Weight of that; 0 switches it off.
    pub weight: Weight,
    /// Prompts of the pictures; none: what the base draws under the empty one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<String>,
}

impl HoldRecipe {
    /// Pictures, shared by the prompts.
    pub const PICTURES: usize = 16;
    /// Steps of drawing a picture, each of which is a state that can be trained on.
    pub const DRAWING_STEPS: usize = 10;

    /// Whether it is switched on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.weight.get() > 0.0
    }

    /// Whether it says nothing.
    pub(super) fn is_unset(&self) -> bool {
        *self == Self::default()
    }

    /// The prompts of the pictures; at least one.
    pub fn prompts(&self) -> impl Iterator<Item = &str> {
        let given = self.prompts.iter().map(String::as_str);
        given.chain(self.prompts.is_empty().then_some(""))
    }

    pub(super) fn check(&self) -> Result<(), InvalidRecipe> {
        let found = self.prompts.len();
        if found > Self::PICTURES {
            return Err(InvalidRecipe::Hold { found });
        }
        Ok(())
    }

    /// What it takes, in calls of the UNet without gradient.
    ///
    /// - `rows`: that the student sees in all steps
    pub(super) fn training_calls(&self, rows: u64) -> u64 {
        if !self.is_on() {
            return 0;
        }
        // Guidance asks for the empty prompt as well, which is another one than what is drawn.
        let drawn = |prompt: &str| 1 + u64::from(!prompt.is_empty());
        let drawn: u64 = self.prompts().map(drawn).sum();
        let pictures = (Self::PICTURES / self.prompts().count()) as u64;
        drawn * pictures * Self::DRAWING_STEPS as u64 + rows * WITH_GRADIENT
    }
}

/// For recipes from before there was a choice, and those that say only a part.
impl Default for HoldRecipe {
    fn default() -> Self {
        Self {
            weight: Weight::constant(0.0),
            prompts: Vec::new(),
        }
    }
}
