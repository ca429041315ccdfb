//! A picture: sRGB bytes and their size.

use crate::error::ImageError;
use crate::resample::{Axis, Kernel, resample};

/// An opaque sRGB picture of at least one pixel.
#[derive(Clone, PartialEq, Eq)]
pub struct Rgb {
    width: u32,
    height: u32,
    /// `[height, width, 3]`, row by row from the top left.
    pixels: Vec<u8>,
}

impl Rgb {
    /// Makes a picture of `pixels`, `[height, width, 3]`, row by row from the top left.
    ///
    /// # Errors
    /// [`ImageError::WrongByteCount`] when the size and the bytes do not belong together.
    pub fn new(width: u32, height: u32, pixels: Vec<u8>) -> Result<Self, ImageError> {
        check_byte_count(width, height, 3, pixels.len())?;
        Ok(Self {
            width,
            height,
            pixels,
        })
    }

    /// A picture of one colour; a side of 0 becomes 1.
    pub fn filled(width: u32, height: u32, colour: [u8; 3]) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        let pixels = colour.repeat(width as usize * height as usize);
        Self {
            width,
            height,
            pixels,
        }
    }

    /// Width in px.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in px.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The bytes, `[height, width, 3]`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The bytes, `[height, width, 3]`, without a copy.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// The colour at column `x` and row `y`, or `None` outside.
    pub fn pixel(&self, x: u32, y: u32) -> Option<[u8; 3]> {
        if x >= self.width || y >= self.height {
            return None;
        }
        let start = (y as usize * self.width as usize + x as usize) * 3;
        self.pixels.get(start..start + 3)?.try_into().ok()
    }

    /// What the VAE encoder takes: `[3, height, width]`, 0 becomes -1 and 255 becomes 1.
    pub fn to_signed_planes(&self) -> Vec<f32> {
        let channel = |c| self.pixels.iter().skip(c).step_by(3);
        (0..3)
            .flat_map(|c| channel(c).map(|&byte| f32::from(byte) / 127.5 - 1.0))
            .collect()
    }

    /// What the VAE decoder gives: `[3, height, width]` in -1..=1, clamped and rounded to the
    /// nearest byte (not a number becomes 0).
    ///
    /// # Errors
    /// [`ImageError::WrongByteCount`] when the size and the samples do not belong together.
    pub fn from_signed_planes(width: u32, height: u32, planes: &[f32]) -> Result<Self, ImageError> {
        check_byte_count(width, height, 3, planes.len())?;
        let area = planes.len() / 3;
        let byte = |sample: f32| ((sample + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8;
        let pixels = (0..planes.len())
            .map(|i| byte(planes[i % 3 * area + i / 3]))
            .collect();
        Ok(Self {
            width,
            height,
            pixels,
        })
    }

    /// A copy with no side longer than `max_side` px (at least 1), in the same proportions. A
    /// picture that is small enough stays as it is.
    pub fn thumbnail(&self, max_side: u32) -> Self {
        let (longest, max_side) = (self.width.max(self.height), max_side.max(1));
        if longest <= max_side {
            return self.clone();
        }
        let scaled = |side: u32| {
            let exact = f64::from(side) * f64::from(max_side) / f64::from(longest);
            (exact.round() as u32).max(1)
        };
        let (width, height) = (scaled(self.width), scaled(self.height));
        let axis = |source: u32, result: u32| {
            Axis::scaled(source as usize, result as usize, Kernel::Triangle)
        };
        let (across, down) = (axis(self.width, width), axis(self.height, height));
        let pixels = resample::<3>(&self.pixels, self.width as usize, &across, &down);
        Self::from_parts(width, height, pixels)
    }

    /// For `pixels` that come from a picture of that size.
    pub(crate) fn from_parts(width: u32, height: u32, pixels: Vec<u8>) -> Self {
        debug_assert_eq!(
            u64::from(width) * u64::from(height) * 3,
            pixels.len() as u64,
            "three a pixel"
        );
        Self {
            width,
            height,
            pixels,
        }
    }

    pub(crate) fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// Fails unless A and B are of one size.
    pub(crate) fn check_same_size(a: &Self, b: &Self) -> Result<(), ImageError> {
        if (a.width, a.height) == (b.width, b.height) {
            return Ok(());
        }
        Err(ImageError::PairSizesDiffer {
            a_width: a.width,
            a_height: a.height,
            b_width: b.width,
            b_height: b.height,
        })
    }
}

// A derived Debug would print every byte of a picture when a test fails.
impl std::fmt::Debug for Rgb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rgb({}x{})", self.width, self.height)
    }
}

/// Fails unless `found` is exactly `width * height * channels` and not 0.
pub(crate) fn check_byte_count(
    width: u32,
    height: u32,
    channels: u64,
    found: usize,
) -> Result<(), ImageError> {
    let found = found as u64;
    let expected = (u64::from(width) * u64::from(height)).saturating_mul(channels);
    if expected == found && found > 0 {
        return Ok(());
    }
    Err(ImageError::WrongByteCount {
        width,
        height,
        expected,
        found,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_of_the_wrong_length_is_refused() {
        assert!(
            Rgb::new(2, 2, vec![0; 11]).is_err(),
            "11 bytes are not 2x2x3"
        );
        assert!(
            Rgb::new(0, 2, vec![]).is_err(),
            "a picture has at least one pixel"
        );
        assert!(
            Rgb::new(u32::MAX, u32::MAX, vec![]).is_err(),
            "the product must not overflow"
        );
    }

    #[test]
    fn pixels_are_addressed_by_column_and_row() {
        let picture = Rgb::new(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(picture.pixel(1, 0), Some([4, 5, 6]), "the second column");
        assert_eq!(picture.pixel(0, 1), None, "there is no second row");
    }

    #[test]
    fn signed_planes_return_to_the_same_bytes() {
        let pixels: Vec<u8> = (0..=255).flat_map(|v| [v, 255 - v, v / 2]).collect();
        let picture = Rgb::new(256, 1, pixels).unwrap();
        let planes = picture.to_signed_planes();
        assert_eq!(
            (planes[0], planes[255]),
            (-1.0, 1.0),
            "0 and 255 are the ends of the range"
        );
        assert_eq!(planes[256], 1.0, "the second plane is the green one");
        let back = Rgb::from_signed_planes(256, 1, &planes).unwrap();
        assert_eq!(back.pixels(), picture.pixels(), "every byte survives");
    }

    #[test]
    fn samples_outside_the_range_are_clamped() {
        let picture = Rgb::from_signed_planes(1, 1, &[-3.0, 3.0, f32::NAN]).unwrap();
        assert_eq!(
            picture.pixel(0, 0),
            Some([0, 255, 0]),
            "decoders overshoot a little"
        );
    }

    #[test]
    fn a_thumbnail_keeps_the_proportions() {
        let size = |width, height, max_side| {
            let thumbnail = Rgb::filled(width, height, [7, 8, 9]).thumbnail(max_side);
            assert_eq!(thumbnail.pixel(0, 0), Some([7, 8, 9]), "and the colours");
            (thumbnail.width(), thumbnail.height())
        };
        assert_eq!(size(300, 200, 96), (96, 64), "wide");
        assert_eq!(size(20, 300, 30), (2, 30), "high");
        assert_eq!(size(300, 1, 30), (30, 1), "at least one pixel");
        assert_eq!(size(30, 20, 96), (30, 20), "nothing is enlarged");
        assert_eq!(size(30, 20, 0), (1, 1), "no side is shorter than a pixel");
    }
}
