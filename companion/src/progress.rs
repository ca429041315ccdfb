//! What a run tells while it works: bars for a terminal, lines for a log, JSON for machines.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use mimeo_engine::{Compute, Emit, Event, Phase};
use mimeo_protocol::{LeakPoint, Recipe, ResponseCurve};
use serde::Serialize;

use crate::{console, exit, tuned};

/// Lines of a log come at most this often.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Receives everything a command has to tell.
pub struct Report {
    style: Style,
    work: Option<Work>,
}

enum Style {
    /// One JSON object a line on stdout, nothing else there.
    Json,
    /// A progress bar on stderr.
    Bar(ProgressBar),
    /// Plain lines on stderr.
    Lines { last: Instant },
}

/// The phase that is running.
struct Work {
    name: &'static str,
    total: Option<u32>,
    since: Instant,
    /// Time spent in optimiser steps alone.
    step_secs: f64,
}

impl Report {
    /// Chooses the style: JSON if asked for, bars on a terminal, lines otherwise.
    pub fn new(json: bool) -> Self {
        let style = if json {
            Style::Json
        } else if std::io::stderr().is_terminal() {
            Style::Bar(ProgressBar::hidden())
        } else {
            Style::Lines {
                last: Instant::now(),
            }
        };
        Self { style, work: None }
    }

    /// Whether machines listen.
    pub fn is_json(&self) -> bool {
        matches!(self.style, Style::Json)
    }

    /// Which device computes, and why.
    pub fn device(&mut self, compute: &Compute) {
        self.remote_device(&compute.name, &tuned::reason(compute));
    }

    /// As [`Self::device`], of a companion.
    pub fn remote_device(&mut self, name: &str, reason: &str) {
        match self.style {
            Style::Json => console::json(&Tagged {
                event: "device",
                body: DeviceBody { name, reason },
            }),
            _ => self.line(&format!("Device: {name}; {reason}")),
        }
    }

    /// What a job is going to take.
    ///
    /// - `scores`: whether it is to be measured
    pub fn plan(&mut self, recipe: &Recipe, scores: bool) {
        let training = recipe.training_calls();
        let scores = match recipe.calibrate || scores {
            true => recipe.score_calls(),
            false => Some(0),
        };
        if let Style::Json = self.style {
            return console::json(&Tagged {
                event: "plan",
                body: PlanBody {
                    training_calls: training,
                    score_calls: scores,
                },
            });
        }
        let scores = match scores {
            None => "whatever they ask for".to_owned(),
            Some(0) => "none".to_owned(),
            Some(calls) => {
                let share = 100 * calls / training.max(1);
                format!("up to {calls} ({share} %)")
            }
        };
        self.line(&format!(
            "UNet calls: training {training}, calibration and scores {scores}"
        ));
    }

    /// Something the user should know, in one sentence.
    pub fn note(&mut self, text: impl Into<String>) {
        self.emit(Event::Note { text: text.into() });
    }

    /// A part of the work that is no phase of the engine, with its own bar.
    pub fn begin(&mut self, name: &'static str, total: u32) {
        self.start(name, Some(total));
        if self.is_json() {
            console::json(&Tagged {
                event: "work",
                body: WorkBody { name, total },
            });
        }
    }

    /// Units done of what [`Self::begin`] announced.
    pub fn advance(&mut self, done: u32) {
        self.emit(Event::Progress { done });
    }

    /// A result waits, and for what; or why it still does.
    pub fn waiting(&mut self, sentence: &str) {
        self.finish();
        match self.style {
            Style::Json => console::json(&Tagged {
                event: "waiting",
                body: WaitingBody { message: sentence },
            }),
            _ => console::err(&format!("Note: {sentence}")),
        }
    }

    /// What the command was for: `body` for machines, `text` for people.
    pub fn result(&mut self, body: &impl Serialize, text: &str) {
        self.answer("result", body, text);
    }

    /// A part of the answer, told as soon as it is known.
    pub fn answer(&mut self, event: &'static str, body: &impl Serialize, text: &str) {
        self.finish();
        match self.style {
            Style::Json => console::json(&Tagged { event, body }),
            _ => console::out(text),
        }
    }

    /// Why the command failed, in one sentence.
    pub fn error(&mut self, error: &anyhow::Error) {
        self.error_sentence(&format!("{error:#}"));
    }

    /// As [`Self::error`], for a run that failed and still has a result.
    pub fn error_sentence(&mut self, sentence: &str) {
        self.finish();
        exit::error(&console::one_line(sentence), self.is_json());
    }

    /// Ends the bar that is running, if any.
    pub fn finish(&mut self) {
        self.work = None;
        if let Style::Bar(bar) = &self.style
            && !bar.is_finished()
        {
            bar.abandon();
        }
    }

    fn start(&mut self, name: &'static str, total: Option<u32>) {
        self.finish();
        match &mut self.style {
            Style::Json => {}
            Style::Bar(bar) => *bar = new_bar(name, total),
            Style::Lines { .. } => console::err(name),
        }
        self.work = Some(Work {
            name,
            total,
            since: Instant::now(),
            step_secs: 0.0,
        });
    }

    fn advanced(&mut self, done: u32, detail: &str) {
        let Some(work) = &self.work else { return };
        let left = time_left(work.since.elapsed(), done, work.total);
        let details: Vec<&str> = [detail, &left]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect();
        let detail = details.join(", ");
        match &mut self.style {
            Style::Json => {}
            Style::Bar(bar) => {
                bar.set_position(done.into());
                bar.set_message(detail);
            }
            Style::Lines { last } => {
                let is_last = work.total == Some(done);
                if last.elapsed() < LINE_EVERY && !is_last {
                    return;
                }
                *last = Instant::now();
                let total = work
                    .total
                    .map(|total| format!(" of {total}"))
                    .unwrap_or_default();
                let colon = if detail.is_empty() { "" } else { ": " };
                console::err(&format!("{} {done}{total}{colon}{detail}", work.name));
            }
        }
    }

    fn line(&mut self, text: &str) {
        match &self.style {
            Style::Bar(bar) if !bar.is_hidden() && !bar.is_finished() => bar.println(text),
            _ => console::err(text),
        }
    }
}

impl Emit for Report {
    fn emit(&mut self, event: Event) {
        if self.is_json() {
            console::json(&event);
            return;
        }
        match event {
            Event::Phase { phase, total } => self.start(phase_name(phase), total),
            Event::Progress { done } => self.advanced(done, ""),
            Event::Step {
                step, loss, secs, ..
            } => {
                let Some(work) = &mut self.work else { return };
                work.step_secs += secs;
                let pace = work.step_secs / f64::from(step.max(1));
                self.advanced(step, &format!("loss {loss:.4}, {pace:.2} s/step"));
            }
            Event::CopyFidelity { step, fidelity } => {
                self.line(&format!("Copy fidelity {fidelity:.2} after {step} steps"));
            }
            Event::Response { curve } => self.line(&response_line(&curve)),
            Event::Leak { point } => self.line(&leak_line(&point)),
            Event::Resumed { step, .. } => self.line(&format!("Going on after step {step}")),
            Event::Note { text } => self.line(&format!("Note: {text}")),
        }
    }
}

/// `Timesteps 440-1000: the base restores the change by itself below (40: 98 %, 125: 95 %, …)`
fn response_line(curve: &ResponseCurve) -> String {
    let points = curve.timesteps.iter().zip(&curve.response);
    let points =
        points.map(|(timestep, response)| format!("{timestep}: {:.0} %", response * 100.0));
    let (window, points) = (curve.window, points.collect::<Vec<_>>().join(", "));
    format!(
        "Timesteps {}-{}: what the base restores of the change by itself is too much below ({points})",
        window.min(),
        window.max()
    )
}

/// `After 30 steps: 42 % of the change in other pictures, 6 % of it elsewhere`
fn leak_line(point: &LeakPoint) -> String {
    let percent = |share: f32| format!("{:.0} %", share * 100.0);
    format!(
        "After {} steps: {} of the change in other pictures, {} of it elsewhere",
        point.step,
        percent(point.intended),
        percent(point.unintended)
    )
}

/// A JSON line: its kind beside what it says.
#[derive(Serialize)]
struct Tagged<'a, T> {
    event: &'a str,
    #[serde(flatten)]
    body: T,
}

#[derive(Serialize)]
struct DeviceBody<'a> {
    name: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct WorkBody<'a> {
    name: &'a str,
    total: u32,
}

#[derive(Serialize)]
struct WaitingBody<'a> {
    message: &'a str,
}

#[derive(Serialize)]
struct PlanBody {
    training_calls: u64,
    /// Null without a limit.
    score_calls: Option<u64>,
}

const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Loading => "Loading the base",
        Phase::Compiling => "Compiling for the GPU",
        Phase::Encoding => "Encoding the pictures",
        Phase::Copier => "Training the copier",
        Phase::Training => "Training the LoRA",
        Phase::Calibrating => "Calibrating its strength",
        Phase::Scoring => "Measuring what it does",
        Phase::Saving => "Saving",
    }
}

fn new_bar(name: &'static str, total: Option<u32>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total.into()),
            "{prefix:24} {wide_bar} {pos}/{len} {msg}",
        ),
        None => (ProgressBar::new_spinner(), "{prefix:24} {msg}"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar.set_prefix(name);
    bar.tick();
    bar
}

/// `12 s left`; empty while nothing can be said.
fn time_left(elapsed: Duration, done: u32, total: Option<u32>) -> String {
    match total {
        Some(total) if done > 0 && total > done => {
            let secs = elapsed.as_secs_f64() / f64::from(done) * f64::from(total - done);
            format!("{} left", duration(secs))
        }
        _ => String::new(),
    }
}

/// `48 s`, `2 min 05 s`, `1 h 20 min`.
pub fn duration(secs: f64) -> String {
    let secs = secs.max(0.0).round() as u64;
    match secs {
        0..60 => format!("{secs} s"),
        60..3600 => format!("{} min {:02} s", secs / 60, secs % 60),
        _ => format!("{} h {:02} min", secs / 3600, secs % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_as_people_tell_them() {
        let told = [0.4, 59.4, 125.0, 4800.0].map(duration);
        assert_eq!(
            told,
            ["0 s", "59 s", "2 min 05 s", "1 h 20 min"],
            "coarser when longer"
        );
    }

    #[test]
    fn time_left_follows_the_pace_so_far() {
        let elapsed = Duration::from_secs(10);
        assert_eq!(
            time_left(elapsed, 20, Some(60)),
            "20 s left",
            "0.5 s a step"
        );
        assert_eq!(time_left(elapsed, 0, Some(60)), "", "no pace yet");
        assert_eq!(time_left(elapsed, 60, Some(60)), "", "done");
        assert_eq!(time_left(elapsed, 5, None), "", "no end known");
    }
}
