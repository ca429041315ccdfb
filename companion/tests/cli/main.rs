//! The real binary, as a user or a script runs it.

mod checkpoints;
mod desk;
mod interrupt;
mod manual;
mod outputs;
mod pictures;
mod prompts;
mod recipes;
mod results;
