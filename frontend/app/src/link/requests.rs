//! What was asked on the line, and who waits for which answer.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use futures_channel::{mpsc, oneshot};
use mimeo_protocol::{ClientMessage, MAX_CLIENT_FRAME, RequestId, ServerMessage, codec};
use mimeo_workbench::words;

/// Messages that wait to be sent; more are refused.
const OUTBOX: usize = 256;

/// Why a request is not even sent.
const TOO_LONG: &str = "This is too long to be sent. Shorten the prompt, then try again.";

/// What comes of a request: the other side's message, or a sentence.
pub type Reply = Result<ServerMessage, String>;

/// Requests under way, and the way to the other side while there is one.
#[derive(Default)]
pub struct Requests {
    last: Cell<u32>,
    waiting: RefCell<BTreeMap<RequestId, oneshot::Sender<Reply>>>,
    outbox: RefCell<Option<mpsc::Sender<ClientMessage>>>,
}

impl Requests {
    /// From here on there is somebody to ask; the questions come out here.
    pub fn begin(&self) -> mpsc::Receiver<ClientMessage> {
        let (outbox, inbox) = mpsc::channel(OUTBOX);
        self.outbox.replace(Some(outbox));
        inbox
    }

    /// Nobody answers any more what was asked; who waits hears this sentence.
    pub fn end(&self, gone: &str) {
        self.outbox.take();
        for (_, answer) in self.waiting.take() {
            // Whoever asked may have left.
            _ = answer.send(Err(gone.to_owned()));
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// - `gone`: what to say where there is nobody to ask
    pub async fn ask(&self, make: impl FnOnce(RequestId) -> ClientMessage, gone: &str) -> Reply {
        let request = RequestId(self.last.get().wrapping_add(1).max(1));
        self.last.set(request.0);
        let message = make(request);
        // Of a frame that it does not take, the other side cannot say which request it was.
        if codec::encode(&message).len() > MAX_CLIENT_FRAME {
            return Err(TOO_LONG.to_owned());
        }
        let (answer, answered) = oneshot::channel();
        self.waiting.borrow_mut().insert(request, answer);
        let sent = match self.outbox.borrow_mut().as_mut() {
            Some(outbox) => outbox.try_send(message).is_ok(),
            None => false,
        };
        if !sent {
            self.waiting.borrow_mut().remove(&request);
            return Err(gone.to_owned());
        }
        answered.await.unwrap_or_else(|_| Err(gone.to_owned()))
    }

    /// Gives an answer to who waits for it; gives back what is none.
    pub fn answer(&self, message: ServerMessage) -> Option<ServerMessage> {
        let Some(request) = message.request() else {
            return Some(message);
        };
        if let Some(waiting) = self.waiting.borrow_mut().remove(&request) {
            let answer = match &message {
                ServerMessage::Rejected { reason, .. } => {
                    Err(words::capitalised(&reason.to_string()))
                }
                _ => Ok(message),
            };
            // Whoever asked may have left.
            _ = waiting.send(answer);
        }
        None
    }
}
