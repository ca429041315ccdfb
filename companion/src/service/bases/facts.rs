//! What is told of a base in the list: from configurations and the headers of its files only.

use std::fs::File;
use std::path::{Path, PathBuf};

use mimeo_checkpoint::{CheckpointError, DiskFile, Family, SafetensorsFile};
use mimeo_engine::runtime;
use mimeo_protocol::{BaseId, BaseInfo};
use mimeo_service::bases;

use super::source;
use crate::base::stamp::files_of;

/// What was found out.
pub struct BaseFacts {
    /// All but where it lies.
    pub info: BaseInfo,
    /// Whether that holds until its files change; not where they could not be read, which may be
    /// mended without a change of theirs.
    pub is_lasting: bool,
}

/// Looks at a base: what it is, and whether it can be used or why not.
pub fn of(id: BaseId, title: String, path: &Path) -> BaseFacts {
    let look = async {
        if path.is_dir() {
            of_folder(id, title, path).await
        } else {
            of_file(id, title, path).await
        }
    };
    let mut facts = runtime::block_on(look);
    facts.info.unusable = facts.info.unusable.map(|why| without_path(&why, path));
    facts
}

async fn of_folder(id: BaseId, title: String, path: &Path) -> BaseFacts {
    let info = match source(path).open().await {
        Ok(folder) => bases::describe(id, title, &*folder).await,
        Err(error) => bases::unusable(id, title, format!("{error:#}")),
    };
    let opens = |file: PathBuf| File::open(path.join(file)).is_ok();
    let is_lasting = files_of(path).is_ok_and(|files| files.into_iter().all(|(it, _)| opens(it)));
    BaseFacts { info, is_lasting }
}

/// A checkpoint in one file.
async fn of_file(id: BaseId, title: String, path: &Path) -> BaseFacts {
    let info = match source(path).open().await {
        Ok(file) => bases::describe(id, title, &*file).await,
        Err(error) => {
            let mut info = bases::unusable(id, title, format!("{error:#}"));
            // What it is may be known all the same.
            if let Ok(file) = header(path).await {
                info.precision = bases::precision(file.tensors().values());
                if let Ok(family) = Family::of_file(&file).await {
                    bases::tell_family(&family, &mut info);
                }
            }
            info
        }
    };
    let is_lasting = File::open(path).is_ok();
    BaseFacts { info, is_lasting }
}

async fn header(path: &Path) -> Result<SafetensorsFile, CheckpointError> {
    SafetensorsFile::open(Box::new(DiskFile::open(path)?)).await
}

/// The list says where it is already.
pub fn without_path(why: &str, path: &Path) -> String {
    let end = format!(": {:?}", path.display().to_string());
    match why.strip_suffix(&end) {
        Some(sentence) => format!("{sentence}."),
        None => why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_does_not_end_in_the_path() {
        let path = Path::new("/models/a \"b\".ckpt");
        let error = CheckpointError::NotAVae {
            file: path.display().to_string(),
        };
        let why = without_path(&error.to_string(), path);
        assert_eq!(why, "This file holds no VAE; choose one that does.");
        assert_eq!(without_path("no path here", path), "no path here");
    }
}
