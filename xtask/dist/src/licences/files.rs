//! The files in a package that hold licences.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// How the names of such files begin, whatever their case.
const BEGINNINGS: [&str; 6] = [
    "license",
    "licence",
    "copying",
    "copyright",
    "notice",
    "unlicense",
];

/// How files end that are about licences and hold none.
const SOURCES: [&str; 14] = [
    "c", "cc", "cpp", "h", "hbs", "in", "js", "json", "png", "py", "rs", "sh", "svg", "toml",
];

/// Every text in a package and in what it brings of others, such as the C code of a library.
pub fn texts(folder: &Path) -> Result<BTreeSet<String>> {
    let mut texts = BTreeSet::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        let entries = fs::read_dir(&folder)
            .with_context(|| format!("this folder cannot be read: {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() && is_licence(&entry.file_name().to_string_lossy()) {
                texts.insert(read(&entry.path())?);
            }
        }
    }
    // An empty file; or the name of another one, which a link became when the package was made.
    texts.retain(|text| text.contains(char::is_whitespace));
    Ok(texts)
}

/// A text without what differs between copies of it: ends of lines, and empty space at its edges.
pub fn read(path: &Path) -> Result<String> {
    let bytes =
        fs::read(path).with_context(|| format!("this file cannot be read: {}", path.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text
        .trim_matches('\u{feff}')
        .lines()
        .map(str::trim_end)
        .collect();
    Ok(lines.join("\n").trim_matches('\n').to_owned())
}

fn is_licence(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_source = |name: &str| {
        let extension = name.rsplit_once('.').map(|(_, extension)| extension);
        extension.is_some_and(|extension| SOURCES.contains(&extension))
    };
    BEGINNINGS
        .iter()
        .any(|beginning| name.starts_with(beginning))
        && !is_source(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_told_from_code_about_licences() {
        for name in [
            "LICENSE",
            "LICENSE-MIT",
            "license-apache-2.0",
            "COPYING.txt",
            "NOTICE.md",
        ] {
            assert!(is_licence(name), "{name}");
        }
        for name in ["license.rs", "README.md", "copyright.py", "notice.png"] {
            assert!(!is_licence(name), "{name}");
        }
    }

    #[test]
    fn copies_that_differ_in_line_ends_are_one_text_and_inner_folders_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("vendor")).unwrap();
        fs::write(path("LICENSE"), "One\nTwo\n").unwrap();
        fs::write(path("vendor/LICENSE"), "One \r\nTwo\r\n\r\n").unwrap();
        fs::write(path("vendor/COPYING"), "Number three").unwrap();
        fs::write(path("vendor/NOTICE"), "\n").unwrap();
        fs::write(path("LICENSE-MIT"), "../LICENSE-MIT").unwrap();
        let texts: Vec<_> = texts(folder.path()).unwrap().into_iter().collect();
        assert_eq!(texts, ["Number three", "One\nTwo"], "no empty one, no link");
    }
}
