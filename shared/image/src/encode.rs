//! Pictures and masks to PNG bytes, and small pictures to JPEG bytes.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder as _};

use crate::error::ImageError;
use crate::mask::Mask;
use crate::rgb::Rgb;

/// The picture as an 8-bit RGB PNG; equal pictures give equal bytes.
///
/// # Errors
/// [`ImageError::NotEncodable`] when a side is more than PNG can hold.
pub fn encode_png(picture: &Rgb) -> Result<Vec<u8>, ImageError> {
    encode(
        picture.pixels(),
        picture.width(),
        picture.height(),
        ExtendedColorType::Rgb8,
    )
}

/// The mask as an 8-bit grey PNG, white = learn; [`crate::decode_mask`] reads it back.
///
/// # Errors
/// [`ImageError::NotEncodable`] when a side is more than PNG can hold.
pub fn encode_mask_png(mask: &Mask) -> Result<Vec<u8>, ImageError> {
    encode(
        mask.values(),
        mask.width(),
        mask.height(),
        ExtendedColorType::L8,
    )
}

/// The picture as a baseline JPEG, for previews only; equal pictures give equal bytes.
///
/// - `quality`: from 1, the smallest file, to 100, the best picture
///
/// # Errors
/// [`ImageError::NotEncodable`] when a side is more than JPEG can hold, 65535 pixels.
pub fn encode_jpeg(picture: &Rgb, quality: u8) -> Result<Vec<u8>, ImageError> {
    let (width, height) = (picture.width(), picture.height());
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, quality)
        .write_image(picture.pixels(), width, height, ExtendedColorType::Rgb8)
        .map_err(|error| not_encodable(&error))?;
    Ok(jpeg)
}

fn encode(
    samples: &[u8],
    width: u32,
    height: u32,
    colour: ExtendedColorType,
) -> Result<Vec<u8>, ImageError> {
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(samples, width, height, colour)
        .map_err(|error| not_encodable(&error))?;
    Ok(png)
}

fn not_encodable(error: &image::ImageError) -> ImageError {
    ImageError::NotEncodable {
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{decode, decode_mask};

    #[test]
    fn a_picture_survives_png() {
        let picture = Rgb::new(3, 2, (0..18).map(|i| i * 14).collect()).unwrap();
        let back = decode(&encode_png(&picture).unwrap()).unwrap();
        assert_eq!(back.picture.pixels(), picture.pixels(), "PNG is lossless");
    }

    #[test]
    fn a_jpeg_is_about_the_picture_and_smaller_at_a_lower_quality() {
        let side = 48;
        let smooth =
            (0..side * side).flat_map(|at| [(at % side * 5) as u8, (at / side * 5) as u8, 90]);
        let picture = Rgb::new(side, side, smooth.collect()).unwrap();
        let [rough, fine] = [20, 90].map(|quality| encode_jpeg(&picture, quality).unwrap());
        assert!(rough.len() < fine.len(), "{} < {}", rough.len(), fine.len());
        let back = decode(&fine).unwrap().picture;
        let pairs = picture.pixels().iter().zip(back.pixels());
        let worst = pairs.map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(16), "off by {worst:?} of 255");
        assert_eq!(fine, encode_jpeg(&picture, 90).unwrap(), "the same again");
    }

    #[test]
    fn a_mask_survives_png() {
        let mask = Mask::new(16, 16, (0..=255).collect()).unwrap();
        let back = decode_mask(&encode_mask_png(&mask).unwrap()).unwrap();
        assert_eq!(back.values(), mask.values(), "every grey is kept");
    }
}
