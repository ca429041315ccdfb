//! The life of a job, and the one function that may change it.

use serde::{Deserialize, Serialize};

/// A part of a job with its own progress bar; the earlier is the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Reading the base.
    Loading,
    /// Compiling the device's programs, which a browser's GPU needs once before its first step.
    Compiling,
    /// Pictures and prompts become latents and conditioning.
    Encoding,
    /// Training the copier: pass 1 of copy machine learning.
    Copier,
    /// Training the LoRA that is kept.
    Training,
    /// Finding the strength that makes the change.
    Calibrating,
    /// Measuring what the LoRA does.
    Scoring,
    /// Writing the file.
    Saving,
}

impl Phase {
    /// Every phase, in the order in which a job goes through them.
    pub const ALL: [Self; 8] = [
        Self::Loading,
        Self::Compiling,
        Self::Encoding,
        Self::Copier,
        Self::Training,
        Self::Calibrating,
        Self::Scoring,
        Self::Saving,
    ];
}

/// Why a job waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseReason {
    /// The user asked for it.
    User,
    /// There is no room for its checkpoint; it goes on by itself when there is.
    DiskFull {
        /// What is full and what to do.
        message: String,
    },
}

/// Where a job is in its life.
///
/// ```text
/// Queued → Running(phase) ⇄ Paused → Finished | Stopped | Failed
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for its turn, from the start or from its checkpoint.
    Queued,
    /// Is being worked on.
    Running {
        /// The part that is under way.
        phase: Phase,
    },
    /// Holds the device and waits.
    Paused {
        /// The part that it will go on with.
        phase: Phase,
        /// Why it waits.
        reason: PauseReason,
    },
    /// Did all that was planned.
    Finished,
    /// Was ended by the user.
    Stopped,
    /// Could not go on.
    Failed {
        /// What is wrong and what to do, in one sentence.
        message: String,
    },
}

/// What can happen to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// Its turn has come, or its next phase.
    Enter(Phase),
    /// It is to wait.
    Pause(PauseReason),
    /// It may go on.
    Resume,
    /// It did all that was planned.
    Finish,
    /// The user ends it.
    Stop,
    /// It cannot go on.
    Fail {
        /// What is wrong and what to do, in one sentence.
        message: String,
    },
    /// The server ends or was killed; the job goes on when it is back.
    Interrupt,
    /// The user wants it done after all.
    Retry,
}

/// Something that cannot happen to a job in its state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a job that {is} cannot {wish}.")]
pub struct IllegalTransition {
    /// What the job is doing.
    pub is: &'static str,
    /// What was wanted of it.
    pub wish: &'static str,
}

impl JobState {
    /// The state after a transition.
    ///
    /// # Errors
    /// [`IllegalTransition`] when that cannot happen now.
    pub fn after(&self, transition: Transition) -> Result<Self, IllegalTransition> {
        use Transition as T;
        let illegal = IllegalTransition {
            is: self.describe(),
            wish: transition.describe(),
        };
        match (self, transition) {
            (Self::Queued | Self::Running { .. }, T::Enter(phase)) => Ok(Self::Running { phase }),
            (Self::Running { phase }, T::Pause(reason)) => Ok(Self::Paused {
                phase: *phase,
                reason,
            }),
            (Self::Paused { phase, .. }, T::Resume) => Ok(Self::Running { phase: *phase }),
            (Self::Running { .. }, T::Finish) => Ok(Self::Finished),
            (Self::Queued | Self::Running { .. } | Self::Paused { .. }, T::Stop) => {
                Ok(Self::Stopped)
            }
            (Self::Queued | Self::Running { .. } | Self::Paused { .. }, T::Fail { message }) => {
                Ok(Self::Failed { message })
            }
            (Self::Running { .. } | Self::Paused { .. }, T::Interrupt) => Ok(Self::Queued),
            (Self::Stopped | Self::Failed { .. }, T::Retry) => Ok(Self::Queued),
            _ => Err(illegal),
        }
    }

    /// Whether the job will not change any more by itself.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Finished | Self::Stopped | Self::Failed { .. })
    }

    /// What a job in this state does, for a sentence about it.
    #[must_use]
    pub const fn describe(&self) -> &'static str {
        match self {
            Self::Queued => "waits in the queue",
            Self::Running { .. } => "runs",
            Self::Paused { .. } => "is paused",
            Self::Finished => "is finished",
            Self::Stopped => "was stopped",
            Self::Failed { .. } => "failed",
        }
    }
}

impl Transition {
    const fn describe(&self) -> &'static str {
        match self {
            Self::Enter(_) => "be worked on",
            Self::Pause(_) => "be paused",
            Self::Resume => "be resumed",
            Self::Finish => "finish",
            Self::Stop => "be stopped",
            Self::Fail { .. } => "fail",
            Self::Interrupt => "be interrupted",
            Self::Retry => "be tried again",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every state against every transition: the whole table, so that a change of it is seen.
    #[test]
    fn the_table_of_transitions() {
        let states = [
            ("queued", JobState::Queued),
            (
                "running",
                JobState::Running {
                    phase: Phase::Training,
                },
            ),
            (
                "paused",
                JobState::Paused {
                    phase: Phase::Training,
                    reason: PauseReason::User,
                },
            ),
            ("finished", JobState::Finished),
            ("stopped", JobState::Stopped),
            (
                "failed",
                JobState::Failed {
                    message: "no".to_owned(),
                },
            ),
        ];
        let transitions = [
            Transition::Enter(Phase::Training),
            Transition::Pause(PauseReason::User),
            Transition::Resume,
            Transition::Finish,
            Transition::Stop,
            Transition::Fail {
                message: "no".to_owned(),
            },
            Transition::Interrupt,
            Transition::Retry,
        ];
        let name = |state: &JobState| {
            let found = states.iter().find(|(_, known)| known == state);
            found.map_or("?", |(name, _)| name)
        };
        let mut table = String::new();
        for (from, state) in &states {
            let row = transitions.clone().map(|transition| {
                let after = state.after(transition);
                after.map_or("-", |state| name(&state))
            });
            table += &format!("{from:<9}{}\n", row.map(|to| format!("{to:<9}")).concat());
        }
        let expected = "\
queued   running  -        -        -        stopped  failed   -        -        \n\
running  running  paused   -        finished stopped  failed   queued   -        \n\
paused   -        -        running  -        stopped  failed   queued   -        \n\
finished -        -        -        -        -        -        -        -        \n\
stopped  -        -        -        -        -        -        -        queued   \n\
failed   -        -        -        -        -        -        -        queued   \n";
        assert_eq!(
            table, expected,
            "columns: enter pause resume finish stop fail interrupt retry"
        );
    }

    #[test]
    fn an_illegal_wish_is_answered_in_a_sentence() {
        let error = JobState::Finished.after(Transition::Pause(PauseReason::User));
        assert_eq!(
            error.expect_err("over is over").to_string(),
            "a job that is finished cannot be paused.",
            "what it is and what was wanted"
        );
    }
}
