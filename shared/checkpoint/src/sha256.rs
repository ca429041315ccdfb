use sha2::{Digest as _, Sha256};

use crate::{AsyncReadAt, CheckpointError};

/// Large enough that the hash, not the reading, sets the pace; small beside any checkpoint.
const CHUNK_BYTES: u64 = 1 << 20;

/// The part of a file that the short hash of A1111 and kohya's tools covers: 64 KiB from 1 MiB on.
pub(crate) const LEGACY_HASH_START: usize = 0x10_0000;
pub(crate) const LEGACY_HASH_BYTES: usize = 0x1_0000;

/// SHA-256 of every byte of `source`, as 64 lower-case hex digits, read in chunks of 1 MiB.
///
/// # Errors
/// When `source` cannot be read.
pub async fn sha256_of(source: &dyn AsyncReadAt) -> Result<String, CheckpointError> {
    let mut hasher = Sha256::new();
    update(&mut hasher, source).await?;
    Ok(hex(&hasher.finalize()))
}

/// [`sha256_of`] the bytes of several sources, one after the other.
///
/// # Errors
/// When one of them cannot be read.
pub(crate) async fn sha256_of_all(
    sources: &[Box<dyn AsyncReadAt>],
) -> Result<String, CheckpointError> {
    let mut hasher = Sha256::new();
    for source in sources {
        update(&mut hasher, &**source).await?;
    }
    Ok(hex(&hasher.finalize()))
}

async fn update(hasher: &mut Sha256, source: &dyn AsyncReadAt) -> Result<(), CheckpointError> {
    let mut offset = 0;
    while offset < source.size() {
        let length = CHUNK_BYTES.min(source.size() - offset);
        hasher.update(source.read_at(offset, length as usize).await?);
        offset += length;
    }
    Ok(())
}

/// SHA-256 of `bytes`, as 64 lower-case hex digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0xf])
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryFile;

    #[test]
    fn the_digest_of_abc_is_the_published_one() {
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), expected, "SHA-256 of \"abc\"");
    }

    #[test]
    fn reading_in_chunks_gives_the_digest_of_the_whole() {
        let bytes: Vec<u8> = (0..2 * CHUNK_BYTES + 17)
            .map(|index| (index % 251) as u8)
            .collect();
        let file = MemoryFile::new("long", bytes.clone());
        let streamed = pollster::block_on(sha256_of(&file)).unwrap();
        assert_eq!(streamed, sha256_hex(&bytes), "chunk borders must not show");
    }
}
