//! What is told of a base in the list: from configurations and the headers of its files only.

use std::fs::File;
use std::path::{Path, PathBuf};

use mimeo_checkpoint::{CheckpointError, DiskFile, Family, SafetensorsFile};
use mimeo_engine::runtime;
use mimeo_protocol::{BaseId, BaseInfo};
use mimeo_service::bases;

use super::source;
use super::stamp::files_of;

/// What was found out.
pub struct Facts {
    /// All but where it lies.
    pub info: BaseInfo,
    /// Whether that holds until its files change; not where they could not be read, which may be
    /// mended without a change of theirs.
    pub is_lasting: bool,
}

/// Looks at a base: what it is, and whether it can be used or why not.
pub fn of(id: BaseId, title: String, path: &Path) -> Facts {
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

async fn of_folder(id: BaseId, title: String, path: &Path) -> Facts {
    let info = match source(path).open().await {
        Ok(folder) => bases::describe(id, title, &*folder).await,
        Err(error) => bases::unusable(id, title, format!("{error:#}")),
    };
    let opens = |file: PathBuf| File::open(path.join(file)).is_ok();
    let is_lasting = files_of(path).is_ok_and(|files| files.into_iter().all(|(it, _)| opens(it)));
    Facts { info, is_lasting }
}

/// A checkpoint in one file: the one place that says whether such a one can be used.
async fn of_file(id: BaseId, title: String, path: &Path) -> Facts {
    let mut info = bases::unusable(id, title, String::new());
    let look = async {
        let file = SafetensorsFile::open(Box::new(DiskFile::open(path)?)).await?;
        info.precision = bases::precision(file.tensors().values());
        let family = Family::of_file(&file).await?;
        bases::tell_family(&family, &mut info);
        Ok(match family.check_trainable() {
            Ok(()) => ONE_FILE,
            Err(found) => bases::remedy(found),
        })
    };
    let found: Result<&str, CheckpointError> = look.await;
    let is_lasting = !matches!(found, Err(CheckpointError::Io { .. }));
    info.unusable = Some(match found {
        Ok(why) => why.to_owned(),
        Err(CheckpointError::Io { source, .. }) => {
            format!(
                "it cannot be read ({source}); check that it is there and that you may read it."
            )
        }
        Err(error) => error.to_string(),
    });
    Facts { info, is_lasting }
}

/// Why a checkpoint of a kind that can be trained upon cannot, in one file.
const ONE_FILE: &str = "this is a single file, and Mimeo reads bases as diffusers folders; convert it (StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER) in diffusers).";

/// The list says where it is already.
fn without_path(why: &str, path: &Path) -> String {
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
        let error = CheckpointError::Pickle {
            found: "a zip",
            file: path.display().to_string(),
        };
        let why = without_path(&error.to_string(), path);
        assert!(why.ends_with("choose that file."), "{why}");
        assert_eq!(without_path("no path here", path), "no path here");
    }
}
