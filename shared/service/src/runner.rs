//! Where jobs and tasks are done.

use std::rc::Rc;
use std::sync::Arc;

use mimeo_engine::{Base, Emit, GivenUp, PreparedJob, Rest};
use mimeo_protocol::{BaseId, PreviewRequest, Said, TrainJob, VaeId};

use crate::archive::Archive;
use crate::plan::Room;
use crate::schedule::SaveRule;
use crate::shelf::Shelf;
use crate::steering::Steering;
use crate::store::StoredJob;

/// A base as it is wanted.
#[derive(Debug, Clone, Copy)]
pub struct WantedBase<'a> {
    /// Which.
    pub id: &'a BaseId,
    /// With this VAE; none: its own.
    pub vae: Option<&'a VaeId>,
    /// What is said of it.
    pub said: Said,
}

impl<'a> WantedBase<'a> {
    /// For a job.
    #[must_use]
    pub const fn of_job(job: &'a TrainJob) -> Self {
        Self {
            id: &job.base,
            vae: job.vae.as_ref(),
            said: job.recipe.said(),
        }
    }

    /// For a picture.
    #[must_use]
    pub const fn of_preview(preview: &'a PreviewRequest) -> Self {
        Self {
            id: &preview.base,
            vae: preview.vae.as_ref(),
            said: preview.said,
        }
    }

    /// As it is.
    #[must_use]
    pub fn plain(id: &'a BaseId) -> Self {
        Self {
            id,
            vae: None,
            said: Said::default(),
        }
    }
}

/// The device with its loaded base, and what else goes on in its thread.
pub trait Runner: Shelf {
    /// Where a running job's facts and results are kept.
    type Archive: Archive;

    /// When the state of a running job is saved.
    fn save_rule(&self) -> SaveRule;

    /// The archive of a job that begins.
    fn archive(&self, job: &StoredJob, steering: &Arc<Steering>) -> Self::Archive;

    /// The base, loaded if another one was; or in one sentence why it cannot be used. What is said of
    /// it needs no loading, another VAE only its own.
    fn base(
        &self,
        wanted: WantedBase<'_>,
        emit: &mut impl Emit,
    ) -> impl Future<Output = Result<Rc<Base>, String>>;

    /// The device's memory.
    fn room(&self) -> Room {
        Room::default()
    }

    /// Lets everything else in the device's thread have a turn.
    fn turn(&self) -> impl Future<Output = ()> {
        std::future::ready(())
    }

    /// Does the tasks that wait, on the base of the running job; others wait for its end.
    fn perform_waiting(&self, running: &BaseId) -> impl Future<Output = ()>;

    /// Waits while the running job is paused, until there is something to do: a task, or a wish about
    /// the job. What needs another base could wait for days, so it is refused.
    ///
    /// - `is_written`: whether all that is kept is written; else it also ends when that is worth
    ///   another try
    fn wait(&self, running: &BaseId, is_written: bool) -> impl Future<Output = ()>;

    /// Whether the device should do a step of the job that does not count, to have its programs.
    fn wants_rehearsal(&self, _: &TrainJob, _: &PreparedJob) -> bool {
        false
    }

    /// That step is done.
    fn rehearsed(&self) {}

    /// Whether the device was taken away, so that an error is not the job's; another runner goes on
    /// with the job from its last state.
    fn is_lost(&self) -> impl Future<Output = bool> {
        std::future::ready(false)
    }
}

/// The rests of what a runner computes beside the steps of a job.
#[derive(Debug)]
pub struct Turns<'a, R>(pub &'a R);

impl<R: Runner> Rest for Turns<'_, R> {
    async fn rest(&mut self) -> Result<(), GivenUp> {
        self.0.turn().await;
        Ok(())
    }
}
