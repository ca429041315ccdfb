//! LoRAs that other programs made.

use std::fs;

use mimeo_checkpoint::Array;
use mimeo_checkpoint::safetensors::write_f32;

use crate::desk::Desk;

/// A module of the bundled base, in diffusers' words and in ldm's.
const PATH: &str = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_k";
const LDM: &str = "input_blocks.1.1.transformer_blocks.0.attn1.to_k";
/// Its width.
const WIDTH: usize = 64;
const RANK: usize = 2;

const KOHYA: [&str; 2] = ["lora_down.weight", "lora_up.weight"];
const PEFT: [&str; 2] = ["lora_A.weight", "lora_B.weight"];

/// Numbers that draw something else, the same in every spelling.
fn factor(shape: [usize; 2]) -> Array {
    let count = shape[0] * shape[1];
    let values = (0..count).map(|index| ((index * 7919 % 101) as f32 / 101.0 - 0.5) * 2.0);
    Array {
        shape: shape.to_vec(),
        data: values.collect(),
    }
}

/// Both factors of one module.
fn module(name: &str, [down, up]: [&str; 2]) -> Vec<(String, Array)> {
    vec![
        (format!("{name}.{down}"), factor([RANK, WIDTH])),
        (format!("{name}.{up}"), factor([WIDTH, RANK])),
    ]
}

fn alpha(name: &str, alpha: f32) -> (String, Array) {
    let array = Array {
        shape: Vec::new(),
        data: vec![alpha],
    };
    (format!("{name}.alpha"), array)
}

fn file(tensors: Vec<(String, Array)>, metadata: &[(&str, &str)]) -> Vec<u8> {
    let metadata = metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    write_f32(tensors.into_iter().collect(), &metadata.collect())
}

fn kohya(path: &str) -> String {
    format!("lora_unet_{}", path.replace('.', "_"))
}

/// What is drawn with a LoRA at strength 1, and what is said.
fn draw(desk: &Desk, lora: &str) -> (Vec<u8>, String) {
    let command = "sample --device cpu --prompt smile --steps 2 --overwrite --out drawn.png";
    let ran = desk.run(&format!("{command} --lora {lora}")).done();
    let picture = fs::read(desk.path("drawn.png")).expect("a picture");
    (picture, ran.stderr)
}

#[test]
fn a_lora_draws_the_same_picture_in_the_words_of_every_program() {
    let desk = Desk::new();
    let with_alpha = |name: &str, parts: [&str; 2], value: f32| {
        let mut tensors = module(name, parts);
        tensors.push(alpha(name, value));
        file(tensors, &[])
    };
    // Rank 2 and alpha 1: half of what a program draws that forgets alpha.
    desk.put("kohya.safetensors", with_alpha(&kohya(PATH), KOHYA, 1.0));
    desk.put("ldm.safetensors", with_alpha(&kohya(LDM), KOHYA, 1.0));
    let name = format!("diffusion_model.{LDM}");
    desk.put("comfyui.safetensors", with_alpha(&name, KOHYA, 1.0));
    let name = format!("diffusion_model.{PATH}");
    desk.put("simpletuner.safetensors", with_alpha(&name, PEFT, 1.0));
    let name = format!("lycoris_{}", PATH.replace('.', "_"));
    desk.put("lycoris.safetensors", with_alpha(&name, KOHYA, 1.0));

    let with_settings = |settings: &str| {
        let tensors = module(&format!("unet.{PATH}"), PEFT);
        file(tensors, &[("lora_adapter_metadata", settings)])
    };
    let diffusers = r#"{"unet.r": 2, "unet.lora_alpha": 1}"#;
    desk.put("diffusers.safetensors", with_settings(diffusers));
    let pattern = r#"{"unet.r": 8, "unet.lora_alpha": 9,
        "unet.alpha_pattern": {"attn1.to_k": 1}, "unet.rank_pattern": {"to_k": 2}}"#;
    desk.put("pattern.safetensors", with_settings(pattern));
    // alpha/√rank is a half.
    let stabilized =
        r#"{"unet.r": 2, "unet.lora_alpha": 0.7071067811865476, "unet.use_rslora": true}"#;
    desk.put("rslora.safetensors", with_settings(stabilized));
    let tensors = module(&format!("base_model.model.{PATH}"), PEFT);
    desk.put("peft/adapter_model.safetensors", file(tensors, &[]));
    let settings = r#"{"peft_type": "LORA", "r": 2, "lora_alpha": 1, "use_rslora": false}"#;
    desk.put("peft/adapter_config.json", settings);

    let (expected, _) = draw(&desk, "kohya.safetensors");
    for lora in [
        "ldm.safetensors",
        "comfyui.safetensors",
        "simpletuner.safetensors",
        "lycoris.safetensors",
        "diffusers.safetensors",
        "pattern.safetensors",
        "rslora.safetensors",
        "peft",
        "peft/adapter_model.safetensors",
    ] {
        let (drawn, said) = draw(&desk, lora);
        assert!(drawn == expected, "{lora} draws another picture");
        assert!(
            !said.contains("Not all"),
            "all of {lora} is applied: {said}"
        );
    }
    desk.put("strong.safetensors", with_alpha(&kohya(PATH), KOHYA, 2.0));
    let (strong, _) = draw(&desk, "strong.safetensors");
    assert!(strong != expected, "alpha shows in the picture at all");
}

#[test]
fn inspect_says_where_alpha_comes_from() {
    let desk = Desk::new();
    let unet = format!("unet.{PATH}");
    let metadata = r#"{"unet.r": 2, "unet.lora_alpha": 1, "unet.use_new": true}"#;
    let mut with_tensor = module(&kohya(PATH), KOHYA);
    with_tensor.push(alpha(&kohya(PATH), 1.0));
    desk.put("tensor.safetensors", file(with_tensor, &[]));
    let tensors = module(&unet, PEFT);
    let said = [("lora_adapter_metadata", metadata)];
    desk.put("metadata.safetensors", file(tensors, &said));
    desk.put("absent.safetensors", file(module(&unet, PEFT), &[]));
    let tensors = module(&format!("base_model.model.{PATH}"), PEFT);
    desk.put("peft/adapter_model.safetensors", file(tensors, &[]));
    let settings = r#"{"r": 2, "lora_alpha": 4, "use_rslora": true}"#;
    desk.put("peft/adapter_config.json", settings);

    for (lora, words) in [
        ("tensor.safetensors", "Alpha    1  (alpha tensors)"),
        (
            "metadata.safetensors",
            "Alpha    1  (lora_adapter_metadata)",
        ),
        ("metadata.safetensors", "Unknown  use_new"),
        (
            "absent.safetensors",
            "Alpha    2  (absent, so it is the rank)",
        ),
        ("peft", "(adapter_config.json)"),
        ("peft", "rsLoRA   in 1 modules"),
    ] {
        let text = desk.run(&format!("inspect {lora}")).done().stdout;
        assert!(text.contains(words), "{words:?} of {lora} in:\n{text}");
    }
    let json = desk.run("inspect --json peft").done();
    let [findings] = &json.events()[..] else {
        panic!("one line: {}", json.stdout);
    };
    assert_eq!(
        findings["alpha_from"]["adapter_config.json"], 1,
        "{findings}"
    );
}

#[test]
fn half_of_a_lora_of_pefts_is_refused_with_what_is_missing() {
    let desk = Desk::new();
    let tensors = module(&format!("base_model.model.{PATH}"), PEFT);
    desk.put("peft/adapter_model.safetensors", file(tensors, &[]));
    desk.put("config/adapter_config.json", "{}");
    desk.put("pickle/adapter_model.bin", b"\x80\x02}q\x00.");
    desk.put("empty/other.txt", "");
    for (lora, words) in [
        ("peft", "adapter_config.json"),
        ("peft/adapter_model.safetensors", "adapter_config.json"),
        ("config", "adapter_model.safetensors"),
        ("pickle", "pickle"),
        ("empty", "holds no LoRA"),
    ] {
        let command = format!("sample --device cpu --prompt p --out i.png --lora {lora}");
        let sentence = desk.refused(&command, 2);
        assert!(
            sentence.contains(words),
            "{words:?} of {lora} in: {sentence}"
        );
    }
    // What it is for is decided by its settings, so that another's would be applied wrongly.
    for (settings, words) in [
        (r#"{"r": 8, "lora_alpha": 1}"#, "rank 2"),
        (r#"{"peft_type": "LOHA"}"#, "LOHA"),
        (r#"{"init_lora_weights": "pissa"}"#, "changes the base"),
        ("{", "cannot be understood"),
    ] {
        desk.put("peft/adapter_config.json", settings);
        let command = "sample --device cpu --prompt p --out i.png --lora peft";
        let sentence = desk.refused(command, 2);
        assert!(
            sentence.contains(words),
            "{words:?} of {settings} in: {sentence}"
        );
    }
    // Beside the file of another program it is another LoRA's.
    desk.put(
        "peft/kohya.safetensors",
        file(module(&kohya(PATH), KOHYA), &[]),
    );
    draw(&desk, "peft/kohya.safetensors");
}

#[test]
fn what_is_not_applied_is_named_and_a_lora_of_nothing_else_is_refused() {
    let desk = Desk::new();
    let norm = "lora_unet_input_blocks_1_1_norm";
    let vectors = "lora_te_text_model_embeddings_position_embedding";
    let others = [module(vectors, KOHYA), module(norm, KOHYA)].concat();
    let whole = [module(&kohya(PATH), KOHYA), others.clone()].concat();
    desk.put("kohya.safetensors", file(module(&kohya(PATH), KOHYA), &[]));
    desk.put("whole.safetensors", file(whole, &[]));
    let (expected, _) = draw(&desk, "kohya.safetensors");
    let (drawn, said) = draw(&desk, "whole.safetensors");
    assert!(drawn == expected, "what can be applied is");
    let words = "by number of modules: norm layers 1, vectors of the text encoder 1.";
    assert!(said.contains(words), "{words:?} in: {said}");
    let inspected = desk.run("inspect whole.safetensors").done().stdout;
    for words in [
        "Applied  UNet transformers 1",
        "Left out norm layers 1, vectors of the text encoder 1",
    ] {
        assert!(inspected.contains(words), "{words:?} in: {inspected}");
    }

    desk.put("vectors.safetensors", file(others, &[]));
    let hada = "hada_w1_a";
    let loha = vec![(format!("{}.{hada}", kohya(PATH)), factor([RANK, WIDTH]))];
    desk.put("loha.safetensors", file(loha, &[]));
    for (lora, words) in [
        (
            "vectors.safetensors",
            "norm layers 1, vectors of the text encoder 1",
        ),
        ("loha.safetensors", "LoHa 1"),
    ] {
        let command = format!("sample --device cpu --prompt p --out i.png --lora {lora}");
        let sentence = desk.refused(&command, 2);
        assert!(
            sentence.contains(words),
            "{words:?} of {lora} in: {sentence}"
        );
    }
    let inspected = desk.run("inspect loha.safetensors").done().stdout;
    assert!(inspected.contains("LoHa 1"), "what it is: {inspected}");
}

/// A text encoder's layer, a ResNet's convolution and its time layer, of the bundled base.
const FC1: &str = "lora_te_text_model_encoder_layers_0_mlp_fc1";
const CONV: &str = "lora_unet_input_blocks_1_0_in_layers_2";
const TIME: &str = "lora_unet_down_blocks_0_resnets_0_time_emb_proj";

/// Factors of a module of these widths; of a convolution with its kernel.
fn whole_module(name: &str, [input, output]: [usize; 2], kernel: &[usize]) -> Vec<(String, Array)> {
    let ones = vec![1; kernel.len()];
    let shaped = |rows: [usize; 2], kernel: &[usize]| {
        let count = kernel.iter().product::<usize>();
        let Array { data, .. } = factor([rows[0], rows[1] * count]);
        let shape = [&rows, kernel].concat();
        Array { shape, data }
    };
    vec![
        (
            format!("{name}.lora_down.weight"),
            shaped([RANK, input], kernel),
        ),
        (
            format!("{name}.lora_up.weight"),
            shaped([output, RANK], &ones),
        ),
    ]
}

#[test]
fn text_encoders_convolutions_and_time_layers_are_applied_and_counted() {
    let desk = Desk::new();
    let parts = [
        ("text", whole_module(FC1, [64, 256], &[])),
        ("conv", whole_module(CONV, [64, 64], &[3, 3])),
        ("time", whole_module(TIME, [256, 64], &[])),
    ];
    let command = "sample --device cpu --prompt smile --steps 2 --out own.png";
    desk.run(command).done();
    let own = fs::read(desk.path("own.png")).expect("a picture");
    for (part, tensors) in &parts {
        let name = format!("{part}.safetensors");
        desk.put(&name, file(tensors.clone(), &[]));
        let (drawn, said) = draw(&desk, &name);
        assert!(drawn != own, "{part} shows in the picture");
        assert!(!said.contains("Not all"), "all of it is applied: {said}");
        let (again, _) = draw(&desk, &format!("{name}:0"));
        assert!(again == own, "{part} at strength 0 does not");
    }
    let all = parts.map(|(_, tensors)| tensors).concat();
    desk.put("all.safetensors", file(all, &[]));
    let inspected = desk.run("inspect all.safetensors").done().stdout;
    let words = "Applied  UNet convolutions 1, UNet time layers 1, text encoder 1";
    assert!(inspected.contains(words), "{words:?} in: {inspected}");
    let json = desk.run("inspect --json all.safetensors").done();
    let findings = &json.events()[0];
    assert_eq!(findings["applied"]["text encoder"], 1, "{findings}");
    assert_eq!(
        findings["left_out"].as_object().map(|kinds| kinds.len()),
        Some(0),
        "{findings}"
    );
}

#[test]
fn factors_of_another_kernel_are_refused_in_a_sentence() {
    let desk = Desk::new();
    for (kernel, widths) in [
        (&[1, 1][..], [64, 64]),
        (&[5, 5], [64, 64]),
        (&[3, 1], [64, 64]),
        (&[], [64 * 9, 64]),
        (&[3, 3], [128, 64]),
        (&[3, 3], [64, 32]),
    ] {
        let both = [
            module(&kohya(PATH), KOHYA),
            whole_module(CONV, widths, kernel),
        ];
        desk.put("conv.safetensors", file(both.concat(), &[]));
        let command = "sample --device cpu --prompt p --out i.png --lora conv.safetensors";
        let sentence = desk.refused(command, 2);
        let words = "1 of its 2 modules fit the base";
        assert!(
            sentence.contains(words),
            "{kernel:?}, {widths:?}: {sentence}"
        );
    }
    let mut alone = whole_module(CONV, [64, 64], &[3, 3]);
    alone[0].0 = format!("{CONV}.lora_mid.weight");
    desk.put("mid.safetensors", file(alone, &[]));
    let command = "sample --device cpu --prompt p --out i.png --lora mid.safetensors";
    let sentence = desk.refused(command, 2);
    assert!(sentence.contains("down"), "what is missing: {sentence}");
}

#[test]
fn both_numberings_of_one_module_are_one_too_many() {
    let desk = Desk::new();
    let both = [module(&kohya(PATH), KOHYA), module(&kohya(LDM), KOHYA)].concat();
    desk.put("both.safetensors", file(both, &[]));
    let command = "sample --device cpu --prompt p --out i.png --lora both.safetensors";
    let sentence = desk.refused(command, 2);
    assert!(sentence.contains("there twice"), "{sentence}");
    assert!(sentence.contains(PATH), "which: {sentence}");
}

#[test]
fn what_only_looks_like_a_lora_is_called_what_it_is() {
    let desk = Desk::new();
    let flux = "transformer.single_transformer_blocks.0.attn.to_q";
    desk.put("flux.safetensors", file(module(flux, PEFT), &[]));
    let flux = "lora_unet_double_blocks_0_img_attn_proj";
    desk.put("flux-kohya.safetensors", file(module(flux, KOHYA), &[]));
    let wan = "diffusion_model.blocks.3.self_attn.q";
    desk.put("wan.safetensors", file(module(wan, PEFT), &[]));
    let z_image = "diffusion_model.layers.0.attention.to_q";
    desk.put("z-image.safetensors", file(module(z_image, PEFT), &[]));
    let word = vec![("emb_params".to_owned(), factor([RANK, WIDTH]))];
    desk.put("word.safetensors", file(word, &[]));
    for (lora, words) in [
        ("flux.safetensors", "Flux"),
        ("flux-kohya.safetensors", "Flux"),
        ("wan.safetensors", "Wan"),
        ("z-image.safetensors", "Z-Image"),
        ("word.safetensors", "textual inversion"),
    ] {
        let command = format!("sample --device cpu --prompt p --out i.png --lora {lora}");
        let sentence = desk.refused(&command, 2);
        assert!(
            sentence.contains(words),
            "{words:?} of {lora} in: {sentence}"
        );
        let inspected = desk.run(&format!("inspect {lora}")).done().stdout;
        assert!(inspected.contains(words), "{words:?} in: {inspected}");
    }
    let entry = r#""lora_unet_x.alpha":{"dtype":"F32","shape":[],"data_offsets":[0,4]}"#;
    let header = format!("{{{entry},{entry}}}");
    let mut twice = (header.len() as u64).to_le_bytes().to_vec();
    twice.extend(header.as_bytes());
    twice.extend([0; 4]);
    desk.put("twice.safetensors", twice);
    let command = "sample --device cpu --prompt p --out i.png --lora twice.safetensors";
    let sentence = desk.refused(command, 2);
    let words = "Two tensors are named \"lora_unet_x.alpha\"";
    assert!(sentence.contains(words), "{words:?} in: {sentence}");
}

#[test]
fn a_lora_of_names_that_nobody_knows_is_refused_with_one_of_them() {
    let desk = Desk::new();
    let unknown = "lora_unet_wobble_7_to_q";
    desk.put("unknown.safetensors", file(module(unknown, KOHYA), &[]));
    let command = "sample --device cpu --prompt p --out i.png --lora unknown.safetensors";
    let sentence = desk.refused(command, 2);
    let words = "a model that Mimeo does not know (it has a module \"lora_unet_wobble_7_to_q\")";
    assert!(sentence.contains(words), "{words:?} in: {sentence}");
}

#[test]
fn a_lora_that_changes_nothing_draws_and_says_so() {
    let desk = Desk::new();
    let name = kohya(PATH);
    let mut without_alpha = module(&name, KOHYA);
    without_alpha.push(alpha(&name, 0.0));
    desk.put("zero.safetensors", file(without_alpha, &[]));
    let mut as_begun = module(&name, KOHYA);
    as_begun[1].1.data.fill(0.0);
    desk.put("begun.safetensors", file(as_begun, &[]));
    let (_, expected) = draw(&desk, "zero.safetensors");
    for lora in ["zero.safetensors", "begun.safetensors"] {
        let (_, said) = draw(&desk, lora);
        let words = format!("{lora:?} changes nothing");
        assert!(said.contains(&words), "{words:?} in: {said}");
        let inspected = desk.run(&format!("inspect {lora}")).done().stdout;
        assert!(inspected.contains("Changes  nothing"), "{inspected}");
    }
    assert!(expected.contains("alpha"), "why: {expected}");
}

#[test]
fn a_dora_without_its_magnitudes_is_refused_and_other_lacks_are_told() {
    let desk = Desk::new();
    let tensors = module(&format!("base_model.model.{PATH}"), PEFT);
    desk.put("peft/adapter_model.safetensors", file(tensors, &[]));
    let put = |more: &str| {
        let settings = format!(r#"{{"r": 2, "lora_alpha": 2, "bias": "none", {more}}}"#);
        desk.put("peft/adapter_config.json", settings);
    };
    put(r#""use_dora": true"#);
    let command = "sample --device cpu --prompt p --out i.png --lora peft";
    let sentence = desk.refused(command, 2);
    let words = "use_dora = true in adapter_config.json asks for magnitudes (DoRA)";
    assert!(sentence.contains(words), "{words:?} in: {sentence}");
    put(r#""use_dora": false, "lora_bias": true"#);
    let (_, said) = draw(&desk, "peft");
    let words = "lacks what its settings ask for (lora_bias)";
    assert!(said.contains(words), "{words:?} in: {said}");
    let inspected = desk.run("inspect peft").done().stdout;
    assert!(inspected.contains("Lacks    lora_bias"), "{inspected}");
}

#[test]
fn a_name_that_is_nearly_right_is_refused_with_what_was_meant() {
    let desk = Desk::new();
    let lora = file(module(&kohya(PATH), KOHYA), &[]);
    desk.put("glasses.safetensors", &lora);
    desk.put("hat.SAFETENSORS", &lora);
    for (lora, words) in [
        (
            "glasses",
            "there is no file of this name, but \"glasses.safetensors\"",
        ),
        ("hat:0.8", "but \"hat.SAFETENSORS\"; give that"),
        ("glasses:0.8", "but \"glasses.safetensors\"; give that"),
        ("glasses.safetensors:1:1", "leave \":1\" out"),
        ("glasses.safetensors:0.5:-1", "leave \":0.5\" out"),
        ("glasses:1:1", "leave \":1\" out"),
        ("<lora:glasses:0.8>", "this is how a prompt names a LoRA"),
    ] {
        let command = format!("sample --device cpu --prompt p --out i.png --lora {lora}");
        let sentence = desk.refused(&command, 2);
        assert!(sentence.contains(words), "{words:?} of {lora}: {sentence}");
    }
    let grid = "grid --device cpu --out i.png --lora glasses.safetensors:0.5";
    let sentence = desk.refused(grid, 2);
    assert!(sentence.contains("leave \":0.5\" out"), "{sentence}");
    // A drive of Windows and a colon in a name stay what they are.
    for (lora, path) in [
        (
            r"C:\loras\glasses.safetensors:0.8",
            r"C:\\loras\\glasses.safetensors",
        ),
        (
            r"C:\loras\glasses.safetensors",
            r"C:\\loras\\glasses.safetensors",
        ),
    ] {
        let command = format!("sample --device cpu --prompt p --out i.png --lora {lora}");
        let sentence = desk.refused(&command, 2);
        let words =
            format!("could not be read; check that it exists and that you may read it: \"{path}\"");
        assert!(sentence.contains(&words), "{words:?} in: {sentence}");
    }
    #[cfg(unix)]
    {
        desk.put("v1.0:final.safetensors", &lora);
        draw(&desk, "v1.0:final.safetensors:0.5");
    }
}

#[test]
fn an_archive_is_to_be_unpacked_and_a_pickle_is_never_opened() {
    let desk = Desk::new();
    let zip = |name: &str| {
        let mut header = b"PK\x03\x04".to_vec();
        header.resize(30, 0);
        header[26] = name.len() as u8;
        [&header, name.as_bytes(), b"what it holds"].concat()
    };
    desk.put("zipped.zip", zip("glasses.safetensors"));
    desk.put("renamed.safetensors", zip("lora/glasses.safetensors"));
    desk.put("torch.pt", zip("torch/data.pkl"));
    desk.put("page.safetensors", "<!DOCTYPE html><title>Sign in");
    desk.put("answer.safetensors", "Entry not found");
    for (lora, words) in [
        (
            "zipped.zip",
            "This is a zip archive, not a safetensors file; unpack it",
        ),
        ("renamed.safetensors", "unpack it and choose the file in it"),
        ("torch.pt", "This is a pickle"),
        ("page.safetensors", "This is a web page"),
        ("answer.safetensors", "This is a text"),
    ] {
        let command = format!("sample --device cpu --prompt p --out i.png --lora {lora}");
        let sentence = desk.refused(&command, 2);
        assert!(sentence.contains(words), "{words:?} of {lora}: {sentence}");
    }
}

#[test]
fn a_sheet_that_would_be_too_large_is_refused_before_anything_is_drawn() {
    let desk = Desk::new();
    desk.put(
        "glasses.safetensors",
        file(module(&kohya(PATH), KOHYA), &[]),
    );
    let strengths: Vec<String> = (0..1000).map(|step| format!("0.{step:03}")).collect();
    let command = format!(
        "grid --device cpu --lora glasses.safetensors --out i.png --strengths {}",
        strengths.join(",")
    );
    let sentence = desk.refused(&command, 2);
    assert!(
        sentence.contains("1000 strengths and 8 prompts make too large a sheet")
            && sentence.contains("fewer columns or rows"),
        "{sentence}"
    );
}
