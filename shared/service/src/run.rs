//! One job, from its pictures to its files.

use std::sync::Arc;

use mimeo_engine::{
    Artifact, Control, Directive, Emit, EngineError, Event, FinishedCopier, GivenUp, Kept, Outcome,
    PassStep, TrainingState, rehearse,
};
use mimeo_protocol::{
    CopierChoice, CopierId, JobEventKind, LoraRef, Method, PauseReason, Transition,
};

use crate::archive::{Archive as _, Trouble, Unwritten};
use crate::error::{ServiceError, in_full};
use crate::prepare::{fingerprint, prepare};
use crate::recorder::Recorder;
use crate::runner::{Runner, WantedBase};
use crate::schedule::Schedule;
use crate::shelf::read_lora;
use crate::steering::{End, Steering};
use crate::store::StoredJob;

/// Runs a job and keeps its results and its new state.
pub async fn run<R: Runner>(runner: &R, job: &StoredJob, steering: Arc<Steering>) {
    let mut run = Run::new(runner, job, steering);
    let went = match run.go().await {
        Ok(artifact) => Went::Through(Box::new(artifact)),
        Err(error) => run.why(error),
    };
    if matches!(went, Went::Wrong(_)) && runner.is_lost().await {
        // Nothing is wrong with the job, and nothing more is to be written about it here.
        std::future::pending::<()>().await;
    }
    run.settle(went).await;
}

/// How a run went.
#[derive(Debug)]
enum Went {
    /// To its end, or to where the user stopped it.
    Through(Box<Artifact>),
    /// It was ended from outside.
    Ended(End),
    /// What is wrong and what to do.
    Wrong(String),
}

impl Went {
    /// What becomes of the job.
    fn transition(&self) -> Transition {
        let failed = |message: &String| Transition::Fail {
            message: message.clone(),
        };
        match self {
            Self::Through(artifact) => match &artifact.outcome {
                Outcome::Finished => Transition::Finish,
                Outcome::Stopped { .. } => Transition::Stop,
                Outcome::Diverged { reason } => failed(reason),
            },
            Self::Ended(end) => end.transition(),
            Self::Wrong(message) => failed(message),
        }
    }
}

/// A run under way.
struct Run<'a, R: Runner> {
    runner: &'a R,
    job: &'a StoredJob,
    steering: Arc<Steering>,
    schedule: Schedule,
    recorder: Recorder<R::Archive>,
    /// Why the engine was told to give it up.
    given_up: Option<Went>,
}

impl<'a, R: Runner> Run<'a, R> {
    fn new(runner: &'a R, job: &'a StoredJob, steering: Arc<Steering>) -> Self {
        let archive = runner.archive(job, &steering);
        Self {
            runner,
            job,
            schedule: Schedule::new(&job.job, Arc::clone(&steering), runner.save_rule()),
            recorder: Recorder::new(archive, job.clone()),
            steering,
            given_up: None,
        }
    }

    /// From the base to the artifact.
    async fn go(&mut self) -> Result<Artifact, ServiceError> {
        let (runner, job) = (self.runner, &self.job.job);
        let base = runner.base(WantedBase::of_job(job), self).await;
        let base = base.map_err(ServiceError::Unreadable)?;

        let mut prepared = prepare(&base, job, runner).await?;
        let sizes = prepared.sizes(&base)?;
        let room = runner.room();
        prepared.recompute = base.shape().recompute(
            room.recompute,
            &job.recipe,
            &sizes,
            base.place(),
            room.available_bytes,
        );
        let pixels = sizes.iter();
        let pixels = pixels.map(|(width, height)| u64::from(*width) * u64::from(*height));
        self.recorder.pixels = pixels.max();

        let state = self.recorder.archive().state().await;
        if job.recipe.method == Method::Copier {
            let fingerprint = fingerprint(&base, &prepared)?;
            if let Some(id) = self.choose_copier(&fingerprint, state.is_some())? {
                prepared.copier = Some(self.read_copier(id).await?);
            }
            self.recorder.fingerprint = Some(fingerprint);
        }
        let saved = match state {
            Some(bytes) => self.read_state(bytes).await,
            None => None,
        };

        if runner.wants_rehearsal(job, &prepared) {
            Box::pin(rehearse(&base, &prepared, self)).await?;
            runner.rehearsed();
        }
        let run = mimeo_engine::run(&base, &prepared, saved, self);
        Ok(Box::pin(run).await?)
    }

    /// Which finished copier to build upon; none: a new one is trained.
    fn choose_copier(
        &mut self,
        fingerprint: &str,
        has_state: bool,
    ) -> Result<Option<CopierId>, ServiceError> {
        if self.job.copier.is_some() {
            return Ok(self.job.copier);
        }
        // A job that went on without one has begun its own.
        if has_state {
            return Ok(None);
        }
        let chosen = match self.job.job.copier {
            CopierChoice::New => None,
            CopierChoice::Given(id) => Some(id),
            // What it is to make is nothing to build upon.
            CopierChoice::Cached if self.job.job.makes_copier() => None,
            CopierChoice::Cached => self.persist(|archive| archive.copier_of(fingerprint))?,
        };
        if let Some(id) = chosen {
            self.persist(|archive| archive.set_copier(id))?;
        }
        Ok(chosen)
    }

    async fn read_copier(&mut self, id: CopierId) -> Result<FinishedCopier, ServiceError> {
        let copier = self.persist(|archive| archive.copier(id))?;
        let copier = copier.ok_or(ServiceError::NoCopier { copier: id })?;
        let lora = LoraRef::File {
            file: copier.file.id,
        };
        let (file, _) = read_lora(&lora, self.runner).await?;
        Ok(FinishedCopier {
            file,
            steps: copier.steps,
            fidelity: copier.fidelity,
        })
    }

    async fn read_state(&mut self, bytes: Vec<u8>) -> Option<TrainingState> {
        match TrainingState::from_bytes(bytes).await {
            Ok(state) => Some(state),
            Err(error) => {
                let text =
                    format!("The saved state cannot be used ({error}), so the run starts anew.");
                self.recorder.record(&JobEventKind::Note { text });
                None
            }
        }
    }

    /// Uses the archive; where it cannot be used the run is over.
    fn persist<T>(
        &mut self,
        write: impl FnOnce(&mut R::Archive) -> Result<T, Trouble>,
    ) -> Result<T, ServiceError> {
        let written = self.recorder.persist(write);
        written.ok_or_else(|| EngineError::from(GivenUp).into())
    }

    /// Writes what has to be written now; on a full disk it waits for room.
    async fn write_due(&mut self) -> Result<(), Went> {
        let message = match self.recorder.archive().write_due().await {
            Ok(()) => return Ok(()),
            Err(Unwritten::Failed(message)) => return Err(Went::Wrong(message)),
            Err(Unwritten::Full(message)) => message,
        };
        let reason = PauseReason::DiskFull { message };
        self.recorder.change_state(&Transition::Pause(reason));
        let running = &self.job.job.base;
        while self.recorder.archive().write().await.is_err() {
            if let Some(end) = self.steering.wishes().end {
                return Err(Went::Ended(end));
            }
            self.runner.perform_waiting(running).await;
            let is_written = false;
            self.runner.wait(running, is_written).await;
        }
        self.recorder.change_state(&Transition::Resume);
        Ok(())
    }

    /// Does what waits, and waits itself for as long as the user wants it to; or tells why the run
    /// is over.
    async fn rest(&mut self) -> Result<(), Went> {
        self.runner.turn().await;
        if let Some(went) = self.trouble() {
            return Err(went);
        }
        self.write_due().await?;
        let running = &self.job.job.base;
        let mut is_paused = false;
        loop {
            self.runner.perform_waiting(running).await;
            if let Some(end) = self.schedule.end() {
                return Err(Went::Ended(end));
            }
            if self.schedule.waits() != is_paused {
                is_paused = !is_paused;
                self.recorder.change_state(&match is_paused {
                    true => Transition::Pause(PauseReason::User),
                    false => Transition::Resume,
                });
            }
            if !is_paused {
                return Ok(());
            }
            let is_written = self.recorder.archive().write().await.is_ok();
            self.runner.wait(running, is_written).await;
        }
    }

    /// How the run went, where trouble ended it.
    fn trouble(&self) -> Option<Went> {
        self.recorder.trouble().map(|trouble| match trouble {
            Trouble::Failed(message) => Went::Wrong(message.clone()),
            Trouble::Ended => {
                let end = self.steering.wishes().end;
                Went::Ended(end.unwrap_or(End::Interrupt))
            }
        })
    }

    /// How a run went that came to no artifact.
    fn why(&mut self, error: ServiceError) -> Went {
        match error {
            ServiceError::Engine(EngineError::GivenUp(_)) => {
                let went = self.given_up.take().or_else(|| self.trouble());
                went.unwrap_or_else(|| Went::Wrong(in_full(&error)))
            }
            ServiceError::Engine(EngineError::StoppedBeforeTraining) => Went::Ended(End::Discard),
            error => Went::Wrong(in_full(&error)),
        }
    }

    /// Keeps what the run came to, and writes down how it went: the job's last state.
    async fn settle(&mut self, mut went: Went) {
        self.recorder.tell_losses();
        if let Went::Through(artifact) = &went {
            self.recorder.keep_results(artifact);
            // A job is over once its results are on disk; on a full one it waits for room.
            if let Err(ended) = self.write_due().await {
                went = ended;
            }
        }
        if matches!(went, Went::Ended(End::Discard)) {
            self.recorder.archive().forget_results().await;
        }
        // A job that the user paused is found as it was.
        let stays = matches!(went, Went::Ended(End::Interrupt)) && self.steering.wishes().pause;
        if !stays {
            let transition = went.transition();
            self.recorder.change_state(&transition);
            if transition == Transition::Finish && self.recorder.trouble().is_none() {
                self.recorder.archive().forget_state();
            }
        }
        // What could not even be written down.
        if let Some(went) = self.trouble() {
            let transition = went.transition();
            self.recorder.archive().end_in_trouble(&transition);
        }
    }
}

impl<R: Runner> Emit for Run<'_, R> {
    fn emit(&mut self, event: Event) {
        self.schedule.hear(&event);
        self.recorder.take(event);
    }
}

impl<R: Runner> Control for Run<'_, R> {
    async fn at_rest(&mut self, place: Option<PassStep>) -> Result<Directive, GivenUp> {
        if let Some(place) = place {
            self.schedule.come_to(place);
        }
        if let Err(went) = self.rest().await {
            self.given_up = Some(went);
            return Err(GivenUp);
        }
        Ok(match place {
            Some(place) => self.schedule.before_step(place),
            None => self.schedule.within(),
        })
    }

    fn keep(&mut self, kept: Kept) {
        if let Kept::State(state) = &kept {
            self.schedule.state_kept(state.phase(), state.step());
        }
        self.recorder.keep(kept);
    }
}

#[cfg(test)]
pub(crate) mod tests;
