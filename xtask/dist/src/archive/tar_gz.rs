//! What Unix unpacks without another program.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result};
use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};
use tar::{Archive, Builder, Header};

use super::Entry;

/// How such a file ends.
pub const EXTENSION: &str = "tar.gz";

/// The time of every file, 2020-01-01: that of the build would make each archive another one, and tar
/// complains about 1970.
const TIME: u64 = 1_577_836_800;

/// Packs files into a folder.
pub fn pack(folder: &str, entries: &[Entry]) -> Result<Vec<u8>> {
    // Without a time and a name, which differ between builds.
    let compressed = GzBuilder::new().write(Vec::new(), Compression::best());
    let mut archive = Builder::new(compressed);
    for entry in entries {
        let mut header = Header::new_gnu();
        header.set_size(entry.bytes.len() as u64);
        header.set_mode(entry.mode.bits());
        header.set_mtime(TIME);
        header.set_uid(0);
        header.set_gid(0);
        let path = format!("{folder}/{}", entry.path);
        archive
            .append_data(&mut header, path, entry.bytes.as_slice())
            .with_context(|| format!("this file cannot be packed: {}", entry.path))?;
    }
    Ok(archive.into_inner()?.finish()?)
}

/// Unpacks an archive.
pub fn unpack(archive: &Path, into: &Path) -> Result<()> {
    let file = File::open(archive)?;
    Archive::new(GzDecoder::new(file)).unpack(into)?;
    Ok(())
}
