//! The backward passes that Mimeo writes by hand, beside those of Burn's stock operations and
//! beside finite differences.

use burn::tensor::activation::{silu, softmax};
use burn::tensor::module::{conv2d, linear};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{FloatDType, Tensor};
use mimeo_diffusion::ops::{
    Activation, frozen_conv2d, frozen_linear, geglu, group_norm, layer_norm,
    scaled_dot_product_attention,
};
use mimeo_train::NoiseRng;

use crate::support::close::{
    Comparison, Tolerance, assert_all_close, assert_close, assert_values_close, values,
};
use crate::support::models::cpu;
use crate::support::test;

/// Sums in another order and our own `exp`, in units of the answer's largest element: 2.5e-7
/// measured.
const FORWARD: f32 = 1e-6;
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
    let (our_answer, answer) = (values(our_answer), values(answer));
    let comparison = Comparison::of_largest(name, &our_answer, &answer, FORWARD);
    assert_all_close(name, &[comparison]);
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

/// `[batch, tokens, channels]` of a tensor `[batch, 1, tokens, channels]`.
fn tokens(tensor: &Tensor<4>) -> Tensor<3> {
    tensor.clone().squeeze_dim(1)
}

fn attention(inputs: &[Tensor<4>], heads: usize) -> Tensor<4> {
    let [q, k, v] = inputs else {
        unreachable!("attention takes three tensors")
    };
    scaled_dot_product_attention(tokens(q), tokens(k), tokens(v), heads).unsqueeze_dim(1)
}

fn naive_attention(inputs: &[Tensor<4>], heads: usize) -> Tensor<4> {
    let [q, k, v] = inputs else {
        unreachable!("attention takes three tensors")
    };
    let [batch, _, queries, channels] = q.dims();
    let width = channels / heads;
    let split = |tensor: &Tensor<4>| {
        let [batch, _, tokens, _] = tensor.dims();
        let tensor = tensor.clone().reshape([batch, tokens, heads, width]);
        tensor.swap_dims(1, 2)
    };
    let scores = split(q).matmul(split(k).swap_dims(2, 3)) / (width as f64).sqrt();
    let answer = softmax(scores, 3).matmul(split(v)).swap_dims(1, 2);
    answer.reshape([batch, 1, queries, channels])
}

#[test]
fn attention_has_the_gradients_of_the_naive_formula() {
    for (heads, queries, keys, channels) in [
        (3, 10, 7, 24),
        // More than one block of queries, and a part of one.
        (2, 100, 77, 20),
        // Heads as wide as Stable Diffusion's.
        (1, 60, 50, 40),
    ] {
        let inputs = normal([
            [2, 1, queries, channels],
            [2, 1, keys, channels],
            [2, 1, keys, channels],
        ]);
        let ours = |inputs: &[Tensor<4>]| attention(inputs, heads);
        let naive = |inputs: &[Tensor<4>]| naive_attention(inputs, heads);
        let name = format!("attention of {heads} heads");
        assert_same(&name, &inputs, &ours, &naive);
        assert_slopes(&name, &inputs, 3e-3, &ours);
    }
}

#[test]
fn attention_to_thousands_of_keys_has_the_same_gradients() {
    let [q, k, v] = normal([[1, 1, 100, 2], [1, 1, 4096, 2], [1, 1, 4096, 2]]);
    // Around 1, for around 0 the answer would be what is left of terms that cancel.
    let inputs = [q, k, v + 1.0];
    let ours = |inputs: &[Tensor<4>]| attention(inputs, 1);
    let naive = |inputs: &[Tensor<4>]| naive_attention(inputs, 1);
    assert_same("long attention", &inputs, &ours, &naive);
}

#[test]
fn attention_to_far_away_scores_is_that_of_the_largest() {
    let [q, k, v] = normal([[1, 1, 5, 8], [1, 1, 9, 8], [1, 1, 9, 8]]);
    let inputs = [q * 40.0, k * 40.0, v];
    let answer = attention(&inputs, 1);
    let naive = naive_attention(&inputs, 1);
    assert_close("scores of order 1600", answer, naive, Tolerance::abs(2e-6));
}

#[test]
fn a_norm_has_the_gradients_of_the_stock_operations() {
    for (activation, [channels, height, width], groups) in [
        (Activation::None, [12, 5, 7], 3),
        (Activation::Silu, [12, 5, 7], 3),
        (Activation::Silu, [32, 16, 16], 32),
    ] {
        let [x, weight, bias] = normal([
            [2, channels, height, width],
            [1, channels, 1, 1],
            [1, channels, 1, 1],
        ]);
        let x = x * 3.0 + 1.5;
        let ours = |inputs: &[Tensor<4>]| {
            let (weight, bias) = (weight.clone().flatten(0, 3), bias.clone().flatten(0, 3));
            group_norm(inputs[0].clone(), weight, bias, groups, 1e-5, activation)
        };
        let stock = |inputs: &[Tensor<4>]| {
            let dims = inputs[0].dims();
            let grouped = [dims[0], groups, channels / groups * height * width];
            let x = inputs[0].clone().reshape(grouped);
            let x = x.clone() - x.mean_dim(2);
            let x = x.clone() / (x.square().mean_dim(2) + 1e-5).sqrt();
            let y = x.reshape(dims) * weight.clone() + bias.clone();
            match activation {
                Activation::None => y,
                Activation::Silu => silu(y),
            }
        };
        let name = format!("group norm of {channels} channels, then {activation:?}");
        assert_same(&name, std::slice::from_ref(&x), &ours, &stock);
        assert_slopes(&name, &[x], 3e-3, &ours);
    }
    for width in [7, 64, 100] {
        let [x, weight, bias] = normal([[2, 1, 9, width], [1, 1, 1, width], [1, 1, 1, width]]);
        let x = x * 3.0 + 1.5;
        let vector = |tensor: &Tensor<4>| tensor.clone().flatten::<1>(0, 3);
        let ours = |inputs: &[Tensor<4>]| {
            let (weight, bias) = (vector(&weight), vector(&bias));
            layer_norm(tokens(&inputs[0]), weight, bias, 1e-5).unsqueeze_dim(1)
        };
        let stock = |inputs: &[Tensor<4>]| {
            let (weight, bias) = (vector(&weight), Some(vector(&bias)));
            burn::tensor::module::layer_norm(inputs[0].clone(), weight, bias, 1e-5)
        };
        let name = format!("layer norm of {width}");
        assert_same(&name, std::slice::from_ref(&x), &ours, &stock);
        assert_slopes(&name, &[x], 3e-3, &ours);
    }
}

#[test]
fn geglu_has_the_gradient_of_its_formula() {
    for width in [5, 64] {
        let [x] = normal([[2, 1, 9, 2 * width]]);
        let x = x * 2.0;
        let ours = |inputs: &[Tensor<4>]| geglu(tokens(&inputs[0])).unsqueeze_dim(1);
        // The formula itself: the slope of Burn's `gelu` is that of its approximation by tanh.
        let formula = |inputs: &[Tensor<4>]| {
            let values = inputs[0].clone().narrow(3, 0, width);
            let gates = inputs[0].clone().narrow(3, width, width);
            let below = ((gates.clone() / 2.0_f64.sqrt()).erf() + 1.0) / 2.0;
            values * gates * below
        };
        let name = format!("geglu of {width}");
        assert_same(&name, std::slice::from_ref(&x), &ours, &formula);
        assert_slopes(&name, &[x], 3e-3, &ours);
    }
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
    for (size, [inputs, outputs], kernel, stride, padding) in [
        ([8, 6], [4, 6], 3, 1, 1),
        ([8, 6], [4, 6], 1, 1, 0),
        // More than one band of rows.
        ([70, 60], [4, 6], 3, 1, 1),
        // More channels than are drawn or added up at once, and more than one band of them.
        ([5, 4], [130, 140], 3, 1, 1),
        ([5, 4], [1200, 140], 1, 1, 0),
        ([45, 40], [30, 140], 3, 1, 1),
        // No padding at all.
        ([8, 6], [4, 6], 3, 1, 0),
        // The UNet's downsampler, on even and odd sizes.
        ([8, 6], [4, 6], 3, 2, 1),
        ([7, 9], [4, 6], 3, 2, 1),
        // The VAE's, whose picture comes padded.
        ([9, 7], [4, 6], 3, 2, 0),
    ] {
        let [height, width] = size;
        let [x, weight, bias] = normal([
            [2, inputs, height, width],
            [outputs, inputs, kernel, kernel],
            [1, 1, 1, outputs],
        ]);
        // Sums of more terms are not to be larger.
        let (weight, widened) = half(weight * (0.6 / (inputs as f64).sqrt()));
        let bias = bias.flatten::<1>(0, 3);
        let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1);
        let ours = |inputs: &[Tensor<4>]| {
            frozen_conv2d(
                inputs[0].clone(),
                weight.clone(),
                bias.clone(),
                stride,
                padding,
            )
        };
        let stock = |inputs: &[Tensor<4>]| {
            let bias = Some(bias.clone());
            conv2d(inputs[0].clone(), widened.clone(), bias, options.clone())
        };
        let name = format!(
            "frozen_conv2d {kernel}x{kernel}, stride {stride}, on {height}x{width}, {inputs} to {outputs} channels"
        );
        assert_same(&name, std::slice::from_ref(&x), &ours, &stock);
        assert_slopes(&name, &[x], 1.0, &ours);
    }
}
