//! A model as a diffusers folder: on disk, or built into the program.
//!
//! Layout: <https://huggingface.co/docs/diffusers/using-diffusers/other-formats>. A component
//! (`unet`, `vae`, `text_encoder`) has a `config.json` and one weights file; which of its four
//! customary names that file has is decided here and nowhere else.

use std::{
    io,
    path::{Component, Path, PathBuf},
};

use crate::{AsyncReadAt, BoxFuture, CheckpointError, DiskFile, MemoryFile, sha256_of};

/// Weights files by preference: full precision first, so that an fp16 twin never rounds a base.
const WEIGHTS: [&str; 4] = [
    "diffusion_pytorch_model.safetensors",
    "model.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
    "model.fp16.safetensors",
];

const PICKLES: [&str; 4] = [
    "diffusion_pytorch_model.bin",
    "pytorch_model.bin",
    "diffusion_pytorch_model.fp16.bin",
    "pytorch_model.fp16.bin",
];

const SHARD_INDICES: [&str; 2] = [
    "diffusion_pytorch_model.safetensors.index.json",
    "model.safetensors.index.json",
];

/// Files by relative path.
pub trait Folder {
    /// What to call this folder in a message to the user: a path, or a name.
    fn name(&self) -> String;

    /// Opens the file at `path`, relative and with `/`, such as `unet/config.json`.
    ///
    /// # Errors
    /// [`CheckpointError::MissingFile`] if there is none, [`CheckpointError::PathLeavesFolder`] for
    /// a path that is not plainly inside, [`CheckpointError::Io`] if it cannot be opened.
    fn open<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn AsyncReadAt>, CheckpointError>>;
}

/// A folder on disk.
#[derive(Debug, Clone)]
pub struct DiskFolder {
    root: PathBuf,
}

impl DiskFolder {
    /// Takes the folder at `root`.
    ///
    /// # Errors
    /// [`CheckpointError::NotAFolder`].
    pub fn new(root: impl Into<PathBuf>) -> Result<Self, CheckpointError> {
        let root = root.into();
        if !root.is_dir() {
            return Err(CheckpointError::NotAFolder {
                folder: root.display().to_string(),
            });
        }
        Ok(Self { root })
    }
}

impl Folder for DiskFolder {
    fn name(&self) -> String {
        self.root.display().to_string()
    }

    fn open<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn AsyncReadAt>, CheckpointError>> {
        Box::pin(async move {
            let plain = Path::new(path)
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
            if !plain {
                return Err(CheckpointError::PathLeavesFolder {
                    path: path.to_owned(),
                    folder: self.name(),
                });
            }
            match DiskFile::open(self.root.join(path)) {
                Ok(file) => Ok(Box::new(file) as Box<dyn AsyncReadAt>),
                Err(CheckpointError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    Err(missing(self, path))
                }
                Err(error) => Err(error),
            }
        })
    }
}

/// A folder whose files are part of the program.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddedFolder {
    /// What messages call it.
    pub name: &'static str,
    /// Relative paths, with `/`, and contents.
    pub files: &'static [(&'static str, &'static [u8])],
}

impl Folder for EmbeddedFolder {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn open<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn AsyncReadAt>, CheckpointError>> {
        Box::pin(async move {
            let (_, bytes) = self
                .files
                .iter()
                .find(|(name, _)| *name == path)
                .ok_or_else(|| missing(self, path))?;
            let name = format!("{}/{path}", self.name);
            Ok(Box::new(MemoryFile::new(name, *bytes)) as Box<dyn AsyncReadAt>)
        })
    }
}

/// Reads the text file at `path`, which must not be longer than `max_bytes`.
///
/// # Errors
/// If it is missing, too long, or not UTF-8.
pub async fn read_text(
    folder: &dyn Folder,
    path: &str,
    max_bytes: u64,
) -> Result<String, CheckpointError> {
    let source = folder.open(path).await?;
    let (size, file) = (source.size(), source.name().to_owned());
    if size > max_bytes {
        return Err(CheckpointError::TextTooLong {
            size,
            limit: max_bytes,
            file,
        });
    }
    // Cannot be cut: it is at most `max_bytes`, and the read is refused if it does not fit.
    let bytes = source.read_at(0, size as usize).await?;
    String::from_utf8(bytes).map_err(|source| CheckpointError::NotText { file, source })
}

/// Opens the weights of `component`, such as `unet`.
///
/// # Errors
/// If there are none, or only pickles or shards, which are refused by name.
pub async fn open_weights(
    folder: &dyn Folder,
    component: &str,
) -> Result<Box<dyn AsyncReadAt>, CheckpointError> {
    if let Some((_, source)) = first_of(folder, component, &WEIGHTS).await? {
        return Ok(source);
    }
    let component_name = component.to_owned();
    if first_of(folder, component, &SHARD_INDICES).await?.is_some() {
        return Err(CheckpointError::Sharded {
            component: component_name,
            folder: folder.name(),
        });
    }
    if let Some((found, _)) = first_of(folder, component, &PICKLES).await? {
        return Err(CheckpointError::OnlyPickles {
            component: component_name,
            found,
            folder: folder.name(),
        });
    }
    Err(CheckpointError::MissingWeights {
        component: component_name,
        expected: WEIGHTS[0],
        folder: folder.name(),
    })
}

/// The hash that identifies a base in a LoRA's metadata and in the cache of copiers.
///
/// It is the SHA-256, as 64 lower-case hex digits, of **all bytes of the UNet's weights file** that
/// [`open_weights`] picks: header, metadata and tensors. Text encoder, VAE, tokenizer and
/// configuration are not part of it. So a folder saved again, or its fp16 twin, counts as another
/// base, while the same file in another folder counts as the same.
///
/// # Errors
/// If the file is missing or cannot be read.
pub async fn base_hash(folder: &dyn Folder) -> Result<String, CheckpointError> {
    let source = open_weights(folder, "unet").await?;
    sha256_of(&*source).await
}

/// The first of `names` that is there in `component`.
async fn first_of(
    folder: &dyn Folder,
    component: &str,
    names: &[&'static str],
) -> Result<Option<(&'static str, Box<dyn AsyncReadAt>)>, CheckpointError> {
    for name in names {
        match folder.open(&format!("{component}/{name}")).await {
            Ok(source) => return Ok(Some((name, source))),
            Err(CheckpointError::MissingFile { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn missing(folder: &dyn Folder, path: &str) -> CheckpointError {
    CheckpointError::MissingFile {
        path: path.to_owned(),
        folder: folder.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pollster::block_on;

    const BOTH_PRECISIONS: EmbeddedFolder = EmbeddedFolder {
        name: "both",
        files: &[
            ("unet/diffusion_pytorch_model.fp16.safetensors", b"half"),
            ("unet/diffusion_pytorch_model.safetensors", b"full"),
            ("unet/config.json", b"{}"),
        ],
    };

    const PICKLES_ONLY: EmbeddedFolder = EmbeddedFolder {
        name: "pickles",
        files: &[("unet/diffusion_pytorch_model.bin", b"\x80\x02")],
    };

    const SHARDS: EmbeddedFolder = EmbeddedFolder {
        name: "shards",
        files: &[("unet/diffusion_pytorch_model.safetensors.index.json", b"{}")],
    };

    fn refusal(folder: &dyn Folder, component: &str) -> CheckpointError {
        block_on(open_weights(folder, component))
            .err()
            .expect("these weights must be refused")
    }

    #[test]
    fn full_precision_is_preferred() {
        let source = block_on(open_weights(&BOTH_PRECISIONS, "unet")).unwrap();
        let bytes = block_on(source.read_at(0, 4)).unwrap();
        assert_eq!(bytes, b"full", "the fp16 twin is second choice");
    }

    #[test]
    fn pickles_shards_and_nothing_are_refused_by_name() {
        let pickle = refusal(&PICKLES_ONLY, "unet").to_string();
        assert!(
            pickle.contains("can run a stranger's code"),
            "the reason is missing: {pickle}"
        );
        let shards = refusal(&SHARDS, "unet");
        assert!(
            matches!(shards, CheckpointError::Sharded { .. }),
            "got {shards}"
        );
        let nothing = refusal(&SHARDS, "vae");
        assert!(
            matches!(nothing, CheckpointError::MissingWeights { .. }),
            "got {nothing}"
        );
    }

    #[test]
    fn a_folder_on_disk_gives_its_files_and_nothing_outside() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("base/unet")).unwrap();
        std::fs::write(root.path().join("base/unet/config.json"), "{\"a\": 1}").unwrap();
        std::fs::write(root.path().join("secret"), "secret").unwrap();
        let folder = DiskFolder::new(root.path().join("base")).unwrap();

        let text = block_on(read_text(&folder, "unet/config.json", 100)).unwrap();
        assert_eq!(text, "{\"a\": 1}", "the file as it stands");
        for path in ["../secret", "/etc/passwd", "unet/../../secret"] {
            let answer = block_on(read_text(&folder, path, 100));
            assert!(
                matches!(answer, Err(CheckpointError::PathLeavesFolder { .. })),
                "{path} must be refused, got {answer:?}"
            );
        }
        let answer = block_on(read_text(&folder, "vae/config.json", 100));
        assert!(
            matches!(answer, Err(CheckpointError::MissingFile { .. })),
            "got {answer:?}"
        );
        let answer = DiskFolder::new(root.path().join("secret"));
        assert!(
            matches!(answer, Err(CheckpointError::NotAFolder { .. })),
            "got {answer:?}"
        );
    }

    #[test]
    fn long_and_binary_text_is_refused() {
        const FILES: EmbeddedFolder = EmbeddedFolder {
            name: "texts",
            files: &[("long", &[b' '; 101]), ("binary", &[0xff, 0xfe])],
        };
        let answer = block_on(read_text(&FILES, "long", 100));
        assert!(
            matches!(answer, Err(CheckpointError::TextTooLong { .. })),
            "got {answer:?}"
        );
        let answer = block_on(read_text(&FILES, "binary", 100));
        assert!(
            matches!(answer, Err(CheckpointError::NotText { .. })),
            "got {answer:?}"
        );
    }

    #[test]
    fn the_base_hash_is_that_of_the_unet_file() {
        let hash = block_on(base_hash(&BOTH_PRECISIONS)).unwrap();
        assert_eq!(
            hash,
            crate::sha256::sha256_hex(b"full"),
            "of the file that is used"
        );
    }
}
