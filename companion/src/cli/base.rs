//! Which base, on which device.

use clap::Args;
use mimeo_engine::{Base, Compute, DeviceChoice, EngineError};

use crate::base::BaseSource;
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

    /// Prompts that the base draws and no bundled pair was made from.
    pub fn unseen_prompts(&self) -> Vec<String> {
        self.base.unseen_prompts()
    }
}
