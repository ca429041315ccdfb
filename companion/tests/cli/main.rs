//! The real binary, as a user or a script runs it.

mod checkpoints;
mod desk;
mod interrupt;
mod loras;
mod manual;
mod outputs;
mod pictures;
mod recipes;
mod results;
