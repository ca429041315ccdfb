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
        _ => {
            let (found, remedy) = name(bytes);
            let found = found.to_owned();
            Err(ImageError::UnsupportedFormat { found, remedy })
        }
    }
}

/// What to do about a picture in another format.
pub(super) const CONVERT: &str = "convert it to PNG, JPEG or WebP and try again";
/// About what is no picture.
const CHOOSE: &str = "choose a picture (PNG, JPEG or WebP)";
/// About what may hold one.
const UNPACK: &str = "unpack it and choose the picture in it";
/// About what shows several, one after the other.
const TAKE_OUT: &str = "save one picture of it as PNG, JPEG or WebP and choose that";

/// Signatures at the beginning, what people call the files that have them, and what to do.
const SIGNATURES: [(&[u8], &str, &str); 29] = [
    (b"GIF8", "a GIF picture", CONVERT),
    (b"II*\0", "a TIFF picture or a camera's raw file", CONVERT),
    (b"MM\0*", "a TIFF picture or a camera's raw file", CONVERT),
    (b"II\xBC\x01", "a JPEG XR picture", CONVERT),
    (b"BM", "a BMP picture", CONVERT),
    (b"8BPS", "a Photoshop document", CONVERT),
    (b"gimp xcf", "a GIMP document", CONVERT),
    (b"\xFF\x0A", "a JPEG XL picture", CONVERT),
    (b"\0\0\0\x0CJXL \r\n\x87\n", "a JPEG XL picture", CONVERT),
    (b"\0\0\0\x0CjP  ", "a JPEG 2000 picture", CONVERT),
    (b"\xFF\x4F\xFF\x51", "a JPEG 2000 picture", CONVERT),
    (b"\0\0\x01\0", "an icon", CONVERT),
    (b"v/1\x01", "an OpenEXR picture", CONVERT),
    (b"#?RADIANCE", "a Radiance HDR picture", CONVERT),
    (b"qoif", "a QOI picture", CONVERT),
    (b"DDS ", "a DDS texture", CONVERT),
    (b"%PDF", "a PDF document", TAKE_OUT),
    (b"%!PS", "a PostScript document", CONVERT),
    (b"FUJIFILM", "a camera's raw file", CONVERT),
    (b"RIFF", "a video or a sound", TAKE_OUT),
    (b"\x1A\x45\xDF\xA3", "a video", TAKE_OUT),
    // Documents of Krita and other programs are ZIP archives too.
    (
        b"PK\x03\x04",
        "a ZIP archive or a Krita document",
        "unpack it, or export the picture as PNG",
    ),
    (b"7z\xBC\xAF\x27\x1C", "a 7z archive", UNPACK),
    (b"Rar!\x1A\x07", "a RAR archive", UNPACK),
    (b"\x1F\x8B", "a gzip archive", UNPACK),
    (
        b"version https://git-lfs",
        "a placeholder of Git LFS instead of the file",
        "fetch the file itself with \"git lfs pull\"",
    ),
    (b"\x89HDF", "an HDF5 file", CHOOSE),
    (
        b"\x93NUMPY",
        "an array of NumPy",
        "save it as a PNG and choose that",
    ),
    (b"GGUF", "a GGUF model", CHOOSE),
];

/// What a file is, with an article, and what to do; it follows "This file is".
fn name(bytes: &[u8]) -> (&'static str, &'static str) {
    if bytes.is_empty() {
        return ("empty", "copy, export or download the picture again");
    }
    if let Some([b'f', b't', b'y', b'p', brands @ ..]) = bytes.get(4..) {
        return base_media(brands);
    }
    let signed = SIGNATURES
        .iter()
        .find(|(signature, ..)| bytes.starts_with(signature));
    if let Some((_, name, remedy)) = signed {
        return (name, remedy);
    }
    // safetensors: eight bytes of length, then JSON.
    if bytes.get(8) == Some(&b'{') && bytes.get(7) == Some(&0) {
        return ("a safetensors file, such as a LoRA", CHOOSE);
    }
    let begins = &bytes[..bytes.len().min(1024)];
    let text = String::from_utf8_lossy(begins).to_ascii_lowercase();
    if text.contains("<svg") {
        ("an SVG drawing", CONVERT)
    } else if text.contains("<html") || text.contains("<!doctype html") {
        (
            "a web page and not the picture that it shows",
            "open it in a browser, save the picture itself and choose that",
        )
    } else if text
        .chars()
        .all(|c| c.is_whitespace() || !c.is_control() && c != '\u{fffd}')
    {
        ("a text", CHOOSE)
    } else {
        ("not a picture that Mimeo knows", CONVERT)
    }
}

/// Files of ISO 14496-12, by the brand and those that it says it is compatible with.
///
/// - `brands`: what follows `ftyp`: the brand, a version, the others, and the rest of the file
fn base_media(brands: &[u8]) -> (&'static str, &'static str) {
    let mut brands = brands.as_chunks::<4>().0.iter().take(16);
    // A brand may be that of any sequence of pictures, and the coding stand among the others.
    let first = brands.next();
    let has = |brand: &[u8; 4]| first == Some(brand) || brands.clone().any(|other| other == brand);
    let is_either = |kinds: &[&[u8; 4]]| kinds.iter().any(|brand| has(brand));
    if is_either(&[b"avif", b"avis"]) {
        ("an AVIF picture", CONVERT)
    } else if is_either(&[
        b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1",
    ]) {
        ("a HEIC picture, as phones take them", CONVERT)
    } else if first == Some(b"crx ") {
        ("a camera's raw file", CONVERT)
    } else {
        ("a video", TAKE_OUT)
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
                b"\0\x05\x16\x07\0\x02\0\0Mac OS X        ".to_vec(),
                "not a picture that Mimeo knows",
            ),
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

    #[test]
    fn what_no_conversion_makes_a_picture_of_is_called_by_its_name_with_what_helps() {
        for (bytes, expected) in [
            (Vec::new(), "empty; copy, export or download"),
            (
                b"<!DOCTYPE html><title>A.png".to_vec(),
                "a web page and not the picture that it shows; open it in a browser",
            ),
            (
                b"version https://git-lfs.github.com/spec/v1\n".to_vec(),
                "a placeholder of Git LFS instead of the file; fetch the file itself with \"git lfs pull\"",
            ),
            (media("isom", &["mp41"]), "a video; save one picture of it"),
            (b"RIFF\0\0\0\0WAVE".to_vec(), "a video or a sound; save one"),
            (b"%PDF-1.7".to_vec(), "a PDF document; save one picture"),
            (
                b"PK\x03\x04".to_vec(),
                "a ZIP archive or a Krita document; unpack it",
            ),
            (b"Rar!\x1A\x07\x01\0".to_vec(), "a RAR archive; unpack it"),
            (b"\x93NUMPY\x01\0".to_vec(), "an array of NumPy; save it as"),
            (
                b"\x40\0\0\0\0\0\0\0{\"a\":{}}".to_vec(),
                "a safetensors file, such as a LoRA; choose a picture",
            ),
            (b"hello, world".to_vec(), "a text; choose a picture"),
            (b"{\"shapes\": []}".to_vec(), "a text; choose a picture"),
        ] {
            let error = of(&bytes).unwrap_err().to_string();
            let expected = format!("This file is {expected}");
            assert!(error.starts_with(&expected), "{error:?}, not {expected:?}");
            assert!(error.ends_with('.'), "one sentence: {error}");
        }
    }
}
