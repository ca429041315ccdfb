//! What can be wrong with a picture, a mask or a pair, and what to do about it.

use thiserror::Error;

use crate::mask_warning::MaskWarning;

/// One sentence for the user each; the caller knows the path and adds it last.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The first bytes are those of no format Mimeo reads.
    #[error("This file is {found}; {remedy}.")]
    UnsupportedFormat {
        /// What the file seems to be, with its article.
        found: String,
        /// What to do.
        remedy: &'static str,
    },

    /// The format is right, the content is not.
    #[error(
        "This {format} file is damaged or cut off ({reason}); export it again from its source."
    )]
    Corrupt {
        /// "PNG", "JPEG" or "WebP".
        format: &'static str,
        /// The decoder's own words.
        reason: String,
    },

    /// The picture has more light than sRGB can say.
    #[error(
        "This picture is HDR ({transfer}), and models are trained on ordinary pictures; export it as SDR in sRGB and try again."
    )]
    Hdr {
        /// The transfer function's name.
        transfer: &'static str,
    },

    /// The picture would take too much memory; found before anything is allocated.
    #[error(
        "This picture is {width}x{height} px, more than the {max_side} px a side or {max_megapixels} megapixels that Mimeo takes; scale it down and try again."
    )]
    TooLarge {
        /// Width in px.
        width: u32,
        /// Height in px.
        height: u32,
        /// The most pixels a side may have.
        max_side: u32,
        /// The most pixels a picture may have, in millions.
        max_megapixels: u32,
    },

    /// A width, height and pixel buffer that do not belong together.
    #[error(
        "A picture of {width}x{height} px cannot be made of {found} bytes; give {expected} bytes, and at least one pixel."
    )]
    WrongByteCount {
        /// Width in px.
        width: u32,
        /// Height in px.
        height: u32,
        /// Bytes that size needs.
        expected: u64,
        /// Bytes given.
        found: u64,
    },

    /// A and B are of different size.
    #[error(
        "A is {a_width}x{a_height} px and B is {b_width}x{b_height} px, but both must show the same frame; crop or scale one to the other's size."
    )]
    PairSizesDiffer {
        /// Width of A in px.
        a_width: u32,
        /// Height of A in px.
        a_height: u32,
        /// Width of B in px.
        b_width: u32,
        /// Height of B in px.
        b_height: u32,
    },

    /// The mask does not lie on the pictures.
    #[error(
        "The mask is {mask_width}x{mask_height} px and the pictures are {width}x{height} px; save the mask at the pictures' size."
    )]
    MaskSizeDiffers {
        /// Width of the mask in px.
        mask_width: u32,
        /// Height of the mask in px.
        mask_height: u32,
        /// Width of the pictures in px.
        width: u32,
        /// Height of the pictures in px.
        height: u32,
    },

    /// A picture was given to a [`crate::Fit`] made for another size.
    #[error(
        "This picture is {width}x{height} px, but the fit was made for {fit_width}x{fit_height} px; make one for this size."
    )]
    FitSizeDiffers {
        /// Width in px.
        width: u32,
        /// Height in px.
        height: u32,
        /// Width the fit expects, in px.
        fit_width: u32,
        /// Height the fit expects, in px.
        fit_height: u32,
    },

    /// No multiple of the model's step fits into the side.
    #[error(
        "A picture of {long_side} px cannot be a multiple of {multiple} px; choose a size of at least {multiple} px."
    )]
    SideTooSmall {
        /// The longer side asked for, in px.
        long_side: u32,
        /// What both sides must be multiples of, in px.
        multiple: u32,
    },

    /// Too little of a picture to make anything of.
    #[error(
        "This picture is {width}x{height} px; enlarged to the model's {fit_width}x{fit_height} px it would show nothing. Choose the picture at its full size."
    )]
    TooSmall {
        /// Width in px.
        width: u32,
        /// Height in px.
        height: u32,
        /// Width the model takes, in px.
        fit_width: u32,
        /// Height the model takes, in px.
        fit_height: u32,
    },

    /// Fitting would cut most of the picture away.
    #[error(
        "This picture is {width}x{height} px, too narrow for the model's {fit_width}x{fit_height} px; crop it closer to a square."
    )]
    TooNarrow {
        /// Width in px.
        width: u32,
        /// Height in px.
        height: u32,
        /// Nearest width the model takes, in px.
        fit_width: u32,
        /// Nearest height the model takes, in px.
        fit_height: u32,
    },

    /// A and B are the same picture.
    #[error(
        "A and B are identical, so there is nothing to learn; choose a B that shows the change."
    )]
    Identical,

    /// The mask selects nothing.
    #[error(
        "The mask is empty (all black), so there is nothing to learn; paint the changed part white."
    )]
    EmptyMask,

    /// The mask leaves out practically all that differs.
    #[error("{warning}")]
    MaskLeavesOutAll {
        /// What it looks like.
        warning: MaskWarning,
    },

    /// Nothing of what differs is left once A is put back outside the mask.
    #[error(
        "Inside the mask A and B are the same, so there is nothing to learn; mask what differs."
    )]
    SameInsideMask,

    /// The mask is gone once it is scaled to the size of training.
    #[error(
        "The mask is so small that nothing of it is left at {width}x{height} px, the size of training; paint it larger."
    )]
    MaskVanishes {
        /// Width of what is trained, in px.
        width: u32,
        /// Height of what is trained, in px.
        height: u32,
    },

    /// The mask cannot be averaged over whole cells.
    #[error(
        "A mask of {width}x{height} px cannot be divided into cells of {factor} px; fit it to a multiple of {factor} px first."
    )]
    NotDivisible {
        /// Width of the mask in px.
        width: u32,
        /// Height of the mask in px.
        height: u32,
        /// Side of a cell in px.
        factor: u32,
    },

    /// Two sets of samples that should belong to the same picture.
    #[error(
        "Pictures of {a} and {b} samples cannot be compared under {weights} weights; compare pictures and masks of one size."
    )]
    NotComparable {
        /// Samples of the first picture.
        a: usize,
        /// Samples of the second picture.
        b: usize,
        /// Weights, one a pixel.
        weights: usize,
    },

    /// All weights are zero.
    #[error(
        "No pixel has any weight, so there is nothing to measure; use a mask that leaves some of the picture."
    )]
    NoWeight,

    /// The pictures of a sheet do not form a table.
    #[error(
        "The sheet cannot be laid out: {reason}; give every row one picture of equal size for each column."
    )]
    SheetLayout {
        /// What does not fit.
        reason: String,
    },

    /// The sheet would take too much memory; found before anything is drawn.
    #[error(
        "The sheet would be {width}x{height} px, more than the {max_side} px a side or {max_megapixels} megapixels that Mimeo writes; give it fewer columns or rows, or a smaller scale."
    )]
    SheetTooLarge {
        /// Width in px.
        width: u32,
        /// Height in px.
        height: u32,
        /// The most pixels a side may have.
        max_side: u32,
        /// The most pixels a sheet may have, in millions.
        max_megapixels: u32,
    },

    /// The encoder refused.
    #[error("The picture could not be written as PNG ({reason}); try a smaller one.")]
    NotEncodable {
        /// The encoder's own words.
        reason: String,
    },
}
