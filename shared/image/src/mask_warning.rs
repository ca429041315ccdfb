//! What a mask looks like that teaches less than was meant, and what mends it.

use std::fmt;

use crate::LATENT_FACTOR;

/// Darker than this, of 255, it makes a tenth of the change at most; also what counts as black.
pub(crate) const DARK: u8 = 26;

/// What makes a mask teach less, or something else, than was meant. Shares are 0..=1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaskWarning {
    /// One grey, or nearly black, everywhere.
    Flat {
        /// Its value.
        value: u8,
    },
    /// Nearly black, as a file of 0 and 1 is.
    Faint {
        /// Its largest value.
        lightest: u8,
    },
    /// Grey nearly everywhere, as when a picture is taken for the mask.
    Grey {
        /// The share that is neither black nor white.
        share: f64,
    },
    /// The change lies outside, and what is outside looks like a mask of it.
    Inverted {
        /// The share of what differs that lies outside.
        left_out: f64,
    },
    /// Much of what differs lies outside.
    LeavesOut {
        /// The share of what differs that lies outside.
        left_out: f64,
    },
    /// Nothing is outside, though little differs.
    Everything {
        /// The share of the picture that is inside.
        coverage: f64,
        /// The share of the picture that differs.
        changed: f64,
    },
    /// Nearly nothing is left of it on the latent grid.
    Small {
        /// Cells that it fills, parts of cells added up.
        filled: f64,
        /// As much as it fills of one cell.
        fullest: f32,
        /// How many cells there are.
        count: usize,
    },
}

/// What mends a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskRemedy {
    /// [`crate::Mask::stretched`].
    Stretch,
    /// [`crate::Mask::inverted`].
    Invert,
    /// [`crate::Mask::grown`] by [`MaskRemedy::GROWN_BY`] px.
    Grow,
    /// [`crate::Difference::suggested_mask`].
    MaskDifference,
}

impl MaskRemedy {
    /// Half a cell of the latent to every side: a dot then fills about one.
    pub const GROWN_BY: u32 = LATENT_FACTOR / 2;
}

impl MaskWarning {
    /// What mends it.
    pub const fn remedy(&self) -> MaskRemedy {
        match self {
            Self::Faint { .. } => MaskRemedy::Stretch,
            Self::Inverted { .. } => MaskRemedy::Invert,
            Self::Small { .. } => MaskRemedy::Grow,
            Self::Flat { .. }
            | Self::Grey { .. }
            | Self::LeavesOut { .. }
            | Self::Everything { .. } => MaskRemedy::MaskDifference,
        }
    }
}

impl fmt::Display for MaskWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Flat { value } => write!(
                f,
                "The mask is {}{value} of 255 everywhere, so it does not say where to learn; mask what differs.",
                if value < DARK { "nearly black, " } else { "" }
            ),
            Self::Faint { lightest } => write!(
                f,
                "The mask is nearly black: its lightest value is {lightest} of 255, so at most {} of any change is inside; stretch it until that is white.",
                percent(f64::from(lightest) / 255.0)
            ),
            Self::Grey { share } => write!(
                f,
                "{} of the mask is neither black nor white, as in a picture, so every change is only partly inside; choose a black and white one, or mask what differs.",
                percent(share)
            ),
            Self::Inverted { left_out } => write!(
                f,
                "{} of what differs lies outside the mask, which looks inverted, or like a picture whose painted part was erased; invert it.",
                percent(left_out)
            ),
            Self::LeavesOut { left_out } => write!(
                f,
                "{} of what differs lies outside the mask; if it was meant, too, mask what differs.",
                percent(left_out)
            ),
            Self::Everything { coverage, changed } => write!(
                f,
                "The mask covers {} of the picture, of which {} differs, so it leaves nothing out; mask what differs.",
                percent(coverage),
                percent(changed)
            ),
            Self::Small {
                filled,
                fullest,
                count,
            } => write!(
                f,
                "The mask fills {filled:.1} of the {count} cells of {LATENT_FACTOR}x{LATENT_FACTOR} px in which the model learns, and none by more than {}; grow it.",
                percent(f64::from(fullest))
            ),
        }
    }
}

/// "61 %"; near both ends finer, so that nearly all is not all.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let is_near_an_end = !(1.0..=99.0).contains(&percent);
    match percent {
        percent if percent > 0.0 && percent < 0.05 => "less than 0.1 %".to_owned(),
        percent if is_near_an_end && (0.05..99.95).contains(&percent) => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_all_is_not_all() {
        let told = [0.0, 0.0001, 0.004, 0.61, 0.994, 0.9999, 1.0].map(percent);
        assert_eq!(
            told,
            [
                "0 %",
                "less than 0.1 %",
                "0.4 %",
                "61 %",
                "99.4 %",
                "100 %",
                "100 %"
            ],
            "finer near both ends"
        );
    }
}
