//! Pixels and masks before they become tensors.
//!
//! Everything here is plain bytes and arithmetic, with no tensor library and no files, so that the
//! workbench in the browser and the engine share one truth about what a pair and its mask are:
//!
//! - [`mod@decode`], [`encode`]: PNG, JPEG and WebP bytes to [`Rgb`] and [`Mask`], and back to PNG
//!   (small pictures to JPEG).
//! - [`fit`]: one crop and scale for A, B and the mask.
//! - [`difference`]: where A and B differ, a suggested mask, and what is wrong with a pair.
//! - [`align`]: laying B on A where it was moved or scaled.
//! - [`colour`]: A's colours for B.
//! - [`edit`]: making B from A.
//! - [`mod@composite`]: A outside the mask, B inside.
//! - [`latent_mask`]: the mask as the loss sees it, eight times smaller.
//! - [`MaskView`]: how much of what differs a mask leaves out, and what is wrong with a mask.
//! - [`raster`]: painting a mask, and [`MaskPatch`] to undo it.
//! - [`metrics`]: mean absolute error, the building block of every score.
//! - [`sheet`]: labelled contact sheets.
//!
//! Colours are sRGB bytes, which is what models are trained on: a file in another space is converted
//! when it is read, and so are its inks.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod align;
mod augment;
pub mod colour;
pub mod composite;
pub mod decode;
pub mod difference;
pub mod edit;
pub mod encode;
mod error;
mod fill;
pub mod fit;
mod inpaint;
pub mod latent_mask;
mod mask;
mod mask_view;
mod mask_warning;
pub mod metrics;
mod patch;
pub mod raster;
mod rect;
mod resample;
mod reshape;
mod rgb;
mod rgba;
pub mod sheet;
mod text;
mod window;

pub use align::Alignment;
pub use augment::Augmentation;
pub use colour::match_colour;
pub use composite::composite;
pub use decode::{Decoded, MAX_SIDE, MaskFile, Note, decode, decode_mask, decode_mask_file};
pub use difference::{Difference, PairWarning, warnings};
pub use edit::Edit;
pub use encode::{encode_jpeg, encode_mask_png, encode_png};
pub use error::ImageError;
pub use fit::{Fit, FittedPair, Sizing, fit_pair};
pub use latent_mask::LatentMask;
pub use mask::Mask;
pub use mask_view::MaskView;
pub use mask_warning::{MaskRemedy, MaskWarning};
pub use metrics::{mae, mae_weighted};
pub use patch::MaskPatch;
pub use raster::{Brush, Paint, StrokePoint, StrokeUnderWay};
pub use rect::Rect;
pub use rgb::Rgb;
pub use sheet::{Sheet, SheetRow};

/// How much smaller than the picture the latent is: the VAE of every Stable Diffusion halves it
/// three times.
pub const LATENT_FACTOR: u32 = 8;
