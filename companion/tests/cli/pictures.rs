//! Pictures and masks that cannot be used.

use mimeo_image::{Mask, Rgb, encode_mask_png, encode_png};

use crate::desk::{Desk, pair};

const TRAIN: &str = "train --device cpu --method plain --steps 3 --no-score --out x.safetensors";

/// Trains with these three files; the refusal must hold `words` and end with the name of `culprit`.
fn refused(desk: &Desk, files: [&str; 3], words: &str, culprit: &str) {
    let [original, target, mask] = files;
    let arguments = format!("{TRAIN} --original {original} --target {target} --mask {mask}");
    let sentence = desk.refused(&arguments, 2);
    assert!(sentence.contains(words), "{words:?} in: {sentence}");
    assert!(
        sentence.ends_with(&format!("{culprit:?}")),
        "the path last: {sentence}"
    );
}

#[test]
fn a_missing_picture_is_refused() {
    let desk = Desk::new();
    refused(
        &desk,
        ["no.png", "b.png", "mask.png"],
        "check the path",
        "no.png",
    );
}

#[test]
fn a_file_that_is_no_picture_is_refused() {
    let desk = Desk::new();
    desk.put("text.png", "I am a letter.");
    refused(
        &desk,
        ["a.png", "text.png", "mask.png"],
        "convert it to PNG, JPEG or WebP",
        "text.png",
    );
    desk.put("empty.png", "");
    refused(
        &desk,
        ["empty.png", "b.png", "mask.png"],
        "empty",
        "empty.png",
    );
}

#[test]
fn a_cut_off_picture_is_refused() {
    let desk = Desk::new();
    let half = &pair().target_png[..pair().target_png.len() / 2];
    desk.put("half.png", half);
    refused(
        &desk,
        ["a.png", "half.png", "mask.png"],
        "damaged or cut off",
        "half.png",
    );
}

#[test]
fn a_folder_or_device_instead_of_a_picture_is_refused() {
    let desk = Desk::new();
    refused(&desk, [".", "b.png", "mask.png"], "no picture file", ".");
    #[cfg(unix)]
    refused(
        &desk,
        ["/dev/zero", "b.png", "mask.png"],
        "no picture file",
        "/dev/zero",
    );
}

#[test]
fn pictures_of_different_size_are_refused() {
    let desk = Desk::new();
    desk.put(
        "small.png",
        encode_png(&Rgb::filled(64, 128, [9; 3])).expect("PNG"),
    );
    refused(
        &desk,
        ["a.png", "small.png", "mask.png"],
        "64x128",
        "small.png",
    );
}

#[test]
fn a_mask_of_another_size_is_refused() {
    let desk = Desk::new();
    let mask = Mask::new(64, 64, vec![255; 64 * 64]).expect("a mask");
    desk.put("small.png", encode_mask_png(&mask).expect("PNG"));
    refused(&desk, ["a.png", "b.png", "small.png"], "64x64", "small.png");
}

#[test]
fn an_empty_mask_is_refused() {
    let desk = Desk::new();
    let mask = Mask::new(128, 128, vec![0; 128 * 128]).expect("a mask");
    desk.put("black.png", encode_mask_png(&mask).expect("PNG"));
    refused(&desk, ["a.png", "b.png", "black.png"], "empty", "black.png");
}

#[test]
fn identical_pictures_are_refused() {
    let desk = Desk::new();
    refused(&desk, ["a.png", "a.png", "mask.png"], "identical", "a.png");
}
