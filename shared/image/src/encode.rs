//! Pictures and masks to PNG bytes.

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

fn encode(
    samples: &[u8],
    width: u32,
    height: u32,
    colour: ExtendedColorType,
) -> Result<Vec<u8>, ImageError> {
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(samples, width, height, colour)
        .map_err(|error| ImageError::NotEncodable {
            reason: error.to_string(),
        })?;
    Ok(png)
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
    fn a_mask_survives_png() {
        let mask = Mask::new(16, 16, (0..=255).collect()).unwrap();
        let back = decode_mask(&encode_mask_png(&mask).unwrap()).unwrap();
        assert_eq!(back.values(), mask.values(), "every grey is kept");
    }
}
