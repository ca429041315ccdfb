//! What clients ask for, as operations on the store, the queue and the training thread.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use mimeo_protocol::{
    BaseId, BaseInfo, BlobId, Canvas, CopierChoice, CopierId, CopierInfo, DeviceInfo, FileId,
    JobControl, JobId, JobName, JobProgress, JobState, MemoryPlan, PreviewRequest, Rejection,
    RequestId, ResultFile, ServerMessage, Snapshot, TrainJob, Transition,
};
use mimeo_service::plan::refusal;
use mimeo_service::prepare::check_pair;
use mimeo_service::rules::{self, Course};
use mimeo_service::{Steering, Task};
use tokio::sync::watch;

use super::bases::Bases;
use super::blobs::Blobs;
use super::folder::DataFolder;
use super::loras::Loras;
use super::memory::Memory;
use super::queue::Queue;
use super::reveal::reveal;
use super::store::{Listed, Store, StoreError, StoredJob};
use super::trainer::Trainer;
use crate::console;

/// A job that takes the service down so often, and gets nowhere, is not begun again by itself.
const MAX_DEATHS: u32 = 10;

/// The jobs of this service.
#[derive(Clone)]
pub struct Jobs {
    /// Jobs and files.
    pub store: Store,
    /// Pictures.
    pub blobs: Blobs,
    /// Uploaded LoRAs.
    pub loras: Loras,
    /// Checkpoints.
    pub bases: Bases,
    /// Where everything is.
    pub folder: Arc<DataFolder>,
    /// What computes here.
    pub device: DeviceInfo,
    /// Whether only this computer can ask.
    pub is_local: bool,
    /// How far the running job is.
    pub progress: watch::Receiver<Option<JobProgress>>,
    /// The finished copiers.
    pub copiers: watch::Sender<Vec<CopierInfo>>,
    /// The waiting jobs, in order.
    pub order: watch::Sender<Vec<JobId>>,
    /// Jobs that were deleted since the start.
    pub removed: watch::Sender<Vec<JobId>>,
    /// The order in which jobs are done.
    pub queue: Queue,
    /// The training thread.
    pub trainer: Trainer,
    /// What a job may take.
    pub memory: Memory,
    /// The device.
    pub compute: mimeo_engine::Compute,
    /// The job that runs, and what is wanted of it.
    pub running: Arc<Mutex<BTreeMap<JobId, Arc<Steering>>>>,
    /// Whether the service ends.
    pub ending: watch::Sender<bool>,
}

type Answer<T> = Result<T, Rejection>;

impl Jobs {
    /// After a start: what ran when the last process ended goes on, and every waiting job is in the
    /// queue. One that cannot be read stays as it is, for a program that can.
    pub async fn recover(&self) -> Result<(), StoreError> {
        let mut unreadable = Vec::new();
        for id in self.store.jobs_under_way().await? {
            let job = match self.store.job(id).await {
                Ok(Some(job)) => job,
                Ok(None) => continue,
                Err(StoreError::Unreadable { job }) => {
                    console::err(&format!("Note: job {id} does not run: {}", job.message));
                    self.queue.remove(id).await?;
                    unreadable.push(id);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if let JobState::Running { .. } | JobState::Paused { .. } = job.state {
                if self.store.count_death(id).await? >= MAX_DEATHS {
                    let message = format!(
                        "the companion ended {MAX_DEATHS} times while it did this job, perhaps because the memory is full. Try it again with a smaller batch size or picture, or on another device."
                    );
                    self.store
                        .change_state(id, Transition::Fail { message })
                        .await?;
                    continue;
                }
                let was_paused = matches!(
                    &job.state,
                    JobState::Paused {
                        reason: mimeo_protocol::PauseReason::User,
                        ..
                    }
                );
                self.store.change_state(id, Transition::Interrupt).await?;
                if was_paused {
                    // It comes back as it was: on the device, waiting for the user.
                    self.steering(id).wish(|wishes| wishes.pause = true);
                }
            }
        }
        for id in self.store.jobs_under_way().await? {
            if !unreadable.contains(&id) {
                self.queue.ensure(id).await?;
            }
        }
        self.copiers.send_replace(self.store.copiers().await?);
        self.order_changed().await;
        Ok(())
    }

    /// Everything there is, and the number of the newest event that it includes.
    pub async fn snapshot(&self) -> Answer<(Snapshot, i64)> {
        let order = self.queue.order().await?;
        let Listed {
            mut jobs,
            unreadable,
            newest,
        } = self.store.summaries().await?;
        let progress = self.progress.borrow().clone();
        if let Some(progress) = progress
            && let Some(job) = jobs.iter_mut().find(|job| job.id == progress.job)
        {
            job.progress = Some(progress);
        }
        let checkpoints = self.checkpoints().await?;
        let paces = self.store.paces(&self.device.name).await?;
        let snapshot = Snapshot {
            jobs,
            queue: order,
            copiers: self.copiers.borrow().clone(),
            device: self.device.clone(),
            checkpoints,
            paces,
            unreadable,
        };
        Ok((snapshot, newest))
    }

    /// The bases that jobs can name.
    pub async fn checkpoints(&self) -> Answer<Vec<BaseInfo>> {
        let bases = self.bases.clone();
        blocking(move || Ok(bases.list())).await
    }

    /// Queues a job, if it can be done at all.
    pub async fn submit(&self, job: TrainJob) -> Answer<JobId> {
        let waiting = self.queue.order().await?;
        rules::check_queue(waiting.len())?;
        self.check(&job).await?;
        let id = self.store.add_job(&job).await?;
        self.order_changed().await;
        self.queue.wake();
        Ok(id)
    }

    /// What a job would take of the device's memory.
    pub async fn plan(&self, job: TrainJob) -> Answer<MemoryPlan> {
        let this = self.clone();
        blocking(move || {
            let size = this.blobs.size(job.original);
            this.memory.plan(&this.bases, &this.compute, &job, size)
        })
        .await
    }

    async fn check(&self, job: &TrainJob) -> Answer<()> {
        rules::check_prompts(job)?;
        rules::check_recipe(job)?;
        if let CopierChoice::Given(id) = job.copier {
            self.copier(id)?;
        }
        for id in [job.original, job.target].into_iter().chain(job.mask) {
            self.check_picture(id)?;
        }
        let (this, job) = (self.clone(), job.clone());
        blocking(move || {
            let size = this.check_pair(&job);
            let size = size.map_err(|message| Rejection::Failed { message })?;
            let plan = this
                .memory
                .plan(&this.bases, &this.compute, &job, Some(size))?;
            refusal(&plan).map_or(Ok(()), Err)
        })
        .await
    }

    /// What the training thread would find wrong with the pictures, minutes later; their size.
    fn check_pair(&self, job: &TrainJob) -> Result<(u32, u32), String> {
        let read = |id: BlobId| self.blobs.read(id).map_err(|error| error.to_string());
        let (original, target) = (read(job.original)?, read(job.target)?);
        let mask = job.mask.map(read).transpose()?;
        check_pair(&original, &target, mask.as_deref()).map_err(|error| error.to_string())
    }

    /// Steers a job.
    pub async fn control(&self, id: JobId, control: JobControl) -> Answer<()> {
        let job = self.job(id).await?;
        match rules::course(control, &job.state)? {
            Course::Queue => {
                self.change(id, Transition::Retry).await?;
                self.order_changed().await;
                self.queue.wake();
            }
            course @ (Course::Leave | Course::Discard) => {
                self.queue.remove(id).await?;
                self.change(id, Transition::Stop).await?;
                if course == Course::Discard {
                    self.store.forget_results(id, &self.folder).await;
                }
                self.order_changed().await;
            }
            Course::Steer => self.steer(id, control)?,
        }
        Ok(())
    }

    fn steer(&self, id: JobId, control: JobControl) -> Answer<()> {
        // Not made anew: wishes about a run that ended meanwhile would be those of the next one.
        let running = self.lock_running().get(&id).cloned();
        let steering = running.ok_or_else(rules::just_ended)?;
        steering.control(control);
        self.trainer.nudge();
        Ok(())
    }

    /// Moves a waiting job.
    pub async fn reorder(&self, job: JobId, before: Option<JobId>) -> Answer<()> {
        let moved = self.queue.reorder(job, before).await;
        if !moved? {
            return Err(rules::not_waiting());
        }
        self.order_changed().await;
        Ok(())
    }

    /// Removes a job that is over, with what it made; or one that cannot be read, whose files stay:
    /// they may be all that is left of it.
    pub async fn delete(&self, id: JobId) -> Answer<()> {
        match self.store.job(id).await {
            Err(StoreError::Unreadable { .. }) => {}
            job => {
                let job = job?.ok_or(StoreError::NoJob { job: id })?;
                rules::check_deletion(&job.state)?;
                self.store.forget_results(id, &self.folder).await;
            }
        }
        self.store.delete_job(id).await?;
        self.removed.send_modify(|removed| removed.push(id));
        Ok(())
    }

    /// Draws a picture.
    pub async fn preview(
        &self,
        request: RequestId,
        preview: PreviewRequest,
    ) -> Answer<ServerMessage> {
        rules::check_prompt(&preview.prompt)?;
        rules::check_prompt(&preview.negative_prompt)?;
        self.check_base(&preview.base)?;
        match preview.canvas {
            Canvas::Native => {}
            Canvas::Like { picture } => self.check_picture(picture)?,
            Canvas::Inpaint { picture, mask } => {
                self.check_picture(picture)?;
                self.check_picture(mask)?;
            }
        }
        rules::check_loras(&preview, |lora| self.loras.find(lora).is_some())?;
        let answer = self.trainer.ask(Task::Preview { request, preview })?;
        answer.await.map_err(|_gone| fault())
    }

    fn check_base(&self, id: &BaseId) -> Answer<()> {
        let found = self.bases.find(id).map(drop);
        found.ok_or_else(|| rules::missing_base(id))
    }

    fn check_picture(&self, id: BlobId) -> Answer<()> {
        if self.blobs.has(id) {
            return Ok(());
        }
        Err(rules::missing_picture(id))
    }

    /// Shows a file in its folder, on this computer's screen.
    pub async fn reveal(&self, file: FileId) -> Answer<()> {
        if !self.is_local {
            let message = "the companion is on the network, so the folder would open on its own computer and not on yours. Download the file instead.";
            return Err(Rejection::Failed {
                message: message.to_owned(),
            });
        }
        let (_, path) = self.file(file).await?;
        let path = self.folder.file(&path);
        blocking(move || {
            reveal(&path).map_err(|error| Rejection::Failed {
                message: format!(
                    "no file manager could be started ({error}). Open the folder yourself: {path:?}",
                    path = path.display().to_string()
                ),
            })
        })
        .await
    }

    /// A file and its place below the data folder.
    async fn file(&self, id: FileId) -> Answer<(ResultFile, String)> {
        let found = self.store.file(id).await?;
        let is_there = |(_, path): &(_, String)| self.folder.file(path).is_file();
        found
            .filter(is_there)
            .ok_or_else(|| rules::missing_file(id))
    }

    /// Measures a LoRA on the pair of the job that made it.
    pub async fn score(&self, request: RequestId, file: FileId) -> Answer<ServerMessage> {
        let owner = self.store.owner(file).await?;
        let job = self
            .job(owner.ok_or_else(|| rules::missing_file(file))?)
            .await?;
        self.file(file).await?;
        let job = Box::new(job.job);
        let answer = self.trainer.ask(Task::Score { request, job, file })?;
        answer.await.map_err(|_gone| fault())
    }

    /// Calls a copier something else.
    pub async fn rename_copier(&self, id: CopierId, name: &JobName) -> Answer<()> {
        self.copier(id)?;
        let renamed = self.store.rename_copier(id, name).await;
        renamed?;
        self.copiers_changed().await
    }

    /// Forgets a copier that no job under way needs.
    pub async fn delete_copier(&self, id: CopierId) -> Answer<()> {
        self.copier(id)?;
        let user = self.store.user_of_copier(id).await;
        rules::check_copier_deletion(user?)?;
        let path = self.store.delete_copier(id).await;
        if let Some(path) = path? {
            // What is not there need not be removed.
            _ = tokio::fs::remove_file(self.folder.file(&path)).await;
        }
        self.copiers_changed().await
    }

    /// The queue's handler: does a job, if it still waits.
    pub async fn run(self, id: JobId) {
        self.order_changed().await;
        if *self.ending.borrow() {
            std::future::pending::<()>().await;
        }
        match self.store.job(id).await {
            Ok(Some(job)) if job.state == JobState::Queued => {
                let steering = self.steering(id);
                self.trainer.train(job, steering).await;
                self.lock_running().remove(&id);
                if *self.ending.borrow() {
                    // Interrupted: returning would tell the queue that the job is done.
                    std::future::pending::<()>().await;
                }
            }
            // Discarded meanwhile, or handed out twice.
            Ok(_) => {}
            Err(error) => console::err(&format!("error: job {id} cannot be begun ({error}).")),
        }
    }

    /// Ends the running job so that it can go on after the next start.
    pub fn interrupt(&self) {
        self.ending.send_replace(true);
        for steering in self.lock_running().values() {
            steering.interrupt();
        }
        self.trainer.nudge();
    }

    /// Whether a job runs.
    pub fn is_busy(&self) -> bool {
        !self.lock_running().is_empty()
    }

    /// A job, by its number.
    pub async fn job(&self, id: JobId) -> Answer<StoredJob> {
        let job = self.store.job(id).await?;
        job.ok_or_else(|| StoreError::NoJob { job: id }.into())
    }

    fn copier(&self, id: CopierId) -> Answer<()> {
        let is_there = self.copiers.borrow().iter().any(|copier| copier.id == id);
        if is_there {
            return Ok(());
        }
        Err(rules::missing_copier(id))
    }

    async fn change(&self, id: JobId, transition: Transition) -> Answer<()> {
        let changed = self.store.change_state(id, transition).await;
        Ok(changed.map(drop)?)
    }

    async fn order_changed(&self) {
        if let Ok(order) = self.queue.order().await {
            self.order.send_if_modified(|known| {
                let is_new = *known != order;
                *known = order;
                is_new
            });
        }
    }

    async fn copiers_changed(&self) -> Answer<()> {
        let copiers = self.store.copiers().await;
        self.copiers.send_replace(copiers?);
        Ok(())
    }

    fn steering(&self, id: JobId) -> Arc<Steering> {
        Arc::clone(self.lock_running().entry(id).or_default())
    }

    fn lock_running(&self) -> std::sync::MutexGuard<'_, BTreeMap<JobId, Arc<Steering>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fault() -> Rejection {
    Rejection::Failed {
        message: "this ended with a fault of Mimeo or of the device's driver (see the companion's terminal). Try it again, or on another device.".to_owned(),
    }
}

/// Decoding and reading files would hold up every connection.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Answer<T> + Send + 'static,
) -> Answer<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_panicked| Err(fault()))
}
