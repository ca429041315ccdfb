//! The prompts that a LoRA is measured on.

use serde_json::Value;

use crate::desk::{Desk, QUICK, read_lora};

/// As [`QUICK`], with scores.
fn measured() -> String {
    QUICK.replace("--no-score", "--score-budget 10 --size 64")
}

/// What a LoRA on the desk says of its recipe.
fn prompts_of(desk: &Desk, name: &str) -> Value {
    let lora = read_lora(&desk.path(name));
    let recipe: Value = serde_json::from_str(&lora.metadata["mimeo.recipe"]).expect("a recipe");
    recipe["held_out_prompts"].clone()
}

#[test]
fn prompts_of_ones_own_are_measured_on_and_named_as_such() {
    let desk = Desk::new();
    let train = format!("train {} --out", measured());
    let own = desk.run(&format!("{train} own.safetensors")).done();
    assert!(own.stdout.contains("unseen pictures"), "{}", own.stdout);
    assert_eq!(prompts_of(&desk, "own.safetensors"), Value::Null, "none");

    desk.put(
        "prompts.txt",
        "# of people\nsmile, brown hair\n\n  hat, beard \n",
    );
    let given = desk.run(&format!("{train} x.safetensors --held-out prompts.txt"));
    let words = "of 2 pictures of the given prompts gained it";
    let given = given.done().stdout;
    assert!(given.contains(words), "{given}");
    let expected = serde_json::json!(["smile, brown hair", "hat, beard"]);
    assert_eq!(prompts_of(&desk, "x.safetensors"), expected, "in the file");

    let score = "--original a.png --target b.png --mask mask.png --device cpu";
    let again = desk.run(&format!("score x.safetensors {score}")).done();
    assert!(
        again.stdout.contains(words),
        "those of its recipe:\n{}",
        again.stdout
    );
    desk.put("one.txt", "glasses");
    let other = desk.run(&format!("score x.safetensors {score} --held-out one.txt"));
    let other = other.done().stdout;
    let words = "of 1 pictures of the given prompts gained it";
    assert!(other.contains(words), "others that are given:\n{other}");
}

#[test]
fn what_cannot_be_measured_on_is_refused_before_training() {
    let desk = Desk::new();
    desk.put("empty.txt", "# nothing\n\n");
    desk.put("many.txt", "a girl\n".repeat(33));
    desk.put("long.txt", "girl ".repeat(2000));
    desk.put("binary.txt", [0, 159, 146, 150]);
    for (file, words) in [
        (
            "empty.txt",
            "there is no prompt in it; write one on each line",
        ),
        (
            "many.txt",
            "33 held-out prompts are too many, 32 can be drawn",
        ),
        ("long.txt", "at most 20 can be read"),
        ("binary.txt", "the list of prompts is"),
        ("gone.txt", "the list of prompts cannot be read"),
    ] {
        let train = format!("train {} --held-out {file} --out x.safetensors", measured());
        let sentence = desk.refused(&train, 2);
        assert!(sentence.contains(words), "{file}: {sentence}");
    }
    desk.put("prompts.txt", "a girl");
    let train = format!("train {QUICK} --held-out prompts.txt --out x.safetensors");
    let sentence = desk.refused(&train, 2);
    assert!(sentence.contains("this run has neither"), "{sentence}");
    let calibrated = QUICK.replace("--no-calibrate", "--score-budget 20");
    let train = format!("train {calibrated} --held-out prompts.txt --out calibrated.safetensors");
    let ran = desk.run(&train);
    assert_eq!(
        ran.exit,
        Some(0),
        "what is calibrated asks them: {}",
        ran.stderr
    );
    let train = format!(
        "train {} --held-out prompts.txt --out prompts.txt",
        measured()
    );
    desk.refused(&train, 2);
}
