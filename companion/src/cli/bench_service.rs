//! `mimeo bench service`: how long an event takes to its reader, and what an idle companion costs.

#![expect(
    clippy::disallowed_methods,
    reason = "it starts a companion of this program and connects to it"
)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Args;
use mimeo_protocol::{
    BaseId, ClientMessage, Example, JobEventKind, JobId, JobState, Method, ModelSize, Recipe,
    ServerMessage, Steps, TrainJob,
};
use serde::Serialize;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use super::number::whole;
use crate::exit::Exit;
use crate::progress::Report;
use crate::remote::Remote;
use crate::service::now_millis;

/// Measure how quickly a companion tells, and what it costs while nothing happens.
#[derive(Debug, Args)]
pub struct BenchService {
    /// Steps of the job that is watched
    #[arg(long, default_value = "200", allow_hyphen_values = true)]
    steps: Steps,
    /// Seconds of doing nothing
    #[arg(long, default_value_t = 20, value_parser = whole("Idle seconds", 1..=86_400), allow_hyphen_values = true)]
    idle_secs: u32,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Figures {
    events: usize,
    /// From the moment at which an event is stored to its arrival, in milliseconds.
    latency_median_millis: u64,
    latency_99_percent_millis: u64,
    latency_largest_millis: u64,
    /// Of one core.
    idle_cpu_percent: f64,
    idle_memory_mib: u64,
}

impl BenchService {
    /// Measures and tells.
    ///
    /// # Errors
    /// When no companion can be started.
    pub async fn run(self, report: &mut Report) -> anyhow::Result<Exit> {
        let folder = tempfile::tempdir()?;
        let mut companion = Companion::start(folder.path())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let measured = runtime.block_on(self.measure(&mut companion));
        let figures = measured?;
        let text = format!(
            "{} events: median {} ms, 99 % within {} ms, largest {} ms from stored to received\n\
             Idle for {} s: {:.2} % of a core, {} MiB",
            figures.events,
            figures.latency_median_millis,
            figures.latency_99_percent_millis,
            figures.latency_largest_millis,
            self.idle_secs,
            figures.idle_cpu_percent,
            figures.idle_memory_mib
        );
        report.result(&figures, &text);
        Ok(Exit::Done)
    }

    async fn measure(&self, companion: &mut Companion) -> anyhow::Result<Figures> {
        let (mut remote, _) = Remote::connect(&companion.url, None).await?;
        let before = companion.cpu_millis();
        tokio::time::sleep(Duration::from_secs(self.idle_secs.into())).await;
        let idle_millis = companion.cpu_millis() - before;
        let idle_memory_mib = companion.memory_bytes() >> 20;

        let job = self.submit(&mut remote).await?;
        let mut latencies = Vec::new();
        loop {
            let ServerMessage::Event(event) = remote.next().await? else {
                continue;
            };
            latencies.push(now_millis().saturating_sub(event.at_millis));
            if let JobEventKind::State { state } = event.kind
                && event.job == job
                && state.is_over()
            {
                anyhow::ensure!(
                    state == JobState::Finished,
                    "the job did not finish: {state:?}"
                );
                break;
            }
        }
        latencies.sort_unstable();
        let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share).round() as usize];
        Ok(Figures {
            events: latencies.len(),
            latency_median_millis: at(0.5),
            latency_99_percent_millis: at(0.99),
            latency_largest_millis: at(1.0),
            idle_cpu_percent: idle_millis as f64 / (f64::from(self.idle_secs) * 10.0),
            idle_memory_mib,
        })
    }

    async fn submit(&self, remote: &mut Remote) -> anyhow::Result<JobId> {
        let pair = &mimeo_base::pairs()[0];
        let mut recipe = Recipe::preset(Method::Addift, ModelSize::Small);
        recipe.pass.steps = self.steps;
        let original = remote.upload(pair.original_png.to_vec()).await?;
        let target = remote.upload(pair.target_png.to_vec()).await?;
        let example = Example {
            mask: Some(remote.upload(pair.mask_png.to_vec()).await?),
            ..Example::new(original, target)
        };
        let job = TrainJob::new("bench".parse()?, BaseId::bundled(), example, recipe);
        let submit = |request| ClientMessage::Submit {
            request,
            job: Box::new(job),
        };
        match remote.ask(submit).await? {
            ServerMessage::Accepted { job, .. } => Ok(job),
            other => anyhow::bail!("the companion answered {other:?}"),
        }
    }
}

/// A companion of this program, for the time of a measurement.
struct Companion {
    process: Child,
    url: String,
    system: System,
}

impl Companion {
    fn start(data: &std::path::Path) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["serve", "--json", "--no-open", "--port", "0", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(out) = process.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let said: serde_json::Value = serde_json::from_str(&line)?;
        let address = said["address"].as_str().unwrap_or_default();
        Ok(Self {
            process,
            url: format!("ws://{address}"),
            system: System::new(),
        })
    }

    fn refreshed(&mut self) -> Option<&sysinfo::Process> {
        let id = Pid::from_u32(self.process.id());
        let what = ProcessRefreshKind::nothing().with_cpu().with_memory();
        let only = ProcessesToUpdate::Some(&[id]);
        self.system.refresh_processes_specifics(only, true, what);
        self.system.process(id)
    }

    /// Time that it had of all cores since its start.
    fn cpu_millis(&mut self) -> u64 {
        self.refreshed()
            .map_or(0, sysinfo::Process::accumulated_cpu_time)
    }

    fn memory_bytes(&mut self) -> u64 {
        self.refreshed().map_or(0, sysinfo::Process::memory)
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        // It may have ended already.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}
