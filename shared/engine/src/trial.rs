//! Training steps on a UNet of a real model's sizes that nobody trained: what a device does with them can be
//! measured where there is no checkpoint.

use std::str::FromStr;

use burn::tensor::{Device, Tensor};
use mimeo_checkpoint::{SchedulerConfig, UNetConfig, VaeConfig};
use mimeo_diffusion::{
    Conditioning, NoiseSchedule, Recompute, UNet2DConditionModel, WeightFormat, WeightMap,
};
use mimeo_lora::LoraNetwork;
use mimeo_protocol::{BatchSize, Method, ModelSize, Rank, Recipe, Resolution};
use mimeo_train::loss::MaskWeights;
use mimeo_train::slider::Slider;
use mimeo_train::states::States;
use mimeo_train::{Dataset, Example, Model, NoiseRng, Objective, Pair, Trainer};

use crate::error::EngineError;
use crate::memory::{BaseShape, MemoryNeed, Place, RecomputeChoice};
use crate::runtime::{Compute, Stopwatch};

/// diffusers' defaults, but for the prompt's width.
pub(crate) const SD1: &str = r#"{"sample_size": 64, "cross_attention_dim": 768}"#;
pub(crate) const SDXL: &str = r#"{
    "sample_size": 128,
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048,
    "use_linear_projection": true,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816
}"#;
/// That of every Stable Diffusion; no weights are made of it.
pub(crate) const VAE: &str = r#"{
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
    "latent_channels": 4
}"#;
/// Pixels per latent along a side.
const DOWNSCALE: u32 = 8;
/// Tokens of a prompt of one chunk.
const TOKENS: usize = 77;
/// States of a slider: more than a batch takes, so that rows differ.
const STATES: usize = 16;

/// Whose sizes a UNet has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrialFamily {
    /// Stable Diffusion 1.5.
    Sd1,
    /// Stable Diffusion XL.
    Sdxl,
}

impl FromStr for TrialFamily {
    type Err = UnknownFamily;

    fn from_str(text: &str) -> Result<Self, UnknownFamily> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|family| family.name() == text);
        found.ok_or_else(|| UnknownFamily {
            found: text.to_owned(),
        })
    }
}

/// No family whose sizes are known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is none of sd1 and sdxl.")]
pub struct UnknownFamily {
    found: String,
}

impl TrialFamily {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Sd1, Self::Sdxl];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sd1 => "sd1",
            Self::Sdxl => "sdxl",
        }
    }

    const fn config(self) -> &'static str {
        match self {
            Self::Sd1 => SD1,
            Self::Sdxl => SDXL,
        }
    }

    const fn size(self) -> ModelSize {
        match self {
            Self::Sd1 => ModelSize::Sd1,
            Self::Sdxl => ModelSize::Xl,
        }
    }
}

/// Which steps are taken.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    /// Of which method; of the copier the second pass, which does more.
    pub method: Method,
    /// Width and height of the pictures, brought to a multiple of 64.
    pub resolution: Resolution,
    /// Rows of a step.
    pub batch_size: BatchSize,
    /// Of the LoRA.
    pub rank: Rank,
    /// How many.
    pub steps: u32,
    /// Whether layers are run again.
    pub recompute: RecomputeChoice,
}

/// What is planned for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrialPlan {
    /// How much of the UNet is run again.
    pub recompute: Recompute,
    /// What it takes, of the UNet and its training alone.
    pub need: MemoryNeed,
}

/// How they went.
#[derive(Debug, Clone)]
pub struct Tried {
    /// How long each took, in their order.
    pub secs: Vec<f64>,
    /// What the device's pools held at the end; none on the CPU.
    pub reserved_bytes: Option<u64>,
}

/// A UNet with random weights, on a device.
pub struct TrialBase {
    family: TrialFamily,
    unet: UNet2DConditionModel,
    config: UNetConfig,
    schedule: NoiseSchedule,
    shape: BaseShape,
    device: Device,
}

impl TrialBase {
    /// Whose sizes it has.
    #[must_use]
    pub const fn family(&self) -> TrialFamily {
        self.family
    }

    /// Levels that can be run again.
    #[must_use]
    pub fn levels(&self) -> usize {
        self.shape.levels()
    }

    /// Makes it, its weights in the format in which the device gets those of a file of F16.
    ///
    /// # Errors
    /// [`EngineError`] when it cannot be made, which would be a mistake of Mimeo's.
    pub fn new(family: TrialFamily, compute: &Compute) -> Result<Self, EngineError> {
        Self::of(family, family.config(), compute)
    }

    fn of(family: TrialFamily, config: &str, compute: &Compute) -> Result<Self, EngineError> {
        let config = UNetConfig::from_json(config)?;
        let device = &compute.device;
        let format = WeightFormat::of_unet(device, compute.arithmetic.of(device, true));
        let mut weights = WeightMap::random(device, format);
        let unet = UNet2DConditionModel::load(&config, &mut weights)?;
        Ok(Self {
            family,
            unet,
            shape: BaseShape::of_unet(config.clone(), VaeConfig::from_json(VAE)?, weights.made()),
            config,
            schedule: NoiseSchedule::new(&SchedulerConfig::default()),
            device: device.clone(),
        })
    }

    /// Where its UNet computes, and in what.
    #[must_use]
    pub const fn place(&self) -> Place<'_> {
        Place {
            device: &self.device,
            arithmetic: self.unet.arithmetic(),
        }
    }

    /// What steps would take.
    ///
    /// - `available_bytes`: of the device, where that is known
    #[must_use]
    pub fn plan(&self, trial: &Trial, available_bytes: Option<u64>) -> TrialPlan {
        let (recipe, shape) = (self.recipe(trial), &self.shape);
        let place = self.place();
        let choice = trial.recompute;
        let recompute = shape.recompute(choice, &recipe, &[], place, available_bytes);
        let need = shape.training_need(&recipe, &[], place, recompute);
        TrialPlan { recompute, need }
    }

    /// Takes steps from a fresh LoRA.
    ///
    /// - `each`: hears how many were taken
    ///
    /// # Errors
    /// [`EngineError`] when nothing can be trained at that size, or the device fails.
    pub async fn steps(
        &self,
        trial: &Trial,
        recompute: Recompute,
        mut each: impl FnMut(u32),
    ) -> Result<Tried, EngineError> {
        let (recipe, device) = (self.recipe(trial), &self.device);
        let side = trial.resolution.get();
        let side = self.shape.fit(&recipe, (side, side))?.width();
        let mut rng = NoiseRng::new(0, 0);
        let network = |rng: &mut NoiseRng| {
            let (rank, alpha) = (trial.rank.get() as usize, f64::from(trial.rank.get()));
            LoraNetwork::new(self.unet.targets(), rank, alpha, rng.rng(), device)
        };
        let (copier, lora) = (network(&mut rng), network(&mut rng));
        let example = self.example(side, &recipe, &mut rng);
        let states = self.states(&example.pair, &mut rng);
        let slider = Slider {
            changed: states,
            kept: Vec::new(),
        };
        let objective = match trial.method {
            Method::Copier => Objective::Difference {
                copier: &copier,
                strength: 1.0,
            },
            Method::Addift => Objective::Addift(&recipe.addift),
            Method::Plain => Objective::Plain,
            Method::Slider => Objective::Slider(&slider),
        };
        let model = Model {
            unet: &self.unet,
            schedule: &self.schedule,
            tape: None,
        };
        let examples = [example];
        let dataset = Dataset::new(&examples, 0, 0.0)?;
        let trainer = Trainer::new(model, dataset, objective, &recipe.pass, lora, rng);
        let mut trainer = trainer.recomputing(recompute);
        let mut secs = Vec::with_capacity(trial.steps as usize);
        for step in 1..=trial.steps {
            let watch = Stopwatch::start();
            trainer.step().await?;
            secs.push(watch.secs());
            each(step);
        }
        let usage = device.memory_pool_usage();
        Ok(Tried {
            secs,
            reserved_bytes: usage.map(|usage| usage.bytes_reserved),
        })
    }

    /// The preset with the trial's numbers.
    fn recipe(&self, trial: &Trial) -> Recipe {
        let mut recipe = Recipe::preset(trial.method, self.family.size());
        for pass in [&mut recipe.pass, &mut recipe.copier.pass] {
            (pass.rank, pass.batch_size) = (trial.rank, trial.batch_size);
        }
        recipe.resolution = Some(trial.resolution);
        recipe
    }

    /// A pair of noises, changed in the left half.
    ///
    /// - `pixels`: its side
    fn example(&self, pixels: u32, recipe: &Recipe, rng: &mut NoiseRng) -> Example {
        let (device, side) = (&self.device, (pixels / DOWNSCALE) as usize);
        let channels = self.config.in_channels;
        let half = Tensor::<4>::ones([1, 1, side, side / 2], device);
        let mask = Tensor::cat(vec![half.clone(), half.zeros_like()], 3);
        let outside = (side * side / 2) as f64;
        let mut latent = || rng.normal([1, channels, side, side], device);
        let pair = Pair {
            original: latent(),
            target: latent(),
            conditioning: self.conditioning(pixels, rng),
            mask,
        };
        Example {
            weights: MaskWeights::new(&pair.mask, channels, outside, &recipe.mask),
            pair,
            level: 1.0,
            uncaptioned: None,
        }
    }

    fn conditioning(&self, side: u32, rng: &mut NoiseRng) -> Conditioning {
        let width = self.config.cross_attention_dim();
        let hidden_states = rng.normal([1, 1, TOKENS, width], &self.device);
        let text_time = self.config.text_time();
        let pooled = text_time.map(|text_time| {
            let width = text_time.pooled_width;
            let pooled = rng.normal([1, 1, 1, width], &self.device);
            Box::new(pooled.reshape([1, width]))
        });
        Conditioning {
            hidden_states: hidden_states.reshape([1, TOKENS, width]),
            size: pooled
                .as_ref()
                .map(|_| vec![[side, side, 0, 0, side, side]]),
            pooled,
        }
    }

    fn states(&self, pair: &Pair, rng: &mut NoiseRng) -> States {
        let [_, channels, rows, columns] = pair.original.dims();
        let mut noise = || rng.normal([STATES, channels, rows, columns], &self.device);
        let (noisy, answer, change) = (noise(), noise(), noise());
        States {
            conditioning: pair.conditioning.clone(),
            noisy,
            timesteps: (0..STATES)
                .map(|state| state * self.schedule.len() / STATES)
                .collect(),
            answer,
            change: Some(change),
        }
    }
}

/// Numbers that a device multiplies and adds in a second in a plain product of two matrices: the best of a few.
///
/// # Errors
/// [`EngineError::Readback`] when the device fails.
pub async fn products_per_sec(device: &Device) -> Result<f64, EngineError> {
    const SIDE: usize = 2048;
    const TRIES: usize = 5;
    let mut rng = NoiseRng::new(1, 0);
    let mut matrix = || {
        let numbers = rng.normal([1, 1, SIDE, SIDE], device);
        numbers.reshape::<2, _>([SIDE, SIDE])
    };
    let (left, right) = (matrix(), matrix());
    let mut best = f64::INFINITY;
    for _ in 0..TRIES {
        let watch = Stopwatch::start();
        let product = left.clone().matmul(right.clone());
        // The device is done when a number is here.
        crate::base::read_back(product.narrow(0, 0, 1)).await?;
        best = best.min(watch.secs());
    }
    Ok((SIDE * SIDE * SIDE) as f64 / best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{self, ArithmeticChoice, DeviceChoice};

    /// As XL, in small.
    const SMALL: &str = r#"{
        "sample_size": 16,
        "block_out_channels": [32, 64],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "transformer_layers_per_block": [1, 2],
        "attention_head_dim": [2, 4],
        "cross_attention_dim": 48,
        "use_linear_projection": true,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 64
    }"#;

    #[test]
    fn every_method_takes_its_steps_on_weights_that_nobody_trained() {
        let compute = Compute::choose(&DeviceChoice::Cpu, ArithmeticChoice::Auto);
        let compute = runtime::block_on(compute).unwrap();
        let base = TrialBase::of(TrialFamily::Sdxl, SMALL, &compute).unwrap();
        for method in Method::ALL {
            let trial = Trial {
                method,
                resolution: Resolution::constant(64),
                batch_size: BatchSize::constant(2),
                rank: Rank::constant(2),
                steps: 3,
                recompute: RecomputeChoice::Auto,
            };
            let plan = base.plan(&trial, Some(u64::MAX));
            assert_eq!(
                plan.recompute,
                Recompute::NOTHING,
                "{method}: there is room"
            );
            let sparing = base.plan(&trial, Some(0));
            assert_eq!(
                sparing.recompute,
                Recompute::EVERYTHING,
                "{method}: there is none"
            );
            assert!(
                sparing.need.total_bytes() < plan.need.total_bytes(),
                "{method}"
            );
            for plan in [plan, sparing] {
                let mut heard = Vec::new();
                // A loss that is no number would end it.
                let steps = base.steps(&trial, plan.recompute, |done| heard.push(done));
                let tried = runtime::block_on(steps).unwrap();
                assert_eq!(tried.secs.len(), 3, "{method}: steps");
                assert_eq!(heard, [1, 2, 3], "{method}: told");
            }
        }
    }

    #[test]
    fn families_are_told_by_their_names() {
        for family in TrialFamily::ALL {
            assert_eq!(family.name().parse(), Ok(family), "its own name");
            assert!(UNetConfig::from_json(family.config()).is_ok(), "its sizes");
        }
        let unknown = "sd3".parse::<TrialFamily>().unwrap_err().to_string();
        assert!(unknown.contains("\"sd3\""), "{unknown}");
    }
}
