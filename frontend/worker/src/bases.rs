//! The bases that jobs can name: the bundled one, fetched once and kept, and files and folders that
//! the user picked, which are read where they are; and the VAEs in files of their own that were.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use js_sys::{Reflect, Uint8Array};
use mimeo_base::{BaseFile, MANIFEST};
use mimeo_checkpoint::{
    AsyncReadAt, BoxFuture, Checkpoint, CheckpointError, Family, Folder, SafetensorsFile,
    SingleFile, WithVae, check_vae,
};
use mimeo_engine::EngineError;
use mimeo_engine::memory::BaseShape;
use mimeo_protocol::{BaseId, BaseInfo, Rejection, VaeId, VaeInfo};
use mimeo_service::bases::{BUNDLED_TITLE, describe, unusable, unusable_file, without_name};
use mimeo_service::{blob, rules};
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
                    folder: self.name.clone(),
                })?;
            let name = format!("{}/{path}", self.name);
            Ok(Box::new(BlobFile::new(name, blob.clone())) as Box<dyn AsyncReadAt>)
        })
    }
}

/// A base or a VAE that was picked from the user's disk.
#[derive(Clone)]
struct Picked {
    /// Its name for people.
    title: String,
    /// Where it is read from.
    source: Source,
    /// Whether it is a VAE, and no base.
    is_vae: bool,
}

/// What was picked.
#[derive(Clone)]
pub enum Source {
    /// A whole checkpoint in one file.
    File {
        /// What the file is called.
        name: String,
        /// Its bytes.
        blob: Blob,
    },
    /// A folder in diffusers' layout.
    Folder(Files),
}

impl Source {
    /// A folder, by its files.
    pub fn folder(name: String, files: HashMap<String, Blob>) -> Self {
        Self::Folder(Files {
            name,
            files: Rc::new(files),
        })
    }

    /// What messages call it.
    fn name(&self) -> &str {
        match self {
            Self::File { name, .. } => name,
            Self::Folder(files) => &files.name,
        }
    }

    /// Size of all its files.
    fn bytes(&self) -> u64 {
        match self {
            Self::File { blob, .. } => blob.size() as u64,
            Self::Folder(files) => files.files.values().map(|blob| blob.size() as u64).sum(),
        }
    }

    /// Its headers are read, and no weights.
    ///
    /// - `vocabulary`: of CLIP, which no single file holds
    async fn open(&self, vocabulary: &Files) -> Result<Box<dyn Checkpoint>, CheckpointError> {
        Ok(match self {
            Self::Folder(files) => Box::new(files.clone()),
            Self::File { name, blob } => {
                let file = BlobFile::new(name.clone(), blob.clone());
                Box::new(SingleFile::open(Box::new(file), Box::new(vocabulary.clone())).await?)
            }
        })
    }

    /// Whether it is a VAE, and no whole checkpoint.
    async fn is_vae(&self) -> bool {
        let Self::File { name, blob } = self else {
            return false;
        };
        let file = || Box::new(BlobFile::new(name.clone(), blob.clone()));
        let Ok(opened) = SafetensorsFile::open(file()).await else {
            return false;
        };
        Family::of_file(&opened).await.is_err() && check_vae(file()).await.is_ok()
    }

    /// What it is, as a server lists it.
    async fn describe(&self, id: BaseId, title: String, vocabulary: &Files) -> BaseInfo {
        match (self.open(vocabulary).await, self) {
            (Ok(checkpoint), _) => describe(id, title, &*checkpoint).await,
            (Err(error), Self::Folder(_)) => unusable(id, title, error.to_string()),
            (Err(error), Self::File { name, blob }) => {
                let source = Box::new(BlobFile::new(name.clone(), blob.clone()));
                unusable_file(id, title, error.to_string(), source).await
            }
        }
    }
}

/// Of bases, each with its VAE.
type Shapes = HashMap<(BaseId, Option<VaeId>), Arc<BaseShape>>;

/// The bases of this worker.
pub struct Bases {
    bundled: Files,
    picked: RefCell<BTreeMap<BaseId, Picked>>,
    /// What was read of them: the page asks for plans after every change.
    shapes: RefCell<Shapes>,
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

    /// Takes a base or a VAE that the user picked, in the place of what had its id before; of a file,
    /// its header tells which of the two it is.
    ///
    /// # Errors
    /// A sentence when it is the id of the bundled one.
    pub async fn put(&self, id: BaseId, title: String, source: Source) -> Result<(), String> {
        if id == BaseId::bundled() {
            return Err("The bundled base stays as it is. Reload the page.".to_owned());
        }
        let is_vae = source.is_vae().await;
        let picked = Picked {
            title,
            source,
            is_vae,
        };
        self.forget_shapes(&id);
        self.picked.borrow_mut().insert(id, picked);
        Ok(())
    }

    /// Forgets what was picked.
    pub fn remove(&self, id: &BaseId) {
        self.forget_shapes(id);
        self.picked.borrow_mut().remove(id);
    }

    /// - `id`: of a base, or of a VAE
    fn forget_shapes(&self, id: &BaseId) {
        let mut shapes = self.shapes.borrow_mut();
        shapes.retain(|(base, vae), _| !reads(base, vae.as_ref(), id));
    }

    /// Whether a base is here.
    pub fn has(&self, id: &BaseId) -> bool {
        let picked = self.picked.borrow();
        *id == BaseId::bundled() || picked.get(id).is_some_and(|picked| !picked.is_vae)
    }

    /// Whether a VAE is here.
    pub fn has_vae(&self, id: &VaeId) -> bool {
        self.vae(id).is_ok()
    }

    /// The file of a VAE.
    fn vae(&self, id: &VaeId) -> Result<BlobFile, Rejection> {
        let picked = self.picked.borrow();
        let mut vaes = picked.iter().filter(|(_, picked)| picked.is_vae);
        let found = vaes.find(|(known, _)| known.as_str() == id.as_str());
        match found.map(|(_, picked)| &picked.source) {
            Some(Source::File { name, blob }) => Ok(BlobFile::new(name.clone(), blob.clone())),
            _ => Err(missing_vae(id)),
        }
    }

    /// Opens a base; no weights are read.
    ///
    /// - `vae`: with this one; none: its own
    ///
    /// # Errors
    /// When there is no such base or VAE, or it is none.
    pub async fn checkpoint(
        &self,
        id: &BaseId,
        vae: Option<&VaeId>,
    ) -> Result<Box<dyn Checkpoint>, Rejection> {
        let checkpoint: Box<dyn Checkpoint> = if *id == BaseId::bundled() {
            Box::new(self.bundled.clone())
        } else {
            let picked = self.picked.borrow().get(id).cloned();
            let picked = picked.filter(|picked| !picked.is_vae);
            let picked = picked.ok_or_else(|| missing(id))?;
            let opened = picked.source.open(&self.bundled).await;
            opened.map_err(|error| failed(&error))?
        };
        match vae {
            Some(vae) => {
                let file = Box::new(self.vae(vae)?);
                let with_vae = WithVae::new(checkpoint, file).await;
                Ok(Box::new(with_vae.map_err(|error| failed(&error))?))
            }
            None => Ok(checkpoint),
        }
    }

    /// What estimates need to know of a base, read when it is asked for first.
    ///
    /// - `vae`: with this one; none: its own
    ///
    /// # Errors
    /// When there is no such base or VAE, or it cannot be read.
    pub async fn shape(
        &self,
        id: &BaseId,
        vae: Option<&VaeId>,
    ) -> Result<Arc<BaseShape>, Rejection> {
        let key = (id.clone(), vae.cloned());
        if let Some(shape) = self.shapes.borrow().get(&key) {
            return Ok(Arc::clone(shape));
        }
        let checkpoint = self.checkpoint(id, vae).await?;
        let shape = BaseShape::read(&*checkpoint).await;
        let shape = Arc::new(shape.map_err(|error| unreadable(id, &error))?);
        self.shapes.borrow_mut().insert(key, Arc::clone(&shape));
        Ok(shape)
    }

    /// Every base with what it is.
    pub async fn list(&self) -> Vec<BaseInfo> {
        let (id, title) = (BaseId::bundled(), BUNDLED_TITLE.to_owned());
        let mut list = vec![describe(id, title, &self.bundled).await];
        let picked = self.picked.borrow().clone();
        let bases = picked.into_iter().filter(|(_, picked)| !picked.is_vae);
        for (id, Picked { title, source, .. }) in bases {
            let mut info = source.describe(id, title, &self.bundled).await;
            let why = info.unusable.take();
            info.unusable = why.map(|why| without_name(&why, source.name()));
            info.bytes = Some(source.bytes());
            list.push(info);
        }
        list
    }

    /// Every VAE in a file of its own.
    pub fn list_vaes(&self) -> Vec<VaeInfo> {
        let picked = self.picked.borrow();
        let vaes = picked.iter().filter(|(_, picked)| picked.is_vae);
        let info = |(id, picked): (&BaseId, &Picked)| {
            Some(VaeInfo {
                id: id.as_str().parse().ok()?,
                title: picked.title.clone(),
                unusable: None,
            })
        };
        vaes.filter_map(info).collect()
    }
}

fn failed(error: &CheckpointError) -> Rejection {
    Rejection::Failed {
        message: error.to_string(),
    }
}

/// Whether a base with a VAE is read from what was picked as `picked`.
pub fn reads(base: &BaseId, vae: Option<&VaeId>, picked: &BaseId) -> bool {
    base == picked || vae.is_some_and(|vae| vae.as_str() == picked.as_str())
}

/// Why a base cannot be loaded: of one without a VAE, what to do about that.
pub fn unreadable(id: &BaseId, error: &EngineError) -> Rejection {
    match error.is_missing_vae() {
        true => rules::needs_vae(id),
        false => Rejection::Failed {
            message: error.to_string(),
        },
    }
}

/// Why a VAE cannot be used, likewise.
pub fn missing_vae(id: &VaeId) -> Rejection {
    Rejection::Missing {
        what: format!("the VAE {id}"),
        remedy: "Choose it from your disk again, or take another one.".to_owned(),
    }
}

/// Why a base cannot be used: what was picked is the page's to remember.
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
