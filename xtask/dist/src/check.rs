//! Tests an archive as somebody has it who has nothing else: unpacked into an empty home, without
//! Rust, Node and, where the system allows that, without a network.

mod files;
mod home;
mod http;
mod network;
mod page;
mod server;

use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{fs, iter};

use anyhow::{Context as _, Result, bail};

use crate::{archive, contents, sums};
use home::Home;
use server::Server;

/// What people are told to wait for at most, from unpacking to the workbench, in seconds.
const READY_WITHIN: f64 = 3.0;

/// The pair to train on, as the page has it.
const PAIR: [&str; 2] = ["pairs/glasses/00_A.png", "pairs/glasses/00_B.png"];
/// The largest file of the bundled base.
const BASE: &str = "mimeo-avatars/unet/diffusion_pytorch_model.safetensors";

#[derive(clap::Args)]
pub struct Arguments {
    /// The archive.
    archive: PathBuf,
    /// Set by this program when it starts itself where no network is.
    #[arg(long, hide = true)]
    isolated: bool,
}

/// Tests an archive that was just made.
pub fn run_on(archive: PathBuf) -> Result<()> {
    let isolated = false;
    run(&Arguments { archive, isolated })
}

/// Tests an archive and prints what was tested; the first thing that is wrong is an error.
pub fn run(arguments: &Arguments) -> Result<()> {
    let path = &arguments.archive;
    let packed =
        fs::read(path).with_context(|| format!("there is no such archive: {}", path.display()))?;
    if !arguments.isolated
        && let Some(mut isolated) = network::without(path)
    {
        let status = isolated.status().context("`unshare` does not start")?;
        // It has said why.
        if !status.success() {
            bail!(
                "this archive is not fit to be given away: {}",
                path.display()
            );
        }
        return Ok(());
    }
    println!("Checking {}", path.display());
    let network = if arguments.isolated {
        "none (a namespace with loopback only)"
    } else {
        "as it is here (no `unshare` and `ip` to take it away)"
    };
    tell("network", network);
    archive_itself(path, &packed)?;
    let home = Home::new()?;

    let started = Instant::now();
    archive::unpack(path, &home.unpacked()).context("it cannot be unpacked")?;
    let folder = only_folder(&home.unpacked())?;
    let unpacked = started.elapsed().as_secs_f64();
    let server = Server::start(&home, &folder)?;
    let index = server.get("")?;
    let ready = started.elapsed().as_secs_f64();
    let verdict = if ready <= READY_WITHIN {
        ""
    } else {
        ", which is TOO SLOW"
    };
    tell(
        "ready",
        &format!(
            "{ready:.2} s from unpacking ({unpacked:.2} s of it) to the page; {READY_WITHIN} s are allowed{verdict}"
        ),
    );

    files::check(&folder)?;
    program(&home, &folder)?;
    page::check(&server, &index)?;
    let base = server.get(BASE)?;
    safetensors(&base.body).with_context(|| format!("the page cannot have its base: {BASE}"))?;
    tell("base", &format!("{BASE}, {}", megabytes(base.body.len())));
    training(&home, &folder, &server)?;
    let took = server.stop()?;
    tell("end", &format!("{took:.2} s after it was asked to"));
    Ok(())
}

/// A line of the report.
fn tell(what: &str, text: &str) {
    println!("  {what:<12}{text}");
}

/// A size for people.
fn megabytes(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn archive_itself(path: &Path, packed: &[u8]) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!("{name}.sha256"));
    let sum = match fs::read_to_string(&beside) {
        Ok(text) if sums::parse(&text).get(name.as_ref()) == Some(&sums::sum(packed)) => {
            "its sum is that of the file beside it"
        }
        Ok(_) => bail!(
            "the archive is not the one that this file is about; download both again: {}",
            beside.display()
        ),
        Err(_) => "no file with its sum beside it",
    };
    tell("archive", &format!("{}, {sum}", megabytes(packed.len())));
    Ok(())
}

/// An archive unpacks into one folder, so that it litters nobody's.
fn only_folder(unpacked: &Path) -> Result<PathBuf> {
    let entries: Result<Vec<_>, _> = fs::read_dir(unpacked)?.collect();
    match entries?.as_slice() {
        [folder] if folder.path().is_dir() => Ok(folder.path()),
        others => bail!(
            "the archive holds {} things instead of one folder",
            others.len()
        ),
    }
}

/// What the program says about itself, and that the archive's texts are its words.
fn program(home: &Home, folder: &Path) -> Result<()> {
    let said = home.run(folder, &["--version"])?;
    let version = String::from_utf8_lossy(&said).trim().to_owned();
    let expected = format!("mimeo {}", env!("CARGO_PKG_VERSION"));
    if version != expected {
        bail!("the program says that it is {version}, and this is the check of {expected}");
    }
    tell("program", &version);
    let completions = contents::COMPLETIONS
        .iter()
        .map(|(shell, path)| (vec!["completions", *shell], *path));
    for (arguments, path) in completions.chain(iter::once((vec!["man"], contents::MANUAL))) {
        if home.run(folder, &arguments)? != fs::read(folder.join(path))? {
            let command = arguments.join(" ");
            bail!("`mimeo {command}` says something else than the archive's {path}");
        }
    }
    let shells = contents::COMPLETIONS.map(|(shell, _)| shell);
    tell(
        "texts",
        &format!(
            "manual and completions ({}) are the program's",
            shells.join(", ")
        ),
    );
    Ok(())
}

/// Trains two steps on a pair that the page brings.
fn training(home: &Home, folder: &Path, server: &Server) -> Result<()> {
    let [original, target] = PAIR;
    for path in PAIR {
        let name = path.rsplit('/').next().unwrap_or(path);
        fs::write(home.path().join(name), server.get(path)?.body)?;
    }
    let name = |path: &'static str| path.rsplit('/').next().unwrap_or(path);
    let started = Instant::now();
    home.run(
        folder,
        &[
            "train",
            "--method",
            "addift",
            "--steps",
            "2",
            "--device",
            "cpu",
            "--no-score",
            "--no-calibrate",
            "--out",
            "change.safetensors",
            "--original",
            name(original),
            "--target",
            name(target),
        ],
    )?;
    let secs = started.elapsed().as_secs_f64();
    let lora = fs::read(home.path().join("change.safetensors")).context("training left no LoRA")?;
    safetensors(&lora).context("what training left is no LoRA")?;
    let size = megabytes(lora.len());
    tell(
        "training",
        &format!("2 steps of addift in {secs:.2} s, a LoRA of {size}"),
    );
    Ok(())
}

/// Whether bytes are such a file, as far as its header tells.
fn safetensors(bytes: &[u8]) -> Result<()> {
    let header = bytes.split_first_chunk().and_then(|(length, rest)| {
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        rest.get(..length)
    });
    let header = header.context("it is no safetensors file")?;
    let tensors: serde_json::Value = serde_json::from_slice(header)?;
    if tensors.as_object().is_none_or(serde_json::Map::is_empty) {
        bail!("it holds no tensors");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_safetensors_file_is_told_from_other_bytes() {
        let header = br#"{"a":{}}"#;
        let file = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat();
        safetensors(&file).unwrap();
        for bad in [&file[..10], b"<!doctype html>", b""] {
            safetensors(bad).unwrap_err();
        }
    }

    #[test]
    fn an_archive_that_litters_is_refused() {
        let unpacked = tempfile::tempdir().unwrap();
        fs::create_dir(unpacked.path().join("mimeo-1")).unwrap();
        let folder = only_folder(unpacked.path()).unwrap();
        assert!(folder.ends_with("mimeo-1"), "{}", folder.display());
        fs::write(unpacked.path().join("README"), "").unwrap();
        only_folder(unpacked.path()).unwrap_err();
    }
}
