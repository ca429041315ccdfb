//! Bases and LoRAs that cannot be used.

use std::collections::BTreeMap;

use mimeo_checkpoint::{Array, LoraFile, LoraModule, Precision};
use serde_json::{Map, Value, json};

use crate::desk::{Desk, QUICK, trained};

/// A safetensors file of any header and data.
pub fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// The start of what `torch.save` writes.
pub fn pickle() -> Vec<u8> {
    b"\x80\x02}q\x00(X\x05\x00\x00\x00modelq\x01.".to_vec()
}

/// The bundled base as a folder on the desk, with one file replaced.
fn put_base(desk: &Desk, replaced: &str, bytes: Option<&[u8]>) {
    for (path, original) in mimeo_base::files() {
        let bytes = if *path == replaced {
            bytes
        } else {
            Some(*original)
        };
        if let Some(bytes) = bytes {
            desk.put(&format!("base/{path}"), bytes);
        }
    }
}

pub fn refused_base(desk: &Desk, base: &str, words: &str) {
    let sentence = desk.refused(
        &format!("train {QUICK} --out x.safetensors --base {base}"),
        2,
    );
    assert!(sentence.contains(words), "{words:?} in: {sentence}");
}

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

fn bundled(path: &str) -> &'static [u8] {
    let mut files = mimeo_base::files().iter();
    let (_, bytes) = files
        .find(|(name, _)| *name == path)
        .expect("a bundled file");
    bytes
}

/// The tensors of a safetensors file in the order of their bytes: name, type and shape, bytes.
pub fn tensors(file: &[u8]) -> Vec<(String, Value, &[u8])> {
    let (length, rest) = file.split_first_chunk().expect("a length");
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let header: Map<String, Value> = serde_json::from_slice(header).expect("a header");
    let place = |entry: &Value, end: usize| {
        let offset = entry["data_offsets"][end].as_u64();
        offset.expect("an offset") as usize
    };
    let mut tensors: Vec<_> = header
        .into_iter()
        .filter(|(name, _)| name != "__metadata__")
        .map(|(name, entry)| {
            let bytes = &data[place(&entry, 0)..place(&entry, 1)];
            (name, entry, bytes)
        })
        .collect();
    tensors.sort_by_key(|(_, entry, _)| place(entry, 0));
    tensors
}

/// A safetensors file of these tensors.
pub fn file_of<'a>(tensors: impl IntoIterator<Item = (String, Value, &'a [u8])>) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), Vec::new());
    for (name, mut entry, bytes) in tensors {
        let start = data.len();
        data.extend(bytes);
        entry["data_offsets"] = json!([start, data.len()]);
        header.insert(name, entry);
    }
    safetensors(&Value::Object(header).to_string(), &data)
}

/// The bundled base on the desk with some fields of a configuration changed.
fn put_base_with(desk: &Desk, path: &str, changes: &Value) {
    let mut config: Value = serde_json::from_slice(bundled(path)).expect("JSON");
    for (name, value) in changes.as_object().expect("fields") {
        config[name] = value.clone();
    }
    put_base(desk, path, Some(config.to_string().as_bytes()));
}

/// What the base on the desk draws.
fn drawn(desk: &Desk, base: &str) -> Vec<u8> {
    let draw = "sample --device cpu --prompt smile --steps 2 --overwrite --out i.png";
    desk.run(&format!("{draw} --base {base}")).done();
    std::fs::read(desk.path("i.png")).expect("a picture")
}

#[test]
fn what_is_no_base_is_refused() {
    let desk = Desk::new();
    refused_base(&desk, "nowhere", "not a folder");
    refused_base(&desk, ".", "choose a complete diffusers folder");
    refused_base(
        &desk,
        "a.png",
        "This is a picture, not a safetensors file; choose a .safetensors file",
    );
    desk.put("lora.safetensors", trained());
    refused_base(
        &desk,
        "lora.safetensors",
        "This is a LoRA, not a checkpoint; choose a checkpoint",
    );
    desk.put("page.safetensors", "<!DOCTYPE html>");
    refused_base(
        &desk,
        "page.safetensors",
        "This is a web page, not a safetensors file; the download failed",
    );
    desk.put("half.safetensors", &trained()[..1000]);
    refused_base(&desk, "half.safetensors", "The file ends early");
}

#[test]
fn a_checkpoint_as_a_pickle_is_refused_with_what_works() {
    let desk = Desk::new();
    desk.put("ckpt/model.ckpt", pickle());
    for base in ["ckpt/model.ckpt", "ckpt"] {
        for words in [
            "This is a pickle",
            "convert it to .safetensors",
            "torch.load(",
        ] {
            refused_base(&desk, base, words);
        }
    }
    let single = |width: usize, more: &str| {
        let header = format!(
            r#"{{"model.diffusion_model.input_blocks.0.0.weight":{{"dtype":"F16","shape":[320,4,0,0],"data_offsets":[0,0]}},
            "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight":{{"dtype":"F16","shape":[0,{width}],"data_offsets":[0,0]}}{more}}}"#
        );
        safetensors(&header, &[])
    };
    desk.put("sd1/anime.safetensors", single(768, ""));
    for base in ["sd1/anime.safetensors", "sd1"] {
        refused_base(&desk, base, "a UNet with an unusual number of layers");
    }
    desk.put("sd1/other.safetensors", single(768, ""));
    refused_base(
        &desk,
        "sd1",
        "this folder holds 2 single files; give the one",
    );
}

#[test]
fn a_base_that_is_near_what_was_named_is_told() {
    let desk = Desk::new();
    put_base(&desk, "", None);
    for (path, bytes) in mimeo_base::files() {
        desk.put(&format!("outer/inner/{path}"), bytes);
    }
    for (named, words) in [
        ("base/model_index.json", "give its folder, \"base\""),
        ("base/unet/config.json", "give its folder, \"base\""),
        ("base/unet", "give the folder above it, \"base\""),
        (
            "outer",
            "the base is one folder further down; give \"outer/inner\"",
        ),
    ] {
        refused_base(&desk, named, words);
    }
    for (path, bytes) in mimeo_base::files() {
        desk.put(&format!("outer/other/{path}"), bytes);
    }
    refused_base(
        &desk,
        "outer",
        "several bases; give one, such as \"outer/inner\"",
    );
    desk.put("peft/adapter_model.safetensors", trained());
    refused_base(&desk, "peft", "this is a LoRA's folder, not a base");
}

#[test]
fn a_complete_folder_of_another_model_is_called_by_its_pipeline() {
    let desk = Desk::new();
    for class in [
        "FluxPipeline",
        "StableDiffusion3Pipeline",
        "PixArtSigmaPipeline",
    ] {
        desk.put(
            "other/model_index.json",
            json!({"_class_name": class}).to_string(),
        );
        desk.put("other/transformer/config.json", "{}");
        refused_base(
            &desk,
            "other",
            &format!("diffusers' {class}, which has no UNet"),
        );
        let inspected = desk.refused("inspect other", 2);
        assert!(inspected.contains(class), "{inspected}");
    }
    let index = json!({"_class_name": "StableDiffusionPipeline"});
    desk.put("other/model_index.json", index.to_string());
    refused_base(&desk, "other", "lacks \"unet/config.json\"");
}

#[test]
fn a_base_whose_configuration_was_saved_by_notepad_draws_the_same() {
    let desk = Desk::new();
    let usual = drawn(&desk, "bundled");
    for path in ["unet/config.json", "tokenizer/merges.txt"] {
        let text = std::str::from_utf8(bundled(path)).expect("text");
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        let utf_16: Vec<u8> = [0xFF, 0xFE].into_iter().chain(units).collect();
        put_base(&desk, path, Some(&utf_16));
        assert!(drawn(&desk, "base") == usual, "{path} in UTF-16");
    }
    for (bytes, words) in [
        (&b"<!DOCTYPE html>"[..], "This is a web page"),
        (b"", "This is an empty file"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
    ] {
        put_base(&desk, "vae/config.json", Some(bytes));
        refused_base(&desk, "base", words);
    }
}

#[test]
fn a_base_without_weights_or_with_pickles_only_is_refused() {
    let desk = Desk::new();
    put_base(&desk, UNET, None);
    refused_base(&desk, "base", "no weights for the unet");
    desk.put("base/unet/diffusion_pytorch_model.bin", pickle());
    refused_base(&desk, "base", "pickle");
}

#[test]
fn a_truncated_base_is_refused() {
    let desk = Desk::new();
    let (_, unet) = mimeo_base::files()
        .iter()
        .find(|(path, _)| *path == UNET)
        .expect("a UNet");
    put_base(&desk, UNET, Some(&unet[..unet.len() - 1000]));
    refused_base(&desk, "base", "ends early");
}

#[test]
fn a_base_whose_weights_do_not_fit_its_configuration_is_refused() {
    let desk = Desk::new();
    let header = r#"{"conv_in.weight":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}"#;
    put_base(&desk, UNET, Some(&safetensors(header, &[0; 2])));
    refused_base(&desk, "base", "Use a complete diffusers folder: \"base\"");
}

#[test]
fn hostile_safetensors_are_refused() {
    let tensor = |shape: &str, offsets: &str| {
        format!(
            r#""a.lora_down.weight":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}"#
        )
    };
    let second = r#","b.lora_down.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    let number = r#"{"lora_unet_x.lora_down.weight":{"dtype":"I64","shape":[1,1],"data_offsets":[0,8]},
        "lora_unet_x.lora_up.weight":{"dtype":"I64","shape":[1,1],"data_offsets":[8,16]}}"#;
    let cases: [(&str, Vec<u8>, &str); 8] = [
        (
            "header too long",
            [&u64::MAX.to_le_bytes()[..], b"{}"].concat(),
            "header",
        ),
        (
            "header cut off",
            safetensors("{  }", b"")[..9].to_vec(),
            "ends early",
        ),
        (
            "offsets out of range",
            safetensors(&format!("{{{}}}", tensor("[1]", "[0,400]")), &[0; 4]),
            "a.lora_down",
        ),
        (
            "offsets backwards",
            safetensors(&format!("{{{}}}", tensor("[1]", "[4,0]")), &[0; 4]),
            "",
        ),
        (
            "offsets overlap",
            safetensors(&format!("{{{}{second}}}", tensor("[1]", "[0,4]")), &[0; 4]),
            "overlap",
        ),
        (
            "shape overflow",
            safetensors(
                &format!("{{{}}}", tensor("[18446744073709551615,9]", "[0,4]")),
                &[0; 4],
            ),
            "shape",
        ),
        ("wrong dtype", safetensors(number, &[0; 16]), "I64"),
        ("a pickle", pickle(), "pickle"),
    ];
    let desk = Desk::new();
    for (name, bytes, words) in cases {
        desk.put("x.safetensors", bytes);
        for command in [
            "inspect x.safetensors",
            "sample --prompt p --lora x.safetensors --out i.png",
        ] {
            let sentence = desk.refused(command, 2);
            assert!(sentence.contains(words), "{name}: {words:?} in: {sentence}");
            assert!(sentence.contains("x.safetensors"), "{name}: {sentence}");
        }
    }
}

#[test]
fn a_lora_for_another_architecture_is_refused_with_what_it_is_for() {
    let array = |shape: [usize; 2]| Array {
        shape: shape.to_vec(),
        data: vec![0.5; shape[0] * shape[1]],
    };
    let module = LoraModule {
        mid: None,
        down: array([4, 768]),
        up: array([320, 4]),
        alpha: 4.0,
    };
    let name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k";
    let lora = LoraFile {
        modules: BTreeMap::from([(name.to_owned(), module)]),
        ..LoraFile::default()
    };
    let desk = Desk::new();
    desk.put(
        "sd1.safetensors",
        lora.write(Precision::F16).expect("a LoRA"),
    );
    for command in [
        "sample --device cpu --prompt p --lora sd1.safetensors --out i.png",
        "grid --device cpu --lora sd1.safetensors --out i.png",
        "score sd1.safetensors --device cpu --original a.png --target b.png",
        "train --device cpu --original a.png --target b.png --copier sd1.safetensors --out x.safetensors",
    ] {
        let sentence = desk.refused(command, 2);
        assert!(
            sentence.contains("Stable Diffusion 1.x"),
            "what it is for: {sentence}"
        );
        assert!(
            sentence.contains("0 of its 1 modules"),
            "how many fit: {sentence}"
        );
        assert!(
            sentence.contains("sd1.safetensors"),
            "which file: {sentence}"
        );
    }
}

#[test]
fn a_base_put_together_from_two_models_is_refused() {
    let desk = Desk::new();
    put_base(&desk, "", None);
    let other = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/sd1x");
    for file in ["text_encoder/config.json", "text_encoder/model.safetensors"] {
        let bytes = std::fs::read(format!("{other}/{file}")).expect("a fixture");
        desk.put(&format!("base/{file}"), bytes);
    }
    refused_base(&desk, "base", "do not fit together");
}

#[test]
fn a_base_that_holds_numbers_that_are_none_is_refused_by_tensor() {
    for (path, part) in [
        (UNET, "mid_block.resnets.0.conv1.weight"),
        (
            "vae/diffusion_pytorch_model.safetensors",
            "decoder.conv_out.weight",
        ),
        ("text_encoder/model.safetensors", "layers.0.mlp.fc1.weight"),
    ] {
        for (number, name) in [([0, 0x7e], "NaN"), ([0, 0xfc], "infinity")] {
            let parts = tensors(bundled(path));
            let (tensor, entry, bytes) = parts
                .iter()
                .find(|(tensor, ..)| tensor.ends_with(part))
                .expect("the tensor");
            assert_eq!(entry["dtype"], "F16", "of {tensor}");
            let mut file = bundled(path).to_vec();
            let at = bytes.as_ptr().addr() - bundled(path).as_ptr().addr();
            file[at..][..2].copy_from_slice(&number);
            let desk = Desk::new();
            put_base(&desk, path, Some(&file));
            let words = format!("The base holds {name} in tensor \"{tensor}\"");
            refused_base(&desk, "base", &words);
        }
    }
}

#[test]
fn a_base_in_fp8_is_refused_as_such() {
    let parts = tensors(bundled(UNET));
    let one_byte_each = parts.into_iter().map(|(name, mut entry, bytes)| {
        entry["dtype"] = json!("F8_E4M3");
        (name, entry, &bytes[..bytes.len() / 2])
    });
    let desk = Desk::new();
    put_base(&desk, UNET, Some(&file_of(one_byte_each)));
    refused_base(&desk, "base", "stored as fp8 (F8_E4M3)");
}

#[test]
fn a_base_as_it_is_saved_today_and_in_shards_draws_the_same() {
    let desk = Desk::new();
    let usual = drawn(&desk, "bundled");

    // transformers 5 writes the tokenizer into one file.
    put_base(&desk, "tokenizer/vocab.json", None);
    let text = |path| std::str::from_utf8(bundled(path)).expect("text");
    let vocabulary: Value = serde_json::from_str(text("tokenizer/vocab.json")).expect("JSON");
    let merges = text("tokenizer/merges.txt").lines().skip(1);
    let merges: Vec<Vec<&str>> = merges.map(|line| line.split(' ').collect()).collect();
    let model = json!({
        "type": "BPE",
        "end_of_word_suffix": "</w>",
        "vocab": vocabulary,
        "merges": merges,
    });
    let whole = json!({"version": "1.0", "added_tokens": [], "model": model});
    desk.put("base/tokenizer/tokenizer.json", whole.to_string());
    std::fs::remove_file(desk.path("base/tokenizer/merges.txt")).expect("it was there");
    assert!(drawn(&desk, "base") == usual, "from tokenizer.json alone");

    // diffusers splits what is larger than it is told.
    std::fs::remove_file(desk.path(&format!("base/{UNET}"))).expect("it was there");
    let mut parts = tensors(bundled(UNET));
    let mut weight_map = Map::new();
    let second = parts.split_off(parts.len() / 3);
    for (number, parts) in [(1, parts), (2, second)] {
        let name = format!("diffusion_pytorch_model-0000{number}-of-00002.safetensors");
        for (tensor, ..) in &parts {
            weight_map.insert(tensor.clone(), json!(name));
        }
        desk.put(&format!("base/unet/{name}"), file_of(parts));
    }
    let index = json!({"metadata": {"total_size": 0}, "weight_map": weight_map});
    desk.put(&format!("base/{UNET}.index.json"), index.to_string());
    assert!(drawn(&desk, "base") == usual, "from shards");

    let one = "base/unet/diffusion_pytorch_model-00001-of-00002.safetensors";
    std::fs::remove_file(desk.path(one)).expect("it was there");
    refused_base(&desk, "base", "model-00001-of-00002.safetensors");
}

#[test]
fn settings_of_a_base_are_honoured_or_refused_by_name() {
    let (unet, scheduler) = ("unet/config.json", "scheduler/scheduler_config.json");
    let desk = Desk::new();
    let usual = drawn(&desk, "bundled");
    for (path, changes) in [
        (scheduler, json!({"trained_betas": vec![0.001; 1000]})),
        (scheduler, json!({"beta_schedule": "linear"})),
        (scheduler, json!({"timestep_spacing": "trailing"})),
        (unet, json!({"mid_block_scale_factor": 2})),
        (unet, json!({"center_input_sample": true})),
    ] {
        put_base_with(&desk, path, &changes);
        assert!(drawn(&desk, "base") != usual, "{changes} changes pictures");
        put_base(&desk, "", None);
    }
    for (path, changes, words) in [
        (
            unet,
            json!({"time_cond_proj_dim": 256}),
            "sets time_cond_proj_dim to 256",
        ),
        (
            unet,
            json!({"only_cross_attention": true}),
            "attn1.to_k.weight has shape",
        ),
        (
            unet,
            json!({"mid_block_type": null}),
            "sets mid_block_type to null",
        ),
        (
            scheduler,
            json!({"rescale_betas_zero_snr": true}),
            "sets rescale_betas_zero_snr to true",
        ),
    ] {
        put_base_with(&desk, path, &changes);
        refused_base(&desk, "base", words);
        put_base(&desk, "", None);
    }
}
