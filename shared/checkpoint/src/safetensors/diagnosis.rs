//! Is this a safetensors file at all, and if not, what did the user pick instead?

use crate::stranger::{PREFIX_BYTES, Stranger};
use crate::{AsyncReadAt, CheckpointError};

use super::{LENGTH_BYTES, MAX_HEADER_BYTES};

/// The header's length in bytes, if `source` starts like a safetensors file.
///
/// # Errors
/// A sentence about what the file is instead.
pub(super) async fn header_length(source: &dyn AsyncReadAt) -> Result<usize, CheckpointError> {
    let prefix = source
        .read_at(0, source.size().min(PREFIX_BYTES as u64) as usize)
        .await?;
    let file = source.name();

    // The length and the brace first: a header of 640 bytes starts like a pickle of protocol 2.
    let Some((length, rest)) = prefix.split_first_chunk() else {
        return Err(explain(&prefix, file));
    };
    let length = u64::from_le_bytes(*length);
    if rest.first() != Some(&b'{') {
        return Err(explain(&prefix, file));
    }
    if length > MAX_HEADER_BYTES {
        let file = file.to_owned();
        return Err(CheckpointError::HeaderTooLong {
            length,
            limit: MAX_HEADER_BYTES,
            file,
        });
    }
    let expected = LENGTH_BYTES + length;
    if expected > source.size() {
        let file = file.to_owned();
        return Err(CheckpointError::Truncated {
            expected,
            found: source.size(),
            file,
        });
    }
    Ok(length as usize)
}

fn explain(prefix: &[u8], file: &str) -> CheckpointError {
    let file = file.to_owned();
    let starts = |magic: &[u8]| prefix.starts_with(magic);

    // torch.save writes a zip with a pickle inside; older versions wrote bare pickles, whose first
    // opcode names protocol 2 to 5.
    if first_in_zip(prefix).is_some_and(is_of_torch) {
        let found = "a zip as torch writes for .ckpt, .pt and .bin";
        return CheckpointError::Pickle { found, file };
    }
    if matches!(prefix, [0x80, 2..=5, ..]) {
        return CheckpointError::Pickle {
            found: ".ckpt, .pt or .bin",
            file,
        };
    }
    let (found, remedy) = if let Some(Stranger { found, remedy }) = Stranger::of(prefix) {
        (found, remedy)
    } else if starts(b"GGUF") {
        ("a GGUF file", "choose the .safetensors variant")
    } else if starts(b"\x89PNG") || starts(b"\xff\xd8\xff") || starts(b"RIFF") {
        ("a picture", "choose a .safetensors file")
    } else if is_printable(prefix) {
        (
            "a text",
            "choose a .safetensors file, or download it again if it was one",
        )
    } else {
        ("something else", "choose a .safetensors file")
    };
    CheckpointError::NotSafetensors {
        found,
        remedy,
        file,
    }
}

/// The name of the first file in a zip archive, as far as it is in `prefix`.
fn first_in_zip(prefix: &[u8]) -> Option<&[u8]> {
    // PKWARE's APPNOTE 4.3.7: the length of the name at 26, the name at 30.
    let header = prefix.strip_prefix(b"PK\x03\x04")?;
    let (length, _) = header.get(22..)?.split_first_chunk()?;
    let name = header.get(26..)?;
    Some(&name[..name.len().min(u16::from_le_bytes(*length).into())])
}

/// Whether torch begins an archive with a file of this name: a folder called like the file that was
/// saved, and in it the pickle or, from TorchScript, constants and code beside it.
fn is_of_torch(name: &[u8]) -> bool {
    let inside = name.split(|byte| *byte == b'/').nth(1);
    inside.is_some_and(|file| {
        file.ends_with(b".pkl") || matches!(file, b"data" | b"code" | b"version" | b"byteorder")
    })
}

/// Whether this is what a server says instead of a file, such as "Entry not found".
fn is_printable(prefix: &[u8]) -> bool {
    let is_text = |c: char| !c.is_control() || c.is_whitespace();
    let mut chunks = prefix.utf8_chunks();
    // The prefix may end within a character.
    let is_cut = |invalid: &[u8]| invalid.is_empty() || prefix.len() == PREFIX_BYTES;
    chunks
        .next()
        .is_some_and(|first| first.valid().chars().all(is_text) && is_cut(first.invalid()))
        && chunks.next().is_none()
}
