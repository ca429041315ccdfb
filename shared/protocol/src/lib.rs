//! The words that the page, the companion and the training code share.
//!
//! For now that is the [`recipe`]: everything that decides what a training run does, as numbers
//! that are valid by type. Messages join it when the companion gets its WebSocket.

pub mod number;
pub mod recipe;

pub use number::{
    Accumulation, Alpha, BatchSize, ClipNorm, Feather, Gamma, LearningRate, Multiplier, OutOfRange,
    Rank, Share, Steps, TimestepRange, Warmup, Weight, WeightDecay,
};
pub use recipe::{
    AddiftRecipe, CopierRecipe, LrSchedule, MaskRecipe, Method, ModelSize, Pass, Precision, Recipe,
};
