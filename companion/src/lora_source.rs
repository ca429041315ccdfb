//! Where a LoRA is on disk: one file, or a folder as PEFT and diffusers save it.

use std::path::{Path, PathBuf};

use mimeo_checkpoint::folder::{astray, read_text};
use mimeo_checkpoint::lora_file::put_together;
use mimeo_checkpoint::names::is_saved_by_peft;
use mimeo_checkpoint::{
    AdapterConfig, CheckpointError, DiskFile, DiskFolder, LoraFileError, SafetensorsFile,
};
use mimeo_service::rules::MAX_LORA_BYTES;

use crate::exit::BadInput;
use crate::input;
use crate::output::folder_of;

/// What PEFT's `save_pretrained` and diffusers' `save_lora_weights` call their files.
const WEIGHTS: [&str; 2] = [
    "adapter_model.safetensors",
    "pytorch_lora_weights.safetensors",
];
/// The same as pickles.
const PICKLES: [&str; 2] = ["adapter_model.bin", "pytorch_lora_weights.bin"];
const CONFIG: &str = "adapter_config.json";
/// PEFT's is about 1 KB, and a pattern for every module of a large UNet adds 100.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// The files of one LoRA.
#[derive(Debug)]
pub struct LoraSource {
    weights: PathBuf,
}

impl LoraSource {
    /// Finds the files of the LoRA at `path`.
    ///
    /// # Errors
    /// When a folder holds none, or only pickles, and when there is nothing, but something of nearly
    /// this name.
    pub fn find(path: &Path) -> anyhow::Result<Self> {
        let weights = if path.is_dir() {
            weights_in(path)?
        } else {
            path.to_owned()
        };
        if let Some(why) = what_was_meant(path) {
            return Err(BadInput::file(why, path).into());
        }
        Ok(Self { weights })
    }

    /// Opens the numbers.
    ///
    /// # Errors
    /// When they cannot be read, or are no safetensors file.
    pub async fn open(&self) -> Result<SafetensorsFile, CheckpointError> {
        SafetensorsFile::open(Box::new(DiskFile::open(&self.weights)?)).await
    }

    /// PEFT's configuration from beside the numbers. Only what PEFT saved is asked for: beside any
    /// other file, one that lies there is another LoRA's.
    ///
    /// # Errors
    /// When it cannot be used.
    pub async fn config(
        &self,
        file: &SafetensorsFile,
    ) -> Result<Option<AdapterConfig>, LoraFileError> {
        let Some(text) = self.config_text(file).await? else {
            return Ok(None);
        };
        AdapterConfig::read(&text, &self.config_path().display().to_string()).map(Some)
    }

    /// The whole LoRA as one file, as a companion takes it.
    ///
    /// # Errors
    /// When it cannot be read, or is larger than a companion takes.
    pub async fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        let file = self.open().await?;
        match self.config_text(&file).await? {
            Some(config) => Ok(put_together(&file, &config).await?),
            None => Ok(input::read(&self.weights, "LoRA", MAX_LORA_BYTES)?),
        }
    }

    fn config_path(&self) -> PathBuf {
        self.weights.with_file_name(CONFIG)
    }

    async fn config_text(&self, file: &SafetensorsFile) -> Result<Option<String>, CheckpointError> {
        let path = self.config_path();
        if !file.tensors().keys().any(|key| is_saved_by_peft(key)) || !path.is_file() {
            return Ok(None);
        }
        let folder = DiskFolder::new(folder_of(&path))?;
        read_text(&folder, CONFIG, MAX_CONFIG_BYTES).await.map(Some)
    }
}

/// What was meant by a name of nothing, where that can be told: people type what A1111 and ComfyUI
/// take.
fn what_was_meant(path: &Path) -> Option<String> {
    if path.exists() {
        return None;
    }
    let text = path.display().to_string();
    if is_network(&text) {
        let why = "this is how a prompt names a LoRA; give its file, and its strength after a colon (glasses.safetensors:0.8)";
        return Some(why.to_owned());
    }
    if let Some(name) = with_ending(path) {
        let name = name.display().to_string();
        return Some(format!(
            "there is no file of this name, but {name:?}; give that"
        ));
    }
    let (file, number) = text.rsplit_once(':')?;
    let is_number = number.trim().parse::<f64>().is_ok();
    if !is_number {
        return None;
    }
    let file = Path::new(file);
    (file.exists() || with_ending(file).is_some()).then(|| {
        format!("the number {number} at the end is one too many; leave \":{number}\" out (a LoRA takes one strength here, or none)")
    })
}

/// The LoRA that a name without its ending means, with the ending in small or capital letters.
fn with_ending(path: &Path) -> Option<PathBuf> {
    let endings = ["safetensors", "SAFETENSORS"];
    let mut files = endings.iter().map(|ending| {
        let mut name = path.as_os_str().to_owned();
        name.push(".");
        name.push(ending);
        PathBuf::from(name)
    });
    files.find(|file| file.is_file())
}

/// Whether this is how a prompt names a LoRA (`<lora:name:0.8>`), which is no path with a strength.
pub fn is_network(text: &str) -> bool {
    text.starts_with('<') && text.ends_with('>')
}

/// Whether a folder is a LoRA's, and not a base's.
pub fn is_lora_folder(folder: &Path) -> bool {
    astray::is_lora_folder(|name| folder.join(name).is_file())
}

fn weights_in(folder: &Path) -> anyhow::Result<PathBuf> {
    let file = |name: &&str| {
        let file = folder.join(name);
        file.is_file().then_some(file)
    };
    if let Some(found) = WEIGHTS.iter().find_map(file) {
        return Ok(found);
    }
    if let Some(pickle) = PICKLES.iter().find_map(file) {
        let file = pickle.display().to_string();
        let found = "a .bin that torch wrote";
        return Err(CheckpointError::Pickle { found, file }.into());
    }
    let why = format!(
        "this folder holds no LoRA ({} or {}); choose the folder or the file of one",
        WEIGHTS[0], WEIGHTS[1]
    );
    Err(BadInput::file(why, folder).into())
}
