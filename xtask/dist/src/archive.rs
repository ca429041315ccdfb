//! One file of many: the same bytes whenever and by whomever it is packed.

#[cfg(not(windows))]
mod tar_gz;
#[cfg(windows)]
mod zip;

#[cfg(not(windows))]
pub use self::tar_gz::{EXTENSION, pack, unpack};
#[cfg(windows)]
pub use self::zip::{EXTENSION, pack, unpack};

/// A file to pack.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is in the archive's folder, with `/` between folders.
    pub path: String,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// What one may do with it.
    pub mode: Mode,
}

/// What one may do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Read it.
    Text,
    /// Run it.
    Program,
}

impl Entry {
    /// A file to read.
    pub fn text(path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        let (path, bytes, mode) = (path.into(), bytes.into(), Mode::Text);
        Self { path, bytes, mode }
    }
}

impl Mode {
    /// As Unix writes it.
    fn bits(self) -> u32 {
        match self {
            Self::Text => 0o644,
            Self::Program => 0o755,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn entries() -> Vec<Entry> {
        let program = Entry {
            path: "mimeo".to_owned(),
            bytes: vec![7; 100_000],
            mode: Mode::Program,
        };
        let long = format!("man/{}.1", "long".repeat(40));
        vec![
            program,
            Entry::text("NOTICE", "notice"),
            Entry::text(long, "page"),
        ]
    }

    fn come_back(folder: &Path) {
        for entry in entries() {
            let path = folder.join("mimeo-1").join(&entry.path);
            let bytes = fs::read(&path).unwrap();
            assert!(bytes == entry.bytes, "the contents of {}", entry.path);
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt as _;
                let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
                assert_eq!(mode, entry.mode.bits(), "the mode of {}", entry.path);
            }
        }
    }

    #[test]
    fn what_was_packed_comes_back_the_same() {
        let packed = pack("mimeo-1", &entries()).unwrap();
        assert!(
            packed == pack("mimeo-1", &entries()).unwrap(),
            "the same bytes every time"
        );
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("archive");
        fs::write(&archive, packed).unwrap();
        unpack(&archive, folder.path()).unwrap();
        come_back(folder.path());
    }
}
