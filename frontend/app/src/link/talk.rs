//! One line, from when it is opened to its end.

use std::rc::Rc;

use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, Either, select};
use leptos::prelude::*;
use mimeo_protocol::{ClientMessage, JobProgress, MAX_SERVER_FRAME, ServerMessage, codec};
use mimeo_workbench::Runs;
use mimeo_workbench::backend::Backend;
use mimeo_workbench::cost;
use mimeo_workbench::link::{End, Event, Host};
use mimeo_workbench::runs::{Gap, Outcome};

use super::connection::Connection;
use super::worker::{Said, TrainerWorker};
use super::{Link, socket, worker};

impl Link {
    /// Talks with a place until the line ends.
    ///
    /// - `line`: whether it was hung up
    pub(super) async fn talk(self, place: Backend, line: AbortHandle) -> End {
        let connection = match place {
            Backend::Companion => self.to_companion().await,
            Backend::BrowserGpu => self.to_worker("webgpu").await,
            Backend::BrowserCpu => self.to_worker("cpu").await,
        };
        match connection {
            Ok(connection) => self.converse(connection, line).await,
            Err(end) => end,
        }
    }

    async fn to_companion(self) -> Result<Connection, End> {
        let token = socket::token().await.ok_or(End::Lost)?;
        if self.token.with_untracked(|known| *known != token) {
            self.token.set(token.clone());
        }
        socket::open(token)
    }

    /// Starts a worker, waits until it listens, and gives it the bases that were picked from disk.
    async fn to_worker(self, device: &str) -> Result<Connection, End> {
        worker::painted().await;
        let (trainer, mut heard) = TrainerWorker::start(device, self.arrival)?;
        let trainer = Rc::new(trainer);
        self.wires().trainer.replace(Some(Rc::clone(&trainer)));
        loop {
            match heard.next().await {
                Some(Said::Ready) => break,
                Some(Said::Elsewhere) => self.report(Event::Elsewhere),
                Some(Said::Ended(end)) => return Err(end),
                Some(Said::Frame(_)) => {}
                None => return Err(End::Lost),
            }
        }
        self.report(Event::Loaded);
        self.arrival.update(|arrival| arrival.program = None);
        self.restore_bases().await;
        let mut connection = Rc::clone(&trainer).connection(heard);
        self.give_bases(&trainer, &mut connection).await?;
        Ok(connection)
    }

    /// Runs that wait or go on may need them, so it has them before it says anything.
    async fn give_bases(
        self,
        trainer: &TrainerWorker,
        connection: &mut Connection,
    ) -> Result<(), End> {
        let bases = self.wires().bases.borrow().clone();
        for (id, base) in bases {
            let given = Box::pin(trainer.put_base(&id, &base));
            // It says nothing before the hello, but it may end.
            if let Either::Right(_) = select(given, connection.frames.next()).await {
                return Err(connection.ended());
            }
        }
        Ok(())
    }

    async fn converse(self, mut connection: Connection, line: AbortHandle) -> End {
        match connection.greet().await {
            Ok(welcome) => self.hear(welcome),
            Err(end) => return end,
        }
        let wires = self.wires();
        let inbox = wires.requests.begin();
        self.report(Event::Welcomed {
            is_gpu: self.host.with_untracked(Host::has_gpu),
            is_busy: self.runs.with_untracked(Runs::is_busy),
        });
        if line.is_aborted() {
            // It was left for a better place: nothing more of it may be heard.
            std::future::pending::<()>().await;
        }
        if let Some(trainer) = self.trainer() {
            wires.objects.ask_for_missing(&trainer);
        }
        let Connection { frames, sink, .. } = &mut connection;
        let sending = inbox
            .map(|message| Ok(codec::encode(&message)))
            .forward(sink);
        let hearing = async {
            while let Some(frame) = frames.next().await {
                match codec::decode(&frame, MAX_SERVER_FRAME) {
                    Ok(message) => self.hear(message),
                    Err(error) => leptos::logging::error!("{error}"),
                }
            }
        };
        // Whichever ends first, the line is down.
        select(Box::pin(sending), Box::pin(hearing)).await;
        connection.ended()
    }

    /// Takes in what the other side said.
    fn hear(self, message: ServerMessage) {
        let Some(message) = self.wires().requests.answer(message) else {
            return;
        };
        match message {
            ServerMessage::Welcome { app, snapshot, .. } => {
                let mut host = Host::welcoming(app, &snapshot);
                self.add_closed(&mut host);
                self.host.set(host);
                let gaps = self.runs.try_update(|runs| runs.welcome(&snapshot));
                for gap in gaps.unwrap_or_default() {
                    self.resync(gap);
                }
            }
            ServerMessage::Copiers { copiers } => self.host.update(|host| host.copiers = copiers),
            // The line ends by itself.
            ServerMessage::Goodbye { .. } => {}
            other => {
                if let ServerMessage::Progress(progress) = &other {
                    self.learn_pace(progress);
                    self.report(Event::Ran(progress.phase));
                }
                let outcome = self.runs.try_update(|runs| runs.apply(&other));
                if let Some(Outcome::Gap(gap)) = outcome {
                    self.resync(gap);
                }
                self.report(Event::Busy(self.runs.with_untracked(Runs::is_busy)));
            }
        }
    }

    fn learn_pace(self, progress: &JobProgress) {
        let pace = self.runs.with_untracked(|runs| {
            let job = runs.get(progress.job)?.job();
            self.host.with_untracked(|host| host.pace(job, progress))
        });
        if let Some(pace) = pace {
            self.host
                .update(|host| cost::remember(&mut host.paces, pace));
        }
    }

    /// Asks for the events of a job that are missing.
    pub(super) fn resync(self, gap: Gap) {
        leptos::task::spawn_local(async move {
            let (job, after) = (gap.job, gap.after);
            let answer = self
                .ask(|request| ClientMessage::Resync {
                    request,
                    job,
                    after,
                })
                .await;
            if answer.is_err() {
                self.runs.update(|runs| runs.not_coming(job));
            }
        });
    }
}
