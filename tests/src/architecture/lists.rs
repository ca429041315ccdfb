//! The lists of `clippy.toml`: what a crate must not use.

use std::fs;
use std::path::{Path, PathBuf};

use toml::Table;

/// The file that clippy reads for a crate: the nearest one above its manifest.
///
/// - `root`: of the workspace
pub fn governing(root: &Path, manifest: &Path) -> Option<PathBuf> {
    let folders = manifest.ancestors().skip(1);
    let folders = folders.take_while(|folder| folder.starts_with(root));
    folders
        .flat_map(|folder| [".clippy.toml", "clippy.toml"].map(|name| folder.join(name)))
        .find(|file| file.exists())
}

/// All that a file disallows, methods and types.
///
/// # Panics
/// When it is not what clippy reads.
pub fn disallowed(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("clippy reads this file too");
    let table: Table = text.parse().expect("clippy reads this file too");
    let lists = ["disallowed-methods", "disallowed-types"];
    let entries = lists.iter().filter_map(|list| table.get(*list)?.as_array());
    entries
        .flatten()
        .filter_map(|entry| entry.get("path").unwrap_or(entry).as_str())
        .map(str::to_owned)
        .collect()
}

/// The modules of which a list disallows nothing.
pub fn missing(disallowed: &[String], modules: &[&str]) -> Vec<String> {
    let is_there = |module: &str| {
        let inside = format!("{module}::");
        disallowed.iter().any(|path| path.starts_with(&inside))
    };
    let modules = modules.iter().filter(|module| !is_there(module));
    modules
        .map(|module| format!("nothing of {module} is disallowed"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_file_governs() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("xtask/page");
        fs::create_dir_all(&folder).unwrap();
        let manifest = folder.join("Cargo.toml");
        assert_eq!(governing(root.path(), &manifest), None, "there is none");
        fs::write(root.path().join("clippy.toml"), "").unwrap();
        let far = root.path().join("clippy.toml");
        assert_eq!(governing(root.path(), &manifest), Some(far), "the only one");
        fs::write(root.path().join("xtask/.clippy.toml"), "").unwrap();
        let near = root.path().join("xtask/.clippy.toml");
        assert_eq!(governing(root.path(), &manifest), Some(near), "the nearer");
    }

    #[test]
    fn what_a_list_leaves_out_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clippy.toml");
        let text = "disallowed-methods = [\"std::fs::read\"]\n\
            disallowed-types = [{ path = \"std::time::Instant\", reason = \"so\" }]";
        fs::write(&file, text).unwrap();
        let paths = disallowed(&file);
        assert_eq!(paths, ["std::fs::read", "std::time::Instant"], "both forms");
        assert_eq!(
            missing(&paths, &["std::fs", "std::net", "std::time"]),
            ["nothing of std::net is disallowed"],
            "the one of three"
        );
    }
}
