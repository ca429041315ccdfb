//! An open line, to the companion or to the worker: frames there and frames back.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;

use futures_util::future::{Either, select};
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use gloo_timers::future::TimeoutFuture;
use mimeo_protocol::{ServerMessage, codec};
use mimeo_workbench::link::{End, greeting};

/// An open line.
pub struct Connection {
    /// What the hello says; empty where nobody asks for it.
    pub token: String,
    /// What the other side says, until the line ends.
    pub frames: Pin<Box<dyn Stream<Item = Vec<u8>>>>,
    /// What is said to it.
    pub sink: Pin<Box<dyn Sink<Vec<u8>, Error = ()>>>,
    /// How long the answer to the hello may take, ms.
    pub hello_within: u32,
    /// Why it ended, where the other side says so.
    pub end: Rc<RefCell<Option<End>>>,
}

impl Connection {
    /// Says hello, and waits for the welcome.
    pub async fn greet(&mut self) -> Result<ServerMessage, End> {
        let hello = greeting::hello(std::mem::take(&mut self.token));
        let Ok(()) = self.sink.send(codec::encode(&hello)).await else {
            return Err(self.ended());
        };
        let patience = TimeoutFuture::new(self.hello_within);
        match select(self.frames.next(), patience).await {
            Either::Left((Some(frame), _)) => greeting::welcome(&frame),
            Either::Left((None, _)) | Either::Right(_) => Err(self.ended()),
        }
    }

    /// Why it ended.
    pub fn ended(&self) -> End {
        self.end.take().unwrap_or(End::Lost)
    }
}
