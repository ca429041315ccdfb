//! What holds for every LoRA, whatever its numbers.

use burn::tensor::Tensor;
use mimeo_checkpoint::{LoraFile, MemoryFile, Precision};
use mimeo_engine::LoadedLora;
use mimeo_engine::artifact::file_from_network;
use mimeo_lora::{LoraNetwork, LoraStack};
use mimeo_train::NoiseRng;
use pollster::block_on;

use crate::support::close::{Comparison, Tolerance, assert_all_close, assert_close, values};
use crate::support::fixture::Fixture;
use crate::support::models::{base, cpu};
use crate::support::scene::Scene;
use crate::support::test;

/// The same bits, of one among many modules.
fn exactly<const D: usize>(name: &str, ours: Tensor<D>, theirs: Tensor<D>) -> Comparison {
    Comparison::new(name, &values(ours), &values(theirs), Tolerance::EXACT)
}

/// The same bits in every factor, and the same alpha.
fn assert_same_network(ours: &LoraNetwork, theirs: &LoraNetwork) {
    assert_eq!(ours.layers().count(), theirs.layers().count(), "layers");
    let mut comparisons = Vec::new();
    for (ours, theirs) in ours.layers().zip(theirs.layers()) {
        comparisons.push(exactly("down", ours.down.clone(), theirs.down.clone()));
        comparisons.push(exactly("up", ours.up.clone(), theirs.up.clone()));
        assert!(
            (ours.alpha - theirs.alpha).abs() < f64::EPSILON,
            "alpha is {}",
            ours.alpha
        );
    }
    assert_all_close("factors", &comparisons);
}

fn predict(lora: &LoraStack<'_>) -> Tensor<4> {
    let fixture = Fixture::read("unet.safetensors");
    base().unet.forward(
        fixture.tensor("sample", &cpu()),
        fixture.int_tensor("timesteps", &cpu()),
        &fixture.conditioning("encoder_hidden_states", &cpu()),
        lora,
    )
}

#[test]
fn a_fresh_network_changes_nothing() {
    let mut rng = NoiseRng::new(1, 2);
    let fresh = LoraNetwork::new(base().unet.targets(), 4, 4.0, rng.rng(), &cpu());
    let with = predict(&LoraStack::none().with(&fresh, 1.0));
    assert_close(
        "prediction",
        with,
        predict(&LoraStack::none()),
        Tolerance::EXACT,
    );
}

#[test]
fn a_multiplier_of_zero_leaves_the_model_as_it_is() {
    let lora = Scene::new(&cpu()).difference(base().unet.targets());
    let with = predict(&LoraStack::none().with(&lora, 0.0));
    assert_close(
        "prediction",
        with,
        predict(&LoraStack::none()),
        Tolerance::EXACT,
    );
}

#[test]
fn multiplier_minus_one_adds_the_negative() {
    let lora = Scene::new(&cpu()).difference(base().unet.targets());
    let mut rng = NoiseRng::new(5, 6);
    let comparisons: Vec<_> = lora
        .layers()
        .map(|layer| {
            let x = rng.normal([1, 1, 3, layer.down.dims()[0]], &cpu());
            let (added, taken) = (layer.forward(x.clone(), 1.0), layer.forward(x, -1.0));
            exactly("a module", taken, added.neg())
        })
        .collect();
    assert_all_close("what is added", &comparisons);
}

#[test]
fn a_stack_adds_what_each_of_its_networks_adds() {
    let scene = Scene::new(&cpu());
    let targets = base().unet.targets();
    let (copier, lora) = (scene.copier(targets), scene.difference(targets));
    let stack = LoraStack::none().with(&copier, 1.0).with(&lora, -0.5);
    let mut rng = NoiseRng::new(7, 8);
    let comparisons: Vec<_> = targets
        .iter()
        .map(|(id, target)| {
            let x = rng.normal([1, 1, 3, target.in_features], &cpu());
            let y = rng.normal([1, 1, 3, target.out_features], &cpu());
            let (below, above) = (copier.layer(id).unwrap(), lora.layer(id).unwrap());
            let sum = y.clone() + below.forward(x.clone(), 1.0) + above.forward(x.clone(), -0.5);
            exactly(&target.path, stack.apply(id, &x, y), sum)
        })
        .collect();
    assert_all_close("what is added", &comparisons);
}

#[test]
fn a_multiplier_for_each_row_does_to_it_what_it_does_alone() {
    let lora = Scene::new(&cpu()).difference(base().unet.targets());
    let multipliers = vec![-2.0, 0.0, 0.5];
    let each = LoraStack::none().with_each(&lora, multipliers.clone());
    let targets = base().unet.targets();
    let mut rng = NoiseRng::new(7, 9);
    let mut comparisons = Vec::new();
    for (id, target) in targets.iter() {
        let x = rng.normal([3, 1, 4, target.in_features], &cpu());
        let y = rng.normal([3, 1, 4, target.out_features], &cpu());
        let together = each.apply(id, &x, y.clone());
        for (row, multiplier) in multipliers.iter().enumerate() {
            let of_row = |tensor: &Tensor<4>| tensor.clone().narrow(0, row, 1);
            let stack = LoraStack::none().with(&lora, *multiplier);
            let alone = stack.apply(id, &of_row(&x), of_row(&y));
            let part = each.rows(row, 1).apply(id, &of_row(&x), of_row(&y));
            comparisons.push(exactly(&target.path, of_row(&together), alone.clone()));
            comparisons.push(exactly(&target.path, part, alone));
        }
    }
    assert_all_close("what is added to a row", &comparisons);
}

#[test]
fn a_network_survives_its_own_flattening() {
    let lora = Scene::new(&cpu()).difference(base().unet.targets());
    let flat = lora.flatten();
    assert_eq!(flat.dims(), [lora.num_params()], "every value once");
    let mut rng = NoiseRng::new(9, 9);
    let other = LoraNetwork::new(base().unet.targets(), 2, 2.0, rng.rng(), &cpu());
    assert_same_network(&other.with_values(&flat), &lora);
}

#[test]
fn scaled_weights_at_strength_one_are_the_weights_at_that_strength() {
    let lora = Scene::new(&cpu()).difference(base().unet.targets());
    let scaled = lora.scaled(-0.5);
    let mut rng = NoiseRng::new(3, 1);
    let comparisons: Vec<_> = scaled
        .layers()
        .zip(lora.layers())
        .map(|(scaled, layer)| {
            let x = rng.normal([1, 1, 3, layer.down.dims()[0]], &cpu());
            // A power of two is exact wherever it is multiplied in.
            exactly(
                "a module",
                scaled.forward(x.clone(), 1.0),
                layer.forward(x, -0.5),
            )
        })
        .collect();
    assert_all_close("what is added", &comparisons);
}

#[test]
fn a_written_file_is_read_back_as_the_same_network() {
    let lora = Scene::new(&cpu()).difference(base().unet.targets());
    let file = block_on(file_from_network(base(), &lora)).unwrap();
    let bytes = file.write(Precision::F32).unwrap();
    let file = MemoryFile::new("written.safetensors", bytes);
    let file = block_on(LoraFile::read(Box::new(file))).unwrap();
    let read = LoadedLora::new(base(), &file, "written.safetensors").unwrap();
    assert_eq!(
        read.matched,
        base().unet.targets().len(),
        "modules that found their place"
    );
    assert_same_network(&read.network, &lora);
}
