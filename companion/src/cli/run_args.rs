//! Where a LoRA is trained and where it goes, the same for every command that trains one.

use std::path::PathBuf;

use clap::Args;
use mimeo_engine::DeviceChoice;

use super::base::ComputeArgs;
use crate::exit::BadInput;
use crate::output::{Claims, Existing, Format, Input, OutFile};

/// Where it is trained, and where it goes.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Where to write the LoRA
    #[arg(long, value_name = "x.safetensors")]
    pub out: PathBuf,
    /// Replace files that exist
    #[arg(long)]
    overwrite: bool,
    /// Let a running companion do it, such as ws://127.0.0.1:7878; --base and --vae are then ids of its own
    #[arg(long, value_name = "URL")]
    remote: Option<String>,
    /// With --remote: the token of a companion on the network
    #[arg(long, env = "MIMEO_TOKEN", hide_env_values = true, requires = "remote")]
    token: Option<String>,
}

impl RunArgs {
    /// Where it is to be computed; none if a companion does it.
    pub fn device(&self) -> Option<&DeviceChoice> {
        self.remote.is_none().then(|| self.compute.device())
    }

    /// The companion that is to do it, and its token.
    pub fn companion(&self) -> Option<(&str, Option<&str>)> {
        let url = self.remote.as_deref()?;
        Some((url, self.token.as_deref()))
    }

    /// Claims the place of the LoRA; the answer claims those of other results.
    ///
    /// - `inputs`: what is read beside the base
    ///
    /// # Errors
    /// As [`Claims::claim`].
    pub fn claim<'a>(
        &'a self,
        mut inputs: Vec<Input<'a>>,
    ) -> Result<(OutFile, Claims<'a>), BadInput> {
        if self.remote.is_none() {
            inputs.extend(self.compute.inputs());
        }
        let mut claims = Claims::new(Existing::from(self.overwrite), inputs);
        let lora = claims.claim(&self.out, Format::Lora)?;
        Ok((lora, claims))
    }
}
