//! Ctrl+C keeps what was trained.
#![cfg(unix)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::desk::{Desk, Ran, read_lora};

/// A run that would take hours, and its first lines.
struct Running {
    child: Child,
    lines: Box<dyn Iterator<Item = Value>>,
}

impl Running {
    fn start(desk: &Desk, more: &str) -> Self {
        Self::start_steps(desk, 99_999, more)
    }

    fn start_steps(desk: &Desk, steps: u32, more: &str) -> Self {
        let arguments = format!(
            "train --json --original a.png --target b.png --steps {steps} --device cpu \
             --out x.safetensors {more}"
        );
        let mut child = desk
            .mimeo(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let event = |line: std::io::Result<String>| {
            serde_json::from_str(&line.expect("UTF-8")).expect("every line is JSON")
        };
        let lines = Box::new(BufReader::new(stdout).lines().map(event));
        Self { child, lines }
    }

    fn wait_for(&mut self, what: impl Fn(&Value) -> bool) {
        assert!(
            self.lines.any(|event| what(&event)),
            "the run ended before it came that far"
        );
    }

    fn interrupt(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "the signal was sent"
        );
    }

    /// The last line, and how the program ended.
    fn end(mut self) -> (Option<Value>, Ran) {
        let last = self.lines.by_ref().last();
        let output = self.child.wait_with_output().expect("the program ends");
        (last, Ran::from(output))
    }
}

#[test]
fn an_interrupted_training_keeps_a_lora_that_loads() {
    let desk = Desk::new();
    let mut running = Running::start(&desk, "--method plain --batch-size 1");
    running.wait_for(|event| event["step"] == 2);
    running.interrupt();
    let (last, ran) = running.end();
    assert_eq!(ran.exit, Some(130), "{}", ran.stderr);
    let result = last.expect("a result");
    assert_eq!(result["outcome"], "stopped", "{result}");
    assert_eq!(result["out"], "x.safetensors", "where it is: {result}");
    let lora = read_lora(&desk.path("x.safetensors"));
    assert_eq!(
        lora.metadata["ss_steps"],
        result["stopped_after_step"].to_string(),
        "the file says how far it came"
    );
}

#[test]
fn an_interrupted_copier_is_kept_beside_the_place_of_the_lora() {
    let desk = Desk::new();
    desk.put("x_copy.safetensors", "another run's");
    let more = "--method copier --copier-steps 99999 --copier-rank 2";
    let mut running = Running::start(&desk, more);
    running.wait_for(|event| event["step"] == 1);
    running.interrupt();
    let (last, ran) = running.end();
    assert_eq!(ran.exit, Some(130), "{}", ran.stderr);
    let result = last.expect("a result");
    assert_eq!(
        result["copier"], "x_copy_2.safetensors",
        "a free name: {result}"
    );
    assert_eq!(result["out"], Value::Null, "there is no LoRA yet: {result}");
    read_lora(&desk.path("x_copy_2.safetensors"));
}

#[test]
fn an_interrupt_while_scoring_keeps_the_finished_lora() {
    let desk = Desk::new();
    let mut running = Running::start_steps(
        &desk,
        2,
        "--method plain --batch-size 1 --no-calibrate --score-budget full",
    );
    running.wait_for(|event| event["phase"] == "scoring");
    running.interrupt();
    let (last, ran) = running.end();
    let result = last.expect("a result");
    assert_eq!(result["outcome"], "finished", "{result} {}", ran.stderr);
    assert_eq!(result["scores"], Value::Null, "not measured to the end");
    read_lora(&desk.path("x.safetensors"));
}

#[test]
fn a_second_interrupt_aborts_and_leaves_nothing() {
    let desk = Desk::new();
    let before = desk.files();
    // Steps of seconds, so that the second signal comes within the same step.
    let mut running = Running::start(&desk, "--method plain --batch-size 64 --accumulation 4");
    running.wait_for(|event| event["phase"] == "training");
    // The phase is told just before the first step asks whether to stop.
    thread::sleep(Duration::from_millis(500));
    running.interrupt();
    thread::sleep(Duration::from_millis(300));
    running.interrupt();
    let (_, ran) = running.end();
    assert_eq!(ran.exit, Some(130), "{}", ran.stderr);
    assert!(ran.error().contains("aborted"), "{}", ran.stderr);
    assert!(before == desk.files(), "nothing half-written stays");
}
