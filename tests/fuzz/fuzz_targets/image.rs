//! A file is a picture within the limits or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mimeo_image::decode::{MAX_MEGAPIXELS, MAX_SIDE};

fuzz_target!(|file: &[u8]| {
    let limits = |width: u32, height: u32| {
        assert!(width <= MAX_SIDE && height <= MAX_SIDE);
        assert!(u64::from(width) * u64::from(height) <= u64::from(MAX_MEGAPIXELS) * 1_000_000);
    };
    if let Ok(decoded) = mimeo_image::decode(file) {
        limits(decoded.picture.width(), decoded.picture.height());
        // They quote the file, and are written to terminals.
        for note in decoded.notes {
            let told = note.to_string();
            assert!(told.len() < 512 && !told.chars().any(char::is_control));
        }
    }
    if let Ok(mask) = mimeo_image::decode_mask(file) {
        limits(mask.width(), mask.height());
    }
});
