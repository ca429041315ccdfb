//! What a step costs beside its arithmetic on a GPU: every dispatch, submission and readback of one.
//!
//! Counted with all blocks of Stable Diffusion 1.5 at a tenth of their widths, which have as many operations
//! as the real ones. wgpu tells of each through `log`, so any adapter counts the same.

use std::fmt;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{Device, Tensor};
use mimeo_checkpoint::UNetConfig;
use mimeo_diffusion::{Arithmetic, Conditioning, UNet2DConditionModel, WeightFormat, WeightMap};
use mimeo_lora::LoraNetwork;
use mimeo_protocol::{BatchSize, Rank};
use mimeo_train::loss::MaskWeights;
use mimeo_train::{Dataset, Example, Model, NoiseRng, Objective, Pair, Trainer};
use pollster::block_on;

use crate::gpu::adapter;
use crate::support::close::say;
use crate::support::models::base;
use crate::support::scene::{addift, masked_with_prior, pass};

/// All blocks of Stable Diffusion 1.5, which is diffusers' default, at a tenth of their widths.
const CONFIG: &str = r#"{
    "sample_size": 16,
    "block_out_channels": [32, 64, 128, 128],
    "cross_attention_dim": 32
}"#;
/// Height and width of the latent.
const SIDE: usize = 16;
/// Tokens of a prompt, and how wide they are.
const PROMPT: [usize; 3] = [1, 77, 32];

/// What wgpu has done.
#[derive(Debug, Clone, Copy)]
struct Counts {
    dispatches: usize,
    submissions: usize,
    readbacks: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            dispatches,
            submissions,
            readbacks,
        } = self;
        write!(
            out,
            "{dispatches} dispatches in {submissions} submissions, {readbacks} readbacks"
        )
    }
}

/// Counts the lines that wgpu writes of itself.
struct Counter {
    dispatches: AtomicUsize,
    submissions: AtomicUsize,
    readbacks: AtomicUsize,
}

static COUNTER: Counter = Counter {
    dispatches: AtomicUsize::new(0),
    submissions: AtomicUsize::new(0),
    readbacks: AtomicUsize::new(0),
};

impl Counter {
    /// What has been counted since the first call.
    fn read(&self) -> Counts {
        static SET: Once = Once::new();
        SET.call_once(|| {
            log::set_logger(&COUNTER).unwrap();
            log::set_max_level(log::LevelFilter::Trace);
        });
        Counts {
            dispatches: self.dispatches.load(Ordering::Relaxed),
            submissions: self.submissions.load(Ordering::Relaxed),
            readbacks: self.readbacks.load(Ordering::Relaxed),
        }
    }
}

impl log::Log for Counter {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("wgpu_core")
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = record.args().to_string();
        let count = if line.starts_with("ComputePass::dispatch") {
            &self.dispatches
        } else if line == "Queue::submit" {
            &self.submissions
        } else if line.starts_with("Buffer::map_async") && line.contains("Read") {
            &self.readbacks
        } else {
            return;
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn flush(&self) {}
}

/// What one step of an objective does, the ones before it having compiled all programs.
fn count(unet: &UNet2DConditionModel, device: &Device, objective: Objective<'_>) -> Counts {
    let mut rng = NoiseRng::new(15, 1);
    let mut latent = || rng.normal([1, 4, SIDE, SIDE], device);
    let (original, target) = (latent(), latent());
    let prompt: Tensor<4> = rng.normal([1, PROMPT[0], PROMPT[1], PROMPT[2]], device);
    let prompt: Tensor<3> = prompt.reshape(PROMPT);
    // Half of it masked.
    let left = Tensor::<4>::ones([1, 1, SIDE, SIDE / 2], device);
    let mask = Tensor::cat(vec![left.clone(), left.zeros_like()], 3);
    let outside = (SIDE * SIDE / 2) as f64;
    let weights = MaskWeights::new(&mask, 4, outside, &masked_with_prior());
    let example = Example {
        pair: Pair {
            original,
            target,
            mask,
            conditioning: Conditioning::from(prompt),
        },
        weights,
        level: 1.0,
        uncaptioned: None,
    };
    let examples = [example];
    let mut pass = pass(BatchSize::constant(1));
    pass.rank = Rank::constant(4);
    let network = LoraNetwork::new(unet.targets(), 4, 4.0, rng.rng(), device);
    let schedule = base().model().schedule;
    let mut trainer = Trainer::new(
        Model {
            unet,
            schedule,
            tape: None,
        },
        Dataset::new(&examples, 0, 0.0).unwrap(),
        objective,
        &pass,
        network,
        NoiseRng::new(17, 0),
    );
    let mut step = || {
        let before = COUNTER.read();
        block_on(trainer.step()).unwrap();
        let after = COUNTER.read();
        Counts {
            dispatches: after.dispatches - before.dispatches,
            submissions: after.submissions - before.submissions,
            readbacks: after.readbacks - before.readbacks,
        }
    };
    step();
    step();
    step()
}

#[test]
#[ignore = "takes minutes on a software adapter: `cargo test --workspace --test parity dispatches -- --ignored --nocapture`"]
fn a_step_of_sd15s_blocks_is_few_dispatches() {
    let Some((device, _turn)) = adapter("the number of dispatches") else {
        return;
    };
    let mut weights = WeightMap::random(&device, WeightFormat::of_unet(&device, Arithmetic::F32));
    let config = UNetConfig::from_json(CONFIG).unwrap();
    let unet = UNet2DConditionModel::load(&config, &mut weights).unwrap();
    let recipe = addift();
    for (name, objective, most) in [
        ("plain", Objective::Plain, 6700),
        ("addift", Objective::Addift(&recipe), 6700),
    ] {
        let counts = count(&unet, &device, objective);
        say(&format!("a step of {name}: {counts}"));
        assert!(
            counts.dispatches <= most,
            "a step of {name} is {counts}, and {most} dispatches are allowed"
        );
    }
}
