//! The conversation with the companion: connects, connects again, asks and hears.
//!
//! On every connection the companion says how everything is; from there on it says what changes.
//! Nothing is lost while the line is down: training goes on there, and what happened meanwhile is
//! asked for.

mod http;
mod talk;

use std::collections::BTreeMap;
use std::rc::Rc;

use futures_channel::{mpsc, oneshot};
use leptos::prelude::*;
use mimeo_protocol::{
    BaseId, BaseInfo, BlobId, ClientMessage, CopierInfo, DeviceInfo, FileId, JobControl, JobId,
    Pace, RequestId, ServerMessage,
};
use mimeo_workbench::Runs;

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
    /// The companion does not want to talk to this page; the sentence says why.
    Refused(String),
}

/// What the companion said about itself.
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
    /// A base, if the companion has it.
    pub fn base(&self, id: &BaseId) -> Option<&BaseInfo> {
        self.bases.iter().find(|base| base.id == *id)
    }
}

/// Messages that wait to be sent; more are refused.
const OUTBOX: usize = 256;

/// The line to the companion, as every part of the page uses it.
#[derive(Clone, Copy)]
pub struct Link {
    /// How the line is.
    pub status: RwSignal<Status>,
    /// Every job that the companion told of.
    pub runs: RwSignal<Runs>,
    /// What it said about itself.
    pub host: RwSignal<Host>,
    /// Wishes that were sent and not answered yet.
    pending: RwSignal<Vec<(JobId, JobControl)>>,
    /// Why the last wish for a job was refused.
    refusals: RwSignal<BTreeMap<JobId, String>>,
    token: StoredValue<String>,
    wires: StoredValue<Rc<Wires>, LocalStorage>,
}

/// What one connection needs.
struct Wires {
    next: std::cell::Cell<u32>,
    /// Who waits for which answer.
    waiting: std::cell::RefCell<BTreeMap<RequestId, oneshot::Sender<Answer>>>,
    /// To the socket, while there is one.
    outbox: std::cell::RefCell<Option<mpsc::Sender<ClientMessage>>>,
    /// Wakes the pause between two tries.
    wake: std::cell::RefCell<Option<oneshot::Sender<()>>>,
}

/// What comes of a request: the companion's message, or a sentence.
type Answer = Result<ServerMessage, String>;

const GONE: &str = "The companion is not connected. Wait until it is back, then try again.";

impl Link {
    /// Begins to connect.
    pub fn open() -> Self {
        let wires = Wires {
            next: std::cell::Cell::new(1),
            waiting: std::cell::RefCell::default(),
            outbox: std::cell::RefCell::default(),
            wake: std::cell::RefCell::default(),
        };
        let link = Self {
            status: RwSignal::new(Status::Connecting),
            runs: RwSignal::new(Runs::default()),
            host: RwSignal::new(Host::default()),
            pending: RwSignal::new(Vec::new()),
            refusals: RwSignal::new(BTreeMap::new()),
            token: StoredValue::new(String::new()),
            wires: StoredValue::new_local(Rc::new(wires)),
        };
        leptos::task::spawn_local(talk::talk(link));
        talk::wake_when_seen(link);
        link
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
    /// The companion's sentence, or ours when the line is down.
    pub async fn ask(self, make: impl FnOnce(RequestId) -> ClientMessage) -> Answer {
        let wires = self.wires();
        let request = RequestId(wires.next.get());
        wires.next.set(request.0.wrapping_add(1).max(1));
        let (answer, answered) = oneshot::channel();
        wires.waiting.borrow_mut().insert(request, answer);
        let sent = match wires.outbox.borrow_mut().as_mut() {
            Some(outbox) => outbox.try_send(make(request)).is_ok(),
            None => false,
        };
        if !sent {
            wires.waiting.borrow_mut().remove(&request);
            return Err(GONE.to_owned());
        }
        answered.await.unwrap_or_else(|_| Err(GONE.to_owned()))
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

    /// Where a picture can be seen.
    pub fn blob_url(self, id: BlobId) -> String {
        self.address(&format!("blobs/{id}"))
    }

    /// Where a file can be fetched.
    pub fn file_url(self, id: FileId) -> String {
        self.address(&format!("files/{id}"))
    }

    fn address(self, path: &str) -> String {
        format!("{path}?token={}", self.token.get_value())
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
        http::put(&self.address(&format!("blobs/{id}")), file).await
    }

    /// Uploads a LoRA, to draw with.
    ///
    /// # Errors
    /// A sentence.
    pub async fn upload_lora(self, id: BlobId, file: &[u8]) -> Result<(), String> {
        http::put(&self.address(&format!("loras/{id}")), file).await
    }

    /// Fetches a picture's file.
    ///
    /// # Errors
    /// A sentence.
    pub async fn fetch_blob(self, id: BlobId) -> Result<Vec<u8>, String> {
        http::get(&self.blob_url(id)).await
    }

    fn wires(self) -> Rc<Wires> {
        self.wires.get_value()
    }
}

/// Fetches a file that belongs to the page.
///
/// # Errors
/// A sentence.
pub async fn fetch_own(path: &str) -> Result<Vec<u8>, String> {
    http::get(path).await
}
