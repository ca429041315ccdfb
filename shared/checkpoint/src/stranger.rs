//! What people pick or download instead of what they meant, told by how a file begins.

/// Bytes of a file's beginning that tell it.
pub(crate) const PREFIX_BYTES: usize = 1024;

/// A file of another kind than the one that belongs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stranger {
    /// What it is; follows "This is".
    pub found: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

/// Archives by their first bytes; nothing that is read here is in one.
const ARCHIVES: [(&[u8], &str); 6] = [
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"7z\xBC\xAF\x27\x1C", "a 7z archive"),
    (b"Rar!\x1A\x07", "a RAR archive"),
    (b"\x1F\x8B", "a gzip archive"),
    (b"\xFD7zXZ\0", "an xz archive"),
];

/// What a text is that cannot be read as one.
const NO_TEXT: Stranger = Stranger {
    found: "no text in UTF-8 or UTF-16",
    remedy: "save it as UTF-8, or replace it with a sound one",
};

impl Stranger {
    /// A file without anything in it but white space.
    pub const EMPTY: Self = Self {
        found: "an empty file",
        remedy: "download or copy it again",
    };

    /// What a file is that begins like this; none where that is not known.
    pub(crate) fn of(prefix: &[u8]) -> Option<Self> {
        let stranger = |found, remedy| Some(Self { found, remedy });
        let begins = prefix.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(prefix);
        let begins = begins.trim_ascii_start();
        if begins.is_empty() {
            return Some(Self::EMPTY);
        }
        if begins.starts_with(b"version https://git-lfs") {
            let remedy = "fetch the file itself with \"git lfs pull\"";
            return stranger("a Git LFS pointer", remedy);
        }
        // A server that refuses answers with HTML, or as storage services do with XML.
        if begins.starts_with(b"<") {
            return stranger("a web page", "the download failed, try it again");
        }
        let archive = ARCHIVES
            .iter()
            .find(|(signature, _)| prefix.starts_with(signature));
        archive.and_then(|(_, found)| stranger(found, "unpack it and choose the file in it"))
    }
}

/// The text of a file in UTF-8 or, as Notepad and PowerShell save it, UTF-16 with a mark at its
/// beginning. The mark is no part of it.
///
/// # Errors
/// What the file is instead.
pub fn text_of(bytes: &[u8]) -> Result<String, Stranger> {
    let utf_16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| match bytes.as_chunks() {
        (units, []) => {
            let units: Vec<u16> = units.iter().copied().map(unit).collect();
            String::from_utf16(&units).ok()
        }
        _ => None,
    };
    let text = match bytes {
        [0xFF, 0xFE, units @ ..] => utf_16(units, u16::from_le_bytes),
        [0xFE, 0xFF, units @ ..] => utf_16(units, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, text @ ..] | text => std::str::from_utf8(text).ok().map(str::to_owned),
    };
    // UTF-16 without its mark is full of zeros.
    let text = text.filter(|text| !text.contains('\0'));
    let begins = text.as_deref().map_or(bytes, str::as_bytes);
    match (Stranger::of(begins), text) {
        (Some(stranger), _) => Err(stranger),
        (None, Some(text)) => Ok(text),
        (None, None) => Err(NO_TEXT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_same_in_every_encoding_that_editors_save() {
        let text = "{\"prompt\": \"Brille, \u{1f60e}\"}\r\n";
        let units = || text.encode_utf16();
        let little = units().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let big = units().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
        for (bytes, encoding) in [
            (text.as_bytes().to_vec(), "UTF-8"),
            ([b"\xEF\xBB\xBF", text.as_bytes()].concat(), "with a mark"),
            ([b"\xFF\xFE", &little[..]].concat(), "UTF-16, little-endian"),
            ([b"\xFE\xFF", &big[..]].concat(), "UTF-16, big-endian"),
        ] {
            assert_eq!(text_of(&bytes).as_deref(), Ok(text), "{encoding}");
        }
    }

    #[test]
    fn what_is_no_text_is_called_what_it_is() {
        for (bytes, found) in [
            (&b""[..], "an empty file"),
            (b" \r\n", "an empty file"),
            (b"\xFF\xFE", "an empty file"),
            (b"\xEF\xBB\xBF\n<!DOCTYPE html>", "a web page"),
            (b"\xFF\xFE<\0h\0t\0m\0l\0", "a web page"),
            (b"<?xml version=\"1.0\"?><Error>", "a web page"),
            (
                b"version https://git-lfs.github.com/spec/v1\n",
                "a Git LFS pointer",
            ),
            (b"PK\x03\x04rest", "a zip archive"),
            (b"\x1F\x8B\x08\xFF", "a gzip archive"),
            (b"{\0\"\0", NO_TEXT.found),
            (b"\xFF\xFE{", NO_TEXT.found),
            (b"\xFF\xFE\x00\xD8", NO_TEXT.found),
            (b"caf\xE9", NO_TEXT.found),
        ] {
            let stranger = text_of(bytes).unwrap_err();
            assert_eq!(stranger.found, found, "of {bytes:?}");
            assert!(!stranger.remedy.is_empty(), "what to do about {bytes:?}");
        }
    }
}
