//! What may be asked for, and when.

use mimeo_protocol::{
    BaseId, BlobId, CopierId, CopierInfo, FileId, JobControl, JobId, JobState, Phase,
    PreviewRequest, Rejection, TrainJob, VaeId,
};

use crate::host::Program;
use crate::store::ImportedCopier;

/// Waiting jobs; more are refused.
pub const MAX_QUEUE: usize = 500;
/// Prompts longer than this are a mistake: nobody writes so much by hand.
pub const MAX_PROMPT: usize = 4000;
/// Largest picture file that is taken.
pub const MAX_BLOB_BYTES: usize = 64 << 20;
/// Largest LoRA that is taken.
pub const MAX_LORA_BYTES: u64 = 512 << 20;

/// A job that takes its server down so often, with no state saved between, is not begun again by
/// itself. Each time everybody waits, for a minute or more, and whatever else the machine does may go
/// with it: twice can be chance, such as another program that took the memory.
pub const MAX_DEATHS: u32 = 3;

/// What a wish about a job comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// It goes to the end of the queue, if the table of transitions lets it.
    Queue,
    /// It leaves the queue; what an earlier run of it left stays.
    Leave,
    /// It leaves the queue and nothing of it stays.
    Discard,
    /// Its run is told.
    Steer,
}

/// What is to be done about a job in this state when a client wants this of it.
///
/// # Errors
/// When it cannot be done now.
pub fn course(control: JobControl, state: &JobState) -> Result<Course, Rejection> {
    match (control, state) {
        (JobControl::Retry, _) => Ok(Course::Queue),
        (JobControl::StopAndKeep, JobState::Queued) => Ok(Course::Leave),
        (JobControl::Discard, JobState::Queued) => Ok(Course::Discard),
        (_, JobState::Running { phase } | JobState::Paused { phase, .. }) => {
            let is_measured = matches!(phase, Phase::Calibrating | Phase::Scoring | Phase::Saving);
            if is_measured && matches!(control, JobControl::SaveNow | JobControl::PreviewNow) {
                return Err(Rejection::State {
                    message: "training is over and the result is on its way. Wait for it."
                        .to_owned(),
                });
            }
            Ok(Course::Steer)
        }
        (control, state) => Err(impossible(state, control)),
    }
}

fn impossible(state: &JobState, control: JobControl) -> Rejection {
    let wish = match control {
        JobControl::Pause => "be paused",
        JobControl::Resume => "be resumed",
        JobControl::StopAndKeep => "be stopped",
        JobControl::Discard => "be discarded; delete it",
        JobControl::SaveNow => "be saved",
        JobControl::PreviewNow => "be previewed",
        JobControl::Retry => "be tried again",
    };
    let is = state.describe();
    Rejection::State {
        message: format!("a job that {is} cannot {wish}."),
    }
}

/// The run that was to be steered is over.
#[must_use]
pub fn just_ended() -> Rejection {
    Rejection::State {
        message: "the job ended at this moment. See its new state.".to_owned(),
    }
}

/// Something is asked for on another base than that of a paused job, which may be paused for days.
#[must_use]
pub fn base_is_held() -> Rejection {
    Rejection::State {
        message: "a paused run keeps its base on the device, and this needs another one. Resume or end that run, then ask again.".to_owned(),
    }
}

/// What is wrong with a job that took its server down [`MAX_DEATHS`] times.
#[must_use]
pub fn given_up(program: Program) -> String {
    let Program {
        title, elsewhere, ..
    } = program;
    format!(
        "{title} ended {MAX_DEATHS} times while it did this job, perhaps because the memory is full. Try it again with a smaller batch size or picture, or {elsewhere}."
    )
}

/// Whether one more job may wait.
///
/// # Errors
/// When too many do.
pub fn check_queue(waiting: usize) -> Result<(), Rejection> {
    if waiting < MAX_QUEUE {
        return Ok(());
    }
    Err(Rejection::Full {
        message: format!(
            "{MAX_QUEUE} jobs wait already, which is the limit. Discard some, or wait."
        ),
    })
}

/// Jobs in another order, where one of the two does not wait.
#[must_use]
pub fn not_waiting() -> Rejection {
    Rejection::State {
        message: "only waiting jobs can be moved, and this one, or the one it is to run before, does not wait any more.".to_owned(),
    }
}

/// Whether a job in this state can be deleted.
///
/// # Errors
/// When it is not over.
pub fn check_deletion(state: &JobState) -> Result<(), Rejection> {
    if state.is_over() {
        return Ok(());
    }
    Err(Rejection::State {
        message: "only a job that is over can be deleted. Discard it first.".to_owned(),
    })
}

/// Whether a copier can be deleted.
///
/// - `user`: a job under way that builds upon it
///
/// # Errors
/// When there is such a job.
pub fn check_copier_deletion(user: Option<JobId>) -> Result<(), Rejection> {
    user.map_or(Ok(()), |job| {
        Err(Rejection::State {
            message: format!("job {job} builds upon this copier. Wait for it, or discard it."),
        })
    })
}

/// Whether a copier is for the base of a job.
///
/// # Errors
/// When it is for another one.
pub fn check_copier_base(copier: &CopierInfo, base: &BaseId) -> Result<(), Rejection> {
    if copier.base == *base {
        return Ok(());
    }
    let CopierInfo {
        name, base: own, ..
    } = copier;
    Err(Rejection::Failed {
        message: format!(
            "the copier {name} is for the base {own}, and this job is on {base}. Choose that base, another copier, or none."
        ),
    })
}

/// Whether a LoRA can become a copier beside those that there are.
///
/// # Errors
/// When it is one already.
pub fn check_import(copier: &ImportedCopier, copiers: &[CopierInfo]) -> Result<(), Rejection> {
    let is_same =
        |known: &&CopierInfo| (known.file.sha256, &known.base) == (copier.lora, &copier.base);
    copiers.iter().find(is_same).map_or(Ok(()), |known| {
        Err(Rejection::State {
            message: format!(
                "this file is in the library already, as {}. Use that one.",
                known.name
            ),
        })
    })
}

/// Whether the prompts of a job can be used.
///
/// # Errors
/// When one is too long.
pub fn check_prompts(job: &TrainJob) -> Result<(), Rejection> {
    let prompts = job.previews.iter().map(|plan| &plan.prompt);
    let captions = job.examples.iter().map(|example| &example.caption);
    let recipe = &job.recipe;
    let own = [&recipe.prompt, &recipe.trigger].into_iter();
    let own = own.chain(&recipe.held_out_prompts);
    let of_slider = recipe.slider.prompts();
    for prompt in prompts.chain(captions).chain(own).chain(of_slider) {
        check_prompt(prompt)?;
    }
    Ok(())
}

/// Whether the recipe of a job can be trained, and on its examples.
///
/// # Errors
/// When it cannot, with the name of what is wrong in it.
pub fn check_recipe(job: &TrainJob) -> Result<(), Rejection> {
    let failed = |message| Rejection::Failed { message };
    let checked = job.recipe.check();
    checked.map_err(|error| failed(error.to_string()))?;
    if !job.recipe.method.takes_pictures() {
        return match job.examples.len() {
            0 => Ok(()),
            _ => Err(failed(
                "a slider of two prompts takes no pictures. Leave them out, or choose another method."
                    .to_owned(),
            )),
        };
    }
    let checked = job.recipe.check_examples(&job.examples);
    checked.map_err(|error| failed(error.to_string()))
}

/// Whether a prompt can be used.
///
/// # Errors
/// When it is too long.
pub fn check_prompt(prompt: &str) -> Result<(), Rejection> {
    if prompt.len() <= MAX_PROMPT {
        return Ok(());
    }
    Err(Rejection::Failed {
        message: format!("a prompt has at most {MAX_PROMPT} characters. Shorten it."),
    })
}

/// Whether so many LoRAs can be active.
///
/// # Errors
/// When there are too many.
pub fn check_lora_count(count: usize) -> Result<(), Rejection> {
    let limit = PreviewRequest::MAX_LORAS;
    if count <= limit {
        return Ok(());
    }
    Err(Rejection::Failed {
        message: format!("{count} LoRAs at once are too many, {limit} can be. Take some away."),
    })
}

/// There is no such uploaded LoRA.
#[must_use]
pub fn missing_lora(id: BlobId) -> Rejection {
    Rejection::Missing {
        what: format!("the LoRA {id}"),
        remedy: "Upload it first.".to_owned(),
    }
}

/// There is no such base.
#[must_use]
pub fn missing_base(id: &BaseId) -> Rejection {
    Rejection::Missing {
        what: format!("the base {id}"),
        remedy: "Choose another one.".to_owned(),
    }
}

/// There is no such VAE.
#[must_use]
pub fn missing_vae(id: &VaeId) -> Rejection {
    Rejection::Missing {
        what: format!("the VAE {id}"),
        remedy: "Choose another one, or the base's own.".to_owned(),
    }
}

/// A base without a VAE was wanted as it is.
#[must_use]
pub fn needs_vae(id: &BaseId) -> Rejection {
    Rejection::Failed {
        message: format!("the base {id} has no VAE of its own. Choose one with it."),
    }
}

/// There is no such picture.
#[must_use]
pub fn missing_picture(id: BlobId) -> Rejection {
    Rejection::Missing {
        what: format!("the picture {id}"),
        remedy: "Upload it first.".to_owned(),
    }
}

/// There is no such LoRA of a job.
#[must_use]
pub fn missing_file(id: FileId) -> Rejection {
    Rejection::Missing {
        what: format!("the file {id}"),
        remedy: "Choose a LoRA that a job made.".to_owned(),
    }
}

/// There is no such copier.
#[must_use]
pub fn missing_copier(id: CopierId) -> Rejection {
    Rejection::Missing {
        what: format!("the copier {id}"),
        remedy: "Choose another one, or let the job train its own.".to_owned(),
    }
}

/// There is no such job.
#[must_use]
pub fn missing_job(id: JobId) -> Rejection {
    Rejection::Missing {
        what: format!("job {id}"),
        remedy: "Reload the page.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use mimeo_protocol::PauseReason;

    use super::*;

    #[test]
    fn what_can_be_wished_for_depends_on_the_state() {
        let running = |phase| JobState::Running { phase };
        let paused = JobState::Paused {
            phase: Phase::Training,
            reason: PauseReason::User,
        };
        for (control, state, expected) in [
            (JobControl::Retry, JobState::Stopped, Some(Course::Queue)),
            (
                JobControl::StopAndKeep,
                JobState::Queued,
                Some(Course::Leave),
            ),
            (JobControl::Discard, JobState::Queued, Some(Course::Discard)),
            (JobControl::Pause, JobState::Queued, None),
            (
                JobControl::Pause,
                running(Phase::Training),
                Some(Course::Steer),
            ),
            (JobControl::Resume, paused, Some(Course::Steer)),
            (
                JobControl::SaveNow,
                running(Phase::Copier),
                Some(Course::Steer),
            ),
            (JobControl::SaveNow, running(Phase::Scoring), None),
            (
                JobControl::StopAndKeep,
                running(Phase::Scoring),
                Some(Course::Steer),
            ),
            (JobControl::Discard, JobState::Finished, None),
        ] {
            let course = course(control, &state);
            assert_eq!(
                course.ok(),
                expected,
                "{control:?} of a job that {}",
                state.describe()
            );
        }
    }
}
