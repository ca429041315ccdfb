//! One job on the training thread, from its pictures to its files.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use mimeo_checkpoint::{DiskFile, LoraFile};
use mimeo_engine::{Base, FinishedCopier, PreparedJob, TrainingState, runtime};
use mimeo_protocol::{CopierId, JobId, Transition};
use mimeo_service::draw::draw_final;
use mimeo_service::prepare::{prepared, unusable_state};
use mimeo_service::{
    End, JobToRun, Next, Recorder, SaveRule, ServiceError, Shared, Steering, Store as _, StoredJob,
    Went,
};

use super::archive::JobArchive;
use super::trainer::{Context, Thread};
use crate::console;

type JobRecorder<'a> = Recorder<JobArchive<'a>>;

/// Runs a job and stores its new state.
pub fn run(thread: &mut Thread, job: &StoredJob, steering: &Arc<Steering>) {
    let context = Rc::clone(&thread.context);
    let to_run = JobToRun {
        id: job.id,
        job: job.job.clone(),
        copier: job.copier,
    };
    let save = SaveRule {
        secs: context.save_every.as_secs_f64(),
        steps: None,
    };
    let inbox = Rc::clone(&thread.inbox);
    let archive = JobArchive::new(&context, job, Arc::clone(steering), inbox);
    let recorder = Recorder::new(archive, to_run.clone(), Arc::clone(steering), save);
    let recorder = RefCell::new(recorder);
    let went = go(thread, &to_run, &recorder);
    let mut recorder = recorder.into_inner();
    if matches!(went, Went::Ended(End::Discard)) {
        context.wait_for(context.store.forget_results(job.id));
    }
    recorder.keep_results(&went);
    recorder.settle(&went);
    // What could not even be written down.
    match recorder.went_wrong() {
        Some(Went::Wrong(message)) => fail(&context, job.id, &message),
        Some(Went::Ended(end)) => {
            // On a full disk this may fail; the start after this one finds the job and takes it up.
            _ = context.wait_for(context.store.change_state(job.id, end.transition()));
        }
        Some(Went::Through(_)) | None => {}
    }
}

/// Notes that a job failed, as far as that can be noted.
pub fn fail(context: &Context, job: JobId, message: &str) {
    let transition = Transition::Fail {
        message: message.to_owned(),
    };
    if let Err(error) = context.wait_for(context.store.change_state(job, transition)) {
        console::err(&format!(
            "error: job {job} failed ({message}), which could not be noted ({error})."
        ));
    }
}

fn go(thread: &mut Thread, job: &JobToRun, recorder: &RefCell<JobRecorder<'_>>) -> Went {
    let mut emit = |event| recorder.borrow_mut().take(event);
    let base = match thread.base(&job.job.base, &mut emit) {
        Ok(base) => base,
        Err(error) => return Went::Wrong(format!("{error:#}")),
    };
    let context = Rc::clone(&thread.context);
    let prepared = match prepare(&context, job, &base, recorder) {
        Ok(prepared) => prepared,
        Err(error) => return Went::Wrong(format!("{error:#}")),
    };
    let saved = read_state(&context, job.id, recorder);
    let mut control = Shared(recorder);
    let mut future = Box::pin(mimeo_engine::run(
        &base,
        &prepared,
        saved,
        &mut control,
        &mut emit,
    ));
    let artifact = loop {
        match runtime::block_on(runtime::until_yield(future.as_mut())) {
            Some(Ok(artifact)) => break artifact,
            Some(Err(error)) => return error.into(),
            None => {}
        }
        if let Some(went) = recorder.borrow().went_wrong() {
            return went;
        }
        thread.perform_waiting(&base, &job.job.base);
        if let Some(end) = wait_while_paused(thread, &base, job, recorder) {
            return Went::Ended(end);
        }
    };
    drop(future);
    match runtime::block_on(draw_final(&base, &prepared, &artifact, recorder)) {
        Ok(()) => Went::Through(Box::new(artifact)),
        Err(error) => Went::Wrong(error.to_string()),
    }
}

/// Waits as long as the user wants the job to; why it is to end, if it is.
fn wait_while_paused(
    thread: &mut Thread,
    base: &Base,
    job: &JobToRun,
    recorder: &RefCell<JobRecorder<'_>>,
) -> Option<End> {
    loop {
        let next = recorder.borrow_mut().between_steps();
        match next {
            Next::Go => return None,
            Next::End(end) => return Some(end),
            Next::Wait => thread.wait(base, &job.job.base),
        }
    }
}

/// The job's pictures and copier, decoded.
fn prepare(
    context: &Context,
    job: &JobToRun,
    base: &Base,
    recorder: &RefCell<JobRecorder<'_>>,
) -> anyhow::Result<PreparedJob> {
    let mut prepared = runtime::block_on(prepared(base, &job.job, context))?;
    recorder.borrow_mut().prepared(&prepared);
    if let Some(fingerprint) = &prepared.fingerprint {
        let copier = choose_copier(context, job, fingerprint)?;
        prepared.job.copier = copier.map(|id| read_copier(context, id)).transpose()?;
    }
    Ok(prepared.job)
}

/// Which finished copier to build upon; none: a new one is trained.
fn choose_copier(
    context: &Context,
    job: &JobToRun,
    fingerprint: &str,
) -> anyhow::Result<Option<CopierId>> {
    let has_state = context.folder.state(job.id).is_file();
    let chosen = job.choose_copier(has_state, || {
        context.wait_for(context.store.copier_of(fingerprint))
    })?;
    if let Some(id) = chosen
        && job.copier.is_none()
    {
        context.wait_for(context.store.set_copier(job.id, id))?;
    }
    Ok(chosen)
}

fn read_copier(context: &Context, id: CopierId) -> anyhow::Result<FinishedCopier> {
    let copiers = context.wait_for(context.store.copiers())?;
    let found = copiers.into_iter().find(|copier| copier.id == id);
    let missing = || ServiceError::NoCopier { copier: id };
    let copier = found.ok_or_else(missing)?;
    let file = context.wait_for(context.store.file(copier.file.id))?;
    let (_, path) = file.ok_or_else(missing)?;
    Ok(FinishedCopier {
        file: read_lora(&context.folder.file(&path))?,
        steps: copier.steps,
        fidelity: copier.fidelity,
    })
}

/// A LoRA file of the data folder.
pub fn read_lora(path: &Path) -> anyhow::Result<LoraFile> {
    let file = DiskFile::open(path)?;
    Ok(runtime::block_on(LoraFile::read(Box::new(file)))?)
}

fn read_state(
    context: &Context,
    job: JobId,
    recorder: &RefCell<JobRecorder<'_>>,
) -> Option<TrainingState> {
    let bytes = fs::read(context.folder.state(job)).ok()?;
    match runtime::block_on(TrainingState::from_bytes(bytes)) {
        Ok(state) => Some(state),
        Err(error) => {
            recorder.borrow_mut().record(&unusable_state(&error));
            None
        }
    }
}
