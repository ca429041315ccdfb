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

/// A file of the checkpoint, for programs that fetch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseFile {
    /// Its path in the folder.
    pub path: &'static str,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: &'static str,
}

/// What [`files`] holds, without the bytes: a browser fetches these instead of carrying them in its
/// program.
pub const MANIFEST: &[BaseFile] = &[
    BaseFile {
        path: "model_index.json",
        bytes: 556,
        sha256: "173ea724d26a1227b797aa2d5bb663f5ebfc7b72a13b403d654d232fe897d413",
    },
    BaseFile {
        path: "scheduler/scheduler_config.json",
        bytes: 502,
        sha256: "28d1a009dfa466938be057413130d37105fb555c44c7c403af4cbdb4c3194f5c",
    },
    BaseFile {
        path: "text_encoder/config.json",
        bytes: 543,
        sha256: "17eeefc35c2c8fcc2a1989323fedd11899a74f84eb885d40f08f1442d1d112dc",
    },
    BaseFile {
        path: "text_encoder/model.safetensors",
        bytes: 6_538_344,
        sha256: "67d021b26f18082f15113451f697f18b395a1db20e29a9a6b55603aaa1425ad0",
    },
    BaseFile {
        path: "tokenizer/merges.txt",
        bytes: 524_619,
        sha256: "9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a",
    },
    BaseFile {
        path: "tokenizer/special_tokens_map.json",
        bytes: 122,
        sha256: "f98e2a4ddae5ae566d6d2b5f97e964481b0b1c2baa114af94cca2493371b31ab",
    },
    BaseFile {
        path: "tokenizer/tokenizer_config.json",
        bytes: 253,
        sha256: "9236fc040f857183c24f4fe1f1228f2d3361bbe4fe59bcd51572c98cf7cfaed9",
    },
    BaseFile {
        path: "tokenizer/vocab.json",
        bytes: 961_143,
        sha256: "3f0c4f7d2086b61b38487075278ea9ed04edb53a03cbb045b86c27190fa8fb69",
    },
    BaseFile {
        path: "unet/config.json",
        bytes: 1_711,
        sha256: "f96f7186bd3ba810e89c9424174880559ffd38197ca486b5279cdb95a27e235b",
    },
    BaseFile {
        path: "unet/diffusion_pytorch_model.safetensors",
        bytes: 9_499_752,
        sha256: "9f0da08f09f83708b187f9554a52c8d856a88129d83a0067eb93e1fe7dbc5230",
    },
    BaseFile {
        path: "vae/config.json",
        bytes: 769,
        sha256: "5ce3e549088f8165931a6a27fc0e42de124d8413686eb467a0d853b18a6dd6e3",
    },
    BaseFile {
        path: "vae/diffusion_pytorch_model.safetensors",
        bytes: 1_420_726,
        sha256: "bec2aed4ca2eb944950a063bfad1885455e883362e9546fa6e356b70342cad36",
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use sha2::{Digest as _, Sha256};

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
    fn the_manifest_tells_what_is_there() {
        let told = MANIFEST.iter().map(|file| {
            let sha256 = file.sha256.to_owned();
            (file.path, file.bytes, sha256)
        });
        let found = files().iter().map(|(path, bytes)| {
            let digest = Sha256::digest(bytes);
            let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            (*path, bytes.len() as u64, sha256)
        });
        let (told, found): (Vec<_>, Vec<(_, _, String)>) = (told.collect(), found.collect());
        assert_eq!(told, found, "write down what the files are now");
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
