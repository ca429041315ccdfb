//! Checked numbers: a value of these types is in range, so nothing behind the border checks again.
//!
//! They deserialise through the same check, so a recipe file cannot smuggle in a rank of 0.

use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};

/// The longest quote of what was typed, in characters.
const QUOTE: usize = 40;

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

/// What cannot be a number of its type, in the user's words, with what is allowed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidNumber {
    /// A number outside the range, or none at all (NaN).
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// A fraction of something that is counted.
    #[error(
        "{name} must be a whole number between {min} and {max}, not {found}. Leave the fraction away."
    )]
    Fraction {
        /// What the number is.
        name: &'static str,
        /// Smallest value allowed.
        min: f64,
        /// Largest value allowed.
        max: f64,
        /// The value that was given.
        found: f64,
    },
    /// A text that is none: a decimal comma, a unit, a word.
    #[error("{name} must be a number between {min} and {max}, not {found:?}. {remedy}")]
    NoNumber {
        /// What the number is.
        name: &'static str,
        /// Smallest value allowed.
        min: f64,
        /// Largest value allowed.
        max: f64,
        /// What was typed, shortened.
        found: String,
        /// What to do.
        remedy: &'static str,
    },
}

/// What a number is called, and which values it may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// What the number is, in the user's words.
    pub name: &'static str,
    /// Smallest value allowed.
    pub min: f64,
    /// Largest value allowed.
    pub max: f64,
    /// Whether it counts something.
    pub is_whole: bool,
}

impl Range {
    /// The value, if it is one of these.
    ///
    /// # Errors
    /// [`InvalidNumber`] for NaN, for what lies outside, and for a fraction of what is counted.
    pub fn check(self, value: f64) -> Result<f64, InvalidNumber> {
        let Self { name, min, max, .. } = self;
        let found = value;
        // NaN lies in no range.
        if !(min..=max).contains(&value) {
            return Err(InvalidNumber::OutOfRange(OutOfRange {
                name,
                min,
                max,
                found,
            }));
        }
        if self.is_whole && value.fract() != 0.0 {
            return Err(InvalidNumber::Fraction {
                name,
                min,
                max,
                found,
            });
        }
        Ok(value)
    }

    /// The value that a text means.
    ///
    /// # Errors
    /// As [`Self::check`], and for what is no number.
    pub fn parse(self, text: &str) -> Result<f64, InvalidNumber> {
        // A real minus is what pages and word processors make of a dash.
        match text.trim().replace('\u{2212}', "-").parse() {
            // Where a point groups thousands, 1.000 is not one.
            Ok(value) if self.is_whole && text.contains('.') && self.check(value).is_ok() => {
                Err(self.no_number(text))
            }
            Ok(value) => self.check(value),
            Err(_) => Err(self.no_number(text)),
        }
    }

    fn take(self, written: &Written) -> Result<f64, InvalidNumber> {
        match written {
            Written::Number(value) => self.check(*value),
            Written::Text(text) => Err(self.no_number(text)),
        }
    }

    fn no_number(self, text: &str) -> InvalidNumber {
        let is_quoted = text.trim().parse().is_ok_and(f64::is_finite);
        InvalidNumber::NoNumber {
            name: self.name,
            min: self.min,
            max: self.max,
            found: text.chars().take(QUOTE).collect(),
            remedy: if is_quoted && self.is_whole && text.contains('.') {
                "It counts something: write its digits only."
            } else if is_quoted {
                "Leave the quotation marks away."
            } else {
                "Use a point for decimals, and no commas or units."
            },
        }
    }
}

/// What stands where a number belongs, before it is known to be one.
enum Written {
    Number(f64),
    Text(String),
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_i64<E>(self, value: i64) -> Result<Written, E> {
                Ok(Written::Number(value as f64))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Written, E> {
                Ok(Written::Number(value as f64))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Written, E> {
                Ok(Written::Number(value))
            }

            fn visit_str<E>(self, text: &str) -> Result<Written, E> {
                Ok(Written::Text(text.to_owned()))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

macro_rules! checked_numbers {
    ($($(#[$doc:meta])* $name:ident($inner:ty) $label:literal $min:literal ..= $max:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Deserialize)]
        #[serde(try_from = "Written")]
        pub struct $name($inner);

        impl $name {
            /// What it is called, and which values it may have.
            pub const RANGE: Range = Range {
                name: $label,
                min: $min as f64,
                max: $max as f64,
                // Of a type that holds no fractions, nothing is left of a half.
                is_whole: 0.5_f64 as $inner as f64 != 0.5,
            };

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
            type Error = InvalidNumber;

            fn try_from(value: f64) -> Result<Self, InvalidNumber> {
                Self::RANGE.check(value).map(|value| Self(value as $inner))
            }
        }

        impl TryFrom<Written> for $name {
            type Error = InvalidNumber;

            fn try_from(written: Written) -> Result<Self, InvalidNumber> {
                Self::RANGE.take(&written).map(|value| Self(value as $inner))
            }
        }

        // By hand, so that whole numbers are written as such.
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidNumber;

            fn from_str(text: &str) -> Result<Self, InvalidNumber> {
                Self::RANGE.parse(text).map(|value| Self(value as $inner))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    /// How much of a picture's sides is cut off.
    Crop(f64) "Crop" 0.0 ..= 0.5;
    /// Relative weight of a term of the loss.
    Weight(f64) "Loss weight" 0.0 ..= 100.0;
    /// Signed factor on a LoRA while training.
    Multiplier(f64) "Multiplier" -8.0 ..= 8.0;
    /// Strength at which an example's change is to come: its place among the steps of a graded
    /// slider. The opposite of the change that 1 makes is -1; at 0 nothing could be learnt.
    Level(f64) "Level" -8.0 ..= 8.0;
    /// The user's dial: 1 makes the change, -1 undoes it.
    Strength(f64) "Strength" -2.0 ..= 2.0;
    /// What calibration and scores may take, in shares of what training takes.
    ScoreBudget(f64) "Score budget" 0.0 ..= 100.0;
    /// Side in pixels of a square with as many pixels as a picture is trained at.
    Resolution(u32) "Resolution" 32 ..= 2048;
    /// Which layer of a text encoder says the prompt, counted from its end as A1111 does: 1 is the
    /// last, 2 the one before.
    ClipSkip(u32) "Clip skip" 1 ..= 12;
    /// How many times the difference of two prompts' answers a slider adds at strength 1.
    Guidance(f64) "Guidance" 0.1 ..= 30.0;
    /// Share of the contrast that guidance adds which is taken back (arXiv 2305.08891, eq. 16).
    GuidanceRescale(f64) "Guidance rescale" 0.0 ..= 1.0;
    /// Width in pixels of the soft edge outside a mask.
    Feather(f64) "Feather" 0.0 ..= 256.0;
}

/// Timesteps `min..max` of the noise schedule that are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(Written, Written)", into = "(u32, u32)")]
pub struct TimestepRange {
    min: u32,
    max: u32,
}

impl TimestepRange {
    /// What the first may be.
    pub const FIRST: Range = Self::end("First timestep", 0.0, 999.0);
    /// What the last may be.
    pub const LAST: Range = Self::end("Last timestep", 1.0, 1000.0);
    /// Every timestep of the schedule.
    pub const ALL: Self = Self { min: 0, max: 1000 };
    /// Where the model decides about shapes: the published window of the teacher difference.
    pub const SHAPE: Self = Self {
        min: 500,
        max: 1000,
    };

    const fn end(name: &'static str, min: f64, max: f64) -> Range {
        Range {
            name,
            min,
            max,
            is_whole: true,
        }
    }

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

impl TryFrom<(Written, Written)> for TimestepRange {
    type Error = InvalidNumber;

    fn try_from((min, max): (Written, Written)) -> Result<Self, InvalidNumber> {
        let (first, last) = (Self::FIRST.take(&min)?, Self::LAST.take(&max)?);
        Ok(Self::new(first as u32, last as u32)?)
    }
}

impl From<TimestepRange> for (u32, u32) {
    fn from(range: TimestepRange) -> Self {
        (range.min, range.max)
    }
}

/// What cannot be a seed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Seed must be a whole number between 0 and {max}, not {found}. No number stands for a random seed; choose any.",
    max = u64::MAX
)]
pub struct InvalidSeed {
    /// What was given; a text in quotation marks.
    pub found: String,
}

/// The seed that a text means.
///
/// # Errors
/// [`InvalidSeed`] for everything but the digits of a whole number that 64 bits hold.
pub fn parse_seed(text: &str) -> Result<u64, InvalidSeed> {
    text.trim().parse().map_err(|_parse_error| {
        let found: String = text.chars().take(QUOTE).collect();
        InvalidSeed {
            found: format!("{found:?}"),
        }
    })
}

/// Reads a seed, refusing what is none in the same words as [`parse_seed`].
///
/// # Errors
/// [`InvalidSeed`], as the format's own error.
pub(crate) fn deserialize_seed<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<u64, D::Error> {
    struct Reader;

    fn invalid<E: serde::de::Error>(found: impl fmt::Display) -> E {
        let found = found.to_string();
        E::custom(InvalidSeed { found })
    }

    impl Visitor<'_> for Reader {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number")
        }

        fn visit_u64<E>(self, value: u64) -> Result<u64, E> {
            Ok(value)
        }

        fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<u64, E> {
            u64::try_from(value).map_err(|_negative| invalid(value))
        }

        fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<u64, E> {
            Err(invalid(value))
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<u64, E> {
            let found: String = text.chars().take(QUOTE).collect();
            Err(invalid(format_args!("{found:?}")))
        }
    }

    deserializer.deserialize_any(Reader)
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

    #[test]
    fn what_is_no_number_is_refused_by_name_with_what_is_allowed() {
        let rate = |text: &str| {
            text.parse::<LearningRate>()
                .expect_err("it is refused")
                .to_string()
        };
        assert_eq!(
            rate("0,001"),
            "Learning rate must be a number between 0.00000001 and 1, not \"0,001\". Use a point for decimals, and no commas or units.",
            "a decimal comma"
        );
        for (text, words) in [
            ("nan", "not NaN"),
            ("inf", "not inf"),
            ("-1", "not -1"),
            ("", "not \"\""),
            ("1e-3 s", "no commas or units"),
            (
                "1e30",
                "between 0.00000001 and 1, not 1000000000000000000000000000000",
            ),
        ] {
            let refusal = rate(text);
            assert!(refusal.starts_with("Learning rate must be "), "{refusal}");
            assert!(refusal.contains(words), "{text:?}: {refusal}");
        }
        let half = "1.5"
            .parse::<Steps>()
            .expect_err("it is refused")
            .to_string();
        assert_eq!(
            half,
            "Steps must be a whole number between 1 and 100000, not 1.5. Leave the fraction away.",
            "a fraction of a step"
        );
        let thousand = "1.000"
            .parse::<Steps>()
            .expect_err("one, or a thousand")
            .to_string();
        assert_eq!(
            thousand,
            "Steps must be a number between 1 and 100000, not \"1.000\". It counts something: write its digits only.",
            "a point that groups thousands"
        );
        assert_eq!("1e3".parse::<Steps>().map(Steps::get), Ok(1000), "clear");
        let minus = "\u{2212}0.5".parse::<Multiplier>();
        assert_eq!(minus.map(Multiplier::get), Ok(-0.5), "a real minus");
    }

    #[test]
    fn a_text_in_the_place_of_a_number_is_refused_in_the_same_words() {
        let refusal = |json: &str| {
            let error = serde_json::from_str::<LearningRate>(json).expect_err("it is refused");
            error.to_string()
        };
        assert!(
            refusal("\"0,001\"").contains("Learning rate must be a number between"),
            "comma"
        );
        let quoted = refusal("\"0.001\"");
        assert!(
            quoted.contains("Leave the quotation marks away"),
            "{quoted}"
        );
        assert!(
            refusal("true").contains("expected a number"),
            "another kind"
        );
        let window = |json: &str| {
            let error = serde_json::from_str::<TimestepRange>(json).expect_err("it is refused");
            error.to_string()
        };
        for (json, words) in [
            (
                "[-1, 500]",
                "First timestep must be between 0 and 999, not -1",
            ),
            (
                "[0, 1001]",
                "Last timestep must be between 1 and 1000, not 1001",
            ),
            ("[0.5, 500]", "First timestep must be a whole number"),
            ("[0, \"all\"]", "Last timestep must be a number"),
            ("[500, 500]", "First timestep must be between 0 and 499"),
        ] {
            assert!(window(json).contains(words), "{json}: {}", window(json));
        }
    }

    #[test]
    fn a_seed_is_a_whole_number_and_none_of_them_is_random() {
        assert_eq!(
            parse_seed(" 18446744073709551615 "),
            Ok(u64::MAX),
            "the largest"
        );
        for text in ["-1", "1.5", "0,5", "", "random", "18446744073709551616"] {
            let refusal = parse_seed(text).expect_err("it is refused").to_string();
            assert!(
                refusal.contains(&format!("and 18446744073709551615, not {text:?}")),
                "{refusal}"
            );
        }
    }
}
