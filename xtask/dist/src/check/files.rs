//! Whether the files of an archive are those that it should have, as they were packed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::tell;
use crate::contents::{COMPLETIONS, MANUAL, PROGRAM, SUMS, TEXTS};
use crate::sums;

/// Compares every file with its sum, and looks for what is missing or unlisted.
pub fn check(folder: &Path) -> Result<()> {
    let there = paths(folder)?;
    let needed = [PROGRAM, MANUAL, SUMS].into_iter().chain(TEXTS);
    for path in needed.chain(COMPLETIONS.map(|(_, path)| path)) {
        if !there.contains(path) {
            bail!("the archive has no {path}");
        }
    }
    let listed = fs::read_to_string(folder.join(SUMS))?;
    let listed = sums::parse(&listed);
    for (path, sum) in &listed {
        let bytes = fs::read(folder.join(path));
        let bytes =
            bytes.with_context(|| format!("{SUMS} lists a file that is missing: {path}"))?;
        if sums::sum(&bytes) != *sum {
            bail!("this file is not as it was packed: {path}");
        }
    }
    let unlisted = there
        .iter()
        .find(|path| *path != SUMS && !listed.contains_key(*path));
    if let Some(path) = unlisted {
        bail!("{SUMS} does not list {path}");
    }
    tell("files", &format!("{}, each as {SUMS} says", listed.len()));
    Ok(())
}

/// The files below a folder, with `/` between folders.
fn paths(root: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let inner = path.strip_prefix(root)?;
                found.insert(inner.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A folder with every file an archive needs, each holding its own name.
    fn complete() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let needed = [PROGRAM, MANUAL].into_iter().chain(TEXTS);
        let mut lines = String::new();
        for path in needed.chain(COMPLETIONS.map(|(_, path)| path)) {
            let file = folder.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, path).unwrap();
            lines.push_str(&sums::line(path, path.as_bytes()));
        }
        fs::write(folder.path().join(SUMS), lines).unwrap();
        folder
    }

    fn refused(folder: &TempDir) -> String {
        check(folder.path()).unwrap_err().to_string()
    }

    #[test]
    fn a_complete_archive_passes() {
        check(complete().path()).unwrap();
    }

    #[test]
    fn a_changed_a_missing_and_an_unlisted_file_are_named() {
        let changed = complete();
        fs::write(changed.path().join("NOTICE"), "nothing").unwrap();
        assert!(refused(&changed).contains("NOTICE"), "its sum differs");
        let missing = complete();
        fs::remove_file(missing.path().join("LICENSE-MIT")).unwrap();
        assert!(
            refused(&missing).contains("LICENSE-MIT"),
            "every archive has it"
        );
        let unlisted = complete();
        fs::write(unlisted.path().join("more"), "").unwrap();
        assert!(refused(&unlisted).contains("more"), "nobody vouches for it");
    }
}
