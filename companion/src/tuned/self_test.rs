//! The self-test of a program on an adapter: a few steps of the bundled base on the CPU and there, and how far
//! the two LoRAs are apart.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use mimeo_checkpoint::LoraFile;
use mimeo_engine::{
    Arithmetic, ArithmeticChoice, Base, Compute, DeviceChoice, EngineError, Event, PreparedExample,
    PreparedJob, Recompute, Stoppable,
};
use mimeo_image::{FittedPair, decode, decode_mask};
use mimeo_protocol::{Method, ModelSize, Recipe, Steps};
use serde::{Deserialize, Serialize};

use super::command;
use super::record::Verdict;
use crate::base::BaseSource;
use crate::exit::Exit;
use crate::progress::Report;

/// Steps of it; in the first all programs are compiled.
const STEPS: u32 = 6;
/// How far the LoRAs may be apart, of the way that the CPU's went. Sound programs are less than a
/// hundredth apart; optimiser steps make much of little, and a wrong kernel puts them far beyond one.
const MAX_APART: f64 = 0.1;
/// A driver may hang. Compiling every program for the first time takes a minute on slow ones.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often it is looked whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a self-test found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tested {
    /// How far its LoRA is from the CPU's, as a share of the way that the CPU's went.
    apart: f64,
    /// Seconds of its fastest step.
    secs: f64,
}

impl Tested {
    /// What is no number is wrong too.
    fn is_right(self) -> bool {
        self.apart <= MAX_APART
    }
}

/// Train a few steps on the CPU and on a device, and say how far apart the LoRAs are
#[derive(Debug, Args)]
pub struct SelfTest {
    /// The device: gpu, or gpu:NAME with a part of the adapter's name
    #[arg(long, default_value = "gpu")]
    device: DeviceChoice,
}

impl SelfTest {
    /// Trains on both, and tells.
    ///
    /// # Errors
    /// When there is no such device, or it fails.
    pub async fn run(self, report: &mut Report) -> anyhow::Result<Exit> {
        let (ours, _) = train(&DeviceChoice::Cpu).await?;
        let (theirs, secs) = train(&self.device).await?;
        let tested = Tested {
            apart: apart(&ours, &theirs),
            secs,
        };
        let text = format!(
            "{:.2} % of the way apart, {:.3} s in the fastest step",
            tested.apart * 100.0,
            tested.secs
        );
        report.result(&tested, &text);
        Ok(Exit::Done)
    }
}

/// A LoRA of the first bundled pair, and the seconds of its fastest step.
async fn train(device: &DeviceChoice) -> anyhow::Result<(LoraFile, f64)> {
    // As the CPU does, so that little besides a mistake sets them apart.
    let arithmetic = ArithmeticChoice::Given(Arithmetic::F32);
    let compute = Compute::choose(device, arithmetic)
        .await
        .map_err(EngineError::from)?;
    let quiet = &mut |_: Event| ();
    let base = BaseSource::Bundled
        .load(None, None, &compute, quiet)
        .await?;
    let mut secs = f64::INFINITY;
    let mut hear = |event: Event| {
        if let Event::Step { secs: took, .. } = event {
            secs = secs.min(took);
        }
    };
    let mut control = Stoppable {
        stop: &AtomicBool::new(false),
        emit: &mut hear,
    };
    let artifact = Box::pin(mimeo_engine::run(&base, &job(&base)?, None, &mut control)).await?;
    let lora = artifact.lora.ok_or(EngineError::StoppedBeforeTraining)?;
    Ok((lora, secs))
}

fn job(base: &Base) -> anyhow::Result<PreparedJob> {
    let pair = &mimeo_base::pairs()[0];
    let mut recipe = Recipe::preset(Method::Addift, ModelSize::Small);
    recipe.pass.steps = Steps::constant(STEPS);
    recipe.calibrate = false;
    let (original, target) = (decode(pair.original_png)?, decode(pair.target_png)?);
    let mask = decode_mask(pair.mask_png)?;
    let (original, target) = (&original.picture, &target.picture);
    let fitted: FittedPair =
        mimeo_engine::job::fit(base, recipe.resolution, original, target, Some(&mask))?;
    Ok(PreparedJob {
        name: "self-test".to_owned(),
        examples: vec![PreparedExample {
            pictures: fitted,
            named: None,
        }],
        recipe,
        copier: None,
        held_out_prompts: Vec::new(),
        scores: false,
        previews: None,
        recompute: Recompute::NOTHING,
    })
}

/// How far a LoRA is from another one, as a share of the way that that one went: its second factors,
/// which begin as zeros.
fn apart(ours: &LoraFile, theirs: &LoraFile) -> f64 {
    let (mut way, mut off) = (0.0, 0.0);
    for (name, module) in &ours.modules {
        let other = theirs.modules.get(name).map(|module| &module.up.data);
        for (at, value) in module.up.data.iter().enumerate() {
            let other = other.and_then(|other| other.get(at)).copied();
            way += f64::from(*value).powi(2);
            // What is missing or no number is as far off as can be.
            off += (f64::from(other.unwrap_or(f32::NAN)) - f64::from(*value)).powi(2);
        }
    }
    (off / way).sqrt()
}

/// What a program finds on an adapter, in a process of its own, which may crash or hang.
///
/// # Errors
/// What it did instead, as a part of a sentence.
pub fn of(program: &Path, adapter: &str) -> Result<Tested, String> {
    let mut test = command(program);
    test.args(["self-test", "--json", "--engine", "portable"])
        .arg("--device")
        .arg(format!("gpu:{adapter}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = test
        .spawn()
        .map_err(|error| format!("does not start ({error})"))?;
    let status = wait(&mut child, PATIENCE)?;
    let mut said = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        // What is no text is no answer.
        _ = stdout.read_to_string(&mut said);
    }
    answer(status, &said)
}

fn wait(child: &mut Child, patience: Duration) -> Result<ExitStatus, String> {
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if started.elapsed() < patience => thread::sleep(LOOK_EVERY),
            Ok(None) => {
                // It may have ended by now.
                _ = child.kill();
                _ = child.wait();
                return Err(format!("does not answer within {} s", patience.as_secs()));
            }
            Err(error) => return Err(format!("cannot be waited for ({error})")),
        }
    }
}

fn answer(status: ExitStatus, said: &str) -> Result<Tested, String> {
    #[derive(Deserialize)]
    struct Said {
        message: Option<String>,
        #[serde(flatten)]
        tested: Option<Tested>,
    }
    let lines = said.lines().rev();
    let said = lines
        .filter_map(|line| serde_json::from_str::<Said>(line).ok())
        .find(|said| said.tested.is_some() || said.message.is_some());
    match said {
        Some(Said {
            tested: Some(tested),
            ..
        }) if status.success() => Ok(tested),
        Some(Said {
            message: Some(message),
            ..
        }) => Err(format!("failed ({})", message.trim_end_matches('.'))),
        _ => Err(format!("crashed ({status})")),
    }
}

/// Which of two programs is to compute.
pub fn compare(
    portable: impl FnOnce() -> Result<Tested, String>,
    tuned: impl FnOnce() -> Result<Tested, String>,
) -> Verdict {
    let tuned = match tuned() {
        Ok(tested) => tested,
        Err(reason) => return Verdict::Portable { reason },
    };
    if !tuned.is_right() {
        let reason = format!("computes something else ({:.0} % off)", tuned.apart * 100.0);
        return Verdict::Portable { reason };
    }
    match portable() {
        Ok(portable) if portable.is_right() => {
            let times = portable.secs / tuned.secs;
            if times > 1.0 {
                return Verdict::Tuned { times };
            }
            let reason = format!("is no faster here ({times:.1} times as fast)");
            Verdict::Portable { reason }
        }
        // There is only one that works.
        _ => Verdict::Tuned { times: 1.0 },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mimeo_checkpoint::{Array, LoraModule};

    use super::*;

    const SOUND: Tested = Tested {
        apart: 0.004,
        secs: 0.3,
    };

    fn reason(verdict: Verdict) -> String {
        match verdict {
            Verdict::Portable { reason } => reason,
            tuned @ Verdict::Tuned { .. } => panic!("{tuned:?}"),
        }
    }

    #[test]
    fn the_faster_one_of_those_that_are_right_computes() {
        let faster = Tested { secs: 0.1, ..SOUND };
        let Verdict::Tuned { times } = compare(|| Ok(SOUND), || Ok(faster)) else {
            panic!("it is faster")
        };
        assert!((times - 3.0).abs() < 1e-9, "{times}");
        let slower = reason(compare(|| Ok(faster), || Ok(SOUND)));
        assert!(slower.contains("0.3 times as fast"), "{slower}");
        for apart in [0.5, f64::NAN] {
            let wrong = reason(compare(|| Ok(SOUND), || Ok(Tested { apart, ..faster })));
            assert!(wrong.contains("something else"), "{wrong}");
        }
        let crashed = reason(compare(
            || panic!("nobody has to ask"),
            || Err("crashed".to_owned()),
        ));
        assert_eq!(crashed, "crashed");
        let only = compare(|| Err("crashed".to_owned()), || Ok(SOUND));
        assert_eq!(only, Verdict::Tuned { times: 1.0 }, "the other one works");
    }

    #[test]
    fn how_far_apart_two_loras_are() {
        let lora = |up: &[f32]| {
            let array = |data: &[f32]| Array {
                shape: vec![data.len(), 1],
                data: data.to_vec(),
            };
            let module = LoraModule {
                down: array(&[1.0]),
                mid: None,
                up: array(up),
                alpha: 1.0,
            };
            LoraFile {
                modules: BTreeMap::from([("m".to_owned(), module)]),
                ..LoraFile::default()
            }
        };
        let ours = lora(&[3.0, 4.0]);
        assert_eq!(apart(&ours, &ours), 0.0, "the same");
        assert_eq!(apart(&ours, &lora(&[3.0, 5.0])), 0.2, "one of five");
        let broken = [lora(&[f32::NAN, 4.0]), lora(&[3.0]), LoraFile::default()];
        assert!(broken.iter().all(|other| apart(&ours, other).is_nan()));
    }

    #[cfg(unix)]
    #[test]
    fn whatever_the_other_program_does_is_survived() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let asked = |script: &str| {
            let program = folder.path().join("program");
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            of(&program, "GPU")
        };
        let said = r#"echo '{"event":"note","text":"x"}'; echo '{"event":"result","apart":0.004,"secs":0.3}'"#;
        assert_eq!(asked(said), Ok(SOUND));
        let crashed = asked("kill -SEGV $$").unwrap_err();
        assert!(crashed.contains("signal: 11"), "{crashed}");
        let crashed = asked(&format!("{said}; kill -SEGV $$")).unwrap_err();
        assert!(crashed.contains("crashed"), "after its answer: {crashed}");
        let failed = asked(r#"echo '{"event":"error","message":"no memory."}'; exit 1"#);
        assert_eq!(failed, Err("failed (no memory)".to_owned()));
        assert!(asked("echo hello").unwrap_err().contains("crashed"));
        let mut slow = command(Path::new("sleep")).arg("60").spawn().unwrap();
        let hung = wait(&mut slow, Duration::from_millis(50)).unwrap_err();
        assert!(hung.contains("does not answer"), "{hung}");
    }
}
