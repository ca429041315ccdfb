//! The same seed on the same device gives the same bits.

use mimeo_diffusion::Recompute;
use mimeo_lora::LoraNetwork;
use mimeo_protocol::{AddiftRecipe, BatchSize, Weight};
use mimeo_train::hold::Hold;
use mimeo_train::{Dataset, NoiseRng, Objective, Trainer};
use pollster::block_on;

use crate::support::close::values;
use crate::support::models::{base, cpu};
use crate::support::scene::{Scene, addift, masked_with_prior, pass};
use crate::support::step::{hold_outside, slider};
use crate::support::test;

/// Losses and, at the end, the LoRA of three steps.
fn train(seed: u64) -> (Vec<u32>, Vec<u32>) {
    let scene = Scene::new(&cpu());
    let (examples, pass) = (
        scene.examples(&masked_with_prior()),
        pass(BatchSize::constant(2)),
    );
    let mut weights = NoiseRng::new(seed, 0);
    let network = LoraNetwork::new(base().unet.targets(), 4, 4.0, weights.rng(), &cpu());
    let mut trainer = Trainer::new(
        base().model(),
        Dataset::new(&examples, 0, 0.0).unwrap(),
        Objective::Plain,
        &pass,
        network,
        NoiseRng::new(seed, 1),
    );
    let losses = (0..3)
        .map(|_| block_on(trainer.step()).unwrap().loss.to_bits())
        .collect();
    let lora = values(trainer.network().flatten())
        .into_iter()
        .map(f32::to_bits)
        .collect();
    (losses, lora)
}

#[test]
fn two_runs_with_one_seed_are_the_same_bit_for_bit() {
    let (first, second) = (train(3), train(3));
    assert_eq!(first.0, second.0, "losses");
    let differing = first
        .1
        .iter()
        .zip(&second.1)
        .filter(|(a, b)| a != b)
        .count();
    assert_eq!(
        differing,
        0,
        "values of the LoRA that differ, of {}",
        first.1.len()
    );
}

#[test]
fn another_seed_is_another_run() {
    let (first, second) = (train(3), train(4));
    assert_ne!(first.0, second.0, "losses");
    assert_ne!(first.1, second.1, "values of the LoRA");
}

#[test]
fn steps_are_the_same_bit_for_bit_however_much_of_the_unet_is_run_again() {
    let scene = Scene::new(&cpu());
    // In two tasks, which have a tape each.
    let (examples, pass) = (
        scene.examples(&masked_with_prior()),
        pass(BatchSize::constant(3)),
    );
    let copier = scene.copier(base().unet.targets());
    let slider = slider(base(), &scene);
    let hold = Hold {
        kept: slider.kept.clone(),
        outside: hold_outside(&scene),
        weight: 1.0,
    };
    // With it the student answers twice.
    let addift = AddiftRecipe {
        preservation: Weight::constant(0.5),
        ..addift()
    };
    let difference = Objective::Difference {
        copier: &copier,
        strength: 1.0,
    };
    for (name, objective) in [
        ("plain", Objective::Plain),
        ("copy", Objective::Copy),
        ("difference", difference),
        ("addift", Objective::Addift(&addift)),
        ("slider", Objective::Slider(&slider)),
    ] {
        let steps = |recompute| {
            let (model, start) = (base().model(), scene.difference(base().unet.targets()));
            let dataset = Dataset::new(&examples, 0, 0.0).unwrap();
            let rng = NoiseRng::new(5, 1);
            let trainer = Trainer::new(model, dataset, objective, &pass, start, rng);
            let mut trainer = trainer.held_to(Some(&hold)).recomputing(recompute);
            let losses = [(); 2].map(|()| block_on(trainer.step()).unwrap().loss);
            [losses.to_vec(), values(trainer.network().flatten())].concat()
        };
        let kept = steps(Recompute::NOTHING);
        for levels in [1, 2, usize::MAX] {
            let again = steps(Recompute { levels });
            let differing = kept.iter().zip(&again);
            let differing = differing
                .filter(|(a, b)| a.to_bits() != b.to_bits())
                .count();
            assert_eq!(
                differing,
                0,
                "{name}, {levels} levels, of {} numbers",
                kept.len()
            );
        }
    }
}
