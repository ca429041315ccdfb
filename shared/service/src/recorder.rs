//! Writes down what a running job reports and leaves, and answers the engine what is wanted of it.
//!
//! Nothing is reported that is not kept: when the [`Archive`] cannot take any more, the run ends
//! with that [`Trouble`].

use std::cell::RefCell;
use std::sync::Arc;

use mimeo_checkpoint::LoraFile;
use mimeo_engine::artifact::encode;
use mimeo_engine::runtime::Stopwatch;
use mimeo_engine::{
    Artifact, Control, Directive, EngineError, Event, FinishedCopier, Kept, Outcome, Phase, Place,
    TrainingState,
};
use mimeo_image::{Rgb, encode_png};
use mimeo_protocol::{
    FileKind, JobEventKind, JobProgress, LossPoint, Pace as KnownPace, PauseReason, Precision,
    PreviewPlan, Strength, TrainJob, Transition,
};

use crate::archive::{Archive, KeptPicture, NewCopier, Trouble};
use crate::pace::Pace;
use crate::prepare::{JobToRun, Prepared};
use crate::steering::{End, Steering};

/// Losses are told at most this often.
const LOSSES_EVERY_SECS: f64 = 0.1;

/// When the state is saved, beside where it must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SaveRule {
    /// After so many seconds.
    pub secs: f64,
    /// After so many steps.
    pub steps: Option<u32>,
}

/// How a run went.
#[derive(Debug)]
pub enum Went {
    /// To its end, or to where the user stopped it.
    Through(Box<Artifact>),
    /// It was ended from outside.
    Ended(End),
    /// What is wrong and what to do.
    Wrong(String),
}

impl From<EngineError> for Went {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::StoppedBeforeTraining => Self::Ended(End::Discard),
            error => Self::Wrong(error.to_string()),
        }
    }
}

/// What to do with a run between two of its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Go on.
    Go,
    /// Wait until the wishes change, and ask again.
    Wait,
    /// Give it up.
    End(End),
}

/// The writer of one run.
#[derive(Debug)]
pub struct Recorder<A> {
    archive: A,
    job: JobToRun,
    steering: Arc<Steering>,
    save: SaveRule,
    /// Of base, picture and recipe, once known.
    fingerprint: Option<String>,
    /// Of the picture as it is trained, once known.
    pixels: Option<u64>,
    phase: Phase,
    pace: Pace,
    losses: Vec<LossPoint>,
    losses_told: Stopwatch,
    saved: Option<(Phase, u32)>,
    saved_since: Stopwatch,
    previewed: Option<(Phase, u32)>,
    snapped: Option<(Phase, u32)>,
    is_paused: bool,
    /// Whether it was told that previews have no room.
    told_no_room: bool,
    /// What keeps the run from going on.
    pub trouble: Option<Trouble>,
    /// Whether the state was saved since the user asked for a pause, or the server for an end.
    pub is_safe_to_wait: bool,
}

impl<A: Archive> Recorder<A> {
    /// The writer of a run that begins.
    pub fn new(archive: A, job: JobToRun, steering: Arc<Steering>, save: SaveRule) -> Self {
        Self {
            archive,
            job,
            steering,
            save,
            fingerprint: None,
            pixels: None,
            phase: Phase::Loading,
            pace: Pace::new(None),
            losses: Vec::new(),
            losses_told: Stopwatch::start(),
            saved: None,
            saved_since: Stopwatch::start(),
            previewed: None,
            snapped: None,
            is_paused: false,
            told_no_room: false,
            trouble: None,
            is_safe_to_wait: false,
        }
    }

    /// Where it writes.
    pub const fn archive(&mut self) -> &mut A {
        &mut self.archive
    }

    /// What was asked for.
    pub const fn job(&self) -> &TrainJob {
        &self.job.job
    }

    /// Takes what is known of the job once its pictures are read.
    pub fn prepared(&mut self, prepared: &Prepared) {
        self.pixels = Some(prepared.pixels);
        self.fingerprint.clone_from(&prepared.fingerprint);
    }

    /// Whether the job is between steps of a pass, so that its state has to be saved first.
    pub const fn is_training(&self) -> bool {
        matches!(self.phase, Phase::Copier | Phase::Training)
    }

    /// Takes an event of the engine.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Phase { phase, total } => {
                self.tell_losses();
                self.keep_pace();
                self.phase = phase;
                self.pace = Pace::new(total);
                self.is_safe_to_wait = false;
                self.change_state(&Transition::Enter(phase));
                self.tell_progress();
            }
            Event::Progress { done } => {
                self.pace.reached(done);
                self.tell_progress();
            }
            Event::Resumed { phase, step } => {
                self.pace.starts_at(step);
                self.saved = Some((phase, step));
                self.record(&JobEventKind::Resumed { phase, step });
                self.tell_progress();
            }
            Event::Step {
                step, loss, secs, ..
            } => {
                self.is_safe_to_wait = false;
                self.losses.push(LossPoint { step, loss });
                if self.losses_told.secs() >= LOSSES_EVERY_SECS {
                    self.tell_losses();
                }
                self.pace.took(step, secs);
                self.tell_progress();
            }
            Event::CopyFidelity { step, fidelity } => {
                self.tell_losses();
                self.record(&JobEventKind::CopyFidelity { step, fidelity });
            }
            Event::Note { text } => self.record(&JobEventKind::Note { text }),
        }
    }

    /// Adds a fact.
    pub fn record(&mut self, kind: &JobEventKind) {
        self.persist(|archive| archive.record(kind));
    }

    /// Changes the job's state.
    pub fn change_state(&mut self, transition: &Transition) {
        self.persist(|archive| archive.change_state(transition));
    }

    /// Tells the losses that were not told yet.
    pub fn tell_losses(&mut self) {
        if self.losses.is_empty() {
            return;
        }
        let points = std::mem::take(&mut self.losses);
        let phase = self.phase;
        self.losses_told = Stopwatch::start();
        self.record(&JobEventKind::Losses { phase, points });
    }

    /// Keeps a LoRA or copier for the user.
    pub fn save_lora(&mut self, file: &LoraFile, kind: FileKind, precision: Precision) {
        let mut note = None;
        let encoded = encode(file, precision, |text| note = Some(text.to_owned()));
        if let Some(text) = note {
            self.record(&JobEventKind::Note { text });
        }
        let bytes = match encoded {
            Ok(bytes) => bytes,
            Err(error) => return self.fail(error.to_string()),
        };
        let name = match kind {
            FileKind::Lora => self.job().name.to_string(),
            FileKind::Copier => format!("{}_copy", self.job().name),
            FileKind::Step { phase, step } => {
                let copier = if phase == Phase::Copier { "_copy" } else { "" };
                format!("{}{copier}-{step:06}", self.job().name)
            }
        };
        let name = format!("{name}.safetensors");
        self.persist(|archive| archive.keep_file(kind, &name, &bytes));
    }

    /// Keeps a picture that was drawn with the LoRA.
    pub fn save_preview(
        &mut self,
        (phase, step): (Phase, u32),
        strength: Strength,
        (prompt, seed): (String, u64),
        picture: &Rgb,
    ) {
        let bytes = match encode_png(picture) {
            Ok(bytes) => bytes,
            Err(error) => return self.fail(error.to_string()),
        };
        let mut kept = None;
        self.persist(|archive| {
            kept = Some(archive.keep_picture(&bytes)?);
            Ok(())
        });
        match kept {
            Some(KeptPicture::As(picture)) => self.record(&JobEventKind::Preview {
                phase,
                step,
                strength,
                prompt,
                seed,
                picture,
            }),
            Some(KeptPicture::NoRoom { sentence }) if !self.told_no_room => {
                self.told_no_room = true;
                let text = format!(
                    "There is no room for previews, so this run shows no more of them: {sentence}"
                );
                self.record(&JobEventKind::Note { text });
            }
            Some(KeptPicture::NoRoom { .. }) | None => {}
        }
    }

    /// Keeps a finished copier for other jobs.
    fn save_copier(&mut self, copier: &FinishedCopier) {
        let Some(fingerprint) = self.fingerprint.clone() else {
            return;
        };
        if self.archive.has_copier(&fingerprint) {
            // Its file stays as it is: jobs may be building upon it.
            return;
        }
        // In full precision, so that a job upon it makes the same file as the job that trained it.
        let bytes = match encode(&copier.file, Precision::F32, |_| ()) {
            Ok(bytes) => bytes,
            Err(error) => return self.fail(error.to_string()),
        };
        let file_name = format!("{}_copy.safetensors", self.job().name);
        self.persist(|archive| {
            archive.keep_copier(NewCopier {
                fingerprint: &fingerprint,
                fidelity: copier.fidelity,
                steps: copier.steps,
                file_name: &file_name,
                bytes: &bytes,
            })
        });
    }

    /// Remembers how long the steps of this pass take: what the next recipe will cost is told from
    /// it.
    fn keep_pace(&mut self) {
        let job = &self.job.job;
        let pass = match self.phase {
            Phase::Copier => &job.recipe.copier.pass,
            Phase::Training => &job.recipe.pass,
            _ => return,
        };
        let (Some(pixels), Some(secs_per_step)) = (self.pixels, self.pace.settled_secs()) else {
            return;
        };
        let pace = KnownPace {
            base: job.base.clone(),
            method: job.recipe.method,
            phase: self.phase,
            batch_size: pass.batch_size.get(),
            accumulation: pass.accumulation.get(),
            rank: pass.rank.get(),
            pixels,
            secs_per_step,
        };
        self.archive.keep_pace(&pace);
    }

    /// Keeps the state from which the job can go on.
    fn save_state(&mut self, state: &TrainingState) {
        let bytes = state.to_bytes();
        self.tell_losses();
        self.keep_pace();
        self.persist(|archive| archive.keep_state(&bytes));
        self.saved = Some((state.phase(), state.step()));
        self.saved_since = Stopwatch::start();
        self.is_safe_to_wait = true;
    }

    /// Notes that the run cannot go on.
    pub fn fail(&mut self, message: String) {
        self.trouble.get_or_insert(Trouble::Failed(message));
    }

    /// How the run went, where trouble ended it.
    #[must_use]
    pub fn went_wrong(&self) -> Option<Went> {
        self.trouble.as_ref().map(|trouble| match trouble {
            Trouble::Failed(message) => Went::Wrong(message.clone()),
            Trouble::Ended => {
                let end = self.steering.wishes().end;
                Went::Ended(end.unwrap_or(End::Interrupt))
            }
        })
    }

    /// What to do with the run between two of its steps. A job that begins or ends to wait is noted
    /// as such.
    pub fn between_steps(&mut self) -> Next {
        // Between steps of a pass, only once the state is kept.
        let is_safe = !self.is_training() || self.is_safe_to_wait;
        let wishes = self.steering.wishes();
        match wishes.end {
            Some(End::Discard) => return Next::End(End::Discard),
            Some(End::Interrupt) if is_safe => return Next::End(End::Interrupt),
            _ => {}
        }
        let waits = wishes.pause && is_safe && !wishes.stop;
        if waits != self.is_paused {
            self.is_paused = waits;
            self.change_state(&if waits {
                Transition::Pause(PauseReason::User)
            } else {
                Transition::Resume
            });
        }
        if waits { Next::Wait } else { Next::Go }
    }

    /// Keeps what the run came to: the files and the scores. Before [`Self::settle`], so that a job
    /// is over only once its results are kept.
    pub fn keep_results(&mut self, went: &Went) {
        self.tell_losses();
        let Went::Through(artifact) = went else {
            return;
        };
        let precision = self.job().recipe.precision;
        if let Some(copier) = &artifact.copier {
            self.save_lora(copier, FileKind::Copier, precision);
        }
        if let Some(lora) = &artifact.lora {
            self.save_lora(lora, FileKind::Lora, precision);
        }
        if let Some(scores) = &artifact.scores {
            let scores = scores.clone();
            self.record(&JobEventKind::Scores { scores });
        }
    }

    /// Writes down how the run went: the job's last state. What a discarded job leaves is the
    /// server's to remove.
    pub fn settle(&mut self, went: &Went) {
        self.tell_losses();
        match went {
            Went::Through(artifact) => self.finish(&artifact.outcome),
            // A job that the user paused is found as it was.
            Went::Ended(End::Interrupt) if self.steering.wishes().pause => {}
            Went::Ended(end) => self.change_state(&end.transition()),
            Went::Wrong(message) => self.change_state(&Transition::Fail {
                message: message.clone(),
            }),
        }
    }

    fn finish(&mut self, outcome: &Outcome) {
        let transition = match outcome {
            Outcome::Finished => Transition::Finish,
            Outcome::Stopped { .. } => Transition::Stop,
            Outcome::Diverged { reason } => Transition::Fail {
                message: reason.clone(),
            },
        };
        self.change_state(&transition);
        if transition == Transition::Finish && self.trouble.is_none() {
            self.archive.forget_state();
        }
    }

    fn tell_progress(&mut self) {
        self.archive.tell_progress(JobProgress {
            job: self.job.id,
            phase: self.phase,
            done: self.pace.done(),
            total: self.pace.total(),
            secs_per_unit: self.pace.secs_per_unit(),
            left_secs: self.pace.left_secs(),
        });
    }

    /// Does a write; after trouble, none any more.
    fn persist(&mut self, write: impl FnOnce(&mut A) -> Result<(), Trouble>) {
        if self.trouble.is_none() {
            self.trouble = write(&mut self.archive).err();
        }
    }

    /// Whether it is time to save the state.
    fn is_due(&self, place: Place) -> bool {
        let saved = self.saved.filter(|(phase, _)| *phase == place.phase);
        let since = place.step.saturating_sub(saved.map_or(0, |(_, step)| step));
        self.saved_since.secs() >= self.save.secs
            || self.save.steps.is_some_and(|steps| since >= steps)
    }

    /// Previews as the job plans them, or as it would.
    fn preview_plan(&self) -> PreviewPlan {
        let job = &self.job.job;
        job.previews.clone().unwrap_or_else(|| PreviewPlan {
            every: job.recipe.pass.steps,
            prompt: job.recipe.prompt.clone(),
            seed: 0,
            strengths: PreviewPlan::STRENGTHS.to_vec(),
        })
    }
}

impl<A: Archive> Control for Recorder<A> {
    fn next(&mut self, place: Place) -> Directive {
        let wishes = self.steering.wishes();
        let here = (place.phase, place.step);
        let is_saved = self.saved == Some(here);
        if wishes.pause || wishes.end == Some(End::Interrupt) {
            self.is_safe_to_wait = is_saved;
        }
        if wishes.end == Some(End::Discard) {
            return Directive::Stop;
        }
        let wants_state = wishes.pause || wishes.stop || wishes.end.is_some();
        if !is_saved && (wants_state || self.is_due(place)) {
            return Directive::SaveState;
        }
        if wishes.stop {
            return Directive::Stop;
        }
        // Before the first step there is nothing to save yet; the wish stays.
        if wishes.save && place.step > 0 {
            self.steering.wish(|wishes| wishes.save = false);
            return Directive::SaveLora;
        }
        if wishes.preview {
            self.steering.wish(|wishes| wishes.preview = false);
            return Directive::Preview(self.preview_plan());
        }
        if let Some(plan) = &self.job.job.previews
            && place.step > 0
            && place.step.is_multiple_of(plan.every.get())
        {
            // The LoRA of that step too, so that a good one can be taken.
            if self.snapped.replace(here) != Some(here) {
                return Directive::SaveLora;
            }
            if self.previewed.replace(here) != Some(here) {
                return Directive::Preview(plan.clone());
            }
        }
        Directive::Step
    }

    fn stop_requested(&self) -> bool {
        self.steering.wishes().stop
    }

    fn keep(&mut self, kept: Kept) {
        match kept {
            Kept::State(state) => self.save_state(&state),
            Kept::Lora(Place { phase, step, .. }, file) => {
                let kind = FileKind::Step { phase, step };
                self.save_lora(&file, kind, self.job.job.recipe.precision);
            }
            Kept::Copier(copier) => self.save_copier(&copier),
            Kept::Preview {
                place,
                strength,
                prompt,
                seed,
                picture,
            } => {
                let place = (place.phase, place.step);
                self.save_preview(place, strength, (prompt, seed), &picture);
            }
        }
    }
}

/// The recorder, as the engine and the loop around it both use it.
#[derive(Debug)]
pub struct Shared<'a, A>(pub &'a RefCell<Recorder<A>>);

impl<A: Archive> Control for Shared<'_, A> {
    fn next(&mut self, place: Place) -> Directive {
        self.0.borrow_mut().next(place)
    }

    fn stop_requested(&self) -> bool {
        self.0.borrow().stop_requested()
    }

    fn keep(&mut self, kept: Kept) {
        self.0.borrow_mut().keep(kept);
    }
}

#[cfg(test)]
mod tests {
    use mimeo_checkpoint::{Array, LoraModule};
    use mimeo_protocol::{
        BaseId, BlobId, CopierChoice, JobControl, JobFormat, JobId, Method, ModelSize, Recipe,
    };

    use super::*;

    /// What was kept, in words.
    #[derive(Default)]
    struct Notes {
        lines: Vec<&'static str>,
        trouble: Option<Trouble>,
        is_full_of_pictures: bool,
    }

    impl Notes {
        fn note(&mut self, line: &'static str) -> Result<(), Trouble> {
            self.lines.push(line);
            self.trouble.clone().map_or(Ok(()), Err)
        }
    }

    impl Archive for Notes {
        fn record(&mut self, _: &JobEventKind) -> Result<(), Trouble> {
            self.note("fact")
        }
        fn change_state(&mut self, transition: &Transition) -> Result<(), Trouble> {
            self.note(match transition {
                Transition::Enter(_) => "enter",
                Transition::Pause(_) => "pause",
                Transition::Resume => "resume",
                Transition::Stop => "stop",
                Transition::Interrupt => "interrupt",
                _ => "other",
            })
        }
        fn keep_file(&mut self, _: FileKind, _: &str, _: &[u8]) -> Result<(), Trouble> {
            self.note("file")
        }
        fn keep_picture(&mut self, _: &[u8]) -> Result<KeptPicture, Trouble> {
            self.note("picture")?;
            if self.is_full_of_pictures {
                let sentence = "Delete old runs.".to_owned();
                return Ok(KeptPicture::NoRoom { sentence });
            }
            Ok(KeptPicture::As(BlobId::from_sha256([0; 32])))
        }
        fn has_copier(&self, _: &str) -> bool {
            false
        }
        fn keep_copier(&mut self, _: NewCopier<'_>) -> Result<(), Trouble> {
            self.note("copier")
        }
        fn keep_state(&mut self, _: &[u8]) -> Result<(), Trouble> {
            self.note("state")
        }
        fn forget_state(&mut self) {}
        fn keep_pace(&mut self, _: &KnownPace) {}
        fn tell_progress(&mut self, _: JobProgress) {}
    }

    fn recorder(steering: &Arc<Steering>, save: SaveRule) -> Recorder<Notes> {
        let picture = BlobId::from_sha256([0; 32]);
        let job = TrainJob {
            format: JobFormat::default(),
            name: "x".parse().unwrap(),
            base: BaseId::bundled(),
            original: picture,
            target: picture,
            mask: None,
            recipe: Recipe::preset(Method::Plain, ModelSize::Small),
            copier: CopierChoice::New,
            previews: None,
            scores: false,
        };
        let (id, copier) = (JobId(1), None);
        let job = JobToRun { id, job, copier };
        Recorder::new(Notes::default(), job, Arc::clone(steering), save)
    }

    const NEVER: SaveRule = SaveRule {
        secs: f64::INFINITY,
        steps: None,
    };

    const fn at(step: u32) -> Place {
        Place {
            phase: Phase::Training,
            step,
            steps: 100,
        }
    }

    fn lora() -> LoraFile {
        let array = || Array {
            shape: vec![1, 1],
            data: vec![1.0],
        };
        let module = LoraModule {
            down: array(),
            up: array(),
            alpha: 1.0,
        };
        let mut file = LoraFile::default();
        file.modules.insert("lora_unet_mid".to_owned(), module);
        file
    }

    fn enter(recorder: &mut Recorder<Notes>, phase: Phase) {
        recorder.take(Event::Phase { phase, total: None });
    }

    #[test]
    fn a_pause_waits_for_the_state_and_is_noted_once() {
        let steering = Arc::new(Steering::default());
        let mut recorder = recorder(&steering, NEVER);
        enter(&mut recorder, Phase::Training);
        assert_eq!(recorder.next(at(3)), Directive::Step, "nothing is wished");
        steering.control(JobControl::Pause);
        assert_eq!(recorder.between_steps(), Next::Go, "the state is not kept");
        assert_eq!(recorder.next(at(3)), Directive::SaveState, "it is wanted");
        (recorder.saved, recorder.is_safe_to_wait) = (Some((Phase::Training, 3)), true);
        for _ in 0..2 {
            assert_eq!(recorder.between_steps(), Next::Wait, "until told");
        }
        steering.control(JobControl::Resume);
        assert_eq!(recorder.between_steps(), Next::Go, "told");
        assert_eq!(
            recorder.archive().lines,
            ["enter", "pause", "resume"],
            "once each"
        );
    }

    #[test]
    fn an_end_of_the_server_keeps_the_state_first_and_a_discard_does_not() {
        let steering = Arc::new(Steering::default());
        let mut recorder = recorder(&steering, NEVER);
        enter(&mut recorder, Phase::Training);
        steering.interrupt();
        assert_eq!(recorder.between_steps(), Next::Go, "a step more");
        assert_eq!(recorder.next(at(1)), Directive::SaveState, "the state");
        steering.control(JobControl::Discard);
        assert_eq!(recorder.between_steps(), Next::End(End::Discard), "at once");
        assert_eq!(recorder.next(at(1)), Directive::Stop, "nothing is kept");
    }

    #[test]
    fn the_state_is_saved_every_so_many_steps_of_a_pass() {
        let rule = SaveRule {
            steps: Some(10),
            ..NEVER
        };
        let mut recorder = recorder(&Arc::default(), rule);
        enter(&mut recorder, Phase::Training);
        recorder.saved = Some((Phase::Copier, 300));
        assert_eq!(recorder.next(at(9)), Directive::Step, "too early");
        assert_eq!(recorder.next(at(10)), Directive::SaveState, "ten steps");
        recorder.saved = Some((Phase::Training, 10));
        assert_eq!(recorder.next(at(10)), Directive::Step, "it is kept");
        assert_eq!(recorder.next(at(20)), Directive::SaveState, "ten more");
    }

    #[test]
    fn after_trouble_nothing_is_written_and_the_run_ends() {
        let steering = Arc::new(Steering::default());
        let mut recorder = recorder(&steering, NEVER);
        recorder.archive().trouble = Some(Trouble::Ended);
        enter(&mut recorder, Phase::Loading);
        let text = "too late".to_owned();
        recorder.take(Event::Note { text });
        assert_eq!(recorder.archive().lines, ["enter"], "the one that failed");
        assert!(
            matches!(recorder.went_wrong(), Some(Went::Ended(End::Interrupt))),
            "the run ends: {:?}",
            recorder.trouble
        );
    }

    #[test]
    fn without_room_for_previews_the_run_goes_on_and_says_so_once() {
        let mut recorder = recorder(&Arc::default(), NEVER);
        recorder.archive().is_full_of_pictures = true;
        for step in [10, 20] {
            let asked = ("a face".to_owned(), 0);
            let picture = Rgb::filled(8, 8, [9; 3]);
            let strength = Strength::constant(1.0);
            recorder.save_preview((Phase::Training, step), strength, asked, &picture);
        }
        assert_eq!(
            recorder.archive().lines,
            ["picture", "fact", "picture"],
            "said once"
        );
        assert_eq!(recorder.trouble, None, "and no trouble for the run");
        recorder.save_lora(&lora(), FileKind::Lora, Precision::F32);
        assert_eq!(recorder.archive().lines.last(), Some(&"file"), "its result");
    }

    #[test]
    fn results_are_kept_before_the_job_is_over() {
        let mut recorder = recorder(&Arc::default(), NEVER);
        let went = Went::Through(Box::new(Artifact {
            lora: Some(lora()),
            copier: Some(lora()),
            scores: None,
            outcome: Outcome::Stopped {
                phase: Phase::Training,
                step: 3,
            },
        }));
        recorder.keep_results(&went);
        assert_eq!(recorder.archive().lines, ["file", "file"], "both files");
        recorder.settle(&went);
        assert_eq!(recorder.archive().lines, ["file", "file", "stop"], "then");
    }

    #[test]
    fn a_job_that_trained_nothing_fails_and_leaves_no_file() {
        let mut recorder = recorder(&Arc::default(), NEVER);
        let reason = "the loss exploded at step 6. Lower the learning rate.".to_owned();
        let went = Went::from(EngineError::NothingTrained { reason });
        assert!(
            matches!(&went, Went::Wrong(why) if why.contains("step 6")),
            "{went:?}"
        );
        recorder.keep_results(&went);
        recorder.settle(&went);
        assert_eq!(recorder.archive().lines, ["other"], "its state only");
    }

    #[test]
    fn what_is_to_be_saved_before_the_first_step_is_saved_after_it() {
        let steering = Arc::new(Steering::default());
        let mut recorder = recorder(&steering, NEVER);
        enter(&mut recorder, Phase::Training);
        steering.control(JobControl::SaveNow);
        assert_eq!(
            recorder.next(at(0)),
            Directive::Step,
            "there is nothing yet"
        );
        assert_eq!(recorder.next(at(1)), Directive::SaveLora, "now there is");
        assert_eq!(recorder.next(at(1)), Directive::Step, "once");
    }

    #[test]
    fn an_interrupted_job_waits_again_unless_the_user_had_paused_it() {
        let steering = Arc::new(Steering::default());
        let mut recorder = recorder(&steering, NEVER);
        recorder.settle(&Went::Ended(End::Interrupt));
        assert_eq!(recorder.archive().lines, ["interrupt"], "to the queue");
        steering.control(JobControl::Pause);
        recorder.settle(&Went::Ended(End::Interrupt));
        assert_eq!(recorder.archive().lines, ["interrupt"], "found as it was");
        recorder.settle(&Went::Ended(End::Discard));
        assert_eq!(recorder.archive().lines, ["interrupt", "stop"], "for good");
    }
}
