//! What reading a picture changed about it.

use std::fmt;

/// Something to tell whoever gave the picture: the model will see it otherwise than they did, or not
/// all of it.
///
/// Its text is one sentence about "it"; the caller knows the name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// Transparent pixels were laid over white.
    Transparent,
    /// The colours were converted to sRGB.
    Converted {
        /// What they were in.
        from: String,
    },
    /// The colours were taken as sRGB although the file says otherwise.
    UnusableProfile {
        /// Why.
        reason: String,
    },
    /// Inks became colours by a rule of thumb.
    InksWithoutProfile,
    /// Another picture stands behind the first.
    SecondPicture,
    /// It is an animation, of which the first picture was taken.
    Animation,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transparent => f.write_str("Its transparent pixels count as white."),
            Self::Converted { from } => {
                write!(f, "Its colours are converted from {from} to sRGB.")
            }
            Self::UnusableProfile { reason } => write!(
                f,
                "Its colour profile cannot be used ({reason}), so its colours are taken as sRGB."
            ),
            Self::InksWithoutProfile => f.write_str(
                "It is in CMYK and no profile says which inks, so its colours are a guess; export it in sRGB to be sure.",
            ),
            Self::SecondPicture => f.write_str(
                "A second picture behind it in the file (a gain map or a preview) is left aside.",
            ),
            Self::Animation => f.write_str("Of its animation, the first picture counts."),
        }
    }
}
