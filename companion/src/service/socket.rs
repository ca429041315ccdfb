//! One connection: hello, then requests in and events out.
//!
//! Events are not queued for a connection. It knows the number of the last event that it sent, and
//! reads the next ones from the store when there are newer ones and the client has taken the last:
//! a client that is slow, or was away, costs nothing and misses nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use mimeo_protocol::{
    ClientMessage, JobId, JobProgress, Rejection, RequestId, ServerMessage, codec,
};
use mimeo_service::server::{check_version, read};
use mimeo_service::{Host as _, Reply};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::guard::Guard;
use super::host::Companion;
use super::jobs::Jobs;
use super::requests::{MAX_PENDING, Requests};

/// Time for the first message.
const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// The latest progress is sent at most this often.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// A sign of life from us, and from the client in answer.
const PING_EVERY: Duration = Duration::from_secs(20);
/// Without a sign of life the client is gone.
const GONE_AFTER: Duration = Duration::from_secs(60);
/// A client that takes nothing for so long is gone.
const SEND_WITHIN: Duration = Duration::from_secs(60);

/// WebSocket close codes (RFC 6455, and 4000 up for our own).
mod close {
    pub const GOING_AWAY: u16 = 1001;
    pub const NOT_LET_IN: u16 = 4001;
}

/// The client is gone, or has to go.
struct Gone;

/// Talks to one client until it goes or the service ends.
pub async fn serve(mut socket: WebSocket, jobs: Jobs, guard: Guard) {
    if let Err(reason) = hello(&mut socket, &guard).await {
        let message = reason.to_string();
        let rejected = ServerMessage::Rejected {
            request: None,
            reason,
        };
        if send(&mut socket, &rejected).await.is_ok() {
            close(&mut socket, close::NOT_LET_IN, &message).await;
        }
        return;
    }
    let mut connection = Connection {
        socket,
        requests: requests(jobs.clone()),
        jobs,
        sent: 0,
        removed: 0,
    };
    // Either way the client comes back if it wants to; what it missed is in the store.
    _ = connection.talk().await;
}

/// Waits for the first message and checks it.
async fn hello(socket: &mut WebSocket, guard: &Guard) -> Result<(), Rejection> {
    let none = || Rejection::NoHello {
        secs: HELLO_WITHIN.as_secs(),
    };
    let frame = timeout(HELLO_WITHIN, async {
        loop {
            match socket.recv().await {
                Some(Ok(Message::Binary(frame))) => return Some(frame),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return None,
            }
        }
    });
    let frame = frame.await.ok().flatten().ok_or_else(none)?;
    match read(&frame)? {
        ClientMessage::Hello {
            protocol,
            app,
            token,
        } => {
            check_version(Companion::PROGRAM, protocol, &app)?;
            if guard.knows(&token) {
                Ok(())
            } else {
                Err(Rejection::Token)
            }
        }
        _ => Err(none()),
    }
}

struct Connection {
    socket: WebSocket,
    /// What the client asked for and was not told yet.
    requests: Requests<Reply>,
    jobs: Jobs,
    /// Number of the newest event that the client has.
    sent: i64,
    /// Deleted jobs that the client was told of.
    removed: usize,
}

impl Connection {
    async fn talk(&mut self) -> Result<(), Gone> {
        let jobs = self.jobs.clone();
        let store = &jobs.server.store;
        let mut events = store.watch_events();
        let mut order = store.order.subscribe();
        let mut copiers = store.copiers.subscribe();
        let mut removed = store.removed.subscribe();
        let mut progress = jobs.server.host.progress.clone();
        let mut ending = jobs.ending.subscribe();
        order.mark_unchanged();
        copiers.mark_unchanged();
        self.removed = removed.borrow_and_update().len();
        self.welcome().await?;

        let mut pings = interval(PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut alive_at = Instant::now();
        let mut progress_from = Instant::now();
        let mut told: Option<JobProgress> = None;
        // Events from before the subscription are looked for at once.
        events.mark_changed();
        loop {
            if *ending.borrow_and_update() {
                let message = "the companion ends; running jobs go on when it is back.".to_owned();
                self.send(&ServerMessage::Goodbye {
                    message: message.clone(),
                })
                .await?;
                close(&mut self.socket, close::GOING_AWAY, &message).await;
                return Err(Gone);
            }
            tokio::select! {
                _ = ending.changed() => {}
                frame = self.socket.recv() => {
                    alive_at = Instant::now();
                    self.receive(frame).await?;
                }
                reply = self.requests.next() => self.reply(reply.ok_or(Gone)?).await?,
                Ok(()) = events.changed() => self.send_events().await?,
                Ok(()) = order.changed() => {
                    let order = order.borrow_and_update().clone();
                    self.send(&ServerMessage::Queue { order }).await?;
                }
                Ok(()) = copiers.changed() => {
                    let copiers = copiers.borrow_and_update().clone();
                    self.send(&ServerMessage::Copiers { copiers }).await?;
                }
                Ok(()) = removed.changed() => {
                    let ids: Vec<JobId> = removed.borrow_and_update()[self.removed..].to_vec();
                    self.removed += ids.len();
                    for job in ids {
                        self.send(&ServerMessage::Removed { job }).await?;
                    }
                }
                () = sleep_until(progress_from), if progress.has_changed().unwrap_or(false) => {
                    progress_from = Instant::now() + PROGRESS_EVERY;
                    let latest = progress.borrow_and_update().clone();
                    if let Some(latest) = latest.filter(|latest| Some(latest) != told.as_ref()) {
                        told = Some(latest.clone());
                        self.send(&ServerMessage::Progress(latest)).await?;
                    }
                }
                // Only wakes the loop, so that the branch above is looked at again.
                Ok(()) = progress.changed(), if !progress.has_changed().unwrap_or(true) => {
                    progress.mark_changed();
                }
                _ = pings.tick() => {
                    if alive_at.elapsed() > GONE_AFTER {
                        return Err(Gone);
                    }
                    let ping = Message::Ping(axum::body::Bytes::new());
                    send_message(&mut self.socket, ping).await?;
                    // The last event of all may not have been readable when it came.
                    events.mark_changed();
                }
            }
        }
    }

    async fn welcome(&mut self) -> Result<(), Gone> {
        match self.jobs.server.welcome().await {
            Ok((welcome, newest)) => {
                self.sent = newest;
                self.send(&welcome).await
            }
            Err(reason) => {
                self.reject(None, reason).await?;
                Err(Gone)
            }
        }
    }

    /// Sends every event that the client does not have yet.
    async fn send_events(&mut self) -> Result<(), Gone> {
        loop {
            let events = match self.jobs.server.store.events_after(self.sent).await {
                Ok(events) => events,
                // It is asked again when the next event comes, or with the next sign of life.
                Err(error) => return self.reject(None, error.into()).await,
            };
            if events.is_empty() {
                return Ok(());
            }
            for (number, event) in events {
                if event.seq == 1
                    && let Ok(Some(summary)) = self.jobs.server.store.summary(event.job).await
                {
                    let job = Box::new(summary);
                    self.send(&ServerMessage::Added { job }).await?;
                }
                self.send(&ServerMessage::Event(event)).await?;
                self.sent = number;
            }
        }
    }

    async fn receive(&mut self, frame: Option<Result<Message, axum::Error>>) -> Result<(), Gone> {
        match frame {
            Some(Ok(Message::Binary(frame))) => match read(&frame) {
                Ok(message) => self.handle(message).await,
                Err(reason) => self.reject(None, reason).await,
            },
            Some(Ok(Message::Text(_))) => {
                let what = "it is text, and messages are binary".to_owned();
                self.reject(None, Rejection::Undecodable { what }).await
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
            Some(Ok(Message::Close(_)) | Err(_)) | None => Err(Gone),
        }
    }

    async fn handle(&mut self, message: ClientMessage) -> Result<(), Gone> {
        let request = message.request();
        if self.requests.is_full() {
            let message = format!("{MAX_PENDING} requests are worked on already. Wait for some.");
            return self.reject(request, Rejection::Full { message }).await;
        }
        // Not awaited here: drawing a picture must not hold up the events.
        self.requests.begin(message);
        Ok(())
    }

    async fn reply(&mut self, reply: Reply) -> Result<(), Gone> {
        match reply {
            Reply::Message(message) => self.send(&message).await,
            Reply::Events {
                request,
                job,
                after,
            } => self.send_again(request, job, after).await,
        }
    }

    /// Sends a job's events again, up to the newest that the client has: all others follow.
    async fn send_again(
        &mut self,
        request: RequestId,
        job: JobId,
        mut after: u64,
    ) -> Result<(), Gone> {
        loop {
            let events = match self.jobs.server.events(job, after, &self.sent).await {
                Ok(events) => events,
                Err(reason) => return self.reject(Some(request), reason).await,
            };
            let Some(last) = events.last() else { break };
            after = last.seq;
            for event in events {
                self.send(&ServerMessage::Event(event)).await?;
            }
        }
        self.send(&ServerMessage::Done { request }).await
    }

    async fn reject(&mut self, request: Option<RequestId>, reason: Rejection) -> Result<(), Gone> {
        self.send(&ServerMessage::Rejected { request, reason })
            .await
    }

    async fn send(&mut self, message: &ServerMessage) -> Result<(), Gone> {
        send(&mut self.socket, message).await
    }
}

/// The requests of a client, of which there are none yet.
fn requests(jobs: Jobs) -> Requests<Reply> {
    Requests::new(move |message| {
        let server = Arc::clone(&jobs.server);
        async move { server.answer(message).await }
    })
}

async fn send(socket: &mut WebSocket, message: &ServerMessage) -> Result<(), Gone> {
    send_message(socket, Message::Binary(codec::encode(message).into())).await
}

async fn send_message(socket: &mut WebSocket, message: Message) -> Result<(), Gone> {
    match timeout(SEND_WITHIN, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Gone),
    }
}

async fn close(socket: &mut WebSocket, code: u16, reason: &str) {
    // A close frame's reason has at most 123 bytes.
    let mut end = reason.len().min(120);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let frame = CloseFrame {
        code,
        reason: reason[..end].into(),
    };
    // It goes either way.
    _ = send_message(socket, Message::Close(Some(frame))).await;
}
