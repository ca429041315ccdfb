//! PNG, JPEG and WebP bytes to pixels, upright and opaque.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits};

use crate::error::ImageError;
use crate::mask::Mask;
use crate::rgb::Rgb;

/// The most pixels a side may have.
pub const MAX_SIDE: u32 = 16_384;

/// The most pixels a picture may have, in millions. Far above what a model sees, far below what
/// would fill the memory of a browser tab: 64 megapixels are 512 MB at 16 bits a channel.
pub const MAX_MEGAPIXELS: u32 = 64;

/// A picture and what decoding changed about it.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// The picture, upright.
    pub picture: Rgb,
    /// Whether it had transparent pixels, which were laid over white. Worth telling the user: the
    /// model will see white where they saw nothing.
    pub was_transparent: bool,
    /// The alpha channel, 255 where opaque, if it varies: then someone cut something out, and
    /// that can serve as the mask.
    pub alpha: Option<Mask>,
}

/// Decodes a PNG, JPEG or WebP picture (of an animation, the first frame).
///
/// The EXIF orientation is applied. Grey and 16-bit pictures become 8-bit RGB. Transparency is
/// laid over white, on the stored sRGB values as browsers do it.
///
/// # Errors
/// [`ImageError::UnsupportedFormat`], [`ImageError::Corrupt`] or [`ImageError::TooLarge`].
pub fn decode(bytes: &[u8]) -> Result<Decoded, ImageError> {
    let image = read(bytes)?;
    let (width, height) = (image.width(), image.height());
    if !image.color().has_alpha() {
        let picture = Rgb::new(width, height, image.into_rgb8().into_raw())?;
        return Ok(Decoded {
            picture,
            was_transparent: false,
            alpha: None,
        });
    }
    let rgba = image.into_rgba8();
    let alpha: Vec<u8> = rgba.pixels().map(|pixel| pixel.0[3]).collect();
    let was_transparent = alpha.iter().any(|&value| value < 255);
    let pixels = rgba
        .pixels()
        .flat_map(|pixel| over_white(pixel.0))
        .collect();
    Ok(Decoded {
        picture: Rgb::new(width, height, pixels)?,
        was_transparent,
        alpha: varying(width, height, alpha)?,
    })
}

/// A mask, and what else its file could have meant.
#[derive(Debug, Clone)]
pub struct MaskFile {
    /// Where to learn.
    pub mask: Mask,
    /// The luminance, where the alpha channel is the mask although the colours vary too, as in a
    /// picture with a part erased. Worth telling the user: one of the two is not what was meant.
    pub luminance: Option<Mask>,
}

/// Decodes a mask: white = learn, black = leave, grey between.
///
/// If the file has an alpha channel that varies, alpha is the mask (painted on a transparent
/// layer, in whatever colour); otherwise the luminance is, and a uniform alpha is ignored.
///
/// # Errors
/// As [`decode`]. An empty mask is no error here: it is one where it is used.
pub fn decode_mask(bytes: &[u8]) -> Result<Mask, ImageError> {
    Ok(decode_mask_file(bytes)?.mask)
}

/// As [`decode_mask`], with what is not taken.
///
/// # Errors
/// As [`decode_mask`].
pub fn decode_mask_file(bytes: &[u8]) -> Result<MaskFile, ImageError> {
    let image = read(bytes)?;
    let (width, height) = (image.width(), image.height());
    let alpha = if image.color().has_alpha() {
        let alpha: Vec<u8> = image.to_rgba8().pixels().map(|pixel| pixel.0[3]).collect();
        varying(width, height, alpha)?
    } else {
        None
    };
    let luminance = Mask::new(width, height, image.into_luma8().into_raw())?;
    Ok(match alpha {
        Some(mask) => MaskFile {
            luminance: shows_more_than_paint(&luminance, &mask).then_some(luminance),
            mask,
        },
        None => MaskFile {
            mask: luminance,
            luminance: None,
        },
    })
}

/// Whether what can be seen of a layer has more than one lightness.
fn shows_more_than_paint(luminance: &Mask, alpha: &Mask) -> bool {
    /// More than soft brushes and lossy files vary by.
    const VARIES: u8 = 16;
    let both = luminance.values().iter().zip(alpha.values());
    let visible = || {
        both.clone()
            .filter(|(_, alpha)| **alpha >= 128)
            .map(|(value, _)| *value)
    };
    let (darkest, lightest) = (visible().min(), visible().max());
    let range = darkest.zip(lightest).map(|(from, to)| to - from);
    range.is_some_and(|range| range > VARIES)
}

/// A mask of `alpha`, unless that is the same everywhere and so says nothing.
fn varying(width: u32, height: u32, alpha: Vec<u8>) -> Result<Option<Mask>, ImageError> {
    let varies = alpha.windows(2).any(|pair| pair[0] != pair[1]);
    varies.then(|| Mask::new(width, height, alpha)).transpose()
}

fn over_white([r, g, b, alpha]: [u8; 4]) -> [u8; 3] {
    let alpha = u32::from(alpha);
    [r, g, b].map(|channel| ((u32::from(channel) * alpha + 255 * (255 - alpha) + 127) / 255) as u8)
}

fn read(bytes: &[u8]) -> Result<DynamicImage, ImageError> {
    let (format, name) = sniff(bytes)?;
    let corrupt = |reason: String| ImageError::Corrupt {
        format: name,
        reason,
    };
    if format == ImageFormat::Jpeg && !jpeg::reaches_its_end(bytes) {
        return Err(corrupt("the end is missing".to_owned()));
    }

    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits());
    let mut decoder = reader
        .into_decoder()
        .map_err(|error| corrupt(error.to_string()))?;
    let (width, height) = decoder.dimensions();
    check_size(width, height)?;
    // A picture with damaged EXIF is still a picture, only perhaps not upright.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image =
        DynamicImage::from_decoder(decoder).map_err(|error| corrupt(error.to_string()))?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// The format by the first bytes, since names lie.
fn sniff(bytes: &[u8]) -> Result<(ImageFormat, &'static str), ImageError> {
    let found = match image::guess_format(bytes) {
        Ok(ImageFormat::Png) => return Ok((ImageFormat::Png, "PNG")),
        Ok(ImageFormat::Jpeg) => return Ok((ImageFormat::Jpeg, "JPEG")),
        Ok(ImageFormat::WebP) => return Ok((ImageFormat::WebP, "WebP")),
        Ok(other) => format!("a picture of type {}", other.to_mime_type()),
        Err(_) if bytes.is_empty() => "empty".to_owned(),
        Err(_) => "not a picture that Mimeo knows".to_owned(),
    };
    Err(ImageError::UnsupportedFormat { found })
}

/// What the decoder may allocate for itself besides the pixels (metadata, working rows).
fn limits() -> Limits {
    const WORKING_BYTES: u64 = 128 << 20;
    const MAX_BYTES_PER_PIXEL: u64 = 8;
    let mut limits = Limits::default();
    let pixels = u64::from(MAX_MEGAPIXELS) * 1_000_000;
    limits.max_alloc = Some(pixels * MAX_BYTES_PER_PIXEL + WORKING_BYTES);
    limits
}

/// Before any pixel is allocated: a few bytes can declare a picture of gigabytes.
pub(crate) fn check_size(width: u32, height: u32) -> Result<(), ImageError> {
    let max_pixels = u64::from(MAX_MEGAPIXELS) * 1_000_000;
    let pixels = u64::from(width) * u64::from(height);
    if width <= MAX_SIDE && height <= MAX_SIDE && pixels <= max_pixels {
        return Ok(());
    }
    let (max_side, max_megapixels) = (MAX_SIDE, MAX_MEGAPIXELS);
    Err(ImageError::TooLarge {
        width,
        height,
        max_side,
        max_megapixels,
    })
}

/// The JPEG decoder fills what a cut-off file lacks with grey and reports success. A half-grey
/// picture would be trained on, so the end of the picture is looked for here.
mod jpeg {
    const START_OF_SCAN: u8 = 0xDA;
    const END_OF_IMAGE: [u8; 2] = [0xFF, 0xD9];

    /// Whether an end marker follows the first scan (ITU T.81, annex B). Only after the scan: a
    /// thumbnail in the header has an end marker of its own.
    pub(super) fn reaches_its_end(bytes: &[u8]) -> bool {
        first_scan(bytes).is_some_and(|scan| scan.windows(2).any(|pair| pair == END_OF_IMAGE))
    }

    /// Walks the header's segments to the first scan.
    fn first_scan(bytes: &[u8]) -> Option<&[u8]> {
        let mut rest = bytes.get(2..)?;
        loop {
            match *rest {
                // Any number of 0xFF may pad a marker.
                [0xFF, 0xFF, ..] => rest = &rest[1..],
                [0xFF, START_OF_SCAN, ..] => return Some(&rest[2..]),
                [0xFF, _, high, low, ..] => {
                    let length = usize::from(u16::from_be_bytes([high, low]));
                    rest = rest.get(2 + length..)?;
                }
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;
    use image::codecs::webp::WebPEncoder;
    use image::{ImageBuffer, ImageEncoder as _, Pixel, PixelWithColorType};
    use proptest::prelude::*;

    use super::*;

    const SIZE: (u32, u32) = (24, 16);

    /// Left half dark, right half light, so that turning it shows.
    fn example() -> image::RgbImage {
        ImageBuffer::from_fn(SIZE.0, SIZE.1, |x, y| {
            image::Rgb([if x < 12 { 20 } else { 220 }, (y * 10) as u8, 100])
        })
    }

    fn png<P>(image: &ImageBuffer<P, Vec<P::Subpixel>>) -> Vec<u8>
    where
        P: Pixel + PixelWithColorType,
        [P::Subpixel]: image::EncodableLayout,
    {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn jpeg() -> Vec<u8> {
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 95)
            .encode_image(&example())
            .unwrap();
        bytes
    }

    fn webp() -> Vec<u8> {
        let (mut bytes, (width, height)) = (Vec::new(), SIZE);
        let colour = image::ExtendedColorType::Rgb8;
        WebPEncoder::new_lossless(&mut bytes)
            .write_image(&example(), width, height, colour)
            .unwrap();
        bytes
    }

    /// The JPEG with an EXIF block that says nothing but `orientation`.
    fn jpeg_turned(orientation: u8) -> Vec<u8> {
        let tiff = [
            &b"Exif\0\0MM\0\x2A\0\0\0\x08\0\x01"[..], // big endian, one entry at offset 8
            &[
                0x01,
                0x12,
                0,
                3,
                0,
                0,
                0,
                1,
                0,
                orientation,
                0,
                0,
                0,
                0,
                0,
                0,
            ],
        ]
        .concat();
        let length = (tiff.len() as u16 + 2).to_be_bytes();
        let jpeg = jpeg();
        [&jpeg[..2], &[0xFF, 0xE1], &length, &tiff, &jpeg[2..]].concat()
    }

    #[test]
    fn png_and_webp_keep_every_pixel() {
        for (name, bytes) in [("PNG", png(&example())), ("WebP", webp())] {
            let decoded = decode(&bytes).unwrap();
            assert_eq!(
                decoded.picture.pixels(),
                example().as_raw(),
                "{name} is lossless"
            );
            assert!(!decoded.was_transparent, "{name} without alpha is opaque");
        }
    }

    #[test]
    fn jpeg_is_close_to_the_original() {
        let picture = decode(&jpeg()).unwrap().picture;
        let [r, ..] = picture.pixel(3, 3).unwrap();
        assert!(r.abs_diff(20) < 12, "left is dark, got {r}");
    }

    #[test]
    fn the_exif_orientation_is_applied() {
        // 6: "turn 90 degrees clockwise to see it upright": the dark left goes to the top.
        let picture = decode(&jpeg_turned(6)).unwrap().picture;
        assert_eq!(
            (picture.width(), picture.height()),
            (SIZE.1, SIZE.0),
            "the sides swap"
        );
        let reds = [
            picture.pixel(8, 2).unwrap()[0],
            picture.pixel(8, 21).unwrap()[0],
        ];
        assert!(
            reds[0] < 60 && reds[1] > 180,
            "dark above light, got {reds:?}"
        );

        // 3: upside down, the dark left goes right.
        let picture = decode(&jpeg_turned(3)).unwrap().picture;
        assert!(
            picture.pixel(20, 8).unwrap()[0] < 60,
            "dark is on the right"
        );
    }

    #[test]
    fn grey_and_sixteen_bit_pictures_become_rgb() {
        let grey: image::GrayImage = ImageBuffer::from_pixel(2, 2, image::Luma([77]));
        let picture = decode(&png(&grey)).unwrap().picture;
        assert_eq!(
            picture.pixel(1, 1),
            Some([77; 3]),
            "grey is equal in all channels"
        );

        let deep = ImageBuffer::from_pixel(2, 2, image::Rgb([0u16, 0x8080, 0xFFFF]));
        let picture = decode(&png(&deep)).unwrap().picture;
        assert_eq!(
            picture.pixel(0, 0),
            Some([0, 0x80, 255]),
            "16 bits are scaled to 8"
        );
    }

    #[test]
    fn transparency_is_laid_over_white_and_told() {
        let image = ImageBuffer::from_fn(3, 1, |x, _| {
            image::Rgba([200u8, 0, 0, [255, 0, 51][x as usize]])
        });
        let decoded = decode(&png(&image)).unwrap();
        assert!(decoded.was_transparent, "two pixels are not opaque");
        assert_eq!(
            decoded.alpha.unwrap().values(),
            [255, 0, 51],
            "what was cut out is known"
        );
        let picture = decoded.picture;
        assert_eq!(picture.pixel(0, 0), Some([200, 0, 0]), "opaque stays");
        assert_eq!(
            picture.pixel(1, 0),
            Some([255; 3]),
            "fully transparent is white"
        );
        assert_eq!(
            picture.pixel(2, 0),
            Some([244, 204, 204]),
            "one fifth of the colour"
        );

        let opaque: image::RgbaImage = ImageBuffer::from_pixel(2, 2, image::Rgba([1, 2, 3, 255]));
        let opaque = decode(&png(&opaque)).unwrap();
        assert!(!opaque.was_transparent, "alpha of 255 hides nothing");
        assert!(opaque.alpha.is_none(), "and selects nothing");
    }

    #[test]
    fn a_varying_alpha_is_the_mask_else_the_luminance() {
        let painted = ImageBuffer::from_fn(2, 1, |x, _| image::Rgba([255u8, 0, 0, 90 * x as u8]));
        let mask = decode_mask(&png(&painted)).unwrap();
        assert_eq!(mask.values(), [0, 90], "red paint on a transparent layer");

        let opaque = ImageBuffer::from_fn(2, 1, |x, _| {
            image::Rgba([255 * x as u8, 255 * x as u8, 255 * x as u8, 255])
        });
        assert_eq!(
            decode_mask(&png(&opaque)).unwrap().values(),
            [0, 255],
            "black and white"
        );

        let grey = ImageBuffer::from_fn(3, 1, |x, _| image::Luma([x as u8 * 100]));
        assert_eq!(
            decode_mask(&png(&grey)).unwrap().values(),
            [0, 100, 200],
            "greys are kept"
        );
    }

    #[test]
    fn colours_that_are_not_taken_for_the_mask_are_told() {
        let read = |image: &image::RgbaImage| decode_mask_file(&png(image)).unwrap();
        let erased = ImageBuffer::from_fn(3, 1, |x, _| {
            let grey = 100 * x as u8;
            image::Rgba([grey, grey, grey, [255, 0, 255][x as usize]])
        });
        let file = read(&erased);
        assert_eq!(file.mask.values(), [255, 0, 255], "alpha is the mask");
        let luminance = file.luminance.unwrap();
        assert_eq!(
            luminance.values(),
            [0, 100, 200],
            "though there is a picture"
        );

        let paint = ImageBuffer::from_fn(3, 1, |x, _| image::Rgba([255, 0, 0, 90 * x as u8]));
        assert!(read(&paint).luminance.is_none(), "one colour of paint");
        let opaque = ImageBuffer::from_fn(3, 1, |x, _| image::Rgba([90 * x as u8, 0, 0, 255]));
        assert!(read(&opaque).luminance.is_none(), "it is the mask");
    }

    #[test]
    fn other_files_are_named_and_refused() {
        let message = |bytes: &[u8]| decode(bytes).unwrap_err().to_string();
        assert!(message(b"").contains("is empty;"), "{}", message(b""));
        assert!(
            message(b"GIF89a......").contains("image/gif"),
            "{}",
            message(b"GIF89a......")
        );
        assert!(
            message(b"hello, world").contains("convert it to PNG"),
            "the remedy is named"
        );
    }

    #[test]
    fn a_truncated_file_is_refused() {
        for (name, bytes) in [("PNG", png(&example())), ("JPEG", jpeg()), ("WebP", webp())] {
            for kept in [bytes.len() / 4, bytes.len() / 2, bytes.len() * 9 / 10] {
                let error = decode(&bytes[..kept]).unwrap_err().to_string();
                assert!(error.contains(name), "{kept} bytes of {name}: {error}");
                assert!(error.contains("damaged"), "{kept} bytes of {name}: {error}");
            }
        }
    }

    #[test]
    fn a_decompression_bomb_is_refused_by_its_header() {
        let mut bomb = png(&example());
        bomb[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]); // 65536x65536
        let crc = crc32(&bomb[12..29]).to_be_bytes();
        bomb[29..33].copy_from_slice(&crc);
        let error = decode(&bomb).unwrap_err();
        assert!(
            matches!(error, ImageError::TooLarge { width: 65_536, .. }),
            "{error}"
        );
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| {
                (crc >> 1) ^ (0xEDB8_8320 * (crc & 1))
            })
        })
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(decode(&bytes).is_err(), "noise is no picture");
        }

        #[test]
        fn damaged_files_never_panic(
            format in 0..3usize,
            hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
            kept in any::<prop::sample::Index>(),
        ) {
            let mut bytes = [png(&example()), jpeg_turned(6), webp()][format].clone();
            for (at, value) in hits {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            bytes.truncate(kept.index(bytes.len() * 2).max(12).min(bytes.len()));
            // What a damaged file gives does not matter, as long as it is an answer.
            if let Ok(decoded) = decode(&bytes) {
                prop_assert!(decoded.picture.width() <= MAX_SIDE, "limits hold for damaged files");
            }
            if let Ok(mask) = decode_mask(&bytes) {
                prop_assert!(mask.height() <= MAX_SIDE, "limits hold for damaged files");
            }
        }
    }
}
