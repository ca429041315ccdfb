//! Bases that the program can open: the bundled one, diffusers folders, and single files.

mod astray;
mod hashed;
mod hashes;
pub mod stamp;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use mimeo_checkpoint::{
    Checkpoint, CheckpointError, DiskFile, DiskFolder, EmbeddedFolder, SingleFile, WithVae,
};
use mimeo_engine::{Base, Compute, Emit, EngineError};
use mimeo_service::bases::Origin;

use crate::exit::BadInput;

pub use astray::is_diffusers_folder;
use hashed::Hashed;
pub use hashes::Hashes;

/// Where a base is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseSource {
    /// In the program itself.
    Bundled,
    /// A diffusers folder, or a single file.
    Path(PathBuf),
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
    /// - `vae`: the file whose VAE is taken; none: its own
    /// - `hash`: what identifies its weights, if that is known; else they are read twice
    ///
    /// # Errors
    /// When it cannot be used, with its path.
    pub async fn load(
        &self,
        vae: Option<&Path>,
        hash: Option<String>,
        compute: &Compute,
        emit: &mut impl Emit,
    ) -> anyhow::Result<Base> {
        let mut checkpoint = self.open_with(vae).await?;
        if let Some(hash) = hash {
            checkpoint = Box::new(Hashed { checkpoint, hash });
        }
        let (device, arithmetic) = (&compute.device, compute.arithmetic);
        let loaded = Box::pin(Base::load(&*checkpoint, device, arithmetic, emit)).await;
        loaded.map_err(|error| self.with_path(error))
    }

    /// Loads another VAE for a base that was loaded from here.
    ///
    /// # Errors
    /// Likewise.
    pub async fn load_vae(
        &self,
        base: &Base,
        vae: Option<&Path>,
        emit: &mut impl Emit,
    ) -> anyhow::Result<Base> {
        let checkpoint = self.open_with(vae).await?;
        let loaded = base.with_vae_of(&*checkpoint, emit).await;
        loaded.map_err(|error| self.with_path(error))
    }

    /// The files of the base, with a VAE from elsewhere.
    ///
    /// # Errors
    /// When there is no base, or no VAE.
    pub async fn open_with(&self, vae: Option<&Path>) -> anyhow::Result<Box<dyn Checkpoint>> {
        let checkpoint = self.open().await?;
        Ok(match vae {
            Some(vae) => Box::new(WithVae::new(checkpoint, Box::new(DiskFile::open(vae)?)).await?),
            None => checkpoint,
        })
    }

    /// Adds the path to errors of parts that do not know theirs.
    fn with_path(&self, error: EngineError) -> anyhow::Error {
        match (self, error) {
            (
                Self::Path(path),
                error @ (EngineError::Config(_) | EngineError::Load(_) | EngineError::Tokenizer(_)),
            ) => BadInput::file(error, path).into(),
            (_, other) => other.into(),
        }
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
