//! Is this a safetensors file at all, and if not, what did the user pick instead?

use crate::{AsyncReadAt, CheckpointError};

use super::{LENGTH_BYTES, MAX_HEADER_BYTES};

/// Enough of the file's start to recognise what people mistake for a checkpoint.
const PREFIX_BYTES: u64 = 64;

/// The header's length in bytes, if `source` starts like a safetensors file.
///
/// # Errors
/// A sentence about what the file is instead.
pub(super) async fn header_length(source: &dyn AsyncReadAt) -> Result<usize, CheckpointError> {
    let prefix = source
        .read_at(0, PREFIX_BYTES.min(source.size()) as usize)
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
    if starts(b"PK\x03\x04") || starts(b"PK\x05\x06") {
        let found = "a zip as torch writes for .ckpt, .pt and .bin";
        return CheckpointError::Pickle { found, file };
    }
    if matches!(prefix, [0x80, 2..=5, ..]) {
        return CheckpointError::Pickle {
            found: ".ckpt, .pt or .bin",
            file,
        };
    }
    let (found, remedy) = if prefix.is_empty() {
        ("an empty file", "download or copy it again")
    } else if starts(b"version https://git-lfs") {
        (
            "a Git LFS pointer",
            "fetch the file itself with \"git lfs pull\"",
        )
    } else if starts(b"GGUF") {
        ("a GGUF file", "choose the .safetensors variant")
    } else if starts(b"<") {
        ("a web page", "the download failed, try it again")
    } else if starts(b"\x89PNG") || starts(b"\xff\xd8\xff") || starts(b"RIFF") {
        ("a picture", "choose a .safetensors file")
    } else {
        ("something else", "choose a .safetensors file")
    };
    CheckpointError::NotSafetensors {
        found,
        remedy,
        file,
    }
}
