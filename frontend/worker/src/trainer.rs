//! All that the worker works with: does the jobs and tasks that the page asked for, one at a time,
//! because there is one device. In which order, and when it waits: see `inbox`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::lock::Mutex;
use mimeo_engine::{Base, Compute, DeviceChoice, PreparedJob, Unsteered, rehearse};
use mimeo_protocol::{
    BaseId, DeviceInfo, IllegalTransition, JobEvent, JobEventKind, JobId, JobProgress, Method,
    ModelSize, Recipe, ServerMessage, TrainJob, Transition,
};
use mimeo_service::host::Turns;
use mimeo_service::{Host as _, JobToRun, Steering, Task, rules, task};

use crate::bases::Bases;
use crate::disk::{Disk, DiskError};
use crate::drive::sleep;
use crate::host::Browser;
use crate::inbox::{self, Device, Inbox};
use crate::ledger::{Change, Found, Ledger};
use crate::{page, server};

/// Milliseconds between two messages about progress.
const PROGRESS_EVERY: f64 = 100.0;
/// Milliseconds between two writes of what is no result, such as losses.
const WRITE_EVERY: f64 = 2_000.0;
/// Milliseconds between two looks for room on a full disk.
const LOOK_FOR_ROOM_EVERY: u32 = 1_000;

/// Base, method, batch size, rank, and width and height of the pictures.
type Shape = (BaseId, Method, u32, u32, (u32, u32));

/// Everything that the worker has.
pub struct Worker {
    /// Where files are kept.
    pub disk: Disk,
    /// What is remembered.
    pub ledger: RefCell<Ledger>,
    /// Checkpoints.
    pub bases: Bases,
    /// The device.
    pub compute: Compute,
    /// What the page is told of it.
    pub device: DeviceInfo,
    /// The job under way, and what is wanted of it.
    pub running: RefCell<Option<(JobId, Arc<Steering>)>>,
    /// Pictures and measurements that were asked for.
    pub inbox: Inbox<Task>,
    /// Whether the page said hello: then it is told what changes.
    pub is_heard: Cell<bool>,
    loaded: RefCell<Option<(BaseId, Rc<Base>)>>,
    /// What jobs were like that the GPU has done before.
    rehearsed: RefCell<Vec<Shape>>,
    /// Files to write before the run goes on.
    files: RefCell<Vec<(String, Vec<u8>)>>,
    /// Files to remove after that.
    unwanted: RefCell<Vec<String>>,
    /// One writer at a time, so that what is newer is written later.
    writing: Mutex<()>,
    is_urgent: Cell<bool>,
    written_at: Cell<f64>,
    progress_at: Cell<f64>,
}

/// Opens everything, tells the page, and works until the tab is closed.
pub async fn start() {
    match open().await {
        Ok(worker) => {
            let worker = Rc::new(worker);
            // Before the page sends anything: at first, nothing names that.
            worker.tidy().await;
            server::listen(&worker);
            page::ready();
            work(&worker).await;
        }
        Err(sentence) => page::lost(&sentence),
    }
}

/// Milliseconds since 1970.
pub fn now_millis() -> u64 {
    js_sys::Date::now() as u64
}

async fn open() -> Result<Worker, String> {
    let disk = Disk::open().await;
    let index = disk.read(Ledger::INDEX).await;
    let found = Found::new(&disk.names("ledger").await, &disk.names("files").await);
    let mut ledger = Ledger::open(index.as_deref(), found);
    if let (Some(_), Some(index)) = (ledger.lost(), index) {
        // For a program that can read it. Without room for it, the runs themselves go first.
        _ = disk.write(Ledger::ASIDE, &index).await;
    }
    for id in ledger.known() {
        ledger.load(id, disk.read(&Ledger::path(id)).await.as_deref());
    }
    ledger.recover(now_millis());
    page::expect_pipelines(ledger.pipelines());

    let choice = match page::wants_webgpu() {
        // Whoever asks for it gets it, even if software stands in for it.
        true => DeviceChoice::Named("WebGPU".to_owned()),
        false => DeviceChoice::Cpu,
    };
    let compute = Compute::choose(&choice).await;
    let compute = compute.map_err(|error| error.to_string())?;
    let bases = Bases::open(&disk).await?;
    let kept = if disk.keeps() {
        "Runs and results are kept in this browser."
    } else {
        "This window keeps nothing: download what you want before you close it."
    };
    let device = DeviceInfo {
        name: compute.name.clone(),
        reason: match ledger.lost() {
            Some(lost) => format!("{kept} {lost}"),
            None => kept.to_owned(),
        },
        memory_bytes: None,
        is_gpu: compute.is_gpu(),
        in_use: true,
    };
    Ok(Worker {
        disk,
        ledger: RefCell::new(ledger),
        bases,
        compute,
        device,
        running: RefCell::default(),
        inbox: Inbox::default(),
        is_heard: Cell::new(false),
        loaded: RefCell::default(),
        rehearsed: RefCell::default(),
        files: RefCell::default(),
        unwanted: RefCell::default(),
        writing: Mutex::new(()),
        is_urgent: Cell::new(false),
        written_at: Cell::new(0.0),
        progress_at: Cell::new(0.0),
    })
}

async fn work(worker: &Rc<Worker>) {
    // Software that stands in for a GPU would compile and rehearse for minutes.
    if worker.compute.is_gpu() {
        warm_up(worker).await;
    }
    // By then it has the bases that runs under way may need.
    while !worker.is_heard.get() {
        worker.inbox.rung().await;
    }
    inbox::work(worker).await;
}

impl Device for Rc<Worker> {
    type Task = Task;
    type Job = JobId;

    fn inbox(&self) -> &Inbox<Task> {
        &self.inbox
    }

    fn next_job(&self) -> Option<JobId> {
        self.ledger.borrow_mut().take_next()
    }

    async fn perform(&self, task: Task) {
        page::send(&task::perform(&Browser(Self::clone(self)), &task).await);
    }

    fn refuse(&self, task: Task) {
        page::send(&task.refused(rules::base_is_held()));
    }

    async fn run(&self, id: JobId) {
        let entry = self.ledger.borrow().job(id).cloned();
        let Some(entry) = entry else { return };
        let job = JobToRun {
            id,
            job: entry.job,
            copier: entry.copier,
        };
        let steering = Arc::new(Steering::default());
        self.running.replace(Some((id, Arc::clone(&steering))));
        self.order_changed();
        let host = Browser(Self::clone(self));
        Box::pin(mimeo_service::run(&host, &job, steering)).await;
        self.running.take();
        // A full disk is waited for by the next run.
        _ = Worker::flush(self).await;
    }

    async fn flush(&self) -> bool {
        Worker::flush(self).await.is_ok()
    }

    async fn wait_for_room(&self) {
        sleep(LOOK_FOR_ROOM_EVERY).await;
    }
}

/// Compiles what the GPU needs for a job on the bundled base, while the user still paints.
async fn warm_up(worker: &Rc<Worker>) {
    let recipe = Recipe::preset(Method::Addift, ModelSize::Small);
    let host = Browser(Rc::clone(worker));
    let warmed = async {
        let base = host.base(&BaseId::bundled(), &mut |_| ()).await.ok()?;
        let job = PreparedJob::blank(&base, recipe);
        let rest = &mut Turns(&host);
        let control = &mut Unsteered(rest);
        // If it cannot be done now, the job will say why.
        Box::pin(rehearse(&base, &job, control)).await.ok()
    };
    warmed.await;
    worker.compiled();
}

impl Worker {
    /// Whether the GPU may lack programs for a job: none of its shape was done before. What such a
    /// job needs beyond those of another shape is little.
    pub fn is_new(&self, job: &TrainJob, prepared: &PreparedJob) -> bool {
        let picture = &prepared.pictures.original;
        let size = (picture.width(), picture.height());
        let recipe = &job.recipe;
        let (batch, rank) = (recipe.pass.batch_size.get(), recipe.pass.rank.get());
        let shape = (job.base.clone(), recipe.method, batch, rank, size);
        let mut known = self.rehearsed.borrow_mut();
        let is_new = !known.contains(&shape);
        if is_new {
            known.push(shape);
        }
        is_new
    }

    /// Tells that the GPU has its programs, and remembers how many those are.
    pub fn compiled(&self) {
        let mut ledger = self.ledger.borrow_mut();
        let most = ledger.pipelines().max(page::pipelines());
        ledger.keep_pipelines(most);
        page::pipelines_done();
    }

    /// The base, if it is the loaded one.
    pub fn loaded(&self, id: &BaseId) -> Option<Rc<Base>> {
        let loaded = self.loaded.borrow();
        let (_, base) = loaded.as_ref().filter(|(known, _)| known == id)?;
        Some(Rc::clone(base))
    }

    /// Keeps the loaded base for the next job.
    pub fn keep_loaded(&self, id: &BaseId, base: &Rc<Base>) {
        self.loaded.replace(Some((id.clone(), Rc::clone(base))));
    }

    /// Forgets the loaded base, so that its files are read anew.
    pub fn unload(&self) {
        self.loaded.take();
        self.compute.free_unused();
    }

    /// Tells the page, once it listens.
    pub fn tell(&self, message: &ServerMessage) {
        if self.is_heard.get() {
            page::send(message);
        }
    }

    /// Adds a fact about a job.
    pub fn record(&self, id: JobId, kind: JobEventKind) {
        let event = self.ledger.borrow_mut().record(id, kind, now_millis());
        self.tell(&ServerMessage::Event(event));
    }

    /// Changes a job's state.
    ///
    /// # Errors
    /// When that cannot happen to it now.
    pub fn change_state(&self, id: JobId, transition: Transition) -> Result<(), IllegalTransition> {
        let changed = {
            let mut ledger = self.ledger.borrow_mut();
            ledger.change_state(id, transition, now_millis())
        };
        self.tell(&ServerMessage::Event(changed?));
        self.is_urgent.set(true);
        Ok(())
    }

    /// Tells of a new job.
    pub fn added(&self, id: JobId, event: JobEvent) {
        let summary = self.ledger.borrow().summary(id);
        if let Some(job) = summary {
            let job = Box::new(job);
            self.tell(&ServerMessage::Added { job });
        }
        self.tell(&ServerMessage::Event(event));
        self.order_changed();
    }

    /// Tells which jobs wait.
    pub fn order_changed(&self) {
        let order = self.ledger.borrow().queue().to_vec();
        self.tell(&ServerMessage::Queue { order });
    }

    /// Tells which copiers there are.
    pub fn copiers_changed(&self) {
        let copiers = self.ledger.borrow().copiers();
        self.tell(&ServerMessage::Copiers { copiers });
    }

    /// Tells how far the running job is, not too often.
    pub fn tell_progress(&self, progress: JobProgress) {
        let now = js_sys::Date::now();
        let is_due = now - self.progress_at.get() >= PROGRESS_EVERY;
        if is_due || progress.done == 0 || Some(progress.done) == progress.total {
            self.progress_at.set(now);
            self.tell(&ServerMessage::Progress(progress));
        }
    }

    /// Keeps a file; it is written before the run goes on.
    pub fn keep(&self, path: String, bytes: Vec<u8>) {
        self.files.borrow_mut().push((path, bytes));
        self.is_urgent.set(true);
    }

    /// A file that could not be written yet.
    pub fn unwritten(&self, path: &str) -> Option<Vec<u8>> {
        let files = self.files.borrow();
        // The newest, where it was kept again.
        let (_, bytes) = files.iter().rev().find(|(known, _)| known == path)?;
        Some(bytes.clone())
    }

    /// Removes a file once what follows from its end is written.
    pub fn forget_later(&self, path: String) {
        self.unwanted.borrow_mut().push(path);
        self.is_urgent.set(true);
    }

    /// Writes what has to be written now.
    pub async fn flush_if_due(&self) -> Result<(), DiskError> {
        let is_due = js_sys::Date::now() - self.written_at.get() >= WRITE_EVERY;
        if self.is_urgent.get() || is_due {
            self.flush().await
        } else {
            Ok(())
        }
    }

    /// Writes everything that changed: files before the jobs that name them.
    pub async fn flush(&self) -> Result<(), DiskError> {
        let _one_at_a_time = self.writing.lock().await;
        self.is_urgent.set(false);
        self.written_at.set(js_sys::Date::now());
        let mut files: VecDeque<_> = self.files.take().into();
        while let Some((path, bytes)) = files.pop_front() {
            if let Err(error) = self.disk.write(&path, &bytes).await {
                files.push_front((path, bytes));
                // What came meanwhile comes after.
                files.extend(self.files.take());
                self.files.replace(files.into());
                self.is_urgent.set(true);
                return Err(error);
            }
        }
        let changes = self.ledger.borrow_mut().take_changes();
        for Change { path, bytes } in changes {
            match bytes {
                Some(bytes) => {
                    if let Err(error) = self.disk.write(&path, &bytes).await {
                        self.ledger.borrow_mut().give_back();
                        self.is_urgent.set(true);
                        return Err(error);
                    }
                }
                None => self.disk.remove(&path).await,
            }
        }
        for path in self.unwanted.take() {
            self.disk.remove(&path).await;
        }
        Ok(())
    }
}
