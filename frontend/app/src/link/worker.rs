//! The line to the trainer in this browser: a Web Worker, which is terminated when it is dropped.
//!
//! It says the companion's frames; beside them, what a browser has to be told: how much of its
//! program is here, whether another tab trains, and why it ended.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use futures_channel::{mpsc, oneshot};
use futures_util::future::{Either, select};
use futures_util::{StreamExt as _, sink};
use gloo_timers::future::TimeoutFuture;
use js_sys::{Array, Object, Reflect, Uint8Array};
use leptos::prelude::*;
use mimeo_workbench::backend;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, MessageEvent, Worker, WorkerOptions, WorkerType};

use super::talk::{End, Line};
use super::{Link, Status};

/// A trainer that is ready and does not answer the hello in this time never will, ms.
const HELLO_WITHIN: u32 = 60_000;
/// The page is painted before the trainer is fetched, unless nobody sees it, ms.
const PAINTED_WITHIN: u32 = 300;

/// A worker, and who waits for its answers.
pub struct Trainer {
    worker: Worker,
    calls: Rc<Calls>,
    #[expect(dead_code, reason = "the worker calls them for as long as it lives")]
    listeners: (Listener<MessageEvent>, Listener<web_sys::Event>),
}

type Listener<E> = Closure<dyn FnMut(E)>;

/// Who waits for which file.
type Calls = RefCell<BTreeMap<u32, oneshot::Sender<Result<Option<Blob>, String>>>>;

/// What the worker says, beside how far it is.
enum Said {
    Frame(Vec<u8>),
    Ready,
    Elsewhere,
    Ended(End),
}

/// Starts a worker, waits until it listens, and gives it the bases that were picked from disk.
///
/// - `device`: "webgpu" or "cpu"
pub async fn open(link: Link, device: &str) -> Result<Line, End> {
    painted().await;
    // Workers have no back pressure, so a bounded channel could only lose what it cannot hold.
    let (says, mut heard) = mpsc::unbounded();
    let trainer = Trainer::start(link, device, says).ok_or_else(|| {
        End::Broken(
            "This browser starts no Web Workers. Use a current one, or the companion.".to_owned(),
        )
    })?;
    let trainer = Rc::new(trainer);
    link.wires().worker.replace(Some(Rc::clone(&trainer)));
    loop {
        match heard.next().await {
            Some(Said::Ready) => break,
            Some(Said::Elsewhere) if link.wires().takes_over.get() => trainer.take_over(),
            Some(Said::Elsewhere) => link.status.set(Status::Elsewhere),
            Some(Said::Ended(end)) => return Err(end),
            Some(Said::Frame(_)) => {}
            None => return Err(End::Broken(FAILED.to_owned())),
        }
    }
    link.wires().takes_over.set(false);
    link.status.set(Status::Connecting);
    link.arrival.update(|arrival| arrival.program = None);
    let end = Rc::new(RefCell::new(None));
    let frames = heard.scan(Rc::clone(&end), |end, said| {
        std::future::ready(match said {
            Said::Frame(frame) => Some(Some(frame)),
            Said::Ready | Said::Elsewhere => Some(None),
            Said::Ended(why) => {
                end.replace(Some(why));
                None
            }
        })
    });
    let mut line = Line {
        token: String::new(),
        frames: Box::pin(frames.filter_map(std::future::ready)),
        sink: Box::pin(sink::unfold(
            trainer,
            |trainer: Rc<Trainer>, frame: Vec<u8>| {
                let frame = Uint8Array::from(&frame[..]);
                trainer.post(&frame, Some(&frame));
                std::future::ready(Ok::<_, ()>(trainer))
            },
        )),
        hello_within: HELLO_WITHIN,
        late: End::Broken(FAILED.to_owned()),
        end,
    };
    give_bases(link, &mut line).await?;
    Ok(line)
}

/// Runs that wait or go on may need them, so it has them before it says anything.
async fn give_bases(link: Link, line: &mut Line) -> Result<(), End> {
    let bases = link.wires().bases.borrow().clone();
    for (path, file) in bases {
        let given = Box::pin(put(link, &path, file.into()));
        // It says nothing before the hello, but it may end.
        if let Either::Right(_) = select(given, line.frames.next()).await {
            let end = line.end.take();
            return Err(end.unwrap_or_else(|| End::Broken(FAILED.to_owned())));
        }
    }
    Ok(())
}

const FAILED: &str =
    "The trainer in this browser ended without a reason. Reload the page, or use the companion.";

impl Trainer {
    fn start(link: Link, device: &str, says: mpsc::UnboundedSender<Said>) -> Option<Self> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        let address = format!("{}?device={device}", address()?);
        let worker = Worker::new_with_options(&address, &options).ok()?;
        let calls = Rc::<Calls>::default();
        let (answers, failures) = (Rc::clone(&calls), says.clone());
        let on_message = Listener::new(move |event: MessageEvent| {
            hear(link, &event.data(), &answers, &says);
        });
        let on_error = Listener::new(move |event: web_sys::Event| {
            let message = text(&event, "message");
            let why = match message.filter(|message| !message.is_empty()) {
                Some(message) => format!(
                    "The trainer in this browser failed ({message}). Reload the page, or use the companion."
                ),
                None => "The trainer could not be loaded into this browser. Check the connection, then try again.".to_owned(),
            };
            // Nobody listens any more: then it has ended already.
            _ = failures.unbounded_send(Said::Ended(End::Broken(why)));
        });
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        Some(Self {
            worker,
            calls,
            listeners: (on_message, on_error),
        })
    }

    /// Trains here, and no longer in another tab.
    pub fn take_over(&self) {
        self.post(&object(&[("take", JsValue::TRUE)]), None);
    }

    /// - `moved`: bytes in the message that the page does not need any more
    fn post(&self, message: &JsValue, moved: Option<&Uint8Array>) {
        let moved = moved.map(|bytes| Array::of1(&bytes.buffer()));
        // Fails for messages that cannot be copied, and all of these can.
        _ = self
            .worker
            .post_message_with_transfer(message, &moved.unwrap_or_default());
    }
}

impl Drop for Trainer {
    fn drop(&mut self) {
        self.worker.terminate();
        // A message that is on its way would call what is gone.
        self.worker.set_onmessage(None);
        self.worker.set_onerror(None);
        // Whoever waits hears that nobody answers.
        self.calls.borrow_mut().clear();
    }
}

/// Whether this page was built with the trainer.
pub fn included() -> backend::Trainer {
    match address() {
        Some(_) => backend::Trainer::Included,
        None => backend::Trainer::LeftOut,
    }
}

/// Where its script is; none in a page that was built without.
fn address() -> Option<String> {
    let meta = document().query_selector("meta[name=mimeo-trainer]");
    meta.ok().flatten()?.get_attribute("content")
}

/// Takes in a message of the worker.
fn hear(link: Link, data: &JsValue, calls: &Calls, says: &mpsc::UnboundedSender<Said>) {
    let say = |said| {
        // Nobody listens any more: then it is being terminated.
        _ = says.unbounded_send(said);
    };
    if let Some(frame) = data.dyn_ref::<Uint8Array>() {
        return say(Said::Frame(frame.to_vec()));
    }
    let field = |name: &str| {
        let value = Reflect::get(data, &name.into()).ok();
        value.filter(|value| !value.is_undefined())
    };
    if let Some(id) = field("id").and_then(|id| id.as_f64()) {
        let answer = match text(data, "error") {
            Some(why) => Err(why),
            None => Ok(field("file").and_then(|file| file.dyn_into().ok())),
        };
        if let Some(waiting) = calls.borrow_mut().remove(&(id as u32)) {
            // Whoever asked may have left.
            _ = waiting.send(answer);
        }
    }
    if let Some(program) = field("program") {
        let (done, total) = counts(&program);
        let program = done.map(|done| (done, total));
        link.arrival.update(|arrival| arrival.program = program);
    }
    if let Some(base) = field("base") {
        let (done, total) = counts(&base);
        let base = done.zip(total).filter(|(done, total)| done < total);
        link.arrival.update(|arrival| arrival.base = base);
    }
    if let Some(pipelines) = field("pipelines") {
        let (done, expected) = counts(&pipelines);
        let pipelines = done.zip(expected);
        let pipelines = pipelines.map(|(done, expected)| (done as u32, expected as u32));
        link.arrival.update(|arrival| arrival.pipelines = pipelines);
    }
    if field("ready").is_some() {
        say(Said::Ready);
    }
    if field("elsewhere").is_some() {
        say(Said::Elsewhere);
    }
    if let Some(why) = text(data, "taken") {
        say(Said::Ended(End::Taken(why)));
    }
    if let Some(why) = text(data, "lost") {
        say(Said::Ended(End::Broken(why)));
    }
}

/// Two numbers, as far as they are there.
fn counts(value: &JsValue) -> (Option<u64>, Option<u64>) {
    let number = |at: u32| {
        let number = value.dyn_ref::<Array>()?.get(at).as_f64()?;
        Some(number as u64)
    };
    (number(0), number(1))
}

fn text(value: &JsValue, name: &str) -> Option<String> {
    Reflect::get(value, &name.into()).ok()?.as_string()
}

fn object(fields: &[(&str, JsValue)]) -> Object {
    let object = Object::new();
    for (name, value) in fields {
        // Fails for frozen objects.
        _ = Reflect::set(&object, &(*name).into(), value);
    }
    object
}

/// Gives the worker a file: bytes, which move there, or a file on disk.
pub async fn put(link: Link, path: &str, file: JsValue) -> Result<(), String> {
    let moved = file.dyn_ref::<Uint8Array>().cloned();
    let fields = [("put", path.into()), ("file", file)];
    call(link, &fields, moved.as_ref()).await.map(drop)
}

/// Asks the worker for a file.
pub async fn get(link: Link, path: &str) -> Result<Blob, String> {
    let file = call(link, &[("get", path.into())], None).await?;
    file.ok_or_else(|| "This file is not here (any more). Reload the page.".to_owned())
}

async fn call(
    link: Link,
    fields: &[(&str, JsValue)],
    moved: Option<&Uint8Array>,
) -> Result<Option<Blob>, String> {
    let (answer, answered) = oneshot::channel();
    {
        let wires = link.wires();
        let worker = wires.worker.borrow();
        let trainer = worker.as_ref().ok_or_else(|| link.gone())?;
        let id = wires.next();
        trainer.calls.borrow_mut().insert(id, answer);
        let message = object(&[&[("id", id.into())], fields].concat());
        trainer.post(&message, moved);
    }
    answered.await.unwrap_or_else(|_| Err(link.gone()))
}

/// A file's bytes.
pub async fn read(file: &Blob) -> Result<Vec<u8>, String> {
    let bytes = JsFuture::from(file.array_buffer()).await;
    let bytes = bytes.map_err(|_gone| "This file is not here any more. Reload the page.")?;
    Ok(Uint8Array::new(&bytes).to_vec())
}

/// Waits until there is something to see.
async fn painted() {
    let (paint, painted) = oneshot::channel();
    request_animation_frame(move || {
        // The frame is painted after this, and what is put off here runs after that.
        set_timeout(move || _ = paint.send(()), std::time::Duration::ZERO);
    });
    select(painted, TimeoutFuture::new(PAINTED_WITHIN)).await;
}
