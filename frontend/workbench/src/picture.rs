//! A picture that was dropped, pasted, picked or made.

use std::fmt;

use mimeo_image::{ImageError, Mask, Note, Rgb, decode, encode_png};
use mimeo_protocol::BlobId;
use sha2::{Digest as _, Sha256};

/// The two places for pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Slot {
    /// A, before.
    Original,
    /// B, after.
    Target,
}

impl Slot {
    /// Both, in the order of the page.
    pub const ALL: [Self; 2] = [Self::Original, Self::Target];

    /// The letter that people call it by.
    #[must_use]
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Original => "A",
            Self::Target => "B",
        }
    }
}

/// A decoded picture and the file it came from, which is what is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// SHA-256 of the file.
    pub id: BlobId,
    /// File name, for people.
    pub name: String,
    /// The file's bytes.
    pub file: Vec<u8>,
    /// Upright, opaque and in sRGB.
    pub pixels: Rgb,
    /// The alpha channel, where the file has one that says something.
    pub alpha: Option<Mask>,
    /// What reading the file changed about the picture, to be told.
    pub notes: Vec<Note>,
}

impl Picture {
    /// Reads a file.
    ///
    /// # Errors
    /// Those of [`decode()`]: not a picture, damaged, too large.
    pub fn read(name: &str, file: Vec<u8>) -> Result<Self, ImageError> {
        let decoded = decode(&file)?;
        Ok(Self {
            id: hash(&file),
            name: name.to_owned(),
            file,
            pixels: decoded.picture,
            alpha: decoded.alpha,
            notes: decoded.notes,
        })
    }

    /// Wraps pixels that were made here, as a PNG.
    ///
    /// # Errors
    /// Those of [`encode_png`].
    pub fn made(name: &str, pixels: Rgb) -> Result<Self, ImageError> {
        let file = encode_png(&pixels)?;
        Ok(Self {
            id: hash(&file),
            name: name.to_owned(),
            file,
            pixels,
            alpha: None,
            notes: Vec::new(),
        })
    }

    /// Memory it takes, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.file.len() + self.pixels.pixels().len()
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({:?}, {:?})", self.name, self.pixels)
    }
}

/// The name of a file among pictures on the wire.
#[must_use]
pub fn hash(file: &[u8]) -> BlobId {
    BlobId::from_sha256(Sha256::digest(file).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_here_is_read_back_the_same() {
        let made = Picture::made("dot", Rgb::filled(3, 2, [1, 2, 3])).unwrap();
        let read = Picture::read("dot", made.file.clone()).unwrap();
        assert_eq!(made, read, "a PNG keeps every pixel");
    }

    #[test]
    fn a_text_is_no_picture_and_says_so() {
        let error = Picture::read("notes.txt", b"hello".to_vec()).unwrap_err();
        assert!(
            error.to_string().contains("PNG, JPEG or WebP"),
            "what to do: {error}"
        );
    }
}
