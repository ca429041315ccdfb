//! What cargo says while it builds: on its standard output what it has made, as JSON; on its standard
//! error, for people, what it begins, how far it is, and what is wrong.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::{Context as _, Result};
use cargo_metadata::{Artifact, Message};

/// Wide enough for its bar, its numbers and the names of as many crates as there are processors.
const WIDTH: &str = "1000";

/// One thing that cargo says.
#[derive(Debug, PartialEq)]
pub enum Said {
    /// How many units there are.
    Counted {
        /// Those already built included.
        total: usize,
    },
    /// What it is busy with.
    At {
        /// Names of crates, or that it downloads them.
        what: String,
    },
    /// It has made something, or had it already.
    Artifact(Box<Artifact>),
    /// Something else, such as a warning or an error.
    Line {
        /// As it stands.
        text: String,
    },
}

/// Starts cargo and listens to both its outputs until they end.
pub fn listen(command: &mut Command) -> Result<(Child, Receiver<Said>)> {
    let mut child = command
        .arg("--message-format=json-render-diagnostics")
        .env("CARGO_TERM_PROGRESS_WHEN", "always")
        .env("CARGO_TERM_PROGRESS_WIDTH", WIDTH)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cargo does not start; install Rust from https://rustup.rs")?;
    let (sender, receiver) = sync_channel(64);
    if let Some(stdout) = child.stdout.take() {
        let sender = sender.clone();
        thread::spawn(move || hear_artifacts(stdout, &sender));
    }
    if let Some(stderr) = child.stderr.take() {
        thread::spawn(move || hear_lines(stderr, &sender));
    }
    Ok((child, receiver))
}

/// The name of the package that something was made of.
pub fn package_name(artifact: &Artifact) -> String {
    // "registry+https://…#burn-flex@0.22.1", "path+file:///…/app#mimeo-app@0.1.0" or, where the folder
    // is called like the package, "path+file:///…/xtask#0.1.0".
    let id = &artifact.package_id.repr;
    let (source, package) = id.rsplit_once('#').unwrap_or(("", id));
    match package.split_once('@') {
        Some((name, _)) => name.to_owned(),
        None => source.rsplit('/').next().unwrap_or(source).to_owned(),
    }
}

/// Whether a line tells that crates cannot be downloaded.
pub fn is_about_the_network(line: &str) -> bool {
    const SIGNS: [&str; 4] = [
        "spurious network error",
        "failed to download",
        "Could not resolve host",
        "download of config.json failed",
    ];
    SIGNS.iter().any(|sign| line.contains(sign))
}

fn hear_artifacts(stdout: impl Read, sender: &SyncSender<Said>) {
    for message in Message::parse_stream(BufReader::new(stdout)).flatten() {
        let said = match message {
            Message::CompilerArtifact(artifact) => Said::Artifact(Box::new(artifact)),
            _ => continue,
        };
        if sender.send(said).is_err() {
            return;
        }
    }
}

fn hear_lines(stderr: impl Read, sender: &SyncSender<Said>) {
    let mut reader = BufReader::new(stderr);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        // Its moving line ends with a carriage return, and stands in one line with what follows it.
        match reader.read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&bytes);
        for said in text.split(['\r', '\n']).flat_map(understood) {
            if sender.send(said).is_err() {
                return;
            }
        }
    }
}

/// What a line means.
fn understood(line: &str) -> Vec<Said> {
    // "to the end of the line is empty": cargo clears its moving line with it.
    let line = line.replace("\x1b[K", "");
    let line = line.trim_end();
    let text = line.trim_start();
    let Some((verb, rest)) = text.split_once(' ') else {
        return as_it_stands(line);
    };
    match verb {
        "Building" => counted(rest),
        "Downloading" | "Downloaded" | "Fetch" | "Updating" | "Locking" | "Blocking" => {
            vec![Said::At {
                what: text.to_owned(),
            }]
        }
        // What the moving line says too, cargo's own lists of what it added to a lock file, and its
        // last words.
        "Compiling" | "Adding" | "Fresh" | "Finished" => Vec::new(),
        _ => as_it_stands(line),
    }
}

fn as_it_stands(line: &str) -> Vec<Said> {
    if line.is_empty() {
        return Vec::new();
    }
    vec![Said::Line {
        text: line.to_owned(),
    }]
}

/// Of "[=====>   ] 12/34: burn-flex, gemm": 34 units, busy with burn-flex and gemm.
fn counted(bar: &str) -> Vec<Said> {
    let Some((_, numbers)) = bar.split_once("] ") else {
        return Vec::new();
    };
    let (numbers, what) = numbers.split_once(": ").unwrap_or((numbers, ""));
    let total = numbers
        .split_once('/')
        .map(|(_, total)| total.trim().parse());
    let Some(Ok(total)) = total else {
        return Vec::new();
    };
    let what = what.to_owned();
    vec![Said::Counted { total }, Said::At { what }]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(what: &str) -> Said {
        Said::At {
            what: what.to_owned(),
        }
    }

    #[test]
    fn cargos_moving_line_says_how_many_there_are_and_which() {
        assert_eq!(
            understood("    Building [====>          ] 12/374: burn-flex, gemm(build)"),
            [Said::Counted { total: 374 }, at("burn-flex, gemm(build)")],
            "as cargo draws it"
        );
    }

    #[test]
    fn a_network_that_is_not_there_is_noticed() {
        let said =
            "warning: spurious network error (3 tries remaining): [6] Could not resolve hostname";
        assert!(is_about_the_network(said), "as cargo says it");
        assert!(
            !is_about_the_network("error[E0425]: cannot find value `network` in this scope"),
            "an error in the program"
        );
    }

    #[test]
    fn what_cargo_begins_is_told_from_what_is_wrong() {
        assert_eq!(
            understood("   Compiling burn-flex v0.22.1"),
            [],
            "a beginning, which the moving line shows"
        );
        let error = "error: linking with `cc` failed: exit status: 1";
        assert_eq!(
            understood(error),
            [Said::Line {
                text: error.to_owned()
            }],
            "an error is shown"
        );
        assert_eq!(
            understood("  |         ^^^^ expected `u32`"),
            [Said::Line {
                text: "  |         ^^^^ expected `u32`".to_owned()
            }],
            "and so is what belongs to it, indented as it was"
        );
        assert_eq!(understood(""), [], "nothing is nothing");
    }
}
