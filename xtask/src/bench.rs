//! `cargo xtask bench`: the same job in Mimeo and in other programs.
//!
//! Mimeo and torch + diffusers + peft train a LoRA on one pair with the empty prompt, on the CPU, with
//! the same rank, batch and threads; or all draw one picture, stable-diffusion.cpp too where it has the
//! base. They take turns, so that whatever else the machine does falls on all. Each prints a JSON line
//! for each step, and all are measured from outside by the same code.
//! `tests/reference/bench_train.py` and `bench_sample.py` are the others' sides. Beside the bundled base
//! there are the real widths of Stable Diffusion 1.5 and XL with random weights, which take as long as
//! any others.

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
/// What is drawn; `bench_sample.py` has it too.
const PROMPT: &str = "a woman with round glasses, smiling";

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
    /// Draw a picture instead, with guidance: a step is one of the sampler's.
    #[arg(long, conflicts_with_all = ["method", "batch_size", "rank", "compile"])]
    draw: bool,
    /// Width and height of the pictures, px; the bundled base has its own.
    #[arg(long, default_value_t = 512)]
    size: u32,
    /// How often each side does it.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Steps of each run.
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
    /// Whether Mimeo computes layers twice instead of keeping them: auto, off or on.
    #[arg(long, default_value = "auto")]
    recompute: String,
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
    let mut mimeo = mimeo(workspace, arguments, made.as_ref(), threads, &scratch)?;
    let mut others = others(workspace, arguments, made.as_ref(), threads)?;

    let (rounds, steps, warm_up) = (arguments.rounds, arguments.steps, arguments.warm_up);
    let what = match arguments.draw {
        true => "one picture with guidance".to_owned(),
        false => format!("batch {}, rank {}", arguments.batch_size, arguments.rank),
    };
    println!(
        "{rounds} rounds of {steps} steps (the first {warm_up} of each not counted), {what}, \
         {threads} threads. On a busy machine torch loses more than Mimeo: let nothing else run."
    );
    let mut mimeo_total = Measurement::default();
    let mut totals: Vec<(&str, Measurement)> = others
        .iter()
        .map(|(name, _)| (*name, Measurement::default()))
        .collect();
    for round in 1..=rounds {
        let ours = measure(&mut mimeo, steps, warm_up).context("Mimeo's side")?;
        print!("round {round}: Mimeo {:.3} s/step", ours.median_secs());
        mimeo_total.add(&ours);
        for ((name, command), (_, total)) in others.iter_mut().zip(&mut totals) {
            let theirs = measure(command, steps, warm_up);
            let theirs = theirs.with_context(|| format!("the side of {name}"))?;
            print!(", {name} {:.3} s/step", theirs.median_secs());
            total.add(&theirs);
        }
        println!();
    }
    println!("\n{}", table::table(&mimeo_total, &totals));
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
        let common = format!(
            "--base {} --size {} --rounds {} --steps {} --warm-up {} --threads {threads}",
            self.base.name(),
            self.size,
            self.rounds,
            self.steps,
            self.warm_up,
        );
        if self.draw {
            return format!("{common} --draw");
        }
        format!(
            "{common} --method {} --batch-size {} --rank {} --recompute {}{}",
            self.method.name(),
            self.batch_size,
            self.rank,
            self.recompute,
            if self.compile { " --compile" } else { "" }
        )
    }
}

/// What torch's column is called, and the one of a program that computes in f16.
const TORCH: &str = "torch";
const STABLE_DIFFUSION_CPP: &str = "stable-diffusion.cpp";

/// The other sides, each with its name.
fn others(
    workspace: &Workspace,
    arguments: &Arguments,
    made: Option<&MadeBase>,
    threads: usize,
) -> Result<Vec<(&'static str, Command)>> {
    if !arguments.draw {
        return Ok(vec![(TORCH, torch(workspace, arguments, made, threads)?)]);
    }
    let drawing = |program: &'static str| {
        let mut command = arguments.environment.script(workspace, "bench_sample.py")?;
        command.args(["--program", program]);
        command.args(["--steps", &arguments.steps.to_string()]);
        command.args(["--threads", &threads.to_string()]);
        add_base(&mut command, arguments, made);
        Ok::<_, anyhow::Error>((program, command))
    };
    let mut sides = vec![drawing(TORCH)?];
    if made.is_some() {
        sides.push(drawing(STABLE_DIFFUSION_CPP)?);
    }
    Ok(sides)
}

/// The base and the size, for a script.
fn add_base(command: &mut Command, arguments: &Arguments, made: Option<&MadeBase>) {
    if let Some(MadeBase { family, file }) = made {
        command.args(["--family", family, "--file"]).arg(file);
        command.args(["--size", &arguments.size.to_string()]);
    }
}

fn torch(
    workspace: &Workspace,
    arguments: &Arguments,
    made: Option<&MadeBase>,
    threads: usize,
) -> Result<Command> {
    let mut command = arguments.environment.script(workspace, "bench_train.py")?;
    add_job(&mut command, arguments);
    command.args(["--threads", &threads.to_string()]);
    add_base(&mut command, arguments, made);
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
    if arguments.draw {
        command
            .args(["sample", "--prompt", PROMPT, "--sampler", "euler"])
            .args(["--steps", &arguments.steps.to_string()])
            .arg("--out")
            .arg(scratch.join("picture.png"));
    } else {
        command
            .args(["train", "--no-score", "--no-calibrate"])
            .args(["--recompute", &arguments.recompute]);
        add_job(&mut command, arguments);
        command
            .arg("--original")
            .arg(workspace.path(ORIGINAL))
            .arg("--target")
            .arg(workspace.path(TARGET))
            .arg("--out")
            .arg(scratch.join("lora.safetensors"));
    }
    command.args(["--device", "cpu", "--json", "--overwrite"]);
    if let Some(MadeBase { file, .. }) = made {
        command.arg("--base").arg(file);
        command.args(["--size", &arguments.size.to_string()]);
    }
    command.env("RAYON_NUM_THREADS", threads.to_string());
    Ok(command)
}

/// The flags of training that both sides know under the same name.
fn add_job(command: &mut Command, arguments: &Arguments) {
    command
        .args(["--method", arguments.method.name()])
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
