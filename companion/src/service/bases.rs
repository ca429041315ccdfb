//! The bases that jobs can name: the bundled one, and the diffusers folders of the models folder.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mimeo_checkpoint::{Architecture, Family, printable};
use mimeo_engine::memory::BaseShape;
use mimeo_engine::runtime;
use mimeo_protocol::{BaseId, BaseInfo, Rejection};

use crate::base::BaseSource;

/// What both sides of a picture must be multiples of where the base does not tell: it is so for
/// every Stable Diffusion.
const SIDE_MULTIPLE: u32 = 64;

/// Where bases are.
#[derive(Debug, Clone)]
pub struct Bases {
    models: PathBuf,
    /// What was read of them: clients ask for plans after every change.
    shapes: Arc<Mutex<HashMap<BaseId, Arc<BaseShape>>>>,
}

impl Bases {
    /// The bases below a folder.
    pub fn new(models: PathBuf) -> Self {
        Self {
            models,
            shapes: Arc::default(),
        }
    }

    /// The base of an id.
    pub fn find(&self, id: &BaseId) -> Option<BaseSource> {
        let mut sources = self.sources().into_iter();
        sources
            .find(|(known, ..)| known == id)
            .map(|(_, _, source)| source)
    }

    /// What estimates need to know of a base, read when it is asked for first.
    ///
    /// # Errors
    /// When there is no such base, or it cannot be read.
    pub fn shape(&self, id: &BaseId) -> Result<Arc<BaseShape>, Rejection> {
        let source = self.find(id).ok_or_else(|| Rejection::Missing {
            what: format!("the base {id}"),
            remedy: "Choose another one.".to_owned(),
        })?;
        if let Some(shape) = self.shapes().get(id) {
            return Ok(Arc::clone(shape));
        }
        let read = async || anyhow::Ok(BaseShape::read(&*source.open().await?).await?);
        let shape = runtime::block_on(read()).map_err(|error| Rejection::Failed {
            message: format!("{error:#}"),
        })?;
        let shape = Arc::new(shape);
        self.shapes().insert(id.clone(), Arc::clone(&shape));
        Ok(shape)
    }

    fn shapes(&self) -> MutexGuard<'_, HashMap<BaseId, Arc<BaseShape>>> {
        self.shapes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every base with what it is; reads the headers of their files.
    pub fn list(&self) -> Vec<BaseInfo> {
        // Whoever put other files into a folder looks at the list next.
        self.shapes().clear();
        let sources = self.sources().into_iter();
        sources
            .map(|(id, title, source)| {
                let mut info = BaseInfo {
                    id,
                    title,
                    family: "unknown".to_owned(),
                    size: None,
                    native_side: None,
                    side_multiple: SIDE_MULTIPLE,
                    prompts: source.known_prompts(),
                    unusable: None,
                };
                if let Err(error) = runtime::block_on(describe(&source, &mut info)) {
                    info.unusable = Some(format!("{error:#}"));
                }
                info
            })
            .collect()
    }

    /// Ids are made of the folders' names; of two that come out equal, the later gets a number.
    fn sources(&self) -> Vec<(BaseId, String, BaseSource)> {
        let title = "Mimeo avatars (bundled)".to_owned();
        let mut sources = vec![(BaseId::bundled(), title, BaseSource::Bundled)];
        let entries = std::fs::read_dir(&self.models).into_iter().flatten();
        let mut folders: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.join("unet").is_dir())
            .collect();
        folders.sort();
        for folder in folders {
            let name = name(&folder);
            let slug = slug(&name);
            let mut candidates = (1..).map(|number| match number {
                1 => slug.clone(),
                _ => format!("{slug}-{number}"),
            });
            let is_free = |id: &BaseId| sources.iter().all(|(known, ..)| known != id);
            let id = candidates.find_map(|id| BaseId::try_from(id).ok().filter(is_free));
            if let Some(id) = id {
                sources.push((id, printable(&name, 100), BaseSource::Folder(folder)));
            }
        }
        sources
    }
}

async fn describe(source: &BaseSource, info: &mut BaseInfo) -> anyhow::Result<()> {
    let folder = source.open().await?;
    let family = Family::of_folder(&*folder).await?;
    family.architecture.title().clone_into(&mut info.family);
    info.unusable = reason(&family);
    if info.unusable.is_none() {
        let glance = mimeo_engine::base::glance(&*folder).await?;
        (info.size, info.native_side) = (Some(glance.size), Some(glance.native_side));
        info.side_multiple = glance.side_multiple;
    }
    Ok(())
}

fn reason(family: &Family) -> Option<String> {
    match family.architecture {
        _ if family.is_inpainting() => {
            Some("inpainting models cannot be trained upon yet; choose the plain model.".to_owned())
        }
        Architecture::Sd1 | Architecture::Sd1Like => None,
        _ => Some("Mimeo trains Stable Diffusion 1.x so far; choose such a model.".to_owned()),
    }
}

fn name(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// At most 60 characters, so that a number fits behind it.
fn slug(name: &str) -> String {
    let characters = name.chars().map(|character| match character {
        'a'..='z' | '0'..='9' | '-' | '_' => character,
        'A'..='Z' => character.to_ascii_lowercase(),
        _ => '-',
    });
    let slug: String = characters.take(60).collect();
    if slug.is_empty() {
        "base".to_owned()
    } else {
        slug
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_become_ids_that_differ() {
        let models = tempfile::tempdir().unwrap();
        for folder in ["Anime v2/unet", "anime-v2/unet", "bundled/unet", "no base"] {
            std::fs::create_dir_all(models.path().join(folder)).unwrap();
        }
        let bases = Bases::new(models.path().to_path_buf());
        let ids: Vec<_> = bases.sources().into_iter().map(|(id, ..)| id).collect();
        let ids: Vec<_> = ids.iter().map(BaseId::as_str).collect();
        assert_eq!(
            ids,
            ["bundled", "anime-v2", "anime-v2-2", "bundled-2"],
            "no base without a unet"
        );
        let unknown = BaseId::try_from("other".to_owned()).unwrap();
        assert_eq!(bases.find(&unknown), None, "only what is listed");
    }

    #[test]
    fn a_base_is_read_once_until_the_list_is_looked_at() {
        let models = tempfile::tempdir().unwrap();
        let bases = Bases::new(models.path().to_path_buf());
        let shape = || bases.shape(&BaseId::bundled()).unwrap();
        let first = shape();
        assert!(Arc::ptr_eq(&first, &shape()), "what was read is kept");
        bases.list();
        assert!(!Arc::ptr_eq(&first, &shape()), "files may be others now");
        let unknown = BaseId::try_from("other".to_owned()).unwrap();
        let refused = bases.shape(&unknown).unwrap_err();
        assert!(matches!(refused, Rejection::Missing { .. }), "{refused:?}");
    }

    #[test]
    fn what_cannot_be_trained_upon_is_listed_with_the_reason() {
        let models = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(models.path().join("empty/unet")).unwrap();
        let list = Bases::new(models.path().to_path_buf()).list();
        assert_eq!(list[0].unusable, None, "the bundled base: {list:?}");
        assert_eq!(list[0].side_multiple, 32, "its UNet halves twice");
        assert!(!list[0].prompts.is_empty(), "its own language");
        assert!(list[1].unusable.is_some(), "an empty folder: {list:?}");
    }
}
