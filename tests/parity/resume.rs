//! A job that was interrupted and goes on makes the same file, bit for bit.

use mimeo_checkpoint::Precision;
use mimeo_diffusion::Recompute;
use mimeo_engine::job::fit;
use mimeo_engine::{
    Artifact, Control, Directive, Emit, EngineError, Event, GivenUp, Kept, PassStep, Phase,
    PreparedExample, PreparedJob, Stoppable, TrainingState, run,
};
use mimeo_image::{Rgb, decode, decode_mask};
use mimeo_protocol::{
    BlobId, Example, LeakRecipe, Level, Method, ModelSize, Recipe, Share, Steps, Weight,
};
use pollster::block_on;

use crate::support::models::micro;
use crate::support::test;

/// Asks for the state before every step, remembers the last one, and gives the job up once it has
/// enough of them.
struct Saver {
    /// How many are enough.
    enough: usize,
    asked_at: Option<(Phase, u32)>,
    last: Option<Vec<u8>>,
    saved: usize,
    /// Where the job went on.
    resumed: Option<(Phase, u32)>,
}

impl Emit for Saver {
    fn emit(&mut self, event: Event) {
        if let Event::Resumed { phase, step } = event {
            self.resumed = Some((phase, step));
        }
    }
}

impl Control for Saver {
    async fn at_rest(&mut self, place: Option<PassStep>) -> Result<Directive, GivenUp> {
        let Some(PassStep { phase, step, .. }) = place else {
            return Ok(Directive::Step);
        };
        if self.asked_at.replace((phase, step)) != Some((phase, step)) {
            return Ok(Directive::SaveState);
        }
        match self.saved >= self.enough {
            true => Err(GivenUp),
            false => Ok(Directive::Step),
        }
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
    recipe.slider.target = "glasses".to_owned();
    let original = decode(pair.original_png).expect("A").picture;
    let target = decode(pair.target_png).expect("B").picture;
    let mask = decode_mask(pair.mask_png).expect("mask");
    let example = || PreparedExample {
        pictures: fit(micro(), None, &original, &target, Some(&mask)).expect("a pair"),
        named: None,
    };
    PreparedJob {
        name: "resumed".to_owned(),
        examples: match method.takes_pictures() {
            true => vec![example()],
            false => Vec::new(),
        },
        recipe,
        copier: None,
        held_out_prompts: Vec::new(),
        scores: false,
        previews: None,
        recompute: Recompute::NOTHING,
    }
}

fn bytes(artifact: &Artifact) -> [Option<Vec<u8>>; 2] {
    [&artifact.lora, &artifact.copier].map(|file| {
        let file = file.as_ref()?;
        Some(
            file.write(Precision::F32)
                .expect("a LoRA that can be written"),
        )
    })
}

/// What a run came to.
struct Life {
    /// None if it was given up.
    artifact: Option<Artifact>,
    /// The last state.
    state: Vec<u8>,
    /// Where it went on.
    resumed: Option<(Phase, u32)>,
}

/// Runs the job, but gives it up once so many states were saved.
fn live(job: &PreparedJob, saved: Option<TrainingState>, states: usize) -> Life {
    let mut saver = Saver {
        enough: states,
        asked_at: None,
        last: None,
        saved: 0,
        resumed: None,
    };
    let artifact = match block_on(Box::pin(run(micro(), job, saved, &mut saver))) {
        Err(EngineError::GivenUp(_)) => None,
        artifact => Some(artifact.expect("a job that can be done")),
    };
    Life {
        artifact,
        state: saver.last.expect("a state was saved"),
        resumed: saver.resumed,
    }
}

fn state(bytes: Vec<u8>) -> TrainingState {
    block_on(TrainingState::from_bytes(bytes)).expect("what was written can be read")
}

#[test]
fn a_job_that_goes_on_makes_the_same_file() {
    for method in Method::ALL {
        assert_goes_on(&job(method));
    }
}

/// Three pairs, of two sizes and levels, with captions that are dropped at times.
fn set(method: Method) -> PreparedJob {
    let mut job = job(method);
    job.recipe.caption_dropout = Share::constant(0.3);
    job.recipe.trigger = "mimeo".to_owned();
    job.examples = (0..3)
        .map(|index| {
            let pair = &mimeo_base::pairs()[index];
            let read = |png: &[u8]| {
                let whole = decode(png).expect("a picture").picture;
                let rows = if index == 1 {
                    whole.height() / 2
                } else {
                    whole.height()
                };
                let pixels = (whole.width() * rows * 3) as usize;
                let pixels = whole.pixels()[..pixels].to_vec();
                Rgb::new(whole.width(), rows, pixels).expect("its upper part")
            };
            let (original, target) = (read(pair.original_png), read(pair.target_png));
            let [a, b] = [1, 2].map(|byte| BlobId::from_sha256([byte; 32]));
            PreparedExample {
                pictures: fit(micro(), None, &original, &target, None).expect("a pair"),
                named: Some(Example {
                    caption: format!("person {index}"),
                    weight: Weight::constant(1.0 + index as f64),
                    level: Level::constant(if index == 2 { -1.0 } else { 1.0 }),
                    ..Example::new(a, b)
                }),
            }
        })
        .collect();
    job
}

#[test]
fn a_set_that_goes_on_makes_the_same_file() {
    for method in Method::OF_PICTURES {
        assert_goes_on(&set(method));
    }
}

/// Each time on a machine with less memory than the one before.
#[test]
fn a_job_that_goes_on_with_less_memory_makes_the_same_file() {
    let mut job = job(Method::Addift);
    let files = bytes(&live(&job, None, usize::MAX).artifact.expect("a whole job"));
    let mut saved = None;
    let artifact = loop {
        let life = live(&job, saved.take(), 2);
        match life.artifact {
            Some(artifact) => break artifact,
            None => saved = Some(state(life.state)),
        }
        job.recompute.levels += 1;
    };
    assert!(job.recompute.levels > 2, "it was interrupted");
    assert!(bytes(&artifact) == files, "another file");
}

/// Interrupts a job everywhere.
fn assert_goes_on(job: &PreparedJob) {
    let method = job.recipe.method;
    let whole = live(job, None, usize::MAX);
    let files = bytes(&whole.artifact.expect("never given up"));
    assert_eq!(whole.resumed, None, "{method}: nothing to go on from");

    // Given up after every single step, in every pass.
    let mut saved = None;
    let mut places = Vec::new();
    let artifact = loop {
        assert!(places.len() < 30, "{method}: the job never ends");
        // Two states: the one it began with, saved again, and that after one more step.
        let life = live(job, saved.take(), 2);
        places.extend(life.resumed);
        match life.artifact {
            Some(artifact) => break artifact,
            None => saved = Some(state(life.state)),
        }
    };
    let expected = |phase| (1..4).map(move |step| (phase, step));
    let mut all: Vec<_> = expected(Phase::Training).collect();
    if method == Method::Copier {
        let copier = expected(Phase::Copier).chain([(Phase::Training, 0)]);
        all = copier.chain(all).collect();
    }
    assert_eq!(places, all, "{method}: interrupted everywhere");
    assert!(bytes(&artifact) == files, "{method}: another file");

    // And from the state that is left where training ends and measuring begins.
    let measured_again = live(job, Some(state(whole.state)), usize::MAX);
    assert_eq!(
        measured_again.resumed,
        Some((Phase::Training, 4)),
        "{method}"
    );
    let artifact = measured_again.artifact.expect("never given up");
    assert!(
        bytes(&artifact) == files,
        "{method}: another file at the end"
    );
}

/// What the leak meter told and what the base chose is not asked for again, or a job would end elsewhere
/// than the same job in one piece.
#[test]
fn a_job_that_is_watched_goes_on_with_its_best_weights() {
    let mut job = job(Method::Addift);
    // Enough that a tenth of it is worth a meter.
    job.recipe.pass.batch_size = mimeo_protocol::BatchSize::constant(32);
    job.recipe.auto_timesteps = true;
    // What it is held to is drawn again, and is the same.
    job.recipe.hold.weight = Weight::constant(1.0);
    job.recipe.leak = LeakRecipe {
        every: Some(Steps::constant(2)),
        stop_at_best: true,
    };
    let files = bytes(&live(&job, None, usize::MAX).artifact.expect("a whole job"));
    let mut saved = None;
    let artifact = loop {
        let life = live(&job, saved.take(), 2);
        match life.artifact {
            Some(artifact) => break artifact,
            None => saved = Some(state(life.state)),
        }
    };
    assert!(bytes(&artifact) == files, "another file");
}

#[test]
fn a_state_of_another_job_is_refused_with_a_note() {
    let (first, mut second) = (job(Method::Addift), job(Method::Addift));
    second.recipe.pass.rank = mimeo_protocol::Rank::constant(2);
    let saved = state(live(&first, None, 2).state);
    let mut notes = Vec::new();
    let mut emit = |event| {
        if let Event::Note { text } = event {
            notes.push(text);
        }
    };
    let mut control = Stoppable {
        stop: &std::sync::atomic::AtomicBool::new(false),
        emit: &mut emit,
    };
    let artifact = block_on(Box::pin(run(micro(), &second, Some(saved), &mut control)));
    assert!(artifact.expect("it starts anew").lora.is_some(), "a LoRA");
    assert!(
        notes.iter().any(|note| note.contains("starts anew")),
        "{notes:?}"
    );
}

#[test]
fn a_damaged_state_is_an_error_and_no_panic() {
    let whole = live(&job(Method::Plain), None, 2).state;
    for length in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        let cut = whole[..length].to_vec();
        assert!(
            block_on(TrainingState::from_bytes(cut)).is_err(),
            "cut to {length} of {} bytes",
            whole.len()
        );
    }
}
