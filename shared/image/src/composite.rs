//! B' = A outside the mask, B inside: a pair that differs only where it was meant to.

use crate::error::ImageError;
use crate::mask::Mask;
use crate::rgb::Rgb;
use crate::window;

/// Lays B over A through the mask, blending over `feather` px around it.
///
/// The feather goes outward: inside the mask B stays exactly B (a soft pixel has at least its own
/// share of B), so that the change is not weakened, and farther than `feather` px from the mask A
/// stays exactly A. In between the share of B falls off linearly.
///
/// # Errors
/// [`ImageError::PairSizesDiffer`], [`ImageError::MaskSizeDiffers`], or [`ImageError::EmptyMask`]
/// since the result would be A.
pub fn composite(
    original: &Rgb,
    target: &Rgb,
    mask: &Mask,
    feather: u32,
) -> Result<Rgb, ImageError> {
    Rgb::check_same_size(original, target)?;
    mask.check_on(original)?;
    if mask.is_empty() {
        return Err(ImageError::EmptyMask);
    }
    let shares = shares_of_target(mask, feather as usize);

    let mut blended = original.clone();
    let pixels = blended
        .pixels_mut()
        .chunks_exact_mut(3)
        .zip(target.pixels().chunks_exact(3));
    for ((pixel, target), share) in pixels.zip(shares) {
        for (channel, &target) in pixel.iter_mut().zip(target) {
            let (from, to) = (f32::from(*channel), f32::from(target));
            *channel = (from + (to - from) * share).round() as u8;
        }
    }
    Ok(blended)
}

/// `[height, width]` in 0..=1.
///
/// The mask is grown by half the feather and averaged over windows no larger than that. Around a
/// pixel of the mask the grown mask is nowhere less than that pixel, hence neither is the average.
fn shares_of_target(mask: &Mask, feather: usize) -> Vec<f32> {
    let width = mask.width() as usize;
    // Beyond the picture's own size nothing changes any more, and sums could overflow.
    let feather = feather.min(width.max(mask.height() as usize));
    let averaged = feather / 2;
    let grown = window::max(mask.values(), width, feather - averaged);
    window::mean(&grown, width, averaged)
        .into_iter()
        .map(|value| value / 255.0)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIDE: u32 = 32;
    const WHITE: [u8; 3] = [255; 3];
    const BLACK: [u8; 3] = [0; 3];

    /// White in the 4x4 px in the middle.
    fn middle() -> Mask {
        let inside = |i: u32| (14..18).contains(&(i % SIDE)) && (14..18).contains(&(i / SIDE));
        let values = (0..SIDE * SIDE)
            .map(|i| 255 * u8::from(inside(i)))
            .collect();
        Mask::new(SIDE, SIDE, values).unwrap()
    }

    fn white_over_black(mask: &Mask, feather: u32) -> Rgb {
        let size = |colour| Rgb::filled(SIDE, SIDE, colour);
        composite(&size(BLACK), &size(WHITE), mask, feather).unwrap()
    }

    #[test]
    fn without_feather_the_edge_is_hard() {
        let picture = white_over_black(&middle(), 0);
        assert_eq!(picture.pixel(14, 14), Some(WHITE), "B inside");
        assert_eq!(picture.pixel(13, 14), Some(BLACK), "A one pixel outside");
    }

    #[test]
    fn the_feather_falls_off_outward_and_ends() {
        let picture = white_over_black(&middle(), 8);
        let row: Vec<u8> = (0..=14).map(|x| picture.pixel(x, 16).unwrap()[0]).collect();
        assert_eq!(row[14], 255, "inside the mask B stays exactly B");
        assert!(
            row.windows(2).all(|pair| pair[0] <= pair[1]),
            "monotone: {row:?}"
        );
        assert!(
            row[6] > 0 && row[13] < 255,
            "the feather spans 8 px: {row:?}"
        );
        assert!(
            row[..6].iter().all(|&value| value == 0),
            "beyond it A stays exactly A: {row:?}"
        );
    }

    #[test]
    fn soft_pixels_blend_by_their_value() {
        let mask = Mask::new(1, 1, vec![51]).unwrap();
        let picture = composite(
            &Rgb::filled(1, 1, BLACK),
            &Rgb::filled(1, 1, WHITE),
            &mask,
            0,
        );
        assert_eq!(
            picture.unwrap().pixel(0, 0),
            Some([51; 3]),
            "one fifth of B"
        );
    }

    #[test]
    fn what_does_not_lie_on_each_other_is_refused() {
        let (small, large) = (Rgb::filled(8, 8, BLACK), Rgb::filled(SIDE, SIDE, BLACK));
        assert!(
            composite(&small, &large, &middle(), 0).is_err(),
            "A and B differ in size"
        );
        assert!(
            composite(&small, &small, &middle(), 0).is_err(),
            "the mask is larger"
        );
        let empty = Mask::new(8, 8, vec![0; 64]).unwrap();
        assert!(
            composite(&small, &small, &empty, 0).is_err(),
            "the result would be A"
        );
    }

    proptest! {
        #[test]
        fn no_pixel_gets_less_of_b_than_the_mask_says(
            values in proptest::collection::vec(any::<u8>(), 96), feather in 0..40u32,
        ) {
            let mask = Mask::new(12, 8, values).unwrap();
            for (share, weight) in shares_of_target(&mask, feather as usize).iter().zip(mask.inside_weights()) {
                prop_assert!(*share >= weight && *share <= 1.0, "{} of {}", share, weight);
            }
        }
    }
}
