//! Checked numbers: a value of these types is in range, so nothing behind the border checks again.
//!
//! They deserialise through the same check, so a recipe file cannot smuggle in a rank of 0.

use serde::{Deserialize, Serialize};

/// A number outside the range that its type allows.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{name} must be between {min} and {max}, not {found}. Choose a value in that range.")]
pub struct OutOfRange {
    /// What the number is, in the user's words.
    pub name: &'static str,
    /// Smallest value allowed.
    pub min: f64,
    /// Largest value allowed.
    pub max: f64,
    /// The value that was given.
    pub found: f64,
}

macro_rules! checked_numbers {
    ($($(#[$doc:meta])* $name:ident($inner:ty) $label:literal $min:literal ..= $max:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Deserialize)]
        #[serde(try_from = "f64")]
        pub struct $name($inner);

        impl $name {
            /// The number itself.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }

            /// A value known when the program is written.
            ///
            /// # Panics
            /// At compile time, if used in a `const`, when the value is out of range.
            #[must_use]
            pub const fn constant(value: $inner) -> Self {
                assert!(value as f64 >= $min as f64 && value as f64 <= $max as f64, "constant out of range");
                Self(value)
            }
        }

        impl TryFrom<f64> for $name {
            type Error = OutOfRange;

            fn try_from(value: f64) -> Result<Self, OutOfRange> {
                let cast = value as $inner;
                // The cast back catches fractions given for whole numbers; NaN fails every test.
                if value >= $min as f64 && value <= $max as f64 && cast as f64 == value {
                    Ok(Self(cast))
                } else {
                    Err(OutOfRange { name: $label, min: $min as f64, max: $max as f64, found: value })
                }
            }
        }

        // By hand, so that whole numbers are written as such.
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }

        impl std::str::FromStr for $name {
            type Err = OutOfRange;

            fn from_str(text: &str) -> Result<Self, OutOfRange> {
                Self::try_from(text.trim().parse::<f64>().unwrap_or(f64::NAN))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

checked_numbers! {
    /// LoRA inner size.
    Rank(u32) "Rank" 1 ..= 128;
    /// LoRA scaling numerator; the effect is alpha / rank.
    Alpha(f64) "Alpha" 0.001 ..= 1024.0;
    /// Optimiser updates in a pass.
    Steps(u32) "Steps" 1 ..= 100_000;
    /// Pictures (noise and timestep draws) per forward pass.
    BatchSize(u32) "Batch size" 1 ..= 64;
    /// Forward passes whose gradients are averaged into one update.
    Accumulation(u32) "Gradient accumulation" 1 ..= 64;
    /// Peak learning rate.
    LearningRate(f64) "Learning rate" 1e-8 ..= 1.0;
    /// Steps over which the learning rate rises from 0.
    Warmup(u32) "Warm-up" 0 ..= 100_000;
    /// min-SNR γ (arXiv 2303.09556).
    Gamma(f64) "min-SNR gamma" 0.01 ..= 1000.0;
    /// Largest global L2 norm of the gradient.
    ClipNorm(f64) "Gradient clipping" 1e-6 ..= 1e6;
    /// AdamW's decoupled weight decay.
    WeightDecay(f64) "Weight decay" 0.0 ..= 1.0;
    /// A share of a whole.
    Share(f64) "Share" 0.0 ..= 1.0;
    /// Relative weight of a term of the loss.
    Weight(f64) "Loss weight" 0.0 ..= 100.0;
    /// Signed factor on a LoRA while training.
    Multiplier(f64) "Multiplier" -8.0 ..= 8.0;
    /// The user's dial: 1 makes the change, -1 undoes it.
    Strength(f64) "Strength" -2.0 ..= 2.0;
    /// Width in pixels of the soft edge outside a mask.
    Feather(f64) "Feather" 0.0 ..= 256.0;
}

/// Timesteps `min..max` of the noise schedule that are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(u32, u32)", into = "(u32, u32)")]
pub struct TimestepRange {
    min: u32,
    max: u32,
}

impl TimestepRange {
    /// Every timestep of the schedule.
    pub const ALL: Self = Self { min: 0, max: 1000 };
    /// Where the model decides about shapes: the published window of the teacher difference.
    pub const SHAPE: Self = Self {
        min: 500,
        max: 1000,
    };

    /// First timestep trained.
    #[must_use]
    pub const fn min(self) -> u32 {
        self.min
    }

    /// One past the last timestep trained.
    #[must_use]
    pub const fn max(self) -> u32 {
        self.max
    }

    /// `min..max`, with `min < max <= 1000`.
    ///
    /// # Errors
    /// [`OutOfRange`] when the window is empty or leaves the schedule.
    pub fn new(min: u32, max: u32) -> Result<Self, OutOfRange> {
        if max > 1000 || max == 0 {
            return Err(OutOfRange {
                name: "Last timestep",
                min: 1.0,
                max: 1000.0,
                found: max.into(),
            });
        }
        if min >= max {
            let below = f64::from(max) - 1.0;
            return Err(OutOfRange {
                name: "First timestep",
                min: 0.0,
                max: below,
                found: min.into(),
            });
        }
        Ok(Self { min, max })
    }
}

impl TryFrom<(u32, u32)> for TimestepRange {
    type Error = OutOfRange;

    fn try_from((min, max): (u32, u32)) -> Result<Self, OutOfRange> {
        Self::new(min, max)
    }
}

impl From<TimestepRange> for (u32, u32) {
    fn from(range: TimestepRange) -> Self {
        (range.min, range.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_of_zero_is_refused_with_the_range() {
        let error = Rank::try_from(0.0).expect_err("rank 0 trains nothing");
        assert_eq!(
            error.to_string(),
            "Rank must be between 1 and 128, not 0. Choose a value in that range.",
            "the sentence names the range"
        );
    }

    #[test]
    fn fractions_nan_and_infinity_are_not_whole_numbers() {
        for bad in [1.5, f64::NAN, f64::INFINITY, -1.0, 1e300] {
            assert!(
                Steps::try_from(bad).is_err(),
                "{bad} is not a number of steps"
            );
        }
    }

    #[test]
    fn numbers_are_checked_when_read_from_text_and_json() {
        assert_eq!("8".parse::<Rank>().map(Rank::get), Ok(8), "text");
        assert!("eight".parse::<Rank>().is_err(), "not a number");
        assert!(
            serde_json::from_str::<Rank>("0").is_err(),
            "JSON goes through the same check"
        );
        assert_eq!(
            serde_json::to_string(&Rank::constant(4)).expect("json"),
            "4",
            "a plain number"
        );
    }

    #[test]
    fn an_empty_timestep_window_is_refused() {
        assert!(TimestepRange::new(500, 500).is_err(), "empty");
        assert!(TimestepRange::new(0, 1001).is_err(), "beyond the schedule");
        assert!(
            TimestepRange::new(999, 1000).is_ok(),
            "one timestep is enough"
        );
    }
}
