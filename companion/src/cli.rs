//! The command line: one file per subcommand, each a few lines over the engine.

mod base;
mod bench;
mod bench_device;
mod bench_scores;
mod bench_service;
mod copier;
mod examples;
mod grid;
mod held_out;
mod inspect;
pub mod lora;
mod manual;
mod number;
pub mod pictures;
mod recipe_flags;
mod run_args;
mod sample;
mod score;
mod score_table;
mod serve;
mod set;
mod slider;
mod train;

use std::future::ready;

use clap::{Parser, Subcommand};
use mimeo_checkpoint::BoxFuture;
use mimeo_engine::DeviceChoice;

use crate::exit::Exit;
use crate::progress::Report;
use crate::tuned::{Engine, SelfTest};

/// Two pictures that differ in one thing become a LoRA that makes that change.
#[derive(Debug, Parser)]
// The last of several equal flags counts, so that scripts can append to a command line.
#[command(name = "mimeo", version, args_override_self = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// One JSON object per line on stdout, for programs
    #[arg(long, global = true)]
    pub json: bool,
    /// Which engine computes on a GPU: the tuned one where it was found to be right and faster, or the
    /// one that every driver bears
    #[arg(long, global = true, value_enum, default_value_t)]
    pub engine: Engine,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the workbench and train for it
    Serve(Box<serve::Serve>),
    /// Train a LoRA from two pictures, or from the pairs of a folder
    Train(Box<train::Train>),
    /// Make a copier, upon which LoRAs are trained that are free of what it draws
    Copier(Box<copier::Copier>),
    /// Train a LoRA from two prompts, without pictures
    Slider(Box<slider::Slider>),
    /// Draw pictures, with or without LoRAs
    Sample(sample::Sample),
    /// Draw prompts × strengths of a LoRA on one sheet
    Grid(grid::Grid),
    /// Measure what a LoRA does to a pair
    Score(score::Score),
    /// Tell what a file is and what is in it, or which pictures of a folder are pairs
    Inspect(inspect::Inspect),
    /// Measure the methods, or the service
    #[command(subcommand)]
    Bench(Bench),
    /// Train a few steps on the CPU and on a device, and say how far apart the LoRAs are
    #[command(hide = true)]
    SelfTest(SelfTest),
    /// Print the completions for a shell
    #[command(hide = true)]
    Completions(manual::Completions),
    /// Print a manual page
    #[command(hide = true)]
    Man(manual::Manual),
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Every method on every bundled pair, as a table
    Methods(bench::Methods),
    /// What calibration and scores within a budget come to, beside the full ones
    Scores(bench_scores::BenchScores),
    /// How quickly a companion tells, and what it costs while nothing happens
    Service(bench_service::BenchService),
    /// Training steps of real models' sizes on the devices of this machine, without a checkpoint
    Device(bench_device::BenchDevice),
}

impl Cli {
    /// The device that the command computes on; none if it computes nothing here.
    pub fn device(&self) -> Option<&DeviceChoice> {
        match &self.command {
            Command::Serve(command) => Some(command.device()),
            Command::Train(command) => command.device(),
            Command::Copier(command) => command.device(),
            Command::Slider(command) => command.device(),
            Command::Sample(command) => Some(command.device()),
            Command::Grid(command) => Some(command.device()),
            Command::Score(command) => Some(command.device()),
            Command::Bench(Bench::Methods(command)) => Some(command.device()),
            Command::Bench(Bench::Scores(command)) => Some(command.device()),
            Command::Bench(Bench::Device(command)) => command.device.first(),
            // What is tried is this program.
            Command::SelfTest(_)
            | Command::Bench(Bench::Service(_))
            | Command::Inspect(_)
            | Command::Completions(_)
            | Command::Man(_) => None,
        }
    }

    /// Runs the command.
    ///
    /// # Errors
    /// One sentence for the user; [`crate::exit::of_error`] gives its exit code.
    pub async fn run(self, report: &mut Report) -> anyhow::Result<Exit> {
        // Boxed, because a command holds a whole base.
        let run: BoxFuture<'_, anyhow::Result<Exit>> = match self.command {
            Command::Serve(command) => Box::pin(command.run(report)),
            Command::Train(command) => Box::pin(command.run(report)),
            Command::Copier(command) => Box::pin(command.run(report)),
            Command::Slider(command) => Box::pin(command.run(report)),
            Command::Sample(command) => Box::pin(command.run(report)),
            Command::Grid(command) => Box::pin(command.run(report)),
            Command::Score(command) => Box::pin(command.run(report)),
            Command::Inspect(command) => Box::pin(command.run(report)),
            Command::Bench(Bench::Methods(command)) => Box::pin(command.run(report)),
            Command::Bench(Bench::Scores(command)) => Box::pin(command.run(report)),
            Command::Bench(Bench::Service(command)) => Box::pin(command.run(report)),
            Command::Bench(Bench::Device(command)) => Box::pin(command.run(report)),
            Command::SelfTest(command) => Box::pin(command.run(report)),
            Command::Completions(command) => Box::pin(ready(Ok(command.run()))),
            Command::Man(command) => Box::pin(ready(command.run())),
        };
        run.await
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
