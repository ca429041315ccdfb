//! One connection: hello, then requests in and events out.
//!
//! Events are not queued for a connection. It knows the number of the last event that it sent, and
//! reads the next ones from the store when there are newer ones and the client has taken the last:
//! a client that is slow, or was away, costs nothing and misses nothing.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use mimeo_protocol::{
    ClientMessage, DeviceInfo, JobId, JobProgress, MAX_CLIENT_FRAME, PROTOCOL_VERSION, Rejection,
    RequestId, ServerMessage, codec,
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::guard::Guard;
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

/// The program and version that a server calls itself.
const APP: &str = concat!("Mimeo ", env!("CARGO_PKG_VERSION"));

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
    match codec::decode(&frame, MAX_CLIENT_FRAME).map_err(Rejection::from)? {
        ClientMessage::Hello {
            protocol,
            app,
            token,
        } => {
            if protocol != PROTOCOL_VERSION {
                return Err(Rejection::Version {
                    client: app.chars().take(80).collect(),
                    client_protocol: protocol,
                    server: APP.to_owned(),
                    server_protocol: PROTOCOL_VERSION,
                });
            }
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
    requests: Requests,
    jobs: Jobs,
    /// Number of the newest event that the client has.
    sent: i64,
    /// Deleted jobs that the client was told of.
    removed: usize,
}

impl Connection {
    async fn talk(&mut self) -> Result<(), Gone> {
        let jobs = self.jobs.clone();
        let mut events = jobs.store.watch_events();
        let mut order = jobs.order.subscribe();
        let mut copiers = jobs.copiers.subscribe();
        let mut removed = jobs.removed.subscribe();
        let mut progress = jobs.progress.clone();
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
                answer = self.requests.next() => self.send(&answer.ok_or(Gone)?).await?,
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
        match self.jobs.snapshot().await {
            Ok((snapshot, newest)) => {
                self.sent = newest;
                self.send(&ServerMessage::Welcome {
                    protocol: PROTOCOL_VERSION,
                    app: APP.to_owned(),
                    snapshot,
                })
                .await
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
            let events = match self.jobs.store.events_after(self.sent).await {
                Ok(events) => events,
                // It is asked again when the next event comes, or with the next sign of life.
                Err(error) => return self.reject(None, error.into()).await,
            };
            if events.is_empty() {
                return Ok(());
            }
            for (number, event) in events {
                if event.seq == 1
                    && let Ok(Some(summary)) = self.jobs.store.summary(event.job).await
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
            Some(Ok(Message::Binary(frame))) => {
                match codec::decode::<ClientMessage>(&frame, MAX_CLIENT_FRAME) {
                    Ok(message) => self.handle(message).await,
                    Err(error) => self.reject(None, error.into()).await,
                }
            }
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
        if let ClientMessage::Resync {
            request,
            job,
            after,
        } = message
        {
            return self.resync(request, job, after).await;
        }
        // Not awaited here: drawing a picture must not hold up the events.
        self.requests.begin(message);
        Ok(())
    }

    /// Sends a job's events again, in order with those that follow.
    async fn resync(&mut self, request: RequestId, job: JobId, after: u64) -> Result<(), Gone> {
        if let Err(reason) = self.jobs.job(job).await {
            return self.reject(Some(request), reason).await;
        }
        let mut after = after;
        loop {
            let events = match self.jobs.store.events_of(job, after, self.sent).await {
                Ok(events) => events,
                Err(error) => return self.reject(Some(request), error.into()).await,
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
fn requests(jobs: Jobs) -> Requests {
    Requests::new(move |message| {
        let jobs = jobs.clone();
        async move {
            let request = message.request();
            let answer = answer(&jobs, message).await;
            answer.unwrap_or_else(|reason| ServerMessage::Rejected { request, reason })
        }
    })
}

/// Does what a request asks for.
async fn answer(jobs: &Jobs, message: ClientMessage) -> Result<ServerMessage, Rejection> {
    use ClientMessage as C;
    let request = message.request().unwrap_or(RequestId(0));
    let done = ServerMessage::Done { request };
    Ok(match message {
        C::Hello { .. } | C::Resync { .. } => {
            let what = "the hello was said already".to_owned();
            return Err(Rejection::Undecodable { what });
        }
        C::Submit { job, .. } => {
            let job = jobs.submit(*job).await?;
            ServerMessage::Accepted { request, job }
        }
        C::Control { job, control, .. } => {
            jobs.control(job, control).await?;
            done
        }
        C::Reorder { job, before, .. } => {
            jobs.reorder(job, before).await?;
            done
        }
        C::Delete { job, .. } => {
            jobs.delete(job).await?;
            done
        }
        C::Preview { preview, .. } => jobs.preview(request, preview).await?,
        C::Score { file, .. } => jobs.score(request, file).await?,
        C::Plan { job, .. } => {
            let plan = jobs.plan(*job).await?;
            ServerMessage::Plan { request, plan }
        }
        C::ListCheckpoints { .. } => ServerMessage::Checkpoints {
            request,
            checkpoints: jobs.checkpoints().await?,
        },
        C::Devices { .. } => ServerMessage::Devices {
            request,
            devices: devices(jobs.device.clone()).await,
        },
        C::RenameCopier { copier, name, .. } => {
            jobs.rename_copier(copier, &name).await?;
            done
        }
        C::DeleteCopier { copier, .. } => {
            jobs.delete_copier(copier).await?;
            done
        }
        C::Reveal { file, .. } => {
            jobs.reveal(file).await?;
            done
        }
    })
}

/// The device in use, then the others.
async fn devices(in_use: DeviceInfo) -> Vec<DeviceInfo> {
    let offers = tokio::task::spawn_blocking(|| {
        mimeo_engine::runtime::block_on(mimeo_engine::Compute::offers())
    });
    let others = offers.await.unwrap_or_default().into_iter();
    let others = others
        .filter(|offer| offer.name != in_use.name)
        .map(|offer| DeviceInfo {
            reason: if offer.is_software {
                "a software adapter, slower than the CPU itself".to_owned()
            } else {
                "start the companion with --device gpu to use it".to_owned()
            },
            is_gpu: !offer.is_software,
            name: offer.name,
            memory_bytes: None,
            in_use: false,
        });
    let others: Vec<DeviceInfo> = others.collect();
    std::iter::once(in_use).chain(others).collect()
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
