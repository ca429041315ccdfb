//! Frames and files of the page: which go to the server, and which to the disk.

use std::rc::Rc;

use js_sys::{Array, Object, Reflect, Uint8Array};
use mimeo_checkpoint::{LoraFile, MemoryFile};
use mimeo_image::decode;
use mimeo_protocol::{BaseId, BlobId, ClientMessage, InvalidId, JobId, RequestId, ServerMessage};
use mimeo_service::server::{check_version, read};
use mimeo_service::{Answer, Host as _, Reply, Store as _, blob, rules};
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{Blob, File, MessageEvent};

use crate::bases::Source;
use crate::disk::{blob_of, bytes_of};
use crate::host::{Browser, Worker};
use crate::page;
use crate::places::{blob_path, lora_path};

/// Begins to hear the page.
pub fn listen(worker: &Rc<Worker>) {
    let worker = Rc::clone(worker);
    let hear = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
        hear(&worker, &event.data());
    });
    page::scope().set_onmessage(Some(hear.as_ref().unchecked_ref()));
    // For as long as the worker lives.
    hear.forget();
}

fn hear(worker: &Rc<Worker>, data: &JsValue) {
    let worker = Rc::clone(worker);
    if let Some(frame) = data.dyn_ref::<Uint8Array>() {
        match read(&frame.to_vec()) {
            Ok(message) => spawn_local(async move { converse(&worker, message).await }),
            Err(reason) => page::send(&ServerMessage::Rejected {
                request: None,
                reason,
            }),
        }
        return;
    }
    let field = |name: &str| Reflect::get(data, &name.into()).unwrap_or_default();
    let Some(id) = field("id").as_f64() else {
        return;
    };
    let text = |name: &str| field(name).as_string();
    let (put_at, get_at, put_away) = (text("put"), text("get"), text("remove"));
    let (file, title) = (field("file"), text("title"));
    spawn_local(async move {
        let answer = match (put_at, get_at, put_away) {
            (Some(path), ..) => match path.strip_prefix("bases/") {
                Some(id) => put_base(&worker, id, title, &file).await.map(|()| None),
                None => put(&worker, &path, file).await.map(|()| None),
            },
            // Answered by `worker.js`.
            (_, Some(path), _) if path == "counts" => return,
            (_, Some(path), _) => get(&worker, &path).await.map(Some),
            (.., Some(path)) => remove(&worker, &path).map(|()| None),
            (None, None, None) => return,
        };
        page::answer(id, answer);
    });
}

async fn converse(worker: &Worker, message: ClientMessage) {
    match message {
        ClientMessage::Hello { protocol, app, .. } if worker.store.page.is_first_hello() => {
            if let Err(reason) = welcome(worker, protocol, &app).await {
                page::send(&ServerMessage::Rejected {
                    request: None,
                    reason,
                });
            }
        }
        message => match worker.answer(message).await {
            Reply::Message(answer) => page::send(&answer),
            Reply::Events {
                request,
                job,
                after,
            } => send_again(worker, request, job, after).await,
        },
    }
}

async fn welcome(worker: &Worker, protocol: u32, app: &str) -> Answer<()> {
    check_version(Browser::PROGRAM, protocol, app)?;
    let (welcome, ()) = worker.welcome().await?;
    page::send(&welcome);
    worker.store.page.listens();
    worker.host.inbox.ring();
    Ok(())
}

/// Sends a job's events again. In one go, so that they are in order with those that follow.
async fn send_again(worker: &Worker, request: RequestId, job: JobId, after: u64) {
    page::send(&match worker.events(job, after, &()).await {
        Ok(events) => {
            for event in events {
                page::send(&ServerMessage::Event(event));
            }
            ServerMessage::Done { request }
        }
        Err(reason) => ServerMessage::Rejected {
            request: Some(request),
            reason,
        },
    });
}

/// Takes a base or a VAE from the user's disk. Runs that wait for it go on once the page has looked at it.
///
/// - `picked`: a file, or the files of a folder by their paths
async fn put_base(
    worker: &Worker,
    id: &str,
    title: Option<String>,
    picked: &JsValue,
) -> Result<(), String> {
    let id: BaseId = id.parse().map_err(|error: InvalidId| error.to_string())?;
    let title = title.unwrap_or_else(|| id.to_string());
    let source = match picked.dyn_ref::<Blob>() {
        Some(blob) => {
            let name = picked.dyn_ref::<File>().map(File::name);
            Source::File {
                name: name.unwrap_or_else(|| title.clone()),
                blob: blob.clone(),
            }
        }
        None => {
            let entries = Object::entries(picked.unchecked_ref());
            let files = entries.iter().filter_map(|entry| {
                let entry: Array = entry.unchecked_into();
                Some((entry.get(0).as_string()?, entry.get(1).dyn_into().ok()?))
            });
            Source::folder(title.clone(), files.collect())
        }
    };
    let machine = &worker.host.machine;
    machine.bases.put(id.clone(), title, source).await?;
    // Its files may be others now.
    machine.unload(&id);
    Ok(())
}

/// Forgets what was picked from the user's disk.
fn remove(worker: &Worker, path: &str) -> Result<(), String> {
    let id = path
        .strip_prefix("bases/")
        .and_then(|id| id.parse::<BaseId>().ok());
    let id = id.ok_or_else(|| format!("{path:?} cannot be removed. Reload the page."))?;
    let machine = &worker.host.machine;
    machine.bases.remove(&id);
    machine.unload(&id);
    Ok(())
}

/// Like the companion's files over HTTP.
async fn put(worker: &Worker, path: &str, file: JsValue) -> Result<(), String> {
    let blob = match file.dyn_into::<Blob>() {
        Ok(blob) => blob,
        Err(bytes) => {
            let bytes = Uint8Array::new(&bytes).to_vec();
            blob_of(&bytes).map_err(|error| error.to_string())?
        }
    };
    let text = |error: &dyn std::fmt::Display| error.to_string();
    match path.split_once('/') {
        Some((kind @ ("blobs" | "loras"), id)) => {
            let id: BlobId = id.parse().map_err(|error| text(&error))?;
            let limit = match kind {
                "blobs" => rules::MAX_BLOB_BYTES as u64,
                _ => rules::MAX_LORA_BYTES,
            };
            if blob.size() > limit as f64 {
                let limit = limit >> 20;
                return Err(format!(
                    "This file has more than {limit} MiB. Make it smaller."
                ));
            }
            let bytes = bytes_of(&blob).await.map_err(|error| text(&error))?;
            if blob::id_of(&bytes) != id {
                return Err("The file changed on its way. Send it again.".to_owned());
            }
            // The whole of it, so that a damaged one is refused now.
            let path = if kind == "blobs" {
                decode(&bytes).map_err(|error| text(&error))?;
                blob_path(id)
            } else {
                let name = "the uploaded file";
                let read = LoraFile::read(Box::new(MemoryFile::new(name, bytes))).await;
                let applies = read.and_then(|lora| lora.check_applies(name));
                applies.map_err(|error| text(&error))?;
                lora_path(id)
            };
            let written = worker.host.disk.write_blob(&path, &blob).await;
            written.map_err(|error| text(&error))
        }
        _ => Err(format!("{path:?} cannot be put here. Reload the page.")),
    }
}

async fn get(worker: &Worker, path: &str) -> Result<Blob, String> {
    // States are for tests, which look at gradients.
    let is_known = ["blobs/", "files/", "states/"]
        .iter()
        .any(|kind| path.starts_with(kind));
    let found = match is_known {
        true => {
            // The page is told of a file before it is written. What waits for room on a full
            // disk can be downloaded all the same.
            worker.store.flush().await;
            match worker.store.unwritten(path) {
                Some(bytes) => blob_of(&bytes).ok(),
                None => worker.host.disk.copy(path).await,
            }
        }
        false => None,
    };
    found.ok_or_else(|| format!("{path:?} is not here any more."))
}
