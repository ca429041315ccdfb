//! Where to learn.

use crate::error::ImageError;
use crate::rgb::{Rgb, check_byte_count};

/// Where to learn: 255 learn, 0 leave, soft between. At least one pixel.
#[derive(Clone, PartialEq, Eq)]
pub struct Mask {
    width: u32,
    height: u32,
    /// `[height, width]`, row by row from the top left.
    values: Vec<u8>,
}

impl Mask {
    /// Makes a mask of `values`, `[height, width]`, row by row from the top left.
    ///
    /// # Errors
    /// [`ImageError::WrongByteCount`] when the size and the bytes do not belong together.
    pub fn new(width: u32, height: u32, values: Vec<u8>) -> Result<Self, ImageError> {
        check_byte_count(width, height, 1, values.len())?;
        Ok(Self {
            width,
            height,
            values,
        })
    }

    /// A mask that selects nothing; a side of 0 becomes 1.
    pub fn empty(width: u32, height: u32) -> Self {
        Self::filled(width, height, 0)
    }

    /// A mask that selects everything; a side of 0 becomes 1.
    pub fn full(width: u32, height: u32) -> Self {
        Self::filled(width, height, 255)
    }

    /// Width in px.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in px.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The bytes, `[height, width]`.
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    /// The value at column `x` and row `y`, or `None` outside.
    pub fn value(&self, x: u32, y: u32) -> Option<u8> {
        if x >= self.width || y >= self.height {
            return None;
        }
        let at = y as usize * self.width as usize + x as usize;
        self.values.get(at).copied()
    }

    /// Whether it selects nothing at all.
    pub fn is_empty(&self) -> bool {
        self.values.iter().all(|&value| value == 0)
    }

    /// The share of the picture it selects, 0..=1, soft pixels by their value.
    pub fn coverage(&self) -> f64 {
        let sum: u64 = self.values.iter().map(|&value| u64::from(value)).sum();
        sum as f64 / (self.values.len() as f64 * 255.0)
    }

    /// Weights of the inside for [`crate::mae_weighted`]: `[height, width]` in 0..=1.
    pub fn inside_weights(&self) -> Vec<f32> {
        self.values
            .iter()
            .map(|&value| f32::from(value) / 255.0)
            .collect()
    }

    /// Weights of the outside for [`crate::mae_weighted`]: `[height, width]` in 0..=1.
    pub fn outside_weights(&self) -> Vec<f32> {
        self.values
            .iter()
            .map(|&value| f32::from(255 - value) / 255.0)
            .collect()
    }

    pub(crate) fn values_mut(&mut self) -> &mut [u8] {
        &mut self.values
    }

    /// For `values` that come from pictures of that size.
    pub(crate) fn from_parts(width: u32, height: u32, values: Vec<u8>) -> Self {
        debug_assert_eq!(
            u64::from(width) * u64::from(height),
            values.len() as u64,
            "one a pixel"
        );
        Self {
            width,
            height,
            values,
        }
    }

    fn filled(width: u32, height: u32, value: u8) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        let values = vec![value; width as usize * height as usize];
        Self::from_parts(width, height, values)
    }

    /// Fails unless the mask lies on `picture` pixel for pixel.
    ///
    /// # Errors
    /// [`ImageError::MaskSizeDiffers`].
    pub fn check_on(&self, picture: &Rgb) -> Result<(), ImageError> {
        self.check_size(picture.width(), picture.height())
    }

    /// As [`Self::check_on`], for a picture of `width` x `height` px.
    pub(crate) fn check_size(&self, width: u32, height: u32) -> Result<(), ImageError> {
        if (self.width, self.height) == (width, height) {
            return Ok(());
        }
        Err(ImageError::MaskSizeDiffers {
            mask_width: self.width,
            mask_height: self.height,
            width,
            height,
        })
    }
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Mask({}x{}, {:.1} % covered)",
            self.width,
            self.height,
            self.coverage() * 100.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_pixels_count_by_their_value() {
        let mask = Mask::new(4, 1, vec![0, 0, 255, 51]).unwrap();
        assert!((mask.coverage() - 0.3).abs() < 1e-9, "(1 + 0.2) / 4");
        assert!(!mask.is_empty(), "some of it is white");
    }

    #[test]
    fn values_are_addressed_by_column_and_row() {
        let mask = Mask::new(2, 1, vec![7, 9]).unwrap();
        assert_eq!(mask.value(1, 0), Some(9), "the second column");
        assert_eq!(
            (mask.value(2, 0), mask.value(0, 1)),
            (None, None),
            "outside"
        );
        assert_eq!(Mask::empty(0, 3).coverage(), 0.0, "nothing");
        assert_eq!(Mask::full(3, 3).coverage(), 1.0, "everything");
    }

    #[test]
    fn inside_and_outside_weights_add_up_to_one() {
        let mask = Mask::new(256, 1, (0..=255).collect()).unwrap();
        let sums = mask
            .inside_weights()
            .into_iter()
            .zip(mask.outside_weights())
            .map(|(i, o)| i + o);
        assert!(
            sums.into_iter().all(|sum| (sum - 1.0).abs() < 1e-6),
            "no pixel counts twice"
        );
    }
}
