//! The bases that jobs can name: the bundled one, fetched once and kept, and folders that the user
//! picked, which are read where they are.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use js_sys::{Reflect, Uint8Array};
use mimeo_base::{BaseFile, MANIFEST};
use mimeo_checkpoint::{AsyncReadAt, BoxFuture, CheckpointError, Folder, printable};
use mimeo_engine::memory::BaseShape;
use mimeo_protocol::{BaseId, BaseInfo, Rejection};
use mimeo_service::bases::{BUNDLED_TITLE, describe, id_for};
use mimeo_service::blob;
use wasm_bindgen::JsCast as _;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, ReadableStreamDefaultReader, Response};

use crate::disk::{BlobFile, Disk, blob_of};
use crate::page;

/// Where the bundled base lies beside the page, and below the worker's own files.
const BUNDLED: &str = mimeo_base::NAME;
/// Where kept bases are.
const KEPT: &str = "bases";

/// Files of a base, wherever they are.
#[derive(Clone)]
pub struct Files {
    name: String,
    files: Rc<HashMap<String, Blob>>,
}

impl Folder for Files {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn open<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn AsyncReadAt>, CheckpointError>> {
        Box::pin(async move {
            let blob = self
                .files
                .get(path)
                .ok_or_else(|| CheckpointError::MissingFile {
                    path: path.to_owned(),
                    folder: self.name(),
                })?;
            let name = format!("{}/{path}", self.name);
            Ok(Box::new(BlobFile::new(name, blob.clone())) as Box<dyn AsyncReadAt>)
        })
    }
}

/// A base that was picked from the user's disk.
struct Picked {
    title: String,
    files: HashMap<String, Blob>,
}

/// The bases of this worker.
pub struct Bases {
    bundled: Files,
    picked: RefCell<BTreeMap<BaseId, Picked>>,
    /// What was read of them: the page asks for plans after every change.
    shapes: RefCell<HashMap<BaseId, Arc<BaseShape>>>,
}

impl Bases {
    /// With the bundled base, fetched where it is not kept yet.
    ///
    /// # Errors
    /// A sentence when it cannot be had.
    pub async fn open(disk: &Disk) -> Result<Self, String> {
        let mut files = HashMap::new();
        let total: u64 = MANIFEST.iter().map(|file| file.bytes).sum();
        let mut done = 0;
        let mut is_fetched = false;
        for file in MANIFEST {
            let kept = kept_path(file);
            let found = disk.blob(&kept).await;
            let blob = match found.filter(|blob| blob.size() as u64 == file.bytes) {
                Some(blob) => blob,
                None => {
                    is_fetched = true;
                    let told = |part: u64| page::base_progress(done + part, total);
                    let bytes = fetch(file, told).await?;
                    // A base that cannot be kept is fetched again next time.
                    _ = disk.write(&kept, &bytes).await;
                    blob_of(&bytes).map_err(|error| error.to_string())?
                }
            };
            done += file.bytes;
            files.insert(file.path.to_owned(), blob);
        }
        if is_fetched {
            let known: Vec<&str> = MANIFEST.iter().map(|file| file.sha256).collect();
            disk.retain(KEPT, |name| known.contains(&name)).await;
        }
        Ok(Self {
            bundled: Files {
                name: BUNDLED.to_owned(),
                files: Rc::new(files),
            },
            picked: RefCell::default(),
            shapes: RefCell::default(),
        })
    }

    /// Takes a file of a folder that the user picked, `<folder>/<path>`.
    ///
    /// # Errors
    /// A sentence when the path is none.
    pub fn put(&self, path: &str, file: Blob) -> Result<(), String> {
        let parts = path
            .split_once('/')
            .filter(|(folder, _)| !folder.is_empty());
        let (folder, path) =
            parts.ok_or_else(|| format!("{path:?} is no file of a folder. Pick a folder."))?;
        let title = printable(folder, 100);
        let mut picked = self.picked.borrow_mut();
        let known = picked.iter().find(|(_, base)| base.title == title);
        let is_taken = |id: &BaseId| *id == BaseId::bundled() || picked.contains_key(id);
        let id = known.map(|(id, _)| id.clone());
        let id = id.or_else(|| id_for(folder, is_taken));
        let id = id.ok_or_else(|| format!("{folder:?} is no name. Rename the folder."))?;
        self.shapes.borrow_mut().remove(&id);
        let base = picked.entry(id).or_insert_with(|| Picked {
            title,
            files: HashMap::new(),
        });
        base.files.insert(path.to_owned(), file);
        Ok(())
    }

    /// The files of a base.
    pub fn find(&self, id: &BaseId) -> Option<Files> {
        if *id == BaseId::bundled() {
            return Some(self.bundled.clone());
        }
        let picked = self.picked.borrow();
        picked.get(id).map(|base| Files {
            name: base.title.clone(),
            files: Rc::new(base.files.clone()),
        })
    }

    /// What estimates need to know of a base, read when it is asked for first.
    ///
    /// # Errors
    /// When there is no such base, or it cannot be read.
    pub async fn shape(&self, id: &BaseId) -> Result<Arc<BaseShape>, Rejection> {
        if let Some(shape) = self.shapes.borrow().get(id) {
            return Ok(Arc::clone(shape));
        }
        let files = self.find(id).ok_or_else(|| missing(id))?;
        let shape = BaseShape::read(&files).await;
        let shape = Arc::new(shape.map_err(|error| Rejection::Failed {
            message: error.to_string(),
        })?);
        self.shapes
            .borrow_mut()
            .insert(id.clone(), Arc::clone(&shape));
        Ok(shape)
    }

    /// Every base with what it is.
    pub async fn list(&self) -> Vec<BaseInfo> {
        let picked: Vec<(BaseId, String)> = {
            let picked = self.picked.borrow();
            let bases = picked.iter();
            bases
                .map(|(id, base)| (id.clone(), base.title.clone()))
                .collect()
        };
        let bundled = (BaseId::bundled(), BUNDLED_TITLE.to_owned());
        let mut list = Vec::new();
        for (id, title) in std::iter::once(bundled).chain(picked) {
            if let Some(files) = self.find(&id) {
                list.push(describe(id, title, &files).await);
            }
        }
        list
    }
}

/// Why a base cannot be used any more: picked folders are forgotten when the page is reloaded.
pub fn missing(id: &BaseId) -> Rejection {
    Rejection::Missing {
        what: format!("the base {id}"),
        remedy: "Choose it from your disk again, or take another one.".to_owned(),
    }
}

fn kept_path(file: &BaseFile) -> String {
    format!("{KEPT}/{}", file.sha256)
}

/// Fetches a file of the bundled base, which lies beside the worker's program.
async fn fetch(file: &BaseFile, told: impl Fn(u64)) -> Result<Vec<u8>, String> {
    let broken = |reason: &str| {
        format!(
            "the base cannot be fetched ({}: {reason}). Check the connection and reload the page.",
            file.path
        )
    };
    let address = format!("{BUNDLED}/{}", file.path);
    let answer = JsFuture::from(page::scope().fetch_with_str(&address)).await;
    let answer: Response = answer
        .map_err(|_unreachable| broken("no answer"))?
        .unchecked_into();
    if !answer.ok() {
        return Err(broken(&answer.status().to_string()));
    }
    let body = answer.body().ok_or_else(|| broken("it is empty"))?;
    let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
    let mut bytes = Vec::new();
    loop {
        let part = JsFuture::from(reader.read()).await;
        let part = part.map_err(|_broken_off| broken("the connection broke off"))?;
        let field = |name: &str| Reflect::get(&part, &name.into()).unwrap_or_default();
        if field("done").is_truthy() {
            break;
        }
        let part: Uint8Array = field("value").unchecked_into();
        bytes.extend(part.to_vec());
        told((bytes.len() as u64).min(file.bytes));
    }
    if blob::id_of(&bytes).to_string() == file.sha256 {
        Ok(bytes)
    } else {
        Err(broken("it is another file than this page expects"))
    }
}
