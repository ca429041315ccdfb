//! `mimeo serve`: a local service that trains, remembers, and lets nobody else in.
//!
//! ```text
//! page, CLI ──▶ http, socket ──▶ server ──▶ queue (apalis) ──▶ jobs ──▶ trainer thread ──▶ engine
//!    ▲            guard            │ └──▶ host                               │
//!    └──── events, in order ◀──── store (SQLite) ◀───────────────────── archive
//! ```
//!
//! What would be the same elsewhere (the answers, rules, runs, drawings) is `mimeo-service`.

mod archive;
mod bases;
mod blobs;
mod clock;
mod context;
mod folder;
mod guard;
mod host;
pub mod http;
mod inbox;
mod jobs;
mod loras;
mod memory;
mod page;
mod port;
mod queue;
mod requests;
mod reveal;
mod room;
mod socket;
mod store;
mod trainer;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::serve::ListenerExt as _;
use mimeo_engine::memory::RecomputeChoice;
use mimeo_engine::{ArithmeticChoice, Compute, DeviceChoice, EngineError};
use mimeo_protocol::DeviceInfo;
use mimeo_service::Server;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

pub use clock::now_millis;
pub use folder::DataFolder;
pub use memory::Memory;
pub use page::remedy as page_remedy;

use crate::exit::BadInput;
use crate::{tls, tuned};
use bases::Bases;
use blobs::Blobs;
use guard::Guard;
use host::Companion;
use jobs::Jobs;
use loras::Loras;
use room::Room;
use store::SqliteStore;
use trainer::TrainingThread;

/// At the end, the running job gets this long to reach the end of its step and save its state.
const SAVE_WITHIN: Duration = Duration::from_secs(60);
/// Connections get this long to say goodbye.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// How to serve.
#[derive(Debug)]
pub struct ServiceSettings {
    /// Where to listen.
    pub address: SocketAddr,
    /// TLS and a token of the user's own, for anything but loopback.
    pub network: Option<Network>,
    /// Where jobs and results are kept.
    pub data: PathBuf,
    /// Where bases are looked for; in the data folder if nowhere.
    pub models: Vec<PathBuf>,
    /// Where to compute.
    pub device: DeviceChoice,
    /// Number format that UNets compute in.
    pub arithmetic: ArithmeticChoice,
    /// Memory of the device, where the system does not tell or the user knows better.
    pub device_memory_bytes: Option<u64>,
    /// Whether jobs compute some things twice instead of keeping them.
    pub recompute: RecomputeChoice,
    /// Pictures and uploaded LoRAs take at most this.
    pub max_blobs_bytes: u64,
    /// Time between saves of the running job's state.
    pub save_every: Duration,
}

/// What a service beyond loopback needs.
#[cfg_attr(
    not(feature = "tls"),
    expect(dead_code, reason = "read by what is left out")
)]
#[derive(Debug)]
pub struct Network {
    /// The secret.
    pub token: String,
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// What the service is called there.
    pub names: Vec<String>,
}

/// A service that listens.
pub struct Service {
    jobs: Jobs,
    guard: Guard,
    token: Arc<str>,
    listener: std::net::TcpListener,
    network: Option<Network>,
    /// Where it listens.
    pub address: SocketAddr,
    /// The link to open.
    pub link: String,
}

impl Service {
    /// Opens everything, takes up what was interrupted, and listens.
    ///
    /// # Errors
    /// One sentence: the port, the folder, the database or the device cannot be used.
    pub async fn start(settings: ServiceSettings) -> anyhow::Result<Self> {
        // First, so that a second start says who has the port instead of who has the folder.
        let listener = port::listen(settings.address).await?;
        let address = listener.local_addr().context("the port is gone")?;
        let (jobs, work) = open(&settings).await?;
        jobs.recover().await?;
        tokio::spawn(work);

        let (token, guard): (Arc<str>, Guard) = match &settings.network {
            Some(network) => {
                let guard = Guard::network(address, &network.names, &network.token);
                (network.token.as_str().into(), guard)
            }
            None => {
                let token = new_token();
                let guard = Guard::loopback(address, &token);
                (token.into(), guard)
            }
        };
        let link = match &settings.network {
            Some(network) => {
                let name = network.names.first().cloned();
                let host = name.map_or(address.to_string(), |name| {
                    format!("{name}:{}", address.port())
                });
                format!("https://{host}/#token={token}")
            }
            None => format!("http://{address}/"),
        };
        Ok(Self {
            jobs,
            guard,
            token,
            listener,
            network: settings.network,
            address,
            link,
        })
    }

    /// Name of the device that trains.
    pub fn device(&self) -> &DeviceInfo {
        &self.jobs.server.host.device
    }

    /// Serves until `end` resolves; then the running job's state is saved and everyone told.
    ///
    /// # Errors
    /// When the certificate cannot be used or the listener fails.
    pub async fn run(self, end: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Self {
            jobs,
            guard,
            token,
            listener,
            network,
            ..
        } = self;
        let router = http::router(jobs.clone(), guard, token);
        let (close, closing) = oneshot::channel::<()>();
        let closing = async {
            // An error means the same: nobody waits for the service any more.
            _ = closing.await;
        };
        let mut serving: JoinHandle<anyhow::Result<()>> = match network {
            None => tokio::spawn(serve(listener, router, closing)),
            Some(network) => tokio::spawn(tls::serve(listener, network, router, closing)),
        };
        tokio::select! {
            served = &mut serving => return served?,
            () = end => {}
        }
        jobs.interrupt();
        let saved = tokio::time::timeout(SAVE_WITHIN, async {
            while jobs.is_busy() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        // Beyond that, the last state on disk is what the job goes on from.
        _ = saved.await;
        drop(close);
        _ = tokio::time::timeout(CLOSE_WITHIN, serving).await;
        jobs.server.store.close().await;
        Ok(())
    }
}

/// Opens folder, database, device and thread; the future is the queue's work.
async fn open(
    settings: &ServiceSettings,
) -> anyhow::Result<(Jobs, impl Future<Output = ()> + use<>)> {
    let folder = Arc::new(DataFolder::open(&settings.data)?);
    let store = SqliteStore::open(Arc::clone(&folder)).await?;
    let room = Room::new(settings.max_blobs_bytes);
    let loras = Loras::open(Arc::clone(&folder), room.clone());
    let blobs = Blobs::open(Arc::clone(&folder), room);
    // What cannot be read may name any of them, and a newer Mimeo may read it.
    if let Ok(named) = store.pictures().await {
        blobs.remove_unused(&named.into_iter().collect());
    }
    let mut models = settings.models.clone();
    if models.is_empty() {
        models.push(folder.models());
    }
    if let Some(missing) = models.iter().find(|models| !models.is_dir()) {
        let why = "there is no such models folder; create it or choose another one";
        return Err(BadInput::file(why, missing).into());
    }
    let bases = Bases::open(models, folder.bases());
    let compute = Compute::choose(&settings.device, settings.arithmetic)
        .await
        .map_err(EngineError::from)?;
    let memory = Memory::of(&compute, settings.device_memory_bytes, settings.recompute);
    let device = DeviceInfo {
        name: compute.name.clone(),
        reason: tuned::reason(&compute),
        memory_bytes: memory.total_bytes,
        is_gpu: compute.is_gpu(),
        in_use: true,
    };
    let progress = watch::Sender::new(None);
    let trainer = TrainingThread::start(context::Context {
        store: store.clone(),
        blobs: blobs.clone(),
        loras: loras.clone(),
        bases: bases.clone(),
        folder: Arc::clone(&folder),
        compute: compute.clone(),
        memory,
        save_every: settings.save_every,
        progress: progress.clone(),
        runtime: tokio::runtime::Handle::current(),
    });
    let queue = store.queue.clone();
    let host = Companion {
        blobs,
        loras,
        bases,
        folder,
        store: store.clone(),
        device,
        compute,
        memory,
        trainer,
        progress: progress.subscribe(),
        is_local: settings.network.is_none(),
    };
    let jobs = Jobs {
        server: Arc::new(Server::new(store, host)),
        ending: watch::Sender::new(false),
    };
    let handler = jobs.clone();
    let work = queue.run(move |job| handler.clone().run(job));
    Ok((jobs, work))
}

/// Serves on loopback until `end` resolves and the connections are done.
async fn serve(
    listener: std::net::TcpListener,
    router: Router,
    end: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let listener = TcpListener::from_std(listener)?.tap_io(|connection| {
        // Small messages would otherwise wait for the answer to the one before, some 40 ms; an error
        // means that the connection is gone already.
        _ = connection.set_nodelay(true);
    });
    Ok(axum::serve(listener, router)
        .with_graceful_shutdown(end)
        .await?)
}

/// 256 random bits.
fn new_token() -> String {
    let bytes: [u8; 32] = rand::random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
