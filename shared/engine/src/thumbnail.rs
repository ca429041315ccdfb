//! The small picture that a LoRA file carries of what it does.
//!
//! ModelSpec 1.0.1, `modelspec.thumbnail`: a `data:` address of a JPEG, at most 256 x 256 pixels.
//! <https://github.com/Stability-AI/ModelSpec/blob/main/README.md>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mimeo_image::{ImageError, Rgb, encode_jpeg};

/// Longest side, pixels.
pub(crate) const MAX_SIDE: u32 = 256;
/// The best that fits is taken; nobody prints a thumbnail.
const QUALITIES: [u8; 4] = [80, 60, 40, 20];
/// Of the JPEG. Metadata is read whole wherever LoRAs are listed.
const MAX_BYTES: usize = 12 << 10;
/// What base64 makes of that.
pub(crate) const MAX_CHARS: u64 = MAX_BYTES as u64 / 3 * 4;

/// The thumbnail of a picture; equal pictures have equal ones.
///
/// # Errors
/// [`ImageError::NotEncodable`], which no picture of this size is.
pub(crate) fn data_address(picture: &Rgb) -> Result<String, ImageError> {
    let small = picture.thumbnail(MAX_SIDE);
    let mut jpeg = Vec::new();
    for quality in QUALITIES {
        jpeg = encode_jpeg(&small, quality)?;
        if jpeg.len() <= MAX_BYTES {
            break;
        }
    }
    Ok(format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg)))
}

#[cfg(test)]
mod tests {
    use mimeo_image::decode;

    use super::*;

    fn decoded(address: &str) -> Rgb {
        let base64 = address.strip_prefix("data:image/jpeg;base64,").unwrap();
        decode(&STANDARD.decode(base64).unwrap()).unwrap().picture
    }

    #[test]
    fn a_bundled_picture_keeps_its_size() {
        let pair = mimeo_base::pairs().first().unwrap();
        let picture = decode(pair.target_png).unwrap().picture;
        let small = decoded(&data_address(&picture).unwrap());
        let sides = (small.width(), small.height());
        assert_eq!(sides, (128, 128), "it is small enough as it is");
    }

    #[test]
    fn even_noise_stays_short() {
        // A generator of Knuth's: nothing that JPEG could make smaller.
        let noise = (0..600_u32 * 300 * 3).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8);
        let picture = Rgb::new(600, 300, noise.collect()).unwrap();
        let address = data_address(&picture).unwrap();
        assert!(address.len() < 32 << 10, "{} bytes", address.len());
        let small = decoded(&address);
        let sides = (small.width(), small.height());
        assert_eq!(sides, (256, 128), "in its proportions");
    }
}
