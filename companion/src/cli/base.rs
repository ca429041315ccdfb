//! Which base, on which device.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use mimeo_checkpoint::{
    CheckpointError, DiskFile, DiskFolder, EmbeddedFolder, Family, LoraFile, SafetensorsFile,
};
use mimeo_engine::{Base, Compute, DeviceChoice, EngineError};

use crate::exit::BadInput;
use crate::progress::Report;

/// Prompts for bases about which nothing is known.
const NEUTRAL_PROMPTS: [&str; 8] = [
    "a portrait of a woman with brown hair",
    "a portrait of a man with short hair",
    "a girl in a garden, upper body",
    "a boy on a beach, upper body",
    "an old woman reading a book",
    "a man in a suit in front of a building",
    "a woman in a red dress, full body",
    "a person in a kitchen, looking at the viewer",
];

/// How many unseen pictures a LoRA is measured on.
const HELD_OUT: usize = 8;

/// The base and the device, the same for every command that draws or trains.
#[derive(Debug, Args)]
pub struct ComputeArgs {
    /// The base: "bundled", or a diffusers folder
    #[arg(long, value_name = "bundled|FOLDER", default_value = "bundled")]
    base: BaseArg,
    /// Where to compute: auto, cpu, gpu, or gpu:NAME with a part of the adapter's name
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

/// A base as the user names it.
#[derive(Debug, Clone)]
enum BaseArg {
    Bundled,
    Folder(PathBuf),
}

impl FromStr for BaseArg {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "bundled" => Self::Bundled,
            path => Self::Folder(PathBuf::from(path)),
        })
    }
}

impl ComputeArgs {
    /// Chooses the device and loads the base onto it.
    ///
    /// # Errors
    /// When there is no such device, or the base cannot be used.
    pub async fn load(&self, report: &mut Report) -> anyhow::Result<Base> {
        let compute = Compute::choose(&self.device)
            .await
            .map_err(EngineError::from)?;
        report.device(&compute);
        Ok(match &self.base {
            BaseArg::Bundled => Box::pin(Base::load(&bundled(), &compute.device, report)).await?,
            BaseArg::Folder(path) => {
                let folder = open_folder(path).await?;
                let loaded = Box::pin(Base::load(&folder, &compute.device, report)).await;
                loaded.map_err(|error| with_folder(error, path))?
            }
        })
    }

    /// Prompts that the base draws and no bundled pair was made from.
    pub fn unseen_prompts(&self) -> Vec<String> {
        let prompts = match self.base {
            BaseArg::Bundled => mimeo_base::prompts(),
            BaseArg::Folder(_) => &NEUTRAL_PROMPTS,
        };
        prompts
            .iter()
            .take(HELD_OUT)
            .map(|prompt| (*prompt).to_owned())
            .collect()
    }
}

/// Adds the path to errors of parts that do not know theirs.
fn with_folder(error: EngineError, path: &Path) -> anyhow::Error {
    match error {
        EngineError::Config(_) | EngineError::Load(_) | EngineError::Tokenizer(_) => {
            BadInput::file(error, path).into()
        }
        other => other.into(),
    }
}

fn bundled() -> EmbeddedFolder {
    EmbeddedFolder {
        name: mimeo_base::NAME,
        files: mimeo_base::files(),
    }
}

async fn open_folder(path: &Path) -> anyhow::Result<DiskFolder> {
    if !path.is_file() {
        return Ok(DiskFolder::new(path)?);
    }
    // Not a folder, but what is it? Pickles and damaged files are refused as such.
    let file = SafetensorsFile::open(Box::new(DiskFile::open(path)?)).await?;
    if LoraFile::from_tensors(&file).await.is_ok() {
        let why = "this is a LoRA, not a base; choose a diffusers folder";
        return Err(BadInput::file(why, path).into());
    }
    let family = match Family::of_file(&file).await {
        Ok(family) => family.architecture.title(),
        Err(error @ CheckpointError::UnknownFamily { .. }) => return Err(error.into()),
        Err(_) => "some checkpoint",
    };
    let why = format!(
        "this is a single file ({family}), and Mimeo reads bases as diffusers folders; convert it"
    );
    Err(BadInput::file(why, path).into())
}
