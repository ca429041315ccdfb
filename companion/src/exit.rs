//! How the program ends: exit codes for scripts, one sentence for people.

use std::error::Error;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use mimeo_checkpoint::{CheckpointError, LoraFileError};
use mimeo_engine::EngineError;
use serde::Serialize;

use crate::console;

/// Exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done as asked.
    Done = 0,
    /// It should have worked and did not.
    Failure = 1,
    /// Wrong usage, or input that cannot be used.
    BadInput = 2,
    /// Stopped with Ctrl+C (128 + SIGINT).
    Stopped = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Input that cannot be used: one sentence that says why and what to do, path last.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadInput(pub String);

impl BadInput {
    /// A sentence about a file, whose path goes last.
    pub fn file(sentence: impl std::fmt::Display, path: &std::path::Path) -> Self {
        let sentence = sentence.to_string();
        let sentence = sentence.trim_end_matches('.');
        Self(format!("{sentence}: {:?}", path.display().to_string()))
    }
}

/// The exit code of an error that ends a command.
pub fn of_error(error: &anyhow::Error) -> Exit {
    match error.downcast_ref::<EngineError>() {
        Some(EngineError::StoppedBeforeTraining) => return Exit::Stopped,
        Some(
            EngineError::Train(_)
            | EngineError::Readback { .. }
            | EngineError::NothingTrained { .. },
        ) => return Exit::Failure,
        Some(_) => return Exit::BadInput,
        None => {}
    }
    let is_bad_input = |cause: &(dyn Error + 'static)| {
        cause.is::<BadInput>() || cause.is::<CheckpointError>() || cause.is::<LoraFileError>()
    };
    if error.chain().any(is_bad_input) {
        Exit::BadInput
    } else {
        Exit::Failure
    }
}

/// Answers a command line that cannot be parsed, or that asks for help.
pub fn usage(error: &clap::Error) -> Exit {
    let text = error.render().to_string();
    let arguments = std::env::args_os().skip(1);
    let arguments: Vec<_> = arguments
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let taken_for_a_flag = taken_for_a_flag(error, &arguments);
    match (error.kind(), taken_for_a_flag) {
        (ErrorKind::DisplayHelp | ErrorKind::DisplayVersion, None) => {
            console::out(text.trim_end());
            Exit::Done
        }
        (ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, _) => {
            console::err(text.trim_end());
            Exit::BadInput
        }
        (_, taken_for_a_flag) => {
            // clap puts what is wrong first, then an empty line, then tips and the usage.
            let what = text.split("\n\n").next().unwrap_or_default();
            let what = console::one_line(what.trim_start_matches("error:"));
            let sentence = taken_for_a_flag.unwrap_or_else(|| {
                if what.ends_with('.') {
                    what
                } else {
                    format!("{what}; --help tells what is possible.")
                }
            });
            // Parsing failed, so whether a machine listens has to be guessed.
            let json = arguments.iter().any(|argument| argument == "--json");
            self::error(&sentence, json);
            Exit::BadInput
        }
    }
}

/// What to say about a file or a text that begins with a dash, which clap takes for flags of one
/// letter each.
fn taken_for_a_flag(error: &clap::Error, arguments: &[String]) -> Option<String> {
    let named = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(named)) => named.split_whitespace().next(),
        _ => None,
    };
    let culprit = match error.kind() {
        // It names the first letter.
        ErrorKind::UnknownArgument => {
            let flag = named?;
            arguments.iter().find(|argument| argument.starts_with(flag))
        }
        // It names the flag before, which seems to be without a value.
        ErrorKind::InvalidValue => {
            let at = arguments
                .iter()
                .position(|argument| Some(&**argument) == named)?;
            arguments.get(at + 1)
        }
        // It took the first letter for a wish.
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let wishes = ["help", "--help", "-h", "--version", "-V"];
            let is_wished = arguments
                .iter()
                .any(|argument| wishes.contains(&&**argument));
            let mut dashed = arguments.iter();
            let dashed =
                dashed.find(|argument| argument.starts_with("-h") || argument.starts_with("-V"));
            dashed.filter(|_| !is_wished)
        }
        _ => None,
    }?;
    let is_dashed = culprit.len() > 2 && culprit.starts_with('-') && !culprit.starts_with("--");
    is_dashed.then(|| {
        let as_file = format!("./{culprit}");
        format!(
            "{culprit:?} begins with a dash, so it is taken for a flag. If it is a file, write {as_file:?}; if it is a text, join it to its flag with =."
        )
    })
}

/// Tells an error, to people on stderr and to machines on stdout.
pub fn error(sentence: &str, json: bool) {
    #[derive(Serialize)]
    struct ErrorEvent<'a> {
        event: &'a str,
        message: &'a str,
    }
    console::err(&format!("error: {sentence}"));
    if json {
        console::json(&ErrorEvent {
            event: "error",
            message: sentence,
        });
    }
}

/// A fault of the program itself becomes one sentence too, instead of a backtrace.
pub fn report_faults_in_one_sentence() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(|location| format!(" at {}:{}", location.file(), location.line()));
        let what = console::one_line(panic.payload_as_str().unwrap_or("no message"));
        let place = place.unwrap_or_default();
        let json = std::env::args().any(|argument| argument == "--json");
        let sentence = format!(
            "this is a fault in Mimeo {}, not in your input ({what}{place}). Please report this line \
             with the command that led to it.",
            env!("CARGO_PKG_VERSION")
        );
        self::error(&sentence, json);
    }));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_path_stands_last_and_cannot_steer_the_terminal() {
        let error = BadInput::file("It is broken; mend it.", Path::new("a\u{1b}b"));
        assert_eq!(
            error.to_string(),
            "It is broken; mend it: \"a\\u{1b}b\"",
            "sentence, colon, path"
        );
    }

    #[test]
    fn input_failure_and_stop_have_their_own_codes() {
        let bad = anyhow::Error::from(BadInput("no".to_owned())).context("while reading");
        assert_eq!(of_error(&bad), Exit::BadInput, "found through the context");
        let stopped = anyhow::Error::from(EngineError::StoppedBeforeTraining);
        assert_eq!(of_error(&stopped), Exit::Stopped, "by the user");
        let other = anyhow::anyhow!("the disk is full");
        assert_eq!(of_error(&other), Exit::Failure, "nobody's fault");
    }
}
