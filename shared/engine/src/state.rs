//! From where a job can go on: what is lost when a program ends, in numbers.
//!
//! A safetensors file: vectors as tensors, everything else in the metadata. Scalars are stored by
//! their bits, because a job that goes on must make the same file, bit for bit.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use mimeo_checkpoint::safetensors::write_f32;
use mimeo_checkpoint::{Array, CheckpointError, MemoryFile, SafetensorsFile};
use mimeo_lora::LoraNetwork;
use mimeo_protocol::{LeakPoint, Phase, TimestepRange};
use mimeo_train::{HealthState, LossScale, Moments, NoisePosition, TrainerState};
use serde::{Deserialize, Serialize};

use crate::base::read_back;
use crate::error::EngineError;
use crate::leak::LeakWatch;

const KEY: &str = "mimeo_training_state";
/// Raised when older states cannot be read any more; such a job starts anew.
const VERSION: u32 = 1;

/// The state of a job between two steps of a pass.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingState {
    scalars: Scalars,
    /// By name, all of the length of a LoRA.
    vectors: BTreeMap<String, Vec<f32>>,
}

/// A state that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file is damaged.
    #[error(transparent)]
    File(#[from] CheckpointError),
    /// It is no state, or one of another version of Mimeo.
    #[error("this is no saved state of this version of Mimeo; the job starts anew.")]
    Version,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Scalars {
    version: u32,
    phase: Phase,
    step: u32,
    updates: Option<usize>,
    noise_word: u64,
    noise_phase_bits: u64,
    forward_timesteps: Vec<usize>,
    mean_bits: u32,
    lowest_bits: u32,
    good_step: u32,
    /// Checks of the copier in a row that reached the goal.
    above: u32,
    /// Last copy fidelity, by its bits.
    fidelity_bits: Option<u64>,
    /// Steps of the copier that this job trained, once it is finished.
    copier_steps: Option<u32>,
    /// Readings of the leak meter: step, intended and unintended, by their bits.
    #[serde(default)]
    leak: Vec<(u32, u32, u32)>,
    /// Step of the weights that the meter would keep.
    #[serde(default)]
    best_step: Option<u32>,
    /// Timesteps of the pass, which the base may have chosen; none: of a state from before it could.
    #[serde(default)]
    timesteps: Option<TimestepRange>,
    /// Scale of the loss and good steps since it changed, by their bits; none: gradients need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    loss_scale: Option<[u32; 2]>,
}

/// What a pass knows beside its trainer.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct CopierWatch {
    /// Checks in a row that reached the goal.
    pub above: u32,
    /// Last measured.
    pub fidelity: Option<f64>,
}

const VALUES: &str = "values";
const GOOD_VALUES: &str = "good_values";
const FIRST_MOMENT: &str = "first_moment";
const SECOND_MOMENT: &str = "second_moment";
const COPIER: &str = "copier";
const BEST_VALUES: &str = "best_values";

impl TrainingState {
    /// Reads a trainer back from its device.
    ///
    /// - `copier`: the one that this job has finished, and its steps
    /// - `leak`: what the meter told, if there is one
    /// - `timesteps`: that are trained
    pub(crate) async fn of(
        phase: Phase,
        trainer: TrainerState,
        watch: CopierWatch,
        copier: Option<(&LoraNetwork, u32)>,
        leak: Option<&LeakWatch>,
        timesteps: TimestepRange,
    ) -> Result<Self, EngineError> {
        let mut vectors = BTreeMap::new();
        let health = trainer.health;
        let mut named = vec![(VALUES, trainer.values), (GOOD_VALUES, health.good_values)];
        let updates = trainer.moments.as_ref().map(|moments| moments.updates);
        if let Some(moments) = trainer.moments {
            named.push((FIRST_MOMENT, moments.first));
            named.push((SECOND_MOMENT, moments.second));
        }
        if let Some((network, _)) = copier {
            named.push((COPIER, network.frozen().flatten()));
        }
        let best = leak.and_then(|leak| leak.best.clone());
        let best_step = best.as_ref().map(|(step, _)| *step);
        if let Some((_, values)) = best {
            named.push((BEST_VALUES, values));
        }
        let points = leak.into_iter().flat_map(|leak| &leak.points);
        let points = points.map(|point| {
            let (intended, unintended) = (point.intended.to_bits(), point.unintended.to_bits());
            (point.step, intended, unintended)
        });
        for (name, tensor) in named {
            vectors.insert(name.to_owned(), read_back(tensor).await?);
        }
        let loss_scale = match trainer.loss_scale {
            Some(LossScale { factor, good }) => {
                let numbers = read_back(Tensor::cat(vec![factor, good], 0)).await?;
                let numbers: Option<[f32; 2]> = numbers.try_into().ok();
                numbers.map(|numbers| numbers.map(f32::to_bits))
            }
            None => None,
        };
        let scalars = Scalars {
            version: VERSION,
            phase,
            step: trainer.step,
            updates,
            noise_word: trainer.noise.word,
            noise_phase_bits: trainer.noise.phase.to_bits(),
            forward_timesteps: trainer.forward_timesteps,
            mean_bits: health.mean.to_bits(),
            lowest_bits: health.lowest.to_bits(),
            good_step: health.good_step,
            above: watch.above,
            fidelity_bits: watch.fidelity.map(f64::to_bits),
            copier_steps: copier.map(|(_, steps)| steps),
            leak: points.collect(),
            best_step,
            timesteps: Some(timesteps),
            loss_scale,
        };
        Ok(Self { scalars, vectors })
    }

    /// The pass that was running.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.scalars.phase
    }

    /// Steps done in it.
    #[must_use]
    pub const fn step(&self) -> u32 {
        self.scalars.step
    }

    /// As a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Numbers and a list: JSON can always hold them.
        let scalars = serde_json::to_string(&self.scalars).unwrap_or_default();
        let metadata = BTreeMap::from([(KEY.to_owned(), scalars)]);
        let arrays = self.vectors.iter().map(|(name, data)| {
            let shape = vec![data.len()];
            let data = data.clone();
            (name.clone(), Array { shape, data })
        });
        write_f32(arrays.collect(), &metadata)
    }

    /// From a file.
    ///
    /// # Errors
    /// [`StateError`] when it is damaged or of another version; the job can start anew.
    pub async fn from_bytes(bytes: Vec<u8>) -> Result<Self, StateError> {
        let file = MemoryFile::new("saved state", bytes);
        let file = SafetensorsFile::open(Box::new(file)).await?;
        let scalars = file.metadata().get(KEY).ok_or(StateError::Version)?;
        let scalars: Scalars =
            serde_json::from_str(scalars).map_err(|_unreadable| StateError::Version)?;
        if scalars.version != VERSION {
            return Err(StateError::Version);
        }
        let mut vectors = BTreeMap::new();
        for name in file.tensors().keys() {
            vectors.insert(name.clone(), file.read_f32(name).await?.data);
        }
        Ok(Self { scalars, vectors })
    }

    /// The trainer's part; none if a vector is missing.
    pub(crate) fn trainer(&self, device: &Device) -> Option<TrainerState> {
        let vector = |name: &str| self.vector(name, device);
        let scalars = &self.scalars;
        let moments = match scalars.updates {
            Some(updates) => Some(Moments {
                updates,
                first: vector(FIRST_MOMENT)?,
                second: vector(SECOND_MOMENT)?,
            }),
            None => None,
        };
        Some(TrainerState {
            step: scalars.step,
            values: vector(VALUES)?,
            moments,
            noise: NoisePosition {
                word: scalars.noise_word,
                phase: f64::from_bits(scalars.noise_phase_bits),
            },
            forward_timesteps: scalars.forward_timesteps.clone(),
            health: HealthState {
                mean: f32::from_bits(scalars.mean_bits),
                lowest: f32::from_bits(scalars.lowest_bits),
                good_step: scalars.good_step,
                good_values: vector(GOOD_VALUES)?,
            },
            loss_scale: scalars.loss_scale.map(|bits| {
                let numbers = bits.map(f32::from_bits);
                LossScale::from_numbers(numbers, device)
            }),
        })
    }

    pub(crate) fn watch(&self) -> CopierWatch {
        CopierWatch {
            above: self.scalars.above,
            fidelity: self.scalars.fidelity_bits.map(f64::from_bits),
        }
    }

    /// What the leak meter had told.
    pub(crate) fn leak(&self, device: &Device) -> LeakWatch {
        let points = self.scalars.leak.iter();
        let points = points.map(|(step, intended, unintended)| LeakPoint {
            step: *step,
            intended: f32::from_bits(*intended),
            unintended: f32::from_bits(*unintended),
        });
        let best = self.scalars.best_step.zip(self.vector(BEST_VALUES, device));
        LeakWatch {
            points: points.collect(),
            best,
        }
    }

    /// The timesteps of the pass that was running, if the state knows them.
    pub(crate) const fn timesteps(&self) -> Option<TimestepRange> {
        self.scalars.timesteps
    }

    /// The copier that this job had finished, over a fresh network of its shape, and its steps.
    pub(crate) fn copier(
        &self,
        fresh: &LoraNetwork,
        device: &Device,
    ) -> Option<(LoraNetwork, u32)> {
        let steps = self.scalars.copier_steps?;
        let values = self.vector(COPIER, device)?;
        let fits = values.dims() == [fresh.num_params()];
        fits.then(|| (fresh.with_values(&values), steps))
    }

    fn vector(&self, name: &str, device: &Device) -> Option<Tensor<1>> {
        let data = self.vectors.get(name)?.clone();
        let shape = [data.len()];
        Some(Tensor::from_data(TensorData::new(data, shape), device))
    }
}
