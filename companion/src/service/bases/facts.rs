//! What is told of a base in the list: from configurations and the headers of its files only.

use std::fs::File;
use std::path::{Path, PathBuf};

use mimeo_checkpoint::DiskFile;
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
    // The list says where it is already.
    let name = path.display().to_string();
    let why = facts.info.unusable.take();
    facts.info.unusable = why.map(|why| bases::without_name(&why, &name));
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
            let why = format!("{error:#}");
            match DiskFile::open(path) {
                Ok(source) => bases::unusable_file(id, title, why, Box::new(source)).await,
                Err(_) => bases::unusable(id, title, why),
            }
        }
    };
    let is_lasting = File::open(path).is_ok();
    BaseFacts { info, is_lasting }
}
