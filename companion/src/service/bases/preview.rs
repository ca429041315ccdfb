//! The picture that lies beside a model, as download pages and A1111 leave one there.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use mimeo_image::{ImageError, decode, encode_jpeg};

use crate::base::stamp::Stamp;

/// Stands behind the model's name; the first that is there counts.
const ENDINGS: [&str; 8] = [
    ".preview.png",
    ".preview.jpg",
    ".preview.jpeg",
    ".preview.webp",
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
];

/// Width and height that the page has for it, on a fine screen.
const SIDE: u32 = 128;
/// Nobody sees more at that size.
const QUALITY: u8 = 80;
/// Far above any preview.
const MAX_BYTES: u64 = 32 << 20;

/// A picture on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    path: PathBuf,
    /// Another one whenever the picture changes.
    pub version: u32,
}

/// Why there is no small picture.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// It is gone, or too large.
    #[error("the picture cannot be read any more.")]
    Gone,
    /// It is none.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl Preview {
    /// The one beside a file or a folder.
    pub fn beside(base: &Path) -> Option<Self> {
        let stem = match base.is_dir() {
            true => base.file_name(),
            false => base.file_stem(),
        };
        let mut names = ENDINGS.iter().map(|ending| {
            let mut name = stem.unwrap_or_default().to_os_string();
            name.push(ending);
            base.with_file_name(name)
        });
        names.find_map(|path| {
            let info = plain_file(&path)?;
            let seal = Stamp::of_one(&info).seal;
            let version = (seal >> 32 ^ seal & u64::from(u32::MAX)) as u32;
            Some(Self { path, version })
        })
    }

    /// The picture in small, as JPEG.
    ///
    /// # Errors
    /// When it is gone meanwhile, or is no picture.
    pub fn thumbnail(&self) -> Result<Vec<u8>, PreviewError> {
        plain_file(&self.path).ok_or(PreviewError::Gone)?;
        let bytes = fs::read(&self.path).map_err(|_gone| PreviewError::Gone)?;
        let picture = decode(&bytes)?.picture;
        Ok(encode_jpeg(&picture.thumbnail(SIDE), QUALITY)?)
    }
}

/// What the system says of a picture that may be shown: a link could lead to any file.
fn plain_file(path: &Path) -> Option<Metadata> {
    let info = fs::symlink_metadata(path).ok()?;
    (info.is_file() && info.len() <= MAX_BYTES).then_some(info)
}

#[cfg(test)]
mod tests {
    use mimeo_image::{Rgb, encode_png};

    use super::*;

    #[test]
    fn the_picture_beside_a_model_is_found_and_made_small() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        let model = folder.path().join("v1.5.safetensors");
        assert_eq!(Preview::beside(&model), None, "none is there");
        write("v1.png", b"another model's");
        assert_eq!(Preview::beside(&model), None, "not of the name without .5");
        let png = encode_png(&Rgb::filled(300, 600, [9, 99, 200])).unwrap();
        write("v1.5.png", &png);
        let plain = Preview::beside(&model).unwrap();
        let small = decode(&plain.thumbnail().unwrap()).unwrap().picture;
        assert_eq!((small.width(), small.height()), (64, 128), "in small");

        write("v1.5.preview.png", b"<html>");
        let preview = Preview::beside(&model).unwrap();
        assert_ne!(preview, plain, "the one that says so comes first");
        assert!(
            matches!(preview.thumbnail(), Err(PreviewError::Image(_))),
            "which is no picture"
        );
        fs::remove_file(folder.path().join("v1.5.preview.png")).unwrap();
        let gone = preview.thumbnail();
        assert!(matches!(gone, Err(PreviewError::Gone)), "{gone:?}");

        let base = folder.path().join("sd");
        fs::create_dir(&base).unwrap();
        write("sd.jpg", b"");
        assert!(Preview::beside(&base).is_some(), "beside a folder too");
    }

    #[cfg(unix)]
    #[test]
    fn no_link_leads_to_another_picture() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret.png");
        fs::write(&secret, "").unwrap();
        std::os::unix::fs::symlink(&secret, folder.path().join("a.png")).unwrap();
        let found = Preview::beside(&folder.path().join("a.safetensors"));
        assert_eq!(found, None, "it is no file of its own");
    }
}
