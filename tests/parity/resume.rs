//! A job that was interrupted and goes on makes the same file, bit for bit.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use mimeo_checkpoint::Precision;
use mimeo_engine::{
    Artifact, Control, Directive, Event, Kept, Phase, Place, PreparedJob, TrainingState, run,
};
use mimeo_image::{decode, decode_mask};
use mimeo_protocol::{Method, ModelSize, Recipe, Share, Steps};
use pollster::block_on;

use crate::support::models::base;

/// Asks for the state before every step, and remembers the last one.
#[derive(Default)]
struct Saver {
    asked_at: Option<(Phase, u32)>,
    last: Option<Vec<u8>>,
    saved: usize,
}

impl Control for Saver {
    fn next(&mut self, place: Place) -> Directive {
        if self.asked_at.replace((place.phase, place.step)) == Some((place.phase, place.step)) {
            Directive::Step
        } else {
            Directive::SaveState
        }
    }

    fn stop_requested(&self) -> bool {
        false
    }

    fn keep(&mut self, kept: Kept) {
        if let Kept::State(state) = kept {
            self.saved += 1;
            self.last = Some(state.to_bytes());
        }
    }
}

fn job(method: Method) -> PreparedJob {
    let pair = mimeo_base::pairs().first().expect("bundled pairs");
    let mut recipe = Recipe::preset(method, ModelSize::Small);
    recipe.copier.pass.steps = Steps::constant(4);
    recipe.copier.check_every = Steps::constant(2);
    // Never reached, so that the pass runs to its end.
    recipe.copier.fidelity_goal = Share::constant(1.0);
    // Clipping and weight decay are in the preset; both directions of addift as well.
    recipe.pass.steps = Steps::constant(4);
    recipe.calibrate = false;
    PreparedJob {
        name: "resumed".to_owned(),
        original: decode(pair.original_png).expect("A").picture,
        target: decode(pair.target_png).expect("B").picture,
        mask: Some(decode_mask(pair.mask_png).expect("mask")),
        recipe,
        copier: None,
        held_out_prompts: Vec::new(),
    }
}

fn bytes(artifact: &Artifact) -> [Option<Vec<u8>>; 2] {
    [&artifact.lora, &artifact.copier].map(|file| {
        let file = file.as_ref()?;
        Some(file.write(Precision::F32).expect("a LoRA that can be written"))
    })
}

/// Runs the job, but gives it up once so many states were saved; the last state, or the artifact.
fn run_until(
    job: &PreparedJob,
    saved: Option<TrainingState>,
    states: usize,
    resumed: &mut Vec<(Phase, u32)>,
) -> Result<Artifact, Vec<u8>> {
    let mut saver = Saver::default();
    // The engine borrows it until the future is dropped, so what was saved is taken out after.
    let control = std::cell::RefCell::new(&mut saver);
    struct Shared<'a, 'b>(&'a std::cell::RefCell<&'b mut Saver>);
    impl Control for Shared<'_, '_> {
        fn next(&mut self, place: Place) -> Directive {
            self.0.borrow_mut().next(place)
        }
        fn stop_requested(&self) -> bool {
            false
        }
        fn keep(&mut self, kept: Kept) {
            self.0.borrow_mut().keep(kept);
        }
    }
    let mut shared = Shared(&control);
    let mut emit = |event| {
        if let Event::Resumed { phase, step } = event {
            resumed.push((phase, step));
        }
    };
    let mut future = pin!(run(base(), job, saved, &mut shared, &mut emit));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(artifact) => return Ok(artifact.expect("a job that can be done")),
            Poll::Pending if control.borrow().saved >= states => break,
            Poll::Pending => {}
        }
    }
    Err(control.borrow_mut().last.take().expect("a state was saved"))
}

#[test]
fn a_job_that_goes_on_makes_the_same_file() {
    for method in Method::ALL {
        let job = job(method);
        let mut resumed = Vec::new();
        let whole = run_until(&job, None, usize::MAX, &mut resumed);
        let whole = bytes(&whole.expect("never given up"));
        assert!(resumed.is_empty(), "nothing to go on from");

        // Given up after every single step, in every pass, and at the end of each.
        let mut saved: Option<TrainingState> = None;
        let mut lives = 0;
        let artifact = loop {
            lives += 1;
            assert!(lives < 30, "{method}: the job never ends");
            // Two states: the one it began with, saved again, and that after one more step.
            match run_until(&job, saved.take(), 2, &mut resumed) {
                Ok(artifact) => break artifact,
                Err(bytes) => {
                    let state = TrainingState::from_bytes(bytes);
                    saved = Some(block_on(state).expect("what was written can be read"));
                }
            }
        };
        assert!(lives >= 4, "{method}: {lives} lives for four steps");
        assert_eq!(
            resumed.last(),
            Some(&(Phase::Training, 4)),
            "{method}: {resumed:?}"
        );
        assert!(
            bytes(&artifact) == whole,
            "{method}: another file after {lives} lives"
        );
    }
}

#[test]
fn a_state_of_another_job_is_refused_with_a_note() {
    let (first, mut second) = (job(Method::Addift), job(Method::Addift));
    second.recipe.pass.rank = mimeo_protocol::Rank::constant(2);
    let bytes = run_until(&first, None, 2, &mut Vec::new()).expect_err("given up");
    let state = block_on(TrainingState::from_bytes(bytes)).expect("a state");
    let mut notes = Vec::new();
    let mut emit = |event| {
        if let Event::Note { text } = event {
            notes.push(text);
        }
    };
    let control = std::sync::atomic::AtomicBool::new(false);
    let artifact = block_on(run(base(), &second, Some(state), &mut &control, &mut emit));
    assert!(artifact.expect("it starts anew").lora.is_some(), "a LoRA");
    assert!(
        notes.iter().any(|note| note.contains("starts anew")),
        "{notes:?}"
    );
}

#[test]
fn a_damaged_state_is_an_error_and_no_panic() {
    let job = job(Method::Plain);
    let whole = run_until(&job, None, 2, &mut Vec::new()).expect_err("given up");
    for length in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        let cut = whole[..length].to_vec();
        assert!(
            block_on(TrainingState::from_bytes(cut)).is_err(),
            "cut to {length} of {} bytes",
            whole.len()
        );
    }
}
