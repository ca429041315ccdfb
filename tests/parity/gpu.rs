//! Training through wgpu beside training on the CPU.
//!
//! Mesa's llvmpipe runs the same WGSL as a real driver, slowly: about half a minute of pipeline
//! compilation, then a second or two per step. So there is one test with every step in it, and one for
//! the kernels; they take turns, because `dispatches` counts what the whole process does.

use std::io::Write as _;
use std::sync::{Mutex, MutexGuard};

use burn::tensor::Device;
use mimeo_diffusion::{Arithmetic, WeightFormat};
use mimeo_engine::{ArithmeticChoice, Base, Compute, DeviceChoice, Recompute};
use mimeo_protocol::BatchSize;
use mimeo_train::{Dataset, NoiseRng, Objective, StepReport, Trainer};
use pollster::block_on;

use crate::support::close::{Tolerance, assert_together, assert_values_close, values};
use crate::support::models::{base, cpu, load_base};
use crate::support::scene::{Scene, addift, masked_with_prior, pass};

/// The device to test on, where this says no other.
const DEVICE: &str = "gpu:llvmpipe";
const OTHER_DEVICE: &str = "MIMEO_TEST_DEVICE";
/// Without this, a machine without the adapter skips the test.
const REQUIRE_GPU: &str = "MIMEO_REQUIRE_GPU";

/// Sums in another order, and WGSL's own exp and sqrt: 7.1e-6 measured.
const LOSS: Tolerance = Tolerance::rel(3e-5);
/// As the loss: 2.3e-5 measured.
const GRAD_NORM: Tolerance = Tolerance::rel(9e-5);
/// Distance of the two LoRAs as a share of the way that they were trained: 2.5e-3 measured.
///
/// Value by value would say nothing: Adam moves a value by the learning rate even where its
/// gradient is hardly more than rounding, in the direction of that rounding.
const MOVED: f64 = 1e-2;

/// The adapter, to nobody else meanwhile; none where there is none and none has to be.
pub fn adapter(what: &str) -> Option<(Device, MutexGuard<'static, ()>)> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(|failed| failed.into_inner());
    let device = std::env::var(OTHER_DEVICE).unwrap_or_else(|_| DEVICE.to_owned());
    let choice: DeviceChoice = device.parse().unwrap();
    match block_on(Compute::choose(&choice, ArithmeticChoice::Auto)) {
        Ok(compute) => Some((compute.device, turn)),
        Err(error) => {
            let required = std::env::var(REQUIRE_GPU).is_ok_and(|value| value == "1");
            assert!(!required, "{REQUIRE_GPU} is 1, but {error}");
            // Not captured by the test harness, unlike `eprintln!`.
            let line = format!("\nSKIPPED: {what} was not tested: {error}\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            None
        }
    }
}

/// Steps of an objective from the fixtures' LoRA, and how far they moved its values.
fn train(
    base: &Base,
    device: &Device,
    objective: Objective<'_>,
    recompute: Recompute,
    steps: usize,
) -> (Vec<StepReport>, Vec<f32>) {
    let scene = Scene::new(device);
    let (examples, pass) = (
        scene.examples(&masked_with_prior()),
        pass(BatchSize::constant(1)),
    );
    let start = scene.difference(base.unet.targets());
    let dataset = Dataset::new(&examples, 0, 0.0).unwrap();
    let (model, rng) = (base.model(), NoiseRng::new(17, 0));
    let trainer = Trainer::new(model, dataset, objective, &pass, start.clone(), rng);
    let mut trainer = trainer.recomputing(recompute);
    let reports = (0..steps)
        .map(|_| block_on(trainer.step()).unwrap())
        .collect();
    (
        reports,
        values(trainer.network().flatten() - start.flatten()),
    )
}

#[test]
fn training_on_wgpu_equals_training_on_the_cpu() {
    let Some((gpu, _turn)) = adapter("training on wgpu") else {
        return;
    };
    let gpu_base = load_base(&gpu);
    let weights = gpu_base.unet.conv_in.conv.weight.dtype();
    // Those of the base are f16, and f32 may be computed with them as they are.
    let expected = match WeightFormat::of_unet(&gpu, Arithmetic::F32) {
        WeightFormat::HalfAsStored => Arithmetic::F16.dtype(),
        _ => Arithmetic::F32.dtype(),
    };
    assert_eq!(weights, expected, "where a weight lies");
    let weights = weights.name();

    let recipe = addift();
    let (kept, again) = (Recompute::NOTHING, Recompute::EVERYTHING);
    for (name, objective, recompute, steps) in [
        ("plain", Objective::Plain, kept, 3),
        ("plain, run again", Objective::Plain, again, 1),
        ("addift", Objective::Addift(&recipe), kept, 1),
    ] {
        let (ours, our_way) = train(&gpu_base, &gpu, objective, recompute, steps);
        let (theirs, their_way) = train(base(), &cpu(), objective, kept, steps);
        let column = |reports: &[StepReport], value: fn(&StepReport) -> f32| {
            reports.iter().map(value).collect::<Vec<_>>()
        };
        let label = |part: &str| format!("{part} of {name} on wgpu, weights {weights}");
        let loss = |reports| column(reports, |report| report.loss);
        assert_values_close(&label("losses"), &loss(&ours), &loss(&theirs), LOSS);
        let norm = |reports| column(reports, |report| report.grad_norm);
        assert_values_close(
            &label("gradient norms"),
            &norm(&ours),
            &norm(&theirs),
            GRAD_NORM,
        );
        assert_together(&label("LoRA"), &our_way, &their_way, MOVED);
    }
}
