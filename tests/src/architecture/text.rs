//! What may not stand in the files.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;

/// A file with its contents.
pub struct SourceFile {
    /// Where it is.
    pub path: PathBuf,
    contents: Vec<u8>,
}

impl SourceFile {
    /// Takes a file that is read already.
    pub fn new(path: impl Into<PathBuf>, contents: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            contents: contents.into(),
        }
    }

    /// Its text.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.contents)
    }
}

/// Every file of the checkout that git does not ignore.
pub fn committed_files(root: &Path) -> Vec<SourceFile> {
    let walk = WalkBuilder::new(root)
        .hidden(false)
        // An exported copy of the sources has no `.git`, and the same `.gitignore`.
        .require_git(false)
        .parents(false)
        .git_global(false)
        .filter_entry(|entry| entry.file_name() != ".git")
        .build();
    let entries = walk.map(|entry| entry.expect("every folder of the checkout can be read"));
    entries
        .filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()))
        .map(|entry| {
            let contents = fs::read(entry.path()).expect("every file of the checkout can be read");
            SourceFile::new(entry.into_path(), contents)
        })
        .collect()
}

/// The files under a folder with this extension.
pub fn source_files(folder: &Path, extension: &str) -> Vec<SourceFile> {
    let mut files = committed_files(folder);
    files.retain(|file| file.path.extension() == Some(OsStr::new(extension)));
    files
}

/// Absolute paths and package hosts that only mean something where the file was written.
pub fn machine_traces(files: &[SourceFile]) -> Vec<String> {
    // In pieces, so that this file does not find itself.
    let mut traces = ["work", "root", "home", "Users"]
        .map(|name| format!("/{name}/"))
        .to_vec();
    traces.push(["arti", "factory"].concat());
    let mut found = Vec::new();
    for file in files {
        for trace in &traces {
            if contains_from_the_start(&file.contents, trace.as_bytes()) {
                found.push(format!("{trace} in {}", file.path.display()));
            }
        }
    }
    found
}

/// Whether `word` is there and does not continue something: the middle of a relative path is fine.
fn contains_from_the_start(contents: &[u8], word: &[u8]) -> bool {
    let places = contents.windows(word.len()).enumerate();
    places
        .filter(|(_, window)| *window == word)
        .any(|(start, _)| start == 0 || !continues(contents[start - 1]))
}

fn continues(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-}".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_of_a_machine_are_found() {
        let path = format!("see {}model.safetensors", ["/ro", "ot/"].concat());
        let host = format!("https://{}.example/crates", ["arti", "factory"].concat());
        for contents in [&path, &host] {
            let found = machine_traces(&[SourceFile::new("notes.md", contents.as_str())]);
            assert_eq!(found.len(), 1, "{contents}: {found:?}");
        }
    }

    #[test]
    fn the_middle_of_another_path_is_no_trace() {
        let relative = format!("pages{}index.html", ["/ho", "me/"].concat());
        let found = machine_traces(&[SourceFile::new("notes.md", relative)]);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn ignored_files_are_not_searched() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".gitignore"), "/out\n").unwrap();
        fs::create_dir(folder.path().join("out")).unwrap();
        fs::write(folder.path().join("out/a.txt"), "").unwrap();
        fs::write(folder.path().join("b.txt"), "").unwrap();
        let mut names: Vec<_> = committed_files(folder.path())
            .into_iter()
            .filter_map(|file| Some(file.path.file_name()?.to_owned()))
            .collect();
        names.sort();
        assert_eq!(names, [".gitignore", "b.txt"], "out/ is ignored");
    }
}
