//! Where the repository is, and how the programs in it are built and called.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use cargo_metadata::{Message, MetadataCommand};
use etcetera::BaseStrategy as _;

use crate::lints::Lints;

/// The checkout that this program was started in.
pub struct Workspace {
    root: PathBuf,
    target: PathBuf,
    /// This program, as it was called: a build may put another one in its place.
    program: PathBuf,
    /// What lints and documents what a build compiles of ours.
    lints: Option<Lints>,
}

impl Workspace {
    /// Asks cargo, which knows about `CARGO_TARGET_DIR` and the user's configuration.
    pub fn find() -> Result<Self> {
        // Asked of cargo as it runs this program: checkouts that share a target folder share the
        // compiled program too, which must not remember the one that it was compiled in.
        let here = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| ".".into());
        let metadata = MetadataCommand::new()
            .cargo_path(cargo_path())
            .current_dir(here)
            .no_deps()
            .exec()
            .context("cargo cannot read this workspace; see its reason below")?;
        Ok(Self {
            root: metadata.workspace_root.into(),
            target: metadata.target_directory.into(),
            program: env::current_exe().context("this program does not know where it is")?,
            lints: None,
        })
    }

    /// The same, whose builds lint and document what they compile of ours.
    ///
    /// # Errors
    /// See [`Lints::find`].
    pub fn linted(self) -> Result<Self> {
        let lints = Some(Lints::find(&self)?);
        Ok(Self { lints, ..self })
    }

    /// This program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// A path in the repository.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// A path among the build outputs.
    pub fn target_path(&self, relative: &str) -> PathBuf {
        self.target.join(relative)
    }

    /// A path in the user's cache, for all checkouts.
    pub fn cache_path(&self, relative: &str) -> Result<PathBuf> {
        let folders = etcetera::choose_base_strategy()
            .context("what is kept between builds has no place without a home folder; set HOME")?;
        Ok(folders.cache_dir().join("mimeo").join(relative))
    }

    /// A program that will run in the root of the repository.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(&self.root);
        if env::var_os("XDG_RUNTIME_DIR").is_none() {
            // Without a desktop, Mesa's choice among adapters complains on every start.
            command.env("NODEVICE_SELECT", "1");
        }
        command
    }

    /// The cargo that runs this program, as if people had called it.
    pub fn cargo(&self) -> Command {
        let mut cargo = self.command(cargo_path());
        // What it told this program of itself, build scripts of dependencies would take for a change.
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(name);
            }
        }
        cargo
    }

    /// A cargo that builds something of ours.
    pub fn building_cargo(&self) -> Command {
        let mut cargo = self.cargo();
        if let Some(lints) = &self.lints {
            lints.join(&mut cargo);
        }
        cargo
    }

    /// The compiler that this cargo calls.
    pub fn rustc(&self) -> Command {
        self.command(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
    }

    /// The version of a dependency in `Cargo.lock`.
    ///
    /// - `platform`: one that the dependency is built for
    pub fn locked_version(&self, package: &str, platform: &str) -> Result<String> {
        let metadata = MetadataCommand::new()
            .cargo_path(cargo_path())
            .current_dir(&self.root)
            // Without it, cargo would download what only other platforms need.
            .other_options(["--filter-platform", platform].map(str::to_owned))
            .exec()
            .context("cargo cannot resolve the dependencies; see its reason below")?;
        let mut packages = metadata.packages.into_iter();
        let found = packages.find(|known| known.name == package);
        let found = found.with_context(|| format!("nothing in Cargo.lock is called {package}"))?;
        Ok(found.version.to_string())
    }

    /// Builds the binary `mimeo` and says where it is.
    pub fn build_mimeo(&self) -> Result<PathBuf> {
        println!("Building mimeo (the first time takes several minutes) …");
        let mut cargo = self.building_cargo();
        // The whole workspace, as the tests build it: a package by itself would resolve other
        // features for Burn's dependencies and compile all of it a second time.
        cargo.args(["build", "--workspace", "--bins"]);
        if cfg!(windows) {
            // It lets nobody replace a program that runs.
            cargo.args(["--exclude", "xtask"]);
        }
        executable("mimeo", &mut cargo)
    }
}

/// What cargo built: the executables by the names of their targets.
pub type Executables = BTreeMap<String, PathBuf>;

/// Lets cargo build something and says where the executable of that name is.
pub fn executable(name: &str, cargo: &mut Command) -> Result<PathBuf> {
    let output = cargo
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("cargo does not start; install Rust from https://rustup.rs")?;
    if !output.status.success() {
        bail!("{name} does not build; cargo says above what is wrong");
    }
    let mut executables = Executables::new();
    for message in Message::parse_stream(output.stdout.as_slice()) {
        if let Message::CompilerArtifact(artifact) = message?
            && let Some(executable) = artifact.executable
        {
            executables.insert(artifact.target.name, executable.into());
        }
    }
    named(&executables, name)
}

/// One of the executables that cargo built.
pub fn named(executables: &Executables, name: &str) -> Result<PathBuf> {
    let found = executables.get(name).cloned();
    found.with_context(|| format!("cargo built no executable `{name}`; is it in a Cargo.toml?"))
}

/// Runs a program to its end, with its output on this terminal.
pub fn finish(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("`{}` does not start; is it installed?", short(command)))?;
    if !status.success() {
        bail!("`{}` failed and says above why ({status})", short(command));
    }
    Ok(())
}

/// A program as one would say it: its name and its first argument, such as `cargo fmt`.
pub fn short(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words = [name].into_iter().chain(command.get_args().take(1));
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    words.join(" ")
}

/// Runs a program for its answer: whether it started and succeeded. Its output is not shown.
pub fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Runs a program for what it prints; none if it does not start or fails.
pub fn answer(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(output.stdout.trim_ascii()).into_owned();
    output.status.success().then_some(text)
}

/// Whether both files are there and the same.
pub fn same_contents(left: &Path, right: &Path) -> bool {
    matches!((fs::read(left), fs::read(right)), (Ok(left), Ok(right)) if left == right)
}

fn cargo_path() -> PathBuf {
    env::var_os("CARGO")
        .unwrap_or_else(|| OsString::from("cargo"))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_found_from_any_folder() {
        let workspace = Workspace::find().unwrap();
        assert!(
            workspace.path("xtask/Cargo.toml").is_file(),
            "the root is the folder above xtask"
        );
    }

    #[test]
    fn a_program_that_fails_is_an_error_that_names_it() {
        let workspace = Workspace::find().unwrap();
        let mut command = workspace.cargo();
        command.arg("no-such-subcommand").stderr(Stdio::null());
        let error = finish(&mut command).unwrap_err().to_string();
        assert!(
            error.contains("`cargo no-such-subcommand` failed"),
            "the sentence names it: {error}"
        );
    }

    #[test]
    fn a_program_that_is_not_there_does_not_succeed() {
        let mut command = Command::new("mimeo-no-such-program");
        assert!(!succeeds(&mut command), "nothing can have run");
        assert_eq!(answer(&mut command), None, "nor can it have said anything");
    }

    #[test]
    fn what_is_installed_is_current_only_with_exactly_the_wanted_list() {
        let folder = tempfile::tempdir().unwrap();
        let [wanted, installed] =
            ["wanted.txt", "installed.txt"].map(|name| folder.path().join(name));
        fs::write(&wanted, "torch==2\n").unwrap();
        assert!(
            !same_contents(&wanted, &installed),
            "nothing is installed yet"
        );
        fs::write(&installed, "torch==1\n").unwrap();
        assert!(!same_contents(&wanted, &installed), "an older torch");
        fs::write(&installed, "torch==2\n").unwrap();
        assert!(same_contents(&wanted, &installed), "the same torch");
    }
}
