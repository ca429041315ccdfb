//! Which base, on which device.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use mimeo_checkpoint::PredictionType;
use mimeo_engine::{Base, Compute, DeviceChoice, EngineError};
use mimeo_protocol::{BaseId, Recipe};

use crate::base::{BaseSource, Said};
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
    /// What the base predicts, where its files do not say it or say it wrongly
    #[arg(long, value_name = "TYPE")]
    prediction_type: Option<Prediction>,
    /// Whether the base's schedule ends in pure noise (zero terminal SNR), likewise
    #[arg(long, value_name = "true|false")]
    zero_terminal_snr: Option<bool>,
    /// Where to compute: auto, cpu, gpu, or gpu:NAME with a part of the adapter's name
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

/// What a base predicts, in diffusers' words.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Prediction {
    /// The noise
    Epsilon,
    /// The velocity
    #[value(name = "v_prediction", alias = "v")]
    VPrediction,
}

impl From<Prediction> for PredictionType {
    fn from(prediction: Prediction) -> Self {
        match prediction {
            Prediction::Epsilon => Self::Epsilon,
            Prediction::VPrediction => Self::VPrediction,
        }
    }
}

impl ComputeArgs {
    /// What is read from disk.
    pub fn inputs(&self) -> impl Iterator<Item = Input<'_>> {
        let base = match &self.base {
            BaseSource::Bundled => None,
            BaseSource::Path(path) => Some(("--base", path.as_path())),
        };
        let vae = self.vae.as_deref().map(|vae| ("--vae", vae));
        base.into_iter().chain(vae)
    }

    fn said(&self) -> Said {
        Said {
            vae: self.vae.clone(),
            prediction_type: self.prediction_type.map(PredictionType::from),
            zero_terminal_snr: self.zero_terminal_snr,
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
        self.base.load_as(&self.said(), &compute, report).await
    }

    /// The base as a companion knows it.
    ///
    /// # Errors
    /// When something was given that is the companion's to choose: its files, a device.
    pub fn remote_base(&self) -> Result<BaseId, BadInput> {
        if self.device != DeviceChoice::Auto {
            let why = "--device is the companion's to choose; leave it out, or start the companion with it.";
            return Err(BadInput(why.to_owned()));
        }
        if self.said() != Said::default() {
            let why = "--vae, --prediction-type and --zero-terminal-snr are for bases of this computer; leave them out, or train without --remote.";
            return Err(BadInput(why.to_owned()));
        }
        match &self.base {
            BaseSource::Bundled => Ok(BaseId::bundled()),
            BaseSource::Path(name) => {
                let name = name.display().to_string();
                BaseId::try_from(name).map_err(|error| BadInput(error.to_string()))
            }
        }
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
