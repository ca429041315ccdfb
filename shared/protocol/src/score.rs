//! What a LoRA does, in numbers (`mimeo-engine`'s `score` measures them).
//!
//! A recipe's `score_budget` decides how much is drawn for them, not what they mean. Drawn from
//! less, they are rougher; and as pictures are then compared before they are sharp, and held-out ones
//! drawn without guidance, they are not to be compared with those of another budget.

use serde::{Deserialize, Serialize};

/// Everything that is measured after training; of several examples the mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// How much of the change the round trip makes: 1 all of it, 0 nothing, < 0 damage.
    pub edit_gain: f64,
    /// Change outside the mask, relative to the change that was meant.
    pub spill: f64,
    /// What happens to pictures of other prompts.
    pub held_out: HeldOut,
    /// What other strengths do.
    pub linearity: Linearity,
    /// How well the copier copied, for `Method::Copier`.
    pub copy_fidelity: Option<f64>,
    /// The multiplier that calibration folded into the weights.
    pub calibrated_strength: f64,
    /// How the change grows with the level, where the examples have several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graded: Option<Box<Graded>>,
    /// What the style copier below it has left to the LoRA, where it was trained upon one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub style: Option<StyleLeak>,
}

impl Scores {
    /// Those of pictures alone: they show no change, so all that is measured is the style. Fields that
    /// every version has are empty then.
    #[must_use]
    pub const fn of_style(style: StyleLeak) -> Self {
        Self {
            edit_gain: 0.0,
            spill: 0.0,
            held_out: HeldOut {
                pictures: 0,
                gained: 0.0,
                progress: 0.0,
                elsewhere: 0.0,
                consistency: None,
            },
            linearity: Linearity {
                edit_gain: Vec::new(),
                progress: Vec::new(),
                monotone: true,
                correlation: 0.0,
                valid: None,
                unevenness: None,
            },
            copy_fidelity: None,
            calibrated_strength: 1.0,
            graded: None,
            style: Some(style),
        }
    }

    /// Whether the style is all that was measured.
    #[must_use]
    pub const fn is_of_style_alone(&self) -> bool {
        self.style.is_some() && self.held_out.pictures == 0
    }
}

/// A LoRA that was trained upon a style copier, used without it: is it free of the style, and is what it
/// was trained for there?
///
/// Compared as latents, each picture from the same noise: drawn by the base (`z0`), with the copier as
/// strong as below the LoRA (`zC`), and with the LoRA alone at strength 1 (`zL`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StyleLeak {
    /// Pictures of held-out prompts, which do not name what was trained.
    pub pictures: usize,
    /// How much of the style those have: `Σ⟨zL - z0, zC - z0⟩ / Σ‖zC - z0‖²`; 0 is nothing, 1 as much as
    /// with the copier.
    pub leak: f64,
    /// How much else they change, as a share of what the copier changes:
    /// `√(Σ‖zL - z0 - leak · (zC - z0)‖² / Σ‖zC - z0‖²)`.
    pub rest: f64,
    /// How far pictures of the captions, which name it, go the way from what the copier draws to the
    /// pictures `zT` that were trained on: `Σ⟨zL - z0, zT - zC⟩ / Σ‖zT - zC‖²`; 1 is all of it.
    pub progress: f64,
}

/// Levels of a graded slider, each with what the LoRA does at that strength.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Graded {
    /// The levels, the lowest first.
    pub levels: Vec<f64>,
    /// How far the LoRA goes, at the strength of each level, from A (0) to the picture of that level
    /// (1): the same everywhere, where the change is in proportion to the strength.
    pub progress: Vec<f64>,
    /// The largest difference from the mean of `progress`, as a share of it.
    pub deviation: f64,
    /// The same of held-out pictures, where several of them were drawn at every level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<HeldOutGrading>,
}

/// How far held-out pictures go at the strength of each level of a [`Graded`], a mean over them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOutGrading {
    /// The way that the examples of each level go, in the order of the levels; 1 is as far as they do.
    pub progress: Vec<f64>,
    /// The largest difference from the mean of `progress`, as a share of it.
    pub deviation: f64,
}

/// Pictures never trained on, the same noise with and without the LoRA: 8, or fewer within a small
/// budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Pictures compared.
    pub pictures: usize,
    /// Share that gained the change.
    pub gained: f64,
    /// How far they went from A towards B where the change was meant, on average over them and over the
    /// examples that are measured on; 1 is as far as the pair.
    pub progress: f64,
    /// Mean change outside the mask, of 255, likewise.
    pub elsewhere: f64,
    /// How alike the changes of the pictures are where the change was meant: the mean cosine of each two
    /// (the Consistency of CARLoS, arXiv 2512.08826, of pixels). 1 is the same change on all; none of
    /// fewer than two pictures, and in files of before it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<f64>,
}

/// The round trip of the first example over several strengths, the lowest first: -2, -1, -0.5, 0, 0.5, 1 and 2; within
/// a smaller budget those of them that are whole, or -1, 0 and 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Linearity {
    /// Edit gain at each strength.
    pub edit_gain: Vec<f64>,
    /// How far each strength goes from A (0) towards B (1): unlike the gain, it goes on growing
    /// beyond strength 1.
    pub progress: Vec<f64>,
    /// Whether `progress` never falls by more than a standstill as the strength rises.
    pub monotone: bool,
    /// Correlation of `progress` with strength: 1 is a straight line.
    pub correlation: f64,
    /// The lowest and the highest strength that were tried, from 0 on, down to and up to which each step
    /// goes on with the change, and changes less elsewhere than where it was meant; none in files of before
    /// it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid: Option<[f64; 2]>,
    /// Coefficient of variation of what a step of strength changes where the change was meant: 0 where
    /// equal steps make equal changes. None where nothing changes, and in files of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unevenness: Option<f64>,
}

impl Linearity {
    /// Whether every strength that was tried is in the valid range.
    #[must_use]
    pub fn is_valid_throughout(&self) -> bool {
        let strongest = f64::from(self.strongest());
        self.valid == Some([-strongest, strongest])
    }

    /// The largest strength that was tried; the smallest is its negative.
    #[must_use]
    pub fn strongest(&self) -> u8 {
        if self.progress.len() == 3 { 1 } else { 2 }
    }
}
