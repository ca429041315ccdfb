//! Where it trains, in the companion or in this browser, and why there.
//!
//! [`choose`] takes what is known and what the user wants. It is asked once for each time the page
//! is opened, and again when the user wants something else: a choice does not change under a run.

mod arrival;
#[cfg(test)]
mod tests;

use crate::words;

pub use arrival::{Arrival, Bar};

/// Where it trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// In the program on the user's computer.
    Companion,
    /// In this browser, on the GPU.
    BrowserGpu,
    /// In this browser, on the CPU.
    BrowserCpu,
}

impl Backend {
    /// Whether it trains in this browser, and ends with this tab.
    #[must_use]
    pub const fn is_browser(self) -> bool {
        matches!(self, Self::BrowserGpu | Self::BrowserCpu)
    }
}

/// Where the user wants it to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wish {
    /// Wherever it goes best.
    #[default]
    Automatic,
    /// In the companion.
    Companion,
    /// In this browser, on the GPU.
    BrowserGpu,
    /// In this browser, on the CPU.
    BrowserCpu,
}

impl Wish {
    /// In the order of the page.
    pub const ALL: [Self; 4] = [
        Self::Automatic,
        Self::Companion,
        Self::BrowserGpu,
        Self::BrowserCpu,
    ];

    /// What its button says.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Automatic => "Automatic",
            Self::Companion => "Companion",
            Self::BrowserGpu => "Browser (WebGPU)",
            Self::BrowserCpu => "Browser (CPU)",
        }
    }

    /// What it is kept as.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Companion => "companion",
            Self::BrowserGpu => "webgpu",
            Self::BrowserCpu => "cpu",
        }
    }

    /// What was kept; none for anything else.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|wish| wish.name() == name)
    }
}

/// What is known of the companion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Companion {
    /// It has not answered yet.
    #[default]
    Unknown,
    /// The page does not come from one, and so there is none that it could reach.
    Unreachable,
    /// It does not answer.
    Away,
    /// It answers.
    There {
        /// Whether it computes on a GPU.
        is_gpu: bool,
        /// Whether it has runs under way or waiting.
        is_busy: bool,
    },
}

/// What is known of the browser's WebGPU.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum WebGpu {
    /// It was not asked yet.
    #[default]
    Unknown,
    /// Browsers offer it over HTTPS and on localhost only.
    Insecure,
    /// The browser does not know it.
    Missing,
    /// The browser knows it, and has nothing to compute with.
    NoAdapter,
    /// Software that stands in for a GPU.
    Software(Adapter),
    /// A GPU.
    Real(Adapter),
}

/// Whether the page brings along what trains in the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TrainerBuild {
    /// It does.
    #[default]
    Included,
    /// It was built without, which takes less time.
    LeftOut,
}

impl TrainerBuild {
    /// Why the browser cannot train and what to do, as the end of a sentence; none where it can.
    #[must_use]
    pub const fn trouble(self) -> Option<&'static str> {
        match self {
            Self::Included => None,
            Self::LeftOut => Some(
                "this page was built without the browser's trainer, which `cargo xtask run --browser` adds",
            ),
        }
    }
}

/// What the browser says of its GPU.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Adapter {
    /// Its name, as far as the browser tells.
    pub name: String,
    /// The largest buffer.
    pub max_buffer_bytes: u64,
    /// The largest part of a buffer that a program on the GPU can use.
    pub max_binding_bytes: u64,
    /// Whether it computes with numbers of 16 bits.
    pub has_f16: bool,
}

/// What a browser answers when it is asked for a GPU, word for word.
#[derive(Debug, Clone, Default)]
pub struct AdapterInfo {
    /// Such as "nvidia".
    pub vendor: String,
    /// Such as "ampere".
    pub architecture: String,
    /// Such as "NVIDIA GeForce RTX 3060"; most browsers keep it to themselves.
    pub description: String,
    /// Whether the browser says that it is software.
    pub is_fallback: bool,
}

/// Software that computes in place of a GPU, by parts of its names.
const SOFTWARE: [&str; 4] = ["swiftshader", "llvmpipe", "lavapipe", "basic render"];

impl AdapterInfo {
    /// Its name for people.
    #[must_use]
    pub fn name(&self) -> String {
        let description = self.description.trim();
        if !description.is_empty() {
            return description.to_owned();
        }
        let known = [&self.vendor, &self.architecture];
        let known = known.map(|part| part.trim());
        let known: Vec<&str> = known.into_iter().filter(|part| !part.is_empty()).collect();
        match known.is_empty() {
            true => "a GPU that the browser does not name".to_owned(),
            false => known.join(" "),
        }
    }

    /// Whether software computes in place of a GPU: browsers have not always said so.
    #[must_use]
    pub fn is_software(&self) -> bool {
        let names = format!("{} {}", self.architecture, self.description).to_lowercase();
        self.is_fallback || SOFTWARE.iter().any(|software| names.contains(software))
    }
}

impl WebGpu {
    /// Of an adapter that the browser offered.
    #[must_use]
    pub fn offered(info: &AdapterInfo, adapter: Adapter) -> Self {
        match info.is_software() {
            true => Self::Software(adapter),
            false => Self::Real(adapter),
        }
    }

    /// Why it is of no use and what to do, as the end of a sentence; none for a GPU.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        Some(match self {
            Self::Real(_) | Self::Unknown => return None,
            Self::Insecure => {
                "browsers offer WebGPU to pages over HTTPS and from localhost only, so open this one that way".to_owned()
            }
            Self::Missing => {
                "this browser has no WebGPU, which current versions of Chrome, Edge, Firefox and Safari have".to_owned()
            }
            Self::NoAdapter => {
                "the browser offers no GPU, so switch on hardware acceleration in its settings, or use the companion".to_owned()
            }
            Self::Software(adapter) => format!(
                "what stands in for a GPU here is software ({}), slower than the CPU itself, so switch on hardware acceleration in the browser's settings, or use the companion",
                adapter.name
            ),
        })
    }

    /// The adapter, real or not.
    #[must_use]
    pub const fn adapter(&self) -> Option<&Adapter> {
        match self {
            Self::Software(adapter) | Self::Real(adapter) => Some(adapter),
            Self::Unknown | Self::Insecure | Self::Missing | Self::NoAdapter => None,
        }
    }

    /// All of it in words; none while it is not known.
    #[must_use]
    pub fn describe(&self) -> Option<String> {
        let Some(adapter) = self.adapter() else {
            let trouble = self.trouble()?;
            return Some(format!("No WebGPU: {trouble}."));
        };
        let Adapter {
            name,
            max_buffer_bytes,
            max_binding_bytes,
            has_f16,
        } = adapter;
        let kind = match self {
            Self::Software(_) => "WebGPU by software",
            _ => "WebGPU",
        };
        let (buffer, binding) = (
            words::bytes(*max_buffer_bytes),
            words::bytes(*max_binding_bytes),
        );
        let f16 = if *has_f16 { "yes" } else { "no" };
        Some(format!(
            "{kind}: {name}; buffers up to {buffer}, {binding} of them at a time; 16-bit numbers: {f16}"
        ))
    }
}

/// Everything that a choice depends on, beside the wish.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackendFacts {
    /// The companion.
    pub companion: Companion,
    /// The browser's GPU.
    pub gpu: WebGpu,
    /// What computes on it, or on the browser's CPU.
    pub trainer: TrainerBuild,
}

impl BackendFacts {
    /// What the browser trains with and why not, as one sentence; none while it is not known.
    #[must_use]
    pub fn describe_browser(&self) -> Option<String> {
        match self.trainer.trouble() {
            Some(why) => Some(format!("No training in the browser: {why}.")),
            None => self.gpu.describe(),
        }
    }

    /// Why the browser is not what it could be, as the end of a sentence.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let trainer = self.trainer.trouble().map(str::to_owned);
        trainer.or_else(|| self.gpu.trouble())
    }

    /// Why nothing can train, in one sentence; none where something may.
    #[must_use]
    pub fn nowhere(&self) -> Option<String> {
        let why = self.trainer.trouble()?;
        (self.companion == Companion::Unreachable)
            .then(|| format!("Nothing trains here: no companion shows this page, and {why}."))
    }
}

/// Where it trains, and why there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Where.
    pub place: Backend,
    /// Why, in one sentence.
    pub reason: String,
}

impl Choice {
    fn new(place: Backend, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { place, reason }
    }
}

/// Where it trains: companion with a GPU, browser with a GPU, companion, browser; or where the user
/// wants it, if that can be had. None: the browser has to be asked for its GPU first.
#[must_use]
pub fn choose(facts: &BackendFacts, wish: Wish) -> Option<Choice> {
    if let Some(why) = facts.trainer.trouble()
        && wish != Wish::Companion
    {
        return Some(Choice::new(
            Backend::Companion,
            companion_only(facts, wish, why),
        ));
    }
    match wish {
        Wish::Companion => Some(Choice::new(
            Backend::Companion,
            match facts.companion {
                Companion::Unreachable => {
                    "You chose the companion, which shows this page itself: start it with `mimeo serve` and open the link that it prints."
                }
                _ => "You chose the companion.",
            },
        )),
        Wish::BrowserCpu => {
            let reason = "You chose this browser's CPU.";
            Some(Choice::new(Backend::BrowserCpu, reason))
        }
        Wish::BrowserGpu => wanted_gpu(&facts.gpu),
        Wish::Automatic => automatic(facts),
    }
}

/// - `why`: the browser does not train
fn companion_only(facts: &BackendFacts, wish: Wish, why: &str) -> String {
    if wish != Wish::Automatic {
        return format!("You chose this browser, but {why}; until then it is the companion.");
    }
    match facts.companion {
        Companion::Unknown => "Looking for the companion.".to_owned(),
        Companion::There { is_gpu: true, .. } => {
            "The companion is there and computes on a GPU.".to_owned()
        }
        Companion::There { .. } => format!("The companion is there, and {why}."),
        Companion::Away | Companion::Unreachable => {
            format!("No companion is there, and {why}.")
        }
    }
}

fn wanted_gpu(gpu: &WebGpu) -> Option<Choice> {
    Some(match (gpu, gpu.trouble()) {
        (WebGpu::Unknown, _) => return None,
        (_, None) => Choice::new(Backend::BrowserGpu, "You chose this browser's GPU."),
        (WebGpu::Software(_), Some(why)) => {
            Choice::new(Backend::BrowserGpu, format!("You chose WebGPU, but {why}."))
        }
        (_, Some(why)) => Choice::new(
            Backend::BrowserCpu,
            format!("You chose WebGPU, but {why}; until then it is the CPU."),
        ),
    })
}

fn automatic(facts: &BackendFacts) -> Option<Choice> {
    let (is_there, is_busy) = match facts.companion {
        Companion::Unknown => {
            return Some(Choice::new(
                Backend::Companion,
                "Looking for the companion.",
            ));
        }
        Companion::There { is_gpu: true, .. } => {
            let reason = "The companion is there and computes on a GPU.";
            return Some(Choice::new(Backend::Companion, reason));
        }
        Companion::There { is_busy, .. } => (true, is_busy),
        Companion::Away | Companion::Unreachable => (false, false),
    };
    Some(match (&facts.gpu, is_there) {
        (WebGpu::Unknown, _) => return None,
        (WebGpu::Real(_), true) if is_busy => Choice::new(
            Backend::Companion,
            "The companion has runs under way; this browser's GPU may be faster than its CPU.",
        ),
        (WebGpu::Real(_), true) => Choice::new(
            Backend::BrowserGpu,
            "This browser has a GPU to compute on, the companion only a CPU; what was trained there is under Companion.",
        ),
        (WebGpu::Real(_), false) => Choice::new(
            Backend::BrowserGpu,
            "No companion is needed: this browser has a GPU to compute on.",
        ),
        (gpu, true) => {
            let why = gpu.trouble().unwrap_or_default();
            let reason = format!("The companion's CPU is faster than this browser's, and {why}.");
            Choice::new(Backend::Companion, reason)
        }
        (gpu, false) => {
            let why = gpu.trouble().unwrap_or_default();
            let reason = format!("It trains on the CPU: there is no companion, and {why}.");
            Choice::new(Backend::BrowserCpu, reason)
        }
    })
}

/// Where a page comes from, as far as it can see.
#[derive(Debug, Clone, Copy, Default)]
pub struct Origin<'a> {
    /// Behind the # of its address.
    pub fragment: &'a str,
    /// The host in its address.
    pub host: &'a str,
    /// Whether it may share memory between threads: the companion says so with every answer, and
    /// hardly anybody else.
    pub is_isolated: bool,
    /// Whether the browser counts it as safe from eavesdroppers.
    pub is_secure: bool,
}

impl Origin<'_> {
    /// Whether a companion may have served the page. Only then one is asked for: a static host
    /// would answer "404", which browsers print as an error.
    #[must_use]
    pub fn may_be_companion(&self) -> bool {
        let is_local = ["127.0.0.1", "localhost", "[::1]"].contains(&self.host);
        // Browsers that do not count localhost as safe isolate nothing there.
        self.token().is_some() || self.is_isolated || (is_local && !self.is_secure)
    }

    /// The companion's token, if the link that it opened had one.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        let token = self.fragment.strip_prefix("#token=")?;
        is_token(token).then_some(token)
    }
}

/// Whether this may be a companion's token: a static host answers whatever it is asked for with a
/// page, and some do so with a smile.
#[must_use]
pub fn is_token(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte))
}
