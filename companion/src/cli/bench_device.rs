//! `mimeo bench device`: seconds and memory of training steps at the sizes of real models, without any checkpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use clap::Args;
use mimeo_engine::memory::RecomputeChoice;
use mimeo_engine::trial::{Trial, TrialBase, TrialFamily, TrialPlan, Tried, products_per_sec};
use mimeo_engine::{ArithmeticChoice, Compute, DeviceChoice, DeviceError, EngineError};
use mimeo_protocol::{BatchSize, Method, Rank, Resolution};
use serde::Serialize;
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

use super::number::whole;
use crate::exit::Exit;
use crate::progress::Report;
use crate::service::Memory;

/// How often the program's memory is looked at: tensors of a real model live for longer.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Measure training steps of real models' sizes, with random weights.
#[derive(Debug, Args)]
pub struct BenchDevice {
    /// Where to compute: auto, cpu, gpu, or gpu:NAME with a part of the adapter's name; may be repeated
    /// [default: the CPU and every real GPU]
    #[arg(long)]
    pub device: Vec<DeviceChoice>,
    /// Whose sizes: sd1, sdxl
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "FAMILY,…",
        default_value = "sd1,sdxl"
    )]
    bases: Vec<TrialFamily>,
    /// Methods
    #[arg(long, value_delimiter = ',', value_name = "METHOD,…", default_value = "plain,addift,copier,slider",
          value_parser = method)]
    methods: Vec<Method>,
    /// Sides of the pictures, px
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "PIXELS,…",
        default_value = "512,768,1024"
    )]
    sizes: Vec<Resolution>,
    /// Rows of a step
    #[arg(long, default_value = "1", allow_hyphen_values = true)]
    batch_size: BatchSize,
    /// LoRA inner size
    #[arg(long, default_value = "16", allow_hyphen_values = true)]
    rank: Rank,
    /// Steps of each, the first of which is told by itself
    #[arg(long, default_value_t = 4, value_parser = whole("Steps", 2..=10_000), allow_hyphen_values = true)]
    steps: u32,
    /// Number format that the UNet computes in: auto, f32, f16 or bf16
    #[arg(long, default_value = "auto")]
    compute: ArithmeticChoice,
    /// Compute layers of the UNet twice instead of keeping them: auto (as few as are needed to fit), off, or on
    #[arg(long, default_value = "auto")]
    recompute: RecomputeChoice,
    /// Memory of the device in MiB, where the system does not tell
    #[arg(long, value_name = "MIB")]
    device_memory: Option<u32>,
}

/// What a device is capable of.
#[derive(Debug, Serialize)]
struct DeviceFigures<'a> {
    device: &'a str,
    memory_mib: Option<u64>,
    /// Multiplications with their additions in a product of two matrices.
    products_per_sec: f64,
}

/// Steps of one kind.
#[derive(Debug, Serialize)]
struct Row<'a> {
    device: &'a str,
    base: &'static str,
    method: &'static str,
    size: u32,
    batch_size: u32,
    rank: u32,
    compute: String,
    recomputed_levels: usize,
    first_step_secs: f64,
    /// The median of the others.
    secs_per_step: f64,
    /// Of the UNet and its training: none of the program itself.
    planned_mib: u64,
    /// Of the whole program, in the system's memory.
    program_peak_mib: u64,
    /// On a GPU.
    device_reserved_mib: Option<u64>,
}

impl BenchDevice {
    /// Measures and tells, row by row.
    ///
    /// # Errors
    /// One sentence for the user: no such device, or one that fails.
    pub async fn run(self, report: &mut Report) -> anyhow::Result<Exit> {
        for choice in self.choices().await {
            let compute = match Compute::choose(&choice, self.compute).await {
                Err(cannot @ DeviceError::Arithmetic { .. }) if self.device.is_empty() => {
                    report.note(cannot.to_string());
                    continue;
                }
                chosen => chosen.map_err(EngineError::from)?,
            };
            let memory = Memory::of(
                &compute,
                self.device_memory.map(|mib| u64::from(mib) << 20),
                self.recompute,
            );
            let figures = DeviceFigures {
                device: &compute.name,
                memory_mib: memory.total_bytes.map(mib),
                products_per_sec: products_per_sec(&compute.device).await?,
            };
            let text = format!(
                "{}: {:.1} billion products a second in a product of matrices",
                figures.device,
                figures.products_per_sec / 1e9
            );
            report.answer("device", &figures, &text);
            for family in &self.bases {
                Box::pin(self.measure(*family, &compute, memory, report)).await?;
            }
        }
        Ok(Exit::Done)
    }

    /// The devices that are measured.
    async fn choices(&self) -> Vec<DeviceChoice> {
        if !self.device.is_empty() {
            return self.device.clone();
        }
        let offers = Compute::offers().await.into_iter();
        let gpus = offers.filter(|offer| !offer.is_software);
        let gpus = gpus.map(|offer| DeviceChoice::Named(offer.name));
        std::iter::once(DeviceChoice::Cpu).chain(gpus).collect()
    }

    async fn measure(
        &self,
        family: TrialFamily,
        compute: &Compute,
        memory: Memory,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let base = TrialBase::new(family, compute)?;
        let available = memory.room().available_bytes;
        for resolution in &self.sizes {
            for method in &self.methods {
                let trial = Trial {
                    method: *method,
                    resolution: *resolution,
                    batch_size: self.batch_size,
                    rank: self.rank,
                    steps: self.steps,
                    recompute: self.recompute,
                };
                let plan = base.plan(&trial, available);
                let needed = plan.need.total_bytes();
                if available.is_some_and(|available| needed > available) {
                    report.note(format!(
                        "{} at {resolution}, {method}: would take {} MiB, which do not fit.",
                        family.name(),
                        mib(needed)
                    ));
                    continue;
                }
                report.begin("steps", self.steps);
                let peak = Peak::watch();
                let steps = base.steps(&trial, plan.recompute, |done| report.advance(done));
                let tried = Box::pin(steps).await?;
                let row = Row::of(&base, &compute.name, &trial, plan, &tried, peak.bytes());
                report.answer("row", &row, &row.line());
                compute.free_unused();
            }
        }
        Ok(())
    }
}

impl<'a> Row<'a> {
    fn of(
        base: &TrialBase,
        device: &'a str,
        trial: &Trial,
        plan: TrialPlan,
        tried: &Tried,
        peak_bytes: u64,
    ) -> Self {
        let (first, others) = match &tried.secs[..] {
            [first, others @ ..] => (*first, others.to_vec()),
            [] => (f64::NAN, Vec::new()),
        };
        Self {
            device,
            base: base.family().name(),
            method: trial.method.name(),
            size: trial.resolution.get(),
            batch_size: trial.batch_size.get(),
            rank: trial.rank.get(),
            compute: base.place().arithmetic.to_string(),
            recomputed_levels: plan.recompute.levels.min(base.levels()),
            first_step_secs: first,
            secs_per_step: median(others),
            planned_mib: mib(plan.need.total_bytes()),
            program_peak_mib: mib(peak_bytes),
            device_reserved_mib: tried.reserved_bytes.map(mib),
        }
    }

    fn line(&self) -> String {
        let on_device = self.device_reserved_mib;
        let on_device = on_device.map(|mib| format!(", {mib} MiB on the device"));
        format!(
            "{} {} at {} px in {}: {:.3} s/step (first {:.1} s), planned {} MiB, program {} MiB{}, {} levels twice",
            self.base,
            self.method,
            self.size,
            self.compute,
            self.secs_per_step,
            self.first_step_secs,
            self.planned_mib,
            self.program_peak_mib,
            on_device.unwrap_or_default(),
            self.recomputed_levels
        )
    }
}

fn method(text: &str) -> Result<Method, String> {
    let found = Method::ALL.into_iter().find(|method| method.name() == text);
    found.ok_or_else(|| format!("{text:?} is no method."))
}

fn median(mut secs: Vec<f64>) -> f64 {
    secs.sort_by(f64::total_cmp);
    secs.get(secs.len() / 2).copied().unwrap_or(f64::NAN)
}

const fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

/// The most memory that this program takes while it is watched.
struct Peak {
    most: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    watcher: JoinHandle<()>,
}

impl Peak {
    fn watch() -> Self {
        let (most, is_over) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (seen, ends) = (Arc::clone(&most), Arc::clone(&is_over));
        let watcher = std::thread::spawn(move || {
            let Ok(id) = sysinfo::get_current_pid() else {
                return;
            };
            let mut system = System::new();
            while !ends.load(Ordering::Relaxed) {
                let what = ProcessRefreshKind::nothing().with_memory();
                system.refresh_processes_specifics(ProcessesToUpdate::Some(&[id]), true, what);
                let bytes = system.process(id).map_or(0, sysinfo::Process::memory);
                seen.fetch_max(bytes, Ordering::Relaxed);
                std::thread::sleep(LOOK_EVERY);
            }
        });
        Self {
            most,
            is_over,
            watcher,
        }
    }

    /// Stops watching.
    fn bytes(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        // It ends by itself; what it saw counts whatever became of it.
        _ = self.watcher.join();
        self.most.load(Ordering::Relaxed)
    }
}
