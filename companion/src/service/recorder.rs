//! Writes down what a running job reports and leaves, from the training thread.
//!
//! The thread waits for each write: nothing is reported that is not stored, and a disk that cannot
//! take any more stops the job where it is. Then the job is paused with a sentence and goes on by
//! itself once there is room.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mimeo_checkpoint::LoraFile;
use mimeo_engine::{Control, Directive, Event, FinishedCopier, Kept, Phase, Place};
use mimeo_image::encode_png;
use mimeo_protocol::{
    CopierId, FileKind, JobEventKind, JobProgress, JobState, LossPoint, Pace as KnownPace,
    PauseReason, Precision, PreviewPlan, Strength, Transition,
};

use super::blobs::BlobError;
use super::folder::DataFolder;
use super::pace::Pace;
use super::steering::{End, Steering};
use super::store::{NewCopier, NewFile, StoreError, StoredJob};
use super::trainer::Context;
use crate::blob;
use crate::cli::lora;

/// Losses are told at most this often.
const LOSSES_EVERY: Duration = Duration::from_millis(100);
/// While the disk is full.
const LOOK_FOR_ROOM_EVERY: Duration = Duration::from_secs(1);

/// Why a run cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The user or the service ended it while the disk was full.
    Ended,
    /// What is wrong and what to do.
    Failed(String),
}

/// The writer of one run.
pub struct Recorder<'a> {
    context: &'a Context,
    job: &'a StoredJob,
    steering: Arc<Steering>,
    /// Of base, picture and recipe, once known.
    pub fingerprint: Option<String>,
    /// Of the picture as it is trained, once known.
    pub pixels: Option<u64>,
    phase: Phase,
    pace: Pace,
    losses: Vec<LossPoint>,
    losses_told: Instant,
    saved: Option<(Phase, u32)>,
    saved_since: Instant,
    previewed: Option<(Phase, u32)>,
    snapped: Option<(Phase, u32)>,
    /// What keeps the run from going on.
    pub trouble: Option<Trouble>,
    /// Whether the state was saved since the user asked for a pause, or the service for an end.
    pub is_safe_to_wait: bool,
}

impl<'a> Recorder<'a> {
    /// The writer of a run that begins.
    pub fn new(context: &'a Context, job: &'a StoredJob, steering: Arc<Steering>) -> Self {
        Self {
            context,
            job,
            steering,
            fingerprint: None,
            pixels: None,
            phase: Phase::Loading,
            pace: Pace::new(None),
            losses: Vec::new(),
            losses_told: Instant::now(),
            saved: None,
            saved_since: Instant::now(),
            previewed: None,
            snapped: None,
            trouble: None,
            is_safe_to_wait: false,
        }
    }

    /// Whether the job is between steps of a pass, so that its state has to be saved first.
    pub const fn is_training(&self) -> bool {
        matches!(self.phase, Phase::Copier | Phase::Training)
    }

    /// Takes an event of the engine.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Phase { phase, total } => {
                self.tell_losses();
                self.keep_pace();
                self.phase = phase;
                self.pace = Pace::new(total);
                self.is_safe_to_wait = false;
                self.change_state(&Transition::Enter(phase));
                self.tell_progress();
            }
            Event::Progress { done } => {
                self.pace.reached(done);
                self.tell_progress();
            }
            Event::Resumed { phase, step } => {
                self.pace.starts_at(step);
                self.saved = Some((phase, step));
                self.record(&JobEventKind::Resumed { phase, step });
                self.tell_progress();
            }
            Event::Step {
                step, loss, secs, ..
            } => {
                self.is_safe_to_wait = false;
                self.losses.push(LossPoint { step, loss });
                if self.losses_told.elapsed() >= LOSSES_EVERY {
                    self.tell_losses();
                }
                self.pace.took(step, secs);
                self.tell_progress();
            }
            Event::CopyFidelity { step, fidelity } => {
                self.tell_losses();
                self.record(&JobEventKind::CopyFidelity { step, fidelity });
            }
            Event::Note { text } => self.record(&JobEventKind::Note { text }),
        }
    }

    /// Adds a fact.
    pub fn record(&mut self, kind: &JobEventKind) {
        self.persist(|context, job| context.wait_for(context.store.record(job.id, kind)));
    }

    /// Changes the job's state.
    pub fn change_state(&mut self, transition: &Transition) {
        self.persist(|context, job| {
            let change = context.store.change_state(job.id, transition.clone());
            context.wait_for(change).map(drop)
        });
    }

    /// Tells the losses that were not told yet.
    pub fn tell_losses(&mut self) {
        if self.losses.is_empty() {
            return;
        }
        let points = std::mem::take(&mut self.losses);
        let phase = self.phase;
        self.losses_told = Instant::now();
        self.record(&JobEventKind::Losses { phase, points });
    }

    /// Keeps a LoRA or copier for the user.
    pub fn save_lora(&mut self, file: &LoraFile, kind: FileKind, precision: Precision) {
        let mut note = None;
        let encoded = lora::encode(file, precision, |text| note = Some(text.to_owned()));
        if let Some(text) = note {
            self.record(&JobEventKind::Note { text });
        }
        let bytes = match encoded {
            Ok(bytes) => bytes,
            Err(error) => return self.fail(error.to_string()),
        };
        let name = match kind {
            FileKind::Lora => self.job.job.name.to_string(),
            FileKind::Copier => format!("{}_copy", self.job.job.name),
            FileKind::Step { phase, step } => {
                let copier = if phase == Phase::Copier { "_copy" } else { "" };
                format!("{}{copier}-{step:06}", self.job.job.name)
            }
        };
        let name = format!("{name}.safetensors");
        self.persist(|context, job| {
            let path = context.folder.results(job.id).join(&name);
            write(&path, &bytes)?;
            let file = NewFile {
                kind,
                name: name.clone(),
                path: format!("results/{}/{name}", job.id),
                bytes: bytes.len() as u64,
                sha256: blob::id_of(&bytes),
            };
            context
                .wait_for(context.store.add_file(job.id, &file))
                .map(drop)
        });
    }

    /// Keeps a picture that was drawn with the LoRA.
    pub fn save_preview(
        &mut self,
        (phase, step): (Phase, u32),
        strength: Strength,
        (prompt, seed): (String, u64),
        picture: &mimeo_image::Rgb,
    ) {
        let bytes = match encode_png(picture) {
            Ok(bytes) => bytes,
            Err(error) => return self.fail(error.to_string()),
        };
        self.persist(|context, job| {
            let picture = context.blobs.keep(&bytes).map_err(from_blob)?;
            let event = JobEventKind::Preview {
                phase,
                step,
                strength,
                prompt: prompt.clone(),
                seed,
                picture,
            };
            context.wait_for(context.store.record(job.id, &event))
        });
    }

    /// Keeps a finished copier for other jobs.
    fn save_copier(&mut self, copier: &FinishedCopier) {
        let Some(fingerprint) = self.fingerprint.clone() else {
            return;
        };
        let known = self
            .context
            .wait_for(self.context.store.copier_of(&fingerprint));
        if matches!(known, Ok(Some(_))) {
            // Its file stays as it is: jobs may be building upon it.
            return;
        }
        // In full precision, so that a job upon it makes the same file as the job that trained it.
        let bytes = match lora::encode(&copier.file, Precision::F32, |_| ()) {
            Ok(bytes) => bytes,
            Err(error) => return self.fail(error.to_string()),
        };
        self.persist(|context, job| {
            // People see it in the folder; the fingerprint's start tells it from others of its name.
            let (name, start) = (&job.job.name, &fingerprint[..12]);
            let path = format!("copiers/{name}_copy-{start}.safetensors");
            write(&context.folder.file(&path), &bytes)?;
            let copier = NewCopier {
                fingerprint: fingerprint.clone(),
                name: job.job.name.clone(),
                original: job.job.original,
                base: job.job.base.clone(),
                fidelity: copier.fidelity,
                steps: copier.steps,
                file: NewFile {
                    kind: FileKind::Copier,
                    name: format!("{}_copy.safetensors", job.job.name),
                    path,
                    bytes: bytes.len() as u64,
                    sha256: blob::id_of(&bytes),
                },
            };
            context
                .wait_for(context.store.add_copier(&copier))
                .map(drop::<CopierId>)
        });
        self.context.copiers_changed();
    }

    /// Remembers how long the steps of this pass take: what the next recipe will cost is told from
    /// it.
    fn keep_pace(&self) {
        let pass = match self.phase {
            Phase::Copier => &self.job.job.recipe.copier.pass,
            Phase::Training => &self.job.job.recipe.pass,
            _ => return,
        };
        let (Some(pixels), Some(secs_per_step)) = (self.pixels, self.pace.settled_secs()) else {
            return;
        };
        let pace = KnownPace {
            base: self.job.job.base.clone(),
            method: self.job.job.recipe.method,
            phase: self.phase,
            batch_size: pass.batch_size.get(),
            accumulation: pass.accumulation.get(),
            rank: pass.rank.get(),
            pixels,
            secs_per_step,
        };
        let context = self.context;
        // If that fails, an older measurement stays.
        _ = context.wait_for(context.store.keep_pace(&context.compute.name, &pace));
    }

    /// Keeps the state from which the job can go on.
    fn save_state(&mut self, state: &mimeo_engine::TrainingState) {
        let bytes = state.to_bytes();
        self.tell_losses();
        self.keep_pace();
        self.persist(|context, job| {
            write(&context.folder.state(job.id), &bytes)?;
            context.wait_for(context.store.forget_deaths(job.id))
        });
        self.saved = Some((state.phase(), state.step()));
        self.saved_since = Instant::now();
        self.is_safe_to_wait = true;
    }

    /// Removes the saved state of a job that is finished.
    pub fn forget_state(&self) {
        // A finished job is never begun again, so one that stays does no harm.
        _ = std::fs::remove_file(self.context.folder.state(self.job.id));
    }

    /// Notes that the run cannot go on.
    pub fn fail(&mut self, message: String) {
        self.trouble.get_or_insert(Trouble::Failed(message));
    }

    fn tell_progress(&self) {
        self.context.progress.send_replace(Some(JobProgress {
            job: self.job.id,
            phase: self.phase,
            done: self.pace.done(),
            total: self.pace.total(),
            secs_per_unit: self.pace.secs_per_unit(),
            left_secs: self.pace.left_secs(),
        }));
    }

    /// Does a write; if the disk is full, again once there is room.
    fn persist(&mut self, mut write: impl FnMut(&Context, &StoredJob) -> Result<(), StoreError>) {
        if self.trouble.is_some() {
            return;
        }
        loop {
            match write(self.context, self.job) {
                Ok(()) => return,
                Err(StoreError::DiskFull) => {
                    if !self.wait_for_room() {
                        self.trouble = Some(Trouble::Ended);
                        return;
                    }
                }
                Err(error) => return self.fail(error.to_string()),
            }
        }
    }

    /// Pauses the job until there is room; whether it may go on.
    fn wait_for_room(&self) -> bool {
        let (context, job) = (self.context, self.job.id);
        // The database needs some of it to note that the job waits.
        context.folder.release_reserve();
        let message = format!(
            "the disk of the data folder is full, so the job waits. Free some space and it goes on by itself: {:?}",
            context.folder.file("").display().to_string()
        );
        let reason = PauseReason::DiskFull { message };
        let paused = context.store.change_state(job, Transition::Pause(reason));
        let is_paused = matches!(context.wait_for(paused), Ok(JobState::Paused { .. }));
        loop {
            let wishes = self.steering.wishes();
            if wishes.end.is_some() {
                return false;
            }
            std::thread::sleep(LOOK_FOR_ROOM_EVERY);
            if context.folder.take_reserve().is_ok() {
                break;
            }
        }
        if is_paused {
            let resumed = context.store.change_state(job, Transition::Resume);
            // If this fails the next write tells.
            _ = context.wait_for(resumed);
        }
        true
    }

    /// Previews as the job plans them, or as it would.
    fn preview_plan(&self) -> PreviewPlan {
        let job = &self.job.job;
        job.previews.clone().unwrap_or_else(|| PreviewPlan {
            every: job.recipe.pass.steps,
            prompt: job.recipe.prompt.clone(),
            seed: 0,
            strengths: PreviewPlan::STRENGTHS.to_vec(),
        })
    }
}

impl Control for Recorder<'_> {
    fn next(&mut self, place: Place) -> Directive {
        let wishes = self.steering.wishes();
        let here = (place.phase, place.step);
        let is_saved = self.saved == Some(here);
        if wishes.pause || wishes.end == Some(End::Interrupt) {
            self.is_safe_to_wait = is_saved;
        }
        if wishes.end == Some(End::Discard) {
            return Directive::Stop;
        }
        let wants_state = wishes.pause || wishes.stop || wishes.end.is_some();
        if !is_saved && (wants_state || self.saved_since.elapsed() >= self.context.save_every) {
            return Directive::SaveState;
        }
        if wishes.stop {
            return Directive::Stop;
        }
        if wishes.save {
            self.steering.wish(|wishes| wishes.save = false);
            return Directive::SaveLora;
        }
        if wishes.preview {
            self.steering.wish(|wishes| wishes.preview = false);
            return Directive::Preview(self.preview_plan());
        }
        if let Some(plan) = &self.job.job.previews
            && place.step > 0
            && place.step.is_multiple_of(plan.every.get())
        {
            // The LoRA of that step too, so that a good one can be taken.
            if self.snapped.replace(here) != Some(here) {
                return Directive::SaveLora;
            }
            if self.previewed.replace(here) != Some(here) {
                return Directive::Preview(plan.clone());
            }
        }
        Directive::Step
    }

    fn stop_requested(&self) -> bool {
        self.steering.wishes().stop
    }

    fn keep(&mut self, kept: Kept) {
        match kept {
            Kept::State(state) => self.save_state(&state),
            Kept::Lora(Place { phase, step, .. }, file) => {
                let kind = FileKind::Step { phase, step };
                self.save_lora(&file, kind, self.job.job.recipe.precision);
            }
            Kept::Copier(copier) => self.save_copier(&copier),
            Kept::Preview {
                place,
                strength,
                prompt,
                seed,
                picture,
            } => {
                let place = (place.phase, place.step);
                self.save_preview(place, strength, (prompt, seed), &picture);
            }
        }
    }
}

fn write(path: &std::path::Path, bytes: &[u8]) -> Result<(), StoreError> {
    DataFolder::write(path, bytes).map_err(from_io)
}

fn from_io(error: std::io::Error) -> StoreError {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StoreError::DiskFull,
        _ => sqlx::Error::Io(error).into(),
    }
}

fn from_blob(error: BlobError) -> StoreError {
    match error {
        BlobError::Io(error) => from_io(error),
        other => sqlx::Error::Io(std::io::Error::other(other.to_string())).into(),
    }
}
