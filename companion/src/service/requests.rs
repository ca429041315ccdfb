//! The requests of one connection, worked on apart from it.
//!
//! What is under way holds something from one moment to a later one: a connection to the database,
//! of which there are four, or the right to write there. It gives that back only when it is polled.
//! So nothing else is waited for where requests are polled: a client that takes nothing, or the
//! database itself, would keep all four, and everyone would wait, the training thread too.

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use mimeo_protocol::ClientMessage;
use tokio::sync::mpsc;

/// Requests of one client that are worked on at once.
pub const MAX_PENDING: usize = 16;

/// The requests that a client waits for.
///
/// What has begun is done, whether or not the client is still there.
///
/// - `T`: an answer
pub struct Requests<T> {
    begun: mpsc::Sender<ClientMessage>,
    answers: mpsc::Receiver<T>,
    /// Begun, and their answers not taken yet.
    pending: usize,
}

impl<T: Send + 'static> Requests<T> {
    /// None yet.
    ///
    /// - `answer`: does what a request asks for
    pub fn new<F>(answer: impl Fn(ClientMessage) -> F + Send + 'static) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        // Either has room for all that can be pending, so that neither side ever waits for it.
        let (begun, to_do) = mpsc::channel(MAX_PENDING);
        let (done, answers) = mpsc::channel(MAX_PENDING);
        tokio::spawn(work(to_do, done, answer));
        Self {
            begun,
            answers,
            pending: 0,
        }
    }

    /// Whether one more is too many.
    pub const fn is_full(&self) -> bool {
        self.pending >= MAX_PENDING
    }

    /// Begins one, unless it is one too many; in the order of these calls.
    pub fn begin(&mut self, message: ClientMessage) {
        // It also fails after a fault in a request, of which `next` tells.
        if self.begun.try_send(message).is_ok() {
            self.pending += 1;
        }
    }

    /// The next answer, whenever there is one; none after a fault in a request: no other is answered
    /// any more. Nothing is lost when this is dropped before it resolves.
    pub async fn next(&mut self) -> Option<T> {
        let answer = self.answers.recv().await?;
        self.pending -= 1;
        Some(answer)
    }
}

/// Works on requests until no more can come and all are done.
async fn work<T, F>(
    mut to_do: mpsc::Receiver<ClientMessage>,
    done: mpsc::Sender<T>,
    answer: impl Fn(ClientMessage) -> F,
) where
    F: Future<Output = T>,
{
    let mut pending = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(message) = to_do.recv() => pending.push(answer(message)),
            Some(answered) = pending.next() => {
                // It fails once the client is gone.
                _ = done.try_send(answered);
            }
            else => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use mimeo_protocol::{RequestId, ServerMessage};
    use tokio::sync::{Notify, Semaphore};
    use tokio::task::yield_now;
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn devices(number: usize) -> ClientMessage {
        ClientMessage::Devices {
            request: RequestId(number as u32),
        }
    }

    #[tokio::test]
    async fn what_requests_hold_is_given_back_while_nobody_takes_their_answers() {
        // As a connection to the database: each holds it for a moment.
        let permits = Arc::new(Semaphore::new(1));
        let held = Arc::clone(&permits);
        let mut requests = Requests::new(move |message| {
            let held = Arc::clone(&held);
            async move {
                let permit = held.acquire().await.unwrap();
                yield_now().await;
                drop(permit);
                let request = message.request().unwrap();
                ServerMessage::Done { request }
            }
        });
        for round in 1..=3 {
            for number in 0..MAX_PENDING {
                assert!(!requests.is_full(), "{number} in round {round}");
                requests.begin(devices(number));
            }
            assert!(requests.is_full(), "one more is too many");
            for number in 0..MAX_PENDING {
                let answer = timeout(SOON, requests.next()).await.unwrap();
                let request = answer.unwrap().request().unwrap();
                assert_eq!(request.0 as usize, number, "in turn");
                // All have begun now; this stands in line behind them.
                let permit = timeout(SOON, permits.acquire()).await;
                drop(permit.expect("they go on by themselves"));
            }
            assert!(!requests.is_full(), "all are answered");
        }
    }

    #[tokio::test]
    async fn what_has_begun_is_done_when_its_client_is_gone() {
        let (go, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let both = (Arc::clone(&go), Arc::clone(&done));
        let mut requests = Requests::new(move |message| {
            let (go, done) = both.clone();
            async move {
                go.notified().await;
                done.notify_one();
                let request = message.request().unwrap();
                ServerMessage::Done { request }
            }
        });
        requests.begin(devices(1));
        yield_now().await;
        drop(requests);
        go.notify_one();
        timeout(SOON, done.notified()).await.expect("it is done");
    }

    #[tokio::test]
    async fn after_a_fault_in_a_request_there_are_no_answers() {
        let mut requests = Requests::new(|message| async move {
            let request = message.request().unwrap();
            assert_ne!(request, RequestId(2), "a fault");
            ServerMessage::Done { request }
        });
        for (number, is_answered) in [(1, true), (2, false), (3, false)] {
            requests.begin(devices(number));
            let answer = timeout(SOON, requests.next()).await;
            assert_eq!(answer.unwrap().is_some(), is_answered, "request {number}");
        }
    }
}
