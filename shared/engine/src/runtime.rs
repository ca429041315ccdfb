//! The platform: which device computes, the clock, and how a future is driven.
//!
//! The one file of this crate that may differ between native and wasm.

use std::fmt::Write as _;
use std::str::FromStr;
use std::task::Poll;
use std::time::Instant;

use burn::tensor::wgpu::wgpu::{Backends, DeviceType, Instance, InstanceDescriptor};
use burn::tensor::{Device, DeviceKind};

/// Where to compute, as the user says it: `auto`, `cpu`, `gpu` or `gpu:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// A real GPU if there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first real GPU.
    Gpu,
    /// The adapter whose name contains this text; the only way to a software adapter.
    Named(String),
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        match text.split_once(':') {
            None if text == "auto" => Ok(Self::Auto),
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "gpu" => Ok(Self::Gpu),
            Some(("gpu", name)) if !name.is_empty() => Ok(Self::Named(name.to_owned())),
            _ => Err(DeviceError::Unknown {
                found: text.to_owned(),
            }),
        }
    }
}

/// A device that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Not a way to name a device.
    #[error(
        "{found:?} is no device. Use auto, cpu, gpu, or gpu:NAME with a part of the adapter's name."
    )]
    Unknown {
        /// What was given.
        found: String,
    },
    /// The machine has no such adapter.
    #[error("no {wanted} was found ({found}). Install the graphics driver, or use --device cpu.")]
    Missing {
        /// What was wanted.
        wanted: String,
        /// What there is.
        found: String,
    },
}

/// A chosen device.
#[derive(Debug, Clone)]
pub struct Compute {
    /// Burn's handle.
    pub device: Device,
    /// Name for people, such as `CPU, 2 threads`.
    pub name: String,
    /// Why this one.
    pub reason: String,
    memory: MemoryKind,
}

/// Where the memory of a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryKind {
    /// The system's own, as for the CPU and software adapters.
    System,
    /// A part of the system's own, as for integrated GPUs.
    Shared,
    /// On the card.
    Own,
}

/// A device that could be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Name for people.
    pub name: String,
    /// Whether it is a rasteriser on the CPU, chosen only by name.
    pub is_software: bool,
}

impl Compute {
    /// The graphics adapters of this machine.
    pub async fn offers() -> Vec<Offer> {
        let adapters = adapters().await.into_iter();
        let offers = adapters.map(|adapter| Offer {
            is_software: adapter.is_software(),
            name: adapter.name,
        });
        offers.collect()
    }

    /// Picks the device for a choice.
    ///
    /// # Errors
    /// [`DeviceError::Missing`] when a GPU was asked for that is not there.
    pub async fn choose(choice: &DeviceChoice) -> Result<Self, DeviceError> {
        match choice {
            DeviceChoice::Cpu => Ok(Self::cpu("as asked".to_owned())),
            DeviceChoice::Auto => {
                let adapters = adapters().await;
                match adapters.iter().find(|adapter| !adapter.is_software()) {
                    Some(adapter) => Ok(adapter.compute("the first GPU".to_owned())),
                    None => Ok(Self::cpu(format!("no GPU was found ({})", list(&adapters)))),
                }
            }
            DeviceChoice::Gpu => {
                let adapters = adapters().await;
                let found = adapters.iter().find(|adapter| !adapter.is_software());
                found
                    .map(|adapter| adapter.compute("as asked".to_owned()))
                    .ok_or_else(|| DeviceError::Missing {
                        wanted: "GPU".to_owned(),
                        found: list(&adapters),
                    })
            }
            DeviceChoice::Named(name) => {
                let adapters = adapters().await;
                let wanted = name.to_lowercase();
                let found = adapters
                    .iter()
                    .find(|adapter| adapter.name.to_lowercase().contains(&wanted));
                found
                    .map(|adapter| adapter.compute("as asked".to_owned()))
                    .ok_or_else(|| {
                        let wanted = format!("adapter named {name:?}");
                        DeviceError::Missing {
                            wanted,
                            found: list(&adapters),
                        }
                    })
            }
        }
    }

    /// Where its memory is.
    #[must_use]
    pub const fn memory(&self) -> MemoryKind {
        self.memory
    }

    /// Whether it is a GPU, and not software that stands in for one.
    #[must_use]
    pub fn is_gpu(&self) -> bool {
        self.memory != MemoryKind::System
    }

    fn cpu(reason: String) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let name = format!(
            "CPU, {threads} thread{}",
            if threads == 1 { "" } else { "s" }
        );
        Self {
            device: Device::flex(),
            name,
            reason,
            memory: MemoryKind::System,
        }
    }
}

/// A graphics adapter as Burn addresses it.
struct Adapter {
    name: String,
    kind: DeviceKind,
}

impl Adapter {
    /// Rasterisers on the CPU, such as llvmpipe: correct, but slower than Burn's own CPU backend.
    fn is_software(&self) -> bool {
        self.kind == DeviceKind::Cpu
    }

    fn compute(&self, reason: String) -> Compute {
        Compute {
            device: Device::wgpu(self.kind.clone()),
            name: self.name.clone(),
            reason,
            memory: match self.kind {
                DeviceKind::Cpu => MemoryKind::System,
                DeviceKind::IntegratedGpu(_) => MemoryKind::Shared,
                _ => MemoryKind::Own,
            },
        }
    }
}

/// The adapters of the first graphics API that has any, numbered as Burn numbers them: each kind
/// by itself.
async fn adapters() -> Vec<Adapter> {
    for api in [
        Backends::VULKAN,
        Backends::METAL,
        Backends::DX12,
        Backends::GL,
    ] {
        let descriptor = InstanceDescriptor {
            backends: api,
            ..InstanceDescriptor::new_without_display_handle()
        };
        let found = Instance::new(descriptor).enumerate_adapters(api).await;
        let (mut discrete, mut integrated, mut virtual_) = (0, 0, 0);
        let adapters: Vec<Adapter> = found
            .iter()
            .filter_map(|adapter| {
                let info = adapter.get_info();
                let next = |counter: &mut usize| {
                    *counter += 1;
                    *counter - 1
                };
                let kind = match info.device_type {
                    DeviceType::DiscreteGpu => DeviceKind::DiscreteGpu(next(&mut discrete)),
                    DeviceType::IntegratedGpu => DeviceKind::IntegratedGpu(next(&mut integrated)),
                    DeviceType::VirtualGpu => DeviceKind::VirtualGpu(next(&mut virtual_)),
                    DeviceType::Cpu => DeviceKind::Cpu,
                    // OpenGL does not say; Burn cannot address it by kind.
                    DeviceType::Other => return None,
                };
                Some(Adapter {
                    name: info.name,
                    kind,
                })
            })
            .collect();
        if !adapters.is_empty() {
            return adapters;
        }
    }
    Vec::new()
}

fn list(adapters: &[Adapter]) -> String {
    if adapters.is_empty() {
        return "the graphics driver offers no adapter".to_owned();
    }
    let mut text = String::from("there is only");
    for (index, adapter) in adapters.iter().enumerate() {
        let software = if adapter.is_software() {
            ", a software adapter"
        } else {
            ""
        };
        let comma = if index > 0 { ";" } else { "" };
        // Writing to a String cannot fail.
        _ = write!(text, "{comma} {}{software}", adapter.name);
    }
    text
}

/// Seconds on a clock that only goes forward.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts counting.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since the start.
    #[must_use]
    pub fn secs(self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// Gives whoever drives the future a chance to wait before it goes on, or to drop it.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Runs a future of the engine to its end on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    pollster::block_on(future)
}
