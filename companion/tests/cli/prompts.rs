//! Prompts as people bring them along from other programs.

use std::collections::BTreeSet;
use std::fs;

use mimeo_checkpoint::metadata::RECIPE;
use mimeo_image::decode;
use mimeo_protocol::{Method, ModelSize, Recipe, Steps};

use crate::desk::{Desk, QUICK, Ran, read_lora};

/// Draws a prompt, with `more` on the command line; the pixels, and what was said.
fn draw(desk: &Desk, prompt: &str, more: &str) -> (Vec<u8>, Vec<String>) {
    let draw = "sample --device cpu --steps 2 --seed 1 --overwrite --out i.png";
    let mut command = desk.mimeo(&format!("{draw} {more}"));
    let output = command.args(["--prompt", prompt]).output();
    let ran = Ran::from(output.expect("the program starts")).done();
    let file = fs::read(desk.path("i.png")).expect("the picture");
    let picture = decode(&file).expect("PNG").picture;
    (picture.pixels().to_vec(), notes(&ran))
}

fn notes(ran: &Ran) -> Vec<String> {
    let lines = ran.stderr.lines();
    let notes = lines.filter_map(|line| line.strip_prefix("Note: "));
    notes.map(str::to_owned).collect()
}

#[test]
fn a_long_prompt_is_read_to_its_end_and_said_once() {
    let desk = Desk::new();
    let long = "glasses, ".repeat(48);
    let (hat, said) = draw(&desk, &format!("{long}hat"), "");
    assert_eq!(
        said,
        [
            "The prompt \"glasses, glasses, glasses, glasses, glas…\" has 97 tokens and is read in 2 chunks of up to 75."
        ],
        "once"
    );
    let (beard, _) = draw(&desk, &format!("{long}beard"), "");
    assert!(hat != beard, "the 97th token counts");
    let away = |words: &str| {
        draw(
            &desk,
            "hat",
            &format!("--negative {}{words}", "a,".repeat(60)),
        )
    };
    let (from_red, said) = away("red");
    assert!(
        said.len() == 1 && said[0].contains("121 tokens"),
        "{said:?}"
    );
    assert!(
        from_red != away("blue").0,
        "so does the last to keep away from"
    );

    let mut several = desk.mimeo("sample --device cpu --steps 1 --count 3 --out j.png");
    let output = several.args(["--prompt", &long]).output();
    let ran = Ran::from(output.expect("the program starts")).done();
    assert_eq!(
        notes(&ran).len(),
        1,
        "once for all pictures: {}",
        ran.stderr
    );
}

#[test]
fn emphasis_is_what_the_syntax_makes_of_it() {
    let desk = Desk::new();
    let pixels = |prompt: &str, syntax: &str| {
        let (pixels, said) = draw(&desk, prompt, &format!("--prompt-syntax {syntax}"));
        assert_eq!(said, [""; 0], "nothing to say of {prompt}");
        pixels
    };
    let weighted = "(glasses:1.8), smile";
    let different: BTreeSet<Vec<u8>> = [
        pixels("glasses, smile", "a1111"),
        pixels(weighted, "a1111"),
        pixels(weighted, "comfy"),
        pixels(weighted, "plain"),
        pixels("[glasses], smile", "a1111"),
        // Which is two chunks, and said.
        draw(&desk, "glasses BREAK smile", "").0,
    ]
    .into();
    assert_eq!(different.len(), 6, "all of them");

    let default = draw(&desk, weighted, "").0;
    assert!(
        default == pixels(weighted, "a1111"),
        "unless asked otherwise"
    );
    for syntax in ["a1111", "comfy", "plain"] {
        let same = pixels("glasses, smile", syntax) == pixels("glasses, smile", "a1111");
        assert!(same, "words are words in {syntax}");
    }
    for syntax in ["a1111", "comfy"] {
        let letters = pixels("glasses (round), smile", "plain");
        let escaped = pixels(r"glasses \(round\), smile", syntax);
        assert!(
            escaped == letters,
            "escaped brackets are letters in {syntax}"
        );
    }
    let sentence = desk.refused(
        "sample --device cpu --prompt x --prompt-syntax invoke --out k.png",
        2,
    );
    assert!(sentence.contains("a1111, comfy, plain"), "{sentence}");
}

#[test]
fn what_a_prompt_cannot_say_is_told_by_name() {
    let desk = Desk::new();
    let (smile, _) = draw(&desk, "smile", "");
    for (prompt, part) in [
        ("smile<lora:x:1>", "“<lora:x:1>” is left out of the prompt"),
        ("[hat:smile:0.5]", "“[hat:smile:0.5]” as “smile”"),
        ("[smile|hat]", "“[smile|hat]” as “smile”"),
    ] {
        let (pixels, said) = draw(&desk, prompt, "");
        assert!(
            said.len() == 1 && said[0].contains(part),
            "{part} in {said:?}"
        );
        assert!(pixels == smile, "{prompt} is read as a smile");
    }
    let (_, said) = draw(&desk, "a cat AND a dog, {red|blue}", "");
    assert_eq!(said.len(), 2, "{said:?}");
    let endless = "BREAK,".repeat(30);
    let sentence = desk.refused(
        &format!("sample --device cpu --prompt {endless} --out k.png"),
        2,
    );
    assert!(sentence.contains("Shorten it"), "{sentence}");
}

#[test]
fn every_method_trains_under_a_long_prompt_with_weights() {
    let desk = Desk::new();
    for (method, more) in [
        ("plain", ""),
        ("addift", ""),
        ("copier", "--copier-steps 2"),
    ] {
        let train = format!("train {QUICK} --method {method} {more} --out {method}.safetensors");
        let mut command = desk.mimeo(&train);
        let output = command.args(["--prompt", "(glasses:1.3) BREAK smile <lora:x:1>"]);
        let ran = Ran::from(output.output().expect("the program starts")).done();
        let said = notes(&ran);
        for part in ["read in 2 chunks", "“<lora:x:1>” is left out"] {
            let told = said.iter().filter(|note| note.contains(part)).count();
            assert_eq!(told, 1, "{part} once in {said:?} of {method}");
        }
        let lora = read_lora(&desk.path(&format!("{method}.safetensors")));
        assert!(
            lora.metadata[RECIPE].contains("\"prompt_syntax\":\"a1111\""),
            "the file says how its prompt was read"
        );
    }
}

#[test]
fn a_recipe_from_before_prompts_had_a_syntax_trains_what_it_trained() {
    let desk = Desk::new();
    let mut recipe = Recipe::preset(Method::Plain, ModelSize::Small);
    recipe.prompt = format!("(glasses:1.6){}", " smile".repeat(100));
    recipe.pass.steps = Steps::constant(2);
    recipe.calibrate = false;
    let with = |syntax: Option<&str>| {
        let mut recipe = serde_json::to_value(&recipe).expect("plain data");
        let fields = recipe.as_object_mut().expect("a table");
        fields.remove("prompt_syntax");
        if let Some(syntax) = syntax {
            fields.insert("prompt_syntax".to_owned(), syntax.into());
        }
        recipe
    };
    let train = |recipe: serde_json::Value| {
        desk.put("r.json", recipe.to_string());
        let pair = "--original a.png --target b.png --mask mask.png --no-score --device cpu";
        let ran = desk.run(&format!(
            "train {pair} --recipe r.json --overwrite --out x.safetensors"
        ));
        (notes(&ran.done()), read_lora(&desk.path("x.safetensors")))
    };

    let (said, old) = train(with(None));
    for part in [
        "of which the first 75 are read",
        "from before prompts had a syntax",
    ] {
        assert!(
            said.iter().any(|note| note.contains(part)),
            "{part} in {said:?}"
        );
    }
    assert!(
        !old.metadata[RECIPE].contains("prompt_syntax"),
        "its recipe is as old as it was"
    );
    let mut cut = with(Some("plain"));
    // The first 75 tokens: seven for the bracket and what is in it, and 68 smiles.
    let read: String = recipe.prompt.chars().take(13 + 68 * 6).collect();
    cut["prompt"] = read.into();
    let (_, letters) = train(cut);
    assert!(old.modules == letters.modules, "letter by letter, and cut");
    let (_, new) = train(with(Some("a1111")));
    assert!(old.modules != new.modules, "where a new recipe reads all");
}
