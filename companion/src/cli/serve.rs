//! `mimeo serve`: the companion of the workbench.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use mimeo_engine::memory::RecomputeChoice;
use mimeo_engine::{ArithmeticChoice, DeviceChoice};
use mimeo_protocol::InvalidNumber;
use serde::Serialize;

use super::number::{decimal, whole};
use crate::console;
use crate::exit::{BadInput, Exit};
use crate::progress::Report;
use crate::service::{DataFolder, Network, Service, ServiceSettings, page_remedy};
use crate::tls;

/// A token shorter than this can be guessed.
const MIN_TOKEN: usize = 16;

/// More than any machine has: 16 TiB.
const MAX_MIB: u32 = 16 << 20;
/// Saved less often than once a day is not saved.
const DAY_SECS: f64 = 24.0 * 3600.0;

/// Serve the workbench and train for it.
#[derive(Debug, Args)]
pub struct Serve {
    /// Port on this computer; 0 takes any free one
    #[arg(long, default_value_t = 7878, value_parser = port, allow_hyphen_values = true)]
    port: u16,
    /// Folder with bases: ComfyUI's or A1111's, of their models, or any with sub-folders; may be
    /// repeated [default: models in the data folder]
    #[arg(long, value_name = "DIR")]
    models: Vec<PathBuf>,
    /// Folder for jobs, results and pictures [default: your data folder]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Do not open the browser
    #[arg(long)]
    no_open: bool,
    /// Where to compute: auto, cpu, gpu, or gpu:NAME with a part of the adapter's name
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Number format that UNets compute in: auto, f32, f16 or bf16
    #[arg(long, default_value = "auto")]
    compute: ArithmeticChoice,
    /// Memory of the device in MiB, where the system does not tell
    #[arg(long, value_name = "MIB", value_parser = whole("Device memory", 1..=MAX_MIB), allow_hyphen_values = true)]
    device_memory: Option<u32>,
    /// Compute layers of the UNet twice instead of keeping them, which takes less memory and more time:
    /// auto (as few as a job needs to fit), off, or on
    #[arg(long, default_value = "auto")]
    recompute: RecomputeChoice,
    /// Limit of all stored pictures and uploaded LoRAs in MiB
    #[arg(long, value_name = "MIB", default_value_t = 8192, value_parser = whole("Max blobs", 0..=MAX_MIB), allow_hyphen_values = true)]
    max_blobs: u32,
    /// Seconds between saves of the running job's state: what a crash costs at most
    #[arg(long, value_name = "SECS", default_value_t = 30.0, value_parser = decimal("Save every", 0.0..=DAY_SECS), allow_hyphen_values = true)]
    save_every: f64,
    /// Listen here instead of on this computer only, such as 0.0.0.0:7878; needs the three below
    #[arg(long, value_name = "ADDRESS", value_parser = network_address, requires_all = ["token", "tls_cert", "tls_key"], conflicts_with = "port")]
    listen: Option<SocketAddr>,
    /// With --listen: the secret that clients must know
    #[arg(long, env = "MIMEO_TOKEN", hide_env_values = true, requires = "listen")]
    token: Option<String>,
    /// With --listen: certificate chain, PEM
    #[arg(long, value_name = "FILE", requires = "listen")]
    tls_cert: Option<PathBuf>,
    /// With --listen: private key of the certificate, PEM
    #[arg(long, value_name = "FILE", requires = "listen")]
    tls_key: Option<PathBuf>,
    /// With --listen: a name under which clients reach it; may be repeated
    #[arg(long, value_name = "NAME", requires = "listen")]
    host_name: Vec<String>,
}

/// What `--json` prints once it listens.
#[derive(Serialize)]
struct Serving<'a> {
    address: String,
    link: &'a str,
    device: &'a str,
}

impl Serve {
    /// Where it is to be computed.
    pub const fn device(&self) -> &DeviceChoice {
        &self.device
    }

    /// Serves until Ctrl+C.
    ///
    /// # Errors
    /// One sentence for the user.
    pub async fn run(self, report: &mut Report) -> anyhow::Result<Exit> {
        let open = !self.no_open;
        let settings = self.settings()?;
        // The engine's futures run on the caller's thread; the service has threads of its own.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let served = runtime.block_on(serve(settings, open, report));
        // The training thread may be in the middle of a step that nobody waits for any more.
        runtime.shutdown_background();
        served
    }

    fn settings(self) -> Result<ServiceSettings, BadInput> {
        let network = match (self.listen, self.token, self.tls_cert, self.tls_key) {
            (Some(_), Some(token), Some(certificate), Some(key)) => {
                if token.len() < MIN_TOKEN {
                    return Err(BadInput(format!(
                        "the token must have at least {MIN_TOKEN} characters. Make up a longer one."
                    )));
                }
                Some(Network {
                    token,
                    certificate,
                    key,
                    names: self.host_name,
                })
            }
            _ => None,
        };
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        Ok(ServiceSettings {
            address: self.listen.unwrap_or(loopback),
            network,
            data: self.data.unwrap_or_else(DataFolder::default_root),
            models: self.models,
            device: self.device,
            arithmetic: self.compute,
            device_memory_bytes: self.device_memory.map(|mib| u64::from(mib) << 20),
            recompute: self.recompute,
            max_blobs_bytes: u64::from(self.max_blobs) << 20,
            save_every: Duration::from_secs_f64(self.save_every),
        })
    }
}

/// Where TLS was left out, that is said first, before certificates are made for nothing.
fn network_address(text: &str) -> anyhow::Result<SocketAddr> {
    tls::needed_for("--listen")?;
    Ok(text.parse()?)
}

fn port(text: &str) -> Result<u16, InvalidNumber> {
    // In range, so that nothing is cut off.
    whole("Port", 0..=u32::from(u16::MAX))(text).map(|port| port as u16)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the browser, with the page that is served here"
)]
async fn serve(settings: ServiceSettings, open: bool, report: &mut Report) -> anyhow::Result<Exit> {
    let end = end_requested();
    let service = Service::start(settings).await?;
    let (link, device) = (service.link.clone(), service.device().name.clone());
    let serving = Serving {
        address: service.address.to_string(),
        link: &link,
        device: &device,
    };
    let text = format!("Mimeo is at {link} and trains on {device}. Ctrl+C ends it.");
    report.answer("serving", &serving, &text);
    if let Some(remedy) = page_remedy() {
        console::err(&format!(
            "Note: the workbench was not built, so only the command line can use this. {remedy}"
        ));
    }
    if open && let Err(error) = open::that_detached(&link) {
        console::err(&format!(
            "Note: no browser could be opened ({error}). Open {link}"
        ));
    }
    service.run(end).await?;
    Ok(Exit::Done)
}

/// Ctrl+C, or the system's wish; heard from this call on, not only once it is waited for.
fn end_requested() -> impl Future<Output = ()> {
    crate::interrupt::listen();
    #[cfg(unix)]
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    async {
        let interrupt = crate::interrupt::requested();
        #[cfg(unix)]
        if let Ok(mut terminate) = terminate {
            tokio::select! {
                () = interrupt => {}
                _ = terminate.recv() => {}
            }
            return;
        }
        interrupt.await;
    }
}
