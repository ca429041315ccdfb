//! A's colours for B.

use crate::error::ImageError;
use crate::mask::Mask;
use crate::rgb::Rgb;

/// B with A's colours outside the change: brightness and contrast of each channel (a gain and an
/// offset), fitted on what changed least, and applied to all of B.
///
/// With a mask, what it leaves alone is what is fitted on (or everything, if that is nothing).
/// Where B cannot tell, as in one flat colour, only the offset is fitted.
///
/// # Errors
/// [`ImageError::PairSizesDiffer`] or [`ImageError::MaskSizeDiffers`].
pub fn match_colour(a: &Rgb, b: &Rgb, mask: Option<&Mask>) -> Result<Rgb, ImageError> {
    Rgb::check_same_size(a, b)?;
    if let Some(mask) = mask {
        mask.check_on(a)?;
    }
    let mask = mask.filter(|mask| mask.values().contains(&0));
    let tables = [0, 1, 2].map(|channel| Counts::of(a, b, mask, channel).fit().table());

    let mut matched = b.clone();
    for pixel in matched.pixels_mut().chunks_exact_mut(3) {
        for (value, table) in pixel.iter_mut().zip(&tables) {
            *value = table[usize::from(*value)];
        }
    }
    Ok(matched)
}

/// How often a value of A lies on a value of B, in one channel. However large the pictures, these
/// are all there is to fit.
struct Counts {
    /// A, B and how often.
    counts: Vec<(f64, f64, u32)>,
}

/// `gain * b + offset` is A's value for B's.
#[derive(Clone, Copy, PartialEq)]
struct Curve {
    gain: f64,
    offset: f64,
}

impl Counts {
    fn of(a: &Rgb, b: &Rgb, mask: Option<&Mask>, channel: usize) -> Self {
        let mut table = vec![0u32; 256 * 256];
        let pixels = a.pixels().chunks_exact(3).zip(b.pixels().chunks_exact(3));
        let left = |i: usize| mask.is_none_or(|mask| mask.values()[i] == 0);
        for (i, (a, b)) in pixels.enumerate() {
            if left(i) {
                table[usize::from(a[channel]) * 256 + usize::from(b[channel])] += 1;
            }
        }
        let found = |exclude: &dyn Fn(usize) -> bool| -> Vec<(f64, f64, u32)> {
            let counts = table.iter().enumerate().filter(|(_, count)| **count > 0);
            counts
                .filter(|(i, _)| !exclude(i / 256) && !exclude(i % 256))
                .map(|(i, &count)| ((i / 256) as f64, (i % 256) as f64, count))
                .collect()
        };
        // What was cut off at black or white does not lie on the curve.
        let mut counts = found(&|value| value == 0 || value == 255);
        if counts.is_empty() {
            counts = found(&|_| false);
        }
        Self { counts }
    }

    /// Least squares on the half that fits best, again and again (least trimmed squares). It
    /// starts from two guesses, since the half that fits a wrong guess best may stay with it.
    fn fit(&self) -> Curve {
        const ROUNDS: usize = 20;
        let refined = |mut curve: Curve| {
            for _ in 0..ROUNDS {
                let before = curve;
                curve = self.least_squares(curve, self.middle_error(curve));
                if curve == before {
                    break;
                }
            }
            (self.middle_error(curve), curve)
        };
        let (moved, stretched) = (refined(self.shift()), refined(self.stretch()));
        if stretched.0 < moved.0 {
            stretched.1
        } else {
            moved.1
        }
    }

    /// As much lighter as the middle pixel is.
    fn shift(&self) -> Curve {
        let offset = self.median(|a, b| a - b);
        Curve { gain: 1.0, offset }
    }

    /// The middle value, and the usual distance from it, as A has them.
    fn stretch(&self) -> Curve {
        let (a_middle, b_middle) = (self.median(|a, _| a), self.median(|_, b| b));
        let a_spread = self.median(|a, _| (a - a_middle).abs());
        let b_spread = self.median(|_, b| (b - b_middle).abs());
        if a_spread == 0.0 || b_spread == 0.0 {
            return self.shift();
        }
        let gain = (a_spread / b_spread).clamp(GAINS.0, GAINS.1);
        let offset = a_middle - gain * b_middle;
        Curve { gain, offset }
    }

    fn middle_error(&self, curve: Curve) -> f64 {
        self.median(|a, b| curve.error(a, b))
    }

    fn median(&self, of: impl Fn(f64, f64) -> f64) -> f64 {
        let value = |&(a, b, count): &(f64, f64, u32)| (of(a, b), u64::from(count));
        let mut values: Vec<(f64, u64)> = self.counts.iter().map(value).collect();
        values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let mut left = values.iter().map(|(_, count)| count).sum::<u64>() / 2;
        for (value, count) in values {
            if count > left {
                return value;
            }
            left -= count;
        }
        0.0
    }

    fn least_squares(&self, curve: Curve, largest_error: f64) -> Curve {
        let fitting = || {
            let counts = self.counts.iter();
            counts
                .filter(|(a, b, _)| curve.error(*a, *b) <= largest_error)
                .map(|&(a, b, count)| (a, b, f64::from(count)))
        };
        let total: f64 = fitting().map(|(_, _, count)| count).sum();
        let mean = |of: &dyn Fn(f64, f64) -> f64| {
            fitting().map(|(a, b, count)| of(a, b) * count).sum::<f64>() / total
        };
        let (a_mean, b_mean) = (mean(&|a, _| a), mean(&|_, b| b));
        let variance = mean(&|_, b| (b - b_mean).powi(2));
        let covariance = mean(&|a, b| (a - a_mean) * (b - b_mean));
        // Values within two levels say nothing about contrast.
        let gain = if variance < 4.0 {
            curve.gain
        } else {
            (covariance / variance).clamp(GAINS.0, GAINS.1)
        };
        let offset = a_mean - gain * b_mean;
        Curve { gain, offset }
    }
}

/// What is plausible for two shots of one scene.
const GAINS: (f64, f64) = (0.4, 2.5);

impl Curve {
    fn error(self, a: f64, b: f64) -> f64 {
        (self.gain * b + self.offset - a).abs()
    }

    fn table(self) -> [u8; 256] {
        let at = |b: usize| (self.gain * b as f64 + self.offset).round();
        std::array::from_fn(|b| at(b).clamp(0.0, 255.0) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::align::tests::scene;
    use crate::metrics::mae;
    use crate::rect::Rect;

    fn example() -> Rgb {
        scene(96, 64, (0.0, 0.0, 1.0))
    }

    fn mapped(picture: &Rgb, change: impl Fn(usize, usize, f64) -> f64) -> Rgb {
        let mut picture = picture.clone();
        for (i, byte) in picture.pixels_mut().iter_mut().enumerate() {
            *byte = change(i / 3, i % 3, f64::from(*byte))
                .round()
                .clamp(0.0, 255.0) as u8;
        }
        picture
    }

    /// Each channel another gain and offset.
    fn tinted(picture: &Rgb) -> Rgb {
        mapped(picture, |_, c, v| {
            v * [0.8, 0.9, 1.15][c] + [20.0, -6.0, 3.0][c]
        })
    }

    #[test]
    fn the_colours_return_where_nothing_else_changed() {
        let a = example();
        let matched = match_colour(&a, &tinted(&a), None).unwrap();
        let error = mae(a.pixels(), matched.pixels()).unwrap();
        assert!(error < 0.7, "no more than rounding, got {error}");
    }

    #[test]
    fn an_edit_does_not_pull_at_the_colours_and_is_kept() {
        let a = example();
        let in_edit = |i: usize| i % 96 < 36;
        let edited = mapped(&a, |i, c, v| {
            if in_edit(i) {
                [250.0, 60.0, 20.0][c]
            } else {
                v
            }
        });
        let matched = match_colour(&a, &tinted(&edited), None).unwrap();
        let apart = edited.pixels().iter().zip(matched.pixels());
        let most = apart.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(most <= 5, "everything as before the tint, {most} off");
    }

    #[test]
    fn with_a_mask_what_it_leaves_is_fitted_on() {
        let a = example();
        let in_edit = |i: usize| i % 96 < 80;
        let b = mapped(&a, |i, _, v| if in_edit(i) { v * 0.5 } else { v + 9.0 });
        let mut mask = Mask::empty(96, 64);
        mask.fill_rect(
            Rect {
                width: 80,
                ..Rect::whole(96, 64)
            },
            255,
        );
        let matched = match_colour(&a, &b, Some(&mask)).unwrap();
        for x in 80..96 {
            let (a, b) = (a.pixel(x, 30).unwrap(), matched.pixel(x, 30).unwrap());
            let most = (0..3).map(|c| a[c].abs_diff(b[c])).max().unwrap();
            assert!(most <= 1, "{a:?} and {b:?}, though most of B is darker");
        }
    }

    #[test]
    fn flat_and_equal_pictures_are_no_trouble() {
        let (a, b) = (
            Rgb::filled(8, 8, [90, 0, 255]),
            Rgb::filled(8, 8, [60, 9, 255]),
        );
        let matched = match_colour(&a, &b, None).unwrap();
        assert_eq!(matched, a, "moved, not stretched");
        let same = match_colour(&example(), &example(), None).unwrap();
        assert_eq!(same, example(), "nothing to do");
        let full = match_colour(&a, &b, Some(&Mask::full(8, 8))).unwrap();
        assert_eq!(full, a, "a mask that leaves nothing is no help");
    }

    #[test]
    fn what_does_not_lie_on_each_other_is_refused() {
        let small = Rgb::filled(8, 8, [0; 3]);
        assert!(match_colour(&example(), &small, None).is_err(), "A and B");
        let mask = Mask::full(9, 9);
        assert!(
            match_colour(&small, &small, Some(&mask)).is_err(),
            "the mask"
        );
    }
}
