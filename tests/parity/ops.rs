//! The backward passes that Mimeo writes by hand, beside those of Burn's stock operations and
//! beside finite differences.

use burn::tensor::activation::softmax;
use burn::tensor::module::{conv2d, linear};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{FloatDType, Tensor};
use mimeo_diffusion::ops::{CPU_TILE, frozen_conv2d, frozen_linear, scaled_dot_product_attention};
use mimeo_train::NoiseRng;

use crate::support::close::{
    Comparison, Tolerance, assert_all_close, assert_close, assert_values_close, values,
};
use crate::support::models::cpu;

/// Sums in another order: 1.8e-7 measured over 4096 keys, values being of order one.
const FORWARD: Tolerance = Tolerance::abs(7e-7);
/// In units of each gradient's largest element: 1.2e-6 measured over 4096 keys.
const BACKWARD: f32 = 5e-6;
/// The rounding of f32 over the step, and the step's own square: 3.1e-5 measured.
const FINITE_DIFFERENCE: Tolerance = Tolerance::rel(1.3e-4);

/// Independent normal tensors.
fn normal<const N: usize>(shapes: [[usize; 4]; N]) -> [Tensor<4>; N] {
    let mut rng = NoiseRng::new(20, 22);
    shapes.map(|shape| rng.normal(shape, &cpu()))
}

/// An operation on some inputs.
type Operation<'a> = &'a dyn Fn(&[Tensor<4>]) -> Tensor<4>;

/// The answer, and the gradients of a random weighting of it.
fn forward_and_backward(
    inputs: &[Tensor<4>],
    operation: Operation<'_>,
) -> (Tensor<4>, Vec<Vec<f32>>) {
    let leaves: Vec<_> = inputs
        .iter()
        .map(|input| input.clone().autodiff().require_grad())
        .collect();
    let answer = operation(&leaves);
    let gradients = (answer.clone() * weighting(&answer)).sum().backward();
    let gradients = leaves
        .iter()
        .map(|leaf| values(leaf.grad(&gradients).unwrap()))
        .collect();
    (answer.inner(), gradients)
}

fn weighting(answer: &Tensor<4>) -> Tensor<4> {
    NoiseRng::new(4, 33).normal(answer.dims(), &cpu())
}

/// Compares ours with a stock operation, forward and backward.
fn assert_same(name: &str, inputs: &[Tensor<4>], ours: Operation<'_>, stock: Operation<'_>) {
    let (our_answer, our_gradients) = forward_and_backward(inputs, ours);
    let (answer, gradients) = forward_and_backward(inputs, stock);
    assert_close(name, our_answer, answer, FORWARD);
    let comparisons: Vec<_> = our_gradients
        .iter()
        .zip(&gradients)
        .enumerate()
        .map(|(input, (ours, stock))| {
            Comparison::of_largest(&format!("gradient of input {input}"), ours, stock, BACKWARD)
        })
        .collect();
    assert_all_close(&format!("gradients of {name}"), &comparisons);
}

/// Compares the gradient of each input with the slope that is seen when walking along it.
fn assert_slopes(name: &str, inputs: &[Tensor<4>], step: f64, operation: Operation<'_>) {
    let (answer, gradients) = forward_and_backward(inputs, operation);
    let weights = values(weighting(&answer));
    // Summed in f64, or the sum's rounding would drown the difference.
    let loss = |inputs: &[Tensor<4>]| -> f64 {
        let answer = values(operation(inputs));
        answer
            .iter()
            .zip(&weights)
            .map(|(x, weight)| f64::from(x * weight))
            .sum()
    };
    for (index, gradient) in gradients.iter().enumerate() {
        let squares: f64 = gradient.iter().map(|value| f64::from(*value).powi(2)).sum();
        let root_mean_square = (squares / gradient.len() as f64).sqrt();
        let moved = |by: f64| {
            let mut inputs = inputs.to_vec();
            let values: Vec<f32> = gradient
                .iter()
                .map(|value| value * (by / root_mean_square) as f32)
                .collect();
            let along = Tensor::<1>::from_floats(values.as_slice(), &cpu());
            inputs[index] = inputs[index].clone() + along.reshape(inputs[index].dims());
            loss(&inputs)
        };
        let seen = (moved(step) - moved(-step)) / (2.0 * step);
        let expected = squares / root_mean_square;
        let name = format!("slope of {name} along input {index}");
        assert_values_close(&name, &[expected as f32], &[seen as f32], FINITE_DIFFERENCE);
    }
}

fn attention(inputs: &[Tensor<4>]) -> Tensor<4> {
    let [q, k, v] = inputs else {
        unreachable!("attention takes three tensors")
    };
    scaled_dot_product_attention(q.clone(), k.clone(), v.clone())
}

fn naive_attention(inputs: &[Tensor<4>]) -> Tensor<4> {
    let [q, k, v] = inputs else {
        unreachable!("attention takes three tensors")
    };
    let scale = (q.dims()[3] as f64).sqrt().recip();
    softmax(q.clone().matmul(k.clone().swap_dims(2, 3)) * scale, 3).matmul(v.clone())
}

#[test]
fn attention_has_the_gradients_of_the_naive_formula() {
    let inputs = normal([[2, 3, 10, 8], [2, 3, 7, 8], [2, 3, 7, 8]]);
    assert_same("attention", &inputs, &attention, &naive_attention);
    assert_slopes("attention", &inputs, 3e-3, &attention);
}

#[test]
fn attention_in_several_tiles_has_the_same_gradients() {
    let keys = 4096;
    // Two whole tiles and a part of one.
    let queries = CPU_TILE / keys + 100;
    let inputs = normal([[1, 1, queries, 2], [1, 1, keys, 2], [1, 1, keys, 2]]);
    assert_same("tiled attention", &inputs, &attention, &naive_attention);
}

/// A weight as a half-precision checkpoint holds it, and the same numbers widened.
fn half(weight: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
    let half = weight.cast(FloatDType::F16);
    (half.clone(), half.cast(FloatDType::F32))
}

#[test]
fn a_product_with_a_frozen_half_precision_weight_has_the_gradient_of_a_stock_product() {
    let [x, weight] = normal([[2, 2, 3, 16], [1, 1, 16, 24]]);
    let (weight, widened) = half(weight);
    let matrix = |weight: &Tensor<4>| weight.clone().reshape([16, 24]);
    let ours = |inputs: &[Tensor<4>]| frozen_linear(inputs[0].clone(), matrix(&weight));
    let stock = |inputs: &[Tensor<4>]| linear(inputs[0].clone(), matrix(&widened), None);
    assert_same("frozen_linear", std::slice::from_ref(&x), &ours, &stock);
    // Linear, so the slope is the same at any distance.
    assert_slopes("frozen_linear", &[x], 1.0, &ours);
}

#[test]
fn a_frozen_convolution_has_the_gradient_of_a_stock_convolution() {
    for (size, kernel, stride, padding) in [
        ([8, 6], 3, 1, 1),
        ([8, 6], 1, 1, 0),
        // The UNet's downsampler, on even and odd sizes.
        ([8, 6], 3, 2, 1),
        ([7, 9], 3, 2, 1),
        // The VAE's, whose picture comes padded.
        ([9, 7], 3, 2, 0),
    ] {
        let [height, width] = size;
        let [x, weight] = normal([[2, 4, height, width], [6, 4, kernel, kernel]]);
        let (weight, widened) = half(weight * 0.3);
        let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1);
        let ours = |inputs: &[Tensor<4>]| {
            frozen_conv2d(inputs[0].clone(), weight.clone(), stride, padding)
        };
        let stock = |inputs: &[Tensor<4>]| {
            conv2d(inputs[0].clone(), widened.clone(), None, options.clone())
        };
        let name = format!("frozen_conv2d {kernel}x{kernel}, stride {stride}, on {height}x{width}");
        assert_same(&name, std::slice::from_ref(&x), &ours, &stock);
        assert_slopes(&name, &[x], 1.0, &ours);
    }
}
