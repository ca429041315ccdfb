//! What may not stand in the files.

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
        .map(|entry| SourceFile {
            contents: fs::read(entry.path()).expect("every file of the checkout can be read"),
            path: entry.into_path(),
        })
        .collect()
}

/// The files under a folder with this extension.
pub fn source_files(folder: &Path, extension: &str) -> Vec<SourceFile> {
    let mut files = committed_files(folder);
    files.retain(|file| file.path.extension() == Some(OsStr::new(extension)));
    files
}

/// Lines of code, neither comments nor unit tests, that contain one of `words`.
pub fn code_with(files: &[SourceFile], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| !is_test(&file.path)) {
        let text = String::from_utf8_lossy(&file.contents);
        for (number, line) in code_lines(&text) {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                found.push(format!("{word} in {}:{number}", file.path.display()));
            }
        }
    }
    found
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

fn is_test(path: &Path) -> bool {
    path.file_stem() == Some(OsStr::new("tests"))
}

/// Numbered lines, up to the tests at the end of the file.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines().zip(1..);
    lines
        .filter(|(line, _)| !line.trim_start().starts_with("//"))
        .map(|(line, number)| (number, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, contents: &str) -> SourceFile {
        SourceFile {
            path: path.into(),
            contents: contents.into(),
        }
    }

    #[test]
    fn a_forbidden_word_is_found_in_code_and_not_in_comments_or_tests() {
        let source = "// std::fs is for others\nuse std::fs;\n\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        let files = [
            file("src/loss.rs", source),
            file("src/loss/tests.rs", "use std::fs;"),
        ];
        assert_eq!(
            code_with(&files, &["std::fs"]),
            ["std::fs in src/loss.rs:2"],
            "one use among four mentions"
        );
    }

    #[test]
    fn code_after_a_test_only_item_is_still_searched() {
        let source = "#[cfg(test)]\nmod tests;\n\nuse std::time::Instant;\n";
        let found = code_with(&[file("src/lr.rs", source)], &["std::time"]);
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn traces_of_a_machine_are_found() {
        let path = format!("see {}model.safetensors", ["/ro", "ot/"].concat());
        let host = format!("https://{}.example/crates", ["arti", "factory"].concat());
        for contents in [&path, &host] {
            let found = machine_traces(&[file("notes.md", contents)]);
            assert_eq!(found.len(), 1, "{contents}: {found:?}");
        }
    }

    #[test]
    fn the_middle_of_another_path_is_no_trace() {
        let relative = format!("pages{}index.html", ["/ho", "me/"].concat());
        let found = machine_traces(&[file("notes.md", &relative)]);
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
