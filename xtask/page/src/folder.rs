//! Folders: copied, compared, and filled at once.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Where a page is put together, in the folder that it is for: moving it there then takes no time.
const STAGE: &str = ".stage";

/// A folder that keeps what it has until all that replaces it is there.
pub struct Stage {
    folder: PathBuf,
}

impl Stage {
    /// Begins with nothing.
    pub fn new(folder: &Path) -> Result<Self> {
        let stage = Self {
            folder: folder.to_owned(),
        };
        let path = stage.path();
        if path.exists() {
            // Of a build that failed.
            fs::remove_dir_all(&path).with_context(|| cannot("be deleted", &path))?;
        }
        make(&path)?;
        Ok(stage)
    }

    /// Where the new files go.
    pub fn path(&self) -> PathBuf {
        self.folder.join(STAGE)
    }

    /// Puts the new files into the place of the old ones.
    pub fn publish(self) -> Result<()> {
        let stage = self.path();
        for old in entries(&self.folder)? {
            if old == stage {
                continue;
            }
            let is_folder = old.is_dir() && !old.is_symlink();
            let deleted = match is_folder {
                true => fs::remove_dir_all(&old),
                false => fs::remove_file(&old),
            };
            deleted.with_context(|| cannot("be deleted", &old))?;
        }
        for new in entries(&stage)? {
            let name = new.file_name().context("every entry has a name")?;
            rename(&new, &self.folder.join(name))?;
        }
        fs::remove_dir(&stage).with_context(|| cannot("be deleted", &stage))
    }
}

/// Makes a folder, with those above it.
pub fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| cannot("be made", folder))
}

/// Writes a file.
pub fn write(file: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    fs::write(file, content).with_context(|| cannot("be written", file))
}

/// Reads a file.
pub fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| cannot("be read", file))
}

/// Gives a file another name or place.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).with_context(|| cannot("be moved", from))
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    make(to)?;
    for entry in entries(from)? {
        let to = to.join(entry.file_name().context("every entry has a name")?);
        match entry.is_dir() {
            true => copy(&entry, &to)?,
            false => write(&to, read(&entry)?)?,
        }
    }
    Ok(())
}

/// The files in a folder and those below it, as paths with `/` from there; none without a folder.
pub fn files(folder: &Path) -> Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    if folder.exists() {
        add_files(folder, "", &mut files)?;
    }
    Ok(files)
}

fn add_files(folder: &Path, prefix: &str, files: &mut BTreeSet<String>) -> Result<()> {
    for entry in entries(folder)? {
        let name = entry.file_name().context("every entry has a name")?;
        let path = format!("{prefix}{}", name.to_string_lossy());
        if entry.is_dir() {
            add_files(&entry, &format!("{path}/"), files)?;
        } else {
            files.insert(path);
        }
    }
    Ok(())
}

/// What two folders do not have in common, one line for each file; none for the same.
pub fn differences(left: &Path, right: &Path) -> Result<Vec<String>> {
    let [here, there] = [files(left)?, files(right)?];
    let mut differences = Vec::new();
    let mut unknown: BTreeSet<_> = there.difference(&here).collect();
    for name in &here {
        let same = there.get(name);
        let like = || {
            let mut unknown = unknown.iter();
            let plain = without_hash(name);
            unknown.find(|other| without_hash(other) == plain).copied()
        };
        let Some(other) = same.or_else(like) else {
            differences.push(format!("{name}: only in {}", left.display()));
            continue;
        };
        unknown.remove(other);
        let [ours, theirs] = [read(&left.join(name))?, read(&right.join(other))?];
        let content = difference(&ours, &theirs);
        match (name == other, content) {
            (true, None) => {}
            (true, Some(content)) => differences.push(format!("{name}: {content}")),
            (false, content) => {
                let content = content.unwrap_or_else(|| "with the same in it".to_owned());
                differences.push(format!("{name}: there it is {other}, {content}"));
            }
        }
    }
    let unknown = unknown.into_iter();
    differences.extend(unknown.map(|name| format!("{name}: only in {}", right.display())));
    Ok(differences)
}

fn difference(left: &[u8], right: &[u8]) -> Option<String> {
    if left == right {
        return None;
    }
    let mut pairs = left.iter().zip(right);
    let at = pairs.position(|(left, right)| left != right);
    let at = at.unwrap_or(left.len().min(right.len()));
    let (left, right) = (left.len(), right.len());
    Some(format!("{left} bytes, there {right}, other from {at} on"))
}

/// A path without the hash in its name: `mimeo-app_bg.wasm` for `mimeo-app-0123456789abcdef_bg.wasm`.
fn without_hash(path: &str) -> String {
    // Zeros in front are left out of it.
    const DIGITS: std::ops::RangeInclusive<usize> = 12..=16;
    let is_digit = |byte: char| matches!(byte, '0'..='9' | 'a'..='f');
    let Some((stem, rest)) = path.rsplit_once('-') else {
        return path.to_owned();
    };
    let after = rest.trim_start_matches(is_digit);
    let is_hash = DIGITS.contains(&(rest.len() - after.len())) && after.starts_with(['.', '_']);
    match is_hash {
        true => format!("{stem}{after}"),
        false => path.to_owned(),
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = || {
        let entries = fs::read_dir(folder)?;
        entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect()
    };
    let entries: std::io::Result<Vec<_>> = read();
    let mut entries = entries.with_context(|| cannot("be read", folder))?;
    entries.sort();
    Ok(entries)
}

fn cannot(what: &str, path: &Path) -> String {
    format!("this cannot {what}: {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let file = folder.path().join(name);
            make(file.parent().unwrap()).unwrap();
            write(&file, content).unwrap();
        }
        folder
    }

    #[test]
    fn the_old_files_stay_until_the_new_ones_are_there() {
        let folder = folder(&[("index.html", "old"), ("gone/a.css", ""), (".stage/x", "")]);
        let stage = Stage::new(folder.path()).unwrap();
        write(&stage.path().join("index.html"), "new").unwrap();
        make(&stage.path().join("kept")).unwrap();
        write(&stage.path().join("kept/b.css"), "").unwrap();
        let index = folder.path().join("index.html");
        assert_eq!(read(&index).unwrap(), b"old", "while it is made");

        stage.publish().unwrap();
        assert_eq!(read(&index).unwrap(), b"new", "when it is done");
        let files: Vec<_> = files(folder.path()).unwrap().into_iter().collect();
        assert_eq!(files, ["index.html", "kept/b.css"], "and nothing else");
    }

    #[test]
    fn a_copy_has_the_same_in_it() {
        let original = folder(&[("a", "1"), ("b/c", "2")]);
        let copied = tempfile::tempdir().unwrap();
        copy(original.path(), &copied.path().join("d/e")).unwrap();
        let found = differences(original.path(), &copied.path().join("d/e")).unwrap();
        assert_eq!(found, [""; 0], "none");
    }

    #[test]
    fn every_difference_is_named() {
        let left = folder(&[
            ("same", "1"),
            ("other", "abc"),
            ("app-0123456789abcdef_bg.wasm", "program"),
            ("main-0123456789abcdef.css", "p{}"),
            ("here", ""),
        ]);
        let right = folder(&[
            ("same", "1"),
            ("other", "abd!"),
            ("app-fedcba987654_bg.wasm", "program"),
            ("main-fedcba987654.css", "q{}"),
            ("there", ""),
        ]);
        let found = differences(left.path(), right.path()).unwrap();
        let (left, right) = (left.path().display(), right.path().display());
        assert_eq!(
            found,
            [
                "app-0123456789abcdef_bg.wasm: there it is app-fedcba987654_bg.wasm, with the same in it"
                    .to_owned(),
                format!("here: only in {left}"),
                "main-0123456789abcdef.css: there it is main-fedcba987654.css, 3 bytes, there 3, other from 0 on"
                    .to_owned(),
                "other: 3 bytes, there 4, other from 2 on".to_owned(),
                format!("there: only in {right}"),
            ],
            "names, contents, and what is missing"
        );
    }

    #[test]
    fn only_a_hash_is_left_out_of_a_name() {
        for (name, plain) in [
            ("a/app-0123456789abcdef.js", "a/app.js"),
            ("app-123456789abcdef_bg.wasm", "app_bg.wasm"),
            ("app-decade.js", "app-decade.js"),
            ("app-0123456789abcdefg.js", "app-0123456789abcdefg.js"),
            ("worker-gpu.js", "worker-gpu.js"),
            ("app.js", "app.js"),
        ] {
            assert_eq!(without_hash(name), plain, "{name}");
        }
    }
}
