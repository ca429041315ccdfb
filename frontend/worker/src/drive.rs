//! How the engine shares the worker's one thread with everything else.
//!
//! The engine rests between steps, but a promise that is ready would be taken up before the next
//! message: so each time it rests, the browser gets a turn.

use std::cell::RefCell;
use std::rc::Rc;

use futures_channel::oneshot;
use wasm_bindgen::JsCast as _;
use wasm_bindgen::prelude::Closure;
use web_sys::MessageChannel;

use crate::page::scope;

/// Lets messages be heard, files be written and timers go off.
pub async fn turn() {
    thread_local! {
        static CHANNEL: Turns = Turns::new();
    }
    let (told, heard) = oneshot::channel();
    CHANNEL.with(|turns| turns.ask(told));
    // Its other end lives as long as the thread.
    _ = heard.await;
}

/// A message to oneself comes after all that wait already, and unlike a timer at once.
struct Turns {
    channel: MessageChannel,
    waiting: Rc<RefCell<Vec<oneshot::Sender<()>>>>,
}

impl Turns {
    fn new() -> Self {
        let waiting: Rc<RefCell<Vec<oneshot::Sender<()>>>> = Rc::default();
        // Workers that can train have it.
        let channel = MessageChannel::new().unwrap_or_else(|_| unreachable!());
        let inner = Rc::clone(&waiting);
        let heard = Closure::<dyn FnMut()>::new(move || {
            for told in inner.take() {
                // Whoever asked may have left.
                _ = told.send(());
            }
        });
        channel
            .port1()
            .set_onmessage(Some(heard.as_ref().unchecked_ref()));
        // For as long as the worker lives.
        heard.forget();
        Self { channel, waiting }
    }

    fn ask(&self, told: oneshot::Sender<()>) {
        self.waiting.borrow_mut().push(told);
        // Numbers can always be cloned.
        _ = self.channel.port2().post_message(&0.into());
    }
}

/// Waits.
pub async fn sleep(millis: u32) {
    let waited = js_sys::Promise::new(&mut |resolve, _| {
        let millis = i32::try_from(millis).unwrap_or(i32::MAX);
        // A worker has timers.
        _ = scope().set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, millis);
    });
    // It is never rejected.
    _ = wasm_bindgen_futures::JsFuture::from(waited).await;
}
