//! `mimeo`: the native program. Trains, samples, scores and inspects; each subcommand is a few
//! lines over `mimeo-engine`.

mod base;
mod cli;
mod console;
mod exit;
mod input;
mod interrupt;
mod lora_source;
mod output;
mod progress;
mod recipe;
mod remote;
mod service;
mod tls;
mod tuned;
mod writing;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser as _;

use cli::Cli;
use exit::Exit;
use progress::Report;

/// Every step allocates and frees the same few megabytes of tensors; the system's allocator hands
/// them back to the kernel in between and pays for it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    exit::report_faults_in_one_sentence();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error).into(),
    };
    let mut report = Report::new(cli.json);
    match tuned::take_over(cli.engine, cli.device(), &mut report) {
        Ok(None) => {}
        Ok(Some(exit)) => return exit.into(),
        Err(error) => {
            report.error(&error.into());
            return Exit::BadInput.into();
        }
    }
    // The hook has told the user about a panic; what is left is the exit code.
    let ran = catch_unwind(AssertUnwindSafe(|| run(cli, &mut report)));
    ran.unwrap_or(Exit::Failure).into()
}

fn run(cli: Cli, report: &mut Report) -> Exit {
    let done = interrupt::install()
        .map_err(anyhow::Error::from)
        .and_then(|()| mimeo_engine::runtime::block_on(cli.run(report)));
    report.finish();
    done.unwrap_or_else(|error| {
        report.error(&error);
        exit::of_error(&error)
    })
}
