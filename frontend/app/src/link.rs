//! The conversation with whoever trains: connects, connects again, asks and hears.
//!
//! That is the companion (`socket`, `http`) or a worker in this browser (`worker`), as
//! [`mimeo_workbench::link`] decides, and `supervise` does; nothing above knows which. On every line
//! (`talk`) the other side says how everything is; from there on it says what changes. Nothing is
//! lost while the line is down: training goes on there, or from where it was, and what happened
//! meanwhile is asked for.

mod adapter;
mod bases;
mod connection;
mod http;
mod objects;
mod requests;
mod socket;
mod supervise;
mod talk;
mod worker;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use futures_util::future::AbortHandle;
use leptos::prelude::*;
use mimeo_protocol::{
    BaseInfo, BlobId, ClientMessage, JobControl, JobId, JobState, RequestId, ResultFile,
    ServerMessage,
};
use mimeo_workbench::Runs;
use mimeo_workbench::backend::{Arrival, Backend, BackendFacts, Wish};
use mimeo_workbench::from_disk::Shelf;
use mimeo_workbench::link::{Event, Host, Status, Supervisor};
use mimeo_workbench::preflight::LinkState;
use wasm_bindgen::JsValue;

use crate::storage;
use bases::Given;
use objects::Objects;
use requests::{Reply, Requests};
use worker::TrainerWorker;

pub use bases::Picked;
pub use http::get as fetch_own;

/// Where the user's choice of a place is kept.
const WISH: &str = "mimeo.backend";

/// The line to whoever trains, as every part of the page uses it.
#[derive(Clone, Copy)]
pub struct Link {
    /// How the line is.
    pub status: RwSignal<Status>,
    /// Every job that was told of.
    pub runs: RwSignal<Runs>,
    /// What the other side said about itself.
    pub host: RwSignal<Host>,
    /// Where the user wants it to train.
    pub wish: RwSignal<Wish>,
    /// What is known of the places.
    pub facts: RwSignal<BackendFacts>,
    /// Where it trains; none while that is being found out.
    pub place: RwSignal<Option<Backend>>,
    /// Why there, in one sentence.
    pub reason: RwSignal<String>,
    /// What is on its way into this browser.
    pub arrival: RwSignal<Arrival>,
    /// Bases that were picked from disk, for the trainer in this browser.
    pub shelf: RwSignal<Shelf>,
    /// One that is on its way there.
    pub adding: Adding,
    /// Wishes that were sent and not answered yet.
    pending: RwSignal<Vec<(JobId, JobControl)>>,
    /// Why the last wish for a job was refused.
    refusals: RwSignal<BTreeMap<JobId, String>>,
    token: RwSignal<String>,
    wires: StoredValue<Rc<Wires>, LocalStorage>,
}

/// What is at the other end of the page's signals.
struct Wires {
    supervisor: RefCell<Supervisor>,
    /// Ends the line, while there is one.
    line: RefCell<Option<AbortHandle>>,
    /// What is asked on it.
    requests: Requests,
    /// The worker, while there is one.
    trainer: RefCell<Option<Rc<TrainerWorker>>>,
    /// Until a second has passed.
    timer: RefCell<Option<TimeoutHandle>>,
    objects: Objects,
    /// Bases that were picked from disk, which every new worker is given.
    bases: RefCell<BTreeMap<String, Given>>,
    /// Their handles, and those of bases that are closed.
    handles: RefCell<BTreeMap<String, JsValue>>,
    /// Whether those that were picked before this page was opened are here.
    has_restored: Cell<bool>,
}

/// A base from disk on its way to the trainer.
#[derive(Clone, Copy)]
pub struct Adding {
    /// Whether one is.
    pub is_busy: RwSignal<bool>,
    /// Why the last one was not taken.
    pub refusal: RwSignal<Option<String>>,
}

impl Link {
    /// Begins to connect.
    pub fn open() -> Self {
        let wish = storage::choice(WISH).and_then(|kept| Wish::from_name(&kept));
        let wish = wish.unwrap_or_default();
        let supervisor = Supervisor::new(wish, socket::first_guess(), worker::included());
        let link = Self {
            status: RwSignal::new(supervisor.status().clone()),
            runs: RwSignal::new(Runs::default()),
            host: RwSignal::new(Host::default()),
            wish: RwSignal::new(wish),
            facts: RwSignal::new(supervisor.facts().clone()),
            place: RwSignal::new(None),
            reason: RwSignal::new(String::new()),
            arrival: RwSignal::new(Arrival::default()),
            shelf: RwSignal::new(Shelf::default()),
            adding: Adding {
                is_busy: RwSignal::new(false),
                refusal: RwSignal::new(None),
            },
            pending: RwSignal::new(Vec::new()),
            refusals: RwSignal::new(BTreeMap::new()),
            token: RwSignal::new(String::new()),
            wires: StoredValue::new_local(Rc::new(Wires {
                supervisor: RefCell::new(supervisor),
                line: RefCell::default(),
                requests: Requests::default(),
                trainer: RefCell::default(),
                timer: RefCell::default(),
                objects: Objects::default(),
                bases: RefCell::default(),
                handles: RefCell::default(),
                has_restored: Cell::default(),
            })),
        };
        link.report(Event::Opened);
        link.report_when_seen();
        link
    }

    /// Whether it trains in this browser, and ends with this tab.
    pub fn is_browser(self) -> bool {
        self.place.get().is_some_and(Backend::is_browser)
    }

    /// Whether it trains in the companion, which finds its own bases.
    pub fn is_at_companion(self) -> bool {
        self.place.get_untracked() == Some(Backend::Companion)
    }

    /// Whether a run would end with this tab.
    pub fn runs_here(self) -> bool {
        let is_running = |runs: &Runs| {
            let run = runs.under_way();
            run.is_some_and(|run| matches!(run.state(), JobState::Running { .. }))
        };
        self.is_browser() && self.runs.with(is_running)
    }

    /// How the line is, as far as training needs it.
    pub fn line(self) -> LinkState {
        let is_browser = self.is_browser();
        self.status.with(|status| status.line(is_browser))
    }

    /// Trains where the user wants it, from now on and when the page is opened again.
    pub fn choose(self, wish: Wish) {
        self.report(Event::Chosen(wish));
    }

    /// Finds out what the browser's GPU is, for those who want to know.
    pub fn look_at_gpu(self) {
        self.report(Event::GpuWanted);
    }

    /// Trains in this tab and no longer in another one of this browser.
    pub fn take_over(self) {
        self.report(Event::TakenOver);
    }

    /// Whether the line stands.
    pub fn is_connected(self) -> bool {
        self.status.with(|status| *status == Status::Connected)
    }

    /// Tries again at once.
    pub fn connect_now(self) {
        self.report(Event::Retried);
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// The other side's sentence, or ours when the line is down.
    pub async fn ask(self, make: impl FnOnce(RequestId) -> ClientMessage) -> Reply {
        self.wires().requests.ask(make, self.gone()).await
    }

    /// Steers a job; the page shows that it was heard until it is answered.
    pub fn control(self, job: JobId, control: JobControl) {
        self.pending.update(|pending| pending.push((job, control)));
        self.refusals.update(|refusals| {
            refusals.remove(&job);
        });
        leptos::task::spawn_local(async move {
            let answer = self
                .ask(|request| ClientMessage::Control {
                    request,
                    job,
                    control,
                })
                .await;
            self.pending.update(|pending| {
                if let Some(at) = pending.iter().position(|wish| *wish == (job, control)) {
                    pending.remove(at);
                }
            });
            if let Err(why) = answer {
                self.refusals.update(|refusals| {
                    refusals.insert(job, why);
                });
            }
        });
    }

    /// Whether a wish was sent and not answered yet.
    pub fn is_pending(self, job: JobId, control: JobControl) -> bool {
        self.pending
            .with(|pending| pending.contains(&(job, control)))
    }

    /// Why the last wish for a job was refused.
    pub fn refusal(self, job: JobId) -> Option<String> {
        self.refusals.with(|refusals| refusals.get(&job).cloned())
    }

    /// Where a picture can be seen; none until it is there.
    pub fn blob_url(self, id: BlobId) -> Option<String> {
        self.url(format!("blobs/{id}"), String::new())
    }

    /// Where the picture that lies beside a base can be seen, in small; none where there is none.
    pub fn preview_url(self, base: &BaseInfo) -> Option<String> {
        let version = base.preview?;
        let is_companion = self.place.get() == Some(Backend::Companion);
        is_companion.then(|| {
            let token = self.token.get();
            format!("previews/{}?version={version}&token={token}", base.id)
        })
    }

    /// Asks the companion which bases there are now: folders change without a word.
    pub fn look_for_bases(self) {
        if untrack(|| self.is_browser()) {
            return;
        }
        leptos::task::spawn_local(async move {
            let ask = |request| ClientMessage::ListCheckpoints { request };
            // While the line is down the last list stands.
            let answer = self.ask(ask).await;
            let Ok(ServerMessage::Checkpoints {
                checkpoints, vaes, ..
            }) = answer
            else {
                return;
            };
            let is_new = |host: &Host| (&host.bases, &host.vaes) != (&checkpoints, &vaes);
            if self.host.with_untracked(is_new) {
                self.host
                    .update(|host| (host.bases, host.vaes) = (checkpoints, vaes));
            }
        });
    }

    /// Where a file can be fetched; none until it is there.
    pub fn file_url(self, file: &ResultFile) -> Option<String> {
        // What a job made may be made anew, under the same number.
        self.url(format!("files/{}", file.id), file.sha256.to_string())
    }

    fn url(self, path: String, version: String) -> Option<String> {
        match self.place.get()? {
            Backend::Companion => Some(format!("{path}?token={}", self.token.get())),
            Backend::BrowserGpu | Backend::BrowserCpu => {
                let is_connected = untrack(|| self.is_connected());
                let trainer = self.trainer().filter(|_| is_connected);
                self.wires().objects.url(path, version, trainer.as_ref())
            }
        }
    }

    /// Asks for what happened in a run, if that is not known yet.
    pub fn follow(self, job: JobId) {
        let gap = self.runs.try_update_untracked(|runs| runs.ask(job));
        if let Some(gap) = gap.flatten() {
            self.resync(gap);
        }
    }

    /// Uploads a picture.
    ///
    /// # Errors
    /// A sentence.
    pub async fn upload(self, id: BlobId, file: &[u8]) -> Result<(), String> {
        self.put(&format!("blobs/{id}"), file).await
    }

    /// Uploads a LoRA, to draw with.
    ///
    /// # Errors
    /// A sentence.
    pub async fn upload_lora(self, id: BlobId, file: &[u8]) -> Result<(), String> {
        self.put(&format!("loras/{id}"), file).await
    }

    /// Fetches a picture's file.
    ///
    /// # Errors
    /// A sentence.
    pub async fn fetch_blob(self, id: BlobId) -> Result<Vec<u8>, String> {
        let path = format!("blobs/{id}");
        if untrack(|| self.is_browser()) {
            let trainer = self.trainer().ok_or(worker::GONE)?;
            return worker::read(&trainer.get(&path).await?).await;
        }
        http::get(&self.address(&path)).await
    }

    async fn put(self, path: &str, file: &[u8]) -> Result<(), String> {
        if untrack(|| self.is_browser()) {
            let trainer = self.trainer().ok_or(worker::GONE)?;
            return trainer.put(path, file).await;
        }
        http::put(&self.address(path), file).await
    }

    fn address(self, path: &str) -> String {
        format!("{path}?token={}", self.token.get_untracked())
    }

    /// Why nothing can be asked now.
    fn gone(self) -> &'static str {
        match untrack(|| self.is_browser()) {
            true => worker::GONE,
            false => "The companion is not connected. Wait until it is back, then try again.",
        }
    }

    /// The worker, while there is one.
    fn trainer(self) -> Option<Rc<TrainerWorker>> {
        self.wires().trainer.borrow().clone()
    }

    fn wires(self) -> Rc<Wires> {
        self.wires.get_value()
    }
}
