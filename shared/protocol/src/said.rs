//! What its user says of a base, against what its files say or because they do not.

use serde::{Deserialize, Serialize};

use crate::number::ClipSkip;

/// What a base's UNet predicts, in diffusers' words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// The noise ε.
    Epsilon,
    /// The velocity v (arXiv 2202.00512).
    #[serde(rename = "v_prediction", alias = "v")]
    Velocity,
}

/// What is said of a base; what is not said is as its files say. A recipe says it, and so does whoever
/// wants a picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// What it predicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction_type: Option<Prediction>,
    /// Whether its schedule ends in pure noise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zero_terminal_snr: Option<bool>,
    /// Which layer of its text encoder says the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_skip: Option<ClipSkip>,
}

impl Said {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}
