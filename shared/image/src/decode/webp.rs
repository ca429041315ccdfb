//! What a WebP file's chunks say (RFC 9649), beside its pixels.

use super::note::Note;

/// What is to be told about the file; or what is wrong with it, in words that follow "damaged or cut
/// off".
///
/// - `has_profile`: whether a profile could be read
pub(super) fn notes(bytes: &[u8], has_profile: bool) -> Result<Vec<Note>, String> {
    let Some(size) = word(bytes, 4) else {
        return Err("the end is missing".to_owned());
    };
    // Some programs leave out the byte that fills up the last chunk.
    if bytes.len() + 1 < size.saturating_add(8) {
        return Err("the end is missing".to_owned());
    }
    let mut found = Vec::new();
    let mut at = 12;
    while let (Some(kind), Some(size)) = (bytes.get(at..at + 4), word(bytes, at + 4)) {
        let end = (at + 8).saturating_add(size).min(bytes.len());
        let payload = &bytes[at + 8..end];
        match kind {
            b"VP8X" => {
                let flags = payload.first().copied().unwrap_or(0);
                if flags & 0x02 != 0 {
                    found.push(Note::Animation);
                }
                if flags & 0x20 != 0 && !has_profile {
                    let reason = "it is damaged".to_owned();
                    found.push(Note::UnusableProfile { reason });
                }
            }
            b"VP8 " => check_vp8(payload)?,
            _ => {}
        }
        // Chunks begin at even places.
        at = end.saturating_add(size % 2);
    }
    Ok(found)
}

/// Looks for a hole in the data of VP8 (RFC 6386). Its arithmetic coding finds no error by itself: what
/// it makes of a part that was never written is garbage that looks like a picture.
///
/// Where nothing is drawn the data is zeros too: of a picture of one colour, libwebp writes a fifth of a
/// bit for each macroblock. Five times as much is a hole.
fn check_vp8(payload: &[u8]) -> Result<(), String> {
    // Behind the frame's tag and the start code: width and height, 14 bits each (9.1).
    let Some(&[_, _, _, _, _, _, a, b, c, d]) = payload.first_chunk() else {
        return Err("the end is missing".to_owned());
    };
    let macroblocks =
        |low, high| usize::from(u16::from_le_bytes([low, high]) & 0x3FFF).div_ceil(16);
    let flat = macroblocks(a, b) * macroblocks(c, d) / 8;
    let runs = payload.split(|&byte| byte != 0);
    let longest = runs.map(<[u8]>::len).max().unwrap_or(0);
    match longest > flat + SHORTEST_HOLE {
        true => Err(format!("{longest} bytes of its data are zeros")),
        false => Ok(()),
    }
}

/// In bytes; shorter runs of zeros are left alone, however small the picture.
const SHORTEST_HOLE: usize = 256;

/// A 32-bit number, least byte first.
fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}
