use mimeo_protocol::{
    BaseId, BlobId, CopierChoice, CopierId, CopierInfo, CopierKind, DeviceInfo, Example, FileId,
    FileKind, HeldOut, JobControl, JobEvent, JobEventKind, JobId, JobProgress, JobState,
    JobSummary, Linearity, LossPoint, Method, ModelSize, PauseReason, Phase, PreviewPlan, Rank,
    Recipe, ResultFile, Scores, ServerMessage, Snapshot, Steps, Strength, TrainJob, UnreadableJob,
};

use super::*;
use crate::words;

mod deliveries;

const JOB: JobId = JobId(7);

fn blob(byte: u8) -> BlobId {
    BlobId::from_sha256([byte; 32])
}

fn job(method: Method) -> TrainJob {
    let mut recipe = Recipe::preset(method, ModelSize::Small);
    recipe.pass.steps = Steps::constant(30);
    let (name, example) = ("smile".parse().unwrap(), Example::new(blob(1), blob(2)));
    TrainJob {
        previews: Some(PreviewPlan {
            every: Steps::constant(10),
            prompt: "a face".to_owned(),
            seed: 1,
            strengths: PreviewPlan::STRENGTHS.to_vec(),
        }),
        ..TrainJob::new(name, BaseId::bundled(), example, recipe)
    }
}

fn summary(id: JobId, job: TrainJob) -> JobSummary {
    JobSummary {
        id,
        job,
        state: JobState::Queued,
        seq: 1,
        submitted_millis: 1000,
        files: vec![],
        scores: None,
        progress: None,
    }
}

fn snapshot(jobs: Vec<JobSummary>) -> Snapshot {
    Snapshot {
        jobs,
        queue: vec![],
        copiers: vec![],
        device: DeviceInfo {
            name: "cpu".to_owned(),
            reason: "the only one".to_owned(),
            memory_bytes: None,
            is_gpu: false,
            in_use: true,
        },
        checkpoints: vec![],
        vaes: vec![],
        paces: vec![],
        unreadable: vec![],
    }
}

fn running(phase: Phase) -> JobEventKind {
    state(JobState::Running { phase })
}

const fn state(state: JobState) -> JobEventKind {
    JobEventKind::State { state }
}

fn losses(phase: Phase, steps: std::ops::RangeInclusive<u32>) -> JobEventKind {
    let points = steps.map(|step| LossPoint {
        step,
        loss: 1.0 / step as f32,
    });
    JobEventKind::Losses {
        phase,
        points: points.collect(),
    }
}

fn preview(phase: Phase, step: u32, strength: f64) -> JobEventKind {
    JobEventKind::Preview {
        phase,
        step,
        strength: Strength::try_from(strength).unwrap(),
        prompt: "a face".to_owned(),
        seed: 1,
        picture: blob(step as u8),
    }
}

fn file(id: u64, kind: FileKind) -> ResultFile {
    ResultFile {
        id: FileId(id),
        kind,
        name: format!("{kind:?}.safetensors"),
        bytes: 1,
        sha256: blob(9),
    }
}

fn scores() -> Scores {
    Scores {
        edit_gain: 0.86,
        spill: 0.03,
        held_out: HeldOut {
            pictures: 0,
            gained: 0.0,
            progress: 0.0,
            elsewhere: 0.0,
            consistency: None,
        },
        linearity: Linearity {
            edit_gain: vec![],
            progress: vec![],
            monotone: true,
            correlation: 1.0,
            valid: None,
            unevenness: None,
        },
        copy_fidelity: None,
        calibrated_strength: 1.0,
        graded: None,
        style: None,
    }
}

fn progress(phase: Phase, done: u32, total: u32, secs: f64) -> ServerMessage {
    ServerMessage::Progress(JobProgress {
        job: JOB,
        phase,
        done,
        total: Some(total),
        secs_per_unit: Some(secs),
        left_secs: (done >= 3).then(|| f64::from(total - done) * secs),
    })
}

/// A page that watches one job from its submission on.
struct Watched {
    runs: Runs,
    seq: u64,
}

impl Watched {
    fn new(job: TrainJob) -> Self {
        let mut runs = Runs::default();
        let added = ServerMessage::Added {
            job: Box::new(summary(JOB, job)),
        };
        assert_eq!(runs.apply(&added), Outcome::Changed, "a new run is shown");
        let mut watched = Self { runs, seq: 0 };
        watched.hears(state(JobState::Queued), 1000);
        watched
    }

    fn hears(&mut self, kind: JobEventKind, at_millis: u64) -> &mut Self {
        self.seq += 1;
        let event = JobEvent {
            job: JOB,
            seq: self.seq,
            at_millis,
            kind,
        };
        let outcome = self.runs.apply(&ServerMessage::Event(event));
        assert_eq!(outcome, Outcome::Changed, "event {} is news", self.seq);
        self.check()
    }

    fn is_told(&mut self, message: &ServerMessage) -> &mut Self {
        _ = self.runs.apply(message);
        self.check()
    }

    fn check(&mut self) -> &mut Self {
        assert_eq!(self.runs.check(), Ok(()), "after event {}", self.seq);
        self
    }

    fn run(&self) -> &Run {
        self.runs.get(JOB).unwrap()
    }

    fn headline(&self) -> String {
        self.run().headline()
    }
}

#[test]
fn the_headline_follows_the_run() {
    let mut watched = Watched::new(job(Method::Addift));
    assert_eq!(watched.headline(), "Waiting", "in the queue");
    watched.hears(running(Phase::Encoding), 2000);
    assert_eq!(watched.headline(), "Encoding", "nothing to count");
    watched.hears(running(Phase::Training), 3000);
    watched.is_told(&progress(Phase::Training, 2, 30, 1.4));
    assert_eq!(
        watched.headline(),
        "Training · step 2 of 30 · 1.4 s/step",
        "too early to tell how long"
    );
    watched.is_told(&progress(Phase::Training, 12, 30, 1.4));
    assert_eq!(
        watched.headline(),
        "Training · step 12 of 30 · 1.4 s/step · 25 s of training left",
        "measuring comes after it, and nobody knows how long that takes"
    );
    watched.hears(
        state(JobState::Paused {
            phase: Phase::Training,
            reason: PauseReason::User,
        }),
        4000,
    );
    assert_eq!(
        watched.headline(),
        "Paused · Training · step 12 of 30",
        "and waits"
    );
    watched.hears(running(Phase::Scoring), 5000);
    watched.is_told(&progress(Phase::Scoring, 50, 100, 0.1));
    assert_eq!(
        watched.headline(),
        "Measuring · 50 % · 5 s left",
        "the last part"
    );
    watched.hears(JobEventKind::Scores { scores: scores() }, 6000);
    watched.hears(state(JobState::Finished), 6000);
    assert_eq!(
        watched.headline(),
        "Finished · makes 86 % of the change; 3 % spills elsewhere",
        "and what it is worth"
    );
}

#[test]
fn without_measuring_the_time_left_is_all_of_it() {
    let mut job = job(Method::Addift);
    job.recipe.calibrate = false;
    job.scores = false;
    let mut watched = Watched::new(job);
    watched.hears(running(Phase::Training), 1000);
    watched.is_told(&progress(Phase::Training, 12, 30, 1.4));
    assert_eq!(
        watched.headline(),
        "Training · step 12 of 30 · 1.4 s/step · 25 s left",
        "only saving comes after it"
    );
}

#[test]
fn an_unsteady_pace_hides_the_time_left() {
    let mut watched = Watched::new(job(Method::Addift));
    watched.hears(running(Phase::Training), 1000);
    for (done, secs) in [(3, 1.0), (4, 1.0), (5, 3.0)] {
        watched.is_told(&progress(Phase::Training, done, 30, secs));
    }
    assert_eq!(watched.run().left(), None, "from 1 to 3 s a step");
    for done in 6..11 {
        watched.is_told(&progress(Phase::Training, done, 30, 3.0));
    }
    assert!(watched.run().left().is_some(), "steady again");
}

#[test]
fn training_after_the_copier_is_told_from_the_copiers_pace() {
    let mut watched = Watched::new(job(Method::Copier));
    watched.hears(running(Phase::Copier), 1000);
    watched.is_told(&progress(Phase::Copier, 100, 300, 0.1));
    let left = watched.run().left().unwrap();
    assert!(
        (left.secs - 23.0).abs() < 1e-6 && left.is_rough && !left.is_all,
        "200 steps of the copier and 30 of the LoRA, and measuring: {left:?}"
    );
    assert!(
        watched.headline().ends_with("about 23 s of training left"),
        "and says so"
    );
}

#[test]
fn losses_after_a_checkpoint_come_again() {
    let mut watched = Watched::new(job(Method::Addift));
    watched.hears(running(Phase::Training), 1000);
    watched.hears(losses(Phase::Training, 1..=20), 2000);
    watched.hears(state(JobState::Queued), 9000);
    watched.hears(running(Phase::Training), 10_000);
    watched.hears(
        JobEventKind::Resumed {
            phase: Phase::Training,
            step: 15,
        },
        10_000,
    );
    let steps = |run: &Run| {
        run.curves()
            .iter()
            .map(Curve::last_step)
            .collect::<Vec<_>>()
    };
    assert_eq!(steps(watched.run()), [15], "what the checkpoint holds");
    watched.hears(losses(Phase::Training, 16..=18), 11_000);
    assert_eq!(steps(watched.run()), [18], "and on from there");
    assert_eq!(watched.run().resumptions().len(), 1, "which is marked");
}

#[test]
fn a_retry_from_the_start_replaces_the_old_curves() {
    let mut watched = Watched::new(job(Method::Copier));
    watched.hears(running(Phase::Copier), 1000);
    watched.hears(losses(Phase::Copier, 1..=300), 1000);
    watched.hears(
        JobEventKind::CopyFidelity {
            step: 300,
            fidelity: 0.93,
        },
        1000,
    );
    watched.hears(running(Phase::Training), 1000);
    watched.hears(losses(Phase::Training, 1..=5), 1000);
    assert_eq!(watched.run().copy_fidelity(), Some(0.93), "measured");
    let message = "the loss is not finite at step 6".to_owned();
    watched.hears(state(JobState::Failed { message }), 1000);
    assert!(watched.run().is_diverged(), "the loss is to blame");
    watched.hears(state(JobState::Queued), 2000);
    watched.hears(running(Phase::Copier), 2000);
    watched.hears(losses(Phase::Copier, 1..=2), 3000);
    assert_eq!(
        watched.run().curves().len(),
        1,
        "training has not begun again"
    );
    assert_eq!(watched.run().curves()[0].last_step(), 2, "nor come so far");
    assert_eq!(
        watched.run().copy_fidelity(),
        None,
        "nor was it measured again"
    );
}

#[test]
fn time_counts_while_it_is_worked_on_only() {
    let mut watched = Watched::new(job(Method::Addift));
    assert_eq!(watched.run().elapsed_millis(5000), None, "not begun");
    watched.hears(running(Phase::Training), 10_000);
    watched.hears(losses(Phase::Training, 1..=3), 12_000);
    assert_eq!(watched.run().elapsed_millis(13_000), Some(3000), "running");
    // The companion was killed after 12 s, and started again an hour later.
    watched.hears(state(JobState::Queued), 3_612_000);
    watched.hears(running(Phase::Training), 3_613_000);
    assert_eq!(
        watched.run().elapsed_millis(3_614_000),
        Some(3000),
        "2 s before, 1 s since"
    );
    watched.hears(
        state(JobState::Paused {
            phase: Phase::Training,
            reason: PauseReason::User,
        }),
        3_615_000,
    );
    assert_eq!(
        watched.run().elapsed_millis(9_999_999),
        Some(4000),
        "paused"
    );
    assert_eq!(
        watched.run().elapsed_millis(0),
        Some(4000),
        "a clock that runs behind"
    );
}

#[test]
fn preparing_the_gpu_is_shown_where_it_happens_and_nowhere_else() {
    let has_it = |watched: &Watched| {
        let phases = watched.run().phases();
        phases.iter().position(|it| it.phase == Phase::Compiling)
    };
    let mut watched = Watched::new(job(Method::Addift));
    watched.hears(running(Phase::Loading), 1000);
    assert_eq!(has_it(&watched), None, "not planned");
    watched.hears(running(Phase::Compiling), 2000);
    assert_eq!(has_it(&watched), Some(1), "after Loading");
    watched.hears(running(Phase::Training), 3000);
    assert_eq!(has_it(&watched), Some(1), "it was done");
}

#[test]
fn a_copier_that_was_there_already_is_skipped() {
    let mut watched = Watched::new(job(Method::Copier));
    watched.hears(running(Phase::Loading), 1000);
    watched.hears(running(Phase::Training), 1000);
    let phases = watched.run().phases();
    let copier = phases
        .iter()
        .find(|phase| phase.phase == Phase::Copier)
        .unwrap();
    assert_eq!(copier.status, PhaseStatus::Skipped, "it was not trained");
    let given = TrainJob {
        copier: CopierChoice::Given(mimeo_protocol::CopierId(1)),
        ..job(Method::Copier)
    };
    let run = Run::new(&summary(JOB, given));
    assert!(
        run.phases()
            .iter()
            .all(|phase| phase.phase != Phase::Copier),
        "nor planned"
    );
}

#[test]
fn a_run_that_was_stopped_shows_how_far_it_came() {
    let mut watched = Watched::new(job(Method::Addift));
    watched.hears(running(Phase::Training), 1000);
    watched.hears(losses(Phase::Training, 1..=12), 1000);
    watched.hears(running(Phase::Saving), 1000);
    let lora = file(1, FileKind::Lora);
    watched.hears(JobEventKind::File { file: lora }, 1000);
    watched.hears(state(JobState::Stopped), 1000);
    assert_eq!(watched.headline(), "Stopped · step 12 of 30", "in words");
    let phases = watched.run().phases();
    let training = phases
        .iter()
        .find(|phase| phase.phase == Phase::Training)
        .unwrap();
    assert_eq!(
        (training.status, training.share()),
        (PhaseStatus::Ended, Some(0.4)),
        "and as a bar"
    );
    assert!(watched.run().result().is_some(), "the LoRA was kept");
}

#[test]
fn a_discarded_run_has_no_files() {
    let mut watched = Watched::new(job(Method::Addift));
    watched.hears(running(Phase::Training), 1000);
    let step = FileKind::Step {
        phase: Phase::Training,
        step: 10,
    };
    watched.hears(
        JobEventKind::File {
            file: file(1, step),
        },
        1000,
    );
    assert_eq!(watched.run().files().len(), 1, "saved on the way");
    watched.hears(state(JobState::Stopped), 1000);
    assert!(watched.run().files().is_empty(), "the server removed it");
}

#[test]
fn previews_and_saves_are_pins_and_columns() {
    let mut watched = Watched::new(job(Method::Addift));
    watched.hears(running(Phase::Training), 1000);
    for (id, step) in [(1, 10), (2, 15)] {
        let kind = FileKind::Step {
            phase: Phase::Training,
            step,
        };
        watched.hears(
            JobEventKind::File {
                file: file(id, kind),
            },
            1000,
        );
    }
    assert_eq!(
        watched.run().thumbnail(),
        Some(blob(2)),
        "B, until there is a preview"
    );
    for strength in [-1.0, 0.0, 1.0] {
        watched.hears(preview(Phase::Training, 10, strength), 1000);
    }
    let run = watched.run();
    assert_eq!(run.thumbnail(), Some(blob(10)), "the preview");
    let pins: Vec<(u32, bool, bool)> = run
        .pins()
        .iter()
        .map(|pin| (pin.column.step, pin.has_preview, pin.has_file))
        .collect();
    assert_eq!(pins, [(10, true, true), (15, false, true)], "one a step");
    let files: Vec<_> = run
        .columns()
        .into_iter()
        .map(|column| run.file_at(column).map(|file| file.id))
        .collect();
    assert_eq!(
        files,
        [Some(FileId(1)), Some(FileId(2))],
        "to be taken, with a picture and without"
    );
}

#[test]
fn the_share_of_a_run_only_grows() {
    let mut watched = Watched::new(job(Method::Copier));
    let mut last = watched.run().share();
    assert_eq!(last, 0.0, "nothing is done");
    for phase in Phase::ALL {
        watched.hears(running(phase), 1000);
        for done in [1, 5, 10] {
            watched.is_told(&progress(phase, done, 10, 0.1));
            let share = watched.run().share();
            assert!(share >= last, "{phase:?} {done}: {share} after {last}");
            last = share;
        }
    }
    watched.hears(state(JobState::Finished), 2000);
    assert_eq!(watched.run().share(), 1.0, "all of it");
}

#[test]
fn what_is_said_aloud_changes_with_phases_and_quarters_only() {
    let mut watched = Watched::new(job(Method::Addift));
    watched.hears(running(Phase::Training), 1000);
    let mut said = vec![watched.run().announcement()];
    for done in 1..=30 {
        watched.is_told(&progress(Phase::Training, done, 30, 1.0));
        said.push(watched.run().announcement());
    }
    said.dedup();
    assert_eq!(
        said,
        [
            "smile: Training",
            "smile: Training, 25 %",
            "smile: Training, 50 %",
            "smile: Training, 75 %",
            "smile: Training, 100 %",
        ],
        "five sentences for thirty steps"
    );
}

#[test]
fn buttons_know_what_the_server_would_refuse() {
    let mut watched = Watched::new(job(Method::Addift));
    let can = |watched: &Watched, control| watched.run().can(control).is_ok();
    assert!(
        can(&watched, JobControl::Discard),
        "a waiting job can be taken back"
    );
    assert!(!can(&watched, JobControl::Pause), "but not paused");
    watched.hears(running(Phase::Training), 1000);
    assert!(can(&watched, JobControl::PreviewNow), "while it trains");
    watched.hears(running(Phase::Scoring), 1000);
    assert_eq!(
        watched.run().can(JobControl::PreviewNow),
        Err("training is over and the result is on its way"),
        "with the reason"
    );
    watched.hears(state(JobState::Stopped), 1000);
    assert!(can(&watched, JobControl::Retry), "after all");
}

#[test]
fn only_what_changed_is_told() {
    let before = job(Method::Copier);
    let differs = |before: &TrainJob, after: &TrainJob| super::differs(before, after, &[]);
    assert!(differs(&before, &before.clone()).is_empty(), "nothing did");
    let mut after = before.clone();
    after.examples[0].mask = Some(blob(3));
    after.recipe.pass.rank = Rank::constant(4);
    after.recipe.calibrate = false;
    assert_eq!(
        differs(&before, &after),
        [
            ("Mask", "painted".to_owned()),
            ("Rank", "4".to_owned()),
            ("Calibrate strength", "off".to_owned()),
        ],
        "with the new values"
    );
    let mut measured = before.clone();
    measured.recipe.score_budget = None;
    measured.recipe.held_out_prompts = vec!["a girl".to_owned(), "a cat".to_owned()];
    assert_eq!(
        differs(&before, &measured),
        [
            ("Score budget", "full".to_owned()),
            ("Held-out prompts", "2 of one's own".to_owned()),
        ],
        "what no number means, and how many"
    );
    let mut decoded = before.clone();
    decoded.vae = Some("kl-f8".to_owned().try_into().expect("an id"));
    let expected = ("VAE", "kl-f8".to_owned());
    assert_eq!(differs(&before, &decoded), [expected], "named");
    let expected = ("VAE", "the base's own".to_owned());
    assert_eq!(differs(&decoded, &before), [expected], "none");
    let other = job(Method::Addift);
    let changes = differs(&before, &other);
    assert_eq!(
        changes.first(),
        Some(&("Method", "Direct difference".to_owned())),
        "the method before its numbers"
    );
}

#[test]
fn the_copier_that_a_run_builds_upon_is_told_by_its_name() {
    let of_its_own = job(Method::Copier);
    let mut upon = of_its_own.clone();
    upon.copier = CopierChoice::Given(CopierId(3));
    let inks = CopierInfo {
        id: CopierId(3),
        name: "inks".parse().expect("a name"),
        original: None,
        kind: CopierKind::Style,
        base: BaseId::bundled(),
        fidelity: None,
        steps: 0,
        file: ResultFile {
            id: FileId(1),
            kind: FileKind::Copier,
            name: "inks_copy.safetensors".to_owned(),
            bytes: 4,
            sha256: blob(3),
        },
        finished_millis: 0,
    };
    let told = |before, after, copiers: &[CopierInfo]| differs(before, after, copiers);
    let copier = |text: &str| vec![("Copier", text.to_owned())];
    let there = std::slice::from_ref(&inks);
    assert_eq!(told(&of_its_own, &upon, there), copier("inks"), "by name");
    assert_eq!(told(&of_its_own, &upon, &[]), copier("one that is gone"));
    assert_eq!(told(&upon, &of_its_own, there), copier("its own"), "back");
    let mut anew = of_its_own.clone();
    anew.copier = CopierChoice::New;
    assert_eq!(told(&of_its_own, &anew, there), [], "both are its own");
    let mut addift = of_its_own.clone();
    addift.recipe.method = Method::Addift;
    let method = vec![("Method", "Direct difference".to_owned())];
    assert_eq!(told(&upon, &addift, there), method, "which has none");
}

#[test]
fn a_run_whose_loss_broke_down_is_run_again_more_gently() {
    let mut watched = Watched::new(job(Method::Copier));
    watched.hears(running(Phase::Training), 1000);
    watched.hears(losses(Phase::Training, 1..=2), 1000);
    assert_eq!(
        watched.run().to_run_again(),
        *watched.run().job(),
        "all is well"
    );
    let message = "the loss is not finite at step 3. Lower the learning rate.".to_owned();
    watched.hears(state(JobState::Failed { message }), 1000);
    let (again, before) = (watched.run().to_run_again(), watched.run().job());
    assert_eq!(
        again.recipe.pass.learning_rate.get(),
        before.recipe.pass.learning_rate.get() / 2.0,
        "of the LoRA"
    );
    assert_eq!(
        again.recipe.copier, before.recipe.copier,
        "the copier went well"
    );
    let report = watched.run().report();
    for part in [
        "smile",
        "not finite at step 3",
        "until step 2",
        "learning_rate",
    ] {
        assert!(report.contains(part), "{part} is in the details: {report}");
    }
}

#[test]
fn a_run_that_came_with_the_snapshot_is_complete_once_it_was_asked_for() {
    let mut known = summary(JOB, job(Method::Addift));
    known.seq = 3;
    known.state = JobState::Finished;
    let mut runs = Runs::default();
    let gaps = runs.welcome(&snapshot(vec![known]));
    assert!(
        gaps.is_empty(),
        "a finished run is asked for when it is looked at"
    );
    assert!(runs.get(JOB).unwrap().needs_events(), "which it needs");
    assert_eq!(
        runs.ask(JOB),
        Some(Gap { job: JOB, after: 0 }),
        "from the first"
    );
    assert_eq!(runs.ask(JOB), None, "once");
    let kinds = [
        state(JobState::Queued),
        running(Phase::Training),
        state(JobState::Finished),
    ];
    for (seq, kind) in (1..).zip(kinds) {
        let event = ServerMessage::Event(JobEvent {
            job: JOB,
            seq,
            at_millis: seq,
            kind,
        });
        assert_eq!(runs.apply(&event), Outcome::Changed, "event {seq}");
        assert_eq!(runs.apply(&event), Outcome::Nothing, "event {seq}, again");
        let run = runs.get(JOB).unwrap();
        assert_eq!(
            *run.state(),
            JobState::Finished,
            "the past does not come back"
        );
        assert!(!run.needs_events(), "the rest is on its way");
    }
}

#[test]
fn a_gap_is_asked_for_once_and_again_if_that_was_refused() {
    let mut watched = Watched::new(job(Method::Addift));
    let event = |seq| {
        ServerMessage::Event(JobEvent {
            job: JOB,
            seq,
            at_millis: 0,
            kind: losses(Phase::Training, 1..=1),
        })
    };
    let gap = Outcome::Gap(Gap { job: JOB, after: 1 });
    assert_eq!(watched.runs.apply(&event(3)), gap, "the second is missing");
    assert_eq!(
        watched.runs.apply(&event(4)),
        Outcome::Nothing,
        "and was asked for"
    );
    watched.runs.not_coming(JOB);
    assert_eq!(watched.runs.apply(&event(5)), gap, "refused, so once more");
}

#[test]
fn a_number_that_stands_for_another_job_begins_anew() {
    let mut watched = Watched::new(job(Method::Addift));
    watched.hears(running(Phase::Training), 1000);
    let gaps = watched
        .runs
        .welcome(&snapshot(vec![summary(JOB, job(Method::Plain))]));
    assert!(gaps.is_empty(), "nothing was followed");
    assert_eq!(watched.run().seq(), 0, "nothing of the old one stays");
    assert_eq!(
        *watched.run().state(),
        JobState::Queued,
        "this is how it is"
    );
}

#[test]
fn jobs_that_are_gone_are_gone() {
    let mut watched = Watched::new(job(Method::Addift));
    let removed = ServerMessage::Removed { job: JOB };
    assert_eq!(watched.runs.apply(&removed), Outcome::Changed, "deleted");
    assert_eq!(watched.runs.apply(&removed), Outcome::Nothing, "once");
    assert!(watched.runs.is_empty(), "nothing is left");
    let mut watched = Watched::new(job(Method::Addift));
    assert!(
        watched.runs.welcome(&snapshot(vec![])).is_empty(),
        "nothing to ask for"
    );
    assert!(watched.runs.is_empty(), "deleted while the page was away");
}

#[test]
fn waiting_jobs_are_in_the_servers_order_and_move_by_one() {
    let mut runs = Runs::default();
    let jobs = [1, 2, 3].map(|id| summary(JobId(id), job(Method::Addift)));
    assert!(
        runs.welcome(&snapshot(jobs.to_vec())).is_empty(),
        "nothing runs"
    );
    let [one, two, three] = [1, 2, 3].map(JobId);
    let order = vec![three, one, two];
    assert_eq!(
        runs.apply(&ServerMessage::Queue { order }),
        Outcome::Changed,
        "moved"
    );
    let waiting: Vec<JobId> = runs.waiting().iter().map(|run| run.id()).collect();
    assert_eq!(waiting, [three, one, two], "the next one first");
    assert_eq!(
        runs.moved(one, -1),
        Some(Some(three)),
        "earlier: before the first"
    );
    assert_eq!(runs.moved(one, 1), Some(None), "later: to the end");
    assert_eq!(
        runs.moved(three, 1),
        Some(Some(two)),
        "later: before the last"
    );
    assert_eq!(runs.moved(three, -1), None, "it is first");
    assert_eq!(runs.moved(two, 5), None, "it is last");
    assert_eq!(runs.moved(JobId(9), 1), None, "it does not wait");
    let newest: Vec<JobId> = runs.iter().map(Run::id).collect();
    assert_eq!(newest, [three, two, one], "in the list, the newest first");
    assert_eq!(runs.previous(two).map(Run::id), Some(one), "the one before");
}

#[test]
fn progress_that_comes_before_its_phase_waits_for_it() {
    let mut watched = Watched::new(job(Method::Addift));
    watched.hears(running(Phase::Encoding), 1000);
    watched.is_told(&progress(Phase::Training, 3, 30, 1.0));
    assert_eq!(watched.headline(), "Encoding", "not yet");
    watched.hears(running(Phase::Training), 1000);
    assert!(watched.headline().starts_with("Training · step 3"), "now");
}

#[test]
fn a_job_that_cannot_be_read_is_listed_until_it_is_deleted() {
    let mut runs = Runs::default();
    let mut snapshot = snapshot(vec![]);
    snapshot.unreadable = vec![UnreadableJob {
        id: JOB,
        submitted_millis: None,
        message: "this run cannot be read (it is damaged).".to_owned(),
    }];
    assert_eq!(runs.welcome(&snapshot), [], "there is nothing to ask for");
    runs.check().unwrap();
    assert!(!runs.is_empty(), "it is in the list");
    let told: Vec<String> = runs.unreadable().iter().map(words::unreadable).collect();
    assert_eq!(
        told,
        ["This run cannot be read (it is damaged)."],
        "its sentence"
    );
    assert!(runs.iter().next().is_none(), "and is no run");

    let removed = ServerMessage::Removed { job: JOB };
    assert_eq!(runs.apply(&removed), Outcome::Changed, "deleted");
    assert!(runs.is_empty(), "and gone");
    assert_eq!(runs.apply(&removed), Outcome::Nothing, "once");
}
