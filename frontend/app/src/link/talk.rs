//! One connection after the other, for as long as the page is open.

use futures_channel::{mpsc, oneshot};
use futures_util::future::{Either, select};
use futures_util::{SinkExt as _, StreamExt as _};
use gloo_net::websocket::Message;
use gloo_net::websocket::futures::WebSocket;
use gloo_timers::future::TimeoutFuture;
use leptos::prelude::*;
use mimeo_protocol::{
    ClientMessage, JobProgress, MAX_SERVER_FRAME, PROTOCOL_VERSION, Rejection, ServerMessage, codec,
};
use mimeo_workbench::cost;
use mimeo_workbench::runs::{Gap, Outcome};

use super::{GONE, Link, OUTBOX, Status, http};

/// Seconds between two tries, from the first on.
const PAUSES_SECS: [u32; 5] = [1, 1, 2, 4, 8];
/// A companion that does not answer the hello in this time is tried again, ms.
const HELLO_WITHIN: u32 = 8_000;

/// How a connection ended.
enum End {
    /// It broke; how far it had come.
    Lost { was_connected: bool },
    /// The companion does not want this page.
    Refused(String),
}

/// Talks until the page is closed.
pub async fn talk(link: Link) {
    let mut tries = 0;
    loop {
        let end = connect(link).await;
        link.wires().outbox.take();
        for (_, answer) in std::mem::take(&mut *link.wires().waiting.borrow_mut()) {
            // Whoever asked may have left.
            _ = answer.send(Err(GONE.to_owned()));
        }
        match end {
            End::Lost { was_connected } => tries = if was_connected { 0 } else { tries + 1 },
            End::Refused(why) => {
                link.status.set(Status::Refused(why));
                tries += 1;
            }
        }
        pause(link, PAUSES_SECS[tries.min(PAUSES_SECS.len() - 1)]).await;
    }
}

async fn pause(link: Link, secs: u32) {
    let (wake, woken) = oneshot::channel();
    link.wires().wake.replace(Some(wake));
    let mut woken = woken;
    for left in (1..=secs).rev() {
        link.status.update(|status| {
            if !matches!(status, Status::Refused(_)) {
                *status = Status::Lost { retry_secs: left };
            }
        });
        match select(TimeoutFuture::new(1_000), woken).await {
            Either::Left((_, still_asleep)) => woken = still_asleep,
            Either::Right(_) => return,
        }
    }
}

async fn connect(link: Link) -> End {
    let lost = End::Lost {
        was_connected: false,
    };
    let Some(token) = token().await else {
        return lost;
    };
    link.token.set_value(token.clone());
    let Ok(socket) = WebSocket::open("ws") else {
        return lost;
    };
    let (mut sink, mut stream) = socket.split();
    let hello = ClientMessage::Hello {
        protocol: PROTOCOL_VERSION,
        app: concat!("page ", env!("CARGO_PKG_VERSION")).to_owned(),
        token,
    };
    if sink
        .send(Message::Bytes(codec::encode(&hello)))
        .await
        .is_err()
    {
        return lost;
    }
    let patience = Box::pin(TimeoutFuture::new(HELLO_WITHIN));
    let first = match select(stream.next(), patience).await {
        Either::Left((Some(Ok(Message::Bytes(frame))), _)) => frame,
        _ => return lost,
    };
    match codec::decode(&first, MAX_SERVER_FRAME) {
        Ok(message @ ServerMessage::Welcome { .. }) => hear(link, message),
        // Another start of the companion has another token: then the next try fetches it.
        Ok(ServerMessage::Rejected {
            reason: Rejection::Token,
            ..
        }) => return lost,
        Ok(ServerMessage::Rejected { reason, .. }) => return End::Refused(reason.to_string()),
        Ok(_) | Err(_) => {
            let why = "What answers here is no companion of this version. Reload the page.";
            return End::Refused(why.to_owned());
        }
    }

    let (outbox, inbox) = mpsc::channel(OUTBOX);
    link.wires().outbox.replace(Some(outbox));
    link.status.set(Status::Connected);
    let sending = inbox
        .map(|message| Ok(Message::Bytes(codec::encode(&message))))
        .forward(sink);
    let hearing = async {
        while let Some(Ok(Message::Bytes(frame))) = stream.next().await {
            match codec::decode(&frame, MAX_SERVER_FRAME) {
                Ok(message) => hear(link, message),
                Err(error) => leptos::logging::error!("{error}"),
            }
        }
    };
    // Whichever ends first, the line is down.
    select(Box::pin(sending), Box::pin(hearing)).await;
    End::Lost {
        was_connected: true,
    }
}

/// The token of the companion's start: in the link that it opened, or from itself.
async fn token() -> Option<String> {
    let fragment = window().location().hash().unwrap_or_default();
    if let Some(token) = fragment.strip_prefix("#token=") {
        return Some(token.to_owned());
    }
    let token = http::get("token").await.ok()?;
    String::from_utf8(token).ok()
}

/// Takes in what the companion said.
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
        // The socket ends by itself.
        ServerMessage::Goodbye { .. } => {}
        other => {
            if let ServerMessage::Progress(progress) = &other {
                learn_pace(link, progress);
            }
            let outcome = link.runs.try_update(|runs| runs.apply(&other));
            if let Some(Outcome::Gap(gap)) = outcome {
                resync(link, gap);
            }
        }
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
        let handle = window_event_listener_untyped(event, move |_| link.connect_now());
        // For as long as the page is open.
        std::mem::forget(handle);
    }
}
