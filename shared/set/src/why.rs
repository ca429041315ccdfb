//! Why a file is not used.

use std::fmt;

/// One sentence for the user each, with what to do; the caller knows the file and names it first.
#[derive(Debug, Clone, PartialEq)]
pub enum Why {
    /// A picture in a format that is not read.
    FormatOfPicture,
    /// Neither a picture nor a caption.
    NeitherPictureNorCaption,
    /// Two files whose names are the same but for case or the kind of picture.
    SameName,
    /// Names leave open which picture is the other half.
    Several {
        /// The files it could be, in the order of their names.
        others: Vec<String>,
    },
    /// Pictures that are numbered one after the other, and are an odd number.
    OddRun {
        /// How many.
        count: usize,
    },
    /// A level whose original is missing.
    NoOriginal,
    /// A level beyond what can be trained.
    LevelTooFar,
    /// A mask, and no pair has its name.
    MaskOfNone,
    /// A pair that has a mask already.
    SecondMask {
        /// The one that is used.
        used: String,
    },
    /// A caption, and no picture has its name.
    CaptionOfNone,
    /// A caption whose picture is not used.
    CaptionOfUnused,
    /// A picture or pair that has a caption already.
    SecondCaption {
        /// The one that is used.
        used: String,
    },
}

impl Why {
    /// Whether it is a picture that may still be half of a pair.
    #[must_use]
    pub const fn is_undecided(&self) -> bool {
        matches!(
            self,
            Self::Several { .. } | Self::OddRun { .. } | Self::NoOriginal
        )
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FormatOfPicture => {
                f.write_str("it is of a format that is not read; save it as PNG, JPEG or WebP.")
            }
            Self::NeitherPictureNorCaption => f.write_str(
                "it is neither a picture (.png, .jpg, .webp) nor a caption (.txt, .caption).",
            ),
            Self::SameName => f.write_str(
                "another file has the same name, but for case or extension; rename one of them.",
            ),
            Self::Several { others } => {
                f.write_str("by name it could be the other half of ")?;
                list(f, others)?;
                f.write_str("; let the names of two halves differ in _a and _b only.")
            }
            Self::OddRun { count } => write!(
                f,
                "it is one of {count} pictures numbered in a row, an odd number; name two halves _a and _b, or steps of one change level0, level1 and so on."
            ),
            Self::NoOriginal => f.write_str(
                "it is called a level, and level 0, the original, is missing; name that level0.",
            ),
            Self::LevelTooFar => {
                f.write_str("its level is beyond -8 to 8; number the levels closer to 0.")
            }
            Self::MaskOfNone => f.write_str(
                "it is called a mask, and no pair has the rest of its name; name it as one of the pictures with _mask added.",
            ),
            Self::SecondMask { used } => {
                write!(f, "its pair has a mask, {used:?}; remove one of them.")
            }
            Self::CaptionOfNone => f.write_str(
                "it seems to be a caption, and no one picture has its name; name it as the picture is.",
            ),
            Self::CaptionOfUnused => {
                f.write_str("it is the caption of a picture that is not used; see there.")
            }
            Self::SecondCaption { used } => {
                write!(f, "there is a caption already, {used:?}; remove one of them.")
            }
        }
    }
}

/// "x", "y" or "z"; of many the first.
fn list(f: &mut fmt::Formatter<'_>, names: &[String]) -> fmt::Result {
    const SHOWN: usize = 3;
    for (i, name) in names.iter().take(SHOWN).enumerate() {
        f.write_str(match i {
            0 => "",
            _ if i + 1 == names.len() => " or ",
            _ => ", ",
        })?;
        write!(f, "{name:?}")?;
    }
    match names.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => write!(f, " or {more} more"),
    }
}
