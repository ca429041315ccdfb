//! Operations that a frozen diffusion model wants and Burn's stock set lacks: attention whose
//! backward pass does not keep the score matrix, products with frozen weights that keep neither
//! the input nor a widened copy of the weight, and norms and gates that are one pass over memory.
//!
//! Each is a Burn backend extension: a trait with a portable body made of the backend's own
//! operations, the kernels of the CPU (`ops/cpu`) and of GPUs (`ops/gpu`), and a hand-written backward
//! pass for the autodiff wrapper (`ops/recorded`).

mod attention;
mod cpu;
mod frozen;
mod gate;
#[cfg(feature = "gpu")]
mod gpu;
mod norm;
mod recorded;

pub use attention::scaled_dot_product_attention;
pub(crate) use frozen::{channels_last, is_channels_last};
pub use frozen::{frozen_conv2d, frozen_linear};
pub use gate::geglu;
pub use norm::{Activation, group_moments, group_norm, group_norm_by, layer_norm};

use burn::backend::{Backend, tensor::FloatTensor};
use burn::tensor::Shape;

use recorded::recorded;

/// `tensor` in another shape of the same size.
fn reshape<B: Backend, const D: usize>(
    tensor: FloatTensor<B>,
    shape: [usize; D],
) -> FloatTensor<B> {
    B::float_reshape(tensor, Shape::new(shape))
}
