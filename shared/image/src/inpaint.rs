//! Filling a hole from around it, smoothly.
//!
//! Pull and push (Gortler et al. 1996, "The Lumigraph"): the picture is halved until the hole is
//! gone, each time by the mean of what is known, and each hole is then filled from the next
//! coarser picture. So every pixel gets a mean over as much of the border as it is far from it.

use crate::rgb::Rgb;

/// `picture` with every pixel filled that is not `known` (one a pixel). If nothing is known,
/// there is nothing to fill from, and the picture stays as it is.
pub(crate) fn filled(picture: &Rgb, known: &[bool]) -> Rgb {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    if !known.contains(&true) {
        return picture.clone();
    }
    let pixels = picture.pixels().chunks_exact(3).zip(known);
    let pixels = pixels.map(|(rgb, &known)| {
        let weight = if known { 1.0 } else { 0.0 };
        let colour = |channel: usize| f32::from(rgb[channel]) * weight;
        [colour(0), colour(1), colour(2), weight]
    });
    let mut level = Level {
        width,
        height,
        pixels: pixels.collect(),
    };
    level.fill();
    let byte = |channel: f32| (channel + 0.5) as u8;
    let bytes = level.pixels.iter().zip(picture.pixels().chunks_exact(3));
    let bytes = bytes.zip(known).flat_map(|((filled, rgb), &known)| {
        if known {
            [rgb[0], rgb[1], rgb[2]]
        } else {
            [byte(filled[0]), byte(filled[1]), byte(filled[2])]
        }
    });
    Rgb::from_parts(picture.width(), picture.height(), bytes.collect())
}

/// `[height, width]` of a colour times its weight, and that weight: 0 unknown, 1 known.
struct Level {
    width: usize,
    height: usize,
    pixels: Vec<[f32; 4]>,
}

impl Level {
    fn fill(&mut self) {
        if self.pixels.iter().all(|pixel| pixel[3] >= 1.0) {
            return;
        }
        let mut coarser = self.halved();
        coarser.fill();
        for y in 0..self.height {
            for x in 0..self.width {
                let pixel = &mut self.pixels[y * self.width + x];
                let missing = 1.0 - pixel[3];
                if missing > 0.0 {
                    let around = coarser.between(x, y);
                    for (channel, around) in pixel.iter_mut().zip(around) {
                        *channel += missing * around;
                    }
                }
            }
        }
    }

    /// Sums of 2x2 px, no more than fully known.
    fn halved(&self) -> Self {
        let (width, height) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let mut pixels = vec![[0.0; 4]; width * height];
        for (y, row) in self.pixels.chunks_exact(self.width).enumerate() {
            for (x, pixel) in row.iter().enumerate() {
                let sum = &mut pixels[y / 2 * width + x / 2];
                for (sum, channel) in sum.iter_mut().zip(pixel) {
                    *sum += channel;
                }
            }
        }
        for pixel in &mut pixels {
            let most = pixel[3].max(1.0);
            for channel in pixel {
                *channel /= most;
            }
        }
        Self {
            width,
            height,
            pixels,
        }
    }

    /// What lies at a pixel of the next finer level: a quarter of it is its neighbours' on either
    /// axis.
    fn between(&self, x: usize, y: usize) -> [f32; 4] {
        let nearest = |at: usize, side: usize| {
            let other = if at.is_multiple_of(2) {
                (at / 2).saturating_sub(1)
            } else {
                (at / 2 + 1).min(side - 1)
            };
            [(at / 2, 0.75), (other, 0.25)]
        };
        let mut mean = [0.0; 4];
        for (row, down) in nearest(y, self.height) {
            for (column, across) in nearest(x, self.width) {
                let pixel = self.pixels[row * self.width + column];
                for (mean, channel) in mean.iter_mut().zip(pixel) {
                    *mean += channel * down * across;
                }
            }
        }
        mean
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hole_in_a_slope_is_filled_with_the_slope() {
        let bytes = (0..64 * 64).flat_map(|i| [(i % 64 * 3) as u8, (i / 64 * 3) as u8, 50]);
        let picture = Rgb::new(64, 64, bytes.collect()).unwrap();
        let in_hole = |i: usize| (20..44).contains(&(i % 64)) && (20..44).contains(&(i / 64));
        let known: Vec<bool> = (0..64 * 64).map(|i| !in_hole(i)).collect();
        let filled = filled(&picture, &known);
        let pairs = picture.pixels().iter().zip(filled.pixels());
        let most = pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(most <= 24, "{most} off, of the 72 across the hole");
    }

    proptest! {
        #[test]
        fn what_is_known_stays_and_the_rest_lies_between(
            (width, height) in (1..20u32, 1..20u32), bytes in any::<[u8; 31]>(), holes in any::<[bool; 17]>(),
        ) {
            let area = (width * height) as usize;
            let pixels = (0..area * 3).map(|i| bytes[i % 31] / 2 + 60).collect();
            let picture = Rgb::new(width, height, pixels).unwrap();
            let known: Vec<bool> = (0..area).map(|i| holes[i % 17]).collect();
            let filled = filled(&picture, &known);
            for (i, (a, b)) in picture.pixels().iter().zip(filled.pixels()).enumerate() {
                prop_assert!(!known[i / 3] || a == b, "known at {}", i);
                prop_assert!((60..=187).contains(b), "{} at {} is no mean of what is known", b, i);
            }
        }
    }
}
