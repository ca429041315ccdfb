//! The operations of this module's siblings on GPUs, one kernel each.
//!
//! Composed of stock operations, a UNet of Stable Diffusion's depth is ten thousand dispatches a step, most
//! of them between the products and each a pass over memory: a norm alone is a dozen forward and two dozen
//! back. Kernels are CubeCL's, and run on whatever it compiles for. They take the activations in any float
//! format and compute in f32.
//!
//! Everything is indexed number by number, without vectors: that takes any shape with one program a kernel,
//! and neighbouring threads read neighbouring numbers as it is.

#![allow(
    clippy::too_many_arguments,
    reason = "what a program is told, it is told number by number"
)]

use burn::backend::{TensorMetadata as _, tensor::FloatTensor};
use burn::tensor::{DType, Shape};
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::{CubeBackend, cubecl};
use cubecl::calculate_cube_count_elemwise;
use cubecl::ir::{ElemType, FloatKind};
use cubecl::prelude::*;

pub(super) mod attention;
pub(super) mod conv;
pub(super) mod gate;
pub(super) mod norm;

/// A tensor on a GPU.
pub(super) type GpuTensor = FloatTensor<CubeBackend>;

/// Threads of a cube that sums a whole group or a long row; every WebGPU device has as many.
const THREADS: usize = 256;

/// Threads of a cube that sums a short row.
const FEW_THREADS: usize = 64;

/// Cubes along an axis at most, in WebGPU.
const MOST_CUBES: usize = 65_535;

/// Whether the kernels can take these: activations of one float format, and weights in f32.
pub(super) fn suits(activations: &[&GpuTensor], weights: &[&GpuTensor]) -> bool {
    let format = activations[0].dtype();
    let is_known = matches!(format, DType::F32 | DType::F16 | DType::BF16);
    is_known
        && activations.iter().all(|tensor| tensor.dtype() == format)
        && weights.iter().all(|tensor| tensor.dtype() == DType::F32)
}

/// An uninitialised tensor beside another one, in its format.
fn empty(like: &GpuTensor, shape: impl Into<Shape>) -> GpuTensor {
    empty_in(like.dtype, like, shape)
}

/// The same in a format.
fn empty_in(format: DType, like: &GpuTensor, shape: impl Into<Shape>) -> GpuTensor {
    let (client, device) = (like.client.clone(), like.device.clone());
    empty_device_contiguous_dtype(client, device, shape.into(), format)
}

/// Whether a tensor is of 16 bits a number.
pub(super) fn is_half(tensor: &GpuTensor) -> bool {
    matches!(tensor.dtype(), DType::F16 | DType::BF16)
}

/// The format of a tensor's numbers in a kernel.
fn element(tensor: &GpuTensor) -> ElemType {
    ElemType::Float(match tensor.dtype() {
        DType::F16 => FloatKind::F16,
        DType::BF16 => FloatKind::BF16,
        _ => FloatKind::F32,
    })
}

/// Threads that work on a row of so many numbers.
const fn threads_for(width: usize) -> usize {
    if width > 4 * FEW_THREADS {
        THREADS
    } else {
        FEW_THREADS
    }
}

/// A cube for each of `count` rows, and perhaps a few more.
fn cube_each(count: usize) -> CubeCount {
    let x = count.clamp(1, MOST_CUBES);
    CubeCount::Static(x as u32, count.div_ceil(x) as u32, 1)
}

/// A thread for each of `count` numbers, and perhaps a few more.
fn thread_each(tensor: &GpuTensor, count: usize) -> (CubeCount, CubeDim) {
    let dim = CubeDim::new(&tensor.client, count);
    (
        calculate_cube_count_elemwise(&tensor.client, count, dim),
        dim,
    )
}

/// The sum of what each thread of the cube brings. All of them come here.
///
/// - `threads`: of the cube, a power of two
#[cube]
fn sum_of_cube(value: f32, #[comptime] threads: usize) -> f32 {
    let mut shared = Shared::<[f32]>::new_slice(threads);
    let unit = UNIT_POS as usize;
    shared[unit] = value;
    sync_cube();
    let halvings = comptime!(threads.ilog2());
    #[unroll]
    for halving in 0..halvings {
        let active = comptime!(threads >> (halving + 1));
        if unit < active {
            let other = shared[unit + active];
            shared[unit] += other;
        }
        sync_cube();
    }
    let answer = shared[0];
    // A compiler may give the next sum the same memory.
    sync_cube();
    answer
}

/// The largest of what each thread of the cube brings. All of them come here.
///
/// - `threads`: of the cube, a power of two
#[cube]
fn max_of_cube(value: f32, #[comptime] threads: usize) -> f32 {
    let mut shared = Shared::<[f32]>::new_slice(threads);
    let unit = UNIT_POS as usize;
    shared[unit] = value;
    sync_cube();
    let halvings = comptime!(threads.ilog2());
    #[unroll]
    for halving in 0..halvings {
        let active = comptime!(threads >> (halving + 1));
        if unit < active {
            let other = shared[unit + active];
            shared[unit] = max(shared[unit], other);
        }
        sync_cube();
    }
    let answer = shared[0];
    // A compiler may give the next sum the same memory.
    sync_cube();
    answer
}
