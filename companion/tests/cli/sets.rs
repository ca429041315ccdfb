//! Folders of pictures.

use mimeo_image::{Rgb, decode, encode_png};
use serde_json::{Value, json};

use crate::desk::{Desk, pair};

/// The pairs of glasses as they are bundled, with their masks and a caption.
fn faces(desk: &Desk) {
    let pairs = mimeo_base::pairs().iter();
    for pair in pairs.filter(|pair| pair.edit == "glasses") {
        let name = |what: &str| format!("faces/{}_{what}", pair.id);
        desk.put(&name("A.png"), pair.original_png);
        desk.put(&name("B.png"), pair.target_png);
        desk.put(&name("mask.png"), pair.mask_png);
        desk.put(
            &name("A.txt"),
            format!("\u{feff}{}\r\n", pair.original_caption),
        );
    }
    desk.put("faces/Thumbs.db", "x");
    desk.put("faces/readme.md", "x");
}

/// What `mimeo inspect` says of a folder.
fn told(desk: &Desk, folder: &str) -> Value {
    let events = desk
        .run(&format!("inspect {folder} --json"))
        .done()
        .events();
    let [event] = &events[..] else {
        panic!("one event: {events:?}");
    };
    assert_eq!(event["event"], "result", "{event}");
    event.clone()
}

/// A folder from which nothing can be trained; the refusal must hold `words`.
fn refused(desk: &Desk, arguments: &str, words: &str) {
    let train = "train --device cpu --steps 3 --no-score --no-calibrate --out x.safetensors";
    let sentence = desk.refused(&format!("{train} {arguments}"), 2);
    assert!(sentence.contains(words), "{words:?} in: {sentence}");
}

#[test]
fn a_folder_is_told_as_the_examples_that_it_makes() {
    let desk = Desk::new();
    faces(&desk);
    let text = desk.run("inspect faces").done().stdout;
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[0].contains(r#"1  "00_A.png" > "00_B.png", mask "00_mask.png", caption ""#),
        "{text}"
    );
    assert!(lines[1].contains(r#"2  "01_A.png" > "01_B.png""#), "{text}");
    assert!(
        lines[2].starts_with(r#"Left out: "readme.md": it is neither"#),
        "{text}"
    );
    assert_eq!(lines.len(), 3, "a file of the system is not told: {text}");

    let set = told(&desk, "faces");
    let first = &set["examples"][0];
    assert_eq!(first["caption"], pair().original_caption, "{first}");
    assert_eq!(first["paired_by"], "names", "{first}");
    assert_eq!(first["warnings"], json!([]), "they are clean: {first}");
    assert_eq!(set["left"][0]["file"], "readme.md", "{set}");
}

#[test]
fn pictures_whose_names_say_nothing_are_paired_by_likeness() {
    let desk = Desk::new();
    desk.put("x/oak.png", pair().target_png);
    desk.put("x/elm.png", pair().original_png);
    desk.put(
        "x/fir.png",
        encode_png(&Rgb::filled(128, 128, [250, 9, 9])).expect("PNG"),
    );
    let set = told(&desk, "x");
    let pair = &set["examples"][0];
    assert_eq!(
        [&pair["original"], &pair["target"], &pair["paired_by"]],
        ["elm.png", "oak.png", "likeness"],
        "the first by name is A: {set}"
    );
    assert_eq!(set["left"][0]["file"], "fir.png", "no other half: {set}");
    let text = desk.run("inspect x").done().stdout;
    assert!(
        text.contains("(they look alike; A is the first by name)"),
        "{text}"
    );
}

#[test]
fn levels_are_told_and_what_is_wrong_with_a_pair() {
    let desk = Desk::new();
    let original = decode(pair().original_png).expect("a picture").picture;
    let lighter: Vec<_> = original
        .pixels()
        .iter()
        .map(|&value| value.saturating_add(9))
        .collect();
    let lighter = Rgb::new(original.width(), original.height(), lighter).expect("a picture");
    desk.put("x/head_0.png", pair().original_png);
    desk.put("x/head_-1.png", pair().target_png);
    desk.put("x/head_1.5.png", encode_png(&lighter).expect("PNG"));
    let set = told(&desk, "x");
    let levels = [&set["examples"][0]["level"], &set["examples"][1]["level"]];
    assert_eq!(levels, [&json!(-1.0), &json!(1.5)], "{set}");
    let warning = set["examples"][1]["warnings"][0]
        .as_str()
        .expect("a warning");
    assert!(warning.contains("lighter"), "{warning}");
}

#[test]
fn a_folder_without_pairs_is_refused() {
    let desk = Desk::new();
    desk.put("none/readme.txt", "x");
    desk.put("one/oak.png", pair().original_png);
    desk.put(
        "row/1.png",
        encode_png(&Rgb::filled(64, 64, [9; 3])).expect("PNG"),
    );
    desk.put(
        "row/2.png",
        encode_png(&Rgb::filled(64, 64, [120; 3])).expect("PNG"),
    );
    desk.put(
        "row/3.png",
        encode_png(&Rgb::filled(64, 64, [250; 3])).expect("PNG"),
    );
    refused(
        &desk,
        "--set none",
        "no two pictures in this folder are a pair",
    );
    refused(
        &desk,
        "--set none --alone",
        "no picture in this folder can be trained on",
    );
    refused(&desk, "--set one", "take each for itself with --alone");
    refused(&desk, "--set row", "one of 3 pictures numbered in a row");
    refused(&desk, "--set a.png", "this is no folder");
    refused(&desk, "--set nowhere", "this is no folder");
}

#[test]
fn what_does_not_belong_to_a_set_is_refused() {
    let desk = Desk::new();
    faces(&desk);
    refused(&desk, "--set faces --mask mask.png", "cannot be used with");
    refused(&desk, "--set faces --original a.png", "cannot be used with");
    refused(
        &desk,
        "--original a.png --target b.png --alone",
        "cannot be used with",
    );
    refused(&desk, "--alone", "--set");
    refused(
        &desk,
        "--original a.png --target b.png --mask-from inverted",
        "--mask",
    );
    refused(&desk, "--original a.png", "--target");
    desk.put("faces/01_B.png", &pair().target_png[..900]);
    refused(&desk, "--set faces", "damaged or cut off");
    desk.put(
        "faces/01_B.png",
        encode_png(&Rgb::filled(64, 64, [9; 3])).expect("PNG"),
    );
    refused(&desk, "--set faces", "01_B.png");
    desk.put("faces/01_B.png", pair().target_png);
    desk.put("faces/01_A.txt", b"caf\xE9");
    refused(&desk, "--set faces", "not in UTF-8");
}
