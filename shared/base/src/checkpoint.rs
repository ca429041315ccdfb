//! The checkpoint's files.

/// Names a file of `mimeo-avatars/` once and embeds it.
macro_rules! embed {
    ($($path:literal),+ $(,)?) => {
        &[$(($path, include_bytes!(concat!("../mimeo-avatars/", $path)))),+]
    };
}

/// The checkpoint as a diffusers folder: `(path in the folder, content)`.
pub fn files() -> &'static [(&'static str, &'static [u8])] {
    embed![
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("mimeo-avatars");
        let mut on_disk = BTreeSet::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path
                        .strip_prefix(&root)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned();
                    on_disk.insert(name.replace('\\', "/"));
                }
            }
        }
        let embedded: BTreeSet<String> =
            files().iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(
            embedded, on_disk,
            "a file that is added must be embedded too"
        );
    }

    #[test]
    fn configs_are_json_and_weights_are_safetensors() {
        for (path, bytes) in files() {
            if path.ends_with(".json") {
                let parsed: Result<serde_json::Value, _> = serde_json::from_slice(bytes);
                assert!(parsed.is_ok(), "{path} is not JSON");
            }
            if path.ends_with(".safetensors") {
                let (length, header) = bytes.split_first_chunk().unwrap();
                let length = u64::from_le_bytes(*length) as usize;
                let parsed: Result<serde_json::Value, _> =
                    serde_json::from_slice(&header[..length]);
                assert!(
                    parsed.is_ok(),
                    "{path} has no header (a pointer to a large file?)"
                );
            }
        }
    }
}
