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

#[test]
fn a_jpeg_with_a_hole_is_refused() {
    let desk = Desk::new();
    let mut file = include_bytes!("../../../tests/fixtures/pictures/restarts.jpg").to_vec();
    let middle = file.len() / 2;
    file[middle..middle + 400].fill(0);
    desk.put("hole.jpg", file);
    refused(
        &desk,
        ["a.png", "hole.jpg", "mask.png"],
        "damaged or cut off",
        "hole.jpg",
    );
}

#[test]
fn a_photo_of_a_phone_is_refused_by_its_name() {
    let desk = Desk::new();
    desk.put("IMG_1.HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic");
    refused(
        &desk,
        ["IMG_1.HEIC", "b.png", "mask.png"],
        "a HEIC picture",
        "IMG_1.HEIC",
    );
}

#[test]
fn pictures_of_one_pixel_are_refused_by_their_size() {
    let desk = Desk::new();
    for (name, level) in [("dark.png", 9), ("light.png", 200)] {
        let dot = Rgb::filled(1, 1, [level; 3]);
        desk.put(name, encode_png(&dot).expect("PNG"));
    }
    let ran = desk.run(&format!("{TRAIN} --original dark.png --target light.png"));
    assert_ne!(ran.exit, Some(0), "nothing can be learnt");
    let sentence = ran.error();
    assert!(sentence.contains("1x1 px"), "what is wrong: {sentence}");
    assert!(sentence.contains("full size"), "what to do: {sentence}");
}

#[test]
fn what_reading_a_picture_changed_is_told_once_with_its_name() {
    let desk = Desk::new();
    let adobe = include_bytes!("../../../tests/fixtures/pictures/adobe_rgb.png");
    let grey = include_bytes!("../../../tests/fixtures/pictures/grey.png");
    desk.put("adobe.png", adobe);
    desk.put("grey.png", grey);
    let ran = desk.run(&format!(
        "{TRAIN} --no-calibrate --original adobe.png --target grey.png"
    ));
    let told = ran.done().stderr;
    for (file, words) in [
        ("adobe.png", "converted from Adobe RGB"),
        ("grey.png", "converted from Grey 1.8"),
        ("grey.png", "transparent pixels count as white"),
    ] {
        let is_told = |line: &&str| line.contains(&format!("{file:?}")) && line.contains(words);
        let times = told.lines().filter(is_told).count();
        assert_eq!(times, 1, "{words:?} of {file}:\n{told}");
    }
}
