//! The real binary, as a user or a script runs it.

#![allow(
    clippy::disallowed_methods,
    reason = "a test starts the program, and what treats it badly"
)]

mod checkpoints;
mod copiers;
mod desk;
mod families;
#[cfg(target_os = "linux")]
mod full_disks;
mod held_out;
mod interrupt;
mod loras;
mod manual;
mod outputs;
mod pictures;
mod prompts;
mod recipes;
mod results;
mod sets;
mod single_files;
mod sizes;
mod sliders;
