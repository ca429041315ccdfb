//! Lints and documentation of our own crates in the same pass as a build: this program as cargo's
//! `RUSTC_WORKSPACE_WRAPPER`.
//!
//! `cargo clippy` and `cargo doc` by themselves check every dependency once more for each target, which
//! is an eighth of all that a first `cargo xtask test` computes. Here each of our crates is compiled,
//! linted and documented beside the dependencies that the build has anyway; cargo remembers what went
//! through, and tries again what did not.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitCode, ExitStatus};

use anyhow::{Context as _, Result};

use crate::workspace::{Workspace, answer, same_contents};

/// Where `clippy-driver` and `rustdoc` are; says too that this program was started as a wrapper.
const TOOLS: &str = "XTASK_TOOLS";

/// The crates that are empty, or nearly so, elsewhere than in a browser; as the compiler calls them.
const PAGE_ONLY: [&str; 2] = ["mimeo_app", "mimeo_worker"];

/// What lints and documents, found before any build: cargo puts a new `xtask` in the place of the one
/// that runs.
pub struct Lints {
    tools: PathBuf,
    wrapper: PathBuf,
}

impl Lints {
    /// Finds the compilers, and puts this program where no build replaces it.
    ///
    /// # Errors
    /// When the compilers cannot be found, or the copy cannot be written.
    pub fn find(workspace: &Workspace) -> Result<Self> {
        let sysroot = answer(workspace.rustc().args(["--print", "sysroot"]))
            .context("rustc does not say where it is; install Rust from https://rustup.rs")?;
        Ok(Self {
            tools: Path::new(&sysroot).join("bin"),
            wrapper: wrapper(workspace)?,
        })
    }

    /// Lets a build of cargo's lint and document what it compiles of ours; a warning is an error.
    pub fn join(&self, cargo: &mut Command) {
        cargo
            .env(TOOLS, &self.tools)
            .env("RUSTC_WORKSPACE_WRAPPER", &self.wrapper);
    }
}

fn wrapper(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target_path("xtask");
    let name = format!("lints{}", env::consts::EXE_SUFFIX);
    let wrapper = folder.join(&name);
    if !same_contents(workspace.program(), &wrapper) {
        let copied = folder.join(format!("{name}.{}", process::id()));
        fs::create_dir_all(&folder)
            .and_then(|()| fs::copy(workspace.program(), &copied))
            // Whole or not at all: another step may start it now.
            .and_then(|_bytes| fs::rename(&copied, &wrapper))
            .with_context(|| format!("this file cannot be written: {}", wrapper.display()))?;
    }
    Ok(wrapper)
}

/// Does what cargo wants of a compiler, if that is what this program was started for.
pub fn wrap() -> Option<ExitCode> {
    let tools = PathBuf::from(env::var_os(TOOLS)?);
    let mut arguments = env::args_os().skip(1);
    let rustc = arguments.next()?;
    let arguments: Vec<_> = arguments.collect();
    let compiled = compile(&tools, &rustc, &arguments);
    Some(compiled.unwrap_or_else(|error| {
        eprintln!("error: a compiler does not start ({error}); is clippy installed?");
        ExitCode::FAILURE
    }))
}

fn compile(tools: &Path, rustc: &OsStr, arguments: &[OsString]) -> io::Result<ExitCode> {
    let mut build = Command::new(rustc);
    build.args(arguments);
    let Some(unit) = Unit::read(arguments) else {
        return Ok(code(build.status()?));
    };
    // The lints are clippy's to tell.
    let status = build.arg("--cap-lints=allow").status()?;
    if !status.success() {
        return Ok(code(status));
    }
    let scratch = unit.out_dir.join(format!("lints-{}", process::id()));
    fs::create_dir_all(&scratch)?;
    let status = check(tools, rustc, &unit, &scratch);
    let noted = note_what_was_read(&scratch, &unit.out_dir);
    fs::remove_dir_all(&scratch)?;
    noted?;
    Ok(code(status?))
}

/// Tells cargo what clippy read, in place of what the compiler read: the same, and `clippy.toml`. So a
/// crate is linted anew when its rules have changed. Of what else the checks write, nobody reads anything.
fn note_what_was_read(scratch: &Path, out_dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(scratch)? {
        let written = entry?.path();
        if let Some(name) = written.file_name().filter(|_| is_dep_info(&written)) {
            let read = fs::read_to_string(&written)?;
            fs::write(out_dir.join(name), without_manifest(&read))?;
        }
    }
    Ok(())
}

/// Clippy also names the workspace's manifest, for lints that are not ours; every change of it would
/// compile all crates.
fn without_manifest(read: &str) -> String {
    let files = |line: &str| {
        let files = line.split(' ').filter(|file| *file != "Cargo.toml");
        files.collect::<Vec<_>>().join(" ")
    };
    let lines = read.lines().map(|line| files(line) + "\n");
    lines.collect()
}

fn is_dep_info(file: &Path) -> bool {
    file.extension() == Some(OsStr::new("d"))
}

fn check(tools: &Path, rustc: &OsStr, unit: &Unit, scratch: &Path) -> io::Result<ExitStatus> {
    let linted = Command::new(tools.join("clippy-driver"))
        .arg(rustc)
        .args(&unit.shared)
        .args(["--emit=dep-info,metadata", "--deny=warnings", "--out-dir"])
        .arg(scratch)
        .status()?;
    if !linted.success() || !unit.is_documented {
        return Ok(linted);
    }
    let ours = unit.shared.iter();
    let understood = ours.filter(|argument| !starts_with(argument, "--warn=clippy::"));
    Command::new(tools.join("rustdoc"))
        .args(understood)
        .args(["--document-private-items", "--deny=warnings", "--out-dir"])
        .arg(scratch)
        .status()
}

fn code(status: ExitStatus) -> ExitCode {
    ExitCode::from(u8::from(!status.success()))
}

/// A crate that cargo wants compiled.
#[derive(Debug, PartialEq)]
struct Unit {
    /// Where cargo wants the result.
    out_dir: PathBuf,
    /// What all three programs are told alike.
    shared: Vec<OsString>,
    /// Tests and build scripts are not documented, and of what runs in the browser only what runs nowhere
    /// else: the rest is the same text.
    is_documented: bool,
}

impl Unit {
    /// None where cargo only asks the compiler something.
    fn read(arguments: &[OsString]) -> Option<Self> {
        let mut out_dir = None;
        let mut shared = Vec::new();
        let (mut compiles, mut is_for_tests) = (false, false);
        let (mut for_browser, mut is_page_only) = (false, false);
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--out-dir" {
                out_dir = rest.next().map(PathBuf::from);
            } else if starts_with(argument, "--emit=") {
                compiles = true;
            } else if starts_with(argument, "--json=") {
                // Cargo would take the metadata of the second pass for those of the first.
                let wanted = argument.to_string_lossy().replace(",artifacts", "");
                shared.push(wanted.into());
            } else if argument == "-C" {
                let option = rest.next()?;
                // What the pass that builds remembers is of no use to the others.
                if !starts_with(option, "incremental=") {
                    shared.extend([argument.clone(), option.clone()]);
                }
            } else {
                is_for_tests |= argument == "--test" || argument == "build_script_build";
                for_browser |= argument == "--target";
                is_page_only |= PAGE_ONLY.iter().any(|name| argument == name);
                shared.push(argument.clone());
            }
        }
        out_dir.filter(|_| compiles).map(|out_dir| Self {
            out_dir,
            shared,
            is_documented: !is_for_tests && (is_page_only || !for_browser),
        })
    }
}

fn starts_with(argument: &OsStr, start: &str) -> bool {
    let bytes = argument.as_encoded_bytes();
    bytes.starts_with(start.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<Unit> {
        let arguments: Vec<_> = line.split(' ').map(OsString::from).collect();
        Unit::read(&arguments)
    }

    #[test]
    fn a_question_to_the_compiler_is_no_crate() {
        assert_eq!(read("-vV"), None, "its version");
        assert_eq!(
            read("- --crate-name ___ --print=file-names --crate-type bin"),
            None,
            "what it would write"
        );
    }

    #[test]
    fn lints_and_documentation_see_the_crate_as_the_build_does_and_write_elsewhere() {
        let unit = read(
            "--crate-name mimeo_lora --edition=2024 src/lib.rs --json=diagnostic-rendered-ansi,artifacts,future-incompat \
             --emit=dep-info,metadata,link -C opt-level=2 -C incremental=/t/i --out-dir /t/deps --extern burn=/t/burn.rmeta",
        )
        .unwrap();
        assert_eq!(unit.out_dir, Path::new("/t/deps"), "the build's own place");
        let shared = unit.shared.join(OsStr::new(" "));
        assert_eq!(
            shared,
            "--crate-name mimeo_lora --edition=2024 src/lib.rs --json=diagnostic-rendered-ansi,future-incompat \
             -C opt-level=2 --extern burn=/t/burn.rmeta",
            "the rest"
        );
        assert!(unit.is_documented, "a library");
    }

    #[test]
    fn tests_build_scripts_and_what_is_documented_already_are_linted_only() {
        for part in [
            "--test",
            "--crate-name build_script_build",
            "--crate-name mimeo_app --test --target wasm32-unknown-unknown",
            "--crate-name mimeo_image --target wasm32-unknown-unknown",
        ] {
            let unit = read(&format!("{part} --emit=link --out-dir /t")).unwrap();
            assert!(!unit.is_documented, "{part}");
        }
    }

    #[test]
    fn what_runs_in_the_browser_alone_is_documented_as_it_is_compiled_for_it() {
        for name in PAGE_ONLY {
            let line = format!(
                "--crate-name {name} --target wasm32-unknown-unknown --emit=link --out-dir /t"
            );
            assert!(read(&line).unwrap().is_documented, "{name}");
        }
    }

    #[test]
    fn cargo_is_told_what_was_read_and_nothing_else_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = folder.path().join("lints-1");
        fs::create_dir(&scratch).unwrap();
        fs::write(folder.path().join("a-1.d"), "a.rmeta: src/lib.rs").unwrap();
        let read = "a.rmeta: src/lib.rs Cargo.toml clippy.toml\n\n# env-dep:A=b c\n";
        fs::write(scratch.join("a-1.d"), read).unwrap();
        fs::write(scratch.join("liba-1.rmeta"), "").unwrap();
        note_what_was_read(&scratch, folder.path()).unwrap();
        let told = fs::read_to_string(folder.path().join("a-1.d")).unwrap();
        assert_eq!(
            told, "a.rmeta: src/lib.rs clippy.toml\n\n# env-dep:A=b c\n",
            "the second answer"
        );
        assert!(!folder.path().join("liba-1.rmeta").exists(), "not the rest");
    }
}
