//! Operations that a frozen diffusion model wants and Burn's stock set lacks: attention whose
//! backward pass does not keep the score matrix, and products with frozen weights that keep
//! neither the input nor a widened copy of the weight.
//!
//! Both are Burn backend extensions: one trait, an implementation per backend, and a hand-written
//! backward pass for its autodiff wrapper.

mod attention;
mod frozen;

pub use attention::{CPU_TILE, scaled_dot_product_attention};
pub use frozen::{frozen_conv2d, frozen_linear};
