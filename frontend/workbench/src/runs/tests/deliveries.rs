//! Whatever way the events of a job take to a page, it ends up with the same run.

use proptest::prelude::{
    Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};

use super::*;

/// What a server knows: events, and what they add up to, told the way the store tells it.
struct Server {
    summary: JobSummary,
    events: Vec<JobEvent>,
    /// Summary after each event, as a page that comes at that moment is told.
    summaries: Vec<JobSummary>,
}

impl Server {
    fn new() -> Self {
        let mut summary = summary(JOB, job(Method::Copier));
        summary.seq = 0;
        let mut server = Self {
            summary,
            events: vec![],
            summaries: vec![],
        };
        server.record(state(JobState::Queued));
        server
    }

    fn record(&mut self, kind: JobEventKind) {
        self.summary.seq += 1;
        match &kind {
            JobEventKind::State { state } => self.summary.state = state.clone(),
            JobEventKind::File { file } => {
                // A file that is written again keeps its number, and with it its place.
                let files = &mut self.summary.files;
                if !files.iter().any(|known| known.name == file.name) {
                    files.push(file.clone());
                }
            }
            JobEventKind::Scores { scores } => self.summary.scores = Some(scores.clone()),
            _ => {}
        }
        self.events.push(JobEvent {
            job: JOB,
            seq: self.summary.seq,
            at_millis: self.summary.seq * 1000,
            kind,
        });
        self.summaries.push(self.summary.clone());
    }

    /// Does what can be done in this state; nothing where it cannot.
    fn act(&mut self, act: Act) {
        let phase = match &self.summary.state {
            JobState::Running { phase } => Some(*phase),
            _ => None,
        };
        let is_over = self.summary.state.is_over();
        match (act, phase) {
            (Act::Enter(phase), Some(_)) => self.record(running(phase)),
            (Act::Enter(phase), None) if self.summary.state == JobState::Queued => {
                self.record(running(phase));
            }
            (Act::Train { from, steps }, Some(phase)) => {
                self.record(losses(phase, from..=from + steps));
            }
            (Act::Resume { step }, Some(phase)) => {
                self.record(JobEventKind::Resumed { phase, step });
            }
            (Act::Measure { step }, Some(Phase::Copier)) => {
                let fidelity = 0.5;
                self.record(JobEventKind::CopyFidelity { step, fidelity });
            }
            (Act::Draw { step, strength }, Some(phase)) => {
                self.record(preview(phase, step, strength));
            }
            (Act::Save { step }, Some(phase)) => {
                let kind = FileKind::Step { phase, step };
                self.record(JobEventKind::File {
                    file: file(u64::from(step), kind),
                });
            }
            (Act::Note, _) => self.record(JobEventKind::Note {
                text: "No mask was given.".to_owned(),
            }),
            (Act::Keep, Some(_)) => {
                let file = file(1000, FileKind::Lora);
                self.record(JobEventKind::File { file });
                self.record(state(JobState::Stopped));
            }
            (Act::Discard, Some(_)) => {
                self.summary.files.clear();
                self.record(state(JobState::Stopped));
            }
            (Act::Finish, Some(_)) => {
                self.record(JobEventKind::Scores { scores: scores() });
                self.record(state(JobState::Finished));
            }
            (Act::Interrupt, Some(_)) => self.record(state(JobState::Queued)),
            (Act::Retry, None) if is_over && self.summary.state != JobState::Finished => {
                self.record(state(JobState::Queued));
            }
            _ => {}
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Enter(Phase),
    Train { from: u32, steps: u32 },
    Resume { step: u32 },
    Measure { step: u32 },
    Draw { step: u32, strength: f64 },
    Save { step: u32 },
    Note,
    Keep,
    Discard,
    Finish,
    Interrupt,
    Retry,
}

fn act() -> impl Strategy<Value = Act> {
    let step = 1..60_u32;
    let strength = prop::sample::select(vec![-1.0, 0.0, 1.0]);
    prop_oneof![
        3 => prop::sample::select(Phase::ALL.to_vec()).prop_map(Act::Enter),
        4 => (step.clone(), 0..20_u32).prop_map(|(from, steps)| Act::Train { from, steps }),
        1 => step.clone().prop_map(|step| Act::Resume { step }),
        1 => step.clone().prop_map(|step| Act::Measure { step }),
        2 => (step.clone(), strength).prop_map(|(step, strength)| Act::Draw { step, strength }),
        2 => step.prop_map(|step| Act::Save { step }),
        1 => Just(Act::Note),
        1 => Just(Act::Keep),
        1 => Just(Act::Discard),
        1 => Just(Act::Finish),
        1 => Just(Act::Interrupt),
        2 => Just(Act::Retry),
    ]
}

/// What happens between the server and a page.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// The page connects, when the server is so far.
    Connect(usize),
    /// The next events arrive, each so many times.
    Deliver { events: usize, times: usize },
    /// The next events get lost.
    Lose(usize),
    /// The newest events arrive once more, the last one first.
    Repeat(usize),
    /// The run is looked at.
    Look,
    /// What was asked for arrives.
    Answer,
    /// The job is announced again, as it was so many events ago.
    AddAgain(usize),
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        any::<usize>().prop_map(Way::Connect),
        (1..6_usize, 1..3_usize).prop_map(|(events, times)| Way::Deliver { events, times }),
        (1..4_usize).prop_map(Way::Lose),
        (1..8_usize).prop_map(Way::Repeat),
        Just(Way::Look),
        Just(Way::Answer),
        any::<usize>().prop_map(Way::AddAgain),
    ]
}

/// A page and the wire to it.
struct Page<'a> {
    server: &'a Server,
    runs: Runs,
    /// Events that left the server on this connection.
    sent: usize,
    /// What the page asked for.
    asked: Option<Gap>,
}

impl Page<'_> {
    fn go(&mut self, way: Way) -> Result<(), String> {
        let all = self.server.events.len();
        match way {
            Way::Connect(at) => self.connect(self.sent + at % (all - self.sent + 1)),
            Way::Deliver { events, times } => {
                for _ in 0..events.min(all - self.sent) {
                    self.sent += 1;
                    (0..times).try_for_each(|_| self.event(self.sent - 1))?;
                }
            }
            Way::Lose(events) => self.sent = (self.sent + events).min(all),
            Way::Repeat(events) => {
                let from = self.sent.saturating_sub(events);
                (from..self.sent).rev().try_for_each(|at| self.event(at))?;
            }
            Way::Look => self.asked = self.runs.ask(JOB).or(self.asked),
            Way::Answer => self.answer()?,
            Way::AddAgain(at) => {
                if let Some(summary) = self.server.summaries[..self.sent].get(at % self.sent.max(1))
                {
                    let job = Box::new(summary.clone());
                    self.hear(&ServerMessage::Added { job })?;
                }
            }
        }
        self.runs.check()
    }

    fn connect(&mut self, at: usize) {
        let at = at.max(1);
        self.sent = at;
        let snapshot = snapshot(vec![self.server.summaries[at - 1].clone()]);
        self.asked = self.runs.welcome(&snapshot).into_iter().next();
    }

    /// As the server answers: everything after what the page has, up to what it sent by itself.
    fn answer(&mut self) -> Result<(), String> {
        let Some(gap) = self.asked.take() else {
            return Ok(());
        };
        (gap.after as usize..self.sent).try_for_each(|at| self.event(at))
    }

    fn event(&mut self, at: usize) -> Result<(), String> {
        self.hear(&ServerMessage::Event(self.server.events[at].clone()))
    }

    fn hear(&mut self, message: &ServerMessage) -> Result<(), String> {
        if let Outcome::Gap(gap) = self.runs.apply(message) {
            if self.asked == Some(gap) {
                return Err("asked twice for the same".to_owned());
            }
            self.asked = Some(gap);
        }
        self.runs.check()
    }
}

proptest! {
    #[test]
    fn every_way_of_delivery_leads_to_the_same_run(
        acts in prop::collection::vec(act(), 0..60),
        ways in prop::collection::vec(way(), 0..40),
    ) {
        let mut server = Server::new();
        acts.into_iter().for_each(|act| server.act(act));

        let mut plain = Page { server: &server, runs: Runs::default(), sent: 0, asked: None };
        plain.connect(1);
        let all = server.events.len();
        let look = [Way::Look, Way::Answer, Way::Deliver { events: all, times: 1 }];
        for way in look {
            prop_assert_eq!(plain.go(way), Ok(()));
        }

        let mut page = Page { server: &server, runs: Runs::default(), sent: 0, asked: None };
        page.connect(1);
        for way in ways.into_iter().chain([Way::Connect(all - page.sent)]).chain(look) {
            prop_assert_eq!(page.go(way), Ok(()), "after {:?}", way);
        }
        // It may have been cut off in the middle of the last answer.
        page.connect(all);
        for way in look {
            prop_assert_eq!(page.go(way), Ok(()));
        }
        let (run, expected) = (page.runs.get(JOB).unwrap(), plain.runs.get(JOB).unwrap());
        prop_assert!(!run.needs_events(), "everything is here");
        prop_assert_eq!(run, expected);
        prop_assert_eq!(run.seq(), all as u64);
    }
}
