//! Folders of pictures.

use mimeo_image::{Rgb, decode, decode_mask, encode_mask_png, encode_png};
use serde_json::{Value, json};

use crate::desk::{Desk, pair, trained};

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

/// Trains a few quick steps on a folder.
const TRAIN: &str = "train --device cpu --steps 3 --batch-size 1 --no-score --no-calibrate";

#[test]
fn a_lora_is_scored_on_the_levels_of_a_folder() {
    let desk = Desk::new();
    desk.put("x.safetensors", trained());
    desk.put("graded/glasses_0.png", pair().original_png);
    desk.put("graded/glasses_1.png", pair().target_png);
    desk.put("graded/glasses_-1.png", pair().target_png);
    desk.put("one.txt", "short hair, smile");
    let score = "score x.safetensors --device cpu --set graded";
    let scored = desk.run(&format!("{score} --held-out one.txt --json"));
    let last = scored.done().events().pop().expect("the result");
    let graded = &last["scores"]["graded"];
    assert_eq!(graded["levels"], json!([-1.0, 1.0]), "{last}");
    for progress in [&graded["progress"], &graded["held_out"]["progress"]] {
        let progress = progress.as_array().expect("of each level");
        assert_eq!(progress.len(), 2, "{last}");
    }
    let nothing = desk.refused("score x.safetensors --device cpu --set none", 2);
    assert!(nothing.contains("none"), "which folder: {nothing}");
    let both = desk.run(&format!("{score} --original a.png"));
    assert_eq!(both.exit, Some(2), "one of the two: {}", both.stderr);
}

#[test]
fn a_folder_becomes_one_lora_that_names_its_examples() {
    let desk = Desk::new();
    faces(&desk);
    let first = desk.run(&format!(
        "{TRAIN} --method addift --set faces --out x.safetensors"
    ));
    let first = first.done();
    assert!(
        first.stdout.contains(r#"2  "01_A.png" > "01_B.png""#),
        "told: {}",
        first.stdout
    );

    let inspect = "inspect x.safetensors";
    let found = desk
        .run(&format!("{inspect} --json"))
        .done()
        .events()
        .remove(0);
    let examples = found["examples"].as_array().expect("a list");
    assert_eq!(examples.len(), 2, "{found}");
    assert_eq!(examples[0]["caption"], pair().original_caption, "{found}");
    assert!(examples[1]["mask"].is_string(), "its mask too: {found}");
    let text = desk.run(inspect).done().stdout;
    assert!(text.contains("2 examples (SHA-256 of the files)"), "{text}");
    assert!(text.contains("   2  original = "), "{text}");

    // Under names that say the same in another way, and into the folder itself.
    for (id, kind, name) in [
        ("00", "A", "before/00"),
        ("00", "B", "after/00"),
        ("01", "A", "before/01"),
        ("01", "B", "after/01"),
    ] {
        let file = std::fs::read(desk.path(&format!("faces/{id}_{kind}.png"))).expect("a picture");
        desk.put(&format!("other/{name}.png"), file);
        let mask = std::fs::read(desk.path(&format!("faces/{id}_mask.png"))).expect("a mask");
        desk.put(&format!("other/mask/{id}.png"), mask);
        let text = std::fs::read(desk.path(&format!("faces/{id}_A.txt"))).expect("a caption");
        desk.put(&format!("other/{id}.txt"), text);
    }
    desk.run(&format!(
        "{TRAIN} --method addift --set other --out other/x.safetensors"
    ))
    .done();
    let [one, two] = ["x.safetensors", "other/x.safetensors"]
        .map(|name| std::fs::read(desk.path(name)).expect("a LoRA"));
    assert!(one == two, "names of files are no part of what is learnt");
    let again =
        format!("{TRAIN} --method addift --set other --overwrite --out other/x.safetensors");
    desk.run(&again).done();
}

#[test]
fn a_set_of_one_pair_gives_the_file_of_that_pair() {
    let desk = Desk::new();
    desk.put("one/x_A.png", pair().original_png);
    desk.put("one/x_B.png", pair().target_png);
    desk.put("one/x_mask.png", pair().mask_png);
    let train = format!("{TRAIN} --method plain");
    let pair = "--original a.png --target b.png --mask mask.png";
    desk.run(&format!("{train} {pair} --out x.safetensors"))
        .done();
    desk.put("set/readme.txt", "x");
    desk.run(&format!("{train} --set one --out set/x.safetensors"))
        .done();
    let [one, two] = ["x.safetensors", "set/x.safetensors"]
        .map(|name| std::fs::read(desk.path(name)).expect("a LoRA"));
    assert!(one == two, "bit for bit");
    let sentence = desk.refused(
        &format!("{train} --set one --overwrite --out one/x_mask.png"),
        2,
    );
    assert!(
        sentence.contains("what is read is never written over"),
        "{sentence}"
    );
}

#[test]
fn masks_of_a_set_are_read_as_the_option_says() {
    let desk = Desk::new();
    faces(&desk);
    for id in ["00", "01"] {
        let mask = std::fs::read(desk.path(&format!("faces/{id}_mask.png"))).expect("a mask");
        let mask = decode_mask(&mask).expect("a mask").inverted();
        desk.put(
            &format!("faces/{id}_mask.png"),
            encode_mask_png(&mask).expect("PNG"),
        );
    }
    refused(&desk, "--set faces", "--mask-from inverted");
    let train = format!("{TRAIN} --method addift --set faces --mask-from inverted");
    desk.run(&format!("{train} --out x.safetensors")).done();
}

#[test]
fn pictures_alone_are_trained_each_for_itself() {
    let desk = Desk::new();
    faces(&desk);
    let train = format!("{TRAIN} --set faces --alone --out x.safetensors");
    desk.run(&format!("{train} --method plain")).done();
    let found = desk
        .run("inspect x.safetensors --json")
        .done()
        .events()
        .remove(0);
    let examples = found["examples"].as_array().expect("a list");
    assert_eq!(examples.len(), 4, "each picture: {found}");
    assert_eq!(examples[0]["original"], examples[0]["target"], "{found}");
    let refused = desk.run(&format!("{train} --method addift --overwrite"));
    assert_eq!(refused.exit, Some(2), "{}", refused.stderr);
    let sentence = refused.error();
    assert!(
        sentence.contains("method addift learns from pairs"),
        "{sentence}"
    );
}
