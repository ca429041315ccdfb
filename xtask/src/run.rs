//! `cargo xtask run`: from a checkout to the workbench in the browser.

use std::env;
use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::install;
use crate::machine::{self, gpu};
use crate::page;
use crate::progress::{Part, Progress, clock};
use crate::tuned;
use crate::workspace::{Workspace, named};

/// The room that a build from nothing takes, sources of crates included, and some to work with: 3.7 GB
/// for the CPU; 1.0 more with GPU support, 1.4 with the browser's trainer.
const CPU_BYTES: u64 = 4 << 30;
const GPU_BYTES: u64 = 3 << 30;
const TRAINER_BYTES: u64 = 3 << 29;

#[derive(clap::Args)]
pub struct Arguments {
    /// Build with GPU support, whether or not a GPU is found.
    #[arg(long, conflicts_with = "cpu")]
    gpu: bool,
    /// Build for the CPU only: much less is compiled.
    #[arg(long)]
    cpu: bool,
    /// Build the browser's own trainer too, for *Train on: this browser*.
    #[arg(long)]
    browser: bool,
    /// Arguments for `mimeo serve`, such as `--no-open` or `--port 7000`.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

/// Builds the page and the program, and serves until Ctrl+C.
pub fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let has_gpu = decide(workspace, arguments);
    let mut needed = CPU_BYTES;
    let mut parts = vec![Part::Program, Part::Page];
    if has_gpu {
        needed += GPU_BYTES;
        parts = vec![Part::GpuProgram, Part::TunedProgram, Part::Page];
    }
    if arguments.browser {
        needed += TRAINER_BYTES;
        parts.push(Part::Trainer);
    }
    let mut progress = Progress::new(workspace, &parts);
    let expected = progress.expected_secs();
    if expected > 0.0 {
        machine::check(workspace, needed)?;
        println!(
            "The first build takes about {} on a computer with two cores; later ones take seconds. \
             Meanwhile, README.md says what copy machine learning is, and the pictures in .readme \
             show it.",
            clock(expected)
        );
    }
    install::wasm_target(workspace)?;

    let features = features(has_gpu, &arguments.arguments);
    let built = progress.build(
        workspace
            .cargo()
            .args(["build", "--package", "mimeo-companion"])
            .args(["--package", "mimeo-page", "--no-default-features"])
            .args(["--features", &features]),
    )?;
    let program = named(&built, "mimeo")?;
    if has_gpu {
        let tuned = progress.build(&mut tuned::build(workspace, &features))?;
        tuned::put_beside(&program, &named(&tuned, "mimeo")?)?;
    } else {
        tuned::remove_beside(&program);
    }
    // It shares macros and build scripts with the program, and is not optimised as a whole.
    let page = progress.build(&mut page::compile(workspace, page::APP, "dev"))?;
    let mut programs = vec![(page::APP, named(&page, page::APP)?)];
    if arguments.browser {
        let trainer = progress.build(&mut page::compile(workspace, page::WORKER, page::FAST))?;
        programs.push((page::WORKER, named(&trainer, page::WORKER)?));
    }
    page::make(
        workspace,
        &named(&built, page::MAKER)?,
        &programs,
        &workspace.path(page::BUILT),
    )?;
    println!();
    become_program(
        workspace
            .command(program)
            // Paths among the arguments are relative to where the user is.
            .current_dir(env::current_dir().context("this folder was deleted; choose another")?)
            .arg("serve")
            .args(&arguments.arguments),
    )
}

/// Whether to build with GPU support; says so, and how to have it otherwise.
fn decide(workspace: &Workspace, arguments: &Arguments) -> bool {
    if arguments.gpu || arguments.cpu {
        return arguments.gpu;
    }
    match gpu::find(workspace) {
        gpu::Found::Gpu { evidence } => {
            println!(
                "A GPU was found ({evidence}), so Mimeo is built with GPU support. \
                 `cargo xtask run --cpu` builds it without: much less is compiled."
            );
            true
        }
        gpu::Found::None { reason } => {
            println!(
                "No GPU was found ({reason}), so Mimeo is built for the CPU. \
                 `cargo xtask run --gpu` builds it with GPU support."
            );
            false
        }
    }
}

/// The companion's features that this build needs.
fn features(has_gpu: bool, arguments: &[OsString]) -> String {
    let mut features = Vec::new();
    if has_gpu {
        features.push("mimeo-companion/gpu");
    }
    // Beyond this computer it listens with TLS only.
    let listens = |argument: &OsString| {
        let text = argument.to_string_lossy();
        text == "--listen" || text.starts_with("--listen=")
    };
    if arguments.iter().any(listens) {
        features.push("mimeo-companion/tls");
    }
    features.join(",")
}

/// Ends only with the program, in whose hands Ctrl+C then is: it still saves the running job.
#[cfg(unix)]
fn become_program(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    Err(command.exec()).context("the built program does not start")
}

/// As above, but that both hear Ctrl+C.
#[cfg(not(unix))]
fn become_program(command: &mut Command) -> Result<()> {
    crate::workspace::finish(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features_of(has_gpu: bool, arguments: &[&str]) -> String {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        features(has_gpu, &arguments)
    }

    #[test]
    fn tls_is_built_in_for_those_who_listen_beyond_this_computer() {
        assert_eq!(features_of(false, &["--port", "7000"]), "", "the least");
        assert_eq!(
            features_of(false, &["--listen", "0.0.0.0:7878"]),
            "mimeo-companion/tls",
            "as two words"
        );
        assert_eq!(
            features_of(true, &["--listen=0.0.0.0:7878"]),
            "mimeo-companion/gpu,mimeo-companion/tls",
            "as one, on a GPU"
        );
    }
}
