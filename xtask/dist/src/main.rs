//! The archive for people without Rust: what `cargo xtask dist` puts into it, and how it is tested.
//!
//! ```text
//! program ─┐
//! licences ┼─▶ contents ─▶ archive ─▶ check: unpacked into an empty home, started, used, ended
//! texts   ─┘
//! ```

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program that talks to whoever started it"
)]

mod archive;
mod check;
mod contents;
mod licences;
mod sums;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "mimeo-dist", about = "Makes and checks Mimeo's archives.")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Make an archive.
    Make(Make),
    /// Test an archive: unpack it into an empty home, and use what is in it.
    Check(check::Arguments),
}

/// What an archive is made of.
#[derive(clap::Args)]
pub struct Make {
    /// The built program.
    #[arg(long)]
    program: PathBuf,
    /// The same with the compilers of the platform, which computes on a GPU where it was found to be
    /// right and faster.
    #[arg(long)]
    tuned: Option<PathBuf>,
    /// What it was built for, such as `x86_64-unknown-linux-gnu`.
    #[arg(long)]
    platform: String,
    /// Where it computes.
    #[arg(long, value_enum)]
    device: Device,
    /// The features it was built with, separated by commas.
    #[arg(long)]
    features: String,
    /// The checkout.
    #[arg(long)]
    root: PathBuf,
    /// The folder that the archive is put into.
    #[arg(long)]
    out: PathBuf,
}

/// Where a program computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Device {
    /// On a GPU where there is one.
    Gpu,
    /// On the CPU only.
    Cpu,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Make(arguments) => make(&arguments).and_then(check::run_on),
        Task::Check(arguments) => check::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Makes the archive and its sum beside it, and says where it is.
fn make(arguments: &Make) -> Result<PathBuf> {
    let name = arguments.name();
    let contents = contents::collect(arguments)?;
    println!("Packing {} files …", contents.len());
    let bytes = archive::pack(&name, &contents)?;
    let file = format!("{name}.{}", archive::EXTENSION);
    let sum = sums::line(&file, &bytes);

    fs::create_dir_all(&arguments.out)
        .with_context(|| format!("this folder cannot be made: {}", arguments.out.display()))?;
    let archive = arguments.out.join(&file);
    let beside = arguments.out.join(format!("{file}.sha256"));
    for (path, bytes) in [(&archive, bytes.as_slice()), (&beside, sum.as_bytes())] {
        fs::write(path, bytes)
            .with_context(|| format!("this file cannot be written: {}", path.display()))?;
    }
    Ok(archive)
}

impl Make {
    /// What the archive and the folder in it are called.
    fn name(&self) -> String {
        let device = match self.device {
            Device::Gpu => "",
            Device::Cpu => "-cpu",
        };
        let version = env!("CARGO_PKG_VERSION");
        format!("mimeo-{version}-{}{device}", self.platform)
    }
}
