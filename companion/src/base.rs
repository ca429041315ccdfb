//! Bases that the program can open: the bundled one, diffusers folders, and single files.

mod astray;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use mimeo_checkpoint::{
    Checkpoint, CheckpointError, DiskFile, DiskFolder, EmbeddedFolder, Overridden, PredictionType,
    SingleFile,
};
use mimeo_engine::{Base, Compute, Emit, EngineError};
use mimeo_service::bases::Origin;

use crate::exit::BadInput;

pub use astray::is_diffusers_folder;

/// Where a base is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseSource {
    /// In the program itself.
    Bundled,
    /// A diffusers folder, or a single file.
    Path(PathBuf),
}

/// What its user says of a base, against what its files say or because they do not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// The file whose VAE is taken.
    pub vae: Option<PathBuf>,
    /// What it predicts.
    pub prediction_type: Option<PredictionType>,
    /// Whether its schedule ends in pure noise.
    pub zero_terminal_snr: Option<bool>,
}

impl FromStr for BaseSource {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "bundled" => Self::Bundled,
            path => Self::Path(PathBuf::from(path)),
        })
    }
}

impl BaseSource {
    /// Loads the base onto a device.
    ///
    /// # Errors
    /// When it cannot be used, with its path.
    pub async fn load(&self, compute: &Compute, emit: &mut impl Emit) -> anyhow::Result<Base> {
        self.load_as(&Said::default(), compute, emit).await
    }

    /// [`Self::load`], as its user says that it is.
    ///
    /// # Errors
    /// Likewise.
    pub async fn load_as(
        &self,
        said: &Said,
        compute: &Compute,
        emit: &mut impl Emit,
    ) -> anyhow::Result<Base> {
        let checkpoint = said.of(self.open().await?).await?;
        let loaded = Box::pin(Base::load(&*checkpoint, &compute.device, emit)).await;
        loaded.map_err(|error| match self {
            Self::Bundled => error.into(),
            Self::Path(path) => with_path(error, path),
        })
    }

    /// The files of the base.
    ///
    /// # Errors
    /// When there is no base.
    pub async fn open(&self) -> anyhow::Result<Box<dyn Checkpoint>> {
        Ok(match self {
            Self::Bundled => Box::new(bundled()),
            Self::Path(path) if path.is_file() => {
                astray::refuse_part(path)?;
                Box::new(open_file(path).await?)
            }
            Self::Path(path) => Box::new(open_folder(path).await?),
        })
    }

    /// Where it comes from, for those who need no files.
    pub const fn origin(&self) -> Origin {
        match self {
            Self::Bundled => Origin::Bundled,
            Self::Path(_) => Origin::User,
        }
    }
}

impl Said {
    /// The checkpoint as it is said to be.
    async fn of(&self, checkpoint: Box<dyn Checkpoint>) -> anyhow::Result<Box<dyn Checkpoint>> {
        if *self == Self::default() {
            return Ok(checkpoint);
        }
        let mut said = Overridden::new(checkpoint);
        if let Some(path) = &self.vae {
            said = said.with_vae(Box::new(DiskFile::open(path)?)).await?;
        }
        if let Some(prediction_type) = self.prediction_type {
            said = said.predicting(prediction_type);
        }
        if let Some(zero_terminal_snr) = self.zero_terminal_snr {
            said = said.with_zero_terminal_snr(zero_terminal_snr);
        }
        Ok(Box::new(said))
    }
}

/// Adds the path to errors of parts that do not know theirs.
fn with_path(error: EngineError, path: &Path) -> anyhow::Error {
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

/// Opens a single file; its prompts are spelled with the bundled vocabulary, which is CLIP's whole
/// one.
///
/// # Errors
/// When it is no base, with what it is instead.
pub async fn open_file(path: &Path) -> Result<SingleFile, CheckpointError> {
    SingleFile::open(Box::new(DiskFile::open(path)?), Box::new(bundled())).await
}

async fn open_folder(path: &Path) -> anyhow::Result<DiskFolder> {
    let folder = DiskFolder::new(path)?;
    match astray::folder(path).await? {
        Some(why) => Err(why.into()),
        None => Ok(folder),
    }
}
