//! What the page asks for: the companion's side of `mimeo-protocol`, and its files.

use std::collections::HashSet;
use std::rc::Rc;

use js_sys::{Reflect, Uint8Array};
use mimeo_checkpoint::{LoraFile, MemoryFile};
use mimeo_image::decode;
use mimeo_protocol::{
    BlobId, Canvas, ClientMessage, CopierChoice, CopierId, FileId, JobControl, JobId, LoraRef,
    MAX_CLIENT_FRAME, PROTOCOL_VERSION, PreviewRequest, Rejection, RequestId, ServerMessage,
    TrainJob, Transition, codec,
};
use mimeo_service::rules::Course;
use mimeo_service::{Task, blob, plan, prepare, rules};
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{Blob, MessageEvent};

use crate::bases::missing;
use crate::disk::{blob_of, bytes_of};
use crate::page;
use crate::trainer::{Worker, now_millis};

const APP: &str = concat!("browser ", env!("CARGO_PKG_VERSION"));
/// A program in a page has no more memory than this, whatever the machine has.
const HEAP_BYTES: u64 = 4 << 30;

type Answer<T> = Result<T, Rejection>;

/// Where a picture is kept.
pub fn blob_path(id: BlobId) -> String {
    format!("blobs/{id}")
}

/// Where an uploaded LoRA is kept.
pub fn lora_path(id: BlobId) -> String {
    format!("loras/{id}")
}

/// Where a result is kept.
pub fn file_path(id: FileId) -> String {
    format!("files/{id}")
}

/// Where the state is kept from which a job can go on.
pub fn state_path(id: JobId) -> String {
    format!("states/{id}")
}

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
        match codec::decode(&frame.to_vec(), MAX_CLIENT_FRAME) {
            Ok(message) => spawn_local(async move { converse(&worker, message).await }),
            Err(error) => page::send(&ServerMessage::Rejected {
                request: None,
                reason: error.into(),
            }),
        }
        return;
    }
    let field = |name: &str| Reflect::get(data, &name.into()).unwrap_or_default();
    let Some(id) = field("id").as_f64() else {
        return;
    };
    let (put, get) = (field("put").as_string(), field("get").as_string());
    let file = field("file");
    spawn_local(async move {
        let answer = match (put, get) {
            (Some(path), _) => worker.put(&path, file).await.map(|()| None),
            // Answered by `worker.js`.
            (None, Some(path)) if path == "counts" => return,
            (None, Some(path)) => worker.get(&path).await.map(Some),
            (None, None) => return,
        };
        page::answer(id, answer);
    });
}

async fn converse(worker: &Rc<Worker>, message: ClientMessage) {
    let request = message.request();
    let answer = worker.answer(message).await;
    let answer = answer.unwrap_or_else(|reason| Some(ServerMessage::Rejected { request, reason }));
    if let Some(answer) = answer {
        page::send(&answer);
    }
}

/// Like the companion's files over HTTP.
impl Worker {
    async fn put(&self, path: &str, file: JsValue) -> Result<(), String> {
        let blob = match file.dyn_into::<Blob>() {
            Ok(blob) => blob,
            Err(bytes) => {
                let bytes = Uint8Array::new(&bytes).to_vec();
                blob_of(&bytes).map_err(|error| error.to_string())?
            }
        };
        let text = |error: &dyn std::fmt::Display| error.to_string();
        match path.split_once('/') {
            Some(("bases", path)) => {
                self.bases.put(path, blob)?;
                // Its files may be others now.
                self.unload();
                Ok(())
            }
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
                let written = self.disk.write_blob(&path, &blob).await;
                written.map_err(|error| text(&error))
            }
            _ => Err(format!("{path:?} cannot be put here. Reload the page.")),
        }
    }

    async fn get(&self, path: &str) -> Result<Blob, String> {
        // States are for tests, which look at gradients.
        let is_known = ["blobs/", "files/", "states/"]
            .iter()
            .any(|kind| path.starts_with(kind));
        let found = match is_known {
            true => {
                // The page is told of a file before it is written. What waits for room on a full
                // disk can be downloaded all the same.
                _ = self.flush().await;
                match self.unwritten(path) {
                    Some(bytes) => blob_of(&bytes).ok(),
                    None => self.disk.copy(path).await,
                }
            }
            false => None,
        };
        found.ok_or_else(|| format!("{path:?} is not here any more."))
    }

    /// At the start, removes pictures and LoRAs that nothing names any more; the page sends what it
    /// needs again.
    pub async fn tidy(&self) {
        let named: Option<HashSet<String>> = {
            let ledger = self.ledger.borrow();
            let pictures = ledger.pictures().into_iter();
            // What cannot be read may name any of them.
            let is_whole = ledger.is_whole();
            is_whole.then(|| pictures.map(|id| id.to_string()).collect())
        };
        if let Some(named) = named {
            self.disk.retain("blobs", |name| named.contains(name)).await;
        }
        self.disk.remove("loras").await;
    }
}

/// The answers.
impl Worker {
    async fn answer(&self, message: ClientMessage) -> Answer<Option<ServerMessage>> {
        use ClientMessage as C;
        let request = message.request().unwrap_or(RequestId(0));
        let done = ServerMessage::Done { request };
        Ok(Some(match message {
            C::Hello { protocol, app, .. } => return self.welcome(protocol, app).await.map(Some),
            C::Submit { job, .. } => {
                let job = self.submit(*job).await?;
                ServerMessage::Accepted { request, job }
            }
            C::Control { job, control, .. } => {
                self.control(job, control).await?;
                done
            }
            C::Reorder { job, before, .. } => {
                if !self.ledger.borrow_mut().reorder(job, before) {
                    return Err(rules::not_waiting());
                }
                self.order_changed();
                self.write().await;
                done
            }
            C::Delete { job, .. } => {
                self.delete(job).await?;
                done
            }
            C::Preview { preview, .. } => {
                self.check_preview(&preview).await?;
                self.inbox.push(Task::Preview { request, preview });
                return Ok(None);
            }
            C::Score { file, .. } => {
                let owner = self.ledger.borrow().file(file).and_then(|(owner, _)| owner);
                let id = owner.ok_or_else(|| rules::missing_file(file))?;
                let entry = self.ledger.borrow().job(id).cloned();
                let job = Box::new(entry.ok_or_else(|| self.missing_job(id))?.job);
                self.inbox.push(Task::Score { request, job, file });
                return Ok(None);
            }
            C::Plan { job, .. } => {
                let size = self.size_of(job.original).await;
                let plan = self.plan(&job, size).await?;
                ServerMessage::Plan { request, plan }
            }
            C::ListCheckpoints { .. } => ServerMessage::Checkpoints {
                request,
                checkpoints: self.bases.list().await,
            },
            C::Devices { .. } => ServerMessage::Devices {
                request,
                devices: vec![self.device.clone()],
            },
            C::RenameCopier { copier, name, .. } => {
                let renamed = {
                    let mut ledger = self.ledger.borrow_mut();
                    ledger.change_copier(copier, |info| info.name = name)
                };
                if !renamed {
                    return Err(rules::missing_copier(copier));
                }
                self.copiers_changed();
                self.write().await;
                done
            }
            C::DeleteCopier { copier, .. } => {
                self.delete_copier(copier).await?;
                done
            }
            C::Reveal { .. } => {
                let message = "the file is kept inside the browser, where no folder shows it. Download it instead.";
                return Err(Rejection::Failed {
                    message: message.to_owned(),
                });
            }
            C::Resync { job, after, .. } => {
                self.resync(job, after)?;
                done
            }
        }))
    }

    async fn welcome(&self, protocol: u32, client: String) -> Answer<ServerMessage> {
        if protocol != PROTOCOL_VERSION {
            return Err(Rejection::Version {
                client,
                client_protocol: protocol,
                server: APP.to_owned(),
                server_protocol: PROTOCOL_VERSION,
            });
        }
        let checkpoints = self.bases.list().await;
        self.is_heard.set(true);
        self.inbox.ring();
        let ledger = self.ledger.borrow();
        let snapshot = ledger.snapshot(self.device.clone(), checkpoints);
        Ok(ServerMessage::Welcome {
            protocol: PROTOCOL_VERSION,
            app: APP.to_owned(),
            snapshot,
        })
    }

    async fn submit(&self, job: TrainJob) -> Answer<JobId> {
        self.check(&job).await?;
        let (id, event) = self.ledger.borrow_mut().add_job(job, now_millis());
        self.added(id, event);
        self.write().await;
        self.inbox.ring();
        Ok(id)
    }

    /// What the run would find wrong minutes later.
    async fn check(&self, job: &TrainJob) -> Answer<()> {
        rules::check_queue(self.ledger.borrow().queue().len())?;
        rules::check_prompts(job)?;
        rules::check_recipe(job)?;
        if let CopierChoice::Given(id) = job.copier {
            let copiers = self.ledger.borrow().copiers();
            if !copiers.iter().any(|copier| copier.id == id) {
                return Err(rules::missing_copier(id));
            }
        }
        let original = self.uploaded(job.original).await?;
        let target = self.uploaded(job.target).await?;
        let mask = match job.mask {
            Some(mask) => Some(self.uploaded(mask).await?),
            None => None,
        };
        let size = prepare::check_pair(&original, &target, mask.as_deref());
        let size = size.map_err(|error| Rejection::Failed {
            message: error.to_string(),
        })?;
        let plan = self.plan(job, Some(size)).await?;
        plan::refusal(&plan).map_or(Ok(()), Err)
    }

    async fn plan(
        &self,
        job: &TrainJob,
        size: Option<(u32, u32)>,
    ) -> Answer<mimeo_protocol::MemoryPlan> {
        let shape = self.bases.shape(&job.base).await?;
        // Of a GPU's memory a browser tells nothing but the largest piece.
        let room = match page::largest_buffer() {
            Some(largest) => plan::Room {
                available_bytes: None,
                largest_bytes: Some(largest),
            },
            None => plan::Room {
                available_bytes: Some(HEAP_BYTES),
                largest_bytes: None,
            },
        };
        Ok(plan::plan(&shape, &job.recipe, size, &self.compute, room))
    }

    async fn size_of(&self, id: BlobId) -> Option<(u32, u32)> {
        let bytes = self.disk.read(&blob_path(id)).await?;
        let picture = decode(&bytes).ok()?.picture;
        Some((picture.width(), picture.height()))
    }

    async fn uploaded(&self, id: BlobId) -> Answer<Vec<u8>> {
        let found = self.disk.read(&blob_path(id)).await;
        found.ok_or_else(|| rules::missing_picture(id))
    }

    async fn control(&self, id: JobId, control: JobControl) -> Answer<()> {
        let entry = self.ledger.borrow().job(id).cloned();
        let state = entry.ok_or_else(|| self.missing_job(id))?.state;
        match rules::course(control, &state)? {
            Course::Queue => {
                self.change(id, Transition::Retry)?;
                self.order_changed();
            }
            course @ (Course::Leave | Course::Discard) => {
                self.ledger.borrow_mut().unqueue(id);
                self.change(id, Transition::Stop)?;
                if course == Course::Discard {
                    self.forget_results(id).await;
                }
                self.order_changed();
            }
            Course::Steer => {
                let running = self.running.borrow().clone();
                let steering = running.filter(|(running, _)| *running == id);
                let (_, steering) = steering.ok_or_else(rules::just_ended)?;
                steering.control(control);
            }
        }
        self.write().await;
        self.inbox.ring();
        Ok(())
    }

    /// Why nothing can be done with a job that is not there, or cannot be read.
    fn missing_job(&self, id: JobId) -> Rejection {
        match self.ledger.borrow().unreadable(id) {
            Some(sentence) => Rejection::Failed {
                message: sentence.to_owned(),
            },
            None => rules::missing_job(id),
        }
    }

    fn change(&self, id: JobId, transition: Transition) -> Answer<()> {
        self.change_state(id, transition)
            .map_err(|illegal| Rejection::State {
                message: illegal.to_string(),
            })
    }

    /// Removes what a job left: its files, and the state to go on from.
    pub async fn forget_results(&self, id: JobId) {
        let files = {
            let ledger = self.ledger.borrow();
            ledger.job(id).map(|entry| entry.files.clone())
        };
        for file in files.unwrap_or_default() {
            self.disk.remove(&file_path(file.id)).await;
        }
        self.disk.remove(&state_path(id)).await;
        self.ledger.borrow_mut().forget_files(id);
    }

    /// Removes a job that is over, with what it made; or one that cannot be read, whose results stay,
    /// as nobody knows which they are.
    async fn delete(&self, id: JobId) -> Answer<()> {
        let is_unreadable = self.ledger.borrow().unreadable(id).is_some();
        if !is_unreadable {
            let entry = self.ledger.borrow().job(id).cloned();
            let state = entry.ok_or_else(|| rules::missing_job(id))?.state;
            rules::check_deletion(&state)?;
            self.forget_results(id).await;
        }
        self.ledger.borrow_mut().forget(id);
        self.tell(&ServerMessage::Removed { job: id });
        self.write().await;
        Ok(())
    }

    async fn delete_copier(&self, id: CopierId) -> Answer<()> {
        let copier = {
            let ledger = self.ledger.borrow();
            rules::check_copier_deletion(ledger.user_of_copier(id))?;
            let mut copiers = ledger.copiers().into_iter();
            copiers.find(|copier| copier.id == id)
        };
        let copier = copier.ok_or_else(|| rules::missing_copier(id))?;
        self.disk.remove(&file_path(copier.file.id)).await;
        self.ledger.borrow_mut().forget_copier(id);
        self.copiers_changed();
        self.write().await;
        Ok(())
    }

    /// Sends a job's events again. In one go, so that they are in order with those that follow.
    fn resync(&self, job: JobId, after: u64) -> Answer<()> {
        let ledger = self.ledger.borrow();
        let entry = ledger.job(job).ok_or_else(|| self.missing_job(job))?;
        for event in entry.events.iter().filter(|event| event.seq > after) {
            self.tell(&ServerMessage::Event(event.clone()));
        }
        Ok(())
    }

    async fn check_preview(&self, request: &PreviewRequest) -> Answer<()> {
        rules::check_prompt(&request.prompt)?;
        rules::check_prompt(&request.negative_prompt)?;
        if self.bases.find(&request.base).is_none() {
            return Err(missing(&request.base));
        }
        let pictures = match request.canvas {
            Canvas::Native => vec![],
            Canvas::Like { picture } => vec![picture],
            Canvas::Inpaint { picture, mask } => vec![picture, mask],
        };
        for picture in pictures {
            if self.disk.blob(&blob_path(picture)).await.is_none() {
                return Err(rules::missing_picture(picture));
            }
        }
        let mut uploaded = HashSet::new();
        for (lora, _) in &request.loras {
            if let LoraRef::Uploaded { lora } = lora
                && self.disk.blob(&lora_path(*lora)).await.is_some()
            {
                uploaded.insert(*lora);
            }
        }
        rules::check_loras(request, |lora| uploaded.contains(&lora))
    }

    /// Writes what changed; a full disk is said by the run, which waits for room.
    async fn write(&self) {
        _ = self.flush().await;
    }
}
