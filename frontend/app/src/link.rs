//! The conversation with whoever trains: connects, connects again, asks and hears.
//!
//! That is the companion (`socket`, `http`) or a worker in this browser (`worker`), by
//! [`mimeo_workbench::backend`]; nothing above knows which. On every connection the other side says
//! how everything is; from there on it says what changes. Nothing is lost while the line is down:
//! training goes on there, or from where it was, and what happened meanwhile is asked for.

mod adapter;
mod http;
mod objects;
mod socket;
mod talk;
mod worker;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use futures_channel::{mpsc, oneshot};
use leptos::prelude::*;
use mimeo_protocol::{
    BaseId, BaseInfo, BlobId, ClientMessage, CopierInfo, DeviceInfo, JobControl, JobId, JobState,
    MAX_CLIENT_FRAME, Pace, RequestId, ResultFile, ServerMessage, codec,
};
use mimeo_workbench::Runs;
use mimeo_workbench::backend::{Arrival, Facts, Place, Restarts, Wish};
use mimeo_workbench::preflight::Line;

use crate::storage;

pub use http::get as fetch_own;

/// How the line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Not yet, for the first time.
    Connecting,
    /// It stands.
    Connected,
    /// It stood, or never did; another try follows by itself.
    Lost {
        /// Seconds until then.
        retry_secs: u32,
    },
    /// The other side does not want to talk to this page; the sentence says why.
    Refused(String),
    /// Another tab of this browser trains.
    Elsewhere,
    /// Another tab took over; its sentence.
    Taken(String),
    /// The trainer in this browser ended.
    Broken {
        /// Why, and what to do.
        why: String,
        /// Seconds until it is started again; none if that is for the user to say.
        retry_secs: Option<u32>,
    },
}

/// What the other side said about itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Host {
    /// Program and version.
    pub app: String,
    /// What computes there.
    pub device: Option<DeviceInfo>,
    /// Bases to train upon.
    pub bases: Vec<BaseInfo>,
    /// How fast steps went there.
    pub paces: Vec<Pace>,
    /// Copiers that can be used again.
    pub copiers: Vec<CopierInfo>,
}

impl Host {
    /// A base, if it is there.
    pub fn base(&self, id: &BaseId) -> Option<&BaseInfo> {
        self.bases.iter().find(|base| base.id == *id)
    }
}

/// Messages that wait to be sent; more are refused.
const OUTBOX: usize = 256;

/// Why a request is not even sent.
const TOO_LONG: &str = "This is too long to be sent. Shorten the prompt, then try again.";

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
    pub facts: RwSignal<Facts>,
    /// Where it trains; none while that is being found out.
    pub place: RwSignal<Option<Place>>,
    /// Why there, in one sentence.
    pub reason: RwSignal<String>,
    /// What is on its way into this browser.
    pub arrival: RwSignal<Arrival>,
    /// Wishes that were sent and not answered yet.
    pending: RwSignal<Vec<(JobId, JobControl)>>,
    /// Why the last wish for a job was refused.
    refusals: RwSignal<BTreeMap<JobId, String>>,
    token: RwSignal<String>,
    wires: StoredValue<Rc<Wires>, LocalStorage>,
}

/// What one connection needs, and what outlives it.
#[derive(Default)]
struct Wires {
    last: Cell<u32>,
    /// Who waits for which answer.
    waiting: RefCell<BTreeMap<RequestId, oneshot::Sender<Answer>>>,
    /// To the other side, while there is one.
    outbox: RefCell<Option<mpsc::Sender<ClientMessage>>>,
    /// Wakes the pause between two tries.
    wake: RefCell<Option<oneshot::Sender<()>>>,
    /// Ends the connection in favour of another place.
    switch: RefCell<Option<oneshot::Sender<()>>>,
    /// Whether where it trains is settled until the user wants something else.
    is_settled: Cell<bool>,
    /// The worker, while there is one.
    worker: RefCell<Option<Rc<worker::Trainer>>>,
    /// Whether the next worker takes over from another tab.
    takes_over: Cell<bool>,
    restarts: Cell<Restarts>,
    objects: objects::Objects,
    /// Files of bases that were picked from disk, which every new worker is given.
    bases: RefCell<Vec<(String, web_sys::File)>>,
}

impl Wires {
    /// A number that no request under way has.
    fn next(&self) -> u32 {
        let next = self.last.get().wrapping_add(1).max(1);
        self.last.set(next);
        next
    }
}

/// What comes of a request: the other side's message, or a sentence.
type Answer = Result<ServerMessage, String>;

impl Link {
    /// Begins to connect.
    pub fn open() -> Self {
        let wish = storage::choice(WISH).and_then(|kept| Wish::from_name(&kept));
        let facts = Facts {
            companion: socket::first_guess(),
            trainer: worker::included(),
            ..Facts::default()
        };
        let link = Self {
            status: RwSignal::new(Status::Connecting),
            runs: RwSignal::new(Runs::default()),
            host: RwSignal::new(Host::default()),
            wish: RwSignal::new(wish.unwrap_or_default()),
            facts: RwSignal::new(facts),
            place: RwSignal::new(None),
            reason: RwSignal::new(String::new()),
            arrival: RwSignal::new(Arrival::default()),
            pending: RwSignal::new(Vec::new()),
            refusals: RwSignal::new(BTreeMap::new()),
            token: RwSignal::new(String::new()),
            wires: StoredValue::new_local(Rc::default()),
        };
        leptos::task::spawn_local(talk::talk(link));
        talk::wake_when_seen(link);
        link
    }

    /// Whether it trains in this browser, and ends with this tab.
    pub fn is_browser(self) -> bool {
        self.place.get().is_some_and(Place::is_browser)
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
    pub fn line(self) -> Line {
        let is_browser = self.is_browser();
        self.status.with(|status| match status {
            Status::Connected => Line::Ready,
            Status::Connecting
            | Status::Broken {
                retry_secs: Some(_),
                ..
            } => Line::Coming,
            Status::Elsewhere | Status::Taken(_) => Line::Elsewhere,
            Status::Broken {
                retry_secs: None, ..
            } => Line::Broken,
            Status::Lost { .. } | Status::Refused(_) if is_browser => Line::Broken,
            Status::Lost { .. } | Status::Refused(_) => Line::NoCompanion,
        })
    }

    /// Trains where the user wants it, from now on and when the page is opened again.
    pub fn choose(self, wish: Wish) {
        storage::keep_choice(WISH, wish.name());
        self.wish.set(wish);
        talk::choose_anew(self);
    }

    /// Finds out what the browser's GPU is, for those who want to know.
    pub fn look_at_gpu(self) {
        leptos::task::spawn_local(adapter::probe(self));
    }

    /// Trains in this tab and no longer in another one of this browser.
    pub fn take_over(self) {
        let wires = self.wires();
        wires.takes_over.set(true);
        if let Some(worker) = wires.worker.borrow().as_ref() {
            worker.take_over();
        }
        self.connect_now();
    }

    /// Whether the line stands.
    pub fn is_connected(self) -> bool {
        self.status.with(|status| *status == Status::Connected)
    }

    /// Tries again at once.
    pub fn connect_now(self) {
        if let Some(wake) = self.wires().wake.take() {
            // Nobody waits: then a try is under way.
            _ = wake.send(());
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// The other side's sentence, or ours when the line is down.
    pub async fn ask(self, make: impl FnOnce(RequestId) -> ClientMessage) -> Answer {
        let wires = self.wires();
        let request = RequestId(wires.next());
        let message = make(request);
        // Of a frame that it does not take, the other side cannot say which request it was.
        if codec::encode(&message).len() > MAX_CLIENT_FRAME {
            return Err(TOO_LONG.to_owned());
        }
        let (answer, answered) = oneshot::channel();
        wires.waiting.borrow_mut().insert(request, answer);
        let sent = match wires.outbox.borrow_mut().as_mut() {
            Some(outbox) => outbox.try_send(message).is_ok(),
            None => false,
        };
        if !sent {
            wires.waiting.borrow_mut().remove(&request);
            return Err(self.gone());
        }
        answered.await.unwrap_or_else(|_| Err(self.gone()))
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

    /// Where a file can be fetched; none until it is there.
    pub fn file_url(self, file: &ResultFile) -> Option<String> {
        // What a job made may be made anew, under the same number.
        self.url(format!("files/{}", file.id), file.sha256.to_string())
    }

    fn url(self, path: String, version: String) -> Option<String> {
        match self.place.get()? {
            Place::Companion => Some(format!("{path}?token={}", self.token.get())),
            Place::BrowserGpu | Place::BrowserCpu => objects::url(self, path, version),
        }
    }

    /// Asks for what happened in a run, if that is not known yet.
    pub fn follow(self, job: JobId) {
        let gap = self.runs.try_update_untracked(|runs| runs.ask(job));
        if let Some(gap) = gap.flatten() {
            talk::resync(self, gap);
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
            return worker::read(&worker::get(self, &path).await?).await;
        }
        http::get(&self.address(&path)).await
    }

    /// Gives the trainer in this browser a base from disk; the answer is what it is called there.
    ///
    /// - `files`: with their paths in the folder
    ///
    /// # Errors
    /// A sentence.
    pub async fn add_base(
        self,
        folder: &str,
        files: Vec<(String, web_sys::File)>,
    ) -> Result<BaseId, String> {
        let before = self.host.with_untracked(|host| host.bases.clone());
        let prefix = format!("bases/{folder}/");
        let files = files.into_iter();
        let files: Vec<_> = files
            .map(|(path, file)| (prefix.clone() + &path, file))
            .collect();
        for (path, file) in &files {
            worker::put(self, path, file.clone().into()).await?;
        }
        {
            let wires = self.wires();
            let mut kept = wires.bases.borrow_mut();
            kept.retain(|(path, _)| !path.starts_with(&prefix));
            kept.extend(files);
        }
        let ask = |request| ClientMessage::ListCheckpoints { request };
        let ServerMessage::Checkpoints { checkpoints, .. } = self.ask(ask).await? else {
            return Err("Something else came back than bases. Reload the page.".to_owned());
        };
        let is_new = |base: &&BaseInfo| before.iter().all(|known| known.id != base.id);
        let is_called = |base: &&BaseInfo| base.id.as_str() == folder || base.title == folder;
        let added = checkpoints.iter().find(is_new);
        let added = added.or_else(|| checkpoints.iter().find(is_called));
        let added = added.map(|base| base.id.clone());
        self.host.update(|host| host.bases = checkpoints);
        added.ok_or_else(|| format!("{folder} cannot be read as a base. Choose another folder."))
    }

    async fn put(self, path: &str, file: &[u8]) -> Result<(), String> {
        match untrack(|| self.is_browser()) {
            true => worker::put(self, path, js_sys::Uint8Array::from(file).into()).await,
            false => http::put(&self.address(path), file).await,
        }
    }

    fn address(self, path: &str) -> String {
        format!("{path}?token={}", self.token.get_untracked())
    }

    /// Why nothing can be asked now.
    fn gone(self) -> String {
        match untrack(|| self.is_browser()) {
            true => "The trainer in this browser is not ready. Wait until it is, then try again.",
            false => "The companion is not connected. Wait until it is back, then try again.",
        }
        .to_owned()
    }

    fn wires(self) -> Rc<Wires> {
        self.wires.get_value()
    }
}
