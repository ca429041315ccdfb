//! Pictures and masks that cannot be used.

use mimeo_image::{Mask, Rgb, decode_mask, encode_mask_png, encode_png};

use crate::desk::{Desk, QUICK, pair, read_lora};

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
    for (name, file, words) in [
        (
            "text.png",
            &b"I am a letter."[..],
            "a text; choose a picture",
        ),
        ("empty.png", b"", "empty; copy, export or download"),
        (
            "page.png",
            b"<!DOCTYPE html><title>A",
            "a web page and not the picture that it shows; open it in a browser",
        ),
        (
            "lfs.png",
            b"version https://git-lfs.github.com/spec/v1\n",
            "fetch the file itself with \"git lfs pull\"",
        ),
        ("scan.png", b"II*\0....", "convert it to PNG, JPEG or WebP"),
    ] {
        desk.put(name, file);
        refused(&desk, [name, "b.png", "mask.png"], words, name);
        refused(&desk, ["a.png", name, "mask.png"], words, name);
        refused(&desk, ["a.png", "b.png", name], words, name);
    }
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
    let words = "this is a folder; choose the picture in it";
    refused(&desk, [".", "b.png", "mask.png"], words, ".");
    refused(&desk, ["a.png", "b.png", "."], words, ".");
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

/// The mask of the desk's pair as other programs write it, what each looks like, and the option that
/// mends it.
const MISREAD: [(&str, &[u8], &str, &str); 3] = [
    (
        "M_inverted.png",
        include_bytes!("../../../tests/cases/masks/M_inverted.png"),
        "of what differs lies outside the mask, which looks inverted",
        "--mask-from inverted",
    ),
    (
        "M_comfy_erased.png",
        include_bytes!("../../../tests/cases/masks/M_comfy_erased.png"),
        "or like a picture whose painted part was erased",
        "--mask-from inverted",
    ),
    (
        "M_value1.png",
        include_bytes!("../../../tests/cases/masks/M_value1.png"),
        "nearly black, 1 of 255 everywhere",
        "leave out --mask",
    ),
];

#[test]
fn a_mask_that_leaves_out_the_change_is_refused_with_the_option_that_mends_it() {
    let desk = Desk::new();
    for (name, file, words, option) in MISREAD {
        desk.put(name, file);
        refused(&desk, ["a.png", "b.png", name], words, name);
        refused(&desk, ["a.png", "b.png", name], option, name);
    }
}

#[test]
fn with_that_option_the_lora_is_the_one_of_the_mask_that_was_meant() {
    let desk = Desk::new();
    desk.train("--out meant.safetensors").done();
    let meant = read_lora(&desk.path("meant.safetensors")).modules;
    let ones = decode_mask(pair().mask_png).expect("a mask");
    let ones = ones.values().iter().map(|&value| value & 1).collect();
    let ones = encode_mask_png(&Mask::new(128, 128, ones).expect("a mask"));
    let ones = ones.expect("PNG");
    for (name, file, how) in [
        (MISREAD[0].0, MISREAD[0].1, "inverted"),
        (MISREAD[1].0, MISREAD[1].1, "inverted,stretched"),
        ("ones.png", &ones[..], "stretched"),
    ] {
        desk.put(name, file);
        let quick = QUICK.replace("mask.png", name);
        let ran = desk.run(&format!(
            "train {quick} --mask-from {how} --overwrite --out x.safetensors"
        ));
        let ran = ran.done();
        assert!(!ran.stderr.contains("outside the mask"), "{}", ran.stderr);
        let modules = read_lora(&desk.path("x.safetensors")).modules;
        assert!(modules == meant, "{name}, {how}");
    }
}

#[test]
fn an_alpha_channel_that_is_taken_for_the_mask_of_a_picture_is_told() {
    let desk = Desk::new();
    let (name, file, ..) = MISREAD[1];
    desk.put(name, file);
    let told = |more: &str| {
        let quick = QUICK.replace("mask.png", name);
        let ran = desk.run(&format!(
            "train {quick} {more} --overwrite --out x.safetensors"
        ));
        ran.done().stderr.contains("alpha channel")
    };
    assert!(told("--mask-from inverted"), "its colours are not the mask");
    assert!(!told("--mask-from luminance"), "as they are when asked for");
}

#[test]
fn what_a_mask_leaves_out_is_told_before_the_first_step() {
    let desk = Desk::new();
    // The left part of the glasses.
    let values = (0..128 * 128).map(|i| 255 * u8::from(i % 128 < 48));
    let mask = Mask::new(128, 128, values.collect()).expect("a mask");
    desk.put("part.png", encode_mask_png(&mask).expect("PNG"));
    let quick = QUICK.replace("mask.png", "part.png");
    let ran = desk
        .run(&format!("train {quick} --out x.safetensors"))
        .done();
    let told = ran.stderr.find("% of what differs lies outside the mask");
    let trained = ran.stderr.find("Training the LoRA");
    assert!(told.is_some() && told < trained, "{}", ran.stderr);
    assert!(ran.stderr.contains("leave out --mask"), "{}", ran.stderr);

    let ran = desk.train("--out y.safetensors").done();
    assert!(
        !ran.stderr.contains("the mask"),
        "all is well: {}",
        ran.stderr
    );
}

#[test]
fn a_mask_that_is_gone_at_the_size_of_training_is_refused_as_that() {
    let desk = Desk::new();
    let side = 2048;
    let large = |changes: bool| {
        let is_changed = |i: u32| changes && i % side < 512 && i / side < 512;
        let colour = |i| {
            if is_changed(i) {
                [150, 90, 90]
            } else {
                [90; 3]
            }
        };
        let pixels = (0..side * side).flat_map(colour).collect();
        encode_png(&Rgb::new(side, side, pixels).expect("a picture")).expect("PNG")
    };
    desk.put("a.png", large(false));
    desk.put("b.png", large(true));
    let mut values = vec![0; (side * side) as usize];
    values[0] = 60;
    let mask = Mask::new(side, side, values).expect("a mask");
    desk.put("mask.png", encode_mask_png(&mask).expect("PNG"));
    let sentence = desk.refused(&format!("train {QUICK} --out x.safetensors"), 2);
    assert!(
        sentence.contains("nothing of it is left at 128x128 px"),
        "{sentence}"
    );
}

#[test]
fn how_to_read_a_mask_needs_one() {
    let desk = Desk::new();
    let sentence = desk.refused(
        &format!("{TRAIN} --original a.png --target b.png --mask-from inverted"),
        2,
    );
    assert!(sentence.contains("--mask <M.png>"), "{sentence}");
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
