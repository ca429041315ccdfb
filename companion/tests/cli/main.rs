//! The real binary, as a user or a script runs it.

mod checkpoints;
mod desk;
#[cfg(target_os = "linux")]
mod full_disks;
mod interrupt;
mod loras;
mod manual;
mod outputs;
mod pictures;
mod prompts;
mod recipes;
mod results;
mod single_files;
