//! One run seen from outside: its steps as it reports them, its memory as the system does.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::workspace::short;

/// What one or more runs took.
#[derive(Debug, Default, PartialEq)]
pub struct Measurement {
    /// Seconds of every step after the warm-up, sorted.
    pub step_secs: Vec<f64>,
    /// From the start of the program to the start of its first step; of the slowest run.
    pub start_secs: f64,
    /// Largest resident memory; none where the system does not tell.
    pub peak_bytes: Option<u64>,
}

impl Measurement {
    /// The middle step. 0 without any.
    pub fn median_secs(&self) -> f64 {
        let secs = &self.step_secs;
        match secs.len() {
            0 => 0.0,
            count if count % 2 == 1 => secs[count / 2],
            count => (secs[count / 2 - 1] + secs[count / 2]) / 2.0,
        }
    }

    /// The fastest step. 0 without any.
    pub fn min_secs(&self) -> f64 {
        self.step_secs.first().copied().unwrap_or_default()
    }

    /// Takes another run into account.
    pub fn add(&mut self, run: &Self) {
        self.step_secs.extend(&run.step_secs);
        self.step_secs.sort_by(f64::total_cmp);
        self.start_secs = self.start_secs.max(run.start_secs);
        self.peak_bytes = self.peak_bytes.max(run.peak_bytes);
    }
}

/// A line of the program. Other events than `step`, `work` and `progress` are passed over.
#[derive(Deserialize)]
struct Event {
    event: String,
    secs: Option<f64>,
}

/// Runs a program that prints `{"event":"step", …, "secs":0.1}` for each of `steps` steps, or as
/// `mimeo sample` does `{"event":"work", …}` and then `{"event":"progress", …}` after each. In the first
/// `warm_up` of them caches fill and pools grow: they are not counted.
///
/// # Errors
///
/// When it fails, prints something else, or reports another number of steps.
pub fn measure(command: &mut Command, steps: u32, warm_up: u32) -> Result<Measurement> {
    let name = short(command);
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // Progress bars and library chatter; what a failed program says about itself is below.
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{name}` does not start"))?;
    let complaints = child.stderr.take().map(|stderr| {
        // On its own thread: a full pipe would stop the program in the middle of a step.
        std::thread::spawn(move || std::io::read_to_string(stderr).unwrap_or_default())
    });
    let measured = follow(&mut child, started);
    if measured.is_err() {
        child.kill()?;
    }
    let status = child.wait()?;
    let (all, mut run) = measured?;
    if !status.success() {
        let complaints = complaints.and_then(|thread| thread.join().ok());
        bail!(
            "`{name}` failed ({status}):\n{}",
            complaints.unwrap_or_default()
        );
    }
    if all.len() != steps as usize {
        bail!("`{name}` reported {} of {steps} steps", all.len());
    }
    run.step_secs = all[warm_up as usize..].to_vec();
    run.step_secs.sort_by(f64::total_cmp);
    Ok(run)
}

/// Seconds of every step, and the rest of the measurement.
fn follow(child: &mut Child, started: Instant) -> Result<(Vec<f64>, Measurement)> {
    let stdout = child.stdout.take().context("its output is not connected")?;
    let (mut all, mut run) = (Vec::new(), Measurement::default());
    // When the last step of a drawing was over.
    let mut drawing: Option<Instant> = None;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        let event: Event = serde_json::from_str(&line)
            .with_context(|| format!("this line is no event in JSON: {line}"))?;
        let secs = match (&*event.event, drawing) {
            ("step", _) => event.secs.context("a step did not say its `secs`")?,
            ("progress", Some(last)) => last.elapsed().as_secs_f64(),
            ("work", _) => {
                drawing = Some(Instant::now());
                continue;
            }
            _ => continue,
        };
        drawing = drawing.map(|_| Instant::now());
        if all.is_empty() {
            run.start_secs = started.elapsed().as_secs_f64() - secs;
        }
        all.push(secs);
        // The system keeps the maximum itself, so asking once in a step misses nothing.
        run.peak_bytes = peak_bytes(child.id()).or(run.peak_bytes);
    }
    Ok((all, run))
}

/// The largest resident memory that a running process has had. Only Linux tells without `unsafe`.
fn peak_bytes(process: u32) -> Option<u64> {
    high_water_mark(&fs::read_to_string(format!("/proc/{process}/status")).ok()?)
}

fn high_water_mark(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_steps(step_secs: &[f64]) -> Measurement {
        let mut measurement = Measurement::default();
        measurement.add(&Measurement {
            step_secs: step_secs.to_vec(),
            ..Measurement::default()
        });
        measurement
    }

    #[test]
    fn the_median_is_the_middle_step_or_between_the_middle_two() {
        assert_eq!(of_steps(&[3.0, 1.0, 2.0]).median_secs(), 2.0, "odd");
        assert_eq!(of_steps(&[4.0, 1.0, 2.0, 3.0]).median_secs(), 2.5, "even");
        assert_eq!(of_steps(&[]).median_secs(), 0.0, "no steps");
    }

    #[test]
    fn several_runs_pool_their_steps_and_keep_the_largest_memory() {
        let mut total = Measurement {
            step_secs: vec![2.0],
            start_secs: 0.5,
            peak_bytes: Some(10),
        };
        total.add(&Measurement {
            step_secs: vec![1.0],
            start_secs: 0.7,
            peak_bytes: Some(8),
        });
        let expected = Measurement {
            step_secs: vec![1.0, 2.0],
            start_secs: 0.7,
            peak_bytes: Some(10),
        };
        assert_eq!(total, expected, "steps sorted, maxima of the rest");
    }

    #[test]
    fn linux_tells_the_peak_in_kib() {
        let status = "Name:\tmimeo\nVmPeak:\t  999 kB\nVmHWM:\t  123456 kB\nVmRSS:\t 5 kB\n";
        assert_eq!(high_water_mark(status), Some(123_456 * 1024), "VmHWM");
        assert_eq!(
            peak_bytes(std::process::id()).is_some(),
            cfg!(target_os = "linux"),
            "this very process"
        );
        assert_eq!(
            high_water_mark("Name:\tmimeo\n"),
            None,
            "a process at its end"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_program_is_measured_by_what_it_prints() {
        let run = measure(&mut shell(&steps(4)), 4, 3).unwrap();
        assert_eq!(run.step_secs, [0.5], "the first three are warm-up");
    }

    #[cfg(unix)]
    #[test]
    fn a_drawing_is_measured_by_its_progress() {
        let progress = r#"echo '{"event":"progress","done":1}';"#;
        let work = r#"echo '{"event":"work","name":"Drawing","total":2}';"#;
        let script = format!("{progress}{work} sleep 0.2; {progress} {progress}");
        let run = measure(&mut shell(&script), 2, 0).unwrap();
        let [second, first] = run.step_secs[..] else {
            panic!("what came before the drawing is none of it: {run:?}")
        };
        assert!(first >= 0.2 && second < first, "{run:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_program_that_stops_early_or_fails_is_no_measurement() {
        let error = measure(&mut shell(&steps(3)), 4, 3)
            .unwrap_err()
            .to_string();
        assert!(error.contains("3 of 4 steps"), "too few steps: {error}");

        let error = measure(&mut shell("echo no GPU >&2; exit 3"), 4, 3).unwrap_err();
        assert!(
            error.to_string().contains("no GPU"),
            "it says what the program said: {error}"
        );

        let error = measure(&mut shell("echo hello"), 4, 3).unwrap_err();
        assert!(error.to_string().contains("hello"), "no JSON: {error}");
    }

    #[cfg(unix)]
    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    /// A script that reports something else, then this many steps.
    #[cfg(unix)]
    fn steps(count: usize) -> String {
        let step = r#"echo '{"event":"step","step":1,"loss":1.0,"secs":0.5}';"#;
        format!(
            r#"echo '{{"event":"phase","name":"train"}}'; {}"#,
            step.repeat(count)
        )
    }
}
