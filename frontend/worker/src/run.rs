//! One job, from its pictures to its files.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::pending;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use mimeo_engine::{Base, FinishedCopier, PreparedJob, TrainingState, rehearse};
use mimeo_protocol::{CopierId, JobId, PauseReason, Transition};
use mimeo_service::draw::draw_final;
use mimeo_service::prepare::{prepared, unusable_state};
use mimeo_service::{
    End, JobToRun, Next, Recorder, SaveRule, ServiceError, Shared, Steering, Store as _, Went,
};

use crate::archive::JobArchive;
use crate::disk::DiskError;
use crate::drive::{drive, sleep, step};
use crate::host::Worker;
use crate::machine::compiled;
use crate::places::{file_path, state_path};
use crate::task::{Task, read_lora};
use crate::{inbox, page};

/// What a closed tab loses at most.
const SAVE: SaveRule = SaveRule {
    secs: 15.0,
    steps: Some(10),
};
/// Milliseconds from an error of the GPU until the browser has said whether it took it away.
const WAIT_FOR_LOSS: u32 = 500;

type JobRecorder = Recorder<JobArchive>;

/// Runs a job and keeps its new state.
pub async fn run(worker: &Rc<Worker>, id: JobId) {
    let Some(entry) = worker.store.ledger.borrow().job(id).cloned() else {
        return;
    };
    let steering = worker.running.begin(id);
    worker.store.tell_order().await;
    let job = JobToRun {
        id,
        job: entry.job,
        copier: entry.copier,
    };
    let archive = JobArchive::new(Rc::clone(worker), id);
    let recorder = Recorder::new(archive, job.clone(), Arc::clone(&steering), SAVE);
    let recorder = RefCell::new(recorder);
    let mut went = go(worker, &job, &recorder, &steering).await;
    if matches!(went, Went::Wrong(_)) && lost_the_gpu().await {
        // The page was told, and starts a worker that goes on from the last state.
        pending::<()>().await;
    }
    recorder.borrow_mut().keep_results(&went);
    // A job is over once its results are on disk; on a full one it waits for room, and says so.
    if matches!(went, Went::Through(_))
        && let Err(ended) = keep(worker, &steering, &recorder).await
    {
        went = ended;
    }
    if matches!(went, Went::Ended(End::Discard)) {
        worker.store.forget_results(id).await;
    }
    let mut recorder = recorder.into_inner();
    recorder.settle(&went);
    if let Some(Went::Wrong(message)) = recorder.went_wrong() {
        // It is over already: then nobody has to know.
        _ = worker.store.change(id, Transition::Fail { message });
    }
    worker.running.end(id);
    // A full disk is waited for by the next run.
    worker.store.flush().await;
}

/// Whether the browser took the GPU away: then nothing is wrong with the job itself. What the GPU was
/// asked for may be refused before the browser says so.
async fn lost_the_gpu() -> bool {
    if page::wants_webgpu() {
        sleep(WAIT_FOR_LOSS).await;
    }
    page::is_lost()
}

async fn go(
    worker: &Rc<Worker>,
    job: &JobToRun,
    recorder: &RefCell<JobRecorder>,
    steering: &Steering,
) -> Went {
    let mut emit = |event| recorder.borrow_mut().take(event);
    let base = match worker.host.machine.base(&job.job.base, &mut emit).await {
        Ok(base) => base,
        Err(error) => return Went::Wrong(error),
    };
    let prepared = match prepare(worker, job, &base, recorder).await {
        Ok(prepared) => prepared,
        Err(error) => return Went::Wrong(error.to_string()),
    };
    if page::wants_webgpu() && worker.host.machine.is_new(&job.job, &prepared) {
        if let Err(error) = drive(rehearse(&base, &prepared, &mut emit)).await {
            return error.into();
        }
        compiled(&worker.store);
    }
    let saved = read_state(worker, job.id, recorder).await;
    let fits = |task: &Task| task.base == job.job.base;
    let mut control = Shared(recorder);
    let mut future = Box::pin(mimeo_engine::run(
        &base,
        &prepared,
        saved,
        &mut control,
        &mut emit,
    ));
    let artifact = loop {
        match step(&mut future).await {
            Some(Ok(artifact)) => break artifact,
            Some(Err(error)) => return error.into(),
            None => {}
        }
        if let Some(went) = recorder.borrow().went_wrong() {
            return went;
        }
        if let Err(went) = keep(worker, steering, recorder).await {
            return went;
        }
        let next = inbox::until(worker, fits, || decide(recorder)).await;
        if let ControlFlow::Break(end) = next {
            return Went::Ended(end);
        }
    };
    drop(future);
    match drive(draw_final(&base, &prepared, &artifact, recorder)).await {
        Ok(()) => Went::Through(Box::new(artifact)),
        Err(error) => error.into(),
    }
}

/// Writes what the run left; on a full disk it waits for room.
async fn keep(
    worker: &Rc<Worker>,
    steering: &Steering,
    recorder: &RefCell<JobRecorder>,
) -> Result<(), Went> {
    let Err(error) = worker.store.write_if_due().await else {
        return Ok(());
    };
    let message = error.to_string();
    if let DiskError::Failed { .. } = error {
        return Err(Went::Wrong(message));
    }
    let reason = PauseReason::DiskFull { message };
    recorder
        .borrow_mut()
        .change_state(&Transition::Pause(reason));
    let base = recorder.borrow().job().base.clone();
    let fits = |task: &Task| task.base == base;
    while worker.store.write().await.is_err() {
        if let Some(end) = steering.wishes().end {
            return Err(Went::Ended(end));
        }
        inbox::perform_waiting(worker, &fits).await;
        inbox::refuse_waiting(worker, fits);
        inbox::rest(worker, false).await;
    }
    recorder.borrow_mut().change_state(&Transition::Resume);
    Ok(())
}

/// Whether the user wants the job to go on or to end; none: it is to wait.
fn decide(recorder: &RefCell<JobRecorder>) -> Option<ControlFlow<End>> {
    match recorder.borrow_mut().between_steps() {
        Next::Go => Some(ControlFlow::Continue(())),
        Next::End(end) => Some(ControlFlow::Break(end)),
        Next::Wait => None,
    }
}

/// The job's pictures and copier, decoded.
async fn prepare(
    worker: &Worker,
    job: &JobToRun,
    base: &Base,
    recorder: &RefCell<JobRecorder>,
) -> Result<PreparedJob, ServiceError> {
    let mut prepared = prepared(base, &job.job, &worker.store).await?;
    recorder.borrow_mut().prepared(&prepared);
    if let Some(fingerprint) = &prepared.fingerprint
        && let Some(id) = choose_copier(worker, job, fingerprint).await
    {
        prepared.job.copier = Some(read_copier(worker, id).await?);
    }
    Ok(prepared.job)
}

/// Which finished copier to build upon; none: a new one is trained.
async fn choose_copier(worker: &Worker, job: &JobToRun, fingerprint: &str) -> Option<CopierId> {
    let has_state = worker.store.disk.blob(&state_path(job.id)).await.is_some();
    let mut ledger = worker.store.ledger.borrow_mut();
    let found = ledger.copier_of(fingerprint);
    let Ok(chosen) = job.choose_copier(has_state, || Ok::<_, Infallible>(found));
    if let Some(copier) = chosen {
        ledger.set_copier(job.id, copier);
    }
    chosen
}

async fn read_copier(worker: &Worker, id: CopierId) -> Result<FinishedCopier, ServiceError> {
    let copiers = worker.store.ledger.borrow().copiers();
    let copier = copiers.into_iter().find(|copier| copier.id == id);
    let copier = copier.ok_or(ServiceError::NoCopier { copier: id })?;
    let file = read_lora(&worker.store, &file_path(copier.file.id), &copier.file.name).await;
    Ok(FinishedCopier {
        file: file.map_err(ServiceError::Unreadable)?,
        steps: copier.steps,
        fidelity: copier.fidelity,
    })
}

async fn read_state(
    worker: &Worker,
    id: JobId,
    recorder: &RefCell<JobRecorder>,
) -> Option<TrainingState> {
    let bytes = worker.store.disk.read(&state_path(id)).await?;
    match TrainingState::from_bytes(bytes).await {
        Ok(state) => Some(state),
        Err(error) => {
            recorder.borrow_mut().record(&unusable_state(&error));
            None
        }
    }
}
