//! Numbers, recipe files and flags.

use std::fs;

use serde_json::Value;

use crate::desk::{Desk, QUICK};

#[test]
fn numbers_that_train_nothing_are_refused() {
    let desk = Desk::new();
    for (flags, words) in [
        ("--rank 0", "Rank must be between 1 and 128"),
        ("--steps 0", "Steps must be between 1 and"),
        ("--lr nan", "Learning rate must be between"),
        ("--timesteps 500-500", "First timestep"),
        ("--method magic", "magic"),
        ("--device toaster", "toaster"),
        ("--stepz 3", "--stepz"),
    ] {
        let sentence = desk.refused(&format!("train {QUICK} --out x.safetensors {flags}"), 2);
        assert!(sentence.contains(words), "{words:?} in: {sentence}");
    }
}

#[test]
fn a_missing_argument_is_named() {
    let sentence = Desk::new().refused("train --original a.png --out x.safetensors", 2);
    assert!(sentence.contains("--target"), "{sentence}");
}

#[test]
fn a_recipe_file_with_a_mistake_is_refused_by_key_and_file() {
    let desk = Desk::new();
    for (text, words) in [
        ("[pass]\nrank = 0", "pass.rank"),
        ("[pass]\nsteps = 0", "pass.steps"),
        ("[pass]\nstepz = 5", "pass.stepz"),
        ("pass = = 5", "line 1"),
        (r#"{"pass": {"rank": "many"}}"#, "pass.rank"),
    ] {
        desk.put("r.toml", text);
        let sentence = desk.refused(
            &format!("train {QUICK} --out x.safetensors --recipe r.toml"),
            2,
        );
        assert!(sentence.contains(words), "{words:?} in: {sentence}");
        assert!(
            sentence.ends_with("\"r.toml\""),
            "the file last: {sentence}"
        );
    }
    let sentence = desk.refused(
        &format!("train {QUICK} --out x.safetensors --recipe no.toml"),
        2,
    );
    assert!(sentence.ends_with("\"no.toml\""), "{sentence}");
}

#[test]
fn copier_flags_without_a_copier_are_refused() {
    let desk = Desk::new();
    let arguments = format!("train {QUICK} --out x.safetensors --save-copier c.safetensors");
    let sentence = desk.refused(&arguments, 2);
    assert!(
        sentence.contains("--save-copier belongs to method copier"),
        "{sentence}"
    );
}

#[test]
fn the_recipe_of_a_lora_trains_the_same_file_again() {
    let desk = Desk::new();
    desk.train("--seed 5 --rank 3 --clip off --prompt smile\u{2603} --out x.safetensors")
        .done();
    let inspected = desk.run("inspect --json x.safetensors").done();
    let [Value::Object(findings)] = &inspected.events()[..] else {
        panic!("one line: {}", inspected.stdout);
    };
    let recipe = &findings["recipe"];
    assert_eq!(recipe["pass"]["rank"], 3, "what was trained: {recipe}");
    desk.put("r.json", recipe.to_string());
    let expected = fs::read(desk.path("x.safetensors")).expect("the first");

    fs::create_dir(desk.path("again")).expect("a folder");
    for source in ["r.json", "x.safetensors"] {
        desk.run(&format!(
            "train --original a.png --target b.png --mask mask.png --device cpu --no-score \
             --recipe {source} --out again/x.safetensors --overwrite"
        ))
        .done();
        let again = fs::read(desk.path("again/x.safetensors")).expect("the second");
        assert!(again == expected, "{source} gives another file");
    }
}
