//! Bases that the program can open: the bundled one, and diffusers folders.

mod astray;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use mimeo_checkpoint::{Checkpoint, DiskFolder, EmbeddedFolder};
use mimeo_engine::{Base, Compute, Emit, EngineError};
use mimeo_service::bases::Origin;

use crate::exit::BadInput;

/// Where a base is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseSource {
    /// In the program itself.
    Bundled,
    /// A diffusers folder.
    Folder(PathBuf),
}

impl FromStr for BaseSource {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "bundled" => Self::Bundled,
            path => Self::Folder(PathBuf::from(path)),
        })
    }
}

impl BaseSource {
    /// Loads the base onto a device.
    ///
    /// # Errors
    /// When it cannot be used, with its path.
    pub async fn load(&self, compute: &Compute, emit: &mut impl Emit) -> anyhow::Result<Base> {
        Ok(match self {
            Self::Bundled => Box::pin(Base::load(&bundled(), &compute.device, emit)).await?,
            Self::Folder(path) => {
                let folder = open_folder(path).await?;
                let loaded = Box::pin(Base::load(&folder, &compute.device, emit)).await;
                loaded.map_err(|error| with_folder(error, path))?
            }
        })
    }

    /// The files of the base.
    ///
    /// # Errors
    /// When there is no folder.
    pub async fn open(&self) -> anyhow::Result<Box<dyn Checkpoint>> {
        Ok(match self {
            Self::Bundled => Box::new(bundled()),
            Self::Folder(path) => Box::new(open_folder(path).await?),
        })
    }

    /// Where it comes from, for those who need no files.
    pub const fn origin(&self) -> Origin {
        match self {
            Self::Bundled => Origin::Bundled,
            Self::Folder(_) => Origin::User,
        }
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
    if path.is_file() {
        return Err(astray::file(path).await?.into());
    }
    let folder = DiskFolder::new(path)?;
    match astray::folder(path).await? {
        Some(why) => Err(why.into()),
        None => Ok(folder),
    }
}
