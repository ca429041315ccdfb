//! A folder that was picked to train upon: which of its files matter.

use mimeo_checkpoint::folder::MODEL_INDEX;
use mimeo_checkpoint::folder::astray::{Astray, is_diffusers_folder};
use mimeo_checkpoint::printable;

/// A picked folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked<T> {
    /// Its name.
    pub folder: String,
    /// The files that are needed, with their paths in the folder.
    pub files: Vec<(String, T)>,
}

/// Characters of a name that are quoted.
const QUOTE: usize = 100;

/// Chooses among the files of a folder.
///
/// - `files`: with their paths, which begin with the folder's name as browsers give them
///
/// # Errors
/// Why this is no checkpoint, and what to choose instead.
pub fn pick<T>(files: impl IntoIterator<Item = (String, T)>) -> Result<Picked<T>, String> {
    let mut folder = None;
    let mut inside = Vec::new();
    for (path, file) in files {
        let Some((top, path)) = path.split_once('/') else {
            continue;
        };
        folder.get_or_insert_with(|| top.to_owned());
        inside.push((path.to_owned(), file));
    }
    let Some(folder) = folder else {
        return Err("The folder is empty. Choose one that holds a checkpoint.".to_owned());
    };
    let paths = || inside.iter().map(|(path, _)| path.as_str());
    let has = |wanted: &str| {
        paths().any(|path| match path.strip_prefix(wanted) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        })
    };
    if !is_diffusers_folder(has) {
        let folder = printable(&folder, QUOTE);
        return Err(match Astray::among(paths()) {
            Some(astray) => {
                let why = astray.sentence("choose", |name| printable(name, QUOTE));
                format!("{folder}: {why}.")
            }
            None => format!(
                "{folder} is no checkpoint in diffusers' layout: {MODEL_INDEX} is missing. Choose the folder that holds it."
            ),
        });
    }
    let mut files = inside;
    files.retain(|(path, _)| is_needed(path));
    if !files.iter().any(|(path, _)| path.ends_with(".safetensors")) {
        let folder = printable(&folder, QUOTE);
        return Err(format!(
            "{folder} holds no weights as .safetensors. Choose a checkpoint that does."
        ));
    }
    Ok(Picked { folder, files })
}

fn is_needed(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    // What downloads leave behind.
    if parts.iter().any(|part| part.starts_with('.')) {
        return false;
    }
    match parts[..] {
        [file] => file == MODEL_INDEX,
        ["scheduler" | "tokenizer" | "tokenizer_2", _] => true,
        [_, file] => {
            // Shards are listed by `….safetensors.index.json`, or `….index.fp16.json`.
            let is_index = file.contains(".safetensors.index.") && file.ends_with(".json");
            file == "config.json" || file.ends_with(".safetensors") || is_index
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(paths: &[&str]) -> Result<Picked<()>, String> {
        pick(paths.iter().map(|path| ((*path).to_owned(), ())))
    }

    #[test]
    fn what_matters_is_taken_and_the_rest_left() {
        let picked = picked(&[
            "sd15/model_index.json",
            "sd15/README.md",
            "sd15/.cache/huggingface/model_index.json",
            "sd15/unet/config.json",
            "sd15/unet/diffusion_pytorch_model.safetensors",
            "sd15/unet/diffusion_pytorch_model.bin",
            "sd15/vae/diffusion_pytorch_model.safetensors.index.fp16.json",
            "sd15/vae/diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
            "sd15/vae/diffusion_pytorch_model.bin.index.json",
            "sd15/scheduler/scheduler_config.json",
            "sd15/tokenizer/merges.txt",
            "sd15/safety_checker/pytorch_model.bin",
        ])
        .unwrap();
        assert_eq!(picked.folder, "sd15", "the name of the folder");
        let paths: Vec<_> = picked.files.iter().map(|(path, ())| &path[..]).collect();
        assert_eq!(
            paths,
            [
                "model_index.json",
                "unet/config.json",
                "unet/diffusion_pytorch_model.safetensors",
                "vae/diffusion_pytorch_model.safetensors.index.fp16.json",
                "vae/diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
                "scheduler/scheduler_config.json",
                "tokenizer/merges.txt",
            ],
            "without the folder's name"
        );
    }

    #[test]
    fn what_is_no_checkpoint_is_said_with_a_remedy() {
        let cases: [(&[&str], &str); 10] = [
            (&[], "is empty"),
            (&["a.safetensors"], "is empty"),
            (
                &["models/sd15/model_index.json"],
                "models: the base is one folder further down; choose sd15.",
            ),
            (
                &["models/a/model_index.json", "models/b/model_index.json"],
                "choose one, such as a.",
            ),
            (
                &[
                    "unet/config.json",
                    "unet/diffusion_pytorch_model.safetensors",
                ],
                "unet: this is one part of a base; choose the folder that holds all of them.",
            ),
            (
                &["models/anime.safetensors"],
                "models: the base is the single file in this folder; choose anime.safetensors.",
            ),
            (
                &["models/anime.ckpt", "models/other.safetensors"],
                "choose the one that you mean, such as anime.ckpt.",
            ),
            (
                &["notes/a.txt"],
                "model_index.json is missing. Choose the folder that holds it.",
            ),
            (&["sd15/model_index.json", "sd15/unet/x.bin"], "no weights"),
            (&["sd15/unet/x.bin"], "no weights"),
        ];
        for (paths, part) in cases {
            let why = picked(paths).unwrap_err();
            let is_told = why.contains("Choose") || why.contains("choose");
            assert!(why.contains(part) && is_told, "{why}");
        }
    }
}
