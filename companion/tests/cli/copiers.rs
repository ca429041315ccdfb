//! Copiers that are made for themselves.

use serde_json::Value;

use crate::desk::{Desk, pair, read_lora};

/// Two pictures of one style, with their captions.
fn drawings(desk: &Desk) {
    desk.put("drawings/one.png", pair().original_png);
    desk.put("drawings/one.txt", "a face");
    desk.put("drawings/two.png", pair().target_png);
    desk.put("drawings/two.txt", "a face, glasses");
}

const COPIER: &str = "copier --steps 2 --rank 2 --device cpu";

#[test]
fn a_copier_is_made_as_a_training_on_pictures_alone_makes_it() {
    let desk = Desk::new();
    drawings(&desk);
    let copier = format!("{COPIER} --set drawings --kind style --mirror --trigger ink");
    let ran = desk.run(&format!("{copier} --out one/x.safetensors"));
    assert_eq!(ran.exit, Some(2), "there is no such folder");
    desk.put("one/note.txt", "x");
    let ran = desk
        .run(&format!("{copier} --out one/x.safetensors"))
        .done();
    assert!(ran.stdout.contains("Saved the copier to"), "{}", ran.stdout);
    assert!(
        !ran.stderr.contains("UNet calls"),
        "no scores: {}",
        ran.stderr
    );
    desk.put("two/note.txt", "x");
    let train =
        "train --method copier --copier-steps 2 --copier-rank 2 --device cpu --set drawings";
    let same = "--alone --copier-kind style --mirror --trigger ink --out two/x.safetensors";
    desk.run(&format!("{train} {same}")).done();
    let [one, two] = ["one", "two"].map(|folder| {
        let path = desk.path(&format!("{folder}/x.safetensors"));
        std::fs::read(path).expect("a copier")
    });
    assert!(one == two, "bit for bit");
    let lora = read_lora(&desk.path("one/x.safetensors"));
    let recipe: Value = serde_json::from_str(&lora.metadata["mimeo.recipe"]).expect("a recipe");
    assert_eq!(recipe["copier"]["kind"], "style", "its kind");
}

#[test]
fn one_picture_is_enough_and_training_goes_on_from_it() {
    let desk = Desk::new();
    desk.run(&format!("{COPIER} --original a.png --out c.safetensors"))
        .done();
    let train = "train --method copier --steps 1 --original a.png --target b.png --device cpu";
    let more = "--no-score --no-calibrate --copier c.safetensors --out x.safetensors";
    desk.run(&format!("{train} {more}")).done();
    let again = format!("{COPIER} --original a.png --recipe c.safetensors --out d.safetensors");
    desk.run(&again).done();
    let weights = |name: &str| read_lora(&desk.path(name)).modules;
    assert_eq!(
        weights("c.safetensors"),
        weights("d.safetensors"),
        "its recipe"
    );
}

#[test]
fn what_is_trained_upon_a_style_is_measured_by_its_style_leak() {
    let desk = Desk::new();
    drawings(&desk);
    desk.put("prompts.txt", "brown hair\na mika, hat\n");
    desk.run(&format!(
        "{COPIER} --set drawings --kind style --out style.safetensors"
    ))
    .done();
    let train =
        "train --method copier --steps 4 --set drawings --alone --trigger mika --device cpu";
    let more = "--score-budget 0.02 --held-out prompts.txt --copier-strength 0.9";
    let train = format!("{train} {more} --copier style.safetensors --out x.safetensors");
    let ran = desk.run(&train).done();
    let told = "of the style is in 1 unseen pictures";
    assert!(ran.stdout.contains(told), "one names it: {}", ran.stdout);
    let lora = read_lora(&desk.path("x.safetensors"));
    let scores: Value = serde_json::from_str(&lora.metadata["mimeo.scores"]).expect("scores");
    for key in ["leak", "rest", "progress"] {
        assert!(scores["style"][key].is_number(), "{key} in {scores}");
    }
    let found = desk.run("inspect x.safetensors").done().stdout;
    assert!(found.contains("leak"), "{found}");
    let score =
        "score x.safetensors --original drawings/one.png --held-out prompts.txt --device cpu";
    let ran = desk
        .run(&format!("{score} --copier style.safetensors"))
        .done();
    assert!(ran.stdout.contains("Style leak"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("Edit gain"), "no pair: {}", ran.stdout);
    let sentence = desk.refused(score, 2);
    assert!(sentence.contains("--target"), "{sentence}");
}

#[test]
fn what_is_no_copier_is_refused_in_one_sentence() {
    let desk = Desk::new();
    drawings(&desk);
    for (arguments, words) in [
        ("--original a.png --mirror", "make it a copier of a style"),
        ("--original a.png --set drawings", "--set"),
        ("--kind style", "--original"),
        ("--set drawings --kind framing --target b.png", "--target"),
    ] {
        let sentence = desk.refused(&format!("{COPIER} {arguments} --out x.safetensors"), 2);
        assert!(sentence.contains(words), "{arguments}: {sentence}");
    }
    let ran = desk.run(&format!("{COPIER} --set drawings --out x.safetensors"));
    assert_eq!(ran.exit, Some(2), "two pictures: {}", ran.stderr);
    let sentence = ran.error();
    let words = "Choose --kind framing or --kind style";
    assert!(sentence.contains(words), "{sentence}");
    let sentence = desk.refused(&format!("{COPIER} --original a.png --out a.png"), 2);
    assert!(
        sentence.contains("what is read is never written over"),
        "{sentence}"
    );
}
