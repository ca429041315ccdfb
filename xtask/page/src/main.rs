//! Makes the page from `index.html`, as Trunk does, without compiling anything: xtask lets cargo do
//! that. Trunk and the `wasm-bindgen` that it calls take longer to install than the page to build.
//!
//! `cargo xtask test --only trunk` compares the two.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program that talks to whoever started it"
)]

mod bindgen;
mod document;
mod folder;
mod note;
mod page;
mod tests_page;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Makes the page from index.html, as Trunk does.")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Make the page.
    Make {
        /// The page as it is written.
        #[arg(long)]
        index: PathBuf,
        /// The folder for the page as it is served; all that is in it goes.
        #[arg(long)]
        dist: PathBuf,
        /// A compiled program, such as `mimeo-app=target/…/mimeo-app.wasm`; may be repeated.
        #[arg(long = "program", value_name = "NAME=FILE", value_parser = named_file)]
        programs: Vec<(String, PathBuf)>,
        /// Leave out what the page marks with `data-part="PART"`; may be repeated.
        #[arg(long, value_name = "PART")]
        without: Vec<String>,
        /// Note here what the page is made of, and do not make it again of the same.
        #[arg(long, value_name = "FILE")]
        note: Option<PathBuf>,
    },
    /// Make a page that runs tests.
    Tests {
        /// The compiled tests.
        compiled: PathBuf,
        /// The folder for the page; all that is in it goes.
        #[arg(long)]
        dist: PathBuf,
    },
    /// Say what two pages do not have in common.
    Compare {
        /// The one folder.
        left: PathBuf,
        /// The other folder.
        right: PathBuf,
    },
}

fn main() -> ExitCode {
    perform(Arguments::parse().task).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn perform(task: Task) -> Result<ExitCode> {
    match task {
        Task::Make {
            index,
            dist,
            programs,
            without,
            note,
        } => page::make(&page::Order {
            index,
            dist,
            programs: programs.into_iter().collect(),
            without,
            note,
        })?,
        Task::Tests { compiled, dist } => tests_page::make(&compiled, &dist)?,
        Task::Compare { left, right } => {
            let differences = folder::differences(&left, &right)?;
            for difference in &differences {
                println!("{difference}");
            }
            return Ok(ExitCode::from(u8::from(!differences.is_empty())));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn named_file(text: &str) -> Result<(String, PathBuf)> {
    let (name, file) = text.split_once('=').context("write NAME=FILE")?;
    Ok((name.to_owned(), file.into()))
}
