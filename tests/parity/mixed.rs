//! Training in half precision on a GPU, beside training in f32 on the CPU.

use burn::tensor::Device;
use mimeo_diffusion::Arithmetic;
use mimeo_engine::Base;
use mimeo_protocol::BatchSize;
use mimeo_train::{Dataset, Example, NoiseRng, Objective, StepReport, Trainer};
use pollster::block_on;

use crate::gpu::adapter;
use crate::support::close::{
    Comparison, Tolerance, assert_all_close, assert_together, assert_values_close, say, values,
};
use crate::support::models::{load_folder, micro, micro_folder};
use crate::support::scene::{Scene, addift, masked_with_prior, pass};

/// Half a unit in the last of f16's 11 bits is 4.9e-4, and every layer of the UNet rounds.
const LOSS: Tolerance = Tolerance::rel(1e-2);
/// Of fifty losses the furthest, in units of the largest.
const LOSSES: f32 = 2e-2;
/// Distance of the first step's gradient as a share of its norm, seen in the way that a step without moments
/// moves: Adam's first step is the gradient's sign.
const MOVED: f64 = 0.5;

fn trainer<'a>(
    base: &'a Base,
    scene: &Scene,
    examples: &'a [Example],
    objective: Objective<'a>,
    pass: &'a mimeo_protocol::Pass,
) -> Trainer<'a> {
    Trainer::new(
        base.model(),
        Dataset::new(examples, 0, 0.0).unwrap(),
        objective,
        pass,
        scene.difference(base.unet.targets()),
        NoiseRng::new(17, 0),
    )
}

/// Steps of an objective from the fixture's LoRA, and how far they moved its values.
fn train(
    base: &Base,
    device: &Device,
    objective: Objective<'_>,
    steps: usize,
) -> (Vec<StepReport>, Vec<f32>) {
    let scene = Scene::micro_on(device);
    let (examples, pass) = (
        scene.examples(&masked_with_prior()),
        pass(BatchSize::constant(1)),
    );
    let mut trainer = trainer(base, &scene, &examples, objective, &pass);
    let before = trainer.network().flatten();
    let reports = (0..steps).map(|_| block_on(trainer.step()).unwrap());
    let reports = reports.collect();
    (reports, values(trainer.network().flatten() - before))
}

/// In one test, because a driver that stands in for a GPU compiles for minutes.
#[test]
fn training_in_f16_on_wgpu_is_close_to_f32() {
    let Some((gpu, _turn)) = adapter("training in f16") else {
        return;
    };
    if !Arithmetic::F16.is_on(&gpu) {
        say("SKIPPED: the adapter's programs know no f16");
        return;
    }
    let half = load_folder(&micro_folder(), &gpu, Arithmetic::F16);
    let weight = half.unet.conv_in.conv.weight.dtype();
    assert_eq!(weight, Arithmetic::F16.dtype(), "where a weight lies");
    assert_eq!(half.unet.arithmetic(), Arithmetic::F16, "what computes");
    let recipe = addift();
    for (name, objective, steps) in [
        ("plain", Objective::Plain, 50),
        // Its kernels are those of the first.
        ("addift", Objective::Addift(&recipe), 8),
    ] {
        let (ours, our_way) = train(&half, &gpu, objective, steps);
        let (theirs, their_way) = train(micro(), micro().device(), objective, steps);
        let losses =
            |reports: &[StepReport]| reports.iter().map(|report| report.loss).collect::<Vec<_>>();
        let (our_losses, their_losses) = (losses(&ours), losses(&theirs));
        let label = format!("first loss of {name} in f16");
        assert_values_close(&label, &our_losses[..1], &their_losses[..1], LOSS);
        let label = format!("losses of {name} in f16");
        let losses = Comparison::of_largest(&label, &our_losses, &their_losses, LOSSES);
        assert_all_close(&label, &[losses]);
        let label = format!("LoRA of {name} in f16");
        assert_together(&label, &our_way, &their_way, MOVED);
    }
    assert_goes_on(&half, &gpu);
}

/// A pass takes the steps that another one would have taken.
fn assert_goes_on(base: &Base, device: &Device) {
    let scene = Scene::micro_on(device);
    let examples = scene.examples(&masked_with_prior());
    let pass = pass(BatchSize::constant(1));
    let mut first = trainer(base, &scene, &examples, Objective::Plain, &pass);
    for _ in 0..3 {
        block_on(first.step()).unwrap();
    }
    let mut second = trainer(base, &scene, &examples, Objective::Plain, &pass);
    second.resume(first.state()).unwrap();
    for _ in 0..3 {
        let [first, second] = [&mut first, &mut second].map(|one| block_on(one.step()).unwrap());
        assert_eq!(first, second, "a step after going on");
    }
    let [first, second] = [first, second].map(|one| values(one.network().flatten()));
    assert_eq!(first, second, "the LoRA");
}
