//! `cargo xtask test`: every check as one list of named steps, the same for people and CI.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;

use crate::install;
use crate::page::{self, Page};
use crate::workspace::{Workspace, finish};

#[derive(clap::Args)]
pub struct Arguments {
    /// Run only this step; may be repeated.
    #[arg(long, value_enum, conflicts_with = "skip")]
    only: Vec<Step>,
    /// Leave this step out; may be repeated.
    #[arg(long, value_enum)]
    skip: Vec<Step>,
}

/// The checks, in the order in which they run: what answers fastest comes first, and the page is
/// built before whatever serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Formatting.
    Fmt,
    /// Lints of all targets; a warning is an error.
    Clippy,
    /// Lints of the page and its trainer, as they are compiled for the browser; a warning is an error.
    ClippyWasm,
    /// Documentation, private items included; a warning is an error.
    Doc,
    /// The page builds and is small enough.
    Page,
    /// Tests and the examples in the documentation.
    Test,
    /// Tests of the page in a browser, with the companion behind it.
    Browser,
    /// Trunk makes the same page.
    Trunk,
}

impl Step {
    /// As one says it on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::ClippyWasm => "clippy-wasm",
            Self::Doc => "doc",
            Self::Page => "page",
            Self::Test => "test",
            Self::Browser => "browser",
            Self::Trunk => "trunk",
        }
    }

    /// Installs what the check needs, then runs it.
    fn run(self, workspace: &Workspace) -> Result<()> {
        let mut cargo = workspace.cargo();
        match self {
            Self::Fmt => cargo.args(["fmt", "--all", "--check"]),
            Self::Clippy => cargo
                .args(["clippy", "--workspace", "--all-targets"])
                .args(["--", "--deny", "warnings"]),
            Self::ClippyWasm => {
                install::wasm_target(workspace)?;
                // The profiles of the page: macros are compiled once for both. One after the other, as
                // it is built: together they would ask more of their dependencies.
                for (package, profile) in [("mimeo-app", page::SMALL), ("mimeo-worker", page::FAST)]
                {
                    let mut clippy = workspace.cargo();
                    finish(
                        clippy
                            .args(["clippy", "--package", package, "--all-targets"])
                            .args(["--profile", profile, "--target", install::WASM])
                            .args(["--", "--deny", "warnings"]),
                    )?;
                }
                return Ok(());
            }
            Self::Doc => cargo
                .args(["doc", "--workspace", "--no-deps"])
                .arg("--document-private-items")
                .env("RUSTDOCFLAGS", "-D warnings"),
            Self::Page => {
                page::build(workspace, Page::WHOLE)?;
                return page::check_size(workspace);
            }
            Self::Test => {
                install::software_vulkan(workspace);
                cargo.args(["test", "--workspace", "--no-fail-fast"])
            }
            Self::Browser => return page::test_in_browser(workspace),
            Self::Trunk => return page::compare_with_trunk(workspace),
        };
        finish(&mut cargo)
    }
}

/// How a step went.
struct Outcome {
    step: Step,
    took: Duration,
    result: Result<()>,
}

/// Runs the steps asked for. One that fails does not keep the later ones from running.
pub fn run(workspace: &Workspace, arguments: &Arguments) -> Result<ExitCode> {
    install::rust_components(workspace)?;
    let mut outcomes = Vec::new();
    for step in chosen(arguments) {
        println!("\n=== {} ===", step.name());
        let started = Instant::now();
        let result = step.run(workspace);
        outcomes.push(Outcome {
            step,
            took: started.elapsed(),
            result,
        });
    }

    println!("\n{}", summary(&mut outcomes));
    let passed = outcomes.iter().all(|outcome| outcome.result.is_ok());
    Ok(ExitCode::from(u8::from(!passed)))
}

fn chosen(arguments: &Arguments) -> Vec<Step> {
    let wanted = |step: &Step| arguments.only.is_empty() || arguments.only.contains(step);
    let steps = Step::value_variants().iter().copied();
    steps
        .filter(|step| wanted(step) && !arguments.skip.contains(step))
        .collect()
}

/// One line for each step, the slowest last, then the verdict.
fn summary(outcomes: &mut [Outcome]) -> String {
    outcomes.sort_by_key(|outcome| outcome.took);
    let mut lines: Vec<String> = outcomes.iter().map(line).collect();
    let failed = outcomes.iter().filter(|outcome| outcome.result.is_err());
    lines.push(match failed.count() {
        0 => "All checks passed.".to_owned(),
        count => format!("{count} of {} checks FAILED.", outcomes.len()),
    });
    lines.join("\n")
}

fn line(outcome: &Outcome) -> String {
    let verdict = match &outcome.result {
        Ok(()) => "ok".to_owned(),
        Err(error) => format!("FAILED: {error:#}"),
    };
    let (name, secs) = (outcome.step.name(), outcome.took.as_secs_f64());
    format!("{name:<12}{secs:>8.1} s  {verdict}")
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn outcome(step: Step, secs: u64, result: Result<()>) -> Outcome {
        Outcome {
            step,
            took: Duration::from_secs(secs),
            result,
        }
    }

    fn arguments(only: &[Step], skip: &[Step]) -> Arguments {
        Arguments {
            only: only.to_vec(),
            skip: skip.to_vec(),
        }
    }

    #[test]
    fn the_slowest_step_stands_last() {
        let text = summary(&mut [
            outcome(Step::Test, 90, Ok(())),
            outcome(Step::Fmt, 1, Ok(())),
            outcome(Step::Doc, 7, Ok(())),
        ]);
        assert_eq!(
            text,
            "fmt              1.0 s  ok\n\
             doc              7.0 s  ok\n\
             test            90.0 s  ok\n\
             All checks passed."
        );
    }

    #[test]
    fn a_failed_step_is_named_with_its_reason() {
        let text = summary(&mut [
            outcome(Step::Fmt, 1, Err(anyhow!("badly indented"))),
            outcome(Step::Test, 2, Ok(())),
        ]);
        assert!(
            text.contains("FAILED: badly indented") && text.ends_with("1 of 2 checks FAILED."),
            "both the step and the verdict show it: {text}"
        );
    }

    #[test]
    fn without_a_choice_every_step_runs() {
        assert_eq!(
            chosen(&arguments(&[], &[])),
            Step::value_variants(),
            "nothing is left out silently"
        );
    }

    #[test]
    fn steps_can_be_chosen_and_left_out() {
        assert_eq!(
            chosen(&arguments(&[Step::Test, Step::Fmt], &[])),
            [Step::Fmt, Step::Test],
            "--only, in the order of the list"
        );
        assert_eq!(
            chosen(&arguments(&[], &[Step::Clippy, Step::Doc, Step::Browser])),
            [
                Step::Fmt,
                Step::ClippyWasm,
                Step::Page,
                Step::Test,
                Step::Trunk
            ],
            "--skip"
        );
    }

    #[test]
    fn a_step_is_called_in_the_summary_as_on_the_command_line() {
        for step in Step::value_variants() {
            let value = step.to_possible_value().unwrap();
            assert_eq!(value.get_name(), step.name(), "the name of {step:?}");
        }
    }
}
