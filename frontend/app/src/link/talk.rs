//! One connection after the other, for as long as the page is open.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;

use futures_channel::{mpsc, oneshot};
use futures_util::future::{Either, select};
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use gloo_timers::future::TimeoutFuture;
use leptos::prelude::*;
use mimeo_protocol::{
    ClientMessage, JobProgress, MAX_SERVER_FRAME, PROTOCOL_VERSION, Phase, Rejection,
    ServerMessage, codec,
};
use mimeo_workbench::Runs;
use mimeo_workbench::backend::{self, Choice, Companion, Facts, Place, Restarts, Trainer, Wish};
use mimeo_workbench::cost;
use mimeo_workbench::runs::{Gap, Outcome};

use super::{Host, Link, OUTBOX, Status, adapter, objects, socket, worker};

/// Seconds between two tries to reach the companion, from the first on.
const PAUSES_SECS: [u32; 5] = [1, 1, 2, 4, 8];

/// An open line: frames there and frames back.
pub struct Line {
    /// What the hello says; empty where nobody asks for it.
    pub token: String,
    /// What the other side says, until the line ends.
    pub frames: Pin<Box<dyn Stream<Item = Vec<u8>>>>,
    /// What is said to it.
    pub sink: Pin<Box<dyn Sink<Vec<u8>, Error = ()>>>,
    /// How long the answer to the hello may take, ms.
    pub hello_within: u32,
    /// What it means if it takes longer, or the line ends without a reason.
    pub late: End,
    /// Why it ended, where the other side says so.
    pub end: Rc<RefCell<Option<End>>>,
}

/// How a connection ended.
pub enum End {
    /// The companion is gone; how far the connection had come.
    Lost {
        /// Whether it had stood.
        was_connected: bool,
    },
    /// The other side does not want this page.
    Refused(String),
    /// The worker is of no use any more.
    Broken(String),
    /// Another tab trains now.
    Taken(String),
    /// The user wants another place, or there is a better one.
    Switched,
}

/// Talks until the page is closed.
pub async fn talk(link: Link) {
    let mut tries = 0;
    loop {
        let (switch, switched) = oneshot::channel();
        link.wires().switch.replace(Some(switch));
        let end = match select(Box::pin(connect(link)), switched).await {
            Either::Left((end, _)) => end,
            Either::Right(_) => End::Switched,
        };
        hang_up(link);
        match end {
            End::Switched => tries = 0,
            End::Lost { was_connected } => {
                if !was_connected && does_without_companion(link) {
                    continue;
                }
                tries = if was_connected { 0 } else { tries + 1 };
                pause(link, PAUSES_SECS[tries.min(PAUSES_SECS.len() - 1)]).await;
            }
            End::Refused(why) => {
                link.status.set(Status::Refused(why));
                tries += 1;
                match untrack(|| link.is_browser()) {
                    // Only a reload brings another program.
                    true => rest(link).await,
                    false => pause(link, PAUSES_SECS[tries.min(PAUSES_SECS.len() - 1)]).await,
                }
            }
            End::Taken(why) => {
                link.status.set(Status::Taken(why));
                rest(link).await;
            }
            End::Broken(why) => restart(link, why).await,
        }
    }
}

/// Nobody answers what was asked on this connection.
fn hang_up(link: Link) {
    let wires = link.wires();
    wires.switch.take();
    wires.outbox.take();
    wires.worker.take();
    let waiting = std::mem::take(&mut *wires.waiting.borrow_mut());
    for (_, answer) in waiting {
        // Whoever asked may have left.
        _ = answer.send(Err(link.gone()));
    }
    link.arrival.set(backend::Arrival::default());
}

/// Whether the browser takes over, because the companion was never there.
fn does_without_companion(link: Link) -> bool {
    let may = link.wish.get_untracked() == Wish::Automatic && !link.wires().is_settled.get();
    if may {
        link.facts.update(|facts| facts.companion = Companion::Away);
    }
    may && link
        .facts
        .with_untracked(|facts| facts.trainer == Trainer::Included)
}

/// Starts the worker again, by itself for as long as that may help.
async fn restart(link: Link, why: String) {
    let mut restarts = link.wires().restarts.get();
    let retry_secs = restarts.ended();
    link.wires().restarts.set(restarts);
    link.status.set(Status::Broken { why, retry_secs });
    match retry_secs {
        Some(secs) => pause(link, secs).await,
        None => {
            rest(link).await;
            link.wires().restarts.set(Restarts::default());
        }
    }
}

/// Waits, and says how long still.
async fn pause(link: Link, secs: u32) {
    let (wake, woken) = oneshot::channel();
    link.wires().wake.replace(Some(wake));
    let mut woken = woken;
    for left in (1..=secs).rev() {
        link.status.update(|status| match status {
            Status::Refused(_) => {}
            Status::Broken { retry_secs, .. } => *retry_secs = Some(left),
            _ => *status = Status::Lost { retry_secs: left },
        });
        match select(TimeoutFuture::new(1_000), woken).await {
            Either::Left((_, still_asleep)) => woken = still_asleep,
            Either::Right(_) => return,
        }
    }
}

/// Waits for the user.
async fn rest(link: Link) {
    let (wake, woken) = oneshot::channel();
    link.wires().wake.replace(Some(wake));
    // The other end is dropped for another one only.
    _ = woken.await;
}

async fn connect(link: Link) -> End {
    let line = match decide(link).await {
        Place::Companion => match link.facts.with_untracked(Facts::nowhere) {
            // A static host would answer "404", which browsers print as an error.
            Some(why) => Err(End::Refused(why)),
            None => socket::open(link).await,
        },
        Place::BrowserGpu => worker::open(link, "webgpu").await,
        Place::BrowserCpu => worker::open(link, "cpu").await,
    };
    match line {
        Ok(line) => converse(link, line).await,
        Err(end) => end,
    }
}

/// Where it trains: where it did, or what is best by what is known.
async fn decide(link: Link) -> Place {
    loop {
        let settled = link.place.get_untracked();
        if let Some(place) = settled.filter(|_| link.wires().is_settled.get()) {
            go(link, place).await;
            return place;
        }
        if let Some(choice) = choice(link) {
            link.reason.set(choice.reason);
            go(link, choice.place).await;
            return choice.place;
        }
        adapter::probe(link).await;
    }
}

fn choice(link: Link) -> Option<Choice> {
    let wish = link.wish.get_untracked();
    link.facts
        .with_untracked(|facts| backend::choose(facts, wish))
}

/// Turns to a place. What another one said is of no use there: its numbers mean other jobs.
async fn go(link: Link, place: Place) {
    let before = link.place.get_untracked();
    if before == Some(place) {
        if place.is_browser() {
            link.status.set(Status::Connecting);
        }
        return;
    }
    link.place.set(None);
    link.status.set(Status::Connecting);
    link.runs.set(Runs::default());
    link.host.set(Host::default());
    link.pending.set(Vec::new());
    link.refusals.set(BTreeMap::new());
    objects::forget(link);
    if before.is_some() {
        // What the page still shows of the old place must not be asked for at the new one.
        TimeoutFuture::new(0).await;
    }
    link.place.set(Some(place));
}

/// The user wants something else.
pub fn choose_anew(link: Link) {
    let wires = link.wires();
    wires.is_settled.set(false);
    wires.restarts.set(Restarts::default());
    let is_there = link.place.get_untracked() == Some(Place::Companion)
        && link.status.get_untracked() == Status::Connected;
    if is_there {
        tell_companion(link);
    } else {
        let first = socket::first_guess();
        link.facts.update(|facts| facts.companion = first);
    }
    leptos::task::spawn_local(async move {
        if choice(link).is_none() {
            adapter::probe(link).await;
        }
        let Some(choice) = choice(link) else { return };
        let stays = link.place.get_untracked() == Some(choice.place);
        link.reason.set(choice.reason);
        if stays && link.status.get_untracked() == Status::Connected {
            link.wires().is_settled.set(true);
            return;
        }
        let switch = link.wires().switch.take();
        if let Some(switch) = switch {
            // The connection may have ended meanwhile.
            _ = switch.send(());
        }
        link.connect_now();
    });
}

/// What is known of the companion, now that it answers.
fn tell_companion(link: Link) {
    let device = link.host.with_untracked(|host| host.device.clone());
    let is_busy = link
        .runs
        .with_untracked(|runs| runs.under_way().is_some() || !runs.waiting().is_empty());
    let companion = Companion::There {
        is_gpu: device.is_some_and(|device| device.is_gpu),
        is_busy,
    };
    link.facts.update(|facts| facts.companion = companion);
}

/// A companion that answers for the first time may be left for a browser that is faster.
fn settle(link: Link) {
    let wires = link.wires();
    if wires.is_settled.get() {
        return;
    }
    if untrack(|| link.is_browser()) {
        wires.is_settled.set(true);
        return;
    }
    leptos::task::spawn_local(async move {
        tell_companion(link);
        if choice(link).is_none() {
            adapter::probe(link).await;
            // A run may have begun meanwhile.
            tell_companion(link);
        }
        let is_still_there = link.status.get_untracked() == Status::Connected;
        let Some(choice) = choice(link).filter(|_| is_still_there) else {
            return;
        };
        if link.place.get_untracked() == Some(choice.place) {
            link.reason.set(choice.reason);
            link.wires().is_settled.set(true);
        } else if let Some(switch) = link.wires().switch.take() {
            // The connection may have ended meanwhile.
            _ = switch.send(());
        }
    });
}

async fn converse(link: Link, mut line: Line) -> End {
    let hello = ClientMessage::Hello {
        protocol: PROTOCOL_VERSION,
        app: concat!("page ", env!("CARGO_PKG_VERSION")).to_owned(),
        token: std::mem::take(&mut line.token),
    };
    let Ok(()) = line.sink.send(codec::encode(&hello)).await else {
        return line.late;
    };
    let patience = TimeoutFuture::new(line.hello_within);
    let first = match select(line.frames.next(), patience).await {
        Either::Left((Some(frame), _)) => frame,
        Either::Left((None, _)) => return line.end.take().unwrap_or(line.late),
        Either::Right(_) => return line.late,
    };
    match codec::decode(&first, MAX_SERVER_FRAME) {
        Ok(message @ ServerMessage::Welcome { .. }) => hear(link, message),
        // Another start of the companion has another token: then the next try fetches it.
        Ok(ServerMessage::Rejected {
            reason: Rejection::Token,
            ..
        }) => return line.late,
        Ok(ServerMessage::Rejected { reason, .. }) => return End::Refused(reason.to_string()),
        Ok(_) | Err(_) => {
            let why = "What answers here is of another version than this page. Reload the page.";
            return End::Refused(why.to_owned());
        }
    }

    let (outbox, inbox) = mpsc::channel(OUTBOX);
    link.wires().outbox.replace(Some(outbox));
    link.status.set(Status::Connected);
    settle(link);
    objects::ask_for_missing(link);
    let sending = inbox
        .map(|message| Ok(codec::encode(&message)))
        .forward(line.sink);
    let hearing = async {
        while let Some(frame) = line.frames.next().await {
            match codec::decode(&frame, MAX_SERVER_FRAME) {
                Ok(message) => hear(link, message),
                Err(error) => leptos::logging::error!("{error}"),
            }
        }
    };
    // Whichever ends first, the line is down.
    select(Box::pin(sending), Box::pin(hearing)).await;
    let end = line.end.take();
    end.unwrap_or(match line.late {
        End::Lost { .. } => End::Lost {
            was_connected: true,
        },
        other => other,
    })
}

/// Takes in what the other side said.
fn hear(link: Link, message: ServerMessage) {
    if let Some(request) = message.request() {
        let waiting = link.wires().waiting.borrow_mut().remove(&request);
        if let Some(waiting) = waiting {
            let answer = match &message {
                ServerMessage::Rejected { reason, .. } => Err(sentence(&reason.to_string())),
                _ => Ok(message),
            };
            // Whoever asked may have left.
            _ = waiting.send(answer);
        }
        return;
    }
    match message {
        ServerMessage::Welcome { app, snapshot, .. } => {
            link.host.update(|host| {
                host.app = app;
                host.device = Some(snapshot.device.clone());
                host.bases.clone_from(&snapshot.checkpoints);
                host.paces.clone_from(&snapshot.paces);
                host.copiers.clone_from(&snapshot.copiers);
            });
            let gaps = link.runs.try_update(|runs| runs.welcome(&snapshot));
            for gap in gaps.unwrap_or_default() {
                resync(link, gap);
            }
        }
        ServerMessage::Copiers { copiers } => link.host.update(|host| host.copiers = copiers),
        // The line ends by itself.
        ServerMessage::Goodbye { .. } => {}
        other => {
            if let ServerMessage::Progress(progress) = &other {
                learn_pace(link, progress);
                forgive(link, progress);
            }
            let outcome = link.runs.try_update(|runs| runs.apply(&other));
            if let Some(Outcome::Gap(gap)) = outcome {
                resync(link, gap);
            }
        }
    }
}

/// A worker that comes to train is worth being started again.
fn forgive(link: Link, progress: &JobProgress) {
    let is_start = matches!(
        progress.phase,
        Phase::Loading | Phase::Compiling | Phase::Encoding
    );
    if !is_start {
        link.wires().restarts.set(Restarts::default());
    }
}

/// What the running job takes, the next ones will take as well.
fn learn_pace(link: Link, progress: &JobProgress) {
    let job = link
        .runs
        .with_untracked(|runs| runs.get(progress.job).map(|run| run.job().clone()));
    let Some(job) = job else {
        return;
    };
    let side = link.host.with_untracked(|host| {
        let base = host.base(&job.base);
        base.and_then(|base| base.native_side)
    });
    let pixels = side.map(|side| u64::from(side) * u64::from(side));
    let pace = pixels.and_then(|pixels| cost::measured(&job, progress, pixels));
    if let Some(pace) = pace {
        link.host
            .update(|host| cost::remember(&mut host.paces, pace));
    }
}

/// Asks for the events of a job that are missing.
pub fn resync(link: Link, gap: Gap) {
    leptos::task::spawn_local(async move {
        let (job, after) = (gap.job, gap.after);
        let answer = link
            .ask(|request| ClientMessage::Resync {
                request,
                job,
                after,
            })
            .await;
        if answer.is_err() {
            link.runs.update(|runs| runs.not_coming(job));
        }
    });
}

/// The companion's sentences begin small, because its command line puts "error:" before them.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase());
    first.into_iter().flatten().chain(characters).collect()
}

/// A page that is looked at again, or a network that is back, does not wait out its pause.
pub fn wake_when_seen(link: Link) {
    for event in ["online", "pageshow", "focus"] {
        let handle = window_event_listener_untyped(event, move |_| {
            // What waits for the user is not started by a glance.
            let is_lost = |status: &Status| matches!(status, Status::Lost { .. });
            let is_refused = |status: &Status| matches!(status, Status::Refused(_));
            let is_browser = untrack(|| link.is_browser());
            let wakes = |status: &Status| is_lost(status) || (is_refused(status) && !is_browser);
            if link.status.with_untracked(wakes) {
                link.connect_now();
            }
        });
        // For as long as the page is open.
        std::mem::forget(handle);
    }
}
