//! Accessible primitives without a word of Mimeo's.

pub mod number;
pub mod question;
pub mod segmented;
pub mod slide;
pub mod split_line;
