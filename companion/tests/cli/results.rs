//! What comes out when all is well.

use std::fs;

use mimeo_image::decode;
use mimeo_protocol::BlobId;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::checkpoints::file_of;
use crate::desk::{Desk, QUICK, Ran, read_lora, trained};

#[test]
fn the_same_seed_gives_the_same_file_bit_for_bit() {
    let desk = Desk::new();
    fs::create_dir(desk.path("again")).expect("a folder");
    let train = |out: &str, seed: u32| {
        desk.train(&format!("--seed {seed} --out {out}")).done();
        fs::read(desk.path(out)).expect("the LoRA")
    };
    let first = train("x.safetensors", 1);
    assert!(first == train("again/x.safetensors", 1), "the same seed");
    assert!(first != train("y.safetensors", 2), "another seed");
}

#[test]
fn the_number_of_cores_changes_no_bit() {
    let desk = Desk::new();
    let train = |cores: &str| {
        // Three rows, so that the last task of a batch has fewer than the others.
        let quick = QUICK.replace("--batch-size 1", "--batch-size 3");
        let mut command = desk.mimeo(&format!("train {quick} --overwrite --out x.safetensors"));
        let command = command.env("RAYON_NUM_THREADS", cores);
        Ran::from(command.output().expect("the program starts")).done();
        fs::read(desk.path("x.safetensors")).expect("the LoRA")
    };
    assert!(train("1") == train("3"), "one core and three");
}

#[test]
fn every_method_trains_and_tells_machines_what_happens() {
    let desk = Desk::new();
    for (method, more) in [
        ("plain", ""),
        ("addift", ""),
        ("copier", "--copier-steps 2 --save-copier pass1.safetensors"),
    ] {
        let ran = desk
            .train(&format!(
                "--json --method {method} {more} --out {method}.safetensors"
            ))
            .done();
        let events = ran.events();
        let kinds: Vec<&str> = events
            .iter()
            .filter_map(|event| event["event"].as_str())
            .collect();
        for kind in ["device", "phase", "step", "result"] {
            assert!(kinds.contains(&kind), "{kind} in {kinds:?}");
        }
        let result = events.last().expect("a result");
        assert_eq!(result["event"], "result", "the result comes last");
        assert_eq!(result["outcome"], "finished", "{result}");
        assert_eq!(result["out"], format!("{method}.safetensors"), "{result}");
        read_lora(&desk.path(&format!("{method}.safetensors")));
    }
    read_lora(&desk.path("pass1.safetensors"));
    let arguments = "--method copier --copier pass1.safetensors --out reused.safetensors --json";
    let ran = desk.train(arguments).done();
    let phases: Vec<Value> = ran
        .events()
        .iter()
        .map(|event| event["phase"].clone())
        .collect();
    assert!(
        !phases.contains(&"copier".into()),
        "a finished copier is not trained again"
    );
}

#[test]
fn a_lora_is_inspected() {
    let desk = Desk::new();
    desk.put("x.safetensors", trained());
    let text = desk.run("inspect x.safetensors").done().stdout;
    for words in [
        "LoRA for a small model",
        "Rank     8",
        "Strongest modules",
        "Recipe",
        "ss_network_dim = 8",
        "Pair (SHA-256 of the files)\n  original = ",
        "modelspec.thumbnail = yes, ",
    ] {
        assert!(text.contains(words), "{words:?} in:\n{text}");
    }
    let json = desk.run("inspect --json x.safetensors").done();
    let findings = &json.events()[0];
    let hash = |name: &str| {
        let bytes = fs::read(desk.path(name)).expect("a picture");
        BlobId::from_sha256(Sha256::digest(bytes).into()).to_string()
    };
    assert_eq!(
        findings["pair"],
        json!({ "original": hash("a.png"), "target": hash("b.png"), "mask": hash("mask.png") }),
        "the files that it was trained on"
    );
    let thumbnail = findings["metadata"]["modelspec.thumbnail"].as_str();
    let thumbnail = thumbnail.expect("a thumbnail");
    assert!(
        thumbnail.starts_with("data:image/jpeg;base64,") && thumbnail.len() < 16 << 10,
        "small: {} bytes",
        thumbnail.len()
    );
    let norms: Vec<f64> = findings["modules"]
        .as_array()
        .expect("modules")
        .iter()
        .filter_map(|module| module["norm"].as_f64())
        .collect();
    assert!(norms[0] > 0.0, "it was trained: {norms:?}");
    assert!(
        norms.is_sorted_by(|a, b| a >= b),
        "the strongest first: {norms:?}"
    );
}

#[test]
fn a_base_is_inspected() {
    let desk = Desk::new();
    for (path, bytes) in mimeo_base::files() {
        desk.put(&format!("base/{path}"), bytes);
    }
    let unet = "base/unet/diffusion_pytorch_model.safetensors";
    for path in ["base", unet] {
        let text = desk.run(&format!("inspect {path}")).done().stdout;
        assert!(
            text.contains("Checkpoint: a small model built like Stable Diffusion 1.x"),
            "{text}"
        );
    }
}

#[test]
fn pictures_are_drawn_the_same_from_the_same_seed() {
    let desk = Desk::new();
    desk.put("x.safetensors", trained());
    let draw = "sample --device cpu --prompt smile --steps 2";
    desk.run(&format!("{draw} --seed 4 --count 2 --out img.png"))
        .done();
    desk.run(&format!("{draw} --seed 5 --out five.png")).done();
    desk.run(&format!(
        "{draw} --seed 5 --lora x.safetensors:8 --sampler euler --out lora.png"
    ))
    .done();
    let read = |name: &str| {
        decode(&fs::read(desk.path(name)).expect(name))
            .expect(name)
            .picture
    };
    assert_eq!(
        (read("img-4.png").width(), read("img-4.png").height()),
        (128, 128),
        "the base's size"
    );
    assert!(
        read("img-5.png").pixels() == read("five.png").pixels(),
        "the same seed"
    );
    assert!(
        read("img-4.png").pixels() != read("img-5.png").pixels(),
        "another seed"
    );
    assert!(
        read("lora.png").pixels() != read("five.png").pixels(),
        "a LoRA"
    );
}

#[test]
fn a_size_that_the_base_cannot_draw_is_refused() {
    let sentence = Desk::new().refused("sample --device cpu --prompt p --width 100 --out i.png", 2);
    assert!(sentence.contains("multiples of 32"), "{sentence}");
}

/// That it is the same start as another program's is `tests/reference/check_readers.py`'s to show.
#[test]
fn noise_from_a_file_is_what_a_picture_starts_from() {
    let desk = Desk::new();
    let numbers = |first: f32| {
        let values = (0_u16..4 * 16 * 16).map(|i| first + f32::from(i % 7) / 4.0);
        values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>()
    };
    let tensor = |shape: [u16; 4]| json!({ "dtype": "F32", "shape": shape });
    let (one, other) = (numbers(-1.0), numbers(-0.5));
    let noise = |bytes| file_of([("noise".to_owned(), tensor([1, 4, 16, 16]), bytes)]);
    desk.put("one.safetensors", noise(&one));
    desk.put("other.safetensors", noise(&other));
    let draw = "sample --device cpu --prompt smile --steps 2 --overwrite --out i.png";
    let drawn = |file: &str| {
        desk.run(&format!("{draw} --noise {file}")).done();
        fs::read(desk.path("i.png")).expect("the picture")
    };
    let first = drawn("one.safetensors");
    assert!(first == drawn("one.safetensors"), "the same noise");
    assert!(first != drawn("other.safetensors"), "another noise");

    desk.put(
        "tall.safetensors",
        file_of([("noise".to_owned(), tensor([1, 4, 32, 8]), &*one)]),
    );
    let sentence = desk.refused(&format!("{draw} --noise tall.safetensors"), 2);
    assert!(
        sentence.contains("[1, 4, 32, 8]") && sentence.contains("[1, 4, 16, 16]"),
        "{sentence}"
    );
    let pair = ["a", "b"].map(|name| (name.to_owned(), tensor([1, 4, 16, 16]), &*one));
    desk.put("two.safetensors", file_of(pair));
    let sentence = desk.refused(&format!("{draw} --noise two.safetensors"), 2);
    assert!(sentence.contains("2 tensors"), "{sentence}");
}

#[test]
fn a_grid_is_drawn() {
    let desk = Desk::new();
    desk.put("x.safetensors", trained());
    let arguments = "grid --device cpu --lora x.safetensors --prompt smile --prompt glasses --steps 2 \
                     --strengths -1,0,1 --scale 1 --out sheet.png";
    desk.run(arguments).done();
    let sheet = decode(&fs::read(desk.path("sheet.png")).expect("the sheet"))
        .expect("PNG")
        .picture;
    assert!(
        sheet.width() > 3 * 128 && sheet.height() > 2 * 128,
        "three columns, two rows"
    );
}

#[test]
fn a_lora_is_scored() {
    let desk = Desk::new();
    desk.put("x.safetensors", trained());
    let arguments =
        "score x.safetensors --device cpu --original a.png --target b.png --mask mask.png";
    let text = desk.run(arguments).done().stdout;
    for row in ["Edit gain", "Spill", "Held-out", "Linearity"] {
        assert!(text.contains(row), "{row} in:\n{text}");
    }
}

#[test]
fn an_unknown_pair_is_refused_with_what_there_is() {
    let sentence = Desk::new().refused("bench methods --pairs moustache", 2);
    assert!(
        sentence.contains("glasses") && sentence.contains("small_head"),
        "{sentence}"
    );
}

#[test]
fn machines_get_errors_too() {
    let desk = Desk::new();
    for arguments in ["inspect --json no.safetensors", "train --json"] {
        let ran = desk.run(arguments);
        assert_eq!(ran.exit, Some(2), "{arguments}");
        let events = ran.events();
        let event = events.last().expect("an event");
        assert_eq!(event["event"], "error", "{arguments}");
        let message = event["message"].as_str().expect("a message");
        assert_eq!(
            format!("error: {message}"),
            ran.error(),
            "the same sentence"
        );
    }
}
