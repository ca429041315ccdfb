//! `cargo xtask bench`: the same training job in Mimeo and in torch + diffusers + peft.
//!
//! Both sides train a LoRA on one pair with the empty prompt, on the CPU, with the same rank, batch
//! and threads, alternating, so that whatever else the machine does falls on both. Both print a JSON
//! line for each step, and both are measured from outside by the same code.
//! `tests/reference/bench_train.py` is torch's side. Beside the bundled base there are the real
//! widths of Stable Diffusion 1.5 and XL with random weights, which take as long as any others.

mod measure;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::python::Environment;
use crate::workspace::{Workspace, finish};
use measure::{Measurement, measure};

/// A bundled pair. The method *plain* trains on its target alone.
const ORIGINAL: &str = "shared/base/pairs/glasses/00_A.png";
const TARGET: &str = "shared/base/pairs/glasses/00_B.png";

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    environment: Environment,
    /// What the LoRA is of.
    #[arg(long, value_enum, default_value_t = Base::Bundled)]
    base: Base,
    /// Which method trains it.
    #[arg(long, value_enum, default_value_t = Method::Plain)]
    method: Method,
    /// Width and height of the pictures, px; the bundled base has its own.
    #[arg(long, default_value_t = 512)]
    size: u32,
    /// How often each side trains.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Steps of each training.
    #[arg(long, default_value_t = 40)]
    steps: u32,
    /// How many of them are warm-up.
    #[arg(long, default_value_t = 3)]
    warm_up: u32,
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

/// What the LoRA is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Base {
    /// The bundled base.
    Bundled,
    /// Stable Diffusion 1.5 with random weights (a file of 2 GB is made).
    Sd1,
    /// Stable Diffusion XL with random weights (7 GB).
    Sdxl,
}

/// Those that both sides know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Method {
    /// An ordinary LoRA.
    Plain,
    /// The direct difference.
    Addift,
}

impl Base {
    /// The word for it, which `random_checkpoint.py` knows too.
    const fn name(self) -> &'static str {
        match self {
            Self::Bundled => "bundled",
            Self::Sd1 => "sd1",
            Self::Sdxl => "sdxl",
        }
    }
}

impl Method {
    /// The word that both sides know.
    const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Addift => "addift",
        }
    }
}

/// A checkpoint that `random_checkpoint.py` has made.
struct MadeBase {
    family: &'static str,
    file: PathBuf,
}

pub fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let counted = arguments.steps.checked_sub(arguments.warm_up);
    if counted.is_none_or(|counted| counted == 0) {
        bail!("all steps are warm-up; give more --steps or less --warm-up");
    }
    let threads = match arguments.threads {
        Some(threads) => threads,
        None => available_parallelism()?.get(),
    };
    let scratch = workspace.target_path("bench");
    fs::create_dir_all(&scratch)
        .with_context(|| format!("this folder cannot be made: {}", scratch.display()))?;
    let made = arguments.make_base(workspace, &scratch)?;
    let mut torch = torch(workspace, arguments, made.as_ref(), threads)?;
    let mut mimeo = mimeo(workspace, arguments, made.as_ref(), threads, &scratch)?;

    let (rounds, steps, warm_up) = (arguments.rounds, arguments.steps, arguments.warm_up);
    println!(
        "{rounds} rounds of {steps} steps (the first {warm_up} of each not counted), \
         batch {}, rank {}, {threads} threads. On a busy machine \
         torch loses more than Mimeo: let nothing else run.",
        arguments.batch_size, arguments.rank
    );
    let mut mimeo_total = Measurement::default();
    let mut torch_total = Measurement::default();
    for round in 1..=rounds {
        let ours = measure(&mut mimeo, steps, warm_up).context("Mimeo's side")?;
        let theirs = measure(&mut torch, steps, warm_up).context("torch's side")?;
        println!(
            "round {round}: Mimeo {:.3} s/step, torch {:.3} s/step",
            ours.median_secs(),
            theirs.median_secs()
        );
        mimeo_total.add(&ours);
        torch_total.add(&theirs);
    }
    println!("\n{}", table::table(&mimeo_total, &torch_total));
    println!("\nTo repeat: cargo xtask bench {}", arguments.line(threads));
    Ok(())
}

impl Arguments {
    fn make_base(&self, workspace: &Workspace, scratch: &Path) -> Result<Option<MadeBase>> {
        if self.base == Base::Bundled {
            return Ok(None);
        }
        let family = self.base.name();
        let file = scratch.join(format!("{family}.safetensors"));
        let mut script = self.environment.script(workspace, "random_checkpoint.py")?;
        finish(script.args([family, "--full", "--out"]).arg(&file))?;
        Ok(Some(MadeBase { family, file }))
    }

    /// The command line that repeats it.
    fn line(&self, threads: usize) -> String {
        format!(
            "--base {} --method {} --size {} --rounds {} --steps {} --warm-up {} --batch-size {} \
             --rank {} --threads {threads}{}",
            self.base.name(),
            self.method.name(),
            self.size,
            self.rounds,
            self.steps,
            self.warm_up,
            self.batch_size,
            self.rank,
            if self.compile { " --compile" } else { "" }
        )
    }
}

fn torch(
    workspace: &Workspace,
    arguments: &Arguments,
    made: Option<&MadeBase>,
    threads: usize,
) -> Result<Command> {
    let mut command = arguments.environment.script(workspace, "bench_train.py")?;
    add_job(&mut command, arguments, made);
    command.args(["--threads", &threads.to_string()]);
    if let Some(MadeBase { family, file }) = made {
        command.args(["--family", family, "--file"]).arg(file);
    }
    if arguments.compile {
        command.arg("--compile");
    }
    Ok(command)
}

fn mimeo(
    workspace: &Workspace,
    arguments: &Arguments,
    made: Option<&MadeBase>,
    threads: usize,
    scratch: &Path,
) -> Result<Command> {
    let mut command = workspace.command(workspace.build_mimeo()?);
    command
        .args(["train", "--device", "cpu", "--json", "--overwrite"])
        .args(["--no-score", "--no-calibrate"]);
    add_job(&mut command, arguments, made);
    if let Some(MadeBase { file, .. }) = made {
        command.arg("--base").arg(file);
    }
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
fn add_job(command: &mut Command, arguments: &Arguments, made: Option<&MadeBase>) {
    command
        .args(["--method", arguments.method.name()])
        .args(["--steps", &arguments.steps.to_string()])
        .args(["--batch-size", &arguments.batch_size.to_string()])
        .args(["--rank", &arguments.rank.to_string()]);
    if made.is_some() {
        command.args(["--size", &arguments.size.to_string()]);
    }
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
