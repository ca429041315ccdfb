//! A folder that was taken for a checkpoint and is none: what was meant may be near. Told from the
//! paths in it, wherever the folder is.

use super::MODEL_INDEX;

/// What LoRAs are called in folders of their own: PEFT's configuration, and the weights of PEFT and
/// diffusers, safetensors or pickles.
const LORA: [&str; 5] = [
    "adapter_config.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
    "pytorch_lora_weights.safetensors",
    "pytorch_lora_weights.bin",
];
/// What tells one part of a checkpoint in diffusers' layout.
const PART: [&str; 3] = [
    "config.json",
    "scheduler_config.json",
    "tokenizer_config.json",
];
/// How whole checkpoints in one file are called; those that cannot be read are refused by what they
/// are.
const SINGLE_FILES: [&str; 5] = ["safetensors", "sft", "ckpt", "pt", "gguf"];

/// What a folder holds instead of a checkpoint in diffusers' layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Astray {
    /// A LoRA.
    Lora,
    /// A folder that is such a checkpoint.
    Inner {
        /// Its name.
        folder: String,
    },
    /// Several of them.
    Inners {
        /// The name of the first.
        first: String,
    },
    /// One part of such a checkpoint.
    Part,
    /// One file that may be a whole checkpoint.
    SingleFile {
        /// Its name.
        file: String,
    },
    /// Several of them.
    SingleFiles {
        /// How many.
        count: usize,
        /// The name of the first.
        first: String,
    },
}

impl Astray {
    /// Looks at the files of a folder.
    ///
    /// - `paths`: relative to the folder, with `/`; no more than two deep is looked at
    #[must_use]
    pub fn among<'a>(paths: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let (mut inner, mut single) = (Vec::new(), Vec::new());
        let (mut is_lora, mut is_part) = (false, false);
        for path in paths {
            match path.split_once('/') {
                Some((folder, MODEL_INDEX)) => inner.push(folder),
                Some(_) => {}
                None => {
                    is_lora |= LORA.contains(&path);
                    is_part |= PART.contains(&path);
                    single.extend(is_single_file(path).then_some(path));
                }
            }
        }
        inner.sort_unstable();
        single.sort_unstable();
        let found = match (&inner[..], &single[..]) {
            _ if is_lora => Self::Lora,
            ([folder], _) => Self::Inner {
                folder: (*folder).to_owned(),
            },
            ([first, ..], _) => Self::Inners {
                first: (*first).to_owned(),
            },
            _ if is_part => Self::Part,
            (_, []) => return None,
            (_, [file]) => Self::SingleFile {
                file: (*file).to_owned(),
            },
            (_, [first, ..]) => Self::SingleFiles {
                count: single.len(),
                first: (*first).to_owned(),
            },
        };
        Some(found)
    }

    /// What it is, and what to take instead, in words without an end.
    ///
    /// - `take`: the word for it: "choose" where one clicks, "give" where one types
    /// - `shown`: how a file or folder in this one is written
    #[must_use]
    pub fn sentence(&self, take: &str, shown: impl Fn(&str) -> String) -> String {
        match self {
            Self::Lora => {
                "this is a LoRA's folder, not a base; choose a diffusers folder".to_owned()
            }
            Self::Inner { folder } => format!(
                "the base is one folder further down; {take} {}",
                shown(folder)
            ),
            Self::Inners { first } => format!(
                "this folder holds several bases; {take} one, such as {}",
                shown(first)
            ),
            Self::Part => {
                format!("this is one part of a base; {take} the folder that holds all of them")
            }
            Self::SingleFile { file } => format!(
                "the base is the single file in this folder; {take} {}",
                shown(file)
            ),
            Self::SingleFiles { count, first } => format!(
                "this folder holds {count} single files; {take} the one that you mean, such as {}",
                shown(first)
            ),
        }
    }
}

/// Whether a folder is in diffusers' layout, though perhaps no checkpoint: one without an index, or
/// without a UNet, too, so that it is refused for what it is.
///
/// - `has`: whether there is a file or a folder at a path in it
pub fn is_diffusers_folder(has: impl Fn(&str) -> bool) -> bool {
    has("unet") || has(MODEL_INDEX)
}

/// Whether a folder is a LoRA's, and not a base's.
///
/// - `has`: whether there is a file at a path in it
pub fn is_lora_folder(has: impl Fn(&str) -> bool) -> bool {
    LORA.iter().any(|name| has(name))
}

/// Whether a file of this name may be a whole checkpoint.
#[must_use]
pub fn is_single_file(name: &str) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    let ending = ending.unwrap_or_default().to_ascii_lowercase();
    SINGLE_FILES.contains(&&*ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(paths: &[&str]) -> String {
        let found = Astray::among(paths.iter().copied());
        found.map_or_else(String::new, |astray| {
            astray.sentence("choose", |name| format!("<{name}>"))
        })
    }

    #[test]
    fn what_was_meant_is_told_from_paths() {
        let cases: [(&[&str], &str); 10] = [
            (&[], ""),
            (&["notes.txt", "deep/er/model_index.json"], ""),
            (&["adapter_model.safetensors"], "a LoRA's folder"),
            (
                &["sd15/model_index.json", "sd15/unet/config.json"],
                "one folder further down; choose <sd15>",
            ),
            (
                &["b/model_index.json", "a/model_index.json"],
                "several bases; choose one, such as <a>",
            ),
            (
                &["config.json", "diffusion_pytorch_model.safetensors"],
                "one part of a base; choose the folder that holds all",
            ),
            (&["scheduler_config.json"], "one part of a base"),
            (
                &["anime.SAFETENSORS", "anime.txt"],
                "the single file in this folder; choose <anime.SAFETENSORS>",
            ),
            (
                &["b.gguf", "a.ckpt", "sub/c.safetensors"],
                "2 single files; choose the one that you mean, such as <a.ckpt>",
            ),
            (
                &["x.safetensors", "sd15/model_index.json"],
                "one folder further down",
            ),
        ];
        for (paths, words) in cases {
            let said = said(paths);
            assert!(said.contains(words), "{words:?} of {paths:?}: {said}");
            assert_eq!(words.is_empty(), said.is_empty(), "{paths:?}: {said}");
        }
    }

    #[test]
    fn a_diffusers_folder_has_an_index_or_a_unet() {
        for there in ["model_index.json", "unet"] {
            assert!(is_diffusers_folder(|path| path == there), "{there}");
        }
        assert!(!is_diffusers_folder(|path| path == "vae"), "a VAE alone");
    }
}
