//! GEGLU on GPUs.

#![allow(
    unstable_name_collisions,
    reason = "a program's `erf` is CubeCL's, whatever Rust's own will be"
)]

use burn::backend::TensorMetadata as _;
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::{GpuTensor, element, empty, thread_each};

/// See [`crate::ops::geglu`].
pub(in crate::ops) fn geglu(projected: GpuTensor) -> GpuTensor {
    let [batch, tokens, both] = projected.shape().dims();
    let width = both / 2;
    let projected = into_contiguous(projected);
    let out = empty(&projected, [batch, tokens, width]);
    let (client, element) = (out.client.clone(), element(&out));
    let (cubes, dim) = thread_each(&out, batch * tokens * width);
    let (projected, answer) = (projected.into_buffer_arg(), out.clone().into_buffer_arg());
    geglu_kernel::launch(&client, cubes, dim, projected, answer, width, element);
    out
}

/// The gradient of the input, from that of the answer.
pub(in crate::ops) fn geglu_backward(projected: GpuTensor, gradient: GpuTensor) -> GpuTensor {
    let [batch, tokens, both] = projected.shape().dims();
    let width = both / 2;
    let (projected, gradient) = (into_contiguous(projected), into_contiguous(gradient));
    let out = empty(&projected, [batch, tokens, both]);
    let (client, element) = (out.client.clone(), element(&out));
    let (cubes, dim) = thread_each(&out, batch * tokens * width);
    geglu_backward_kernel::launch(
        &client,
        cubes,
        dim,
        projected.into_buffer_arg(),
        gradient.into_buffer_arg(),
        out.clone().into_buffer_arg(),
        width,
        element,
    );
    out
}

/// Φ of the normal distribution.
#[cube]
fn below(x: f32) -> f32 {
    0.5f32 * (1.0f32 + (x * 0.707_106_77f32).erf())
}

/// - `projected`: `[rows, 2 width]`, `out`: `[rows, width]`
#[cube(launch)]
fn geglu_kernel<E: Float>(
    projected: &[E],
    out: &mut [E],
    width: usize,
    #[define(E)] _element: ElemType,
) {
    if ABSOLUTE_POS >= out.len() {
        terminate!();
    }
    // A row of `projected` is twice as long.
    let at = ABSOLUTE_POS + ABSOLUTE_POS / width * width;
    let value = f32::cast_from(projected[at]);
    let gate = f32::cast_from(projected[at + width]);
    out[ABSOLUTE_POS] = E::cast_from(value * gate * below(gate));
}

/// gelu(x) = x Φ(x), with slope Φ(x) + x φ(x).
///
/// - `projected`, `out`: `[rows, 2 width]`, `gradient`: `[rows, width]`
#[cube(launch)]
fn geglu_backward_kernel<E: Float>(
    projected: &[E],
    gradient: &[E],
    out: &mut [E],
    width: usize,
    #[define(E)] _element: ElemType,
) {
    if ABSOLUTE_POS >= gradient.len() {
        terminate!();
    }
    let at = ABSOLUTE_POS + ABSOLUTE_POS / width * width;
    let value = f32::cast_from(projected[at]);
    let gate = f32::cast_from(projected[at + width]);
    let g = f32::cast_from(gradient[ABSOLUTE_POS]);
    let below = below(gate);
    let density = 0.398_942_3f32 * (-0.5f32 * gate * gate).exp();
    out[at] = E::cast_from(g * gate * below);
    out[at + width] = E::cast_from(g * value * (below + gate * density));
}
