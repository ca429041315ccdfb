//! One job on the training thread, from its pictures to its files.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::{self, Thread as OsThread};

use mimeo_checkpoint::{DiskFile, LoraFile};
use mimeo_engine::sample::sample;
use mimeo_engine::{
    Artifact, Base, Control, Directive, EngineError, FinishedCopier, Kept, LoadedLora, LoraStack,
    Outcome, Phase, Place, PreparedJob, SampleRequest, TrainingState, runtime,
};
use mimeo_image::{Fit, Rgb, decode, decode_mask, fit_pair};
use mimeo_protocol::{
    BlobId, CopierChoice, CopierId, FileKind, JobEventKind, JobId, Method, Transition, codec,
};
use sha2::{Digest as _, Sha256};

use super::recorder::{Recorder, Trouble};
use super::steering::{End, Steering};
use super::store::StoredJob;
use super::task;
use super::trainer::{Context, Thread};
use crate::console;

/// How a run went.
enum Went {
    /// To its end, or to where the user stopped it.
    Through(Box<Artifact>),
    /// It was ended from outside.
    Ended(End),
    /// What is wrong and what to do.
    Wrong(String),
}

/// Runs a job and stores its new state.
pub fn run(thread: &mut Thread, job: &StoredJob, steering: &Arc<Steering>) {
    let context = Rc::clone(&thread.context);
    let recorder = RefCell::new(Recorder::new(&context, job, Arc::clone(steering)));
    let went = go(thread, job, steering, &recorder);
    let mut recorder = recorder.into_inner();
    recorder.tell_losses();
    match went {
        Went::Through(artifact) => finish(&mut recorder, job, &artifact),
        // A job that the user paused is found as it was.
        Went::Ended(End::Interrupt) if steering.wishes().pause => {}
        Went::Ended(End::Interrupt) => recorder.change_state(&Transition::Interrupt),
        Went::Ended(End::Discard) => {
            context.wait_for(context.store.forget_results(job.id, &context.folder));
            recorder.change_state(&Transition::Stop);
        }
        Went::Wrong(message) => recorder.change_state(&Transition::Fail { message }),
    }
    // What could not even be written down.
    match recorder.trouble {
        Some(Trouble::Failed(message)) => fail(&context, job.id, &message),
        Some(Trouble::Ended) => {
            let ended = steering.wishes().end.unwrap_or(End::Interrupt);
            let transition = match ended {
                End::Discard => Transition::Stop,
                End::Interrupt => Transition::Interrupt,
            };
            // On a full disk this may fail; the start after this one finds the job and takes it up.
            _ = context.wait_for(context.store.change_state(job.id, transition));
        }
        None => {}
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

fn go(
    thread: &mut Thread,
    job: &StoredJob,
    steering: &Arc<Steering>,
    recorder: &RefCell<Recorder<'_>>,
) -> Went {
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
    let saved = read_state(&context, job.id);
    let mut control = Shared(recorder);
    let mut future = Box::pin(mimeo_engine::run(
        &base,
        &prepared,
        saved,
        &mut control,
        &mut emit,
    ));
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let artifact = loop {
        match future.as_mut().poll(&mut TaskContext::from_waker(&waker)) {
            Poll::Ready(Ok(artifact)) => break artifact,
            Poll::Ready(Err(EngineError::StoppedBeforeTraining)) => {
                return Went::Ended(End::Discard);
            }
            Poll::Ready(Err(error)) => return Went::Wrong(error.to_string()),
            // The future woke this thread already, unless it waits for the device.
            Poll::Pending => thread::park(),
        }
        match &recorder.borrow().trouble {
            Some(Trouble::Failed(message)) => return Went::Wrong(message.clone()),
            Some(Trouble::Ended) => {
                return Went::Ended(steering.wishes().end.unwrap_or(End::Interrupt));
            }
            None => {}
        }
        thread.perform_waiting(&base, &job.job.base);
        if let Some(end) = wait_while_paused(thread, &base, job, steering, recorder) {
            return Went::Ended(end);
        }
    };
    drop(future);
    if let (Outcome::Finished, Some(lora)) = (&artifact.outcome, &artifact.lora)
        && let Err(error) = draw_final(&base, &prepared, job, lora, recorder)
    {
        return Went::Wrong(error.to_string());
    }
    Went::Through(Box::new(artifact))
}

/// Waits as long as the user wants the job to; why it is to end, if it is.
fn wait_while_paused(
    thread: &mut Thread,
    base: &Base,
    job: &StoredJob,
    steering: &Steering,
    recorder: &RefCell<Recorder<'_>>,
) -> Option<End> {
    // Between steps of a pass, only once the state is on disk.
    let is_safe = {
        let recorder = recorder.borrow();
        !recorder.is_training() || recorder.is_safe_to_wait
    };
    let mut is_paused = false;
    loop {
        let wishes = steering.wishes();
        match wishes.end {
            Some(End::Discard) => return Some(End::Discard),
            Some(End::Interrupt) if is_safe => return Some(End::Interrupt),
            _ => {}
        }
        if !(wishes.pause && is_safe) || wishes.stop {
            break;
        }
        if !is_paused {
            is_paused = true;
            let reason = mimeo_protocol::PauseReason::User;
            recorder
                .borrow_mut()
                .change_state(&Transition::Pause(reason));
        }
        thread.wait(base, &job.job.base);
    }
    if is_paused {
        recorder.borrow_mut().change_state(&Transition::Resume);
    }
    None
}

/// The recorder, as the engine and the loop around it both use it.
struct Shared<'a, 'b>(&'a RefCell<Recorder<'b>>);

impl Control for Shared<'_, '_> {
    fn next(&mut self, place: Place) -> Directive {
        self.0.borrow_mut().next(place)
    }

    fn stop_requested(&self) -> bool {
        self.0.borrow().stop_requested()
    }

    fn keep(&mut self, kept: Kept) {
        self.0.borrow_mut().keep(kept);
    }
}

/// Wakes the training thread when the device has an answer.
struct Unpark(OsThread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The job's pictures and copier, decoded.
fn prepare(
    context: &Context,
    job: &StoredJob,
    base: &Base,
    recorder: &RefCell<Recorder<'_>>,
) -> anyhow::Result<PreparedJob> {
    let mut prepared = decoded(context, job)?;
    let (width, height) = fitted_size(base, &prepared.original)?;
    recorder.borrow_mut().pixels = Some(u64::from(width) * u64::from(height));
    let request = &job.job;
    if request.scores {
        let source = context.bases.find(&request.base);
        prepared.held_out_prompts = source
            .map(|source| source.unseen_prompts())
            .unwrap_or_default();
    }
    if request.recipe.method == Method::Copier {
        let fingerprint = fingerprint(base, &prepared)?;
        recorder.borrow_mut().fingerprint = Some(fingerprint.clone());
        let copier = choose_copier(context, job, &fingerprint)?;
        prepared.copier = copier.map(|id| read_copier(context, id)).transpose()?;
    }
    Ok(prepared)
}

/// The job with its pictures, without what only training needs.
pub fn decoded(context: &Context, job: &StoredJob) -> anyhow::Result<PreparedJob> {
    let read = |id| task::read(context, id);
    let request = &job.job;
    Ok(PreparedJob {
        name: request.name.to_string(),
        original: decode(&read(request.original)?)?.picture,
        target: decode(&read(request.target)?)?.picture,
        mask: match request.mask {
            Some(mask) => Some(decode_mask(&read(mask)?)?),
            None => None,
        },
        pair: Some(request.pair()),
        recipe: request.recipe.clone(),
        copier: None,
        held_out_prompts: Vec::new(),
    })
}

/// Which finished copier to build upon; none: a new one is trained.
fn choose_copier(
    context: &Context,
    job: &StoredJob,
    fingerprint: &str,
) -> anyhow::Result<Option<CopierId>> {
    if job.copier.is_some() {
        return Ok(job.copier);
    }
    // A job that went on without one has begun its own.
    if context.folder.state(job.id).is_file() {
        return Ok(None);
    }
    let chosen = match job.job.copier {
        CopierChoice::New => None,
        CopierChoice::Given(id) => Some(id),
        CopierChoice::Cached => context.wait_for(context.store.copier_of(fingerprint))?,
    };
    if let Some(id) = chosen {
        context.wait_for(context.store.set_copier(job.id, id))?;
    }
    Ok(chosen)
}

fn read_copier(context: &Context, id: CopierId) -> anyhow::Result<FinishedCopier> {
    let copiers = context.wait_for(context.store.copiers())?;
    let found = copiers.into_iter().find(|copier| copier.id == id);
    let missing = || {
        anyhow::anyhow!(
            "the copier {id} is not here any more. Choose another one, or let the job train its own."
        )
    };
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

/// What makes two copiers the same: the base, the picture as it is trained, and every number that
/// decides about the pass.
fn fingerprint(base: &Base, job: &PreparedJob) -> anyhow::Result<String> {
    let fitted = fitted(base, job)?;
    let recipe = &job.recipe;
    let mut hash = Sha256::new();
    hash.update(base.hash.as_bytes());
    hash.update(fitted.width().to_le_bytes());
    hash.update(fitted.height().to_le_bytes());
    hash.update(fitted.pixels());
    hash.update(codec::encode(&(
        recipe.seed,
        &recipe.prompt,
        &recipe.copier,
    )));
    Ok(BlobId::from_sha256(hash.finalize().into()).to_string())
}

fn read_state(context: &Context, job: JobId) -> Option<TrainingState> {
    let bytes = fs::read(context.folder.state(job)).ok()?;
    match runtime::block_on(TrainingState::from_bytes(bytes)) {
        Ok(state) => Some(state),
        Err(error) => {
            console::err(&format!("Note: job {job} starts anew ({error})."));
            None
        }
    }
}

/// Stores the files, the scores and the last state.
fn finish(recorder: &mut Recorder<'_>, job: &StoredJob, artifact: &Artifact) {
    let precision = job.job.recipe.precision;
    if let Some(copier) = &artifact.copier {
        recorder.save_lora(copier, FileKind::Copier, precision);
    }
    if let Some(lora) = &artifact.lora {
        recorder.save_lora(lora, FileKind::Lora, precision);
    }
    if let Some(scores) = &artifact.scores {
        let scores = scores.clone();
        recorder.record(&JobEventKind::Scores { scores });
    }
    let transition = match &artifact.outcome {
        Outcome::Finished => Transition::Finish,
        Outcome::Stopped { .. } => Transition::Stop,
        Outcome::Diverged { reason } => Transition::Fail {
            message: reason.clone(),
        },
    };
    let is_finished = transition == Transition::Finish;
    recorder.change_state(&transition);
    if is_finished && recorder.trouble.is_none() {
        recorder.forget_state();
    }
}

/// Draws the finished LoRA as the job plans its previews.
fn draw_final(
    base: &Base,
    prepared: &PreparedJob,
    job: &StoredJob,
    lora: &LoraFile,
    recorder: &RefCell<Recorder<'_>>,
) -> Result<(), EngineError> {
    let Some(plan) = &job.job.previews else {
        return Ok(());
    };
    let loaded = LoadedLora::new(base, lora, "the result")?;
    let request = SampleRequest {
        size: fitted_size(base, &prepared.original)?,
        ..SampleRequest::new(base, vec![(plan.prompt.clone(), plan.seed)])
    };
    let place = (Phase::Saving, job.job.recipe.pass.steps.get());
    for strength in &plan.strengths {
        let stack = LoraStack::none().with(&loaded.network, strength.get());
        for picture in runtime::block_on(sample(base, &request, &stack, |_| ()))? {
            let asked = (plan.prompt.clone(), plan.seed);
            let mut recorder = recorder.borrow_mut();
            recorder.save_preview(place, *strength, asked, &picture);
        }
    }
    Ok(())
}

/// Size at which a picture is trained and drawn.
pub fn fitted_size(base: &Base, picture: &Rgb) -> Result<(u32, u32), EngineError> {
    let (multiple, side) = (base.side_multiple(), base.native_side());
    let fit = Fit::new(picture.width(), picture.height(), multiple, side)?;
    Ok((fit.width(), fit.height()))
}

/// A as it is trained.
fn fitted(base: &Base, job: &PreparedJob) -> Result<Rgb, EngineError> {
    let (multiple, side) = (base.side_multiple(), base.native_side());
    let fitted = fit_pair(
        &job.original,
        &job.target,
        job.mask.as_ref(),
        multiple,
        side,
    )?;
    Ok(fitted.original)
}
