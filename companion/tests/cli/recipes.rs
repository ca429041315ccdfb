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
        ("--lr 0,001", "Learning rate must be a number between"),
        ("--lr 0,001", "Use a point for decimals"),
        ("--lr -1e-4", "Learning rate must be between"),
        (
            "--steps 1,000",
            "Steps must be a number between 1 and 100000",
        ),
        ("--steps 1.5", "Steps must be a whole number"),
        ("--rank -4", "Rank must be between 1 and 128, not -4"),
        ("--alpha inf", "Alpha must be between"),
        ("--batch-size 1e30", "Batch size must be between"),
        ("--seed -1", "No number stands for a random seed"),
        (
            "--seed 1.5",
            "Seed must be a whole number between 0 and 18446744073709551615",
        ),
        ("--clip 0", "To have none, write off"),
        ("--min-snr -1", "min-SNR gamma must be between"),
        ("--timesteps -1-500", "such as 500-1000"),
        ("--feather 2px", "no commas or units"),
        (
            "--method addift --multiplier 0",
            "Multiplier must be between 0.01 and 8",
        ),
        (
            "--method addift --multiplier nan",
            "Multiplier must be between -8 and 8, not NaN",
        ),
        (
            "--method addift --copier-steps 9",
            "--copier-steps belongs to method copier",
        ),
    ] {
        let sentence = desk.refused(&format!("train {QUICK} --out x.safetensors {flags}"), 2);
        assert!(sentence.contains(words), "{words:?} in: {sentence}");
    }
}

#[test]
fn numbers_that_draw_nothing_are_refused() {
    let desk = Desk::new();
    let sample = "sample --device cpu --prompt p --out x.png";
    for (flags, words) in [
        (
            "--lora x.safetensors:nan",
            "Strength must be between -8 and 8, not NaN",
        ),
        (
            "--lora x.safetensors:1e30",
            "Strength must be between -8 and 8",
        ),
        (
            "--lora x.safetensors:1,5",
            "Strength must be a number between -8 and 8, not",
        ),
        ("--seed -1", "No number stands for a random seed"),
        ("--steps 0", "Steps must be between 1 and 1000, not 0"),
        ("--steps 20,5", "Steps must be a number between 1 and 1000"),
        (
            "--guidance 7,5",
            "Guidance must be a number between 0 and 50",
        ),
        ("--guidance -1", "Guidance must be between 0 and 50, not -1"),
        ("--count many", "Count must be a number between 1 and 1000"),
        ("--width -64", "Width must be between 1 and"),
        ("--height 1e30", "Height must be between 1 and"),
    ] {
        let sentence = desk.refused(&format!("{sample} {flags}"), 2);
        assert!(sentence.contains(words), "{words:?} in: {sentence}");
    }
    for (command, words) in [
        (
            "grid --lora x.safetensors --out x.png --strengths -1,nan",
            "Strength must be between -8 and 8, not NaN",
        ),
        (
            "grid --lora x.safetensors --out x.png --scale 0",
            "Scale must be between 1 and 16",
        ),
        ("bench methods --seeds 0", "Seeds must be between 1 and 100"),
        (
            "bench service --idle-secs 0",
            "Idle seconds must be between 1 and",
        ),
        (
            "serve --port 65536",
            "Port must be between 0 and 65535, not 65536",
        ),
        (
            "serve --save-every 0,5",
            "Save every must be a number between 0 and 86400",
        ),
        ("serve --max-blobs -1", "Max blobs must be between 0 and"),
        (
            "serve --device-memory 1e30",
            "Device memory must be between 1 and",
        ),
    ] {
        let sentence = desk.refused(command, 2);
        assert!(sentence.contains(words), "{words:?} in: {sentence}");
    }
}

#[test]
fn what_begins_with_a_dash_is_named_with_what_to_write() {
    let desk = Desk::new();
    desk.put("-dash.png", crate::desk::pair().original_png);
    for command in [
        "train --original -dash.png --target b.png --out x.safetensors",
        "inspect -dash.png",
        "sample --prompt p --out -dash.png",
    ] {
        let sentence = desk.refused(command, 2);
        assert!(
            sentence.contains(r#""-dash.png" begins with a dash"#)
                && sentence.contains(r#""./-dash.png""#),
            "{command}: {sentence}"
        );
    }
    desk.put("-hat.png", crate::desk::pair().original_png);
    let sentence = desk.refused("inspect -hat.png", 2);
    assert!(sentence.contains(r#""./-hat.png""#), "no help: {sentence}");
    let sentence = desk.refused("sample --prompt -hat --negative -cap --out x.jpg", 2);
    assert!(
        sentence.contains("ends in .png"),
        "a prompt is taken: {sentence}"
    );
    // Written so, it is a file like any other: here one that is read, and not written over.
    for out in ["./-dash.png", "-dash.png"] {
        let command = format!("train {QUICK} --original ./-dash.png --overwrite --out={out}");
        let sentence = desk.refused(&command, 2);
        assert!(sentence.contains("--original reads this"), "{sentence}");
    }
}

#[test]
fn a_warm_up_that_is_never_over_is_told() {
    let desk = Desk::new();
    let ran = desk.train("--warmup 100 --out x.safetensors").done();
    assert!(
        ran.stderr
            .contains("The warm-up (100 steps) is not over when this pass ends (3 steps)"),
        "{}",
        ran.stderr
    );
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
        ("[pass]\nclip_norm = nan", "Gradient clipping must be"),
        ("[pass]\nlearning_rate = 0,001", "line 2"),
        (
            "[pass]\nlearning_rate = \"0,001\"",
            "Use a point for decimals",
        ),
        ("seed = -1", "No number stands for a random seed"),
        (
            "method = \"addift\"\n[addift]\nmultiplier = 0",
            "Multiplier must be between 0.01 and 8",
        ),
        (r#"{"seed": 1, "seed": 2}"#, "stands twice"),
    ] {
        desk.put("r.toml", text);
        let sentence = desk.refused(
            "train --original a.png --target b.png --device cpu --out x.safetensors --recipe r.toml",
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
fn a_recipe_file_is_read_as_windows_saves_it_and_what_is_none_is_named() {
    let desk = Desk::new();
    let utf_16 = |text: &str| {
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        [0xFF, 0xFE].into_iter().chain(units).collect::<Vec<u8>>()
    };
    let train = "train --original a.png --target b.png --device cpu --out x.safetensors --recipe r";
    for (name, file) in [
        ("r.json", utf_16(r#"{"pass": {"rank": 0}}"#)),
        ("r.toml", utf_16("[pass]\r\nrank = 0\r\n")),
        ("r.json", b"\xEF\xBB\xBF{\"pass\": {\"rank\": 0}}".to_vec()),
        ("r.toml", b"\xEF\xBB\xBF[pass]\r\nrank = 0\r\n".to_vec()),
    ] {
        desk.put(name, file);
        let extension = &name[1..];
        let sentence = desk.refused(&format!("{train}{extension}"), 2);
        let words = "Rank must be between 1 and 128";
        assert!(sentence.contains(words), "{words:?} in: {sentence}");
    }
    for (file, words) in [
        (
            &b""[..],
            "the recipe is an empty file; write what is to differ into it",
        ),
        (b" \n\t\n", "the recipe is an empty file"),
        (b"<!DOCTYPE html><title>Sign in", "the recipe is a web page"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "the recipe is a Git LFS pointer; fetch the file itself",
        ),
        (b"PK\x03\x04", "the recipe is a zip archive; unpack it"),
        (b"caf\xE9 = 1", "the recipe is no text in UTF-8 or UTF-16"),
    ] {
        desk.put("r.json", file);
        let sentence = desk.refused(&format!("{train}.json"), 2);
        assert!(sentence.contains(words), "{words:?} in: {sentence}");
        assert!(sentence.ends_with("\"r.json\""), "{sentence}");
    }
    let sentence = desk.refused(&format!("train {QUICK} --out x.safetensors --recipe ."), 2);
    let words = "this is a folder; choose the recipe in it";
    assert!(sentence.contains(words), "{words:?} in: {sentence}");
}

#[test]
fn a_recipe_that_sets_nothing_trains_and_says_so() {
    let desk = Desk::new();
    desk.put("r.toml", "# [pass]\n# rank = 4\n");
    let ran = desk.train("--recipe r.toml --out x.safetensors").done();
    assert!(
        ran.stderr.contains("The recipe sets nothing"),
        "{}",
        ran.stderr
    );
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
