//! The two commands of the README, `cargo xtask run` and `cargo xtask test`; two for those who only
//! want to use Mimeo, `page` and `dist`; three for work on the numbers, `fixtures`, `check-lora` and
//! `bench`, which make their own Python environment; and two that take their time, `fuzz` and `soak`.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program that talks to whoever started it"
)]

mod bench;
mod checks;
mod dist;
mod endurance;
mod install;
mod lints;
mod machine;
mod measure_start;
mod page;
mod progress;
mod python;
mod run;
mod tuned;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Runs and checks Mimeo.")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build Mimeo and its workbench, and open it in the browser.
    Run(run::Arguments),
    /// Build the page alone, for the next `cargo install --path companion` or a static host.
    Page,
    /// Make a program for people without Rust: an archive for this platform, checked.
    Dist(dist::Arguments),
    /// Run every check, the same for people and CI.
    Test(checks::Arguments),
    /// Write the fixtures of the parity tests again, with torch and diffusers.
    Fixtures(python::FixturesArguments),
    /// Let other programs read what Mimeo reads and writes, and compare what they draw.
    CheckLora(python::CheckLoraArguments),
    /// Compare the speed of training with torch + diffusers + peft.
    Bench(bench::Arguments),
    /// Measure how long a newcomer waits.
    MeasureStart(measure_start::Arguments),
    /// Feed random bytes to everything that reads bytes from strangers.
    Fuzz(endurance::FuzzArguments),
    /// Kill the companion at random moments, over and over.
    Soak(endurance::SoakArguments),
}

fn main() -> ExitCode {
    if let Some(compiled) = lints::wrap() {
        return compiled;
    }
    perform(Arguments::parse().task).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn perform(task: Task) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match task {
        Task::Run(arguments) => run::run(&workspace, &arguments)?,
        Task::Page => page::build(&workspace)?,
        Task::Dist(arguments) => dist::run(&workspace, &arguments)?,
        Task::Test(arguments) => return checks::run(&workspace.linted()?, &arguments),
        Task::Fixtures(arguments) => python::fixtures(&workspace, &arguments)?,
        Task::CheckLora(arguments) => python::check_lora(&workspace, &arguments)?,
        Task::Bench(arguments) => bench::run(&workspace, &arguments)?,
        Task::MeasureStart(arguments) => measure_start::run(&workspace, &arguments)?,
        Task::Fuzz(arguments) => endurance::fuzz(&workspace, &arguments)?,
        Task::Soak(arguments) => endurance::soak(&workspace, &arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}
