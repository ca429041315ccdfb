//! A folder that was picked to train upon: which of its files matter.

use mimeo_checkpoint::printable;

/// A picked folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked<T> {
    /// Its name.
    pub folder: String,
    /// The files that are needed, with their paths in the folder.
    pub files: Vec<(String, T)>,
}

/// The file that makes a folder a checkpoint in diffusers' layout.
const INDEX: &str = "model_index.json";

/// Chooses among the files of a folder.
///
/// - `files`: with their paths, which begin with the folder's name as browsers give them
///
/// # Errors
/// Why this is no checkpoint, and what to choose instead.
pub fn pick<T>(files: impl IntoIterator<Item = (String, T)>) -> Result<Picked<T>, String> {
    let mut folder = None;
    let mut needed = Vec::new();
    let mut astray = Astray::default();
    for (path, file) in files {
        let Some((top, inside)) = path.split_once('/') else {
            continue;
        };
        folder.get_or_insert_with(|| top.to_owned());
        astray.look_at(inside);
        if is_needed(inside) {
            needed.push((inside.to_owned(), file));
        }
    }
    let Some(folder) = folder else {
        return Err("The folder is empty. Choose one that holds a checkpoint.".to_owned());
    };
    let has = |wanted: fn(&str) -> bool| needed.iter().any(|(path, _)| wanted(path));
    if !has(|path| path == INDEX) {
        return Err(format!(
            "{folder} is no checkpoint in diffusers' layout: {INDEX} is missing. {}",
            astray.remedy(&folder)
        ));
    }
    if !has(|path| path.ends_with(".safetensors")) {
        return Err(format!(
            "{folder} holds no weights as .safetensors. Choose a checkpoint that does."
        ));
    }
    Ok(Picked {
        folder,
        files: needed,
    })
}

/// What a folder holds that is no checkpoint in diffusers' layout: what was meant may be near.
#[derive(Default)]
struct Astray {
    /// Folders in it that are such checkpoints.
    further_down: Vec<String>,
    /// Checkpoints as one file each.
    single_files: Vec<String>,
    /// Whether it is a part of such a checkpoint.
    is_part: bool,
}

impl Astray {
    fn look_at(&mut self, path: &str) {
        let parts: Vec<&str> = path.split('/').collect();
        match parts[..] {
            [inner, INDEX] => self.further_down.push(inner.to_owned()),
            ["config.json" | "scheduler_config.json" | "tokenizer_config.json"] => {
                self.is_part = true;
            }
            [file]
                if [".safetensors", ".ckpt"]
                    .iter()
                    .any(|end| file.ends_with(end)) =>
            {
                self.single_files.push(file.to_owned());
            }
            _ => {}
        }
    }

    /// What to choose instead.
    fn remedy(&self, folder: &str) -> String {
        let name = |name: &String| printable(name, 100);
        match (&self.further_down[..], &self.single_files[..]) {
            ([inner], _) => format!("Choose the folder {} in it.", name(inner)),
            ([first, ..], _) => format!("Choose a folder in it, such as {}.", name(first)),
            _ if self.is_part => {
                format!("It is a part of one. Choose the folder that {folder} is in.")
            }
            (_, [file]) => format!(
                "{} in it is a checkpoint in a single file. Choose the model as a folder that holds {INDEX}.",
                name(file)
            ),
            (_, [first, ..]) => format!(
                "{} and others in it are checkpoints in single files. Choose a model as a folder that holds {INDEX}.",
                name(first)
            ),
            _ => "Choose the folder that holds it.".to_owned(),
        }
    }
}

fn is_needed(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    // What downloads leave behind.
    if parts.iter().any(|part| part.starts_with('.')) {
        return false;
    }
    match parts[..] {
        [file] => file == INDEX || file.ends_with(".safetensors"),
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
        let cases: [(&[&str], &str); 9] = [
            (&[], "is empty"),
            (&["a.safetensors"], "is empty"),
            (
                &["models/sd15/model_index.json"],
                "model_index.json is missing. Choose the folder sd15 in it.",
            ),
            (
                &["models/a/model_index.json", "models/b/model_index.json"],
                "Choose a folder in it, such as a.",
            ),
            (
                &[
                    "unet/config.json",
                    "unet/diffusion_pytorch_model.safetensors",
                ],
                "Choose the folder that unet is in.",
            ),
            (
                &["models/anime.safetensors"],
                "anime.safetensors in it is a checkpoint in a single file. Choose",
            ),
            (
                &["models/anime.ckpt", "models/other.safetensors"],
                "anime.ckpt and others in it are checkpoints in single files. Choose",
            ),
            (&["notes/a.txt"], "Choose the folder that holds it."),
            (&["sd15/model_index.json", "sd15/unet/x.bin"], "no weights"),
        ];
        for (paths, part) in cases {
            let why = picked(paths).unwrap_err();
            assert!(why.contains(part) && why.contains("Choose"), "{why}");
        }
    }
}
