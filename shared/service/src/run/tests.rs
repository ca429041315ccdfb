//! The loop of a run, with a runner and an archive that the tests see through.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mimeo_checkpoint::LoraFile;
use mimeo_checkpoint::{Array, AsyncReadAt, EmbeddedFolder, LoraModule};
use mimeo_engine::runtime::{ArithmeticChoice, Compute, DeviceChoice, block_on};
use mimeo_engine::{Base, Phase};
use mimeo_protocol::{
    BaseId, BlobId, CopierInfo, Example, FileKind, JobControl, JobId, JobProgress, JobState,
    ModelSize, Pace, PreviewPlan, Recipe, Steps, TrainJob,
};

use super::*;
use crate::archive::{Archive, KeptPicture, NewCopier};
use crate::schedule::SaveRule;
use crate::shelf::Shelf;

/// Three steps on the first bundled pair, and nothing measured.
pub fn job() -> StoredJob {
    let mut recipe = Recipe::preset(Method::Plain, ModelSize::Small);
    recipe.pass.steps = Steps::constant(3);
    recipe.calibrate = false;
    // Three steps would give the scores too little to be measured with.
    recipe.score_budget = None;
    let [original, target, mask] = [0, 1, 2].map(|digit| BlobId::from_sha256([digit; 32]));
    let example = Example {
        mask: Some(mask),
        ..Example::new(original, target)
    };
    let job = TrainJob {
        copier: CopierChoice::New,
        scores: false,
        ..TrainJob::new("x".parse().unwrap(), BaseId::bundled(), example, recipe)
    };
    StoredJob {
        id: JobId(1),
        job,
        state: JobState::Queued,
        copier: None,
        held: None,
    }
}

/// After the last step only.
pub fn previews() -> PreviewPlan {
    PreviewPlan {
        every: Steps::constant(1_000),
        prompt: "a face".to_owned(),
        seed: 0,
        strengths: PreviewPlan::STRENGTHS.to_vec(),
    }
}

/// The smallest LoRA.
pub fn lora() -> LoraFile {
    let array = || Array {
        shape: vec![1, 1],
        data: vec![1.0],
    };
    let module = LoraModule {
        mid: None,
        down: array(),
        up: array(),
        alpha: 1.0,
    };
    let mut file = LoraFile::default();
    file.modules.insert("lora_unet_mid".to_owned(), module);
    file
}

/// What happens at a moment.
type Happening = Box<dyn FnOnce(&Seen)>;

/// What a test sees and decides.
#[derive(Default)]
pub struct Seen {
    /// What was written and done, in words. Losses are left out: how many come together is a matter
    /// of time.
    pub lines: RefCell<Vec<String>>,
    /// What is wanted of the job.
    pub steering: Arc<Steering>,
    /// A state to go on from.
    pub state: RefCell<Option<Vec<u8>>>,
    /// What the archive answers from now on.
    pub trouble: RefCell<Option<Trouble>>,
    /// Whether nothing can be written.
    pub is_full: Cell<bool>,
    /// Whether there is no room for pictures.
    pub is_full_of_pictures: Cell<bool>,
    turns: Cell<u32>,
    waits: Cell<u32>,
    at_turn: RefCell<Option<(u32, Happening)>>,
    at_wait: RefCell<Option<(u32, Happening)>>,
    at_phase: RefCell<Option<(Phase, Happening)>>,
}

impl Seen {
    fn note(&self, line: &str) -> Result<(), Trouble> {
        self.lines.borrow_mut().push(line.to_owned());
        self.trouble.borrow().clone().map_or(Ok(()), Err)
    }

    fn counts<T: PartialEq>(&self, event: &RefCell<Option<(T, Happening)>>, now: &T) {
        let is_due = event.borrow().as_ref().is_some_and(|(due, _)| due == now);
        if is_due && let Some((_, event)) = event.take() {
            event(self);
        }
    }
}

/// Keeps what it is given in words.
pub struct Notes(pub Rc<Seen>);

impl Archive for Notes {
    fn record(&mut self, kind: &JobEventKind) -> Result<(), Trouble> {
        match kind {
            JobEventKind::Losses { .. } => Ok(()),
            _ => self.0.note("fact"),
        }
    }

    fn change_state(&mut self, transition: &Transition) -> Result<(), Trouble> {
        let noted = self.0.note(&words(transition));
        if let Transition::Enter(phase) = transition {
            self.0.counts(&self.0.at_phase, phase);
        }
        noted
    }

    fn keep_file(&mut self, _: FileKind, _: &str, _: &[u8]) -> Result<(), Trouble> {
        self.0.note("file")
    }

    fn keep_picture(&mut self, _: &[u8]) -> Result<KeptPicture, Trouble> {
        self.0.note("picture")?;
        if self.0.is_full_of_pictures.get() {
            let sentence = "Delete old runs.".to_owned();
            return Ok(KeptPicture::NoRoom { sentence });
        }
        Ok(KeptPicture::As(BlobId::from_sha256([0; 32])))
    }

    fn copier_of(&mut self, _: &str) -> Result<Option<CopierId>, Trouble> {
        Ok(None)
    }

    fn copier(&mut self, _: CopierId) -> Result<Option<CopierInfo>, Trouble> {
        Ok(None)
    }

    fn set_copier(&mut self, _: CopierId) -> Result<(), Trouble> {
        self.0.note("builds upon a copier")
    }

    fn keep_copier(&mut self, _: NewCopier<'_>) -> Result<(), Trouble> {
        self.0.note("copier")
    }

    fn keep_state(&mut self, state: &[u8]) -> Result<(), Trouble> {
        let state = TrainingState::from_bytes(state.to_vec());
        self.0
            .note(&format!("state {}", block_on(state).unwrap().step()))
    }

    async fn state(&mut self) -> Option<Vec<u8>> {
        self.0.state.borrow().clone()
    }

    fn forget_state(&mut self) {
        _ = self.0.note("forget state");
    }

    async fn forget_results(&mut self) {
        _ = self.0.note("forget results");
    }

    fn keep_pace(&mut self, _: &Pace) {}

    fn tell_progress(&mut self, _: JobProgress) {}

    fn end_in_trouble(&mut self, transition: &Transition) {
        _ = self.0.note(&format!("ends: {}", words(transition)));
    }

    async fn write_due(&mut self) -> Result<(), Unwritten> {
        self.write().await
    }

    async fn write(&mut self) -> Result<(), Unwritten> {
        match self.0.is_full.get() {
            true => Err(Unwritten::Full("Free some space.".to_owned())),
            false => Ok(()),
        }
    }
}

fn words(transition: &Transition) -> String {
    match transition {
        Transition::Enter(phase) => format!("enter {phase:?}").to_lowercase(),
        Transition::Pause(_) => "pause".to_owned(),
        Transition::Resume => "resume".to_owned(),
        Transition::Finish => "finish".to_owned(),
        Transition::Stop => "stop".to_owned(),
        Transition::Fail { .. } => "fail".to_owned(),
        Transition::Interrupt => "interrupt".to_owned(),
        Transition::Retry => "retry".to_owned(),
    }
}

/// A runner without anything beside its one job.
#[derive(Default)]
pub struct Pretended {
    seen: Rc<Seen>,
    base: Option<Rc<Base>>,
}

impl std::ops::Deref for Pretended {
    type Target = Seen;

    fn deref(&self) -> &Seen {
        &self.seen
    }
}

impl Pretended {
    /// With the bundled base on the CPU.
    pub fn with_base() -> Self {
        let folder = EmbeddedFolder {
            name: mimeo_base::NAME,
            files: mimeo_base::files(),
        };
        let compute =
            block_on(Compute::choose(&DeviceChoice::Cpu, ArithmeticChoice::Auto)).unwrap();
        let base = block_on(Base::load(
            &folder,
            &compute.device,
            ArithmeticChoice::Auto,
            &mut |_| (),
        ));
        Self {
            base: Some(Rc::new(base.unwrap())),
            ..Self::default()
        }
    }

    /// Its archive.
    pub fn notes(&self) -> Notes {
        Notes(Rc::clone(&self.seen))
    }

    /// Something happens at this rest, from 1.
    pub fn at_turn(&self, turn: u32, event: impl FnOnce(&Seen) + 'static) {
        self.at_turn.replace(Some((turn, Box::new(event))));
    }

    /// Something happens while the job waits for so many times, from 1.
    pub fn at_wait(&self, wait: u32, event: impl FnOnce(&Seen) + 'static) {
        self.at_wait.replace(Some((wait, Box::new(event))));
    }

    /// Something happens as a phase begins.
    pub fn at_phase(&self, phase: Phase, event: impl FnOnce(&Seen) + 'static) {
        self.at_phase.replace(Some((phase, Box::new(event))));
    }
}

impl Shelf for Pretended {
    async fn picture(&self, id: BlobId) -> Result<Vec<u8>, String> {
        let pair = mimeo_base::pairs().first().unwrap();
        let pictures = [pair.original_png, pair.target_png, pair.mask_png];
        let number = (0..3).find(|number| id == BlobId::from_sha256([*number; 32]));
        Ok(pictures[usize::from(number.unwrap())].to_vec())
    }

    async fn lora(&self, _: &LoraRef) -> Result<(Box<dyn AsyncReadAt>, String), String> {
        Err("there is no LoRA here.".to_owned())
    }

    async fn keep_picture(&self, _: &[u8]) -> Result<BlobId, String> {
        Err("there is no room here.".to_owned())
    }
}

impl Runner for Pretended {
    type Archive = Notes;

    fn save_rule(&self) -> SaveRule {
        SaveRule {
            secs: f64::INFINITY,
            steps: None,
        }
    }

    fn archive(&self, _: &StoredJob, _: &Arc<Steering>) -> Notes {
        self.notes()
    }

    async fn base(&self, wanted: WantedBase<'_>, emit: &mut impl Emit) -> Result<Rc<Base>, String> {
        let base = self.base.as_ref();
        let base = base.ok_or_else(|| "there is no base here.".to_owned())?;
        let said = base.as_said(&wanted.said, emit);
        said.map(Rc::new).map_err(|error| error.to_string())
    }

    async fn turn(&self) {
        self.turns.set(self.turns.get() + 1);
        self.counts(&self.at_turn, &self.turns.get());
    }

    async fn perform_waiting(&self, _: &BaseId) {}

    async fn wait(&self, _: &BaseId, _: bool) {
        _ = self.note("waits");
        self.waits.set(self.waits.get() + 1);
        self.counts(&self.at_wait, &self.waits.get());
    }
}

/// Runs a job of a few steps; what was written, in words.
fn lines(runner: &Pretended, job: &StoredJob) -> Vec<String> {
    block_on(run(runner, job, Arc::clone(&runner.steering)));
    runner.lines.take()
}

/// What a job of three steps writes.
const WHOLE: [&str; 6] = [
    "enter encoding",
    "enter training",
    "state 3",
    "enter saving",
    "file",
    "finish",
];

#[test]
fn a_job_comes_to_its_result_and_its_state_is_forgotten_after_that() {
    let runner = Pretended::with_base();
    assert_eq!(
        lines(&runner, &job()),
        [&WHOLE[..], &["forget state"]].concat()
    );
}

#[test]
fn a_pause_waits_for_the_state_and_is_noted_once() {
    let runner = Pretended::with_base();
    // At the rest before its second step.
    runner.at_turn(2, |runner| runner.steering.control(JobControl::Pause));
    // It looks three times, and goes on at the last.
    runner.at_wait(3, |runner| runner.steering.control(JobControl::Resume));
    assert_eq!(
        lines(&runner, &job()),
        [
            &WHOLE[..2],
            &["state 1", "pause", "waits", "waits", "waits", "resume"],
            &WHOLE[2..],
            &["forget state"]
        ]
        .concat(),
        "once each"
    );
}

#[test]
fn a_discarded_job_ends_where_it_rests_and_leaves_nothing() {
    // Before its first step, before its last one, and after that.
    for turn in [1, 3, 4] {
        let runner = Pretended::with_base();
        runner.at_turn(turn, |runner| runner.steering.control(JobControl::Discard));
        let lines = lines(&runner, &job());
        assert_eq!(lines, [&WHOLE[..2], &["forget results", "stop"]].concat());
    }
}

#[test]
fn an_end_of_the_server_in_a_pass_keeps_the_state_and_in_measuring_ends_at_once() {
    let runner = Pretended::with_base();
    runner.at_turn(3, |runner| runner.steering.interrupt());
    assert_eq!(
        lines(&runner, &job()),
        [&WHOLE[..2], &["state 2", "interrupt"]].concat(),
        "at its next rest"
    );
    let mut measured = job();
    measured.job.scores = true;
    let runner = Pretended::with_base();
    runner.at_phase(Phase::Scoring, |runner| runner.steering.interrupt());
    assert_eq!(
        lines(&runner, &measured),
        [&WHOLE[..3], &["enter scoring", "interrupt"]].concat(),
        "at its first rest"
    );
}

#[test]
fn the_last_previews_are_drawn_before_the_result_is_kept() {
    let mut shown = job();
    shown.job.previews = Some(previews());
    let runner = Pretended::with_base();
    let pictures = ["picture", "fact", "picture", "fact", "picture", "fact"];
    assert_eq!(
        lines(&runner, &shown),
        [&WHOLE[..4], &pictures, &WHOLE[4..], &["forget state"]].concat()
    );
}

#[test]
fn a_state_that_cannot_be_read_is_told_and_the_job_starts_anew() {
    let runner = Pretended::with_base();
    runner.state.replace(Some(b"no state".to_vec()));
    let lines = lines(&runner, &job());
    assert_eq!(lines[0], "fact", "a note");
    assert_eq!(lines[1..WHOLE.len() + 1], WHOLE, "from the start");
}

#[test]
fn what_waits_for_room_holds_the_job_until_there_is_some() {
    let runner = Pretended::with_base();
    runner.at_turn(2, |runner| runner.is_full.set(true));
    runner.at_wait(2, |runner| runner.is_full.set(false));
    assert_eq!(
        lines(&runner, &job()),
        [
            &WHOLE[..2],
            &["pause", "waits", "waits", "resume"],
            &WHOLE[2..],
            &["forget state"]
        ]
        .concat()
    );
}

#[test]
fn after_trouble_nothing_is_written_and_the_run_ends() {
    let runner = Pretended::with_base();
    runner.trouble.replace(Some(Trouble::Ended));
    assert_eq!(
        lines(&runner, &job()),
        ["enter encoding", "ends: interrupt"],
        "the one that failed, and the last resort"
    );
}

#[test]
fn a_base_that_cannot_be_used_fails_the_job() {
    let runner = Pretended::default();
    assert_eq!(lines(&runner, &job()), ["fail"], "its state only");
}

fn settled(runner: &Pretended, went: Went) -> Vec<String> {
    let job = job();
    let mut run = Run::new(runner, &job, Arc::clone(&runner.steering));
    block_on(run.settle(went));
    runner.lines.take()
}

#[test]
fn results_are_kept_before_the_job_is_over() {
    let runner = Pretended::default();
    let artifact = Artifact {
        lora: Some(lora()),
        copier: Some(lora()),
        scores: None,
        outcome: Outcome::Stopped {
            phase: Phase::Training,
            step: 3,
        },
    };
    let lines = settled(&runner, Went::Through(Box::new(artifact)));
    assert_eq!(
        lines,
        ["file", "file", "stop"],
        "both files, then its state"
    );
}

#[test]
fn a_job_that_trained_nothing_fails_and_leaves_no_file() {
    let runner = Pretended::default();
    let reason = "the loss exploded at step 6. Lower the learning rate.".to_owned();
    let job = job();
    let mut run = Run::new(&runner, &job, Arc::default());
    let went = run.why(EngineError::NothingTrained { reason }.into());
    assert!(
        matches!(&went, Went::Wrong(why) if why.contains("step 6")),
        "{went:?}"
    );
    assert_eq!(settled(&runner, went), ["fail"], "its state only");
}

#[test]
fn an_interrupted_job_waits_again_unless_the_user_had_paused_it() {
    let runner = Pretended::default();
    let interrupted = || Went::Ended(End::Interrupt);
    assert_eq!(
        settled(&runner, interrupted()),
        ["interrupt"],
        "to the queue"
    );
    runner.steering.control(JobControl::Pause);
    assert!(
        settled(&runner, interrupted()).is_empty(),
        "found as it was"
    );
    let discarded = settled(&runner, Went::Ended(End::Discard));
    assert_eq!(discarded, ["forget results", "stop"], "for good");
}
