//! What a person sees who waits for a build: which part of how many, what is compiled at the moment,
//! the time so far, the time left, and what comes next.

mod cargo;
mod history;
mod screen;

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::workspace::{Executables, Workspace};
use cargo::{Said, listen};
use history::{History, Remaining};
use screen::Screen;

/// How often the line with the times is drawn anew.
const REFRESH: Duration = Duration::from_millis(500);

/// A part of the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The native program for the CPU, and what makes the page.
    Program,
    /// The same with GPU support.
    GpuProgram,
    /// The same once more, with the compilers of the graphics API.
    TunedProgram,
    /// The page's WebAssembly.
    Page,
    /// The browser's trainer.
    Trainer,
}

impl Part {
    /// One that takes about as long, where this one was never measured.
    const fn likely(self) -> Option<Self> {
        match self {
            Self::TunedProgram => Some(Self::GpuProgram),
            Self::Program | Self::GpuProgram | Self::Page | Self::Trainer => None,
        }
    }

    /// As it stands in the middle of a sentence.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Program => "the program",
            Self::GpuProgram => "the program with GPU support",
            Self::TunedProgram => "its tuned engine",
            Self::Page => "the page",
            Self::Trainer => "the browser's trainer",
        }
    }
}

/// A build in several parts.
pub struct Progress {
    parts: Vec<Part>,
    /// Which of them is next.
    next: usize,
    started: Instant,
    history: History,
    screen: Screen,
}

impl Progress {
    /// A wait for these parts, in this order.
    pub fn new(workspace: &Workspace, parts: &[Part]) -> Self {
        Self {
            parts: parts.to_vec(),
            next: 0,
            started: Instant::now(),
            history: History::read(workspace),
            screen: Screen::of_stderr(),
        }
    }

    /// Seconds that all parts will take, for those that were never built here.
    pub fn expected_secs(&self) -> f64 {
        let parts = self.parts.iter();
        parts.map(|&part| self.history.expected_secs(part)).sum()
    }

    /// Lets cargo build the next part.
    ///
    /// # Errors
    ///
    /// When it does not build; what cargo said about it was shown then.
    pub fn build(&mut self, command: &mut Command) -> Result<Executables> {
        let part = self.parts[self.next];
        self.next += 1;
        self.screen.begin(&format!(
            "Building {} ({} of {}) …",
            part.title(),
            self.next,
            self.parts.len()
        ));
        let started = Instant::now();
        let mut remaining = self.history.remaining(part);
        let (mut child, said) = listen(command)?;
        let mut executables = Executables::new();
        let mut at = String::new();
        let mut is_offline = false;
        loop {
            match said.recv_timeout(REFRESH) {
                Ok(Said::Counted { total }) => remaining.units = total,
                Ok(Said::At { what }) => {
                    remaining.at(&what, started.elapsed());
                    at = what;
                }
                Ok(Said::Line { text }) => {
                    is_offline |= cargo::is_about_the_network(&text);
                    self.screen.line(&text);
                }
                Ok(Said::Artifact(artifact)) => {
                    let package = cargo::package_name(&artifact);
                    let is_fresh = artifact.fresh;
                    if !artifact.target.is_custom_build() {
                        remaining.finish(&package, is_fresh, started.elapsed());
                    }
                    if let Some(executable) = artifact.executable {
                        executables.insert(artifact.target.name, executable.into());
                    }
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
            }
            if self.screen.is_due() {
                let line = self.line(part, &remaining, started, &at);
                self.screen.draw(&line);
            }
        }
        self.screen.clear();
        let status = child.wait().context("cargo was lost while it built")?;
        if !status.success() && is_offline {
            bail!(
                "{} needs crates from crates.io, which cannot be reached; check the network, and the \
                 proxy if you have one, then run this again: it goes on where it was",
                part.title()
            );
        }
        if !status.success() {
            bail!("{} does not build; cargo says above why", part.title());
        }
        let compiled = remaining.compiled();
        if compiled > 0 {
            let secs = started.elapsed().as_secs_f64();
            self.screen.line(&format!(
                "Built {}: {compiled} crates in {}",
                part.title(),
                clock(secs)
            ));
        }
        self.history.keep(part, &remaining);
        Ok(executables)
    }

    /// The line that is drawn again and again.
    fn line(&self, part: Part, remaining: &Remaining, started: Instant, at: &str) -> String {
        let so_far = self.started.elapsed().as_secs_f64();
        let later = &self.parts[self.next..];
        let later_secs: f64 = later
            .iter()
            .map(|&part| self.history.expected_secs(part))
            .sum();
        let left = remaining
            .secs(started.elapsed())
            .map(|secs| secs + later_secs);
        let left = left.map_or_else(String::new, |secs| format!(", about {} left", clock(secs)));
        let next = later
            .first()
            .map_or_else(String::new, |part| format!(" · then {}", part.title()));
        let at = if at.is_empty() { "…" } else { at };
        format!(
            "[{}/{}] {} · {} of {} · {so_far} so far{left}{next} · {at}",
            self.next,
            self.parts.len(),
            part.title(),
            remaining.done,
            remaining.units.max(remaining.done),
            so_far = clock(so_far),
        )
    }
}

/// Seconds as one reads them off a clock: "0:42", "12:05", "1:02:03".
pub fn clock(secs: f64) -> String {
    let secs = secs.max(0.0).round() as u64;
    let (hours, minutes, secs) = (secs / 3600, secs / 60 % 60, secs % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{secs:02}")
    } else {
        format!("{minutes}:{secs:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_like_a_clock() {
        assert_eq!(clock(0.4), "0:00", "nothing");
        assert_eq!(clock(125.0), "2:05", "minutes");
        assert_eq!(clock(3723.0), "1:02:03", "hours");
        assert_eq!(clock(-3.0), "0:00", "never less than nothing");
    }
}
