//! LoRAs and their gradients under kohya's names.

use burn::tensor::{Device, Tensor};
use mimeo_lora::{LoraLayer, LoraNetwork, Target, Targets};

use super::close::{Comparison, values};
use super::fixture::Fixture;

/// The network of a fixture: for every target `{prefix}{kohya name}.lora_down.weight` and `.lora_up.weight`.
pub fn network(
    targets: &Targets,
    fixture: &Fixture,
    prefix: &str,
    alpha: f64,
    device: &Device,
) -> LoraNetwork {
    LoraNetwork::from_layers(targets, |target| {
        let [down, up] = keys(prefix, target);
        Some(LoraLayer {
            down: factor(fixture, &down, device),
            up: factor(fixture, &up, device),
            alpha,
        })
    })
}

/// The factors of a network, as the fixtures store them, beside `{prefix}{kohya name}.…` of a fixture.
pub fn compare_factors(
    targets: &Targets,
    network: &LoraNetwork,
    mut compare: impl FnMut(&str, &Tensor<2>) -> Comparison,
    prefix: &str,
) -> Vec<Comparison> {
    let mut comparisons = Vec::new();
    for (id, target) in targets.iter() {
        let layer = network
            .layer(id)
            .unwrap_or_else(|| panic!("{} has no layer", target.path));
        let [down, up] = keys(prefix, target);
        comparisons.push(compare(&down, &layer.down));
        comparisons.push(compare(&up, &layer.up));
    }
    comparisons
}

/// The gradient of a trained network, end to end, beside `grad.*` of a fixture.
pub fn compare_gradients(
    targets: &Targets,
    network: &LoraNetwork,
    gradient: &Tensor<1>,
    fixture: &Fixture,
    tolerance: f32,
) -> Vec<Comparison> {
    let compare = |key: &str, gradient: &Tensor<2>| {
        let ours = as_stored(gradient.clone());
        Comparison::of_largest(key, &ours, fixture.floats(key), tolerance)
    };
    let gradients = network.with_values(gradient);
    compare_factors(targets, &gradients, compare, "grad.")
}

/// A factor as files store it, the transpose of ours, row-major.
pub fn as_stored(factor: Tensor<2>) -> Vec<f32> {
    values(factor.transpose())
}

fn keys(prefix: &str, target: &Target) -> [String; 2] {
    let name = target.kohya_name();
    ["down", "up"].map(|part| format!("{prefix}{name}.lora_{part}.weight"))
}

/// `[out, in]` or, of a 1×1 convolution, `[out, in, 1, 1]` of a file becomes `[in, out]`.
fn factor(fixture: &Fixture, key: &str, device: &Device) -> Tensor<2> {
    let &[output, input, ..] = fixture.shape(key) else {
        panic!("{key} is no matrix")
    };
    let stored: Tensor<2> = match fixture.shape(key).len() {
        2 => fixture.tensor(key, device),
        _ => fixture.tensor::<4>(key, device).reshape([output, input]),
    };
    stored.transpose()
}

/// `sum(m * e²) / (C * sum(m))` of each sample, averaged (`tests/reference/parity/loss.py`).
pub fn masked(error: Tensor<4>, mask: Tensor<4>) -> Tensor<1> {
    let [batch, channels, height, width] = error.dims();
    let sum = |x: Tensor<4>| {
        let [_, channels, ..] = x.dims();
        x.reshape([batch, channels * height * width]).sum_dim(1)
    };
    (sum(error.square() * mask.clone()) / (sum(mask) * channels as f64)).mean()
}
