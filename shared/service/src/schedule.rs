//! When a running job is saved, shown, held and ended: what its user wants, and what its plan says.

use std::sync::Arc;

use mimeo_engine::runtime::Stopwatch;
use mimeo_engine::{Directive, Event, PassStep, Phase};
use mimeo_protocol::{PreviewPlan, TrainJob};

use crate::steering::{End, Steering};

/// When the state is saved, beside where it must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SaveRule {
    /// After so many seconds.
    pub secs: f64,
    /// After so many steps.
    pub steps: Option<u32>,
}

/// Steps done in a phase.
type Moment = (Phase, u32);

/// The schedule of one run.
#[derive(Debug)]
pub(crate) struct Schedule {
    steering: Arc<Steering>,
    save: SaveRule,
    /// Previews as the job plans them.
    planned: Option<PreviewPlan>,
    /// Previews that the user asks for.
    wished: PreviewPlan,
    now: Moment,
    /// When the state was saved last.
    saved: Option<Moment>,
    saved_since: Stopwatch,
    /// When the LoRA, and then the previews, of the plan were asked for last.
    snapped: Option<Moment>,
    previewed: Option<Moment>,
}

impl Schedule {
    /// The schedule of a run that begins.
    pub fn new(job: &TrainJob, steering: Arc<Steering>, save: SaveRule) -> Self {
        let wished = || PreviewPlan {
            every: job.recipe.pass.steps,
            prompt: job.recipe.prompt.clone(),
            seed: 0,
            strengths: PreviewPlan::STRENGTHS.to_vec(),
        };
        Self {
            steering,
            save,
            planned: job.previews.clone(),
            wished: job.previews.clone().unwrap_or_else(wished),
            now: (Phase::Loading, 0),
            saved: None,
            saved_since: Stopwatch::start(),
            snapped: None,
            previewed: None,
        }
    }

    /// Follows the job.
    pub fn hear(&mut self, event: &Event) {
        match *event {
            Event::Phase { phase, .. } => self.now = (phase, 0),
            Event::Step { phase, step, .. } => self.now = (phase, step),
            Event::Resumed { phase, step } => {
                self.now = (phase, step);
                self.saved = Some(self.now);
            }
            Event::Progress { .. }
            | Event::CopyFidelity { .. }
            | Event::Response { .. }
            | Event::Leak { .. }
            | Event::Note { .. } => {}
        }
    }

    /// The job is before a step, perhaps ahead of what it has told of.
    pub const fn come_to(&mut self, place: PassStep) {
        self.now = (place.phase, place.step);
    }

    /// The state of this moment is kept.
    pub fn state_kept(&mut self, phase: Phase, step: u32) {
        self.saved = Some((phase, step));
        self.saved_since = Stopwatch::start();
    }

    /// Why the job is to end here, if it is.
    pub fn end(&self) -> Option<End> {
        match self.steering.wishes().end? {
            End::Interrupt if !self.is_safe() => None,
            end => Some(end),
        }
    }

    /// Whether the job is to wait here.
    pub fn waits(&self) -> bool {
        let wishes = self.steering.wishes();
        wishes.pause && !wishes.stop && self.is_safe()
    }

    /// Whether nothing would be lost here: in a pass, that the state is kept.
    fn is_safe(&self) -> bool {
        !matches!(self.now.0, Phase::Copier | Phase::Training) || self.saved == Some(self.now)
    }

    /// What to do where there is no step to come.
    pub fn within(&self) -> Directive {
        match self.steering.wishes().stop {
            true => Directive::Stop,
            false => Directive::Step,
        }
    }

    /// What to do before a step.
    pub fn before_step(&mut self, place: PassStep) -> Directive {
        self.come_to(place);
        let wishes = self.steering.wishes();
        if wishes.end == Some(End::Discard) {
            return Directive::Stop;
        }
        let wants_state = wishes.pause || wishes.stop || wishes.end.is_some();
        if self.saved != Some(self.now) && (wants_state || self.is_due()) {
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
            return Directive::Preview(self.wished.clone());
        }
        if let Some(plan) = &self.planned
            && place.step > 0
            && place.step.is_multiple_of(plan.every.get())
        {
            // The LoRA of that step too, so that a good one can be taken.
            if self.snapped.replace(self.now) != Some(self.now) {
                return Directive::SaveLora;
            }
            if self.previewed.replace(self.now) != Some(self.now) {
                return Directive::Preview(plan.clone());
            }
        }
        Directive::Step
    }

    /// Whether it is time to save the state.
    fn is_due(&self) -> bool {
        let (phase, step) = self.now;
        let saved = self.saved.filter(|(saved, _)| *saved == phase);
        let since = step.saturating_sub(saved.map_or(0, |(_, step)| step));
        self.saved_since.secs() >= self.save.secs
            || self.save.steps.is_some_and(|steps| since >= steps)
    }
}

#[cfg(test)]
mod tests {
    use mimeo_protocol::JobControl;

    use super::*;
    use crate::run::tests::job;

    const NEVER: SaveRule = SaveRule {
        secs: f64::INFINITY,
        steps: None,
    };

    fn schedule(steering: &Arc<Steering>, save: SaveRule) -> Schedule {
        let mut schedule = Schedule::new(&job().job, Arc::clone(steering), save);
        let (phase, total) = (Phase::Training, None);
        schedule.hear(&Event::Phase { phase, total });
        schedule
    }

    const fn at(step: u32) -> PassStep {
        PassStep {
            phase: Phase::Training,
            step,
            steps: 100,
        }
    }

    #[test]
    fn a_pause_waits_for_the_state() {
        let steering = Arc::new(Steering::default());
        let mut schedule = schedule(&steering, NEVER);
        assert_eq!(schedule.before_step(at(3)), Directive::Step, "no wish");
        steering.control(JobControl::Pause);
        assert!(!schedule.waits(), "the state is not kept");
        assert_eq!(
            schedule.before_step(at(3)),
            Directive::SaveState,
            "it is wanted"
        );
        schedule.state_kept(Phase::Training, 3);
        assert!(schedule.waits(), "until told");
        steering.control(JobControl::Resume);
        assert!(!schedule.waits(), "told");
    }

    #[test]
    fn an_end_of_the_server_keeps_the_state_first_and_a_discard_does_not() {
        let steering = Arc::new(Steering::default());
        let mut schedule = schedule(&steering, NEVER);
        steering.interrupt();
        assert_eq!(schedule.end(), None, "a step more");
        assert_eq!(
            schedule.before_step(at(1)),
            Directive::SaveState,
            "the state"
        );
        steering.control(JobControl::Discard);
        assert_eq!(schedule.end(), Some(End::Discard), "at once");
        assert_eq!(
            schedule.before_step(at(1)),
            Directive::Stop,
            "nothing is kept"
        );
    }

    #[test]
    fn outside_a_pass_the_job_waits_and_ends_at_once() {
        let steering = Arc::new(Steering::default());
        let mut schedule = schedule(&steering, NEVER);
        let (phase, total) = (Phase::Scoring, None);
        schedule.hear(&Event::Phase { phase, total });
        steering.control(JobControl::Pause);
        assert!(schedule.waits(), "nothing would be lost");
        steering.interrupt();
        assert_eq!(schedule.end(), Some(End::Interrupt), "at once");
    }

    #[test]
    fn the_state_is_saved_every_so_many_steps_of_a_pass() {
        let rule = SaveRule {
            steps: Some(10),
            ..NEVER
        };
        let mut schedule = schedule(&Arc::default(), rule);
        schedule.state_kept(Phase::Copier, 300);
        let mut next = |step| schedule.before_step(at(step));
        assert_eq!(next(9), Directive::Step, "too early");
        assert_eq!(next(10), Directive::SaveState, "ten steps");
        schedule.state_kept(Phase::Training, 10);
        let mut next = |step| schedule.before_step(at(step));
        assert_eq!(next(10), Directive::Step, "it is kept");
        assert_eq!(next(20), Directive::SaveState, "ten more");
    }

    #[test]
    fn what_is_to_be_saved_before_the_first_step_is_saved_after_it() {
        let steering = Arc::new(Steering::default());
        let mut schedule = schedule(&steering, NEVER);
        steering.control(JobControl::SaveNow);
        let mut next = |step| schedule.before_step(at(step));
        assert_eq!(next(0), Directive::Step, "there is nothing yet");
        assert_eq!(next(1), Directive::SaveLora, "now there is");
        assert_eq!(next(1), Directive::Step, "once");
    }
}
