//! The line to the trainer in this browser: a Web Worker.
//!
//! It says the companion's frames; beside them, what a browser has to be told: how much of its
//! program is here, whether another tab trains, and why it ended.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use futures_channel::{mpsc, oneshot};
use futures_util::future::select;
use futures_util::{StreamExt as _, sink};
use gloo_timers::future::TimeoutFuture;
use js_sys::{Array, Object, Reflect, Uint8Array};
use leptos::prelude::*;
use mimeo_workbench::backend::{self, Arrival};
use mimeo_workbench::link::End;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, MessageEvent, Worker, WorkerOptions, WorkerType};

use super::bases::Given;
use super::connection::Connection;

/// A trainer that is ready and does not answer the hello in this time never will, ms.
const HELLO_WITHIN: u32 = 60_000;
/// The page is painted before the trainer is fetched, unless nobody sees it, ms.
const PAINTED_WITHIN: u32 = 300;

/// A worker, and who waits for its answers.
pub struct TrainerWorker {
    worker: Worker,
    last: Cell<u32>,
    calls: Rc<Calls>,
    #[expect(dead_code, reason = "the worker calls them for as long as it lives")]
    listeners: (Listener<MessageEvent>, Listener<web_sys::Event>),
}

type Listener<E> = Closure<dyn FnMut(E)>;

/// Who waits for which file.
type Calls = RefCell<BTreeMap<u32, oneshot::Sender<Result<Option<Blob>, String>>>>;

/// What the worker says, beside how far it is.
pub enum Said {
    /// A message.
    Frame(Vec<u8>),
    /// It listens.
    Ready,
    /// Another tab trains.
    Elsewhere,
    /// It is of no use any more.
    Ended(End),
}

/// What the worker says, one after the other.
pub type Heard = mpsc::UnboundedReceiver<Said>;

/// Why a file cannot be had.
pub const GONE: &str =
    "The trainer in this browser is not ready. Wait until it is, then try again.";

impl TrainerWorker {
    /// Starts one; what it says comes out beside it.
    ///
    /// - `device`: "webgpu" or "cpu"
    /// - `arrival`: where it is told what is on its way
    pub fn start(device: &str, arrival: RwSignal<Arrival>) -> Result<(Self, Heard), End> {
        let worker = start(device).ok_or_else(|| {
            let why = "This browser starts no Web Workers. Use a current one, or the companion.";
            End::Broken(why.to_owned())
        })?;
        // Workers have no back pressure, so a bounded channel could only lose what it cannot hold.
        let (says, heard) = mpsc::unbounded();
        let calls = Rc::<Calls>::default();
        let (answers, failures) = (Rc::clone(&calls), says.clone());
        let on_message = Listener::new(move |event: MessageEvent| {
            hear(&event.data(), arrival, &answers, &says);
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
        let trainer = Self {
            worker,
            last: Cell::new(0),
            calls,
            listeners: (on_message, on_error),
        };
        Ok((trainer, heard))
    }

    /// The line to one that listens.
    pub fn connection(self: Rc<Self>, heard: Heard) -> Connection {
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
        Connection {
            token: String::new(),
            frames: Box::pin(frames.filter_map(std::future::ready)),
            sink: Box::pin(sink::unfold(self, |trainer: Rc<Self>, frame: Vec<u8>| {
                let frame = Uint8Array::from(&frame[..]);
                trainer.post(&frame, Some(&frame));
                std::future::ready(Ok::<_, ()>(trainer))
            })),
            hello_within: HELLO_WITHIN,
            end,
        }
    }

    /// Gives it a file.
    pub async fn put(&self, path: &str, file: &[u8]) -> Result<(), String> {
        let bytes = Uint8Array::from(file);
        let fields = [("put", path.into()), ("file", bytes.clone().into())];
        self.call(&fields, Some(&bytes)).await.map(drop)
    }

    /// Gives it a base or a VAE from the user's disk, in the place of what had this id before.
    pub async fn put_base(&self, id: &str, base: &Given) -> Result<(), String> {
        let path = format!("bases/{id}").into();
        let title = base.title.as_str().into();
        let fields = [
            ("put", path),
            ("title", title),
            ("file", base.files.clone()),
        ];
        self.call(&fields, None).await.map(drop)
    }

    /// Lets it forget what it was given.
    pub async fn remove_base(&self, id: &str) -> Result<(), String> {
        let path = format!("bases/{id}").into();
        self.call(&[("remove", path)], None).await.map(drop)
    }

    /// Asks it for a file.
    pub async fn get(&self, path: &str) -> Result<Blob, String> {
        let file = self.call(&[("get", path.into())], None).await?;
        file.ok_or_else(|| "This file is not here (any more). Reload the page.".to_owned())
    }

    async fn call(
        &self,
        fields: &[(&str, JsValue)],
        moved: Option<&Uint8Array>,
    ) -> Result<Option<Blob>, String> {
        let (answer, answered) = oneshot::channel();
        let id = self.last.get().wrapping_add(1);
        self.last.set(id);
        self.calls.borrow_mut().insert(id, answer);
        let message = object(&[&[("id", id.into())], fields].concat());
        self.post(&message, moved);
        answered.await.unwrap_or_else(|_| Err(GONE.to_owned()))
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

    /// Ends it, whatever it does; who waits for its answers hears that nobody answers.
    pub fn end(&self) {
        self.worker.terminate();
        // A message that is on its way would be taken for one of the next.
        self.worker.set_onmessage(None);
        self.worker.set_onerror(None);
        self.calls.borrow_mut().clear();
    }
}

fn start(device: &str) -> Option<Worker> {
    let options = WorkerOptions::new();
    options.set_type(WorkerType::Module);
    let address = format!("{}?device={device}", address()?);
    Worker::new_with_options(&address, &options).ok()
}

/// Whether this page was built with the trainer.
pub fn included() -> backend::TrainerBuild {
    match address() {
        Some(_) => backend::TrainerBuild::Included,
        None => backend::TrainerBuild::LeftOut,
    }
}

/// Where its script is; none in a page that was built without.
fn address() -> Option<String> {
    let meta = document().query_selector("meta[name=mimeo-trainer]");
    meta.ok().flatten()?.get_attribute("content")
}

/// Takes in a message of the worker.
fn hear(
    data: &JsValue,
    arrival: RwSignal<Arrival>,
    calls: &Calls,
    says: &mpsc::UnboundedSender<Said>,
) {
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
        arrival.update(|arrival| arrival.program = program);
    }
    if let Some(base) = field("base") {
        let (done, total) = counts(&base);
        let base = done.zip(total).filter(|(done, total)| done < total);
        arrival.update(|arrival| arrival.base = base);
    }
    if let Some(pipelines) = field("pipelines") {
        let (done, expected) = counts(&pipelines);
        let pipelines = done.zip(expected);
        let pipelines = pipelines.map(|(done, expected)| (done as u32, expected as u32));
        arrival.update(|arrival| arrival.pipelines = pipelines);
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

/// A file's bytes.
pub async fn read(file: &Blob) -> Result<Vec<u8>, String> {
    let bytes = JsFuture::from(file.array_buffer()).await;
    let bytes = bytes.map_err(|_gone| "This file is not here any more. Reload the page.")?;
    Ok(Uint8Array::new(&bytes).to_vec())
}

/// Waits until there is something to see.
pub async fn painted() {
    let (paint, painted) = oneshot::channel();
    request_animation_frame(move || {
        // The frame is painted after this, and what is put off here runs after that.
        set_timeout(move || _ = paint.send(()), std::time::Duration::ZERO);
    });
    select(painted, TimeoutFuture::new(PAINTED_WITHIN)).await;
}
