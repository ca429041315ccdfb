//! What is trained from prompts instead of pictures.

use serde::{Deserialize, Serialize};

use super::{InvalidRecipe, WITH_GRADIENT};
use crate::number::Guidance;

/// What only [`Method::Slider`](super::Method::Slider) needs: Concept Sliders (arXiv 2311.12092), of
/// which LECO is the half at positive strength.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SliderRecipe {
    /// What the change leads away from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub original: String,
    /// What it leads to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// The prompt whose pictures are changed while it is trained; empty: the original's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub neutral: String,
    /// Prompts whose pictures stay as they are, at most [`Self::MAX_KEEP`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<String>,
    /// How many times the difference of the two prompts' answers strength 1 adds (η). A LoRA moves
    /// both answers of classifier-free guidance alike, so guidance does not amplify it; with the
    /// guidance that is drawn with, strength 1 does what the target prompt does.
    #[serde(
        default = "SliderRecipe::usual_guidance",
        skip_serializing_if = "SliderRecipe::is_usual_guidance"
    )]
    pub guidance: Guidance,
}

impl Default for SliderRecipe {
    fn default() -> Self {
        Self {
            original: String::new(),
            target: String::new(),
            neutral: String::new(),
            keep: Vec::new(),
            guidance: Self::usual_guidance(),
        }
    }
}

impl SliderRecipe {
    /// More prompts to keep are refused: each has pictures of its own, which take time and memory.
    pub const MAX_KEEP: usize = 8;
    /// Pictures that the base draws of each prompt before training.
    pub const PICTURES: usize = 16;
    /// Denoising steps of each; what they go through is what is trained on.
    pub const DRAWING_STEPS: usize = 10;

    /// LECO's own, and the guidance that the bundled base is drawn with.
    const fn usual_guidance() -> Guidance {
        Guidance::constant(3.0)
    }

    fn is_usual_guidance(guidance: &Guidance) -> bool {
        *guidance == Self::usual_guidance()
    }

    /// Whether it says nothing.
    pub(super) fn is_unset(&self) -> bool {
        *self == Self::default()
    }

    /// The prompt whose pictures are changed.
    #[must_use]
    pub fn neutral(&self) -> &str {
        match &*self.neutral {
            "" => &self.original,
            neutral => neutral,
        }
    }

    /// Every prompt that it names.
    pub fn prompts(&self) -> impl Iterator<Item = &String> {
        [&self.original, &self.target, &self.neutral]
            .into_iter()
            .chain(&self.keep)
    }

    pub(super) fn check(&self) -> Result<(), InvalidRecipe> {
        if self.original.trim() == self.target.trim() {
            return Err(InvalidRecipe::SamePrompts);
        }
        let found = self.keep.len();
        if found > Self::MAX_KEEP {
            return Err(InvalidRecipe::Keep { found });
        }
        Ok(())
    }

    /// What training takes, in calls of the UNet without gradient.
    ///
    /// - `rows`: that a student sees in all steps
    pub(super) fn training_calls(&self, rows: u64) -> u64 {
        let states = (Self::PICTURES * Self::DRAWING_STEPS) as u64;
        // Guidance asks for the empty prompt as well, which is another one than what is drawn.
        let drawn = |prompt: &str| 1 + u64::from(!prompt.is_empty());
        let taught = 1 + u64::from(self.neutral() != self.original);
        let kept: u64 = self.keep.iter().map(|prompt| drawn(prompt)).sum();
        let pool = states * (drawn(self.neutral()) + taught + kept);
        let students = 1 + u64::from(!self.keep.is_empty());
        pool + rows * students * WITH_GRADIENT
    }
}
