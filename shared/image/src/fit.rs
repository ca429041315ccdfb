//! One crop and scale for A, B and the mask, to a size the model takes.
//!
//! The U-Net halves its input several times and the VAE three times before, so both sides must be
//! multiples of some step (64 px for SD1.x and SDXL, 32 px for the bundled base). The three
//! pictures must go through exactly one transform, or the pair would differ by the transform.

use image::imageops::{self, FilterType};
use image::{ImageBuffer, Luma, Pixel};

use crate::error::ImageError;
use crate::mask::Mask;
use crate::rect::Rect;
use crate::rgb::Rgb;

/// By how much a side is enlarged at most. Beyond that, a pixel becomes more than two cells of the
/// latent each way, and what is trained on is its blurred edges; such files are placeholders.
const MAX_ENLARGEMENT: u32 = 16;

/// Which size pictures are brought to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizing {
    /// What both sides are multiples of, in px.
    pub multiple: u32,
    /// The longer side where no resolution is asked for, in px.
    pub native_side: u32,
    /// The side of a square with as many pixels, in px.
    pub resolution: Option<u32>,
}

impl Sizing {
    /// Side of what becomes of a square, in px, before it is rounded down.
    pub fn side(self) -> u32 {
        self.resolution.unwrap_or(self.native_side)
    }

    /// The fit for a picture of `width` x `height` px.
    ///
    /// # Errors
    /// As [`Fit::new`] and [`Fit::of_area`].
    pub fn fit(self, width: u32, height: u32) -> Result<Fit, ImageError> {
        match self.resolution {
            Some(side) => Fit::of_area(width, height, self.multiple, side),
            None => Fit::new(width, height, self.multiple, self.native_side),
        }
    }
}

/// The crop, then scale, that takes pictures of one size to the model's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    source: (u32, u32),
    crop: Rect,
    target: (u32, u32),
}

impl Fit {
    /// The fit for a picture of `width` x `height` px.
    ///
    /// The longer side becomes `long_side` (rounded down to a `multiple`), the shorter the nearest
    /// `multiple` that keeps the proportions, and what then sticks out is cropped evenly. Smaller
    /// pictures are enlarged: a model draws well only at the size it was trained at. Where the
    /// size already fits, pixels pass untouched.
    ///
    /// # Errors
    /// [`ImageError::SideTooSmall`] when `long_side` is less than `multiple` or that is 0;
    /// [`ImageError::TooNarrow`] when more than half of the picture would be cropped away;
    /// [`ImageError::TooSmall`] when it would be enlarged beyond recognition.
    pub fn new(width: u32, height: u32, multiple: u32, long_side: u32) -> Result<Self, ImageError> {
        let steps = long_side.checked_div(multiple).unwrap_or(0);
        if steps == 0 {
            return Err(ImageError::SideTooSmall {
                long_side,
                multiple,
            });
        }
        let (width, height) = (width.max(1), height.max(1));
        let long = steps * multiple;
        let short = |short: u32, of: u32| {
            let ideal = f64::from(short) * f64::from(long) / f64::from(of);
            ((ideal / f64::from(multiple)).round() as u32).max(1) * multiple
        };
        let target = if width >= height {
            (long, short(height, width))
        } else {
            (short(width, height), long)
        };
        Self::covering(width, height, target)
    }

    /// The fit for a picture of `width` x `height` px onto about as many pixels as a square of `side`
    /// px (rounded down to a `multiple`) has.
    ///
    /// Each `multiple` goes with the largest other with which it has no more pixels than the square;
    /// of these sizes the one is taken whose proportions are nearest, and what sticks out is cropped
    /// evenly. At 1024 px in multiples of 64 they are those that Stable Diffusion XL was trained at
    /// (arXiv 2307.01952, appendix I), and at any size the buckets of kohya-ss/sd-scripts
    /// `library/model_util.py`, `make_bucket_resolutions`. No two of them have the same proportions,
    /// so what was fitted once passes untouched.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_area(width: u32, height: u32, multiple: u32, side: u32) -> Result<Self, ImageError> {
        let steps = u64::from(side.checked_div(multiple).unwrap_or(0));
        let (width, height) = (width.max(1), height.max(1));
        // In multiples. Sides of a few thousand px, whose products f64 holds exactly.
        let apart = |(columns, rows): (u64, u64)| {
            let across = u64::from(width) * rows;
            let down = u64::from(height) * columns;
            across.max(down) as f64 / across.min(down) as f64
        };
        let sizes = (1..=steps * steps).map(|columns| (columns, steps * steps / columns));
        let sizes = sizes.flat_map(|(one, other)| [(one, other), (other, one)]);
        let nearest = sizes.min_by(|one, other| apart(*one).total_cmp(&apart(*other)));
        let Some((columns, rows)) = nearest else {
            return Err(ImageError::SideTooSmall {
                long_side: side,
                multiple,
            });
        };
        let target = [columns, rows].map(|steps| steps as u32 * multiple);
        Self::covering(width, height, target.into())
    }

    /// The fit for a picture of `width` x `height` px onto exactly `target` px: as much of it as
    /// has the target's proportions, from the middle. So a B of another size than A comes to lie
    /// on A.
    ///
    /// # Errors
    /// [`ImageError::SideTooSmall`] when a side of `target` is 0; [`ImageError::TooNarrow`] and
    /// [`ImageError::TooSmall`] as [`Self::new`].
    pub fn covering(width: u32, height: u32, target: (u32, u32)) -> Result<Self, ImageError> {
        let (fit_width, fit_height) = target;
        if fit_width == 0 || fit_height == 0 {
            let (long_side, multiple) = (0, 1);
            return Err(ImageError::SideTooSmall {
                long_side,
                multiple,
            });
        }
        let source = (width.max(1), height.max(1));
        let crop = centred_crop(source, target);
        let kept = u64::from(crop.width) * u64::from(crop.height) * 2;
        if kept < u64::from(source.0) * u64::from(source.1) {
            let (width, height) = source;
            return Err(ImageError::TooNarrow {
                width,
                height,
                fit_width,
                fit_height,
            });
        }
        let is_enlarged_to_nothing =
            |side: u32, kept: u32| side > kept.saturating_mul(MAX_ENLARGEMENT);
        if is_enlarged_to_nothing(fit_width, crop.width)
            || is_enlarged_to_nothing(fit_height, crop.height)
        {
            let (width, height) = source;
            return Err(ImageError::TooSmall {
                width,
                height,
                fit_width,
                fit_height,
            });
        }
        Ok(Self {
            source,
            crop,
            target,
        })
    }

    /// A part of a picture of `width` x `height` px at the picture's own size, from the middle.
    ///
    /// - `kept`: share of each side
    pub(crate) fn part(width: u32, height: u32, kept: f64) -> Self {
        let source = (width.max(1), height.max(1));
        let side = |side: u32| ((f64::from(side) * kept).round() as u32).clamp(1, side);
        let (width, height) = (side(source.0), side(source.1));
        let crop = Rect {
            x: (source.0 - width) / 2,
            y: (source.1 - height) / 2,
            width,
            height,
        };
        Self {
            source,
            crop,
            target: source,
        }
    }

    /// The same crop moved: 0 is left or top, 0.5 in the middle (as it is made), 1 right or
    /// bottom. In a direction in which nothing is cropped, nothing moves.
    pub fn with_offset(mut self, x: f64, y: f64) -> Self {
        let start = |source: u32, crop: u32, offset: f64| {
            // Not a number becomes 0 by the cast.
            (f64::from(source - crop) * offset.clamp(0.0, 1.0)) as u32
        };
        self.crop.x = start(self.source.0, self.crop.width, x);
        self.crop.y = start(self.source.1, self.crop.height, y);
        self
    }

    /// The part of the source that is kept.
    pub fn crop(&self) -> Rect {
        self.crop
    }

    /// Width and height of the pictures it is for, in px.
    pub fn source(&self) -> (u32, u32) {
        self.source
    }

    /// Width of what comes out, in px.
    pub fn width(&self) -> u32 {
        self.target.0
    }

    /// Height of what comes out, in px.
    pub fn height(&self) -> u32 {
        self.target.1
    }

    /// Fits a picture, resampled with Lanczos3.
    ///
    /// # Errors
    /// [`ImageError::FitSizeDiffers`] when the picture is not of the size this was made for.
    pub fn picture(&self, picture: &Rgb) -> Result<Rgb, ImageError> {
        let (width, height) = (picture.width(), picture.height());
        let pixels =
            self.apply::<image::Rgb<u8>>((width, height), picture.pixels(), FilterType::Lanczos3)?;
        Rgb::new(self.width(), self.height(), pixels)
    }

    /// Fits a mask, resampled with a triangle: it must not ring around its edges.
    ///
    /// # Errors
    /// [`ImageError::FitSizeDiffers`] when the mask is not of the size this was made for.
    pub fn mask(&self, mask: &Mask) -> Result<Mask, ImageError> {
        let (width, height) = (mask.width(), mask.height());
        let values =
            self.apply::<Luma<u8>>((width, height), mask.values(), FilterType::Triangle)?;
        Mask::new(self.width(), self.height(), values)
    }

    fn apply<P: Pixel<Subpixel = u8> + 'static>(
        &self,
        (width, height): (u32, u32),
        samples: &[u8],
        filter: FilterType,
    ) -> Result<Vec<u8>, ImageError> {
        let (fit_width, fit_height) = self.source;
        let differs = ImageError::FitSizeDiffers {
            width,
            height,
            fit_width,
            fit_height,
        };
        if (width, height) != self.source {
            return Err(differs);
        }
        let Some(source) = ImageBuffer::<P, &[u8]>::from_raw(width, height, samples) else {
            return Err(differs);
        };
        let crop = self.crop;
        let view = imageops::crop_imm(&source, crop.x, crop.y, crop.width, crop.height);
        Ok(imageops::resize(&*view, self.target.0, self.target.1, filter).into_raw())
    }
}

/// The largest centred part of `source` with the proportions of `target`, to the pixel.
fn centred_crop(source: (u32, u32), target: (u32, u32)) -> Rect {
    let scaled = |side: u32, numerator: u32, denominator: u32, max: u32| {
        let exact = f64::from(side) * f64::from(numerator) / f64::from(denominator);
        (exact.round() as u32).clamp(1, max)
    };
    let width = scaled(source.1, target.0, target.1, source.0);
    let height = scaled(source.0, target.1, target.0, source.1);
    Rect {
        x: (source.0 - width) / 2,
        y: (source.1 - height) / 2,
        width,
        height,
    }
}

/// A, B and their mask at the model's size.
#[derive(Debug, Clone)]
pub struct FittedPair {
    /// A.
    pub original: Rgb,
    /// B.
    pub target: Rgb,
    /// Where to learn.
    pub mask: Option<Mask>,
}

/// Fits A, B and the mask with one [`Fit`].
///
/// # Errors
/// [`ImageError::PairSizesDiffer`] or [`ImageError::MaskSizeDiffers`] when they do not lie on each
/// other; otherwise as [`Sizing::fit`].
pub fn fit_pair(
    original: &Rgb,
    target: &Rgb,
    mask: Option<&Mask>,
    sizing: Sizing,
) -> Result<FittedPair, ImageError> {
    Rgb::check_same_size(original, target)?;
    if let Some(mask) = mask {
        mask.check_on(original)?;
    }
    let fit = sizing.fit(original.width(), original.height())?;
    Ok(FittedPair {
        original: fit.picture(original)?,
        target: fit.picture(target)?,
        mask: mask.map(|mask| fit.mask(mask)).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_picture_of_the_right_size_passes_untouched() {
        let picture =
            Rgb::new(64, 32, (0..64 * 32 * 3).map(|i| (i % 251) as u8).collect()).unwrap();
        let fitted = Fit::new(64, 32, 32, 64).unwrap().picture(&picture).unwrap();
        assert_eq!(fitted.pixels(), picture.pixels(), "no resampling, no crop");
    }

    #[test]
    fn the_nearest_multiples_are_chosen() {
        let size = |width, height, multiple, side| {
            let fit = Fit::new(width, height, multiple, side).unwrap();
            (fit.width(), fit.height())
        };
        assert_eq!(
            size(1000, 600, 64, 512),
            (512, 320),
            "307 px is nearest to 320"
        );
        assert_eq!(size(600, 1000, 64, 512), (320, 512), "and the same upright");
        assert_eq!(size(4000, 3000, 64, 512), (512, 384), "4:3 fits exactly");
        assert_eq!(
            size(100, 100, 32, 128),
            (128, 128),
            "small pictures are enlarged"
        );
        assert_eq!(
            size(500, 500, 64, 500),
            (448, 448),
            "the side is rounded down"
        );
    }

    const fn native(multiple: u32, native_side: u32) -> Sizing {
        Sizing {
            multiple,
            native_side,
            resolution: None,
        }
    }

    #[test]
    fn a_resolution_keeps_the_proportions_and_about_the_area() {
        let size = |width, height, multiple, side| {
            let sizing = Sizing {
                resolution: Some(side),
                ..native(multiple, 9999)
            };
            let fit = sizing.fit(width, height).unwrap();
            (fit.width(), fit.height())
        };
        for (width, height, expected) in [
            (1000, 1000, (1024, 1024)),
            (832, 1216, (832, 1216)),
            (1536, 1024, (1216, 832)),
            (896, 1152, (896, 1152)),
            (768, 1344, (768, 1344)),
            (1920, 1080, (1344, 768)),
        ] {
            assert_eq!(size(width, height, 64, 1024), expected, "of XL's own list");
        }
        assert_eq!(size(512, 768, 64, 512), (384, 640), "no more than 512²");
        assert_eq!(size(300, 200, 32, 128), (160, 96), "of another multiple");
        assert_eq!(size(50, 50, 64, 500), (448, 448), "rounded down");
        let error = Fit::of_area(512, 512, 64, 63).unwrap_err().to_string();
        assert!(error.contains("at least 64 px"), "{error}");
        assert!(Fit::of_area(512, 512, 0, 512).is_err(), "no multiple");
        assert!(Fit::of_area(9000, 9, 64, 512).is_err(), "too narrow");
    }

    #[test]
    fn the_crop_is_centred() {
        let fit = Fit::new(1000, 600, 64, 512).unwrap();
        assert_eq!(
            fit.crop(),
            crop(20, 0, 960, 600),
            "20 px off the left and the right"
        );
    }

    fn crop(x: u32, y: u32, width: u32, height: u32) -> Rect {
        Rect {
            x,
            y,
            width,
            height,
        }
    }

    #[test]
    fn the_crop_moves_from_end_to_end() {
        let fit = Fit::new(1001, 600, 64, 512).unwrap();
        let moved = |x: f64| fit.with_offset(x, 0.7).crop();
        assert_eq!(moved(0.0), crop(0, 0, 960, 600), "to the left");
        assert_eq!(moved(0.5), fit.crop(), "the middle is where it was");
        assert_eq!(moved(1.0), crop(41, 0, 960, 600), "to the right");
        assert_eq!(moved(9.0), moved(1.0), "and no farther");
        assert_eq!(moved(f64::NAN), moved(0.0), "not a number is no place");
    }

    #[test]
    fn a_picture_of_another_size_covers_the_same_target() {
        let fit = Fit::covering(300, 400, (512, 512)).unwrap();
        assert_eq!((fit.width(), fit.height()), (512, 512), "as asked");
        assert_eq!(
            fit.crop(),
            crop(0, 50, 300, 300),
            "a square from the middle"
        );
        assert_eq!(fit.source(), (300, 400), "of this picture");
        assert_eq!(
            fit.with_offset(0.0, 1.0).crop(),
            crop(0, 100, 300, 300),
            "or from below"
        );
        assert!(Fit::covering(900, 10, (64, 64)).is_err(), "too narrow");
        assert!(Fit::covering(9, 9, (0, 64)).is_err(), "nothing to cover");
    }

    #[test]
    fn impossible_sizes_are_refused_with_a_remedy() {
        let error = Fit::new(10_000, 10, 64, 512).unwrap_err();
        assert!(error.to_string().contains("closer to a square"), "{error}");
        assert!(
            Fit::new(100, 100, 64, 63).is_err(),
            "no multiple of 64 fits into 63"
        );
        assert!(
            Fit::new(100, 100, 0, 512).is_err(),
            "nothing is a multiple of 0"
        );
    }

    #[test]
    fn a_picture_of_a_few_pixels_is_refused_by_its_size() {
        for fit in [Fit::new(1, 1, 32, 128), Fit::covering(7, 7, (128, 128))] {
            let error = fit.unwrap_err().to_string();
            assert!(error.contains("128x128 px"), "what for: {error}");
            assert!(error.contains("full size"), "what to do: {error}");
        }
        assert!(
            Fit::new(8, 8, 32, 128).is_ok(),
            "an icon still shows something"
        );
    }

    #[test]
    fn the_mask_moves_with_the_picture() {
        let white = |x: u32, y: u32| (300..500).contains(&x) && (100..300).contains(&y);
        let bytes = |channels: usize| -> Vec<u8> {
            (0..1000 * 600)
                .flat_map(|i| vec![255 * u8::from(white(i % 1000, i / 1000)); channels])
                .collect()
        };
        let picture = Rgb::new(1000, 600, bytes(3)).unwrap();
        let mask = Mask::new(1000, 600, bytes(1)).unwrap();
        let fitted = fit_pair(&picture, &picture, Some(&mask), native(64, 512)).unwrap();
        let mask = fitted.mask.unwrap();
        let pairs = fitted
            .original
            .pixels()
            .iter()
            .step_by(3)
            .zip(mask.values());
        let apart = pairs
            .filter(|(picture, mask)| (**picture >= 128) != (**mask >= 128))
            .count();
        assert!(
            apart < 20,
            "the white square lies on the white square, {apart} px differ"
        );
    }

    #[test]
    fn different_sizes_are_refused_and_named() {
        let picture = |width, height| Rgb::filled(width, height, [9; 3]);
        let small = native(8, 64);
        let error = fit_pair(&picture(10, 20), &picture(10, 21), None, small).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("10x20") && text.contains("10x21"), "{text}");

        let mask = Mask::new(5, 5, vec![255; 25]).unwrap();
        let a = picture(10, 20);
        let error = fit_pair(&a, &a, Some(&mask), small).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("5x5") && text.contains("10x20"), "{text}");

        let fit = Fit::new(10, 20, 8, 64).unwrap();
        assert!(
            fit.picture(&picture(20, 10)).is_err(),
            "a fit is for one size"
        );
    }

    proptest! {
        #[test]
        fn what_was_fitted_to_an_area_passes_untouched(
            width in 1..20_000u32, height in 1..20_000u32, multiple in 16..128u32, side in 1..2048u32,
        ) {
            if let Ok(fit) = Fit::of_area(width, height, multiple, side) {
                let (width, height) = (fit.width(), fit.height());
                let again = Fit::of_area(width, height, multiple, side).unwrap();
                prop_assert_eq!((again.width(), again.height()), (width, height));
                prop_assert!(width * height <= side * side, "{:?}", fit);
                prop_assert!(width % multiple == 0 && height % multiple == 0, "{:?}", fit);
            }
        }

        #[test]
        fn every_fit_lies_in_its_source(
            width in 1..20_000u32, height in 1..20_000u32, multiple in 1..128u32, side in 1..2048u32,
            offset in (0.0..=1.0f64, 0.0..=1.0f64),
        ) {
            if let Ok(fit) = Fit::new(width, height, multiple, side) {
                for fit in [fit, fit.with_offset(offset.0, offset.1)] {
                    let crop = fit.crop();
                    prop_assert_eq!(crop.clipped(width, height), crop, "{:?}", fit);
                }
                prop_assert!(fit.width() % multiple == 0 && fit.height() % multiple == 0, "{:?}", fit);
                prop_assert!(fit.width().max(fit.height()) <= side.next_multiple_of(multiple), "{:?}", fit);
            }
        }
    }
}
