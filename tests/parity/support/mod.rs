//! Fixtures, models and comparisons that the topics share.

pub mod close;
pub mod fixture;
pub mod lora;
pub mod models;
pub mod scene;
