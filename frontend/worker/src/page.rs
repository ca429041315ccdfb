//! Messages to the page; what they mean is told in the page's `link/worker.rs`.

use std::cell::Cell;

use js_sys::{Array, Object, Reflect, Uint8Array};
use mimeo_protocol::{ServerMessage, codec};
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::{Blob, DedicatedWorkerGlobalScope};

use crate::desk::Listener;

/// The page, as far as it has said hello.
#[derive(Debug, Default)]
pub struct Page {
    is_greeted: Cell<bool>,
    is_heard: Cell<bool>,
}

impl Page {
    /// Whether the hello that is said is the first.
    pub fn is_first_hello(&self) -> bool {
        !self.is_greeted.replace(true)
    }

    /// It was welcomed: from now on it is told what changes.
    pub fn listens(&self) {
        self.is_heard.set(true);
    }

    /// Whether it was welcomed.
    pub fn is_heard(&self) -> bool {
        self.is_heard.get()
    }
}

impl Listener for Page {
    fn tell(&self, message: &ServerMessage) {
        if self.is_heard() {
            send(message);
        }
    }

    fn now_millis(&self) -> u64 {
        js_sys::Date::now() as u64
    }
}

/// The worker's own global scope.
pub fn scope() -> DedicatedWorkerGlobalScope {
    js_sys::global().unchecked_into()
}

/// Sends a message of the protocol.
pub fn send(message: &ServerMessage) {
    let frame = Uint8Array::from(codec::encode(message).as_slice());
    let buffer = frame.buffer();
    // A fresh buffer can always be handed over.
    _ = scope().post_message_with_transfer(&frame, &Array::of1(&buffer));
}

/// Says that the worker listens.
pub fn ready() {
    post(&object(&[("ready", JsValue::TRUE)]));
}

/// Says why the worker is of no use.
pub fn lost(sentence: &str) {
    post(&object(&[("lost", sentence.into())]));
}

/// Whether the page wants the GPU, as the worker's address says.
pub fn wants_webgpu() -> bool {
    let query = scope().location().search();
    query
        .trim_start_matches('?')
        .split('&')
        .any(|part| part == "device=webgpu")
}

/// Tells `worker.js` how many pipelines there will be.
pub fn expect_pipelines(expected: u32) {
    // The global scope takes any field.
    _ = Reflect::set(&scope(), &"mimeoExpectedPipelines".into(), &expected.into());
}

/// The largest buffer of the GPU in use, as `worker.js` saw it, in bytes.
pub fn largest_buffer() -> Option<u64> {
    let largest = Reflect::get(&scope(), &"mimeoLargestBuffer".into()).ok()?;
    Some(largest.as_f64()? as u64)
}

/// Whether `worker.js` told the page that the worker is of no use any more.
pub fn is_lost() -> bool {
    let lost = Reflect::get(&scope(), &"mimeoLost".into());
    lost.is_ok_and(|lost| lost.is_truthy())
}

/// How many pipelines were compiled, as `worker.js` counts them.
pub fn pipelines() -> u32 {
    let counted = Reflect::get(&scope(), &"mimeoPipelines".into()).ok();
    counted.and_then(|counted| counted.as_f64()).unwrap_or(0.0) as u32
}

/// How far the bundled base's download is, in bytes.
pub fn base_progress(done: u64, total: u64) {
    let numbers = Array::of2(&(done as f64).into(), &(total as f64).into());
    post(&object(&[("base", numbers.into())]));
}

/// The GPU's pipelines are compiled.
pub fn pipelines_done() {
    post(&object(&[("pipelines", JsValue::NULL)]));
}

/// Answers a put or get.
pub fn answer(id: f64, answer: Result<Option<Blob>, String>) {
    let id = ("id", id.into());
    let object = match answer {
        Ok(Some(file)) => object(&[id, ("ok", JsValue::TRUE), ("file", file.into())]),
        Ok(None) => object(&[id, ("ok", JsValue::TRUE)]),
        Err(sentence) => object(&[id, ("error", sentence.into())]),
    };
    post(&object);
}

fn object(fields: &[(&str, JsValue)]) -> Object {
    let object = Object::new();
    for (name, value) in fields {
        // A fresh object takes any field.
        _ = Reflect::set(&object, &(*name).into(), value);
    }
    object
}

fn post(message: &Object) {
    // Everything that is sent here can be cloned.
    _ = scope().post_message(message);
}
