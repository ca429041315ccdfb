//! PNG, JPEG and WebP bytes to pixels: upright, opaque, in sRGB.

mod jpeg;
mod kind;
mod note;
mod png;
mod profile;
mod scan;
mod webp;

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits};

use crate::error::ImageError;
use crate::mask::Mask;
use crate::rgb::Rgb;

pub use note::Note;
use profile::Colours;

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
    /// The alpha channel, 255 where opaque, if it varies: then someone cut something out, and
    /// that can serve as the mask.
    pub alpha: Option<Mask>,
    /// What the user should know: the model will see something else than they do.
    pub notes: Vec<Note>,
}

/// Decodes a PNG, JPEG or WebP picture (of an animation, the first frame).
///
/// The EXIF orientation is applied. Colours are converted to sRGB by the profile or whatever else the
/// file says of them. Grey, CMYK and 16-bit pictures become 8-bit RGB. Transparency is laid over
/// white, on the sRGB values as browsers do it.
///
/// # Errors
/// [`ImageError::UnsupportedFormat`], [`ImageError::Corrupt`], [`ImageError::TooLarge`] or
/// [`ImageError::Hdr`].
pub fn decode(bytes: &[u8]) -> Result<Decoded, ImageError> {
    let (image, mut notes) = read_with_notes(bytes)?;
    let (width, height) = (image.width(), image.height());
    if !image.color().has_alpha() {
        let picture = Rgb::new(width, height, image.into_rgb8().into_raw())?;
        return Ok(Decoded {
            picture,
            alpha: None,
            notes,
        });
    }
    let rgba = image.into_rgba8();
    let alpha: Vec<u8> = rgba.pixels().map(|pixel| pixel.0[3]).collect();
    if alpha.iter().any(|&value| value < 255) {
        notes.push(Note::Transparent);
    }
    let pixels = rgba
        .pixels()
        .flat_map(|pixel| over_white(pixel.0))
        .collect();
    Ok(Decoded {
        picture: Rgb::new(width, height, pixels)?,
        alpha: varying(width, height, alpha)?,
        notes,
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
    /// What of the file is left aside. That its colours were converted is not told: black and white
    /// are so in every space, and how soft an edge is nobody paints to the level.
    pub notes: Vec<Note>,
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
    let (image, mut notes) = read_with_notes(bytes)?;
    notes.retain(|note| matches!(note, Note::SecondPicture | Note::Animation));
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
            notes,
        },
        None => MaskFile {
            mask: luminance,
            luminance: None,
            notes,
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

/// What a file holds, before its colours are converted and it is turned upright.
struct Stored {
    samples: Samples,
    /// What they mean, where the file says it.
    colours: Option<Colours>,
    orientation: Orientation,
    notes: Vec<Note>,
}

enum Samples {
    /// RGB or grey.
    Light(DynamicImage),
    /// `[height, width, 4]`: cyan, magenta, yellow and black, 255 all of it.
    Inks { size: (u32, u32), inks: Vec<u8> },
}

/// The picture, upright and in sRGB, and what became of it.
fn read_with_notes(bytes: &[u8]) -> Result<(DynamicImage, Vec<Note>), ImageError> {
    let stored = match kind::of(bytes)? {
        (ImageFormat::Jpeg, _) => jpeg::read(bytes)?,
        (format, name) => read_by_image(bytes, format, name)?,
    };
    let mut notes = stored.notes;
    let (mut image, note) = match (stored.samples, stored.colours) {
        (Samples::Light(image), None) => (image, None),
        (Samples::Light(image), Some(colours)) => profile::to_srgb(image, colours)?,
        (Samples::Inks { size, inks }, colours) => {
            let (image, note) = profile::inks_to_srgb(size, &inks, colours)?;
            (image, Some(note))
        }
    };
    notes.extend(note);
    image.apply_orientation(stored.orientation);
    Ok((image, notes))
}

/// A PNG or WebP.
fn read_by_image(
    bytes: &[u8],
    format: ImageFormat,
    name: &'static str,
) -> Result<Stored, ImageError> {
    let corrupt = |reason: String| ImageError::Corrupt {
        format: name,
        reason,
    };
    let refused = |error: image::ImageError| match error {
        image::ImageError::Unsupported(error) => ImageError::UnsupportedFormat {
            found: format!("a {name} of a kind that Mimeo does not read ({error})"),
            remedy: kind::CONVERT,
        },
        error => corrupt(error.to_string()),
    };

    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits());
    let mut decoder = reader.into_decoder().map_err(refused)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height)?;
    let (colours, notes) = if format == ImageFormat::Png {
        png::description(bytes)
    } else {
        // One that cannot be read is told from none by a flag of the file.
        let profile = decoder.icc_profile().unwrap_or(None);
        let notes = webp::notes(bytes, profile.is_some()).map_err(corrupt)?;
        (profile.map(Colours::Icc), notes)
    };
    // A picture with damaged EXIF is still a picture, only perhaps not upright.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(refused)?;
    Ok(Stored {
        samples: Samples::Light(image),
        colours,
        orientation,
        notes,
    })
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

    /// The JPEG with one more segment in its header.
    fn jpeg_with(marker: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u16 + 2).to_be_bytes();
        let jpeg = jpeg();
        [&jpeg[..2], &[0xFF, marker], &length, payload, &jpeg[2..]].concat()
    }

    /// With an EXIF block of one entry, big endian at offset 8.
    fn jpeg_with_exif(entry: [u8; 12]) -> Vec<u8> {
        let tiff = b"Exif\0\0MM\0\x2A\0\0\0\x08\0\x01";
        jpeg_with(0xE1, &[&tiff[..], &entry, &[0; 4]].concat())
    }

    fn jpeg_turned(orientation: u8) -> Vec<u8> {
        jpeg_with_exif([0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0])
    }

    /// The PNG with one more chunk before its pixels.
    fn png_with(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let png = png(&example());
        let length = (data.len() as u32).to_be_bytes();
        let chunk = [kind, data].concat();
        let checksum = crc32(&chunk).to_be_bytes();
        // Behind the signature and the header.
        let (head, rest) = png.split_at(8 + 25);
        [head, &length, &chunk, &checksum, rest].concat()
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
            assert_eq!(decoded.notes, [], "nothing to tell of a plain {name}");
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
        assert_eq!(
            decoded.notes,
            [Note::Transparent],
            "two pixels are not opaque"
        );
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
        assert_eq!(opaque.notes, [], "alpha of 255 hides nothing");
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
            message(b"GIF89a......").contains("a GIF picture"),
            "{}",
            message(b"GIF89a......")
        );
        assert!(
            message(b"hello, world").contains("choose a picture (PNG, JPEG or WebP)"),
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
    fn one_changed_byte_of_a_png_is_found_by_its_checksum() {
        let mut bytes = png(&example());
        let data = bytes.windows(4).position(|kind| kind == b"IDAT").unwrap();
        bytes[data + 20] ^= 0x10;
        let error = decode(&bytes).unwrap_err().to_string();
        assert!(
            error.contains("PNG") && error.contains("damaged"),
            "{error}"
        );
    }

    #[test]
    fn a_webp_that_lacks_its_last_bytes_or_has_a_hole_is_refused() {
        let bytes = webp();
        let error = decode(&bytes[..bytes.len() - 2]).unwrap_err().to_string();
        assert!(error.contains("the end is missing"), "{error}");

        // A key frame of 16x16 px, and a sector that was never written.
        let head = [0x10, 0, 0, 0x9D, 0x01, 0x2A, 16, 0, 16, 0, 0xFF];
        let payload = [&head[..], &[0; 512], &[0xFF; 9]].concat();
        let size = (payload.len() as u32).to_le_bytes();
        let chunks = [&b"WEBPVP8 "[..], &size, &payload].concat();
        let size = (chunks.len() as u32).to_le_bytes();
        let error = webp::notes(&[&b"RIFF"[..], &size, &chunks].concat(), false);
        let error = error.unwrap_err();
        assert!(error.contains("512 bytes"), "{error}");
    }

    #[test]
    fn a_jpeg_that_ends_before_its_picture_is_refused_whatever_follows() {
        let whole = jpeg();
        let scan = whole.windows(2).position(|pair| pair == [0xFF, 0xDA]);
        let scan = scan.unwrap();
        let cut = &whole[..whole.len() - 20];
        for (what, file) in [
            ("an end marker", [cut, &[0xFF, 0xD9]].concat()),
            ("another picture", [cut, &whole].concat()),
            ("zeros", [cut, &[0; 20]].concat()),
            (
                "an end marker instead of a picture",
                [&whole[..scan], &[0xFF, 0xD9]].concat(),
            ),
        ] {
            let error = decode(&file).unwrap_err().to_string();
            assert!(error.contains("damaged or cut off"), "{what}: {error}");
            assert!(error.contains("export it again"), "what to do: {error}");
        }
    }

    #[test]
    fn a_second_picture_behind_a_jpeg_is_left_aside_and_told() {
        let whole = jpeg();
        let alone = decode(&whole).unwrap();
        for padding in [0, 300] {
            let file = [&whole[..], &vec![0; padding], &jpeg_turned(3)].concat();
            let decoded = decode(&file).unwrap();
            assert_eq!(decoded.picture, alone.picture, "the first one counts");
            assert_eq!(
                decoded.notes,
                [Note::SecondPicture],
                "and the other is told of"
            );
        }
        let film = [&whole[..], b"\0\0\0\x18ftypmp42"].concat();
        assert_eq!(
            decode(&film).unwrap().notes,
            [],
            "a film behind it is no picture"
        );
    }

    #[test]
    fn jpegs_that_are_not_read_are_named_by_their_coding() {
        for (frame, name) in [(0xC9, "arithmetic"), (0xC3, "lossless")] {
            let mut bytes = jpeg();
            let at = bytes.windows(2).position(|pair| pair == [0xFF, 0xC0]);
            bytes[at.unwrap() + 1] = frame;
            let error = decode(&bytes).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("convert"), "{error}");
        }
        let mut deep = jpeg();
        let at = deep.windows(2).position(|pair| pair == [0xFF, 0xC0]);
        deep[at.unwrap() + 4] = 12;
        let error = decode(&deep).unwrap_err().to_string();
        assert!(error.contains("12 bits a channel"), "{error}");
    }

    #[test]
    fn a_camera_says_adobe_rgb_in_its_exif_only() {
        let bytes = jpeg_with_exif(*b"\0\x01\0\x02\0\0\0\x04R03\0");
        let from = "Adobe RGB (1998)".to_owned();
        assert_eq!(
            decode(&bytes).unwrap().notes,
            [Note::Converted { from }],
            "R03"
        );
        let bytes = jpeg_with_exif(*b"\0\x01\0\x02\0\0\0\x04R98\0");
        assert_eq!(decode(&bytes).unwrap().notes, [], "R98 is sRGB");
    }

    #[test]
    fn a_profile_that_cannot_be_read_is_told_and_the_numbers_stay() {
        let half = b"ICC_PROFILE\0\x01\x02half";
        for (name, bytes) in [
            ("JPEG", jpeg_with(0xE2, half)),
            ("PNG", png_with(b"iCCP", b"p\0\0not deflated")),
        ] {
            let decoded = decode(&bytes).unwrap();
            let told = decoded.notes[0].to_string();
            assert!(told.contains("taken as sRGB"), "{name}: {told}");
        }
    }

    #[test]
    fn of_an_animation_the_first_picture_counts_and_it_is_told() {
        let two_frames = [0, 0, 0, 2, 0, 0, 0, 0];
        let file = png_with(b"acTL", &two_frames);
        let decoded = decode(&file).unwrap();
        assert_eq!(decoded.picture.pixels(), example().as_raw(), "the picture");
        assert_eq!(decoded.notes, [Note::Animation], "and that there are more");
        let mask = decode_mask_file(&file).unwrap();
        assert_eq!(mask.notes, [Note::Animation], "of a mask as well");
    }

    #[test]
    fn a_picture_of_one_pixel_is_one() {
        let dot: image::RgbImage = ImageBuffer::from_pixel(1, 1, image::Rgb([1, 2, 3]));
        let decoded = decode(&png(&dot)).unwrap();
        assert_eq!(
            decoded.picture.pixel(0, 0),
            Some([1, 2, 3]),
            "only its use is refused"
        );
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
