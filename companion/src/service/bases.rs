//! The bases that jobs can name: the bundled one, and what lies in the models folders; and the VAEs that
//! lie there in files of their own.
//!
//! ```text
//! walk: which files and folders ──▶ ledger: their ids, what is known ──▶ facts: what is not, read
//! ```

mod facts;
mod ledger;
mod preview;
mod vaes;
mod walk;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mimeo_checkpoint::printable;
use mimeo_engine::EngineError;
use mimeo_engine::memory::BaseShape;
use mimeo_engine::runtime;
use mimeo_protocol::{BaseId, BaseInfo, Rejection, VaeId, VaeInfo};
use mimeo_service::bases;
use mimeo_service::rules::{missing_base, missing_vae, needs_vae};

use crate::base::BaseSource;
use crate::base::stamp::Stamp;
use facts::BaseFacts;
use ledger::{Ledger, Located};
use vaes::Vaes;
use walk::{MAX_BASES, walk};

pub use preview::Preview;

/// Where bases are.
#[derive(Debug, Clone)]
pub struct Bases {
    models: Arc<[PathBuf]>,
    /// Where the ledger is kept.
    kept: Arc<Path>,
    /// Held while folders are looked through, so that no file is read twice.
    ledger: Arc<Mutex<Ledger>>,
    /// What was there when they were looked through last.
    here: Arc<Mutex<HashMap<BaseId, Here>>>,
    /// The VAEs that were.
    vaes: Arc<Mutex<Vaes>>,
    /// What was read of bases, each with its VAE: clients ask for plans after every change.
    shapes: Arc<Mutex<Shapes>>,
}

type Shapes = HashMap<(BaseId, Option<VaeId>), Arc<BaseShape>>;

/// A base that is there.
#[derive(Debug, Clone)]
struct Here {
    path: PathBuf,
    preview: Option<Preview>,
}

/// A base that was found.
struct Listed {
    id: BaseId,
    title: String,
    path: PathBuf,
    stamp: Stamp,
    preview: Option<Preview>,
}

/// What was found.
struct Found {
    bases: Vec<Listed>,
    /// A name and why it cannot be used, of what has no id to be chosen by.
    troubles: Vec<(String, String)>,
}

impl Bases {
    /// The bases in these folders and below.
    ///
    /// - `kept`: where what is known of them is kept
    pub fn open(models: Vec<PathBuf>, kept: PathBuf) -> Self {
        Self {
            models: models.into(),
            ledger: Arc::new(Mutex::new(Ledger::open(&kept))),
            kept: kept.into(),
            here: Arc::default(),
            vaes: Arc::default(),
            shapes: Arc::default(),
        }
    }

    /// The base of an id. One that is gone is looked for by its hash, which takes as long as reading
    /// what may be it.
    pub fn find(&self, id: &BaseId) -> Option<BaseSource> {
        if *id == BaseId::bundled() {
            return Some(BaseSource::Bundled);
        }
        let mut ledger = match self.at(id) {
            Some(path) => return Some(source(&path)),
            None => self.ledger(),
        };
        self.look(&mut ledger);
        let path = self.at(id).or_else(|| self.moved(id, &mut ledger));
        path.map(|path| source(&path))
    }

    /// Whether there is a base of this id, or may be once it is looked for by its hash.
    ///
    /// # Errors
    /// When there is none, with what to do.
    pub fn check(&self, id: &BaseId) -> Result<(), Rejection> {
        if *id == BaseId::bundled() || self.at(id).is_some() {
            return Ok(());
        }
        let mut ledger = self.ledger();
        self.look(&mut ledger);
        match self.at(id).is_some() || !self.suspects(id, &ledger).is_empty() {
            true => Ok(()),
            false => Err(missing(id, &ledger)),
        }
    }

    /// What to say of a base that is not there.
    pub fn missing(&self, id: &BaseId) -> Rejection {
        missing(id, &self.ledger())
    }

    /// Notes what identifies a base's weights, now that they were read, so that it is found again
    /// wherever it is moved.
    pub fn note_hash(&self, id: &BaseId, hash: &str) {
        let mut ledger = self.ledger();
        if let Some(record) = ledger.of_mut(id)
            && record.hash.as_deref() != Some(hash)
        {
            record.hash = Some(hash.to_owned());
            ledger.save(&self.kept);
        }
    }

    /// What identifies a base's weights, if they were read and their files are as they were.
    pub fn known_hash(&self, id: &BaseId) -> Option<String> {
        let stamp = Stamp::of(&self.at(id)?).ok()?;
        let ledger = self.ledger();
        let record = ledger.of(id).filter(|record| record.stamp == stamp)?;
        record.hash.clone()
    }

    /// The file of a VAE.
    ///
    /// # Errors
    /// When there is none of this id, with what to do.
    pub fn vae(&self, id: &VaeId) -> Result<PathBuf, Rejection> {
        let known = self.vaes().find(id);
        if let Some(path) = known {
            return Ok(path);
        }
        self.look(&mut self.ledger());
        let found = self.vaes().find(id);
        found.ok_or_else(|| missing_vae(id))
    }

    /// The files of VAEs that were there when the bases were listed last, each with whether it is one.
    pub fn list_vaes(&self) -> Vec<VaeInfo> {
        self.vaes().list()
    }

    /// The picture beside a base that was listed.
    pub fn preview(&self, id: &BaseId) -> Option<Preview> {
        self.here().get(id)?.preview.clone()
    }

    /// What estimates need to know of a base, read when it is asked for first.
    ///
    /// - `vae`: with this one; none: its own
    ///
    /// # Errors
    /// When there is no such base or VAE, or it cannot be read.
    pub fn shape(&self, id: &BaseId, vae: Option<&VaeId>) -> Result<Arc<BaseShape>, Rejection> {
        let source = self.find(id).ok_or_else(|| self.missing(id))?;
        let key = (id.clone(), vae.cloned());
        if let Some(shape) = self.shapes().get(&key) {
            return Ok(Arc::clone(shape));
        }
        let vae = vae.map(|vae| self.vae(vae)).transpose()?;
        let read = async || {
            let checkpoint = source.open_with(vae.as_deref()).await?;
            anyhow::Ok(BaseShape::read(&*checkpoint).await?)
        };
        let shape = runtime::block_on(read()).map_err(|error| unreadable(id, &error))?;
        let shape = Arc::new(shape);
        self.shapes().insert(key, Arc::clone(&shape));
        Ok(shape)
    }

    /// Every base with what it is; reads the headers of files that are new or changed.
    pub fn list(&self) -> Vec<BaseInfo> {
        // Whoever put other files into a folder looks at the list next.
        self.shapes().clear();
        let mut ledger = self.ledger();
        let before = ledger.clone();
        let found = self.look(&mut ledger);
        let mut list = vec![bundled()];
        list.extend(
            found
                .bases
                .into_iter()
                .map(|base| describe(base, &mut ledger)),
        );
        for (title, why) in found.troubles {
            let is_taken =
                |id: &BaseId| list.iter().any(|base| base.id == *id) || ledger.of(id).is_some();
            if let Some(id) = BaseId::for_name(&title, is_taken) {
                list.push(bases::unusable(id, title, why));
            }
        }
        if *ledger != before {
            ledger.save(&self.kept);
        }
        list
    }

    /// Looks through the folders, and remembers what is there.
    fn look(&self, ledger: &mut Ledger) -> Found {
        let walk = walk(&self.models);
        let mut places = Vec::new();
        for found in &walk.bases {
            places.push(Located {
                path: &found.path,
                // A file that cannot be looked at is listed with the reason.
                stamp: Stamp::of(&found.path).unwrap_or_default(),
            });
        }
        let ids = ledger.assign(&places, walk::name_of, hash_of);
        let (mut bases, mut here) = (Vec::new(), HashMap::new());
        for ((id, place), found) in ids.into_iter().zip(&places).zip(&walk.bases) {
            let Some(id) = id else { continue };
            let preview = Preview::beside(&found.path);
            let path = found.path.clone();
            here.insert(
                id.clone(),
                Here {
                    path,
                    preview: preview.clone(),
                },
            );
            bases.push(Listed {
                id,
                title: found.title.clone(),
                path: found.path.clone(),
                stamp: place.stamp,
                preview,
            });
        }
        *self.here() = here;
        self.vaes().note(walk.vaes);
        let unreadable = walk.unreadable.iter().map(|(folder, error)| {
            let why = format!("this folder cannot be read ({error}); check that it is there and that you may read it.");
            (walk::name_of(folder), why)
        });
        let more = walk.is_cut.then(|| {
            let why = format!("at most {MAX_BASES} are listed, and folders are not searched without end; choose a smaller folder with --models.");
            ("More files".to_owned(), why)
        });
        let troubles = unreadable.chain(more).collect();
        Found { bases, troubles }
    }

    /// Where a base is that is there.
    fn at(&self, id: &BaseId) -> Option<PathBuf> {
        let path = self.here().get(id)?.path.clone();
        path.exists().then_some(path)
    }

    /// What may be a base that is gone, if its weights were ever read: what is as large.
    fn suspects(&self, id: &BaseId, ledger: &Ledger) -> Vec<(BaseId, PathBuf)> {
        let Some(record) = ledger.of(id).filter(|record| record.hash.is_some()) else {
            return Vec::new();
        };
        let here = self.here();
        let is_as_large = |other: &BaseId| {
            let other = ledger.of(other);
            other.is_some_and(|other| other.stamp.bytes == record.stamp.bytes)
        };
        let suspects = here.iter().filter(|(other, _)| is_as_large(other));
        let mut suspects: Vec<_> = suspects
            .map(|(other, here)| (other.clone(), here.path.clone()))
            .collect();
        suspects.sort();
        suspects
    }

    /// Where a base was moved to, by its hash.
    fn moved(&self, id: &BaseId, ledger: &mut Ledger) -> Option<PathBuf> {
        let wanted = ledger.of(id)?.hash.clone()?;
        for (other, path) in self.suspects(id, ledger) {
            let suspect = ledger.of_mut(&other)?;
            if suspect.hash.is_none() {
                suspect.hash = hash_of(&path);
            }
            if suspect.hash.as_ref() == Some(&wanted) {
                let stamp = suspect.stamp;
                let record = ledger.of_mut(id)?;
                (record.path, record.stamp) = (ledger::text(&path), stamp);
                self.look(ledger);
                ledger.save(&self.kept);
                return Some(path);
            }
        }
        None
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn here(&self) -> MutexGuard<'_, HashMap<BaseId, Here>> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn vaes(&self) -> MutexGuard<'_, Vaes> {
        self.vaes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shapes(&self) -> MutexGuard<'_, Shapes> {
        self.shapes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a base cannot be used as it is wanted.
pub fn unreadable(id: &BaseId, error: &anyhow::Error) -> Rejection {
    match error
        .downcast_ref()
        .is_some_and(EngineError::is_missing_vae)
    {
        true => needs_vae(id),
        false => Rejection::Failed {
            message: format!("{error:#}"),
        },
    }
}

/// How the base at a place is opened.
fn source(path: &Path) -> BaseSource {
    BaseSource::Path(path.to_path_buf())
}

/// What identifies the weights of the base at a place; none where they cannot be read.
fn hash_of(path: &Path) -> Option<String> {
    let source = source(path);
    runtime::block_on(async { source.open().await.ok()?.hash().await.ok() })
}

fn bundled() -> BaseInfo {
    let (id, title) = (BaseId::bundled(), bases::BUNDLED_TITLE.to_owned());
    runtime::block_on(async {
        match BaseSource::Bundled.open().await {
            Ok(folder) => bases::describe(id, title, &*folder).await,
            Err(error) => bases::unusable(id, title, format!("{error:#}")),
        }
    })
}

/// What a base is: what is known of it, else read.
fn describe(base: Listed, ledger: &mut Ledger) -> BaseInfo {
    let known = ledger.of(&base.id).and_then(|record| record.info.clone());
    let info = known.unwrap_or_else(|| {
        let BaseFacts { info, is_lasting } =
            facts::of(base.id.clone(), base.title.clone(), &base.path);
        if let Some(record) = ledger.of_mut(&base.id).filter(|_| is_lasting) {
            record.info = Some(info.clone());
        }
        info
    });
    BaseInfo {
        id: base.id,
        title: base.title,
        bytes: Some(base.stamp.bytes),
        preview: base.preview.map(|preview| preview.version),
        ..info
    }
}

fn missing(id: &BaseId, ledger: &Ledger) -> Rejection {
    let Some(record) = ledger.of(id) else {
        return missing_base(id);
    };
    let name = Path::new(&record.path).file_name().unwrap_or_default();
    let name = printable(&name.to_string_lossy(), 100);
    Rejection::Missing {
        what: format!("the base {id}"),
        remedy: format!("Put {name:?} back into a models folder, or choose another base."),
    }
}

#[cfg(test)]
mod tests;
