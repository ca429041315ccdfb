//! The operations of this module's siblings on Burn's CPU backend, one pass over memory each.
//!
//! Composed of stock operations, a UNet of 16×16 latents spends most of its time between the
//! products: every elementwise operation is a pass over memory and an allocation, and `exp` and
//! `erf` are computed one number at a time. Explicit vectors (`pulp` picks the widest the machine
//! has, also in WebAssembly) halve the step. Everything here works on contiguous f32; anything else
//! takes the portable path.

use burn::backend::ops::FloatTensorOps as _;
use burn::backend::{Flex, tensor::FloatTensor};
use burn::tensor::{DType, FloatDType, Shape, TensorData};

pub(super) mod attention;
pub(super) mod conv;
pub(super) mod gate;
pub(super) mod linear;
pub(super) mod norm;
mod product;
mod scratch;
mod vector;
mod weight;
mod winograd;

/// A tensor of the CPU backend.
pub(super) type CpuTensor = FloatTensor<Flex>;

/// Whether the kernels here can take these tensors.
pub(super) fn all_f32(tensors: &[&CpuTensor]) -> bool {
    tensors.iter().all(|tensor| tensor.dtype() == DType::F32)
}

/// The values of a tensor made contiguous.
fn values(contiguous: &CpuTensor) -> &[f32] {
    contiguous.as_slice().unwrap_or_else(|| {
        unreachable!("a contiguous f32 tensor is a slice");
    })
}

/// A tensor as f32.
fn single(tensor: &CpuTensor) -> CpuTensor {
    if tensor.dtype() == DType::F32 {
        return tensor.clone();
    }
    Flex::float_cast(tensor.clone(), FloatDType::F32)
}

fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> CpuTensor {
    CpuTensor::from_data(TensorData::new(values, shape))
}
