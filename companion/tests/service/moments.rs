//! Clients that ask at random moments, from just after their welcome on, while jobs begin, pause and
//! end: every request is answered, once, and by its own answer.
//!
//! `MIMEO_SEED` sets other moments.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::SinkExt as _;
use futures_util::future::join_all;
use mimeo_protocol::{
    BlobId, ClientMessage, CopierId, FileId, JobControl, JobId, PreviewRequest, Rejection,
    RequestId, ServerMessage, Steps, TrainJob,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::time::{Instant, timeout, timeout_at};

use crate::client::{Client, frame, micro, portrait};
use crate::companion::Companion;

/// Clients at once, how often each comes anew, and how often it asks each time.
const CLIENTS: u64 = 4;
const VISITS: usize = 10;
const REQUESTS: usize = 60;
/// Of one client the companion works on so many at once, and refuses more.
const AT_ONCE: usize = 16;
/// Milliseconds between two requests that do not come at once.
const APART: u64 = 20;
/// All answers come within this, or some never do.
const PATIENCE: Duration = Duration::from_secs(60);
/// Different pictures that are asked for, by their seeds.
const PICTURES: u64 = 3;
/// Of no job, file or copier here.
const NONE: u64 = 99_999;

fn drawing(seed: u64) -> PreviewRequest {
    PreviewRequest {
        base: micro(),
        seed,
        ..portrait()
    }
}

/// What the clients know.
struct World {
    companion: Companion,
    job: TrainJob,
    /// What is drawn with each seed.
    pictures: BTreeMap<u64, BlobId>,
    /// The newest job.
    newest: RefCell<JobId>,
}

/// What is asked for, and how it may be answered.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Plan,
    Devices,
    Checkpoints,
    Resync,
    /// In time or too late.
    Control(JobControl),
    Preview(u64),
    /// Something with what is not there.
    Missing(fn(RequestId) -> ClientMessage),
}

impl Wish {
    fn random(rng: &mut ChaCha8Rng) -> Self {
        use JobControl as C;
        const CONTROLS: [JobControl; 6] = [
            C::Pause,
            C::Resume,
            C::Resume,
            C::SaveNow,
            C::PreviewNow,
            C::StopAndKeep,
        ];
        const MISSING: [fn(RequestId) -> ClientMessage; 5] = [
            |request| ClientMessage::Delete {
                request,
                job: JobId(NONE),
            },
            |request| ClientMessage::DeleteCopier {
                request,
                copier: CopierId(NONE),
            },
            |request| ClientMessage::Reorder {
                request,
                job: JobId(NONE),
                before: None,
            },
            |request| ClientMessage::Reveal {
                request,
                file: FileId(NONE),
            },
            |request| ClientMessage::Score {
                request,
                file: FileId(NONE),
            },
        ];
        match rng.random_range(0..100) {
            // Each takes the training thread as long as twenty steps.
            0..3 => Self::Preview(rng.random_range(0..PICTURES)),
            // Each asks every graphics driver.
            3 => Self::Devices,
            4..30 => Self::Plan,
            30..45 => Self::Checkpoints,
            45..60 => Self::Resync,
            60..80 => Self::Control(CONTROLS[rng.random_range(0..CONTROLS.len())]),
            _ => Self::Missing(MISSING[rng.random_range(0..MISSING.len())]),
        }
    }

    fn message(self, request: RequestId, world: &World) -> ClientMessage {
        let newest = *world.newest.borrow();
        match self {
            Self::Plan => ClientMessage::Plan {
                request,
                job: Box::new(world.job.clone()),
            },
            Self::Devices => ClientMessage::Devices { request },
            Self::Checkpoints => ClientMessage::ListCheckpoints { request },
            Self::Resync => ClientMessage::Resync {
                request,
                job: newest,
                after: 0,
            },
            Self::Control(control) => ClientMessage::Control {
                request,
                job: newest,
                control,
            },
            Self::Preview(seed) => ClientMessage::Preview {
                request,
                preview: drawing(seed),
            },
            Self::Missing(message) => message(request),
        }
    }

    fn is_answered_by(self, answer: &ServerMessage, world: &World) -> bool {
        use ServerMessage as S;
        match self {
            Self::Plan => matches!(answer, S::Plan { .. }),
            Self::Devices => matches!(answer, S::Devices { .. }),
            Self::Checkpoints => matches!(answer, S::Checkpoints { .. }),
            Self::Resync => matches!(answer, S::Done { .. }),
            Self::Control(_) => {
                matches!(answer, S::Done { .. }) || refusal(answer).is_some_and(is_too_late)
            }
            Self::Preview(seed) => {
                matches!(answer, S::Preview { picture, .. } if world.pictures[&seed] == *picture)
            }
            Self::Missing(_) => refusal(answer).is_some_and(|reason| {
                matches!(reason, Rejection::Missing { .. }) || is_too_late(reason)
            }),
        }
    }
}

const fn refusal(answer: &ServerMessage) -> Option<&Rejection> {
    match answer {
        ServerMessage::Rejected { reason, .. } => Some(reason),
        _ => None,
    }
}

/// What is asked of a job that does not wait, or run, any more.
const fn is_too_late(reason: &Rejection) -> bool {
    matches!(reason, Rejection::State { .. })
}

/// A client with what it still waits for.
struct Visitor<'a> {
    client: Client,
    world: &'a World,
    waiting: BTreeMap<RequestId, Wish>,
    answered: BTreeSet<RequestId>,
}

impl<'a> Visitor<'a> {
    async fn new(world: &'a World) -> Self {
        Self {
            client: world.companion.client().await,
            world,
            waiting: BTreeMap::new(),
            answered: BTreeSet::new(),
        }
    }

    async fn ask(&mut self, wish: Wish) {
        let request = RequestId((self.waiting.len() + self.answered.len()) as u32 + 1);
        let message = frame(&wish.message(request, self.world));
        self.client.socket.send(message).await.unwrap();
        self.waiting.insert(request, wish);
    }

    /// Takes in what comes next.
    async fn hear(&mut self) {
        let Ok(message) = timeout(PATIENCE, self.client.next()).await else {
            panic!(
                "nothing comes any more, not even answers to {:?}",
                self.waiting
            );
        };
        let Some(request) = message.request() else {
            let is_fault = matches!(message, ServerMessage::Rejected { .. });
            assert!(!is_fault, "of no request: {message:?}");
            return;
        };
        let wish = self.waiting.remove(&request);
        let wish = wish.unwrap_or_else(|| panic!("answered once more: {message:?}"));
        assert!(
            wish.is_answered_by(&message, self.world),
            "{wish:?}: {message:?}"
        );
        self.answered.insert(request);
    }

    /// Listens until a moment, and for longer while too much is asked at once.
    async fn listen(&mut self, moment: Instant) {
        while self.waiting.len() >= AT_ONCE {
            self.hear().await;
        }
        while timeout_at(moment, self.hear()).await.is_ok() {}
    }

    /// Listens until everything is answered.
    async fn finish(&mut self) {
        let late = Instant::now() + PATIENCE;
        while !self.waiting.is_empty() {
            self.hear().await;
            assert!(Instant::now() < late, "never answered: {:?}", self.waiting);
        }
    }
}

/// Comes again and again, asks, and goes once everything is answered; how many answers there were.
async fn visit_often(world: &World, seed: u64) -> usize {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut answers = 0;
    for _ in 0..VISITS {
        let mut visitor = Visitor::new(world).await;
        for _ in 0..REQUESTS {
            // Half of them come together with the one before.
            let apart = u64::from(rng.random::<bool>()) * rng.random_range(1..=APART);
            let moment = Instant::now() + Duration::from_millis(apart);
            visitor.listen(moment).await;
            visitor.ask(Wish::random(&mut rng)).await;
        }
        visitor.finish().await;
        // Whatever else it has to say to them, it says before it answers this.
        visitor.ask(Wish::Resync).await;
        visitor.finish().await;
        answers += visitor.answered.len();
    }
    answers
}

/// Keeps the companion busy: short jobs, one after the other, that others pause and stop.
async fn train_for_ever(world: &World) {
    let mut client = world.companion.client().await;
    loop {
        let id = client.submit(world.job.clone()).await;
        world.newest.replace(id);
        if timeout(PATIENCE, client.until_over(id)).await.is_err() {
            let again = world.companion.client().await;
            let states = again
                .snapshot
                .jobs
                .iter()
                .map(|job| (job.id, &job.state, &job.progress));
            panic!(
                "job {id} does not end: {:?} {:?}",
                states.take(3).collect::<Vec<_>>(),
                again.snapshot.queue
            );
        }
        client.events.clear();
    }
}

#[tokio::test]
async fn two_thousand_requests_at_random_moments_are_answered_each_once() {
    let seed: u64 = std::env::var("MIMEO_SEED").map_or(1, |text| text.parse().unwrap());
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let mut job = client.quick_job("short").await;
    job.recipe.pass.steps = Steps::constant(40);
    let mut pictures = BTreeMap::new();
    for seed in 0..PICTURES {
        pictures.insert(seed, client.draw(drawing(seed)).await);
    }
    let newest = client.submit(job.clone()).await;
    let world = World {
        companion,
        job,
        pictures,
        newest: RefCell::new(newest),
    };

    let since = Instant::now();
    let visits = (0..CLIENTS).map(|client| visit_often(&world, seed * CLIENTS + client));
    let answers: usize = tokio::select! {
        answers = join_all(visits) => answers.into_iter().sum(),
        () = train_for_ever(&world) => unreachable!(),
    };
    let jobs = *world.newest.borrow();
    println!(
        "{answers} answers beside {jobs} jobs in {:.1} s (seed {seed})",
        since.elapsed().as_secs_f64()
    );
    assert!(answers >= 2_000, "{answers} requests");
    assert!(jobs >= JobId(5), "jobs begin and end meanwhile: {jobs}");
}

/// What a client's own requests hold of the database must not keep it from answering the next one.
#[tokio::test]
async fn a_burst_of_requests_does_not_wait_for_itself() {
    const SOON: Duration = Duration::from_secs(10);
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let job = client.quick_job("short").await;
    let job = client.submit(job).await;
    client.until_over(job).await;
    for burst in 1..=30 {
        let mut waiting: BTreeSet<RequestId> = (1..=AT_ONCE as u32).map(RequestId).collect();
        for request in waiting.iter().copied() {
            let message = if request.0 == AT_ONCE as u32 {
                ClientMessage::Resync {
                    request,
                    job,
                    after: 0,
                }
            } else {
                ClientMessage::Delete {
                    request,
                    job: JobId(NONE),
                }
            };
            client.socket.feed(frame(&message)).await.unwrap();
        }
        client.socket.flush().await.unwrap();
        while !waiting.is_empty() {
            let Ok(message) = timeout(SOON, client.next()).await else {
                panic!("burst {burst}: no answer to {waiting:?}");
            };
            if let Some(request) = message.request() {
                assert!(waiting.remove(&request), "answered once: {message:?}");
            }
        }
    }
}
