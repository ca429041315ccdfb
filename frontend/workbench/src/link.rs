//! The conversation with whoever trains, as decisions: where it trains, when to connect, to wait, to
//! start again, and to turn to another place.
//!
//! A [`Supervisor`] hears what happened ([`Event`]) and says what to do ([`Effect`]). Sockets, workers
//! and timers are the page's, which carries the effects out in their order and reports what comes of
//! them. There is never more than one line, one timer and one question about the GPU under way.
//!
//! - [`greeting`]: what the two sides say first. [`Host`]: what the other side said about itself.

pub mod greeting;
mod host;
mod restarts;
#[cfg(test)]
mod tests;

use mimeo_protocol::Phase;

use crate::backend::{self, Backend, BackendFacts, Choice, Companion, TrainerBuild, WebGpu, Wish};
use crate::preflight;

pub use host::Host;
use restarts::Restarts;

/// Seconds between two tries to reach the companion: after a line that stood, and after each try
/// that failed.
const PAUSES_SECS: [u32; 5] = [1, 1, 2, 4, 8];

/// Why a worker is gone that said nothing.
const FAILED: &str =
    "The trainer in this browser ended without a reason. Reload the page, or use the companion.";

/// How the line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Not yet, for the first time.
    Connecting,
    /// It stands.
    Connected,
    /// The companion is gone, or was never there; another try follows by itself.
    Lost {
        /// Seconds until then.
        retry_secs: u32,
    },
    /// The other side does not want to talk to this page; the sentence says why.
    Refused(String),
    /// Another tab of this browser trains.
    Elsewhere,
    /// Another tab took over; its sentence.
    Taken(String),
    /// The trainer in this browser ended.
    Broken {
        /// Why, and what to do.
        why: String,
        /// Seconds until it is started again; none if that is for the user to say.
        retry_secs: Option<u32>,
    },
}

impl Status {
    /// How the line is, as far as training needs it.
    ///
    /// - `is_browser`: it trains in this browser
    #[must_use]
    pub const fn line(&self, is_browser: bool) -> preflight::LinkState {
        use preflight::LinkState;
        match self {
            Self::Connected => LinkState::Ready,
            Self::Connecting
            | Self::Broken {
                retry_secs: Some(_),
                ..
            } => LinkState::Coming,
            Self::Elsewhere | Self::Taken(_) => LinkState::Elsewhere,
            Self::Broken {
                retry_secs: None, ..
            } => LinkState::Broken,
            Self::Refused(_) if is_browser => LinkState::Broken,
            Self::Lost { .. } | Self::Refused(_) => LinkState::NoCompanion,
        }
    }
}

/// How a line ended, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Without a word.
    Lost,
    /// The companion does not know the token; its sentence.
    Token(String),
    /// The other side does not want this page; the sentence says why.
    Refused(String),
    /// The worker is of no use any more; the sentence says why.
    Broken(String),
    /// Another tab trains now; its sentence.
    Taken(String),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The page is there.
    Opened,
    /// The user wants it to train there.
    Chosen(Wish),
    /// The user does not want to wait, or wants it to be tried once more.
    Retried,
    /// The user wants it to train in this tab and in no other.
    TakenOver,
    /// The page is looked at again, or the network is back.
    Seen,
    /// Somebody wants to know what the browser's GPU is.
    GpuWanted,
    /// What the browser says of its GPU.
    Gpu(WebGpu),
    /// Nothing of the place before is on the page any more.
    Forgotten,
    /// A second has passed.
    Second,
    /// The worker is loaded.
    Loaded,
    /// The worker waits, because another tab trains.
    Elsewhere,
    /// The other side welcomes this page: the line stands.
    Welcomed {
        /// Whether it computes on a GPU.
        is_gpu: bool,
        /// Whether it has runs under way or waiting.
        is_busy: bool,
    },
    /// Whether it has runs under way or waiting, from now on.
    Busy(bool),
    /// A run is in this phase.
    Ran(Phase),
    /// The line ended, or could not be opened.
    Ended(End),
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Keep the user's choice for when the page is opened again.
    Keep(Wish),
    /// Ask the browser for its GPU; [`Event::Gpu`] answers.
    AskForGpu,
    /// Let go of everything that the place said: its numbers mean other jobs at the next one. Report
    /// [`Event::Forgotten`] when the page shows nothing of it any more.
    Forget,
    /// Open the line to a place.
    Connect(Backend),
    /// End the line, if it did not end itself: nobody answers what was asked on it, and it reports
    /// nothing more.
    HangUp,
    /// Tell the worker to take over from the other tab.
    TakeOver,
    /// Report [`Event::Second`] in a second, in place of an earlier wait.
    Wait,
}

/// What is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Where it trains hangs on the browser's GPU, which is asked for.
    Choosing,
    /// The page lets go of what the last place said.
    Forgetting,
    /// The line is being opened.
    Opening,
    /// The line stands.
    Talking,
    /// The next try follows.
    Pausing {
        /// In so many seconds.
        left: u32,
    },
    /// The next try is for the user to begin.
    Resting,
}

/// Who decides about the line for as long as the page is open.
#[derive(Debug)]
pub struct Supervisor {
    status: Status,
    wish: Wish,
    facts: BackendFacts,
    place: Option<Backend>,
    reason: String,
    stage: Stage,
    /// What was known of the companion before anything was asked.
    first_guess: Companion,
    /// Whether the place stays until the user wants something else: a choice does not change under a
    /// run.
    is_settled: bool,
    /// Whether the browser is being asked for its GPU.
    asks_for_gpu: bool,
    /// Whether the worker takes over from another tab, should one train.
    takes_over: bool,
    /// Tries that failed since the companion was there.
    tries: usize,
    restarts: Restarts,
    /// Whether the companion did not know the token the last time either.
    was_token_wrong: bool,
    /// What the event that is being heard leads to.
    effects: Vec<Effect>,
}

impl Supervisor {
    /// Before anything happened.
    ///
    /// - `wish`: as it was kept
    /// - `companion`: what can be told of it before anything is asked
    #[must_use]
    pub fn new(wish: Wish, companion: Companion, trainer: TrainerBuild) -> Self {
        Self {
            status: Status::Connecting,
            wish,
            facts: BackendFacts {
                companion,
                trainer,
                ..BackendFacts::default()
            },
            place: None,
            reason: String::new(),
            stage: Stage::Choosing,
            first_guess: companion,
            is_settled: false,
            asks_for_gpu: false,
            takes_over: false,
            tries: 0,
            restarts: Restarts::default(),
            was_token_wrong: false,
            effects: Vec::new(),
        }
    }

    /// How the line is.
    #[must_use]
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// Where the user wants it to train.
    #[must_use]
    pub const fn wish(&self) -> Wish {
        self.wish
    }

    /// What is known of the places.
    #[must_use]
    pub const fn facts(&self) -> &BackendFacts {
        &self.facts
    }

    /// Where it trains; none while that is being found out.
    #[must_use]
    pub const fn place(&self) -> Option<Backend> {
        self.place
    }

    /// Why there, in one sentence.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Takes in what happened, and says what to do, in this order.
    ///
    /// What is too late to mean anything, such as the second of a pause that is over, leads to nothing.
    #[must_use]
    pub fn on(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Opened => self.set_out(),
            Event::Chosen(wish) => self.choose_anew(wish),
            Event::Retried => self.retry(),
            Event::TakenOver => self.take_over(),
            Event::Seen => self.wake(),
            Event::GpuWanted => self.ask_for_gpu(),
            Event::Gpu(gpu) => self.learn_gpu(gpu),
            Event::Forgotten if self.stage == Stage::Forgetting => self.set_out(),
            Event::Second => self.count_down(),
            Event::Loaded if self.stage == Stage::Opening => {
                self.takes_over = false;
                self.status = Status::Connecting;
            }
            Event::Elsewhere if self.stage == Stage::Opening => match self.takes_over {
                true => self.effects.push(Effect::TakeOver),
                false => self.status = Status::Elsewhere,
            },
            Event::Welcomed { is_gpu, is_busy } if self.stage == Stage::Opening => {
                self.settle(Companion::There { is_gpu, is_busy });
            }
            Event::Busy(now) => self.learn_busy(now),
            Event::Ran(phase) => self.forgive(phase),
            Event::Ended(end) => self.follow(end),
            Event::Forgotten | Event::Loaded | Event::Elsewhere | Event::Welcomed { .. } => {}
        }
        std::mem::take(&mut self.effects)
    }

    fn is_browser(&self) -> bool {
        self.place.is_some_and(Backend::is_browser)
    }

    fn has_line(&self) -> bool {
        matches!(self.stage, Stage::Opening | Stage::Talking)
    }

    /// Goes where it trained, or where it goes best by what is known.
    fn set_out(&mut self) {
        if let Some(place) = self.place.filter(|_| self.is_settled) {
            return self.go(place);
        }
        match backend::choose(&self.facts, self.wish) {
            Some(Choice { place, reason }) => {
                self.reason = reason;
                self.go(place);
            }
            None => {
                self.stage = Stage::Choosing;
                self.status = Status::Connecting;
                self.ask_for_gpu();
            }
        }
    }

    fn go(&mut self, place: Backend) {
        match self.place {
            Some(before) if before == place => {
                // Between two tries to reach the companion it stays lost.
                if place.is_browser() {
                    self.status = Status::Connecting;
                }
                self.connect(place);
            }
            Some(_) => {
                self.place = None;
                self.status = Status::Connecting;
                self.stage = Stage::Forgetting;
                self.effects.push(Effect::Forget);
            }
            None => {
                self.place = Some(place);
                self.status = Status::Connecting;
                // Who comes back later has not asked for it again.
                self.takes_over &= place.is_browser();
                self.connect(place);
            }
        }
    }

    fn connect(&mut self, place: Backend) {
        // A static host would answer "404", which browsers print as an error.
        match self.facts.nowhere() {
            Some(why) if place == Backend::Companion => self.refuse(why),
            _ => {
                self.stage = Stage::Opening;
                self.effects.push(Effect::Connect(place));
            }
        }
    }

    /// Leaves the line, if there is one, for wherever it goes best now.
    fn switch(&mut self) {
        if self.has_line() {
            self.effects.push(Effect::HangUp);
        }
        self.tries = 0;
        // What is being forgotten is first.
        if self.stage != Stage::Forgetting {
            self.set_out();
        }
    }

    /// The user wants something else.
    fn choose_anew(&mut self, wish: Wish) {
        self.effects.push(Effect::Keep(wish));
        self.wish = wish;
        self.is_settled = false;
        self.restarts.forgive();
        let is_talking = self.stage == Stage::Talking;
        if !is_talking || self.is_browser() {
            self.facts.companion = self.first_guess;
        }
        match is_talking {
            true => self.reconsider(),
            false => self.switch(),
        }
    }

    /// Stays where the line stands, or leaves it for a better place.
    fn reconsider(&mut self) {
        match backend::choose(&self.facts, self.wish) {
            Some(choice) if Some(choice.place) == self.place => {
                self.reason = choice.reason;
                self.is_settled = true;
            }
            Some(_) => self.switch(),
            None => self.ask_for_gpu(),
        }
    }

    /// The line stands. A companion that answers for the first time may be left for a browser that is
    /// faster.
    fn settle(&mut self, companion: Companion) {
        self.stage = Stage::Talking;
        self.status = Status::Connected;
        self.was_token_wrong = false;
        if self.is_browser() {
            self.is_settled = true;
            return;
        }
        self.facts.companion = companion;
        if !self.is_settled {
            self.reconsider();
        }
    }

    fn ask_for_gpu(&mut self) {
        if self.facts.gpu == WebGpu::Unknown && !self.asks_for_gpu {
            self.asks_for_gpu = true;
            self.effects.push(Effect::AskForGpu);
        }
    }

    fn learn_gpu(&mut self, gpu: WebGpu) {
        self.asks_for_gpu = false;
        self.facts.gpu = gpu;
        match self.stage {
            Stage::Choosing => self.set_out(),
            Stage::Talking if !self.is_settled => self.reconsider(),
            _ => {}
        }
    }

    /// A run may begin while the browser is asked for its GPU.
    fn learn_busy(&mut self, now: bool) {
        if self.stage == Stage::Talking
            && !self.is_browser()
            && let Companion::There { is_busy, .. } = &mut self.facts.companion
        {
            *is_busy = now;
        }
    }

    /// A worker that comes to train is worth being started again.
    fn forgive(&mut self, phase: Phase) {
        let is_start = matches!(phase, Phase::Loading | Phase::Compiling | Phase::Encoding);
        if !is_start {
            self.restarts.forgive();
        }
    }

    fn retry(&mut self) {
        match self.stage {
            Stage::Pausing { .. } => self.set_out(),
            Stage::Resting => {
                self.restarts.forgive();
                self.set_out();
            }
            _ => {}
        }
    }

    /// What waits for the user is not started by a glance, and a worker that ended has its pause.
    fn wake(&mut self) {
        let is_pausing = matches!(self.stage, Stage::Pausing { .. });
        if is_pausing && !self.is_browser() {
            self.set_out();
        }
    }

    fn take_over(&mut self) {
        match (&self.status, self.stage) {
            (Status::Elsewhere, Stage::Opening) => {
                self.takes_over = true;
                self.effects.push(Effect::TakeOver);
            }
            (Status::Taken(_), Stage::Resting) => {
                self.takes_over = true;
                self.set_out();
            }
            _ => {}
        }
    }

    fn follow(&mut self, end: End) {
        if !self.has_line() {
            return;
        }
        let was_connected = self.stage == Stage::Talking;
        self.effects.push(Effect::HangUp);
        match end {
            End::Refused(why) => self.refuse(why),
            End::Taken(why) => {
                self.status = Status::Taken(why);
                self.stage = Stage::Resting;
            }
            End::Broken(why) => self.restart(why),
            End::Lost | End::Token(_) if self.is_browser() => self.restart(FAILED.to_owned()),
            End::Lost | End::Token(_) if !was_connected && self.does_without_companion() => {
                self.set_out();
            }
            // Another start of the companion has another token: then the next try fetches it.
            End::Token(why) if self.was_token_wrong => self.refuse(why),
            End::Lost | End::Token(_) => {
                self.was_token_wrong = matches!(end, End::Token(_));
                self.tries = if was_connected { 0 } else { self.tries + 1 };
                self.status = Status::Lost { retry_secs: 0 };
                self.pause(self.next_pause());
            }
        }
    }

    /// Whether the browser takes over, because the companion was never there.
    fn does_without_companion(&mut self) -> bool {
        let may = self.wish == Wish::Automatic && !self.is_settled;
        if may {
            self.facts.companion = Companion::Away;
        }
        may && self.facts.trainer == TrainerBuild::Included
    }

    fn refuse(&mut self, why: String) {
        self.status = Status::Refused(why);
        self.tries += 1;
        match self.is_browser() {
            // Only a reload brings another program.
            true => self.stage = Stage::Resting,
            false => self.pause(self.next_pause()),
        }
    }

    /// Starts the worker again, by itself for as long as that may help.
    fn restart(&mut self, why: String) {
        let retry_secs = self.restarts.ended();
        self.status = Status::Broken { why, retry_secs };
        match retry_secs {
            Some(secs) => self.pause(secs),
            None => self.stage = Stage::Resting,
        }
    }

    fn next_pause(&self) -> u32 {
        PAUSES_SECS[self.tries.min(PAUSES_SECS.len() - 1)]
    }

    fn count_down(&mut self) {
        match self.stage {
            Stage::Pausing { left: 0..=1 } => self.set_out(),
            Stage::Pausing { left } => self.pause(left - 1),
            _ => {}
        }
    }

    /// Waits, and says how long still.
    fn pause(&mut self, secs: u32) {
        self.stage = Stage::Pausing { left: secs };
        match &mut self.status {
            Status::Lost { retry_secs } => *retry_secs = secs,
            Status::Broken { retry_secs, .. } => *retry_secs = Some(secs),
            _ => {}
        }
        self.effects.push(Effect::Wait);
    }
}
