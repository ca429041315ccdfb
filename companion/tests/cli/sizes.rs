//! The size at which a pair is trained and pictures are drawn.

use std::fs;

use mimeo_image::{Fit, decode, decode_mask, encode_mask_png, encode_png};

use crate::desk::{Desk, QUICK, pair, read_lora};
use crate::families::put_family;

/// Brings the pair on the desk to another size.
fn resize_pair(desk: &Desk, size: (u32, u32)) {
    let fit = Fit::covering(128, 128, size).expect("as large as that");
    for (name, png) in [("a.png", pair().original_png), ("b.png", pair().target_png)] {
        let picture = decode(png).expect("a bundled picture").picture;
        let picture = fit.picture(&picture).expect("of its size");
        desk.put(name, encode_png(&picture).expect("a picture"));
    }
    let mask = decode_mask(pair().mask_png).expect("a bundled mask");
    let mask = fit.mask(&mask).expect("of its size");
    desk.put("mask.png", encode_mask_png(&mask).expect("a mask"));
}

/// What the LoRA says it was trained at, in px.
fn trained_at(desk: &Desk, more: &str) -> String {
    desk.run(&format!(
        "train {QUICK} {more} --overwrite --out x.safetensors"
    ))
    .done();
    let lora = read_lora(&desk.path("x.safetensors"));
    lora.metadata["modelspec.resolution"].clone()
}

#[test]
fn a_pair_keeps_its_proportions_at_every_size() {
    let desk = Desk::new();
    resize_pair(&desk, (120, 180));
    assert_eq!(trained_at(&desk, ""), "96x128", "the longer side as ever");
    assert_eq!(trained_at(&desk, "--size 128"), "96x160", "128² or less");
    assert_eq!(trained_at(&desk, "--size 192"), "160x224", "192² or less");
    assert_eq!(trained_at(&desk, "--size native"), "96x128", "if asked for");
}

#[test]
fn a_size_is_that_of_every_family_and_method() {
    for family in ["sd2", "sdxl_v"] {
        let desk = Desk::new();
        resize_pair(&desk, (120, 180));
        put_family(&desk, family);
        for method in ["plain", "addift", "copier --copier-steps 2"] {
            let train = format!("--base base --size 128 --method {method} --steps 2");
            assert_eq!(trained_at(&desk, &train), "96x160", "{family}, {method}");
        }
        // What is measured is drawn at it, too.
        let measured = QUICK.replace("--no-score --no-calibrate", "--score-budget 10");
        desk.run(&format!(
            "train {measured} --base base --size 128 --overwrite --out x.safetensors"
        ))
        .done();
        let pair = "--original a.png --target b.png --base base --device cpu";
        desk.run(&format!("score x.safetensors {pair}")).done();
    }
}

#[test]
fn what_cannot_be_a_size_is_refused_in_one_sentence() {
    let desk = Desk::new();
    let refused =
        |more: &str| desk.refused(&format!("train {QUICK} {more} --out x.safetensors"), 2);
    for (more, words) in [
        ("--size 31", "between 32 and 2048, not 31"),
        ("--size 4096", "between 32 and 2048, not 4096"),
        ("--size big", "write native"),
    ] {
        let sentence = refused(more);
        assert!(sentence.contains(words), "{more}: {sentence}");
    }
    resize_pair(&desk, (300, 550));
    let sentence = refused("--size 2048");
    assert!(sentence.contains("at most 2048"), "{sentence}");
}

#[test]
fn pictures_are_drawn_at_the_size_that_is_asked_for() {
    let desk = Desk::new();
    let draw = "sample --device cpu --prompt smile --steps 2 --overwrite --out x.png";
    let drawn = |more: &str| {
        desk.run(&format!("{draw} {more}")).done();
        let picture = decode(&fs::read(desk.path("x.png")).expect("a picture"));
        let picture = picture.expect("a PNG").picture;
        (picture.width(), picture.height())
    };
    assert_eq!(drawn(""), (128, 128), "the base's own");
    assert_eq!(drawn("--size 64"), (64, 64), "a square");
    assert_eq!(drawn("--size 64 --height 96"), (64, 96), "but for a side");
}
