//! The training thread: owns the loaded base, keeps it between jobs, and does all that computes.
//!
//! One thread for the device, because a device does one thing at a time anyway and because futures
//! of the engine stay on the thread that began them. Pictures and scores that are asked for
//! meanwhile are made between two steps of the running job.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use mimeo_engine::{Base, Compute, Emit};
use mimeo_protocol::{BaseId, BlobId, JobId, JobProgress, PreviewRequest, Rejection, Scores};
use mimeo_service::{Steering, StoredJob, rules};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use super::bases::Bases;
use super::blobs::Blobs;
use super::folder::DataFolder;
use super::loras::Loras;
use super::run;
use super::store::SqliteStore;
use super::task;
use crate::console;

/// Requests that wait for the thread; more are refused.
const INBOX: usize = 64;

/// All that the thread works with.
pub struct Context {
    /// Jobs and files.
    pub store: SqliteStore,
    /// Pictures.
    pub blobs: Blobs,
    /// Uploaded LoRAs.
    pub loras: Loras,
    /// Checkpoints.
    pub bases: Bases,
    /// Where everything is.
    pub folder: Arc<DataFolder>,
    /// The device.
    pub compute: Compute,
    /// Time between saves of the running job's state.
    pub save_every: Duration,
    /// How far the running job is.
    pub progress: watch::Sender<Option<JobProgress>>,
    /// Where the database's futures run.
    pub runtime: Handle,
}

impl Context {
    /// Waits for a future of the database; only on the training thread.
    pub fn wait_for<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}

/// Something for the thread to do.
pub enum Work {
    /// Train.
    Job {
        /// What.
        job: Box<StoredJob>,
        /// What the user wants of it.
        steering: Arc<Steering>,
        /// Told when the job's new state is stored.
        done: oneshot::Sender<()>,
    },
    /// Draw or measure.
    Task(Box<Task>),
    /// Look at the steering again.
    Nudge,
}

/// A small piece of work on a base.
pub struct Task {
    /// The base.
    pub base: BaseId,
    /// What to do.
    pub kind: TaskKind,
}

/// What to do, and whom to tell.
pub enum TaskKind {
    /// Draw a picture.
    Preview(PreviewRequest, oneshot::Sender<Result<BlobId, Rejection>>),
    /// Measure a LoRA file of the data folder on the pair of a job.
    Score(
        Box<StoredJob>,
        String,
        oneshot::Sender<Result<Scores, Rejection>>,
    ),
}

/// The way to the thread.
#[derive(Clone)]
pub struct Trainer {
    inbox: SyncSender<Work>,
}

impl Trainer {
    /// Starts the thread.
    pub fn start(context: Context) -> Self {
        let (inbox, work) = sync_channel(INBOX);
        let spawned = thread::Builder::new()
            .name("trainer".to_owned())
            .spawn(move || Thread::new(context, work).run());
        if let Err(error) = spawned {
            console::err(&format!("error: no thread could be started ({error})."));
        }
        Self { inbox }
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

    /// Adds a task.
    ///
    /// # Errors
    /// When too many wait already.
    pub fn ask(&self, task: Task) -> Result<(), Rejection> {
        self.inbox
            .try_send(Work::Task(Box::new(task)))
            .map_err(|error| Rejection::Full {
                message: match error {
                    TrySendError::Full(_) => {
                        format!("{INBOX} pictures and scores wait already. Try again later.")
                    }
                    TrySendError::Disconnected(_) => "the companion ends.".to_owned(),
                },
            })
    }

    /// Makes the thread look at the steering of the running job.
    pub fn nudge(&self) {
        // A full inbox wakes it as well.
        _ = self.inbox.try_send(Work::Nudge);
    }
}

/// A base on the device.
struct Loaded {
    id: BaseId,
    base: Rc<Base>,
}

/// What waits for the thread.
pub struct Inbox {
    work: Receiver<Work>,
    /// Tasks on another base than the running job's.
    later: RefCell<VecDeque<Task>>,
}

impl Inbox {
    /// Refuses the tasks that wait for the end of the running job.
    fn refuse_later(&self, why: impl Fn() -> Rejection) {
        for task in self.later.take() {
            task::refuse(task, why());
        }
    }

    /// Refuses every task for a while, which may end sooner: something came.
    pub fn refuse_for(&self, time: Duration, why: impl Fn() -> Rejection) {
        self.refuse_later(&why);
        match self.work.recv_timeout(time) {
            Ok(Work::Task(task)) => task::refuse(*task, why()),
            // The queue hands out one job at a time; of a wish about it the steering tells.
            Ok(Work::Job { .. } | Work::Nudge) | Err(RecvTimeoutError::Timeout) => {}
            // The service ends, and nobody is left who could ask.
            Err(RecvTimeoutError::Disconnected) => thread::sleep(time),
        }
    }
}

/// The thread's own things.
pub struct Thread {
    /// All that it works with.
    pub context: Rc<Context>,
    /// What waits for it.
    pub inbox: Rc<Inbox>,
    loaded: Option<Loaded>,
}

impl Thread {
    fn new(context: Context, work: Receiver<Work>) -> Self {
        let later = RefCell::default();
        Self {
            context: Rc::new(context),
            inbox: Rc::new(Inbox { work, later }),
            loaded: None,
        }
    }

    fn run(mut self) {
        while let Ok(work) = self.inbox.work.recv() {
            match work {
                Work::Job {
                    job,
                    steering,
                    done,
                } => {
                    self.train(&job, &steering);
                    // The queue may have been shut down meanwhile.
                    _ = done.send(());
                }
                Work::Task(task) => self.perform(*task),
                Work::Nudge => {}
            }
            for task in self.inbox.later.take() {
                self.perform(task);
            }
        }
    }

    fn train(&mut self, job: &StoredJob, steering: &Arc<Steering>) {
        let context = Rc::clone(&self.context);
        let is_sound = contain(&context, job.id, || run::run(self, job, steering));
        if !is_sound {
            // Whatever broke may have left the device's state broken.
            self.loaded = None;
        }
        self.context.progress.send_replace(None);
    }

    fn perform(&mut self, task: Task) {
        let done = catch_unwind(AssertUnwindSafe(|| {
            match self.base(&task.base, &mut |_| ()) {
                Ok(base) => task::perform(&self.context, &base, task),
                Err(error) => {
                    let message = format!("{error:#}");
                    task::refuse(task, Rejection::Failed { message });
                }
            }
        }));
        if done.is_err() {
            // Whoever asked is told by the closed channel.
            self.loaded = None;
        }
    }

    /// The base, loaded if another one was.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn base(&mut self, id: &BaseId, emit: &mut impl Emit) -> anyhow::Result<Rc<Base>> {
        if let Some(loaded) = self.loaded.as_ref().filter(|loaded| loaded.id == *id) {
            return Ok(Rc::clone(&loaded.base));
        }
        // First, because the device may not hold two.
        self.loaded = None;
        let source = self.context.bases.find(id).ok_or_else(|| {
            let known = "put it back into the models folder";
            anyhow::anyhow!(
                "the base {id:?} is not here any more; {known}.",
                id = id.as_str()
            )
        })?;
        let loading = source.load(&self.context.compute, emit);
        let base = Rc::new(mimeo_engine::runtime::block_on(loading)?);
        self.loaded = Some(Loaded {
            id: id.clone(),
            base: Rc::clone(&base),
        });
        Ok(base)
    }

    /// Does the tasks that wait, on the base of the running job; others wait for its end.
    pub fn perform_waiting(&mut self, base: &Base, running: &BaseId) {
        while let Ok(work) = self.inbox.work.try_recv() {
            self.perform_between(work, base, running);
        }
    }

    /// Waits for something to do while the running job is paused: a task, or a nudge. What needs
    /// another base could wait for days, so it is refused.
    pub fn wait(&mut self, base: &Base, running: &BaseId) {
        self.inbox.refuse_later(rules::base_is_held);
        if let Ok(work) = self.inbox.work.recv() {
            self.perform_between(work, base, running);
        }
    }

    fn perform_between(&mut self, work: Work, base: &Base, running: &BaseId) {
        match work {
            Work::Task(task) if task.base == *running => {
                task::perform(&self.context, base, *task);
            }
            Work::Task(task) => self.inbox.later.borrow_mut().push_back(*task),
            // The queue hands out one job at a time.
            Work::Job { .. } | Work::Nudge => {}
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
        run::fail(context, job, message);
    }
    is_sound
}

#[cfg(test)]
mod tests {
    use mimeo_engine::DeviceChoice;
    use mimeo_protocol::{
        CopierChoice, JobFormat, JobState, Method, ModelSize, Phase, Recipe, TrainJob, Transition,
    };

    use mimeo_service::{KeptJob, Store as _};

    use super::*;
    use crate::service::room::Room;

    async fn context(folder: &tempfile::TempDir) -> Context {
        let folder = Arc::new(DataFolder::open(folder.path()).unwrap());
        Context {
            store: SqliteStore::open(Arc::clone(&folder)).await.unwrap(),
            blobs: Blobs::open(Arc::clone(&folder), Room::new(0)),
            loras: Loras::open(Arc::clone(&folder), Room::new(0)),
            bases: Bases::new(folder.models()),
            folder,
            compute: Compute::choose(&DeviceChoice::Cpu).await.unwrap(),
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
        let job = TrainJob {
            format: JobFormat::default(),
            name: "faulty".parse().unwrap(),
            base: BaseId::bundled(),
            original: picture,
            target: picture,
            mask: None,
            recipe: Recipe::preset(Method::Plain, ModelSize::Small),
            copier: CopierChoice::New,
            previews: None,
            scores: false,
        };
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
