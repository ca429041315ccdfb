//! The operations over a LoRA's vector on GPUs.

#![allow(
    clippy::too_many_arguments,
    reason = "what a program is told, it is told number by number"
)]

use burn::backend::{TensorMetadata as _, tensor::FloatTensor};
use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::{CubeBackend, cubecl};
use cubecl::calculate_cube_count_elemwise;
use cubecl::ir::{ElemType, FloatKind};
use cubecl::prelude::*;

use super::AdamW;

type GpuTensor = FloatTensor<CubeBackend>;

/// Whether the kernel can join these: of one float format.
pub(super) fn is_alike(tensors: &[GpuTensor]) -> bool {
    let format = tensors[0].dtype();
    element(format).is_some() && tensors.iter().all(|tensor| tensor.dtype() == format)
}

fn element(format: DType) -> Option<ElemType> {
    Some(ElemType::Float(match format {
        DType::F32 => FloatKind::F32,
        DType::F16 => FloatKind::F16,
        DType::BF16 => FloatKind::BF16,
        _ => return None,
    }))
}

fn empty(like: &GpuTensor, count: usize) -> GpuTensor {
    let (client, device) = (like.client.clone(), like.device.clone());
    empty_device_contiguous_dtype(client, device, Shape::new([count]), like.dtype)
}

/// See [`super::join`].
///
/// - `parts`: [alike](is_alike)
pub(super) fn join(parts: [GpuTensor; 6]) -> GpuTensor {
    let count = parts.iter().map(|part| part.shape().num_elements()).sum();
    let out = empty(&parts[0], count);
    let Some(element) = element(out.dtype()) else {
        unreachable!("whether it has one was asked before")
    };
    let dim = CubeDim::new(&out.client, count);
    let [a, b, c, d, e, f] = parts.map(|part| into_contiguous(part).into_buffer_arg());
    join_kernel::launch(
        &out.client,
        calculate_cube_count_elemwise(&out.client, count, dim),
        dim,
        a,
        b,
        c,
        d,
        e,
        f,
        out.clone().into_buffer_arg(),
        element,
    );
    out
}

#[cube(launch)]
fn join_kernel<E: Float>(
    a: &[E],
    b: &[E],
    c: &[E],
    d: &[E],
    e: &[E],
    f: &[E],
    out: &mut [E],
    #[define(E)] _element: ElemType,
) {
    let at = ABSOLUTE_POS;
    if at >= out.len() {
        terminate!();
    }
    let of_b = a.len();
    let of_c = of_b + b.len();
    let of_d = of_c + c.len();
    let of_e = of_d + d.len();
    let of_f = of_e + e.len();
    if at < of_b {
        out[at] = a[at];
    } else if at < of_c {
        out[at] = b[at - of_b];
    } else if at < of_d {
        out[at] = c[at - of_c];
    } else if at < of_e {
        out[at] = d[at - of_d];
    } else if at < of_f {
        out[at] = e[at - of_e];
    } else {
        out[at] = f[at - of_f];
    }
}

/// See [`AdamW::update`].
pub(super) fn adamw(
    values: GpuTensor,
    gradient: GpuTensor,
    [first, second]: [GpuTensor; 2],
    rule: AdamW,
) -> (GpuTensor, GpuTensor, GpuTensor) {
    let count = values.shape().num_elements();
    let [new_values, new_first, new_second] = [(); 3].map(|()| empty(&values, count));
    let client = values.client.clone();
    let dim = CubeDim::new(&client, count);
    let [of_first, of_second] = rule.corrections();
    let argument = |tensor: GpuTensor| into_contiguous(tensor).into_buffer_arg();
    adamw_kernel::launch(
        &client,
        calculate_cube_count_elemwise(&client, count, dim),
        dim,
        argument(values),
        argument(gradient),
        argument(first),
        argument(second),
        argument(new_values.clone()),
        argument(new_first.clone()),
        argument(new_second.clone()),
        rule.decay() as f32,
        rule.learning_rate as f32,
        rule.beta_1,
        rule.beta_2,
        of_first,
        of_second,
        rule.epsilon,
    );
    (new_values, new_first, new_second)
}

#[cube(launch)]
fn adamw_kernel(
    values: &[f32],
    gradient: &[f32],
    first: &[f32],
    second: &[f32],
    new_values: &mut [f32],
    new_first: &mut [f32],
    new_second: &mut [f32],
    decay: f32,
    learning_rate: f32,
    beta_1: f32,
    beta_2: f32,
    of_first: f32,
    of_second: f32,
    epsilon: f32,
) {
    let at = ABSOLUTE_POS;
    if at >= new_values.len() {
        terminate!();
    }
    let g = gradient[at];
    let m = first[at] * beta_1 + g * (1.0f32 - beta_1);
    let v = second[at] * beta_2 + g * g * (1.0f32 - beta_2);
    let step = m / of_first / ((v / of_second).sqrt() + epsilon);
    new_values[at] = values[at] * decay - step * learning_rate;
    new_first[at] = m;
    new_second[at] = v;
}
