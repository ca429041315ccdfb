//! The bases that jobs can name: the bundled one, and the diffusers folders of the models folder.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mimeo_checkpoint::printable;
use mimeo_engine::memory::BaseShape;
use mimeo_engine::runtime;
use mimeo_protocol::{BaseId, BaseInfo, Rejection};
use mimeo_service::bases;
use mimeo_service::rules::missing_base;

use crate::base::BaseSource;

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
        let source = self.find(id).ok_or_else(|| missing_base(id))?;
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
                runtime::block_on(async {
                    match source.open().await {
                        Ok(folder) => bases::describe(id, title, &*folder).await,
                        Err(error) => bases::unusable(id, title, format!("{error:#}")),
                    }
                })
            })
            .collect()
    }

    /// Of two folders whose names come out equal, the later gets a number.
    fn sources(&self) -> Vec<(BaseId, String, BaseSource)> {
        let title = bases::BUNDLED_TITLE.to_owned();
        let mut sources = vec![(BaseId::bundled(), title, BaseSource::Bundled)];
        let entries = std::fs::read_dir(&self.models).into_iter().flatten();
        let mut folders: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            // A model without a UNet is listed too, with the reason why it cannot be trained upon.
            .filter(|path| path.join("unet").is_dir() || path.join("model_index.json").is_file())
            .collect();
        folders.sort();
        for folder in folders {
            let name = name(&folder);
            let is_taken = |id: &BaseId| sources.iter().any(|(known, ..)| known == id);
            let id = bases::id_for(&name, is_taken);
            if let Some(id) = id {
                sources.push((id, printable(&name, 100), BaseSource::Path(folder)));
            }
        }
        sources
    }
}

fn name(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_become_ids_that_differ() {
        let models = tempfile::tempdir().unwrap();
        for folder in [
            "Anime v2/unet",
            "anime-v2/unet",
            "bundled/unet",
            "no base",
            "flux/transformer",
        ] {
            std::fs::create_dir_all(models.path().join(folder)).unwrap();
        }
        let index = r#"{"_class_name": "FluxPipeline"}"#;
        std::fs::write(models.path().join("flux/model_index.json"), index).unwrap();
        let bases = Bases::new(models.path().to_path_buf());
        let ids: Vec<_> = bases.sources().into_iter().map(|(id, ..)| id).collect();
        let ids: Vec<_> = ids.iter().map(BaseId::as_str).collect();
        assert_eq!(
            ids,
            ["bundled", "anime-v2", "anime-v2-2", "bundled-2", "flux"],
            "a folder of anything else is none"
        );
        let list = bases.list();
        let reason = list.last().and_then(|base| base.unusable.clone());
        let reason = reason.unwrap_or_default();
        assert!(reason.contains("FluxPipeline"), "what it is: {reason}");
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
