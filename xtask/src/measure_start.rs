//! `cargo xtask measure-start`: how long a newcomer waits, from an empty home to the workbench and to
//! the first LoRA.
//!
//! Everything happens in a clone of the checkout, with a home, a cargo home and a target folder of its
//! own: nothing is there but the Rust toolchain, and what the system's package manager installed. What
//! is not committed is not measured. A run of an older commit (`--commit`) shows what changed.

mod home;
mod log;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::progress::clock;
use crate::workspace::{Workspace, finish};
use home::Home;

/// A change of one line in the page: a text that it shows.
const PAGE_LINE: LineChange = LineChange {
    file: "frontend/app/src/app/lower.rs",
    old: "(Tab::Result, \"Result\")",
    new: "(Tab::Result, \"The result\")",
};
/// A change of one line in the engine, below the program.
const ENGINE_LINE: LineChange = LineChange {
    file: "shared/engine/src/runtime.rs",
    old: "Self::cpu(\"as asked\".to_owned())",
    new: "Self::cpu(\"as was asked\".to_owned())",
};

/// The pair that the page's *Try the example* trains on.
const PAIR: [(&str, &str); 3] = [
    ("--original", "shared/base/pairs/glasses/00_A.png"),
    ("--target", "shared/base/pairs/glasses/00_B.png"),
    ("--mask", "shared/base/pairs/glasses/00_mask.png"),
];

#[derive(clap::Args)]
pub struct Arguments {
    /// What to measure; may be repeated. Everything, one after the other, without it.
    #[arg(long, value_enum)]
    only: Vec<Measure>,
    /// The commit to measure.
    #[arg(long, default_value = "HEAD")]
    commit: String,
    /// Where it happens and the logs stay; deleted before [default: start in the target folder].
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Flags for `cargo xtask run` that the commit knows, such as --cpu.
    #[arg(
        long,
        value_name = "FLAGS",
        default_value = "--cpu",
        allow_hyphen_values = true
    )]
    run_flags: String,
}

/// A wait of a newcomer's, or of somebody who works on Mimeo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measure {
    /// `cargo xtask run` from nothing until the workbench answers; again; after a change in the page
    /// and in the engine; the first LoRA of the example pair.
    Run,
    /// `cargo xtask run --gpu` from nothing.
    Gpu,
    /// `cargo xtask test` from nothing.
    Test,
}

/// One line that is changed.
struct LineChange {
    file: &'static str,
    old: &'static str,
    new: &'static str,
}

/// What was measured.
struct Row {
    what: String,
    secs: f64,
}

pub fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let folder = match &arguments.folder {
        Some(folder) => folder.clone(),
        None => workspace.target_path("start"),
    };
    let mut rows = Vec::new();
    let wanted = |measure: &Measure| arguments.only.is_empty() || arguments.only.contains(measure);
    for measure in Measure::value_variants().iter().filter(|it| wanted(it)) {
        let home = Home::new(workspace, &folder, &arguments.commit)?;
        match measure {
            Measure::Run => measure_run(&home, &arguments.run_flags, &mut rows)?,
            Measure::Gpu => {
                let log = folder.join("gpu.log");
                let (secs, served) = home.serve("--gpu", &log)?;
                served.stop()?;
                rows.push(row("cargo xtask run --gpu, from nothing", secs));
                rows.extend(parts(&log)?);
            }
            Measure::Test => {
                let log = folder.join("test.log");
                let started = Instant::now();
                home.follow(&["xtask", "test"], &log)?;
                rows.push(row(
                    "cargo xtask test, from nothing",
                    started.elapsed().as_secs_f64(),
                ));
                rows.extend(parts(&log)?);
            }
        }
        print(&rows);
    }
    println!(
        "\nThe logs, with the seconds of every line, are in {}",
        folder.display()
    );
    Ok(())
}

fn measure_run(home: &Home, flags: &str, rows: &mut Vec<Row>) -> Result<()> {
    let log = home.folder.join("run.log");
    let (secs, served) = home.serve(flags, &log)?;
    served.stop()?;
    rows.push(row(&format!("cargo xtask run {flags}, from nothing"), secs));
    rows.extend(parts(&log)?);

    let (secs, served) = home.serve(flags, &home.folder.join("again.log"))?;
    rows.push(row("again, nothing changed", secs));
    let started = Instant::now();
    first_lora(home, served.port)?;
    rows.push(row(
        "the first LoRA (addift, the example)",
        started.elapsed().as_secs_f64(),
    ));
    served.stop()?;

    for (what, line) in [("page", PAGE_LINE), ("engine", ENGINE_LINE)] {
        line.change(&home.checkout)?;
        let log = home.folder.join(format!("{what}.log"));
        let (secs, served) = home.serve(flags, &log)?;
        served.stop()?;
        rows.push(row(&format!("one line changed in the {what}"), secs));
    }
    Ok(())
}

/// Trains as the page does: the companion does it, a client waits.
fn first_lora(home: &Home, port: u16) -> Result<()> {
    let mut mimeo = home.command(home.checkout.join("target/debug/mimeo"));
    mimeo
        .args(["train", "--method", "addift", "--remote"])
        .arg(format!("ws://127.0.0.1:{port}"))
        .arg("--out")
        .arg(home.folder.join("first.safetensors"));
    for (flag, path) in PAIR {
        mimeo.arg(flag).arg(path);
    }
    finish(&mut mimeo).context("the example pair cannot be trained")
}

impl LineChange {
    fn change(&self, checkout: &Path) -> Result<()> {
        let path = checkout.join(self.file);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("this file cannot be read: {}", path.display()))?;
        if !text.contains(self.old) {
            bail!(
                "the line that is changed to measure is not there any more; name another one in \
                 xtask/src/measure_start.rs: {} in {}",
                self.old,
                self.file
            );
        }
        fs::write(&path, text.replacen(self.old, self.new, 1))
            .with_context(|| format!("this file cannot be written: {}", path.display()))
    }
}

fn row(what: &str, secs: f64) -> Row {
    Row {
        what: what.to_owned(),
        secs,
    }
}

/// The parts that a log consists of.
fn parts(log: &Path) -> Result<Vec<Row>> {
    let text = fs::read_to_string(log)
        .with_context(|| format!("this file cannot be read: {}", log.display()))?;
    let parts = log::parts(&text).into_iter();
    Ok(parts
        .map(|(what, secs)| row(&format!("  {what}"), secs))
        .collect())
}

fn print(rows: &[Row]) {
    println!("\n| from nothing but the toolchain | minutes | s |\n|---|---|---|");
    for Row { what, secs } in rows {
        println!("| {what} | {} | {secs:.1} |", clock(*secs));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_that_are_changed_are_there() {
        let workspace = Workspace::find().unwrap();
        for line in [PAGE_LINE, ENGINE_LINE] {
            let text = fs::read_to_string(workspace.path(line.file)).unwrap();
            assert!(text.contains(line.old), "{} in {}", line.old, line.file);
        }
    }
}
