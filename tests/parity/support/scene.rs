//! What the training fixtures start from (`tests/reference/parity/train.py`, class `Step`).

use burn::tensor::Device;
use mimeo_lora::{LoraNetwork, Targets};
use mimeo_protocol::{
    Accumulation, AddiftLoss, AddiftRecipe, Alpha, BatchSize, ClipNorm, Gamma, LearningRate,
    LrSchedule, MaskRecipe, Method, ModelSize, Multiplier, Pass, Rank, Recipe, Share, Steps,
    TimestepRange, Warmup, Weight, WeightDecay,
};
use mimeo_train::loss::MaskWeights;
use mimeo_train::{Draw, Example, Pair};

use super::fixture::Fixture;
use super::lora;
use super::models::cpu;

/// alpha of the fixtures' LoRAs, whose rank is 2.
pub const ALPHA: f64 = 2.0;
pub const GAMMA: Gamma = Gamma::constant(5.0);
pub const CLIP_NORM: ClipNorm = ClipNorm::constant(1.0);
pub const LEARNING_RATE: f64 = 1e-3;
pub const WEIGHT_DECAY: f64 = 1e-2;

/// The first pair of glasses as the reference encoded it, one draw of noise, two LoRAs.
pub struct Scene {
    /// The fixture itself.
    pub inputs: Fixture,
    /// Both pictures under two prompts at once, one for each sample of the batch.
    pub pair: Pair,
    /// A batch of two.
    pub draw: Draw,
    /// Σ (1 - mask)
    pub outside: f64,
    device: Device,
}

impl Scene {
    /// Puts the inputs for the bundled base on a device.
    pub fn new(device: &Device) -> Self {
        Self::read("train_inputs.safetensors", device)
    }

    /// Puts the inputs for the base in miniature on the CPU.
    pub fn micro() -> Self {
        Self::micro_on(&cpu())
    }

    /// The same on a device.
    pub fn micro_on(device: &Device) -> Self {
        Self::read("train_micro_inputs.safetensors", device)
    }

    /// Puts the inputs for a family in miniature on the CPU.
    pub fn family(name: &str) -> Self {
        Self::read(&format!("families/{name}_train.safetensors"), &cpu())
    }

    fn read(file: &str, device: &Device) -> Self {
        let inputs = Fixture::read(file);
        let mask = inputs.floats("latent_mask");
        Self {
            pair: Pair {
                original: inputs.tensor("original_latent", device),
                target: inputs.tensor("target_latent", device),
                mask: inputs.tensor("latent_mask", device),
                conditioning: inputs.conditioning("encoder_hidden_states", device),
            },
            draw: Draw {
                noise: inputs.tensor("noise", device),
                timesteps: inputs.timesteps("timesteps"),
            },
            outside: mask.iter().map(|weight| 1.0 - f64::from(*weight)).sum(),
            inputs,
            device: device.clone(),
        }
    }

    /// The mask as a recipe uses it.
    pub fn weights(&self, recipe: &MaskRecipe) -> MaskWeights {
        MaskWeights::new(&self.pair.mask, 4, self.outside, recipe)
    }

    /// The LoRA that is trained.
    pub fn difference(&self, targets: &Targets) -> LoraNetwork {
        lora::network(targets, &self.inputs, "difference.", ALPHA, &self.device)
    }

    /// The LoRA below it.
    pub fn copier(&self, targets: &Targets) -> LoraNetwork {
        lora::network(targets, &self.inputs, "copier.", ALPHA, &self.device)
    }

    /// The pair under the first of the two prompts, for batches of any size.
    pub fn pair_of_one_prompt(&self) -> Pair {
        let conditioning = self.pair.conditioning.rows(0..1);
        Pair {
            conditioning,
            ..self.pair.clone()
        }
    }

    /// That pair as it is trained on.
    pub fn examples(&self, recipe: &MaskRecipe) -> [Example; 1] {
        [Example {
            pair: self.pair_of_one_prompt(),
            weights: self.weights(recipe),
            level: 1.0,
            uncaptioned: None,
        }]
    }
}

/// The mask as `plain` and the copier's second pass use it.
pub fn masked_with_prior() -> MaskRecipe {
    MaskRecipe {
        prior_weight: Weight::constant(0.5),
        ..masked()
    }
}

/// The mask as `addift` uses it.
pub fn masked() -> MaskRecipe {
    MaskRecipe {
        unmasked_weight: Share::constant(0.1),
        prior_weight: Weight::constant(0.0),
        ..Recipe::preset(Method::Addift, ModelSize::Small).mask
    }
}

/// `addift` at multiplier 0.5, each direction in turn.
pub fn addift() -> AddiftRecipe {
    AddiftRecipe {
        multiplier: Multiplier::constant(0.5),
        antisymmetric: true,
        preservation: Weight::constant(0.0),
        loss: AddiftLoss::Prediction,
    }
}

/// A pass with the numbers of the fixtures.
pub fn pass(batch_size: BatchSize) -> Pass {
    Pass {
        rank: Rank::constant(2),
        alpha: Alpha::constant(ALPHA),
        steps: Steps::constant(3),
        batch_size,
        accumulation: Accumulation::constant(1),
        learning_rate: LearningRate::constant(LEARNING_RATE),
        schedule: LrSchedule::Constant,
        warmup: Warmup::constant(0),
        weight_decay: WeightDecay::constant(WEIGHT_DECAY),
        clip_norm: Some(CLIP_NORM),
        min_snr_gamma: Some(GAMMA),
        timesteps: TimestepRange::ALL,
    }
}
