//! Bases and LoRAs that cannot be used.

use std::collections::BTreeMap;

use mimeo_checkpoint::{Array, LoraFile, LoraModule, Precision};

use crate::desk::{Desk, QUICK, trained};

/// A safetensors file of any header and data.
fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// The start of what `torch.save` writes.
fn pickle() -> Vec<u8> {
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

fn refused_base(desk: &Desk, base: &str, words: &str) {
    let sentence = desk.refused(
        &format!("train {QUICK} --out x.safetensors --base {base}"),
        2,
    );
    assert!(sentence.contains(words), "{words:?} in: {sentence}");
}

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

#[test]
fn what_is_no_base_is_refused() {
    let desk = Desk::new();
    refused_base(&desk, "nowhere", "not a folder");
    refused_base(&desk, ".", "choose a complete diffusers folder");
    refused_base(&desk, "a.png", "not a safetensors file");
    desk.put("model.ckpt", pickle());
    refused_base(&desk, "model.ckpt", "pickle");
    desk.put("lora.safetensors", trained());
    refused_base(&desk, "lora.safetensors", "this is a LoRA, not a base");
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
