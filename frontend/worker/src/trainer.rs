//! Opens everything and does the jobs and tasks that the page asked for, one at a time, because there
//! is one device. In which order, and when it waits: see `inbox`.

use std::collections::HashSet;
use std::rc::Rc;

use mimeo_engine::{ArithmeticChoice, Compute, DeviceChoice, PreparedJob, Unsteered, rehearse};
use mimeo_protocol::{BaseId, DeviceInfo, JobId, Method, ModelSize, Recipe};
use mimeo_service::runner::Turns;
use mimeo_service::{KeptJob, Runner as _, Server, Store as _, WantedBase, rules, task};

use crate::bases::Bases;
use crate::disk::Disk;
use crate::drive::sleep;
use crate::host::{Asked, Browser, Worker};
use crate::inbox::{self, Device, Inbox};
use crate::machine::{Machine, compiled};
use crate::page::{self, Page};
use crate::runner::WorkerRunner;
use crate::{Desk, server};

/// Milliseconds between two looks for room on a full disk.
const LOOK_FOR_ROOM_EVERY: u32 = 1_000;

/// Opens everything, tells the page, and works until the tab is closed.
pub async fn start() {
    match open().await {
        Ok(worker) => {
            let worker = Rc::new(worker);
            // Before the page sends anything: at first, nothing names that.
            tidy(&worker).await;
            server::listen(&worker);
            page::ready();
            work(&worker).await;
        }
        Err(sentence) => page::lost(&sentence),
    }
}

async fn open() -> Result<Worker, String> {
    let disk = Rc::new(Disk::open().await);
    let desk = Desk::open(Rc::clone(&disk), Page::default()).await;
    page::expect_pipelines(desk.ledger.borrow().pipelines());

    let choice = match page::wants_webgpu() {
        // Whoever asks for it gets it, even if software stands in for it.
        true => DeviceChoice::Named("WebGPU".to_owned()),
        false => DeviceChoice::Cpu,
    };
    let compute = Compute::choose(&choice, ArithmeticChoice::Auto).await;
    let compute = compute.map_err(|error| error.to_string())?;
    let bases = Bases::open(&disk).await?;
    let kept = if disk.keeps() {
        "Runs and results are kept in this browser."
    } else {
        "This window keeps nothing: download what you want before you close it."
    };
    let device = DeviceInfo {
        name: compute.name.clone(),
        reason: match desk.ledger.borrow().lost() {
            Some(lost) => format!("{kept} {lost}"),
            None => kept.to_owned(),
        },
        memory_bytes: None,
        is_gpu: compute.is_gpu(),
        in_use: true,
    };
    let browser = Browser {
        disk,
        machine: Machine::new(compute, bases),
        device,
        inbox: Inbox::default(),
    };
    let worker = Server::new(desk, browser);
    // Those that cannot be read are in the list, with the reason.
    let recovered = worker.recover().await.map(drop);
    recovered.map_err(|reason| reason.to_string())?;
    Ok(worker)
}

/// At the start, removes pictures and LoRAs that nothing names any more; the page sends what it needs
/// again.
async fn tidy(worker: &Worker) {
    let named: Option<HashSet<String>> = {
        let ledger = worker.store.ledger.borrow();
        let pictures = ledger.pictures().into_iter();
        // What cannot be read may name any of them.
        let is_whole = ledger.is_whole();
        is_whole.then(|| pictures.map(|id| id.to_string()).collect())
    };
    let disk = &worker.host.disk;
    if let Some(named) = named {
        disk.retain("blobs", |name| named.contains(name)).await;
    }
    disk.remove("loras").await;
}

async fn work(worker: &Rc<Worker>) {
    // Software that stands in for a GPU would compile and rehearse for minutes.
    if worker.host.machine.compute.is_gpu() {
        warm_up(worker).await;
    }
    // By then it has the bases that runs under way may need.
    while !worker.store.page.is_heard() {
        worker.host.inbox.rung().await;
    }
    inbox::work(worker).await;
}

/// Compiles what the GPU needs for a job on the bundled base, while the user still paints.
async fn warm_up(worker: &Rc<Worker>) {
    let recipe = Recipe::preset(Method::Addift, ModelSize::Small);
    let runner = WorkerRunner(Rc::clone(worker));
    let warmed = async {
        let bundled = BaseId::bundled();
        let wanted = WantedBase::plain(&bundled);
        let base = runner.base(wanted, &mut |_| ()).await.ok()?;
        let job = PreparedJob::blank(&base, recipe).ok()?;
        let rest = &mut Turns(&runner);
        let control = &mut Unsteered(rest);
        // If it cannot be done now, the job will say why.
        Box::pin(rehearse(&base, &job, control)).await.ok()
    };
    warmed.await;
    compiled(&worker.store);
}

impl Device for Rc<Worker> {
    type Task = Asked;
    type Job = JobId;

    fn inbox(&self) -> &Inbox<Asked> {
        &self.host.inbox
    }

    fn next_job(&self) -> Option<JobId> {
        let bases = &self.host.machine.bases;
        let mut ledger = self.store.ledger.borrow_mut();
        ledger.take_next(|job| {
            let has_vae = job.vae.as_ref().is_none_or(|vae| bases.has_vae(vae));
            bases.has(&job.base) && has_vae
        })
    }

    async fn perform(&self, asked: Asked) {
        let answer = task::perform(&WorkerRunner(Self::clone(self)), &asked.task).await;
        asked.answer(answer);
    }

    fn refuse(&self, asked: Asked) {
        let refused = asked.task.refused(rules::base_is_held());
        asked.answer(refused);
    }

    async fn run(&self, id: JobId) {
        let Ok(Some(KeptJob::Readable(job))) = self.store.job(id).await else {
            return;
        };
        let steering = self.running.begin(&job);
        self.store.tell_order().await;
        let runner = WorkerRunner(Self::clone(self));
        Box::pin(mimeo_service::run(&runner, &job, steering)).await;
        self.running.end(id);
        // A full disk is waited for by the next run.
        self.store.flush().await;
    }

    async fn flush(&self) -> bool {
        self.store.write().await.is_ok()
    }

    async fn wait_for_room(&self) {
        sleep(LOOK_FOR_ROOM_EVERY).await;
    }
}
