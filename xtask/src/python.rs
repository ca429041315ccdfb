//! The Python environment of the reference scripts, and the two commands that only run a script.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workspace::{Workspace, finish, same_contents, succeeds};

const SCRIPTS: &str = "tests/reference";

/// The oldest Python that the pinned torch runs on.
const OLDEST_PYTHON: &str = "3.11";

#[derive(clap::Args)]
pub struct FixturesArguments {
    #[command(flatten)]
    environment: Environment,
    /// Arguments for tests/reference/generate.py, such as `--only vae`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

#[derive(clap::Args)]
pub struct CheckLoraArguments {
    #[command(flatten)]
    environment: Environment,
    /// A LoRA of the bundled base; without it Mimeo trains one on a checkpoint of each family, and
    /// other programs draw with both.
    file: Option<PathBuf>,
    /// The families at their real widths, beside stable-diffusion.cpp too (9 GB of disk, 20 GB of
    /// memory).
    #[arg(long, conflicts_with = "file")]
    full: bool,
    /// More arguments for tests/reference/check_lora.py.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Those of which stable-diffusion.cpp says as much as diffusers.
const WITH_THREE_READERS: [&str; 2] = ["sd1", "sdxl"];
const FAMILIES: [&str; 3] = ["sd1", "sd2", "sdxl"];

/// Which Python runs the scripts.
#[derive(clap::Args)]
pub struct Environment {
    /// A Python that has tests/reference/requirements.txt; without it one is set up (several GB).
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
}

/// `cargo xtask fixtures`.
pub fn fixtures(workspace: &Workspace, arguments: &FixturesArguments) -> Result<()> {
    let mut script = arguments.environment.script(workspace, "generate.py")?;
    finish(script.args(&arguments.arguments))
}

/// `cargo xtask check-lora`.
pub fn check_lora(workspace: &Workspace, arguments: &CheckLoraArguments) -> Result<()> {
    let Some(file) = &arguments.file else {
        return check_readers(workspace, arguments);
    };
    // The script runs in the root of the repository; the path is relative to where the user is.
    let file = fs::canonicalize(file)
        .with_context(|| format!("there is no such LoRA: {}", file.display()))?;
    let mut script = arguments.environment.script(workspace, "check_lora.py")?;
    finish(script.arg(file).args(&arguments.arguments))
}

fn check_readers(workspace: &Workspace, arguments: &CheckLoraArguments) -> Result<()> {
    let mut script = arguments
        .environment
        .script(workspace, "check_readers.py")?;
    script.arg("--mimeo").arg(workspace.build_mimeo()?);
    script.arg("--work").arg(workspace.target_path("readers"));
    if arguments.full {
        script.arg("--full").args(WITH_THREE_READERS);
    } else {
        script.args(FAMILIES);
    }
    finish(script.args(&arguments.arguments))
}

impl Environment {
    /// A script of `tests/reference`, ready to run.
    pub fn script(&self, workspace: &Workspace, name: &str) -> Result<Command> {
        let python = match &self.python {
            Some(python) => std::path::absolute(python)?,
            None => set_up(workspace)?,
        };
        let mut command = workspace.command(python);
        command.arg(workspace.path(SCRIPTS).join(name));
        Ok(command)
    }
}

/// Makes or updates the virtual environment among the build outputs, and says where its Python is.
fn set_up(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target_path("reference-venv");
    let python = folder.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    let requirements = workspace.path(SCRIPTS).join("requirements.txt");
    // Written last, so an interrupted installation is taken up again.
    let installed = folder.join("installed.txt");
    if same_contents(&requirements, &installed) {
        return Ok(python);
    }

    println!(
        "Setting up torch and diffusers (several GB) in {} …",
        folder.display()
    );
    if !succeeds(Command::new(&python).arg("--version")) {
        let system = system_python()?;
        finish(Command::new(system).args(["-m", "venv"]).arg(&folder))
            .context("Python cannot make an environment; on Debian, install python3-venv")?;
    }
    finish(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(&requirements),
    )?;
    fs::copy(&requirements, &installed)
        .with_context(|| format!("this file cannot be written: {}", installed.display()))?;
    Ok(python)
}

fn system_python() -> Result<&'static str> {
    let recent_enough = format!(
        "import sys; sys.exit(sys.version_info < tuple(map(int, '{OLDEST_PYTHON}'.split('.'))))"
    );
    for name in ["python3", "python", "py"] {
        if succeeds(Command::new(name).args(["-c", &recent_enough])) {
            return Ok(name);
        }
    }
    bail!(
        "the reference scripts need Python {OLDEST_PYTHON} or newer; install it, or name one with --python"
    )
}
