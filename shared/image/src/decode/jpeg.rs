//! JPEG files to pixels or inks.

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::note::Note;
use super::profile::Colours;
use super::{Samples, Stored, check_size, scan};
use crate::error::ImageError;

/// Reads a whole JPEG; one with damaged picture data is refused.
///
/// # Errors
/// Those of [`super::decode`].
pub(super) fn read(bytes: &[u8]) -> Result<Stored, ImageError> {
    let scans = scan::check(bytes)?;
    // Its own errors where the data could not be followed; what is only odd is no error.
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| corrupt(&error))?;
    let (Some(info), Some(stored)) = (decoder.info(), decoder.input_colorspace()) else {
        return Err(corrupt(&"the header is missing"));
    };
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    check_size(width, height)?;

    let coding = match stored {
        ColorSpace::Luma => ColorSpace::Luma,
        // As they are in the file, for the profile to convert.
        inks @ (ColorSpace::CMYK | ColorSpace::YCCK) if info.components == 4 => inks,
        _ => ColorSpace::RGB,
    };
    decoder.set_options(options.jpeg_set_out_colorspace(coding));
    let length = width as usize * height as usize * coding.num_components();
    let mut samples = vec![0; length];
    let decoded = decoder.decode_into(&mut samples);
    decoded.map_err(|error| corrupt(&error))?;
    let light = match coding {
        ColorSpace::Luma => GrayImage::from_raw(width, height, samples).map(DynamicImage::from),
        ColorSpace::RGB => RgbImage::from_raw(width, height, samples).map(DynamicImage::from),
        coding => {
            let inks = inks(samples, coding == ColorSpace::YCCK);
            let size = (width, height);
            return Ok(stored_as(
                Samples::Inks { size, inks },
                bytes,
                &decoder,
                &scans,
            ));
        }
    };
    let light = light.ok_or_else(|| corrupt(&"the size is wrong"))?;
    Ok(stored_as(Samples::Light(light), bytes, &decoder, &scans))
}

/// Samples with what the header says of them.
fn stored_as(
    samples: Samples,
    bytes: &[u8],
    decoder: &JpegDecoder<ZCursor<&[u8]>>,
    scans: &scan::Scans,
) -> Stored {
    let exif = decoder.exif().map(Vec::as_slice);
    let mut notes = Vec::new();
    let colours = match decoder.icc_profile() {
        Some(profile) => Some(Colours::Icc(profile)),
        None if scans.has_profile => {
            let reason = "it is damaged".to_owned();
            notes.push(Note::UnusableProfile { reason });
            None
        }
        None => exif
            .is_some_and(says_adobe_rgb)
            .then_some(Colours::AdobeRgb),
    };
    if scans.end.is_some_and(|end| begins_a_picture(&bytes[end..])) {
        notes.push(Note::SecondPicture);
    }
    // A picture with damaged EXIF is still a picture, only perhaps not upright.
    let orientation = exif.and_then(Orientation::from_exif_chunk);
    Stored {
        samples,
        colours,
        orientation: orientation.unwrap_or(Orientation::NoTransforms),
        notes,
    }
}

/// Whether what stands behind a picture is another one: phones put gain maps and previews there.
fn begins_a_picture(rest: &[u8]) -> bool {
    let padding = rest.iter().take_while(|&&byte| byte == 0).count();
    rest[padding..].starts_with(&[0xFF, 0xD8, 0xFF])
}

/// Cameras that are set to Adobe RGB write no profile, but "R03" as the interoperability index
/// (DCF 2.0; tag 1, 4 letters), in either order of bytes.
fn says_adobe_rgb(exif: &[u8]) -> bool {
    const BIG_ENDIAN: &[u8] = b"\0\x01\0\x02\0\0\0\x04R03\0";
    const LITTLE_ENDIAN: &[u8] = b"\x01\0\x02\0\x04\0\0\0R03\0";
    let entries = exif.windows(BIG_ENDIAN.len());
    let mut entries = entries.map(|entry| [BIG_ENDIAN, LITTLE_ENDIAN].contains(&entry));
    entries.any(|is_adobe| is_adobe)
}

/// Amounts of ink, `[height, width, 4]`, of what is stored: Adobe's way in all files there are, inks
/// upside down, and in YCCK the first three as if they were the light that they leave.
fn inks(mut samples: Vec<u8>, is_ycck: bool) -> Vec<u8> {
    for pixel in samples.as_chunks_mut::<4>().0 {
        let [y, cb, cr, black] = *pixel;
        *pixel = if is_ycck {
            let [y, cb, cr] = [y, cb, cr].map(f32::from);
            let (cb, cr) = (cb - 128.0, cr - 128.0);
            // Full-range BT.601, as in JFIF; the cast clamps.
            let byte = |value: f32| value.round() as u8;
            let cyan = byte(y + 1.402 * cr);
            let magenta = byte(y - 0.344_136 * cb - 0.714_136 * cr);
            let yellow = byte(y + 1.772 * cb);
            [cyan, magenta, yellow, 255 - black]
        } else {
            pixel.map(|ink| 255 - ink)
        };
    }
    samples
}

fn corrupt(reason: &impl std::fmt::Display) -> ImageError {
    ImageError::Corrupt {
        format: "JPEG",
        reason: reason.to_string(),
    }
}
