//! Where A and B differ: the map, a suggested mask, and what is wrong with a pair.

use std::fmt;

use crate::error::ImageError;
use crate::mask::Mask;
use crate::rgb::Rgb;
use crate::window;

/// The map `|A - B|` of two pictures that are not identical.
#[derive(Clone, PartialEq, Eq)]
pub struct Difference {
    width: u32,
    height: u32,
    /// `[height, width]`: the largest difference of the three channels.
    values: Vec<u8>,
}

impl Difference {
    /// Compares pixel by pixel.
    ///
    /// # Errors
    /// [`ImageError::PairSizesDiffer`]; [`ImageError::Identical`] when there is no difference.
    pub fn between(a: &Rgb, b: &Rgb) -> Result<Self, ImageError> {
        Rgb::check_same_size(a, b)?;
        let pixels = a.pixels().chunks_exact(3).zip(b.pixels().chunks_exact(3));
        let largest = |(a, b): (&[u8], &[u8])| {
            a.iter()
                .zip(b)
                .map(|(a, b)| a.abs_diff(*b))
                .max()
                .unwrap_or(0)
        };
        let values: Vec<u8> = pixels.map(largest).collect();
        if values.iter().all(|&value| value == 0) {
            return Err(ImageError::Identical);
        }
        Ok(Self {
            width: a.width(),
            height: a.height(),
            values,
        })
    }

    /// Width in px.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in px.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The map, `[height, width]`.
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    /// The share of pixels that differ by more than `threshold`, 0..=1.
    pub fn changed_share(&self, threshold: u8) -> f64 {
        let changed = self
            .values
            .iter()
            .filter(|&&value| value > threshold)
            .count();
        changed as f64 / self.values.len() as f64
    }

    /// A mask of what changed, with holes closed and a margin of 1/64 of the longer side, so that
    /// soft edges and shadows are inside. Never empty.
    ///
    /// What counts as changed depends on the pair: the median difference is what the untouched
    /// part carries (0 when saved losslessly, a few levels after JPEG), and a change must stand
    /// out of it in the mean of 3x3 px, so that single noisy pixels do not count.
    pub fn suggested_mask(&self) -> Mask {
        const CLEAN_THRESHOLD: f32 = 4.0;
        const NOISE_FACTOR: f32 = 4.0;
        let width = self.width as usize;
        let threshold = CLEAN_THRESHOLD + NOISE_FACTOR * f32::from(median(self.values.clone()));
        let smooth = window::mean(&self.values, width, 1);
        let binary = |changed: bool| if changed { 255 } else { 0 };
        let mut changed: Vec<u8> = smooth.into_iter().map(|v| binary(v > threshold)).collect();
        if changed.iter().all(|&value| value == 0) {
            // The whole change is that faint: then it is all there is to learn.
            changed = self.values.iter().map(|&v| binary(v > 0)).collect();
        }

        let margin = (width.max(self.height as usize) / 64).max(1);
        // Growing by two margins and shrinking by one closes holes and leaves one margin.
        let grown = window::max(&changed, width, 2 * margin);
        let values = window::min(&grown, width, margin);
        Mask::from_parts(self.width, self.height, values)
    }
}

impl fmt::Debug for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = self.changed_share(0) * 100.0;
        write!(
            f,
            "Difference({}x{}, {share:.1} % changed)",
            self.width, self.height
        )
    }
}

/// What makes a pair teach more than the user meant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PairWarning {
    /// Nearly all of B is lighter or darker than A by about the same.
    BrightnessShift {
        /// Median of B - A, in levels of 255.
        levels: i16,
    },
    /// Most pixels differ, but only a little, as after JPEG compression.
    Noise {
        /// The share of pixels that differ at all, 0..=1.
        share: f64,
    },
    /// Most pixels differ a lot, as when B is shifted or another picture.
    MostlyChanged {
        /// The share of pixels that differ strongly, 0..=1.
        share: f64,
    },
}

impl PairWarning {
    /// The likeliest trouble of a pair, if any. A hint for people, to be shown and not enforced.
    ///
    /// # Errors
    /// As [`Difference::between`].
    pub fn of(a: &Rgb, b: &Rgb) -> Result<Option<Self>, ImageError> {
        const SLIGHT: u8 = 16;
        const STRONG: u8 = 32;
        let difference = Difference::between(a, b)?;

        let shifts = shifts(a, b);
        let levels = median(shifts.clone());
        let together = shifts
            .iter()
            .filter(|shift| shift.signum() == levels.signum())
            .count();
        // An edit that recolours the background moves much of the picture, but hardly all of it.
        if levels.abs() >= 2 && together as f64 >= 0.75 * shifts.len() as f64 {
            return Ok(Some(Self::BrightnessShift { levels }));
        }

        let touched = difference.changed_share(0);
        let clearly = difference.changed_share(SLIGHT);
        if touched >= 0.5 && clearly < touched / 2.0 {
            return Ok(Some(Self::Noise { share: touched }));
        }
        let strongly = difference.changed_share(STRONG);
        Ok((strongly >= 0.6).then_some(Self::MostlyChanged { share: strongly }))
    }
}

impl fmt::Display for PairWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: &f64| (share * 100.0).round();
        match self {
            Self::BrightnessShift { levels } => {
                let direction = if *levels > 0 { "lighter" } else { "darker" };
                let levels = levels.unsigned_abs();
                write!(
                    f,
                    "B is {direction} than A nearly everywhere (by {levels} of 255), and that would be learnt too; match their brightness or use a mask."
                )
            }
            Self::Noise { share } => write!(
                f,
                "A and B differ slightly in {} % of the picture, as after JPEG compression; save both losslessly or use a mask.",
                percent(share)
            ),
            Self::MostlyChanged { share } => write!(
                f,
                "A and B differ strongly in {} % of the picture; check that they lie exactly on each other, or use a mask.",
                percent(share)
            ),
        }
    }
}

/// B - A of each pixel, channels averaged.
fn shifts(a: &Rgb, b: &Rgb) -> Vec<i16> {
    let sum = |pixel: &[u8]| pixel.iter().map(|&channel| i16::from(channel)).sum::<i16>();
    let pixels = a.pixels().chunks_exact(3).zip(b.pixels().chunks_exact(3));
    pixels.map(|(a, b)| (sum(b) - sum(a)) / 3).collect()
}

/// The middle value; of none, the default.
fn median<T: Copy + Default + Ord>(mut values: Vec<T>) -> T {
    if values.is_empty() {
        return T::default();
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable(middle).1
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: u32 = 64;

    /// A gradient with a soft texture, so that no colour is everywhere.
    fn example() -> Rgb {
        let bytes =
            |i: u32| [40 + i % SIDE * 2, 60 + i / SIDE * 2, 80 + i * 7 % 13].map(|v| v as u8);
        Rgb::new(SIDE, SIDE, (0..SIDE * SIDE).flat_map(bytes).collect()).unwrap()
    }

    fn mapped(picture: &Rgb, change: impl Fn(u32, u32, u8) -> u8) -> Rgb {
        let mut picture = picture.clone();
        let width = picture.width();
        for (i, byte) in picture.pixels_mut().iter_mut().enumerate() {
            let i = i as u32 / 3;
            *byte = change(i % width, i / width, *byte);
        }
        picture
    }

    /// A 12x12 px square.
    fn in_square(x: u32, y: u32) -> bool {
        (20..32).contains(&x) && (30..42).contains(&y)
    }

    /// -2..=2, the same for the same place.
    fn noise(x: u32, y: u32) -> i16 {
        (((x * 7919) ^ (y * 104_729)) % 5) as i16 - 2
    }

    fn noisy(x: u32, y: u32, byte: u8) -> u8 {
        (i16::from(byte) + noise(x, y)).clamp(0, 255) as u8
    }

    #[test]
    fn the_largest_channel_counts() {
        let a = Rgb::new(2, 1, vec![10, 20, 30, 0, 0, 0]).unwrap();
        let b = Rgb::new(2, 1, vec![12, 15, 30, 0, 0, 0]).unwrap();
        let difference = Difference::between(&a, &b).unwrap();
        assert_eq!(difference.values(), [5, 0], "5 is more than 2 and 0");
        assert_eq!(difference.changed_share(0), 0.5, "one of two pixels");
        assert_eq!(difference.changed_share(5), 0.0, "none by more than 5");
    }

    #[test]
    fn identical_pictures_are_refused() {
        let error = Difference::between(&example(), &example()).unwrap_err();
        assert!(matches!(error, ImageError::Identical), "{error}");
    }

    #[test]
    fn the_suggested_mask_covers_the_change_with_a_small_margin() {
        let b = mapped(
            &example(),
            |x, y, v| if in_square(x, y) { 255 - v } else { v },
        );
        let mask = Difference::between(&example(), &b)
            .unwrap()
            .suggested_mask();
        assert!(covers_square(&mask), "all that changed is inside");
        assert!(
            mask.coverage() < 18.0 * 18.0 / 4096.0,
            "and little else: {mask:?}"
        );
    }

    #[test]
    fn the_suggested_mask_sees_through_noise() {
        let b = mapped(&example(), |x, y, v| {
            noisy(x, y, if in_square(x, y) { 255 - v } else { v })
        });
        let mask = Difference::between(&example(), &b)
            .unwrap()
            .suggested_mask();
        assert!(covers_square(&mask), "the change stands out of the noise");
        assert!(mask.coverage() < 0.1, "the noise is not selected: {mask:?}");
    }

    fn covers_square(mask: &Mask) -> bool {
        let at = |x: u32, y: u32| mask.values()[(y * SIDE + x) as usize];
        (0..SIDE * SIDE)
            .map(|i| (i % SIDE, i / SIDE))
            .all(|(x, y)| !in_square(x, y) || at(x, y) == 255)
    }

    #[test]
    fn the_suggested_mask_of_a_faint_change_is_not_empty() {
        let b = mapped(
            &example(),
            |x, y, v| if (x, y) == (5, 5) { v + 1 } else { v },
        );
        let mask = Difference::between(&example(), &b)
            .unwrap()
            .suggested_mask();
        assert!(
            !mask.is_empty(),
            "one level in one pixel is still the change"
        );
    }

    #[test]
    fn a_clean_edit_gives_no_warning() {
        let b = mapped(
            &example(),
            |x, y, v| if in_square(x, y) { 255 - v } else { v },
        );
        assert_eq!(
            PairWarning::of(&example(), &b).unwrap(),
            None,
            "nothing to complain about"
        );

        let half = mapped(&example(), |x, _, v| if x < 36 { v + 60 } else { v });
        assert_eq!(
            PairWarning::of(&example(), &half).unwrap(),
            None,
            "56 % recoloured is an edit"
        );
    }

    #[test]
    fn a_brightness_shift_is_told_with_its_direction() {
        let b = mapped(&example(), |x, y, v| noisy(x, y, v.saturating_sub(6)));
        let warning = PairWarning::of(&example(), &b).unwrap().unwrap();
        assert!(
            matches!(warning, PairWarning::BrightnessShift { levels: -7..=-5 }),
            "{warning:?}"
        );
        assert!(warning.to_string().contains("darker"), "{warning}");
    }

    #[test]
    fn noise_everywhere_is_told() {
        let warning = PairWarning::of(&example(), &mapped(&example(), noisy)).unwrap();
        assert!(
            matches!(warning, Some(PairWarning::Noise { .. })),
            "{warning:?}"
        );
    }

    #[test]
    fn another_picture_is_told() {
        let b = mapped(&example(), |x, y, v| {
            v.wrapping_add(60 + ((x * y) % 97) as u8 * 2)
        });
        let warning = PairWarning::of(&example(), &b).unwrap();
        assert!(
            matches!(warning, Some(PairWarning::MostlyChanged { .. })),
            "{warning:?}"
        );
    }
}
