//! The kernels that Mimeo has for GPUs, forward and backward, beside the same operations on the CPU, which
//! `ops` compares with Burn's own.
//!
//! Sizes are odd on purpose: the last cube of a kernel is never full, rows are longer and shorter than a cube
//! has threads, and pictures come with their channels first and last.

use burn::tensor::{Device, Tensor};
use mimeo_diffusion::ops::{
    Activation, geglu, group_moments, group_norm, group_norm_by, layer_norm,
    scaled_dot_product_attention,
};
use mimeo_train::NoiseRng;

use crate::gpu::adapter;
use crate::support::close::{Comparison, assert_all_close, values};
use crate::support::models::cpu;

/// Sums in another order, and WGSL's own `exp`, in units of the answer's largest element: 9.5e-7 measured.
const FORWARD: f32 = 3e-6;
/// The same of each gradient: 5.5e-6 measured, of rows of one number, where all of it is rounding; else 4.8e-7.
const BACKWARD: f32 = 2e-5;

/// An operation on some inputs, on whatever device they are.
type Operation<'a> = &'a dyn Fn(&[Tensor<4>]) -> Tensor<4>;

/// The answer, and the gradients of a random weighting of it.
fn run(shapes: &[[usize; 4]], device: &Device, operation: Operation<'_>) -> Vec<Vec<f32>> {
    let mut rng = NoiseRng::new(20, 25);
    let leaves: Vec<Tensor<4>> = shapes
        .iter()
        .map(|shape| rng.normal(*shape, device).autodiff().require_grad())
        .collect();
    let answer = operation(&leaves);
    let weighting = rng.normal(answer.dims(), device).autodiff();
    let gradients = (answer.clone() * weighting).sum().backward();
    let mut all = vec![values(answer.inner())];
    all.extend(
        leaves
            .iter()
            .map(|leaf| values(leaf.grad(&gradients).unwrap())),
    );
    all
}

fn assert_same(gpu: &Device, name: &str, shapes: &[[usize; 4]], operation: Operation<'_>) {
    let (ours, theirs) = (run(shapes, gpu, operation), run(shapes, &cpu(), operation));
    let comparisons: Vec<_> = ours
        .iter()
        .zip(&theirs)
        .enumerate()
        .map(|(index, (ours, theirs))| match index {
            0 => Comparison::of_largest(&format!("answer of {name}"), ours, theirs, FORWARD),
            _ => {
                let name = format!("gradient {} of {name}", index - 1);
                Comparison::of_largest(&name, ours, theirs, BACKWARD)
            }
        })
        .collect();
    assert_all_close(name, &comparisons);
}

/// Constants of `width` numbers, on the device of `like`.
fn constants(width: usize, like: &Tensor<4>) -> [Tensor<1>; 2] {
    let mut rng = NoiseRng::new(20, 26);
    [1.0, 0.0].map(|centre| {
        let numbers = rng.normal([1, 1, 1, width], &like.clone().inner().device());
        (numbers * 0.3 + centre).reshape([width]).autodiff()
    })
}

/// `[batch, tokens, channels]` of a tensor `[batch, 1, tokens, channels]`.
fn tokens(tensor: &Tensor<4>) -> Tensor<3> {
    tensor.clone().squeeze_dim(1)
}

#[test]
fn kernels_of_the_gpu_equal_those_of_the_cpu() {
    let Some((gpu, _turn)) = adapter("whether the kernels for GPUs are right") else {
        return;
    };
    for (shape, groups) in [
        ([2, 12, 5, 7], 3),
        // One channel a group, and all of them in one.
        ([1, 6, 3, 3], 6),
        ([3, 10, 1, 1], 1),
        // More numbers in a group than a cube takes in one go, a hundred times over.
        ([1, 8, 97, 61], 2),
        ([2, 64, 8, 8], 32),
    ] {
        for activation in [Activation::None, Activation::Silu] {
            let name = format!("group norm {shape:?} in {groups} groups, {activation:?}");
            let normed = |x: Tensor<4>| {
                let [weight, bias] = constants(shape[1], &x);
                group_norm(x, weight, bias, groups, 1e-5, activation)
            };
            assert_same(&gpu, &name, &[shape], &|inputs| normed(inputs[0].clone()));
            let [batch, channels, height, width] = shape;
            let last = [batch, height, width, channels];
            let name = format!("{name}, channels last");
            assert_same(&gpu, &name, &[last], &|inputs| {
                normed(inputs[0].clone().permute([0, 3, 1, 2])).permute([0, 2, 3, 1])
            });
            let name =
                format!("group norm {shape:?} by the moments of {groups} groups, {activation:?}");
            assert_same(&gpu, &name, &[shape], &|inputs| {
                let [weight, bias] = constants(shape[1], &inputs[0]);
                let moments = group_moments(inputs[0].clone(), groups, 1e-5);
                group_norm_by(inputs[0].clone(), moments, weight, bias, activation)
            });
        }
    }
    for [batch, rows, width] in [[2, 7, 20], [1, 3, 1], [1, 5, 320], [3, 1, 1281]] {
        let name = format!("layer norm of {batch}×{rows} rows of {width}");
        // A row of one number is its own mean, and has no gradient of its own.
        assert_same(&gpu, &name, &[[batch, 1, rows, width]], &|inputs| {
            let [weight, bias] = constants(width, &inputs[0]);
            let normed = layer_norm(tokens(&inputs[0]), weight, bias, 1e-5);
            let normed: Tensor<4> = normed.unsqueeze_dim(1);
            if width == 1 {
                normed + inputs[0].clone()
            } else {
                normed
            }
        });
    }
    for shape in [[2, 1, 7, 10], [1, 1, 1, 2], [3, 1, 33, 514]] {
        let name = format!("GEGLU of {shape:?}");
        assert_same(&gpu, &name, &[shape], &|inputs| {
            geglu(tokens(&inputs[0]) * 2.0).unsqueeze_dim(1)
        });
    }
    for (heads, queries, keys, channels) in [
        (3, 10, 7, 24),
        (1, 1, 1, 4),
        (2, 65, 77, 20),
        // Rows longer than few threads take.
        (1, 9, 300, 8),
    ] {
        let shapes = [
            [2, 1, queries, channels],
            [2, 1, keys, channels],
            [2, 1, keys, channels],
        ];
        let name = format!("attention of {queries} queries to {keys} keys in {heads} heads");
        // A single key takes all attention, so neither it nor the query has a gradient of its own.
        assert_same(&gpu, &name, &shapes, &|inputs| {
            let [q, k, v] = [0, 1, 2].map(|index| tokens(&inputs[index]));
            let rest = (keys == 1).then(|| q.clone() + k.clone());
            let attended = scaled_dot_product_attention(q, k, v, heads);
            rest.into_iter()
                .fold(attended, |sum, rest| sum + rest)
                .unsqueeze_dim(1)
        });
    }
}
