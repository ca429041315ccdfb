//! Which base, on which device.

use std::path::PathBuf;

use clap::Args;
use mimeo_engine::{ArithmeticChoice, Base, Compute, DeviceChoice, EngineError};
use mimeo_protocol::{BaseId, Recipe, Said, VaeId};

use super::recipe_flags::SaidFlags;
use crate::base::{BaseSource, Hashes};
use crate::exit::BadInput;
use crate::output::Input;
use crate::progress::Report;

/// The base and the device, the same for every command that draws or trains.
#[derive(Debug, Args)]
pub struct ComputeArgs {
    /// The base: "bundled", one .safetensors file, or a diffusers folder
    #[arg(long, value_name = "bundled|FILE|FOLDER", default_value = "bundled")]
    base: BaseSource,
    /// The VAE of another file: a .safetensors of a VAE alone, or of a checkpoint
    #[arg(long, value_name = "FILE")]
    vae: Option<PathBuf>,
    /// Where to compute: auto, cpu, gpu, or gpu:NAME with a part of the adapter's name
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Number format that the UNet computes in: auto, f32, f16 or bf16
    #[arg(long, default_value = "auto")]
    compute: ArithmeticChoice,
}

/// The same, and what is said of the base: for commands without a recipe, which else says it.
#[derive(Debug, Args)]
pub struct BaseArgs {
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    said: SaidFlags,
}

impl ComputeArgs {
    /// Where it is to be computed.
    pub const fn device(&self) -> &DeviceChoice {
        &self.device
    }

    /// What is read from disk.
    pub fn inputs(&self) -> impl Iterator<Item = Input<'_>> {
        let base = match &self.base {
            BaseSource::Bundled => None,
            BaseSource::Path(path) => Some(("--base", path.as_path())),
        };
        let vae = self.vae.as_deref().map(|vae| ("--vae", vae));
        base.into_iter().chain(vae)
    }

    /// Chooses the device and loads the base onto it.
    ///
    /// # Errors
    /// When there is no such device, or the base cannot be used.
    pub async fn load(&self, report: &mut Report) -> anyhow::Result<(Base, Compute)> {
        let compute = Compute::choose(&self.device, self.compute)
            .await
            .map_err(EngineError::from)?;
        report.device(&compute);
        let (vae, hashes) = (self.vae.as_deref(), Hashes::of_user());
        let hash = match &self.base {
            BaseSource::Path(path) => hashes.find(path),
            BaseSource::Bundled => None,
        };
        let base = self.base.load(vae, hash, &compute, report).await?;
        if let BaseSource::Path(path) = &self.base {
            hashes.keep(path, &base.hash);
        }
        Ok((base, compute))
    }

    /// The base and the VAE as a companion knows them.
    ///
    /// # Errors
    /// When something was given that is the companion's to choose: its files, a device.
    pub fn remote_base(&self) -> Result<(BaseId, Option<VaeId>), BadInput> {
        if self.device != DeviceChoice::Auto {
            let why = "--device is the companion's to choose; leave it out, or start the companion with it.";
            return Err(BadInput(why.to_owned()));
        }
        if self.compute != ArithmeticChoice::Auto {
            let why = "--compute is the companion's to choose; leave it out, or start the companion with it.";
            return Err(BadInput(why.to_owned()));
        }
        let base = match &self.base {
            BaseSource::Bundled => BaseId::bundled(),
            BaseSource::Path(name) => {
                let name = name.display().to_string();
                BaseId::try_from(name).map_err(|error| BadInput(error.to_string()))?
            }
        };
        let vae = self.vae.as_ref().map(|name| {
            let name = name.display().to_string();
            VaeId::try_from(name.clone()).map_err(|_no_id| {
                let why = format!(
                    "{name:?} is a file, and files are for bases of this computer. With --remote, put it into the VAE folder of one of the companion's models folders and give its id there, or train without --remote."
                );
                BadInput(why)
            })
        });
        Ok((base, vae.transpose()?))
    }

    /// What a LoRA of this recipe is measured on.
    pub fn held_out_prompts(&self, recipe: &Recipe) -> Vec<String> {
        self.base.origin().held_out_prompts(recipe)
    }

    /// Prompts that the base draws and no bundled pair was made from.
    pub fn unseen_prompts(&self) -> Vec<String> {
        self.base.origin().unseen_prompts()
    }
}

impl BaseArgs {
    /// Where it is to be computed.
    pub const fn device(&self) -> &DeviceChoice {
        self.compute.device()
    }

    /// What is read from disk.
    pub fn inputs(&self) -> impl Iterator<Item = Input<'_>> {
        self.compute.inputs()
    }

    /// Chooses the device and loads the base onto it.
    ///
    /// - `said`: of the base, where no flag says otherwise
    ///
    /// # Errors
    /// When there is no such device, or the base cannot be used or be what is said of it.
    pub async fn load(&self, said: Said, report: &mut Report) -> anyhow::Result<Base> {
        let (base, _) = self.compute.load(report).await?;
        Ok(base.as_said(&self.said.over(said)?, report)?)
    }

    /// What a LoRA of this recipe is measured on.
    pub fn held_out_prompts(&self, recipe: &Recipe) -> Vec<String> {
        self.compute.held_out_prompts(recipe)
    }

    /// Prompts that the base draws and no bundled pair was made from.
    pub fn unseen_prompts(&self) -> Vec<String> {
        self.compute.unseen_prompts()
    }
}
