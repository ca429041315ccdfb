//! What waits for the worker's one device, and the loop that does it.
//!
//! The page asks at any moment: also while a loop computes, writes, or is about to wait. So a ring of
//! the bell stays until it is heard, and whoever hears it looks at everything that may wait. Nothing
//! here knows a browser, so that a test can try every moment.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Poll, Waker};

use futures_util::future::select;

/// Tasks that wait, and the bell of the one loop that does them.
#[derive(Debug)]
pub struct Inbox<T> {
    tasks: RefCell<VecDeque<T>>,
    /// The bell was rung and not heard yet.
    is_rung: Cell<bool>,
    /// Who waits for it.
    listener: RefCell<Option<Waker>>,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self {
            tasks: RefCell::default(),
            is_rung: Cell::default(),
            listener: RefCell::default(),
        }
    }
}

impl<T> Inbox<T> {
    /// Adds a task, and rings for it.
    pub fn push(&self, task: T) {
        self.tasks.borrow_mut().push_back(task);
        self.ring();
    }

    /// Takes the first task of a kind.
    pub fn take(&self, fits: impl Fn(&T) -> bool) -> Option<T> {
        let mut tasks = self.tasks.borrow_mut();
        let at = tasks.iter().position(fits)?;
        tasks.remove(at)
    }

    /// Wakes whoever waits, or keeps the next one from waiting: there is a job, or a wish about the
    /// one under way.
    pub fn ring(&self) {
        self.is_rung.set(true);
        if let Some(listener) = self.listener.take() {
            listener.wake();
        }
    }

    /// Waits until the bell is rung; not at all if it was since it was heard last.
    ///
    /// Whoever comes back from here looks at all that it was rung for.
    pub async fn rung(&self) {
        poll_fn(|context| {
            if self.is_rung.take() {
                return Poll::Ready(());
            }
            self.listener.replace(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

/// Who does what waits, and keeps what comes of it.
pub trait Device {
    /// Something small that the page waits for.
    type Task;
    /// Something long.
    type Job;

    /// What waits, beside the jobs.
    fn inbox(&self) -> &Inbox<Self::Task>;

    /// Takes the next job out of the queue. Whoever adds one rings.
    fn next_job(&self) -> Option<Self::Job>;

    /// Does a task and answers it.
    fn perform(&self, task: Self::Task) -> impl Future<Output = ()>;

    /// Tells the page that a task cannot be done while a job that is paused has the device.
    fn refuse(&self, task: Self::Task);

    /// Does a job, and between its steps what waits: see [`perform_waiting`].
    fn run(&self, job: Self::Job) -> impl Future<Output = ()>;

    /// Writes everything that changed; whether all of it is written now.
    fn flush(&self) -> impl Future<Output = bool>;

    /// Waits for as long as it takes until another [`Self::flush`] may succeed.
    fn wait_for_room(&self) -> impl Future<Output = ()>;
}

/// Does tasks and jobs, one at a time, for ever.
pub async fn work(device: &impl Device) {
    loop {
        // What was asked for last is on disk before anything long begins.
        let is_written = device.flush().await;
        // From here to the bell nothing is awaited: what comes before is seen, what comes after rings.
        if let Some(task) = device.inbox().take(|_| true) {
            device.perform(task).await;
        } else if let Some(job) = device.next_job() {
            device.run(job).await;
        } else {
            rest(device, is_written).await;
        }
    }
}

/// Does the tasks that wait and can be done while the running job has the device. Others wait for its
/// end.
pub async fn perform_waiting<D: Device>(device: &D, fits: impl Fn(&D::Task) -> bool) {
    while let Some(task) = device.inbox().take(&fits) {
        device.perform(task).await;
    }
}

/// Refuses the others, because the job waits itself: that may take days.
pub fn refuse_waiting<D: Device>(device: &D, fits: impl Fn(&D::Task) -> bool) {
    while let Some(task) = device.inbox().take(|task| !fits(task)) {
        device.refuse(task);
    }
}

/// Waits until something is asked for, or until what could not be written can be tried again.
pub async fn rest(device: &impl Device, is_written: bool) {
    let rung = pin!(device.inbox().rung());
    if is_written {
        rung.await;
    } else {
        // Whichever comes first; a ring that comes with it is heard next time.
        select(rung, pin!(device.wait_for_room())).await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Wake};

    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Something that takes time: whoever comes to it waits until the test says that it is over.
    #[derive(Default)]
    struct Pause {
        lasts: Cell<bool>,
        waiting: RefCell<Option<Waker>>,
    }

    impl Pause {
        async fn over(&self) {
            self.lasts.set(true);
            poll_fn(|context| {
                if !self.lasts.get() {
                    return Poll::Ready(());
                }
                self.waiting.replace(Some(context.waker().clone()));
                Poll::Pending
            })
            .await;
        }

        /// Whether there was something to end.
        fn end(&self) -> bool {
            let lasted = self.lasts.replace(false);
            if let Some(waiting) = self.waiting.take() {
                waiting.wake();
            }
            lasted
        }
    }

    /// Jobs take this many steps.
    const STEPS: u32 = 3;

    /// A device on which nothing goes on but what the test ends. Jobs and tasks are numbers, and a
    /// task can be done beside a job if both are even or both are odd.
    #[derive(Default)]
    struct Pretended {
        inbox: Inbox<u32>,
        queue: RefCell<VecDeque<u32>>,
        /// A step, a task or a write under way.
        work: Pause,
        /// The time until it is worth looking for room.
        room: Pause,
        is_changed: Cell<bool>,
        is_full: Cell<bool>,
        is_held: Cell<bool>,
        /// What was done, in order.
        tasks: RefCell<Vec<u32>>,
        refused: RefCell<Vec<u32>>,
        jobs: RefCell<Vec<u32>>,
    }

    impl Device for Pretended {
        type Task = u32;
        type Job = u32;

        fn inbox(&self) -> &Inbox<u32> {
            &self.inbox
        }

        fn next_job(&self) -> Option<u32> {
            self.queue.borrow_mut().pop_front()
        }

        async fn perform(&self, task: u32) {
            self.work.over().await;
            self.tasks.borrow_mut().push(task);
        }

        fn refuse(&self, task: u32) {
            self.refused.borrow_mut().push(task);
        }

        async fn run(&self, job: u32) {
            for _ in 0..STEPS {
                self.work.over().await;
                let fits = |task: &u32| task % 2 == job % 2;
                // As `mimeo_service::run` does.
                loop {
                    perform_waiting(self, fits).await;
                    if !self.is_held.get() {
                        break;
                    }
                    let is_written = self.flush().await;
                    refuse_waiting(self, fits);
                    rest(self, is_written).await;
                }
            }
            self.jobs.borrow_mut().push(job);
            self.is_changed.set(true);
        }

        async fn flush(&self) -> bool {
            if self.is_changed.get() {
                self.work.over().await;
                self.is_changed.set(self.is_full.get());
            }
            !self.is_changed.get()
        }

        async fn wait_for_room(&self) {
            self.room.over().await;
        }
    }

    impl Pretended {
        fn submit(&self, job: u32) {
            self.queue.borrow_mut().push_back(job);
            self.is_changed.set(true);
            self.inbox.ring();
        }

        /// Pauses the job under way, or lets it go on.
        fn hold(&self, is_held: bool) {
            self.is_held.set(is_held);
            self.inbox.ring();
        }
    }

    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Drives the loop as a browser does: only when something woke it.
    struct Driver<'a> {
        device: &'a Pretended,
        future: Pin<Box<dyn Future<Output = ()> + 'a>>,
        woken: Arc<Woken>,
    }

    impl<'a> Driver<'a> {
        fn new(device: &'a Pretended) -> Self {
            Self {
                device,
                future: Box::pin(work(device)),
                woken: Arc::new(Woken(AtomicBool::new(true))),
            }
        }

        /// Lets the loop go on to where it waits.
        fn go_on(&mut self) {
            while self.woken.0.swap(false, Ordering::Relaxed) {
                let waker = Waker::from(Arc::clone(&self.woken));
                let polled = self.future.as_mut().poll(&mut Context::from_waker(&waker));
                assert!(polled.is_pending(), "it works for ever");
            }
        }

        /// Ends all that is under way, and what follows from it; a disk that is full stays so.
        fn settle(&mut self) {
            self.go_on();
            while self.device.work.end() {
                self.go_on();
            }
        }
    }

    #[test]
    fn a_task_that_comes_while_changes_are_written_is_done() {
        let device = Pretended::default();
        device.is_changed.set(true);
        let mut driver = Driver::new(&device);
        driver.go_on();
        assert!(device.work.lasts.get(), "it writes");
        device.inbox.push(1);
        driver.settle();
        assert_eq!(*device.tasks.borrow(), [1], "and then nothing else comes");
    }

    #[test]
    fn what_comes_while_a_paused_job_is_written_is_done_or_refused() {
        let device = Pretended::default();
        device.submit(4);
        device.hold(true);
        let mut driver = Driver::new(&device);
        driver.go_on();
        device.work.end();
        driver.go_on();
        device.is_changed.set(true);
        device.work.end();
        driver.go_on();
        assert!(
            device.work.lasts.get(),
            "after a step it is paused and written"
        );
        device.inbox.push(6);
        device.inbox.push(7);
        driver.settle();
        assert_eq!(*device.tasks.borrow(), [6], "on the paused job's base");
        assert_eq!(*device.refused.borrow(), [7], "on another one");
        device.hold(false);
        driver.settle();
        assert_eq!(*device.jobs.borrow(), [4], "it goes on to its end");
    }

    #[test]
    fn what_does_not_fit_beside_a_job_waits_for_its_end() {
        let device = Pretended::default();
        device.submit(4);
        let mut driver = Driver::new(&device);
        driver.go_on();
        device.work.end();
        driver.go_on();
        device.inbox.push(7);
        driver.settle();
        assert_eq!(*device.jobs.borrow(), [4], "it was under way");
        assert_eq!(*device.tasks.borrow(), [7], "done after it");
        assert!(device.refused.borrow().is_empty(), "and not refused");
    }

    #[test]
    fn what_found_no_room_is_written_once_there_is_some_without_anybody_asking() {
        let device = Pretended::default();
        device.is_full.set(true);
        device.submit(1);
        let mut driver = Driver::new(&device);
        driver.settle();
        assert_eq!(*device.jobs.borrow(), [1], "it is done all the same");
        device.inbox.push(2);
        driver.settle();
        assert_eq!(*device.tasks.borrow(), [2], "so is what is asked for now");
        assert!(device.is_changed.get(), "its result waits");
        device.is_full.set(false);
        assert!(device.room.end(), "it looks for room by itself");
        driver.settle();
        assert!(!device.is_changed.get(), "and is written");
    }

    #[test]
    fn whatever_the_moment_everything_is_done_and_nothing_twice() {
        let (mut asked, mut submitted) = (0, 0);
        for seed in 0..40 {
            let device = Pretended::default();
            let mut driver = Driver::new(&device);
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (mut tasks, mut jobs) = (BTreeSet::new(), Vec::new());
            for number in 0..600 {
                match rng.random_range(0..16) {
                    0..4 => {
                        tasks.insert(number);
                        device.inbox.push(number);
                    }
                    4 => {
                        jobs.push(number);
                        device.submit(number);
                    }
                    5 => device.hold(rng.random()),
                    6 => device.is_full.set(rng.random()),
                    7 => _ = device.room.end(),
                    8..15 => _ = device.work.end(),
                    _ => {
                        // Nothing comes any more.
                        driver.settle();
                        let waits = device.inbox.tasks.borrow();
                        let is_over = jobs.len() == device.jobs.borrow().len();
                        assert!(
                            waits.is_empty() && (is_over || device.is_held.get()),
                            "seed {seed}, {number}: {waits:?} wait, all jobs done: {is_over}"
                        );
                    }
                }
                // Sometimes several things come at once.
                if rng.random() {
                    driver.go_on();
                }
            }
            if device.is_held.get() {
                device.hold(false);
            }
            driver.settle();
            let (done, refused) = (device.tasks.borrow(), device.refused.borrow());
            let answered: BTreeSet<u32> = done.iter().chain(&*refused).copied().collect();
            assert_eq!(answered, tasks, "seed {seed}: every task is answered");
            let answers = done.len() + refused.len();
            assert_eq!(answers, tasks.len(), "seed {seed}: and once");
            assert_eq!(*device.jobs.borrow(), jobs, "seed {seed}: jobs in order");
            asked += tasks.len();
            submitted += jobs.len();
        }
        assert!(
            asked >= 4_000 && submitted >= 1_000,
            "{asked} tasks and {submitted} jobs were tried"
        );
    }
}
