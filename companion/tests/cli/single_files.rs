//! A base in one file, as people share them.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use mimeo_checkpoint::metadata::BASE_HASH;
use mimeo_checkpoint::{DiskFile, LoraFile, sha256_of};
use mimeo_engine::runtime::block_on;
use serde_json::{Value, json};

use crate::checkpoints::{file_of, pickle, refused_base, safetensors, tensors};
use crate::desk::{Desk, QUICK, read_lora, trained};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/single");

/// Rows of a miniature's token embedding, and how often they make CLIP's vocabulary.
const TOKENS: usize = 64;
const TIMES: usize = 772;

/// A file of the miniature with CLIP's whole vocabulary instead of a few tokens.
fn with_vocabulary(file: &[u8]) -> Vec<u8> {
    let mut tensors = tensors(file);
    let is_embedding = |name: &str| name.ends_with("token_embedding.weight");
    let place = tensors.iter().position(|(name, ..)| is_embedding(name));
    let (_, entry, rows) = &mut tensors[place.expect("an embedding")];
    let rows: Vec<u8> = rows.repeat(TIMES);
    entry["shape"][0] = json!(TOKENS * TIMES);
    let embedding = place.expect("an embedding");
    let whole = tensors.iter().enumerate().map(|(place, tensor)| {
        let (name, entry, bytes) = tensor.clone();
        let bytes = if place == embedding { &rows } else { bytes };
        (name, entry, bytes)
    });
    file_of(whole)
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{FIXTURES}/{name}")).expect("a fixture")
}

/// Stable Diffusion 1 in miniature on the desk, as `one.safetensors` and as the folder `many`.
fn put_twins(desk: &Desk) {
    desk.put(
        "one.safetensors",
        with_vocabulary(&fixture("sd1.safetensors")),
    );
    for path in [
        "scheduler/scheduler_config.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ] {
        desk.put(&format!("many/{path}"), fixture(&format!("sd1/{path}")));
    }
    let weights = fixture("sd1/text_encoder/model.safetensors");
    desk.put(
        "many/text_encoder/model.safetensors",
        with_vocabulary(&weights),
    );
    let config = fixture("sd1/text_encoder/config.json");
    let mut config: Value = serde_json::from_slice(&config).expect("JSON");
    config["vocab_size"] = json!(TOKENS * TIMES);
    desk.put("many/text_encoder/config.json", config.to_string());
    let others = mimeo_base::files().iter();
    for (path, bytes) in
        others.filter(|(path, _)| path.starts_with("tokenizer/") || *path == "model_index.json")
    {
        desk.put(&format!("many/{path}"), bytes);
    }
}

const DRAW: &str = "sample --device cpu --prompt smile --steps 2 --width 64 --height 64 --overwrite \
                    --out i.png";

/// The picture that a base draws, and what is said meanwhile.
fn drawn(desk: &Desk, arguments: &str) -> (Vec<u8>, String) {
    let ran = desk.run(&format!("{DRAW} {arguments}")).done();
    let picture = std::fs::read(desk.path("i.png")).expect("a picture");
    (picture, ran.stderr)
}

#[test]
fn a_single_file_draws_what_its_folder_draws() {
    let desk = Desk::new();
    put_twins(&desk);
    let (of_folder, said) = drawn(&desk, "--base many");
    assert!(!said.contains("is read as"), "nothing was guessed: {said}");
    let (of_file, said) = drawn(&desk, "--base one.safetensors");
    assert!(of_file == of_folder, "the same picture");
    let words = "read as a small model built like Stable Diffusion 1.x that predicts noise";
    assert!(said.contains(words), "{said}");

    let velocity = "--base one.safetensors --prediction-type v_prediction";
    let (of_velocity, said) = drawn(&desk, velocity);
    assert!(of_velocity != of_file, "another arithmetic");
    assert!(said.contains("as you say, it predicts velocity"), "{said}");

    let one = std::fs::read(desk.path("one.safetensors")).expect("the file");
    let parts = tensors(&one).into_iter();
    let (vae, rest): (Vec<_>, Vec<_>) =
        parts.partition(|(name, ..)| name.starts_with("first_stage_model."));
    desk.put("rest.safetensors", file_of(rest));
    desk.put("vae.safetensors", file_of(vae));
    refused_base(&desk, "rest.safetensors", "holds no VAE");
    refused_base(&desk, "rest.safetensors", "--vae FILE");
    let (with_vae, said) = drawn(&desk, "--base rest.safetensors --vae vae.safetensors");
    assert!(with_vae == of_file, "the same VAE");
    assert!(
        said.contains("its VAE is taken from another file"),
        "{said}"
    );
    let overwritten = format!("{DRAW} --base rest.safetensors --vae i.png");
    let sentence = desk.refused(&overwritten, 2);
    assert!(
        sentence.contains("--vae"),
        "an input is no output: {sentence}"
    );

    let found = desk.run("inspect one.safetensors").done().stdout;
    assert!(found.contains("Checkpoint: a small model"), "{found}");
    let xl = format!("inspect {FIXTURES}/sdxl.safetensors");
    let found = desk.run(&xl).done().stdout;
    for words in ["built like Stable Diffusion XL", "\"v_pred\"", "pure noise"] {
        assert!(found.contains(words), "{words} in: {found}");
    }
}

#[test]
fn a_single_file_is_trained_upon() {
    let desk = Desk::new();
    put_twins(&desk);
    desk.train("--base one.safetensors --size 64 --out one.lora.safetensors")
        .done();
    let lora = desk.path("one.lora.safetensors");
    let file = DiskFile::open(&lora).expect("the LoRA");
    let lora = block_on(LoraFile::read(Box::new(file))).expect("a LoRA");
    assert_eq!(
        lora.modules.len(),
        192,
        "every module of Stable Diffusion 1"
    );
    let one = DiskFile::open(desk.path("one.safetensors")).expect("the base");
    let hash = block_on(sha256_of(&one)).expect("its hash");
    assert_eq!(lora.metadata[BASE_HASH], hash, "which base it was");
}

#[test]
fn what_is_said_of_a_base_trains_as_the_base_that_says_it() {
    let desk = Desk::new();
    put_twins(&desk);
    // The folder once more, with a schedule that says it.
    let files = desk.files();
    let many = desk.path("many");
    for (path, bytes) in files {
        let Ok(inner) = path.strip_prefix(&many) else {
            continue;
        };
        let text = String::from_utf8_lossy(&bytes).replace("\"epsilon\"", "\"v_prediction\"");
        let is_schedule = inner.ends_with("scheduler_config.json");
        let bytes = if is_schedule {
            text.into_bytes()
        } else {
            bytes
        };
        desk.put(&format!("velocity/{}", inner.display()), bytes);
    }
    for method in ["plain", "addift"] {
        let train = |base: &str| {
            let quick = QUICK.replace("--method plain", &format!("--method {method} --size 64"));
            let run = format!("train {quick} --base {base} --overwrite --out x.safetensors");
            let ran = desk.run(&run).done();
            (read_lora(&desk.path("x.safetensors")), ran.stderr)
        };
        let (noise, _) = train("one.safetensors");
        let (said, notes) = train("one.safetensors --prediction-type v_prediction");
        let (told, _) = train("velocity");
        assert!(
            notes.contains("as you say, it predicts velocity"),
            "{notes}"
        );
        assert_eq!(said.modules, told.modules, "{method}: bit for bit");
        assert_ne!(said.modules, noise.modules, "{method}: another LoRA");
        assert_eq!(said.metadata["ss_v_parameterization"], "True", "{method}");
        assert_eq!(told.metadata["ss_v_parameterization"], "True", "{method}");
    }
    let train = |base: &str| {
        desk.train(&format!(
            "--base {base} --size 64 --prompt smile --overwrite --out y.safetensors"
        ))
        .done();
        read_lora(&desk.path("y.safetensors"))
    };
    let skipping = train("one.safetensors --clip-skip 2");
    assert_eq!(skipping.metadata["ss_clip_skip"], "2", "as kohya writes it");
    let last = train("one.safetensors --clip-skip base");
    assert!(!last.metadata.contains_key("ss_clip_skip"), "not said");
    assert_ne!(skipping.modules, last.modules, "another layer");
    desk.put("recipe.toml", "prediction_type = \"v\"\nclip_skip = 2\n");
    desk.train("--base one.safetensors --recipe recipe.toml --out r.safetensors")
        .done();
    let recipe = read_lora(&desk.path("r.safetensors")).metadata["mimeo.recipe"].clone();
    assert!(
        recipe.contains("\"prediction_type\":\"v_prediction\""),
        "{recipe}"
    );
    assert!(recipe.contains("\"clip_skip\":2"), "{recipe}");
    // Measured as it was trained; nobody waits for the numbers.
    let score = "score r.safetensors --base one.safetensors --original a.png --target b.png";
    let mut scoring = desk.mimeo(&format!("{score} --device cpu"));
    let mut scoring = scoring.stderr(Stdio::piped()).spawn().expect("it starts");
    let stderr = BufReader::new(scoring.stderr.take().expect("it is piped"));
    let words = "it predicts velocity (v-prediction) and layer 2 from the end";
    let mut lines = stderr.lines().map_while(Result::ok);
    let is_said = lines.any(|line| line.contains(words));
    scoring.kill().expect("it measures");
    scoring.wait().expect("it ends");
    assert!(is_said, "what its recipe says");
    let too_deep = "train --base one.safetensors --clip-skip 12 --out z.safetensors";
    let sentence = desk.refused(&format!("{too_deep} {QUICK}"), 2);
    assert!(
        sentence.contains("clip skip 12 leaves nothing"),
        "{sentence}"
    );
}

#[test]
fn clip_skip_and_guidance_rescale_draw_otherwise() {
    let desk = Desk::new();
    put_twins(&desk);
    let (plain, _) = drawn(&desk, "--base one.safetensors");
    for (more, is_same) in [
        ("--clip-skip 1", true),
        ("--clip-skip 2", false),
        ("--guidance-rescale 0", true),
        ("--guidance-rescale 0.7", false),
    ] {
        let (other, _) = drawn(&desk, &format!("--base one.safetensors {more}"));
        assert_eq!(other == plain, is_same, "{more}");
    }
    // A base whose schedule ends in pure noise takes contrast back by itself.
    let pure = "--base one.safetensors --prediction-type v_prediction --zero-terminal-snr true";
    let (by_itself, _) = drawn(&desk, pure);
    for (share, is_same) in [("0.7", true), ("0", false)] {
        let (other, _) = drawn(&desk, &format!("{pure} --guidance-rescale {share}"));
        assert_eq!(other == by_itself, is_same, "{share}");
    }
    let noise = "--base one.safetensors --zero-terminal-snr true";
    let sentence = desk.refused(&format!("{DRAW} {noise}"), 2);
    assert!(sentence.contains("cannot predict noise"), "{sentence}");
}

#[test]
fn what_is_no_base_is_called_by_its_name() {
    let desk = Desk::new();
    let model = |name: &str, header: &str| desk.put(name, safetensors(header, &[]));
    let keys = |keys: &[(&str, &str)]| {
        let entries = keys.iter().map(|(name, shape)| {
            format!(r#""{name}":{{"dtype":"F16","shape":{shape},"data_offsets":[0,0]}}"#)
        });
        format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
    };
    let unet = |channels: usize, width: usize| {
        let first = format!("[320,{channels},0,0]");
        let projection = format!("[0,{width}]");
        keys(&[
            ("model.diffusion_model.input_blocks.0.0.weight", &first),
            (
                "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
                &projection,
            ),
        ])
    };
    for (name, header, words) in [
        ("edit", unet(8, 768), "an instruct-pix2pix model"),
        ("depth", unet(5, 1024), "a depth model"),
        (
            "flux",
            keys(&[(
                "model.diffusion_model.double_blocks.0.img_attn.qkv.weight",
                "[0]",
            )]),
            "a Flux model",
        ),
        (
            "sd3",
            keys(&[(
                "model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight",
                "[0]",
            )]),
            "a Stable Diffusion 3 model",
        ),
        (
            "qwen",
            keys(&[("transformer_blocks.0.img_mlp.net.2.weight", "[0]")]),
            "a Qwen-Image model",
        ),
        (
            "zimage",
            keys(&[(
                "model.diffusion_model.layers.0.adaLN_modulation.0.weight",
                "[0]",
            )]),
            "a Z-Image model",
        ),
        ("wan", keys(&[("head.modulation", "[0]")]), "a Wan model"),
        (
            "anima",
            keys(&[("net.llm_adapter.blocks.0.cross_attn.q_proj.weight", "[0]")]),
            "an Anima model",
        ),
        (
            "half",
            unet(4, 768),
            "a UNet with an unusual number of layers",
        ),
    ] {
        let name = format!("{name}.safetensors");
        model(&name, &header);
        refused_base(&desk, &name, words);
    }
    desk.put("lora.safetensors", trained());
    refused_base(&desk, "lora.safetensors", "a LoRA, not a checkpoint");
    desk.put("model.gguf", b"GGUF\x03\0\0\0");
    refused_base(&desk, "model.gguf", "a GGUF file");
    desk.put("model.ckpt", pickle());
    refused_base(&desk, "model.ckpt", "weights_only=True");
    put_twins(&desk);
    let lora = "sample --device cpu --prompt p --out x.png --lora one.safetensors";
    let sentence = desk.refused(lora, 2);
    assert!(
        sentence.contains("not a LoRA but a checkpoint"),
        "{sentence}"
    );
    let remote = "train --remote ws://127.0.0.1:9 --vae one.safetensors";
    let sentence = desk.refused(
        &format!(
            "{remote} {} --out y.safetensors",
            QUICK.replace("--device cpu", "")
        ),
        2,
    );
    assert!(
        sentence.contains("for bases of this computer"),
        "{sentence}"
    );
}
