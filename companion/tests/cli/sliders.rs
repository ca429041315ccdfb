//! LoRAs of two prompts, and what is watched and found while any is trained.

use serde_json::{Value, json};

use crate::desk::{Desk, QUICK, read_lora};

/// A slider in a few quick steps.
const SLIDER: &str = "slider --target glasses --steps 4 --device cpu --out x.safetensors";

fn events<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let of_kind = |event: &&Value| event["event"] == kind;
    events.iter().filter(of_kind).collect()
}

#[test]
fn two_prompts_become_a_lora_that_is_measured_by_its_way() {
    let desk = Desk::new();
    desk.put("prompts.txt", "brown hair\nhat\n");
    let more = "--keep hat --keep beard --held-out prompts.txt --score-budget 1 --size 64";
    let ran = desk.run(&format!("{SLIDER} {more}")).done();
    for words in ["Progress", "from strength -", "of 255 is what pictures"] {
        assert!(ran.stdout.contains(words), "{words} in:\n{}", ran.stdout);
    }
    let lora = read_lora(&desk.path("x.safetensors"));
    let recipe: Value = serde_json::from_str(&lora.metadata["mimeo.recipe"]).expect("a recipe");
    assert_eq!(recipe["method"], "slider", "its method");
    let expected = json!({"target": "glasses", "keep": ["hat", "beard"]});
    assert_eq!(recipe["slider"], expected, "and its prompts");
    assert!(!lora.metadata.contains_key("mimeo.pair"), "no pictures");
    let first = std::fs::read(desk.path("x.safetensors")).expect("the LoRA");

    let again =
        "slider --recipe x.safetensors --held-out prompts.txt --device cpu --out y.safetensors";
    desk.run(again).done();
    let second = std::fs::read(desk.path("y.safetensors")).expect("the LoRA");
    let weights = |bytes: Vec<u8>| bytes[bytes.len() - 10_000..].to_vec();
    assert!(
        weights(first) == weights(second),
        "its recipe makes it again"
    );
}

#[test]
fn what_is_no_slider_is_refused_in_one_sentence() {
    let desk = Desk::new();
    for (arguments, words) in [
        ("--target glasses --original glasses", "are the same"),
        (
            "--target glasses --method plain",
            "Train it with mimeo train.",
        ),
        ("--target glasses --feather 3", "--feather is for pictures"),
        ("--target glasses --timesteps 3-5", "Widen the window"),
    ] {
        let sentence = desk.refused(
            &format!("slider {arguments} --device cpu --out x.safetensors"),
            2,
        );
        assert!(sentence.contains(words), "{arguments}: {sentence}");
    }
    desk.put("slider.toml", "method = \"slider\"");
    let train = format!("train {QUICK} --recipe slider.toml --out x.safetensors");
    let train = train.replace("--method plain", "");
    let sentence = desk.refused(&train, 2);
    assert!(
        sentence.contains("Train it with mimeo slider."),
        "{sentence}"
    );
}

#[test]
fn a_run_that_is_only_watched_makes_the_lora_that_it_makes_alone() {
    let desk = Desk::new();
    let train = |more: &str| {
        let steps =
            "--method addift --steps 80 --no-score --no-calibrate --size 64 --device cpu --json";
        let pair = "--original a.png --target b.png --mask mask.png";
        let ran = desk.run(&format!("train {pair} {steps} {more}")).done();
        (ran.events(), ran)
    };
    train("--out alone.safetensors");
    let (told, _) = train("--out watched.safetensors --leak-every 40");
    let weights = |name: &str| read_lora(&desk.path(name)).modules;
    assert_eq!(
        weights("alone.safetensors"),
        weights("watched.safetensors"),
        "its weights"
    );
    let leaks = events(&told, "leak");
    let steps: Vec<_> = leaks.iter().map(|leak| leak["step"].as_u64()).collect();
    assert_eq!(steps, [Some(40), Some(80)], "every so many steps");
    for leak in leaks {
        let share = |of: &str| leak[of].as_f64().expect("a number");
        let (intended, unintended) = (share("intended"), share("unintended"));
        assert!(intended > 0.1, "there is an effect: {leak}");
        assert!(
            unintended < intended,
            "most of it where it is meant: {leak}"
        );
    }
}

#[test]
fn a_lora_that_is_held_to_the_base_leaks_less() {
    let desk = Desk::new();
    let leak = |name: &str, hold: &str| {
        let train = "train --method addift --addift-loss prediction --steps 80 --no-score --no-calibrate --device cpu --json";
        let pair = "--original a.png --target b.png --mask mask.png --leak-every 80";
        let run = desk.run(&format!("{train} {pair} {hold} --out {name}"));
        let told = run.done().events();
        let [leak] = events(&told, "leak")[..] else {
            panic!("told once: {told:?}");
        };
        let share = |of: &str| leak[of].as_f64().expect("a number");
        share("unintended") / share("intended")
    };
    let (free, held) = (
        leak("free.safetensors", ""),
        leak("held.safetensors", "--hold 0.1"),
    );
    assert!(held < free * 0.8, "{held} of {free}");
    let lora = read_lora(&desk.path("held.safetensors"));
    let recipe: Value = serde_json::from_str(&lora.metadata["mimeo.recipe"]).expect("a recipe");
    assert_eq!(recipe["hold"]["weight"], 0.1, "as asked");
}

#[test]
fn timesteps_that_are_found_are_told_and_trained() {
    let desk = Desk::new();
    let pair = "--original a.png --target b.png --mask mask.png --device cpu --json";
    let train = "train --method addift --steps 4 --no-score --no-calibrate";
    let run = |out: &str| desk.run(&format!("{train} {pair} --auto-timesteps --out {out}"));
    let told = run("x.safetensors").done().events();
    let [response] = events(&told, "response")[..] else {
        panic!("told once: {told:?}");
    };
    let window = &response["window"];
    let lora = read_lora(&desk.path("x.safetensors"));
    let recipe: Value = serde_json::from_str(&lora.metadata["mimeo.recipe"]).expect("a recipe");
    assert_eq!(recipe["auto_timesteps"], true, "as asked");
    assert_eq!(recipe["pass"]["timesteps"], *window, "what was found");
    let shares = response["response"].as_array().expect("a curve");
    let (first, last) = (shares[0].as_f64(), shares[shares.len() - 1].as_f64());
    assert!(
        first > Some(0.9) && last < Some(0.5),
        "it falls: {shares:?}"
    );
    run("y.safetensors").done();
    let files = desk.files();
    let bytes = |name: &str| files[&desk.path(name)].clone();
    let weights = |bytes: Vec<u8>| bytes[bytes.len() - 10_000..].to_vec();
    assert!(
        weights(bytes("x.safetensors")) == weights(bytes("y.safetensors")),
        "the same again"
    );
}
