//! What Windows unpacks without another program.

use std::fs::File;
use std::io::{Cursor, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::Entry;

/// How such a file ends.
pub const EXTENSION: &str = "zip";

/// Packs files into a folder.
pub fn pack(folder: &str, entries: &[Entry]) -> Result<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for entry in entries {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(9))
            // The earliest there is: that of the build would make each archive another one.
            .last_modified_time(DateTime::default())
            .unix_permissions(entry.mode.bits());
        archive
            .start_file(format!("{folder}/{}", entry.path), options)
            .and_then(|()| Ok(archive.write_all(&entry.bytes)?))
            .with_context(|| format!("this file cannot be packed: {}", entry.path))?;
    }
    Ok(archive.finish()?.into_inner())
}

/// Unpacks an archive.
pub fn unpack(archive: &Path, into: &Path) -> Result<()> {
    ZipArchive::new(File::open(archive)?)?.extract(into)?;
    Ok(())
}
