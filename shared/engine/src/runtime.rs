//! The platform: which device computes, the clock, and how a future is driven.
//!
//! The one place of this crate where native and wasm differ, in `native.rs` and `web.rs`, and where
//! it shows that a program was built without GPU support, in `cpu_only.rs`.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the clock and the threads of the platform"
)]

#[cfg_attr(not(feature = "gpu"), path = "runtime/cpu_only.rs")]
#[cfg_attr(all(feature = "gpu", target_family = "wasm"), path = "runtime/web.rs")]
#[cfg_attr(
    all(feature = "gpu", not(target_family = "wasm")),
    path = "runtime/native.rs"
)]
mod platform;

use std::fmt::Write as _;
use std::str::FromStr;

use burn::tensor::Device;
use mimeo_diffusion::Arithmetic;
use web_time::Instant;

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

impl DeviceChoice {
    /// Which of the adapters it leads to; none: the CPU, or nothing.
    fn find(&self, adapters: &[Adapter]) -> Option<usize> {
        adapters.iter().position(|adapter| match self {
            Self::Cpu => false,
            Self::Named(name) => {
                let wanted = name.to_lowercase();
                adapter.name.to_lowercase().contains(&wanted)
            }
            Self::Auto | Self::Gpu => !adapter.is_software,
        })
    }
}

/// In which number format to compute, as the user says it: `auto`, `f32`, `f16` or `bf16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ArithmeticChoice {
    /// f16 for a base whose weights are f16, on a GPU whose programs know it; else f32.
    #[default]
    Auto,
    /// As the user says.
    Given(Arithmetic),
}

impl FromStr for ArithmeticChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        Ok(match text {
            "auto" => Self::Auto,
            "f32" => Self::Given(Arithmetic::F32),
            "f16" => Self::Given(Arithmetic::F16),
            "bf16" => Self::Given(Arithmetic::BF16),
            _ => {
                return Err(DeviceError::UnknownArithmetic {
                    found: text.to_owned(),
                });
            }
        })
    }
}

impl ArithmeticChoice {
    /// What a UNet computes in.
    ///
    /// - `are_half`: whether its weights are f16 in the file
    #[must_use]
    pub fn of(self, device: &Device, are_half: bool) -> Arithmetic {
        match self {
            Self::Given(arithmetic) => arithmetic,
            Self::Auto if are_half && Arithmetic::F16.is_on(device) => Arithmetic::F16,
            Self::Auto => Arithmetic::F32,
        }
    }

    /// What is said of it beside a device.
    fn words(self, device: &Device) -> Option<&'static str> {
        match self {
            Self::Auto if Arithmetic::F16.is_on(device) => {
                Some("f16 for bases whose weights are f16")
            }
            Self::Auto | Self::Given(Arithmetic::F32) => None,
            Self::Given(Arithmetic::F16) => Some("computing in f16"),
            Self::Given(Arithmetic::BF16) => Some("computing in bf16"),
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
    /// Not a way to name a number format.
    #[error("{found:?} is no number format to compute in. Use auto, f32, f16 or bf16.")]
    UnknownArithmetic {
        /// What was given.
        found: String,
    },
    /// The device does not compute in it.
    #[error("{name} does not compute in {arithmetic}. Leave --compute out, or use f32.")]
    Arithmetic {
        /// The device.
        name: String,
        /// What was asked for.
        arithmetic: Arithmetic,
    },
    /// The machine has no such adapter.
    #[error("no {wanted} was found ({found}). {remedy}")]
    Missing {
        /// What was wanted.
        wanted: String,
        /// What there is.
        found: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The adapter is there and cannot be used.
    #[error("{name} cannot be used ({reason}). {remedy}")]
    Broken {
        /// The adapter.
        name: String,
        /// What its driver says.
        reason: String,
        /// What to do.
        remedy: &'static str,
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
    /// In which number format UNets compute on it.
    pub arithmetic: ArithmeticChoice,
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
    /// Its driver with the version, where the system tells.
    pub driver: String,
    /// Whether it is a rasteriser on the CPU, chosen only by name.
    pub is_software: bool,
}

impl Compute {
    /// The graphics adapters of this machine.
    pub async fn offers() -> Vec<Offer> {
        let adapters = platform::adapters().await;
        adapters.into_iter().map(Offer::from).collect()
    }

    /// The graphics adapter that a choice leads to; none where that is the CPU, or nothing.
    pub async fn offer(choice: &DeviceChoice) -> Option<Offer> {
        let mut adapters = platform::adapters().await;
        let place = choice.find(&adapters)?;
        Some(adapters.swap_remove(place).into())
    }

    /// Picks the device for a choice, and what it computes in.
    ///
    /// # Errors
    /// [`DeviceError::Missing`] when a GPU was asked for that is not there, [`DeviceError::Arithmetic`] when the
    /// device does not compute in what was asked for.
    pub async fn choose(
        choice: &DeviceChoice,
        arithmetic: ArithmeticChoice,
    ) -> Result<Self, DeviceError> {
        let mut compute = Self::choose_device(choice).await?;
        compute.arithmetic = arithmetic;
        match arithmetic {
            ArithmeticChoice::Given(arithmetic) if !arithmetic.is_on(&compute.device) => {
                return Err(DeviceError::Arithmetic {
                    name: compute.name,
                    arithmetic,
                });
            }
            _ => {}
        }
        if let Some(words) = arithmetic.words(&compute.device) {
            compute.reason = format!("{}; {words}", compute.reason);
        }
        Ok(compute)
    }

    async fn choose_device(choice: &DeviceChoice) -> Result<Self, DeviceError> {
        if *choice == DeviceChoice::Cpu {
            return Ok(Self::cpu("as asked".to_owned()));
        }
        let adapters = platform::adapters().await;
        let found = choice.find(&adapters).map(|place| &adapters[place]);
        match (found, choice) {
            (Some(adapter), DeviceChoice::Auto) => adapter.compute("the first GPU").await,
            (Some(adapter), _) => adapter.compute("as asked").await,
            (None, DeviceChoice::Auto) => {
                Ok(Self::cpu(format!("no GPU was found ({})", list(&adapters))))
            }
            (None, _) => Err(DeviceError::Missing {
                wanted: match choice {
                    DeviceChoice::Named(name) => format!("adapter named {name:?}"),
                    _ => "GPU".to_owned(),
                },
                found: list(&adapters),
                remedy: platform::WITHOUT_ADAPTER,
            }),
        }
    }

    /// Where its memory is.
    #[must_use]
    pub const fn memory(&self) -> MemoryKind {
        self.memory
    }

    /// Gives memory back that no tensor uses any more; Burn keeps it otherwise, for the next one of
    /// its size.
    pub fn free_unused(&self) {
        self.device.memory_cleanup();
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
            arithmetic: ArithmeticChoice::Auto,
            memory: MemoryKind::System,
        }
    }
}

impl From<Adapter> for Offer {
    fn from(adapter: Adapter) -> Self {
        Self {
            name: adapter.name,
            driver: adapter.driver,
            is_software: adapter.is_software,
        }
    }
}

/// A graphics adapter.
struct Adapter {
    name: String,
    /// With its version, where the system tells.
    driver: String,
    /// A rasteriser on the CPU, such as llvmpipe: correct, but slower than Burn's own CPU backend.
    is_software: bool,
    memory: MemoryKind,
    /// How the platform addresses it.
    address: platform::Address,
}

impl Adapter {
    async fn compute(&self, reason: &str) -> Result<Compute, DeviceError> {
        Ok(Compute {
            device: platform::device(self).await?,
            name: self.name.clone(),
            reason: reason.to_owned(),
            arithmetic: ArithmeticChoice::Auto,
            memory: self.memory,
        })
    }
}

fn list(adapters: &[Adapter]) -> String {
    if adapters.is_empty() {
        return platform::NO_ADAPTER.to_owned();
    }
    let mut text = String::from("there is only");
    for (index, adapter) in adapters.iter().enumerate() {
        let software = if adapter.is_software {
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

/// Runs a future of the engine to its end on this thread.
#[cfg(not(target_family = "wasm"))]
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    pollster::block_on(future)
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
