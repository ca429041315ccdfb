//! What a file is, by its first bytes: names lie.

use image::ImageFormat;

use crate::error::ImageError;

/// The formats that are read, with what people call them.
///
/// # Errors
/// [`ImageError::UnsupportedFormat`] for anything else, by its name where that is known.
pub(super) fn of(bytes: &[u8]) -> Result<(ImageFormat, &'static str), ImageError> {
    match image::guess_format(bytes) {
        Ok(ImageFormat::Png) => Ok((ImageFormat::Png, "PNG")),
        Ok(ImageFormat::Jpeg) => Ok((ImageFormat::Jpeg, "JPEG")),
        Ok(ImageFormat::WebP) => Ok((ImageFormat::WebP, "WebP")),
        _ => Err(ImageError::UnsupportedFormat {
            found: name(bytes).to_owned(),
        }),
    }
}

/// Signatures at the beginning, and what people call the files that have them.
const SIGNATURES: [(&[u8], &str); 24] = [
    (b"GIF8", "a GIF picture"),
    (b"II*\0", "a TIFF picture or a camera's raw file"),
    (b"MM\0*", "a TIFF picture or a camera's raw file"),
    (b"II\xBC\x01", "a JPEG XR picture"),
    (b"BM", "a BMP picture"),
    (b"8BPS", "a Photoshop document"),
    (b"gimp xcf", "a GIMP document"),
    (b"\xFF\x0A", "a JPEG XL picture"),
    (b"\0\0\0\x0CJXL \r\n\x87\n", "a JPEG XL picture"),
    (b"\0\0\0\x0CjP  ", "a JPEG 2000 picture"),
    (b"\xFF\x4F\xFF\x51", "a JPEG 2000 picture"),
    (b"\0\0\x01\0", "an icon"),
    (b"v/1\x01", "an OpenEXR picture"),
    (b"#?RADIANCE", "a Radiance HDR picture"),
    (b"qoif", "a QOI picture"),
    (b"DDS ", "a DDS texture"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"FUJIFILM", "a camera's raw file"),
    (b"RIFF", "a video or a sound"),
    (b"\x1A\x45\xDF\xA3", "a video"),
    // Documents of Krita and other programs are ZIP archives too.
    (b"PK\x03\x04", "a ZIP archive or a Krita document"),
    (
        b"version https://git-lfs",
        "a placeholder of Git LFS instead of the file",
    ),
    (b"\x89HDF", "an HDF5 file"),
];

/// With an article; it follows "This file is".
fn name(bytes: &[u8]) -> &'static str {
    if bytes.is_empty() {
        return "empty";
    }
    if let Some([b'f', b't', b'y', b'p', brands @ ..]) = bytes.get(4..) {
        return base_media(brands);
    }
    let signed = SIGNATURES
        .iter()
        .find(|(signature, _)| bytes.starts_with(signature));
    if let Some((_, name)) = signed {
        return name;
    }
    let begins = &bytes[..bytes.len().min(1024)];
    let text = String::from_utf8_lossy(begins).to_ascii_lowercase();
    if text.contains("<svg") {
        "an SVG drawing"
    } else if text.contains("<html") || text.contains("<!doctype html") {
        "a web page and not the picture that it shows"
    } else {
        "not a picture that Mimeo knows"
    }
}

/// Files of ISO 14496-12, by the brand and those that it says it is compatible with.
///
/// - `brands`: what follows `ftyp`: the brand, a version, the others, and the rest of the file
fn base_media(brands: &[u8]) -> &'static str {
    let mut brands = brands.as_chunks::<4>().0.iter().take(16);
    // A brand may be that of any sequence of pictures, and the coding stand among the others.
    let first = brands.next();
    let has = |brand: &[u8; 4]| first == Some(brand) || brands.clone().any(|other| other == brand);
    let is_either = |kinds: &[&[u8; 4]]| kinds.iter().any(|brand| has(brand));
    if is_either(&[b"avif", b"avis"]) {
        "an AVIF picture"
    } else if is_either(&[
        b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1",
    ]) {
        "a HEIC picture, as phones take them"
    } else if first == Some(b"crx ") {
        "a camera's raw file"
    } else {
        "a video"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(brand: &str, others: &[&str]) -> Vec<u8> {
        let others = others.concat();
        [
            &[0, 0, 0, 28],
            &b"ftyp"[..],
            brand.as_bytes(),
            &[0; 4],
            others.as_bytes(),
        ]
        .concat()
    }

    #[test]
    fn what_phones_and_programs_write_is_called_by_its_name() {
        for (bytes, expected) in [
            (
                media("heic", &["mif1", "heic"]),
                "a HEIC picture, as phones take them",
            ),
            (
                media("mif1", &["miaf", "heic"]),
                "a HEIC picture, as phones take them",
            ),
            (media("avif", &["mif1", "miaf"]), "an AVIF picture"),
            (media("mif1", &["avif", "miaf"]), "an AVIF picture"),
            (media("isom", &["mp41"]), "a video"),
            (media("crx ", &["isom"]), "a camera's raw file"),
            (b"GIF89a...".to_vec(), "a GIF picture"),
            (b"8BPS\0\x01".to_vec(), "a Photoshop document"),
            (b"\xFF\x0A\xFA\x7F".to_vec(), "a JPEG XL picture"),
            (
                b"\0\0\0\x0CJXL \r\n\x87\n\0\0".to_vec(),
                "a JPEG XL picture",
            ),
            (
                b"MM\0*\0\0\0\x08".to_vec(),
                "a TIFF picture or a camera's raw file",
            ),
            (b"BM6\0\0\0".to_vec(), "a BMP picture"),
            (
                b"\xEF\xBB\xBF<?xml version=\"1.0\"?>\n<svg>".to_vec(),
                "an SVG drawing",
            ),
            (
                b"<!DOCTYPE html><title>A.png".to_vec(),
                "a web page and not the picture that it shows",
            ),
            (b"hello, world".to_vec(), "not a picture that Mimeo knows"),
            (Vec::new(), "empty"),
        ] {
            let error = of(&bytes).unwrap_err().to_string();
            let expected = format!("This file is {expected};");
            assert!(error.starts_with(&expected), "{error:?}, not {expected:?}");
            assert!(
                error.contains("convert it to PNG, JPEG or WebP"),
                "what to do: {error}"
            );
        }
    }
}
