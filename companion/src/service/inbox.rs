//! What waits for the training thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use mimeo_protocol::{Rejection, ServerMessage};
use mimeo_service::{Steering, StoredJob, Task};
use tokio::sync::oneshot;

/// Requests that wait for the thread; more are refused.
pub const LIMIT: usize = 64;

/// Something for the thread to do.
pub enum Work {
    /// Train.
    Job {
        /// What.
        job: Box<StoredJob>,
        /// What the user wants of it.
        steering: Arc<Steering>,
        /// Told when the job's new state is stored.
        done: oneshot::Sender<()>,
    },
    /// Draw or measure.
    Task(Box<Asked>),
    /// Look at the steering again.
    Nudge,
}

/// A task, and whom to tell; they may be gone.
pub struct Asked {
    /// What to do.
    pub task: Task,
    /// Takes the answer.
    pub answer: oneshot::Sender<ServerMessage>,
}

impl Asked {
    /// Tells whoever asked that it cannot be done.
    pub fn refuse(self, reason: Rejection) {
        _ = self.answer.send(self.task.refused(reason));
    }
}

/// What waits for the thread.
pub struct Inbox {
    /// What was sent.
    pub work: Receiver<Work>,
    /// Tasks on another base than the running job's.
    pub later: RefCell<VecDeque<Asked>>,
}

impl Inbox {
    /// An inbox, and the way to it.
    pub fn new() -> (SyncSender<Work>, Self) {
        let (sender, work) = sync_channel(LIMIT);
        let later = RefCell::default();
        (sender, Self { work, later })
    }

    /// Refuses the tasks that wait for the end of the running job.
    pub fn refuse_later(&self, why: impl Fn() -> Rejection) {
        for asked in self.later.take() {
            asked.refuse(why());
        }
    }

    /// Refuses every task for a while, which may end sooner: something came.
    pub fn refuse_for(&self, time: Duration, why: impl Fn() -> Rejection) {
        self.refuse_later(&why);
        match self.work.recv_timeout(time) {
            Ok(Work::Task(asked)) => asked.refuse(why()),
            // The queue hands out one job at a time; of a wish about it the steering tells.
            Ok(Work::Job { .. } | Work::Nudge) | Err(RecvTimeoutError::Timeout) => {}
            // The service ends, and nobody is left who could ask.
            Err(RecvTimeoutError::Disconnected) => thread::sleep(time),
        }
    }
}
