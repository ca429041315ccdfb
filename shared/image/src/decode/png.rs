//! What a PNG says about its colours, and that it is an animation.

use std::io::Cursor;

use png::{Decoder, Limits};

use super::note::Note;
use super::profile::Colours;

/// For its profile and texts, unpacked.
const MAX_BYTES: usize = 64 << 20;

/// What the chunks before the pixels say. Nothing where they cannot be read: reading the pixels will
/// fail too, and say why.
pub(super) fn description(bytes: &[u8]) -> (Option<Colours>, Vec<Note>) {
    let limits = Limits { bytes: MAX_BYTES };
    let Ok(reader) = Decoder::new_with_limits(Cursor::new(bytes), limits).read_info() else {
        return (None, Vec::new());
    };
    let info = reader.info();
    let mut notes = Vec::new();
    if info
        .animation_control
        .is_some_and(|control| control.num_frames > 1)
    {
        notes.push(Note::Animation);
    }

    // In this order (PNG, third edition, 4.3).
    if let Some(points) = info.coding_independent_code_points {
        let colours = Colours::CodePoints {
            primaries: points.color_primaries,
            transfer: points.transfer_function,
            is_full_range: points.is_video_full_range_image,
        };
        return (Some(colours), notes);
    }
    if let Some(profile) = &info.icc_profile {
        return (Some(Colours::Icc(profile.to_vec())), notes);
    }
    if has_profile(bytes) {
        let reason = "it is damaged".to_owned();
        notes.push(Note::UnusableProfile { reason });
        return (None, notes);
    }
    if info.srgb.is_some() {
        return (None, notes);
    }
    let gamma = info.gama_chunk.map(png::ScaledFloat::into_value);
    let chromaticities = info.chrm_chunk.map(|points| {
        [points.white, points.red, points.green, points.blue]
            .map(|(x, y)| (x.into_value(), y.into_value()))
    });
    let colours = (gamma.is_some() || chromaticities.is_some()).then_some(Colours::Measured {
        gamma,
        chromaticities,
    });
    (colours, notes)
}

/// Whether there is a profile before the pixels: one that cannot be read is passed over without a word.
fn has_profile(bytes: &[u8]) -> bool {
    let mut at = 8_usize;
    while let Some(head) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let [a, b, c, d, kind @ ..] = *head;
        match &kind {
            b"iCCP" => return true,
            b"IDAT" => return false,
            // Its length counts neither itself, nor the kind, nor the checksum.
            _ => at = at.saturating_add(u32::from_be_bytes([a, b, c, d]) as usize + 12),
        }
    }
    false
}
