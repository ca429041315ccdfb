//! Two programs do the same. `mimeo`'s programs for GPUs are WGSL, which every driver compiles;
//! `mimeo-tuned` beside it has the compilers of the platform (SPIR-V or Metal), tries several kernels for
//! each product and fuses what follows it, which is faster where the driver bears it. Not all do: some
//! crash in its programs. So this one lets both train a few steps in processes of their own, compares
//! what came out with the CPU, and then becomes the faster one. What was found is kept until the driver
//! or a program changes.
//!
//! One program could hold both, but which one computes is decided when it is built.

mod record;
mod self_test;

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use clap::ValueEnum;
use mimeo_engine::runtime::{Offer, block_on};
use mimeo_engine::{Compute, DeviceChoice};

use crate::base::stamp::Stamp;
use crate::exit::{BadInput, Exit};
use crate::progress::Report;
use record::{Key, Record, Verdict};
pub use self_test::SelfTest;

/// What the other program is called.
const NAME: &str = "mimeo-tuned";

/// Tells the tuned program why it computes.
const REASON: &str = "MIMEO_TUNED_REASON";

/// Which program computes on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Engine {
    /// The faster one whose numbers are right, which is tried once per driver.
    #[default]
    Auto,
    /// This one, which every driver bears.
    Portable,
    /// The other one, whatever was found.
    Tuned,
}

/// Why this program computes and not the other one, where there is a choice.
static WHY: OnceLock<String> = OnceLock::new();

/// Why this program computes and not the other one, as a part of a sentence; none where there is no other.
pub fn why() -> Option<&'static str> {
    let told = || env::var(REASON).ok();
    if cfg!(feature = "tuned")
        && WHY.get().is_none()
        && let Some(reason) = told()
    {
        return Some(WHY.get_or_init(|| reason));
    }
    WHY.get().map(String::as_str)
}

/// Why a device computes, and which engine on it.
pub fn reason(compute: &Compute) -> String {
    match why() {
        Some(why) => format!("{}; {why}", compute.reason),
        None => compute.reason.clone(),
    }
}

/// Becomes the tuned program where that is to compute.
///
/// - `device`: that the command computes on; none if it computes nothing here
///
/// # Errors
/// When the tuned program is asked for and is not there. It does not return where the other one does
/// all that is left, but for its exit code where the system cannot let one become the other.
pub fn take_over(
    engine: Engine,
    device: Option<&DeviceChoice>,
    report: &mut Report,
) -> Result<Option<Exit>, BadInput> {
    let is_for_gpu = device.is_some_and(|device| *device != DeviceChoice::Cpu);
    if cfg!(feature = "tuned") || engine == Engine::Portable || !is_for_gpu {
        return Ok(None);
    }
    let Some(tuned) = beside(env::current_exe().ok().as_deref()) else {
        if engine == Engine::Tuned {
            let why = format!(
                "there is no {NAME} beside this program, which --engine tuned asks for. Leave it out, or build it with `cargo xtask run --gpu`."
            );
            return Err(BadInput(why));
        }
        return Ok(None);
    };
    // Without one the command itself says what is missing.
    let Some(offer) = device.and_then(|device| block_on(Compute::offer(device))) else {
        return Ok(None);
    };
    let reason = match engine {
        Engine::Tuned => "the tuned engine, as asked".to_owned(),
        Engine::Auto | Engine::Portable => match decide(&tuned, &offer, report) {
            Verdict::Tuned { times } => {
                format!("the tuned engine, {times:.1} times as fast as the portable one here")
            }
            Verdict::Portable { reason } => {
                _ = WHY.set(format!(
                    "the portable engine, because the tuned one {reason}"
                ));
                return Ok(None);
            }
        },
    };
    become_program(&tuned, &reason)
}

/// The tuned program beside this one.
fn beside(program: Option<&Path>) -> Option<PathBuf> {
    let tuned = program?.with_file_name(format!("{NAME}{}", env::consts::EXE_SUFFIX));
    tuned.is_file().then_some(tuned)
}

/// Which of the two is to compute on an adapter: as it was found, or is found now.
fn decide(tuned: &Path, offer: &Offer, report: &mut Report) -> Verdict {
    let portable = env::current_exe().unwrap_or_default();
    let stamp = |program: &Path| Stamp::of(program).unwrap_or_default();
    let key = Key {
        adapter: offer.name.clone(),
        driver: offer.driver.clone(),
        programs: [stamp(&portable), stamp(tuned)],
    };
    let record = Record::of_user();
    if let Some(known) = record.find(&key) {
        return known;
    }
    report.note(format!(
        "{} is tried with both engines, once for this driver.",
        offer.name
    ));
    let verdict = self_test::compare(
        || self_test::of(&portable, &offer.name),
        || self_test::of(tuned, &offer.name),
    );
    record.keep(key, &verdict);
    verdict
}

/// The arguments of this process, for the other one.
fn arguments() -> impl Iterator<Item = OsString> {
    env::args_os().skip(1)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the same program with other compilers, which connects to nobody either"
)]
fn command(program: &Path) -> Command {
    Command::new(program)
}

/// Ends only with the other program, in whose hands Ctrl+C then is.
#[cfg(unix)]
fn become_program(tuned: &Path, reason: &str) -> Result<Option<Exit>, BadInput> {
    use std::os::unix::process::CommandExt as _;
    let error = command(tuned).args(arguments()).env(REASON, reason).exec();
    Err(does_not_start(tuned, &error))
}

/// As above, but that both hear Ctrl+C, and this one waits.
#[cfg(not(unix))]
fn become_program(tuned: &Path, reason: &str) -> Result<Option<Exit>, BadInput> {
    crate::interrupt::listen();
    let ended = command(tuned)
        .args(arguments())
        .env(REASON, reason)
        .status();
    let status = ended.map_err(|error| does_not_start(tuned, &error))?;
    let exits = [Exit::Done, Exit::BadInput, Exit::Stopped];
    let same = exits
        .into_iter()
        .find(|exit| status.code() == Some(*exit as i32));
    Ok(Some(same.unwrap_or(Exit::Failure)))
}

fn does_not_start(tuned: &Path, error: &std::io::Error) -> BadInput {
    let why = format!("the tuned engine does not start ({error}). Use --engine portable");
    BadInput::file(why, tuned)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_other_program_is_looked_for_beside_this_one() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("mimeo");
        assert_eq!(beside(Some(&program)), None, "there is none");
        let tuned = folder
            .path()
            .join(format!("{NAME}{}", env::consts::EXE_SUFFIX));
        fs::create_dir(&tuned).unwrap();
        assert_eq!(beside(Some(&program)), None, "a folder is no program");
        fs::remove_dir(&tuned).unwrap();
        fs::write(&tuned, "").unwrap();
        assert_eq!(beside(Some(&program)), Some(tuned), "there it is");
        assert_eq!(
            beside(None),
            None,
            "a system that does not tell where this one is"
        );
    }
}
