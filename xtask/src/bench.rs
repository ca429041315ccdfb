//! `cargo xtask bench`: the same training job in Mimeo and in torch + diffusers + peft.
//!
//! Both sides train an ordinary LoRA of the bundled base on one picture with the empty prompt, on
//! the CPU, with the same rank, batch and threads, alternating, so that whatever else the machine
//! does falls on both. Both print a JSON line for each step, and both are measured from outside by
//! the same code. `tests/reference/bench_train.py` is torch's side.

mod measure;
mod table;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::{Context as _, Result};

use crate::python::Environment;
use crate::workspace::Workspace;
use measure::{Measurement, WARM_UP_STEPS, measure};

/// A bundled pair. The method *plain* trains on its target alone, as torch's side does.
const ORIGINAL: &str = "shared/base/pairs/glasses/00_A.png";
const TARGET: &str = "shared/base/pairs/glasses/00_B.png";

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    environment: Environment,
    /// How often each side trains.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Steps of each training; the first three are warm-up.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(4..))]
    steps: u32,
    /// Rows in a batch.
    #[arg(long, default_value_t = 4)]
    batch_size: u32,
    /// LoRA inner size.
    #[arg(long, default_value_t = 16)]
    rank: u32,
    /// CPU threads of each side; all of them if not given.
    #[arg(long)]
    threads: Option<usize>,
    /// Let torch compile its UNet (needs a C++ compiler).
    #[arg(long)]
    compile: bool,
}

pub fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let threads = match arguments.threads {
        Some(threads) => threads,
        None => available_parallelism()?.get(),
    };
    let mut torch = torch(workspace, arguments, threads)?;
    let scratch = workspace.target_path("bench");
    fs::create_dir_all(&scratch)
        .with_context(|| format!("this folder cannot be made: {}", scratch.display()))?;
    let mut mimeo = mimeo(workspace, arguments, threads, &scratch)?;

    let (rounds, steps) = (arguments.rounds, arguments.steps);
    println!(
        "{rounds} rounds of {steps} steps (the first {WARM_UP_STEPS} of each not counted), \
         batch {}, rank {}, {threads} threads. On a busy machine \
         torch loses more than Mimeo: let nothing else run.",
        arguments.batch_size, arguments.rank
    );
    let mut mimeo_total = Measurement::default();
    let mut torch_total = Measurement::default();
    for round in 1..=rounds {
        let ours = measure(&mut mimeo, steps).context("Mimeo's side")?;
        let theirs = measure(&mut torch, steps).context("torch's side")?;
        println!(
            "round {round}: Mimeo {:.3} s/step, torch {:.3} s/step",
            ours.median_secs(),
            theirs.median_secs()
        );
        mimeo_total.add(&ours);
        torch_total.add(&theirs);
    }
    println!("\n{}", table::table(&mimeo_total, &torch_total));
    println!(
        "\nTo repeat: cargo xtask bench --rounds {rounds} --steps {steps} --batch-size {} --rank {} \
         --threads {threads}{}",
        arguments.batch_size,
        arguments.rank,
        if arguments.compile { " --compile" } else { "" }
    );
    Ok(())
}

fn torch(workspace: &Workspace, arguments: &Arguments, threads: usize) -> Result<Command> {
    let mut command = arguments.environment.script(workspace, "bench_train.py")?;
    add_job(&mut command, arguments);
    command.args(["--threads", &threads.to_string()]);
    if arguments.compile {
        command.arg("--compile");
    }
    Ok(command)
}

fn mimeo(
    workspace: &Workspace,
    arguments: &Arguments,
    threads: usize,
    scratch: &Path,
) -> Result<Command> {
    let mut command = workspace.command(workspace.build_mimeo()?);
    command
        .args(["train", "--base", "bundled", "--device", "cpu", "--json"])
        .args(["--method", "plain", "--overwrite"])
        .args(["--no-score", "--no-calibrate"]);
    add_job(&mut command, arguments);
    command
        .arg("--original")
        .arg(workspace.path(ORIGINAL))
        .arg("--target")
        .arg(workspace.path(TARGET))
        .arg("--out")
        .arg(scratch.join("lora.safetensors"))
        .env("RAYON_NUM_THREADS", threads.to_string());
    Ok(command)
}

/// The flags that both sides know under the same name.
fn add_job(command: &mut Command, arguments: &Arguments) {
    command
        .args(["--steps", &arguments.steps.to_string()])
        .args(["--batch-size", &arguments.batch_size.to_string()])
        .args(["--rank", &arguments.rank.to_string()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pair_is_bundled() {
        let workspace = Workspace::find().unwrap();
        for file in [ORIGINAL, TARGET] {
            assert!(workspace.path(file).is_file(), "missing: {file}");
        }
    }
}
