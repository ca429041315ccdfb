//! `cargo xtask test`: every check as one list of named steps, the same for people and CI.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::install;
use crate::page::{self, Part};
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
    /// Lints alone, of all targets, then as they are compiled for the browser; only when it is named.
    Clippy,
    /// The tests and the program compile, without a warning in lints and documentation.
    Build,
    /// The program as `cargo xtask run` builds it where no GPU is: lints; and without TLS: tests of what
    /// it then lacks.
    Cpu,
    /// The page builds and is small enough.
    Page,
    /// Tests and the examples in the documentation.
    Test,
    /// The browser's trainer: its numbers beside the native ones, on its CPU and on WebGPU.
    Trainer,
    /// Tests of the page in a browser, with the companion or the browser's trainer behind it.
    Browser,
    /// Trunk, which is installed for it, makes the same page; only when it is named.
    Trunk,
}

impl Step {
    /// As one says it on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::Build => "build",
            Self::Cpu => "cpu",
            Self::Page => "page",
            Self::Test => "test",
            Self::Trainer => "trainer",
            Self::Browser => "browser",
            Self::Trunk => "trunk",
        }
    }

    /// Installs what the check needs, then runs it.
    fn run(self, workspace: &Workspace) -> Result<()> {
        let mut cargo = workspace.cargo();
        match self {
            Self::Fmt => cargo.args(["fmt", "--all", "--check"]),
            Self::Clippy => {
                install::wasm_target(workspace)?;
                finish(&mut clippy(workspace, &["--workspace"]))?;
                let page = ["--package", page::APP, "--package", page::WORKER];
                // In the profile of all other checks, so that macros are compiled once for both.
                cargo = clippy(
                    workspace,
                    &[&page[..], &["--target", install::WASM]].concat(),
                );
                &mut cargo
            }
            Self::Build => {
                cargo = workspace.building_cargo();
                cargo.args(TESTS).arg("--no-run")
            }
            Self::Cpu => {
                // Nothing above the engine knows whether there is GPU support.
                finish(&mut clippy(workspace, &["--package", "mimeo-engine"]))?;
                cargo = workspace.building_cargo();
                // With Burn as all other tests have it, GPUs included: it would be compiled again.
                cargo
                    .args(["test", "--workspace", "--no-default-features"])
                    .args(["--features", "mimeo-companion/gpu"])
                    .args(["--test", "service", "without_tls"])
            }
            Self::Page => {
                page::build(workspace)?;
                return page::check_size(workspace);
            }
            Self::Test => {
                install::software_vulkan(workspace);
                cargo = workspace.building_cargo();
                cargo.args(TESTS)
            }
            Self::Trainer => return page::test_in_browser(workspace, Part::Trainer),
            Self::Browser => return page::test_in_browser(workspace, Part::Page),
            Self::Trunk => return page::compare_with_trunk(workspace),
        };
        finish(&mut cargo)
    }
}

/// Lints are part of the builds. Trunk takes longer to install than all else takes to check; what it
/// makes of a small page is kept with the tests of `mimeo-page`.
const ON_DEMAND: [Step; 2] = [Step::Clippy, Step::Trunk];

/// How the tests are built and run.
const TESTS: [&str; 3] = ["test", "--workspace", "--no-fail-fast"];

/// Lints by themselves, which is quicker than a build while one writes; a warning is an error.
fn clippy(workspace: &Workspace, what: &[&str]) -> Command {
    let mut cargo = workspace.cargo();
    cargo.arg("clippy").args(what);
    cargo.args(["--all-targets", "--", "--deny", "warnings"]);
    cargo
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
    let steps = chosen(arguments);
    let goes_beside = |step| steps.len() > 1 && steps.contains(&step);
    // The page is compiled into folders of its own, so it need not wait for what is checked before it;
    // and what is measured or waits for a clock comes after it, on a quiet machine.
    let mut beside = if goes_beside(Step::Page) {
        Some(Beside::start(workspace, Step::Page)?)
    } else {
        None
    };
    let mut outcomes = Vec::new();
    for &step in &steps {
        println!("\n{}", title(step));
        let started = Instant::now();
        let result = match beside.take_if(|beside| beside.step == step) {
            Some(beside) => beside.finish(),
            None => step.run(workspace),
        };
        // The software that stands in for a GPU leaves a processor idle, and measures nothing.
        if step == Step::Page && goes_beside(Step::Trainer) {
            // Debian installs for one at a time; what it cannot install, the step itself says.
            drop(install::chromium(workspace));
            beside = Some(Beside::start(workspace, Step::Trainer)?);
        }
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

/// Stands above what a step says.
fn title(step: Step) -> String {
    format!("=== {} ===", step.name())
}

/// A step that goes on beside the others, in a process of its own whose output is shown at its end.
struct Beside {
    step: Step,
    process: Child,
    log: PathBuf,
}

impl Beside {
    fn start(workspace: &Workspace, step: Step) -> Result<Self> {
        let log = workspace
            .target_path("xtask")
            .join(format!("{}.log", step.name()));
        let folder = workspace.target_path("xtask");
        fs::create_dir_all(&folder)
            .with_context(|| format!("this folder cannot be made: {}", folder.display()))?;
        let file = File::create(&log)
            .with_context(|| format!("this file cannot be written: {}", log.display()))?;
        let both = file.try_clone().context("a file cannot be opened twice")?;
        let process = workspace
            .command(workspace.program())
            .args(["test", "--only", step.name()])
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(both)
            .spawn()
            .context("this program does not start itself")?;
        Ok(Self { step, process, log })
    }

    fn finish(mut self) -> Result<()> {
        let status = self.process.wait().context("the step beside was lost")?;
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        // Its title is there already.
        println!(
            "{}",
            said.trim().trim_start_matches(&title(self.step)).trim()
        );
        if !status.success() {
            bail!("the output above says why");
        }
        Ok(())
    }
}

impl Drop for Beside {
    /// A step before it may have ended everything.
    fn drop(&mut self) {
        // It has ended already, as a rule.
        _ = self.process.kill();
    }
}

fn chosen(arguments: &Arguments) -> Vec<Step> {
    let wanted = |step: &Step| {
        let is_part = arguments.only.is_empty() && !ON_DEMAND.contains(step);
        is_part || arguments.only.contains(step)
    };
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
            outcome(Step::Build, 7, Ok(())),
        ]);
        assert_eq!(
            text,
            "fmt              1.0 s  ok\n\
             build            7.0 s  ok\n\
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
        let mut all = Step::value_variants().to_vec();
        all.retain(|step| !ON_DEMAND.contains(step));
        assert_eq!(
            chosen(&arguments(&[], &[])),
            all,
            "nothing else is left out silently"
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
            chosen(&arguments(&[], &[Step::Build, Step::Browser])),
            [Step::Fmt, Step::Cpu, Step::Page, Step::Test, Step::Trainer],
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
