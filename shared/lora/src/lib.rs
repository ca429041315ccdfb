//! Low-rank adapters (LoRA, arXiv 2106.09685) beside a frozen model.
//!
//! The model owns its frozen weights and a [`Target`] for every module that can be changed; a
//! [`LoraNetwork`] owns two small factors per target. They meet in the forward pass only: the
//! model asks a [`LoraStack`] what the adapters add to a module's answer. So one model serves the
//! teacher (empty stack), the copier and the student of the same step, a multiplier may change
//! from step to step, and nothing is ever rounded into the base.

mod conv;
mod layer;
mod network;
mod ops;
mod stack;
mod target;

pub use conv::{Convolve, LoraConv};
pub use layer::LoraLayer;
pub use network::LoraNetwork;
pub use ops::AdamW;
pub use stack::LoraStack;
pub use target::{Kernel, Target, TargetId, TargetKind, Targets};
