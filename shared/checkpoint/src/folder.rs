//! A model as a diffusers folder: on disk, or built into the program.
//!
//! Layout: <https://huggingface.co/docs/diffusers/using-diffusers/other-formats>. A component
//! (`unet`, `vae`, `text_encoder`) has a `config.json` and its weights, in one file or in shards that
//! an index lists; which of their customary names these have is decided here and nowhere else.

pub mod astray;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Component, Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    AsyncReadAt, BoxFuture, CheckpointError, DiskFile, MemoryFile, SafetensorsFile, Stranger,
    sha256::sha256_of_all, text, text_of,
};

/// What makes a folder a checkpoint: it says which pipeline it is for, and names its parts.
pub const MODEL_INDEX: &str = "model_index.json";

/// What weights are called: diffusers' name, then transformers'.
const STEMS: [&str; 2] = ["diffusion_pytorch_model", "model"];

/// Variants by preference: full precision first, so that an fp16 twin never rounds a base; the
/// weights without averaging last, because the averaged ones draw better.
const VARIANTS: [Option<&str>; 5] = [
    None,
    Some("fp32"),
    Some("bf16"),
    Some("fp16"),
    Some("non_ema"),
];

/// What stands behind the stem where only a pickle is there; variants are spelled as above.
const PICKLE_STEMS: [&str; 2] = ["diffusion_pytorch_model", "pytorch_model"];

/// An index names every tensor of a UNet, which is about 100 KB.
const MAX_INDEX_BYTES: u64 = 16 << 20;

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
    #[expect(clippy::disallowed_methods, reason = "a folder on disk")]
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
/// If it is missing, too long, or no text (see [`text_of`]).
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
    text_of(&bytes).map_err(|Stranger { found, remedy }| CheckpointError::NotText {
        found,
        remedy,
        file,
    })
}

/// [`read_text`] of a JSON file, as JSON: Python writes `NaN` and `-Infinity` (as of
/// `DPMSolverMultistepScheduler`), which become `null`.
///
/// # Errors
/// As [`read_text`].
pub(crate) async fn read_json(
    folder: &dyn Folder,
    path: &str,
    max_bytes: u64,
) -> Result<String, CheckpointError> {
    Ok(text::json_of_python(
        &read_text(folder, path, max_bytes).await?,
    ))
}

/// Whether there is a file at `path`.
///
/// # Errors
/// If it is there and cannot be opened.
async fn has_file(folder: &dyn Folder, path: &str) -> Result<bool, CheckpointError> {
    Ok(open_if_there(folder, path).await?.is_some())
}

/// Opens the weights of `component`, such as `unet`: one file, or all shards in the order of their
/// names.
///
/// # Errors
/// If there are none, only pickles, or shards that do not hold what their index says.
pub(crate) async fn open_weights(
    folder: &dyn Folder,
    component: &str,
) -> Result<Vec<SafetensorsFile>, CheckpointError> {
    let (sources, index) = weight_sources(folder, component).await?;
    let mut files = Vec::with_capacity(sources.len());
    for source in sources {
        files.push(SafetensorsFile::open(source).await?);
    }
    if let Some(index) = index {
        index.check(&files)?;
    }
    Ok(files)
}

/// [`Checkpoint::hash`](crate::Checkpoint::hash): of the files that [`open_weights`] picks.
///
/// # Errors
/// If the file is missing or cannot be read.
pub(crate) async fn base_hash(folder: &dyn Folder) -> Result<String, CheckpointError> {
    let (sources, _) = weight_sources(folder, "unet").await?;
    sha256_of_all(&sources).await
}

/// The files that hold the weights of `component`, and the index that lists them if they are shards.
async fn weight_sources(
    folder: &dyn Folder,
    component: &str,
) -> Result<(Vec<Box<dyn AsyncReadAt>>, Option<ShardIndex>), CheckpointError> {
    for variant in VARIANTS {
        for stem in STEMS {
            let path = format!("{component}/{}", weights_name(stem, variant));
            if let Some(source) = open_if_there(folder, &path).await? {
                return Ok((vec![source], None));
            }
            for name in index_names(stem, variant) {
                let path = format!("{component}/{name}");
                if has_file(folder, &path).await? {
                    let index = ShardIndex::read(folder, &path).await?;
                    let mut sources = Vec::new();
                    for shard in index.shards() {
                        sources.push(folder.open(&format!("{component}/{shard}")).await?);
                    }
                    return Ok((sources, Some(index)));
                }
            }
        }
    }
    Err(no_weights(folder, component).await?)
}

/// `stem.safetensors`, `stem.fp16.safetensors`.
fn weights_name(stem: &str, variant: Option<&str>) -> String {
    match variant {
        None => format!("{stem}.safetensors"),
        Some(variant) => format!("{stem}.{variant}.safetensors"),
    }
}

/// What the index of shards may be called: diffusers and transformers put the variant before the
/// extension, people who rename files put it where the weights have it.
fn index_names(stem: &str, variant: Option<&str>) -> Vec<String> {
    let mut names = vec![format!("{}.index.json", weights_name(stem, variant))];
    names.extend(variant.map(|variant| format!("{stem}.safetensors.index.{variant}.json")));
    names
}

/// Why there are no weights that can be read.
async fn no_weights(
    folder: &dyn Folder,
    component: &str,
) -> Result<CheckpointError, CheckpointError> {
    for stem in PICKLE_STEMS {
        for variant in VARIANTS {
            let name = match variant {
                None => format!("{stem}.bin"),
                Some(variant) => format!("{stem}.{variant}.bin"),
            };
            for name in [format!("{name}.index.json"), name] {
                if has_file(folder, &format!("{component}/{name}")).await? {
                    return Ok(CheckpointError::OnlyPickles {
                        component: component.to_owned(),
                        found: name,
                        folder: folder.name(),
                    });
                }
            }
        }
    }
    Ok(CheckpointError::MissingWeights {
        component: component.to_owned(),
        expected: weights_name(STEMS[0], None),
        folder: folder.name(),
    })
}

/// `….safetensors.index.json`: which shard holds which tensor.
#[derive(Debug, Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
    #[serde(skip)]
    file: String,
}

impl ShardIndex {
    async fn read(folder: &dyn Folder, path: &str) -> Result<Self, CheckpointError> {
        let json = read_json(folder, path, MAX_INDEX_BYTES).await?;
        let file = format!("{}/{path}", folder.name());
        let bad = |reason: &str| CheckpointError::BadConfig {
            reason: text::printable(reason, 200),
            file: file.clone(),
        };
        let index: Self = serde_json::from_str(&json).map_err(|error| bad(&error.to_string()))?;
        if index.weight_map.is_empty() {
            return Err(bad("it lists no tensors"));
        }
        Ok(Self { file, ..index })
    }

    /// The files, each once.
    fn shards(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }

    /// Refuses shards of two downloads: a tensor that is in none of them, or in two.
    fn check(&self, files: &[SafetensorsFile]) -> Result<(), CheckpointError> {
        let mut found = BTreeSet::new();
        for file in files {
            for tensor in file.tensors().keys() {
                if !found.insert(tensor) {
                    return Err(CheckpointError::DuplicateTensor {
                        tensor: text::name(tensor),
                        file: file.name().to_owned(),
                    });
                }
            }
        }
        match self
            .weight_map
            .keys()
            .find(|tensor| !found.contains(tensor))
        {
            None => Ok(()),
            Some(tensor) => Err(CheckpointError::MissingTensor {
                tensor: text::name(tensor),
                file: self.file.clone(),
            }),
        }
    }
}

/// Opens the file at `path`, if there is one.
async fn open_if_there(
    folder: &dyn Folder,
    path: &str,
) -> Result<Option<Box<dyn AsyncReadAt>>, CheckpointError> {
    match folder.open(path).await {
        Ok(source) => Ok(Some(source)),
        Err(CheckpointError::MissingFile { .. }) => Ok(None),
        Err(error) => Err(error),
    }
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
    use crate::{Array, safetensors::write_f32};
    use pollster::block_on;

    const UNET: &str = "unet/diffusion_pytorch_model";

    const PICKLES_ONLY: EmbeddedFolder = EmbeddedFolder {
        name: "pickles",
        files: &[("unet/diffusion_pytorch_model.bin", b"\x80\x02")],
    };

    const SHARDED_PICKLES: EmbeddedFolder = EmbeddedFolder {
        name: "pickles",
        files: &[("text_encoder/pytorch_model.fp16.bin.index.json", b"{}")],
    };

    /// A folder on disk with these files, and its guard.
    fn folder_of(files: &[(&str, Vec<u8>)]) -> (tempfile::TempDir, DiskFolder) {
        let root = tempfile::tempdir().unwrap();
        for (path, bytes) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        let folder = DiskFolder::new(root.path()).unwrap();
        (root, folder)
    }

    /// A weights file that holds these tensors, one number each.
    fn weights(names: &[&str]) -> Vec<u8> {
        let one = |name: &&str| {
            let array = Array {
                shape: vec![1],
                data: vec![names.len() as f32],
            };
            ((*name).to_owned(), array)
        };
        write_f32(names.iter().map(one).collect(), &BTreeMap::new())
    }

    fn index(weight_map: &[(&str, &str)]) -> Vec<u8> {
        let weight_map: BTreeMap<_, _> = weight_map.iter().copied().collect();
        let index = serde_json::json!({"metadata": {"total_size": 8}, "weight_map": weight_map});
        index.to_string().into_bytes()
    }

    /// The tensors of each file of a UNet's weights.
    fn tensors(folder: &dyn Folder) -> Result<Vec<Vec<String>>, CheckpointError> {
        let files = block_on(open_weights(folder, "unet"))?;
        let names = |file: &SafetensorsFile| file.tensors().keys().cloned().collect();
        Ok(files.iter().map(names).collect())
    }

    fn refusal(folder: &dyn Folder, component: &str) -> CheckpointError {
        block_on(open_weights(folder, component))
            .err()
            .expect("these weights must be refused")
    }

    #[test]
    fn full_precision_is_preferred_and_variants_are_read_where_they_are_all_there_is() {
        let names = ["", ".fp32", ".fp16", ".non_ema"];
        for first in 0..names.len() {
            let there: Vec<(String, Vec<u8>)> = names[first..]
                .iter()
                .map(|name| (format!("{UNET}{name}.safetensors"), weights(&[name])))
                .collect();
            let there: Vec<(&str, Vec<u8>)> = there
                .iter()
                .map(|(path, bytes)| (path.as_str(), bytes.clone()))
                .collect();
            let (_guard, folder) = folder_of(&there);
            assert_eq!(tensors(&folder).unwrap(), [[names[first]]], "of {there:?}");
        }
    }

    #[test]
    fn pickles_and_nothing_are_refused_by_name() {
        for (folder, component) in [(PICKLES_ONLY, "unet"), (SHARDED_PICKLES, "text_encoder")] {
            let pickle = refusal(&folder, component).to_string();
            assert!(
                pickle.contains("can run a stranger's code"),
                "the reason is missing: {pickle}"
            );
        }
        let nothing = refusal(&PICKLES_ONLY, "vae");
        assert!(
            matches!(nothing, CheckpointError::MissingWeights { .. }),
            "got {nothing}"
        );
    }

    const ONE: &str = "diffusion_pytorch_model-00001-of-00002.safetensors";
    const TWO: &str = "diffusion_pytorch_model-00002-of-00002.safetensors";

    #[test]
    fn shards_are_read_in_order_under_each_name_that_their_index_has() {
        for name in [
            ".safetensors.index.json",
            ".safetensors.index.fp16.json",
            ".fp16.safetensors.index.json",
        ] {
            let (_guard, folder) = folder_of(&[
                (
                    &format!("{UNET}{name}"),
                    index(&[("a", TWO), ("b", ONE), ("c", ONE)]),
                ),
                (&format!("unet/{ONE}"), weights(&["b", "c"])),
                (&format!("unet/{TWO}"), weights(&["a"])),
            ]);
            let found = tensors(&folder).unwrap();
            assert_eq!(found, [vec!["b", "c"], vec!["a"]], "of {name}");
            let both = [weights(&["b", "c"]), weights(&["a"])].concat();
            assert_eq!(
                block_on(base_hash(&folder)).unwrap(),
                crate::sha256::sha256_hex(&both),
                "the hash of {name} is that of all bytes"
            );
        }
    }

    #[test]
    fn shards_that_are_not_what_their_index_says_are_refused_by_name() {
        let with = |shards: &[(&str, Vec<u8>)], weight_map: &[(&str, &str)]| {
            let path = format!("{UNET}.safetensors.index.json");
            let mut files = shards.to_vec();
            files.push((&path, index(weight_map)));
            let (_guard, folder) = folder_of(&files);
            refusal(&folder, "unet").to_string()
        };
        let (one, two) = (format!("unet/{ONE}"), format!("unet/{TWO}"));
        let whole = [("a", ONE), ("b", TWO)];
        let cases = [
            (with(&[(&one, weights(&["a"]))], &whole), TWO),
            (
                with(&[(&one, weights(&["a"])), (&two, weights(&["c"]))], &whole),
                "Tensor \"b\" is missing",
            ),
            (
                with(
                    &[(&one, weights(&["a", "b"])), (&two, weights(&["b"]))],
                    &whole,
                ),
                "Two tensors are named \"b\"",
            ),
            (with(&[], &[]), "it lists no tensors"),
            (with(&[], &[("a", "../secret")]), "leads out of the folder"),
        ];
        for (sentence, words) in cases {
            assert!(sentence.contains(words), "{words:?} in: {sentence}");
        }
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
            files: &[("long", &[b' '; 101]), ("binary", &[0xff, 0xff])],
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
        let full = weights(&["a", "b"]);
        let (_guard, folder) = folder_of(&[
            (&format!("{UNET}.safetensors"), full.clone()),
            (&format!("{UNET}.fp16.safetensors"), weights(&["a"])),
        ]);
        assert_eq!(
            block_on(base_hash(&folder)).unwrap(),
            crate::sha256::sha256_hex(&full),
            "of the file that is used"
        );
    }
}
