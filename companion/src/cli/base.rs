//! Which base, on which device.

use clap::Args;
use mimeo_engine::{Base, Compute, DeviceChoice, EngineError};
use mimeo_protocol::BaseId;

use crate::base::BaseSource;
use crate::exit::BadInput;
use crate::output::Input;
use crate::progress::Report;

/// The base and the device, the same for every command that draws or trains.
#[derive(Debug, Args)]
pub struct ComputeArgs {
    /// The base: "bundled", or a diffusers folder
    #[arg(long, value_name = "bundled|FOLDER", default_value = "bundled")]
    base: BaseSource,
    /// Where to compute: auto, cpu, gpu, or gpu:NAME with a part of the adapter's name
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

impl ComputeArgs {
    /// The folder that is read, if it is one.
    pub fn input(&self) -> Option<Input<'_>> {
        match &self.base {
            BaseSource::Bundled => None,
            BaseSource::Folder(folder) => Some(("--base", folder.as_path())),
        }
    }

    /// Chooses the device and loads the base onto it.
    ///
    /// # Errors
    /// When there is no such device, or the base cannot be used.
    pub async fn load(&self, report: &mut Report) -> anyhow::Result<Base> {
        let compute = Compute::choose(&self.device)
            .await
            .map_err(EngineError::from)?;
        report.device(&compute);
        self.base.load(&compute, report).await
    }

    /// The base as a companion knows it.
    ///
    /// # Errors
    /// When a folder was given, or a device: both are the companion's to choose.
    pub fn remote_base(&self) -> Result<BaseId, BadInput> {
        if self.device != DeviceChoice::Auto {
            let why = "--device is the companion's to choose; leave it out, or start the companion with it.";
            return Err(BadInput(why.to_owned()));
        }
        match &self.base {
            BaseSource::Bundled => Ok(BaseId::bundled()),
            BaseSource::Folder(name) => {
                let name = name.display().to_string();
                BaseId::try_from(name).map_err(|error| BadInput(error.to_string()))
            }
        }
    }

    /// Prompts that the base draws and no bundled pair was made from.
    pub fn unseen_prompts(&self) -> Vec<String> {
        self.base.origin().unseen_prompts()
    }
}
