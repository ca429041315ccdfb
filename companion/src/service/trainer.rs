//! The training thread: owns the loaded base, keeps it between jobs, and does all that computes.
//!
//! One thread for the device, because a device does one thing at a time anyway and because futures
//! of the engine stay on the thread that began them. Pictures and scores that are asked for
//! meanwhile are made between two steps of the running job.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::thread;

use anyhow::Context as _;
use mimeo_checkpoint::{AsyncReadAt, DiskFile};
use mimeo_engine::runtime::block_on;
use mimeo_engine::{Base, Emit};
use mimeo_protocol::{BaseId, BlobId, JobId, LoraRef, Rejection, ServerMessage, VaeId};
use mimeo_service::plan::Room;
use mimeo_service::{
    Runner, SaveRule, Shelf, Steering, StoredJob, Task, WantedBase, rules, run, task,
};
use tokio::sync::oneshot;

use super::archive::JobArchive;
use super::bases::unreadable;
use super::context::Context;
use super::inbox::{Asked, Inbox, LIMIT, Work};
use crate::console;

/// The way to the thread.
#[derive(Clone)]
pub struct TrainingThread {
    inbox: SyncSender<Work>,
}

impl TrainingThread {
    /// Starts the thread.
    pub fn start(context: Context) -> Self {
        let (sender, inbox) = Inbox::new();
        let spawned = thread::Builder::new()
            .name("trainer".to_owned())
            .spawn(move || Thread::new(context, inbox).run());
        if let Err(error) = spawned {
            console::err(&format!("error: no thread could be started ({error})."));
        }
        Self { inbox: sender }
    }

    /// Trains a job to its end, or until its steering ends it.
    pub async fn train(&self, job: StoredJob, steering: Arc<Steering>) {
        let (done, ended) = oneshot::channel();
        let work = Work::Job {
            job: Box::new(job),
            steering,
            done,
        };
        let inbox = self.inbox.clone();
        // The inbox may be full of tasks; those go quickly.
        let sent = tokio::task::spawn_blocking(move || inbox.send(work)).await;
        if matches!(sent, Ok(Ok(()))) {
            // An error means that the thread is gone, and then so is the service.
            _ = ended.await;
        }
    }

    /// Adds a task; its answer comes from there, or the other end is closed after a fault.
    ///
    /// # Errors
    /// When too many wait already.
    pub fn ask(&self, task: Task) -> Result<oneshot::Receiver<ServerMessage>, Rejection> {
        let (answer, answered) = oneshot::channel();
        let work = Work::Task(Box::new(Asked { task, answer }));
        self.inbox.try_send(work).map_err(|error| Rejection::Full {
            message: match error {
                TrySendError::Full(_) => {
                    format!("{LIMIT} pictures and scores wait already. Try again later.")
                }
                TrySendError::Disconnected(_) => "the companion ends.".to_owned(),
            },
        })?;
        Ok(answered)
    }

    /// Makes the thread look at the steering of the running job.
    pub fn nudge(&self) {
        // A full inbox wakes it as well.
        _ = self.inbox.try_send(Work::Nudge);
    }
}

/// The thread's own things.
struct Thread {
    context: Rc<Context>,
    inbox: Rc<Inbox>,
    loaded: RefCell<Option<Loaded>>,
}

/// The base on the device, as it is: what is said of it is swapped for whoever says it.
#[derive(Clone)]
struct Loaded {
    id: BaseId,
    /// With this VAE; none: its own.
    vae: Option<VaeId>,
    base: Rc<Base>,
}

impl Thread {
    fn new(context: Context, inbox: Inbox) -> Self {
        Self {
            context: Rc::new(context),
            inbox: Rc::new(inbox),
            loaded: RefCell::default(),
        }
    }

    fn run(self) {
        while let Ok(work) = self.inbox.work.recv() {
            match work {
                Work::Job {
                    job,
                    steering,
                    done,
                } => {
                    self.train(&job, steering);
                    // The queue may have been shut down meanwhile.
                    _ = done.send(());
                }
                Work::Task(asked) => self.perform(*asked),
                Work::Nudge => {}
            }
            for asked in self.inbox.later.take() {
                self.perform(asked);
            }
        }
    }

    fn train(&self, job: &StoredJob, steering: Arc<Steering>) {
        let work = || block_on(run(self, job, steering));
        if !contain(&self.context, job.id, work) {
            // Whatever broke may have left the device's state broken.
            self.loaded.take();
        }
        self.context.progress.send_replace(None);
    }

    fn perform(&self, asked: Asked) {
        let work = || block_on(self.answer(asked));
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            // Whoever asked is told by the closed channel.
            self.loaded.take();
        }
    }

    async fn answer(&self, asked: Asked) {
        let answer = task::perform(self, &asked.task).await;
        // Whoever asked may be gone.
        _ = asked.answer.send(answer);
    }

    /// Does what came between two steps of a job, if that is on its base.
    async fn answer_beside(&self, work: Work, running: &BaseId) {
        match work {
            Work::Task(asked) if asked.task.base() == running => self.answer(*asked).await,
            Work::Task(asked) => self.inbox.later.borrow_mut().push_back(*asked),
            // The queue hands out one job at a time.
            Work::Job { .. } | Work::Nudge => {}
        }
    }

    async fn load(&self, wanted: WantedBase<'_>, emit: &mut impl Emit) -> anyhow::Result<Rc<Base>> {
        let (id, vae) = (wanted.id, wanted.vae);
        let known = self.loaded.borrow().clone();
        let base = match known.filter(|known| known.id == *id) {
            Some(known) if known.vae.as_ref() == vae => known.base,
            Some(known) => self.load_vae(&known.base, id, vae, emit).await?,
            None => self.load_whole(id, vae, emit).await?,
        };
        self.loaded.replace(Some(Loaded {
            id: id.clone(),
            vae: vae.cloned(),
            base: Rc::clone(&base),
        }));
        if wanted.said.is_nothing() {
            return Ok(base);
        }
        Ok(Rc::new(base.as_said(&wanted.said, emit)?))
    }

    async fn load_whole(
        &self,
        id: &BaseId,
        vae: Option<&VaeId>,
        emit: &mut impl Emit,
    ) -> anyhow::Result<Rc<Base>> {
        // First, because the device may not hold two.
        self.loaded.take();
        let bases = &self.context.bases;
        let source = bases.find(id).ok_or_else(|| bases.missing(id))?;
        let vae = vae.map(|vae| bases.vae(vae)).transpose()?;
        let (hash, compute) = (bases.known_hash(id), &self.context.compute);
        let loaded = source.load(vae.as_deref(), hash, compute, emit).await;
        let base = Rc::new(loaded.map_err(|error| unreadable(id, &error))?);
        bases.note_hash(id, &base.hash);
        Ok(base)
    }

    /// The same base with another VAE; a VAE is small beside it.
    async fn load_vae(
        &self,
        base: &Base,
        id: &BaseId,
        vae: Option<&VaeId>,
        emit: &mut impl Emit,
    ) -> anyhow::Result<Rc<Base>> {
        let bases = &self.context.bases;
        let source = bases.find(id).ok_or_else(|| bases.missing(id))?;
        let vae = vae.map(|vae| bases.vae(vae)).transpose()?;
        let loaded = source.load_vae(base, vae.as_deref(), emit).await;
        Ok(Rc::new(loaded.map_err(|error| unreadable(id, &error))?))
    }

    fn open_lora(&self, lora: &LoraRef) -> anyhow::Result<(DiskFile, String)> {
        let context = &self.context;
        let (path, name) = match lora {
            LoraRef::File { file } => {
                let found = context.wait_for(context.store.file(*file))?;
                let (file, path) = found.with_context(|| {
                    format!("the file {file} is not here any more. Choose another LoRA.")
                })?;
                (context.folder.file(&path), file.name)
            }
            LoraRef::Uploaded { lora } => {
                let found = context.loras.find(*lora);
                let path =
                    found.context("the uploaded LoRA is not here any more. Send it again.")?;
                (path, "the uploaded file".to_owned())
            }
        };
        Ok((DiskFile::open(path)?, name))
    }
}

impl Shelf for Thread {
    async fn picture(&self, id: BlobId) -> Result<Vec<u8>, String> {
        let bytes = self.context.blobs.read(id);
        bytes.map_err(|error| format!("the picture cannot be read ({error}). Send it again: {id}"))
    }

    async fn lora(&self, lora: &LoraRef) -> Result<(Box<dyn AsyncReadAt>, String), String> {
        let opened = self.open_lora(lora);
        let (file, name) = opened.map_err(|error| format!("{error:#}"))?;
        Ok((Box::new(file), name))
    }

    async fn keep_picture(&self, png: &[u8]) -> Result<BlobId, String> {
        let kept = self.context.blobs.keep(png);
        kept.map_err(|error| error.to_string())
    }
}

impl Runner for Thread {
    type Archive = JobArchive;

    fn save_rule(&self) -> SaveRule {
        SaveRule {
            secs: self.context.save_every.as_secs_f64(),
            steps: None,
        }
    }

    fn archive(&self, job: &StoredJob, steering: &Arc<Steering>) -> JobArchive {
        let (context, inbox) = (Rc::clone(&self.context), Rc::clone(&self.inbox));
        JobArchive::new(context, job.clone(), Arc::clone(steering), inbox)
    }

    async fn base(&self, wanted: WantedBase<'_>, emit: &mut impl Emit) -> Result<Rc<Base>, String> {
        let loaded = self.load(wanted, emit).await;
        loaded.map_err(|error| format!("{error:#}"))
    }

    fn room(&self) -> Room {
        self.context.memory.room()
    }

    async fn perform_waiting(&self, running: &BaseId) {
        while let Ok(work) = self.inbox.work.try_recv() {
            self.answer_beside(work, running).await;
        }
    }

    async fn wait(&self, running: &BaseId, _: bool) {
        self.inbox.refuse_later(rules::base_is_held);
        if let Ok(work) = self.inbox.work.recv() {
            self.answer_beside(work, running).await;
        }
    }
}

/// Does the work of a job; a fault in it ends the job and not the service. Whether there was none.
///
/// A driver that lost its device, or has no memory left, tells with a panic as well.
fn contain(context: &Context, job: JobId, work: impl FnOnce()) -> bool {
    let is_sound = catch_unwind(AssertUnwindSafe(work)).is_ok();
    if !is_sound {
        let message = "the job ended with a fault of the device, of its driver or of Mimeo (the companion's terminal says which), so the base is loaded anew for the next job. Try this one again with a smaller batch size or picture, or on another device.";
        context.fail(job, message);
    }
    is_sound
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mimeo_engine::{ArithmeticChoice, Compute, DeviceChoice};
    use mimeo_protocol::{
        Example, JobState, Method, ModelSize, Phase, Recipe, TrainJob, Transition,
    };
    use mimeo_service::{KeptJob, Store as _};
    use tokio::runtime::Handle;
    use tokio::sync::watch;

    use super::*;
    use crate::service::bases::Bases;
    use crate::service::blobs::Blobs;
    use crate::service::folder::DataFolder;
    use crate::service::loras::Loras;
    use crate::service::memory::Memory;
    use crate::service::room::Room;
    use crate::service::store::SqliteStore;

    async fn context(folder: &tempfile::TempDir) -> Context {
        let folder = Arc::new(DataFolder::open(folder.path()).unwrap());
        Context {
            store: SqliteStore::open(Arc::clone(&folder)).await.unwrap(),
            blobs: Blobs::open(Arc::clone(&folder), Room::new(0)),
            loras: Loras::open(Arc::clone(&folder), Room::new(0)),
            bases: Bases::open(vec![folder.models()], folder.bases()),
            folder,
            compute: Compute::choose(&DeviceChoice::Cpu, ArithmeticChoice::Auto)
                .await
                .unwrap(),
            memory: Memory::default(),
            save_every: Duration::ZERO,
            progress: watch::Sender::new(None),
            runtime: Handle::current(),
        }
    }

    #[test]
    fn a_fault_ends_the_job_and_not_the_service() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let context = runtime.block_on(context(&folder));
        let picture = BlobId::from_sha256([0; 32]);
        let recipe = Recipe::preset(Method::Plain, ModelSize::Small);
        let (name, example) = ("faulty".parse().unwrap(), Example::new(picture, picture));
        let job = TrainJob::new(name, BaseId::bundled(), example, recipe);
        let id = context.wait_for(context.store.add(&job)).unwrap();
        let begin = Transition::Enter(Phase::Training);
        let begun = context.store.change_state(id, begin);
        context.wait_for(begun).unwrap();

        let is_sound = contain(&context, id, || panic!("the device is lost"));
        assert!(!is_sound, "the fault is seen");
        let job = context.wait_for(context.store.job(id)).unwrap();
        let Some(KeptJob::Readable(job)) = job else {
            panic!("readable: {job:?}");
        };
        let JobState::Failed { message } = job.state else {
            panic!("failed: {:?}", job.state);
        };
        assert!(
            message.contains("smaller batch size"),
            "what to do: {message}"
        );
        assert!(contain(&context, id, || ()), "and the next one is done");
    }
}
