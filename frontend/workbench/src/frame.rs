//! A and B as they are trained: one crop and scale for both, at the size that the base asks for.
//!
//! The mask lives at this size too, so that what is painted is what the loss sees, pixel for pixel.

use std::sync::{Arc, OnceLock};

use mimeo_image::{Difference, Fit, ImageError, Mask, PairWarning, Rgb, Sizing, difference};

use crate::picture::Picture;

/// A difference that nobody sees does not count as change, in levels of 255.
const VISIBLE: u8 = 8;

/// Which sizes a base takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sides {
    /// The longer side of what is trained unless a recipe says a resolution, px.
    pub long: u32,
    /// What both sides are multiples of, px.
    pub multiple: u32,
}

impl Sides {
    /// Those of Stable Diffusion 1.x, until a base is known.
    pub const UNKNOWN: Self = Self {
        long: 512,
        multiple: 64,
    };
}

/// A and B in one frame.
#[derive(Debug, Clone)]
pub struct Frame {
    width: u32,
    height: u32,
    /// A, if it is there.
    pub original: Option<Rgb>,
    /// B, if it is there.
    pub target: Option<Rgb>,
    /// The mask that came with a picture as its alpha channel.
    pub alpha: Option<Mask>,
    /// Whether some of A is cut away, so that moving the crop does something.
    pub is_cropped: bool,
    /// Where they differ; an error if they do not.
    pub difference: Option<Result<Difference, Arc<ImageError>>>,
    /// Found when first asked for: looking for an alignment takes a moment.
    warnings: OnceLock<Vec<PairWarning>>,
    /// Found when first asked for, and asked for after every stroke.
    standing_out: OnceLock<Difference>,
}

impl Frame {
    /// Lays the pictures onto each other; none if there is no picture.
    ///
    /// The frame is that of A, or of B while A is missing; `offset` moves the crop, 0.5 is the
    /// middle. A picture of another size is scaled until it covers the frame, and cut at the same
    /// place.
    ///
    /// # Errors
    /// [`ImageError::TooNarrow`] when more than half of a picture would be cut away.
    pub fn of(
        original: Option<&Picture>,
        target: Option<&Picture>,
        offset: (f64, f64),
        sizing: Sizing,
    ) -> Result<Option<Self>, ImageError> {
        let Some(anchor) = original.or(target) else {
            return Ok(None);
        };
        let size = |picture: &Picture| (picture.pixels.width(), picture.pixels.height());
        let (width, height) = size(anchor);
        let anchor_fit = sizing.fit(width, height)?;
        let frame = (anchor_fit.width(), anchor_fit.height());
        let fit = |picture: &Picture| -> Result<Fit, ImageError> {
            let (width, height) = size(picture);
            let fit = if (width, height) == anchor_fit.source() {
                anchor_fit
            } else {
                Fit::covering(width, height, frame)?
            };
            Ok(fit.with_offset(offset.0, offset.1))
        };
        let fitted = |picture: Option<&Picture>| {
            picture
                .map(|picture| fit(picture)?.picture(&picture.pixels))
                .transpose()
        };
        let alpha = |picture: Option<&Picture>| {
            let found = picture.and_then(|picture| Some((picture, picture.alpha.as_ref()?)));
            found
                .map(|(picture, alpha)| fit(picture)?.mask(alpha))
                .transpose()
        };

        let crop = anchor_fit.crop();
        let (original_pixels, target_pixels) = (fitted(original)?, fitted(target)?);
        let difference = original_pixels
            .as_ref()
            .zip(target_pixels.as_ref())
            .map(|(a, b)| Difference::between(a, b).map_err(Arc::new));
        Ok(Some(Self {
            width: frame.0,
            height: frame.1,
            alpha: alpha(target)?.or(alpha(original)?),
            original: original_pixels,
            target: target_pixels,
            is_cropped: (crop.width, crop.height) != anchor_fit.source(),
            difference,
            warnings: OnceLock::new(),
            standing_out: OnceLock::new(),
        }))
    }

    /// Width in px.
    #[must_use]
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Height in px.
    #[must_use]
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// A and B, when both are there.
    #[must_use]
    pub const fn pair(&self) -> Option<(&Rgb, &Rgb)> {
        match (&self.original, &self.target) {
            (Some(original), Some(target)) => Some((original, target)),
            _ => None,
        }
    }

    /// Where A and B differ, when both are there and differ.
    #[must_use]
    pub fn difference(&self) -> Option<&Difference> {
        self.difference.as_ref()?.as_ref().ok()
    }

    /// What of the difference stands out of noise: what a mask is held against.
    #[must_use]
    pub fn standing_out(&self) -> Option<&Difference> {
        let difference = self.difference()?;
        let found = self.standing_out.get_or_init(|| difference.without_noise());
        Some(found)
    }

    /// The share of the picture that visibly changes, 0..=1.
    #[must_use]
    pub fn changed_share(&self) -> Option<f64> {
        Some(self.difference()?.changed_share(VISIBLE))
    }

    /// What is suspicious about the pair, the likeliest first. Takes a moment when first asked.
    #[must_use]
    pub fn warnings(&self) -> &[PairWarning] {
        self.warnings.get_or_init(|| {
            let pair = self.pair();
            // Pictures of one frame are of one size, and identical ones are a problem of their own.
            pair.and_then(|(a, b)| difference::warnings(a, b, None).ok())
                .unwrap_or_default()
        })
    }

    /// The same as far as somebody asked already.
    #[must_use]
    pub fn known_warnings(&self) -> Option<&[PairWarning]> {
        self.warnings.get().map(Vec::as_slice)
    }

    /// Memory it takes, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        // Two pictures and two maps.
        self.width as usize * self.height as usize * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZING: Sizing = Sizing {
        multiple: 32,
        native_side: 64,
        resolution: None,
    };

    fn picture(width: u32, height: u32, colour: [u8; 3]) -> Picture {
        Picture::made("test", Rgb::filled(width, height, colour)).unwrap()
    }

    #[test]
    fn pictures_of_two_sizes_share_one_frame() {
        let (a, b) = (picture(100, 100, [0; 3]), picture(300, 200, [200; 3]));
        let frame = Frame::of(Some(&a), Some(&b), (0.5, 0.5), SIZING)
            .unwrap()
            .unwrap();
        assert_eq!((frame.width(), frame.height()), (64, 64), "that of A");
        let (a, b) = frame.pair().unwrap();
        assert_eq!(
            (a.width(), a.height()),
            (b.width(), b.height()),
            "both are trained at it"
        );
        assert_eq!(frame.changed_share(), Some(1.0), "all of it changes");
    }

    #[test]
    fn identical_pictures_have_no_difference_and_say_why() {
        let a = picture(64, 64, [9; 3]);
        let frame = Frame::of(Some(&a), Some(&a), (0.5, 0.5), SIZING)
            .unwrap()
            .unwrap();
        let Some(Err(error)) = &frame.difference else {
            panic!("there is none");
        };
        assert!(error.to_string().contains("identical"), "{error}");
        assert!(frame.warnings().is_empty(), "one sentence is enough");
    }

    #[test]
    fn a_frame_of_one_picture_waits_for_the_other() {
        let b = picture(64, 32, [9; 3]);
        let frame = Frame::of(None, Some(&b), (0.5, 0.5), SIZING)
            .unwrap()
            .unwrap();
        assert_eq!((frame.width(), frame.height()), (64, 32), "that of B");
        assert!(frame.pair().is_none(), "no pair yet");
    }
}
