//! `cargo xtask dist`: an archive for people without Rust. What goes into it, and how it is tested, is
//! the crate `mimeo-dist`, which only this command compiles.

use std::env;
use std::path::{self, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use cargo_metadata::MetadataCommand;

use crate::page;
use crate::tuned;
use crate::workspace::{Workspace, answer, executable, finish};

/// The package of the program, its name, and its feature for GPUs.
const PACKAGE: &str = "mimeo-companion";
const PROGRAM: &str = "mimeo";
const GPU: &str = "gpu";

#[derive(clap::Args)]
pub struct Arguments {
    /// For the CPU only: a smaller program, of which much less is compiled.
    #[arg(long)]
    cpu: bool,
    /// Only test an archive that was made before.
    #[arg(long, value_name = "ARCHIVE", conflicts_with = "cpu")]
    check: Option<PathBuf>,
}

/// Makes an archive for this platform and tests it.
pub fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    if let Some(archive) = &arguments.check {
        // Relative to where the user is; the test runs elsewhere.
        let archive = path::absolute(archive)?;
        return finish(dist(workspace).arg("check").arg(archive));
    }
    let features = features(workspace, arguments.cpu)?;
    let platform = platform(workspace)?;
    // Before the program, which embeds it.
    page::build(workspace)?;
    println!("Building mimeo for others (this takes its time: it is optimised as a whole) …");
    let build = |features: &str, target: PathBuf| {
        let mut cargo = workspace.cargo();
        cargo
            .args(["build", "--release", "--package", PACKAGE])
            .args(["--no-default-features", "--features", features])
            .env("CARGO_ENCODED_RUSTFLAGS", rust_flags(&platform))
            .arg("--target-dir")
            .arg(target);
        executable(PROGRAM, &mut cargo)
    };
    let program = build(&features.join(","), workspace.target_path(""))?;
    let mut all = features.clone();
    let tuned = if arguments.cpu {
        None
    } else {
        println!("Building its tuned engine …");
        all.push(tuned::FEATURE.to_owned());
        let target = workspace.target_path(tuned::TARGET);
        Some(build(&all.join(","), target)?)
    };
    let out = workspace.target_path("dist");
    let device = if arguments.cpu { "cpu" } else { "gpu" };
    let mut make = dist(workspace);
    make.args(["make", "--platform", &platform, "--device", device])
        .args(["--features", &all.join(",")])
        .arg("--program")
        .arg(program);
    if let Some(tuned) = tuned {
        make.arg("--tuned").arg(tuned);
    }
    finish(
        make.arg("--root")
            .arg(workspace.path(""))
            .arg("--out")
            .arg(out),
    )
}

/// The crate that packs and tests.
fn dist(workspace: &Workspace) -> Command {
    let mut cargo = workspace.cargo();
    cargo.args(["run", "--quiet", "--package", "mimeo-dist", "--"]);
    cargo
}

/// The features that the program has by itself, for the CPU without that for GPUs.
fn features(workspace: &Workspace, cpu: bool) -> Result<Vec<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(workspace.path("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cargo cannot read this workspace; see its reason below")?;
    let mut packages = metadata.packages.into_iter();
    let companion = packages.find(|package| package.name == PACKAGE);
    let mut companion = companion.with_context(|| format!("there is no package {PACKAGE}"))?;
    let mut features = companion.features.remove("default").unwrap_or_default();
    features.retain(|feature| !(cpu && feature == GPU));
    Ok(features)
}

/// What rustc builds for here.
fn platform(workspace: &Workspace) -> Result<String> {
    let said = answer(workspace.rustc().arg("-vV"));
    let said = said.context("rustc does not start; install Rust from https://rustup.rs")?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not say what it builds for; update Rust")?;
    Ok(host.to_owned())
}

/// The user's flags, and ours: the program names its sources where it reports a fault, and these lie in
/// the user's folders; on Windows it must not ask for libraries that only developers have.
fn rust_flags(platform: &str) -> String {
    const SEPARATOR: &str = "\x1f";
    let mut flags: Vec<String> = match env::var("CARGO_ENCODED_RUSTFLAGS") {
        Ok(encoded) => encoded.split(SEPARATOR).map(str::to_owned).collect(),
        Err(_) => {
            let plain = env::var("RUSTFLAGS").unwrap_or_default();
            plain.split_whitespace().map(str::to_owned).collect()
        }
    };
    flags.retain(|flag| !flag.is_empty());
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| Some(etcetera::home_dir().ok()?.join(".cargo")));
    if let Some(folder) = cargo_home {
        flags.push(format!("--remap-path-prefix={}=cargo", folder.display()));
    }
    if platform.ends_with("-windows-msvc") {
        flags.push("-Ctarget-feature=+crt-static".to_owned());
    }
    flags.join(SEPARATOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_for_the_cpu_has_every_feature_but_that_for_gpus() {
        let workspace = Workspace::find().unwrap();
        let all = features(&workspace, false).unwrap();
        assert!(all.iter().any(|feature| feature == GPU), "{all:?}");
        let cpu = features(&workspace, true).unwrap();
        assert_eq!(cpu.len() + 1, all.len(), "one less: {cpu:?}");
    }

    #[test]
    fn rustc_says_what_it_builds_for() {
        let platform = platform(&Workspace::find().unwrap()).unwrap();
        assert!(platform.contains(env::consts::ARCH), "{platform}");
    }

    #[test]
    fn the_users_folder_of_cargo_is_taken_out_of_the_program() {
        let flags = rust_flags("x86_64-pc-windows-msvc");
        assert!(flags.contains("--remap-path-prefix="), "{flags}");
        assert!(flags.contains("crt-static"), "on Windows: {flags}");
        let flags = rust_flags("x86_64-unknown-linux-gnu");
        assert!(!flags.contains("crt-static"), "nor elsewhere: {flags}");
    }
}
