//! The mask as the loss sees it.

use crate::LATENT_FACTOR;
use crate::error::ImageError;
use crate::mask::Mask;

/// A [`Mask`] averaged down to the latent's size.
#[derive(Debug, Clone, PartialEq)]
pub struct LatentMask {
    /// Width in latent cells.
    pub width: u32,
    /// Height in latent cells.
    pub height: u32,
    /// `[height, width]` in 0..=1: the share of each cell that the mask selects.
    pub weights: Vec<f32>,
}

impl LatentMask {
    /// Averages each [`LATENT_FACTOR`] x [`LATENT_FACTOR`] px of `mask` into one weight.
    ///
    /// # Errors
    /// [`ImageError::EmptyMask`] when nothing is selected; [`ImageError::NotDivisible`] when the
    /// mask is not a whole number of cells (see [`crate::fit`]).
    pub fn new(mask: &Mask) -> Result<Self, ImageError> {
        let (width, height, factor) = (mask.width(), mask.height(), LATENT_FACTOR);
        if !width.is_multiple_of(factor) || !height.is_multiple_of(factor) {
            return Err(ImageError::NotDivisible {
                width,
                height,
                factor,
            });
        }
        if mask.is_empty() {
            return Err(ImageError::EmptyMask);
        }

        let cells_across = (width / factor) as usize;
        let mut sums = vec![0u32; cells_across * (height / factor) as usize];
        for (y, row) in mask.values().chunks_exact(width as usize).enumerate() {
            let first = y / factor as usize * cells_across;
            for (cell, values) in row.chunks_exact(factor as usize).enumerate() {
                sums[first + cell] += values.iter().map(|&value| u32::from(value)).sum::<u32>();
            }
        }
        // Sums are whole numbers below 2^24, so the only rounding is this one division.
        let full = (factor * factor * 255) as f32;
        let weights = sums.into_iter().map(|sum| sum as f32 / full).collect();
        Ok(Self {
            width: width / factor,
            height: height / factor,
            weights,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cell_is_the_mean_of_its_pixels() {
        let mut values = vec![0; 16 * 8];
        values[0] = 255; // one pixel of the left cell
        for row in values.chunks_exact_mut(16) {
            row[8..].fill(51); // the whole right cell at one fifth
        }
        let latent = LatentMask::new(&Mask::new(16, 8, values).unwrap()).unwrap();
        assert_eq!((latent.width, latent.height), (2, 1), "eight times smaller");
        assert_eq!(latent.weights, [1.0 / 64.0, 0.2], "exact area averages");
    }

    #[test]
    fn a_full_mask_is_exactly_one_everywhere() {
        let latent = LatentMask::new(&Mask::new(32, 24, vec![255; 32 * 24]).unwrap()).unwrap();
        assert_eq!(latent.weights, vec![1.0; 4 * 3], "no rounding at the ends");
    }

    #[test]
    fn one_faint_pixel_is_not_lost() {
        let mut values = vec![0; 64];
        values[63] = 1;
        let latent = LatentMask::new(&Mask::new(8, 8, values).unwrap()).unwrap();
        assert!(latent.weights[0] > 0.0, "averaging is not rounding");
    }

    #[test]
    fn an_empty_mask_is_refused() {
        let error = LatentMask::new(&Mask::new(8, 8, vec![0; 64]).unwrap()).unwrap_err();
        assert!(error.to_string().contains("paint"), "{error}");
    }

    #[test]
    fn a_mask_of_part_cells_is_refused() {
        let error = LatentMask::new(&Mask::new(12, 8, vec![1; 96]).unwrap()).unwrap_err();
        assert!(error.to_string().contains("multiple of 8 px"), "{error}");
    }
}
