//! Where a LoRA is trained and where it goes, the same for every command that trains one.

use std::path::PathBuf;

use clap::Args;
use mimeo_engine::memory::RecomputeChoice;
use mimeo_engine::{Base, Compute, DeviceChoice, EngineError, PreparedJob, Recompute};

use super::base::ComputeArgs;
use crate::exit::BadInput;
use crate::output::{Claims, Existing, Format, Input, OutFile};
use crate::service::Memory;

/// Where it is trained, and where it goes.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Where to write the LoRA
    #[arg(long, value_name = "x.safetensors")]
    pub out: PathBuf,
    /// Compute layers of the UNet twice instead of keeping them, which takes less memory and more time:
    /// auto (as few as are needed to fit), off, or on. It makes the same LoRA
    #[arg(long, default_value = "auto")]
    recompute: RecomputeChoice,
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

    /// How much of the UNet a job computes twice on a device.
    ///
    /// # Errors
    /// When the base does not train at the job's size.
    pub fn recompute(
        &self,
        (base, compute): (&Base, &Compute),
        job: &PreparedJob,
    ) -> Result<Recompute, EngineError> {
        let sizes = job.sizes(base)?;
        let room = Memory::of(compute, None, self.recompute).room();
        Ok(base.shape().recompute(
            room.recompute,
            &job.recipe,
            &sizes,
            base.place(),
            room.available_bytes,
        ))
    }

    /// Claims the place of the LoRA; the answer claims those of other results.
    ///
    /// - `inputs`: what is read beside the base
    ///
    /// # Errors
    /// As [`Claims::claim`]; when something was given that is the companion's to choose.
    pub fn claim<'a>(
        &'a self,
        mut inputs: Vec<Input<'a>>,
    ) -> Result<(OutFile, Claims<'a>), BadInput> {
        if self.remote.is_some() && self.recompute != RecomputeChoice::Auto {
            let why = "--recompute is the companion's to choose; leave it out, or start the companion with it.";
            return Err(BadInput(why.to_owned()));
        }
        if self.remote.is_none() {
            inputs.extend(self.compute.inputs());
        }
        let mut claims = Claims::new(Existing::from(self.overwrite), inputs);
        let lora = claims.claim(&self.out, Format::Lora)?;
        Ok((lora, claims))
    }
}
