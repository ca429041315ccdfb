//! VAEs in files of their own. They are known by their names, as in ComfyUI and A1111: a file that is
//! put in the place of another one is meant from then on.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use mimeo_checkpoint::{CheckpointError, DiskFile, check_vae};
use mimeo_engine::runtime;
use mimeo_protocol::{VaeId, VaeInfo};
use mimeo_service::bases::without_name;

use super::walk::Found;
use crate::base::stamp::Stamp;

/// The files that were found last, and what was read of them.
#[derive(Debug, Default)]
pub struct Vaes {
    here: Vec<(VaeId, Found)>,
    /// Why a file is none, or nothing, for as long as it stays as it is.
    read: HashMap<PathBuf, (Stamp, Option<String>)>,
}

impl Vaes {
    /// Takes what was found.
    pub fn note(&mut self, found: Vec<Found>) {
        self.here.clear();
        for vae in found {
            let is_taken = |id: &VaeId| self.here.iter().any(|(known, _)| known == id);
            if let Some(id) = VaeId::for_name(&vae.title, is_taken) {
                self.here.push((id, vae));
            }
        }
        let here = &self.here;
        self.read
            .retain(|path, _| here.iter().any(|(_, vae)| vae.path == *path));
    }

    /// The file of an id.
    pub fn find(&self, id: &VaeId) -> Option<PathBuf> {
        let (_, vae) = self.here.iter().find(|(known, _)| known == id)?;
        vae.path.is_file().then(|| vae.path.clone())
    }

    /// Each with whether it can be used; reads the headers of files that are new or changed.
    pub fn list(&mut self) -> Vec<VaeInfo> {
        let mut list = Vec::new();
        for (id, vae) in &self.here {
            let stamp = Stamp::of(&vae.path).unwrap_or_default();
            let known = self.read.get(&vae.path);
            let unusable = match known.filter(|(read, _)| *read == stamp) {
                Some((_, unusable)) => unusable.clone(),
                None => {
                    let unusable = why_unusable(&vae.path);
                    let read = (stamp, unusable.clone());
                    self.read.insert(vae.path.clone(), read);
                    unusable
                }
            };
            list.push(VaeInfo {
                id: id.clone(),
                title: vae.title.clone(),
                unusable,
            });
        }
        list
    }
}

fn why_unusable(path: &Path) -> Option<String> {
    let read = async { check_vae(Box::new(DiskFile::open(path)?)).await };
    let read: Result<(), CheckpointError> = runtime::block_on(read);
    let error = read.err()?;
    Some(without_name(
        &error.to_string(),
        &path.display().to_string(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_made_of_names_and_differ() {
        let mut vaes = Vaes::default();
        let found = |title: &str| Found {
            path: PathBuf::from(format!("/gone/{title}")),
            title: title.to_owned(),
        };
        vaes.note(vec![found("Anime.vae"), found("anime-vae"), found("sub/x")]);
        let list = vaes.list();
        let ids: Vec<&str> = list.iter().map(|vae| vae.id.as_str()).collect();
        assert_eq!(ids, ["anime-vae", "anime-vae-2", "sub-x"], "of names");
        for vae in list {
            assert!(vae.unusable.is_some(), "{} is not there", vae.title);
            assert_eq!(vaes.find(&vae.id), None, "nor found");
        }
    }
}
