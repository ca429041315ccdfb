//! Every family that is trained, from the folder to the picture, in miniature.

use std::fs;
use std::path::Path;

use mimeo_image::decode;

use crate::desk::{Desk, QUICK, read_lora};

const FAMILIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/families");

/// A family's folder on the desk. Those that predict velocity are the others under a scheduler of
/// their own.
fn put_family(desk: &Desk, family: &str) {
    let weights = Path::new(FAMILIES).join(family.trim_end_matches("_v"));
    copy(desk, &weights, "base");
    copy(desk, &Path::new(FAMILIES).join(family), "base");
}

fn copy(desk: &Desk, from: &Path, to: &str) {
    for entry in fs::read_dir(from).expect("a folder of fixtures") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        let to = format!("{to}/{name}");
        if path.is_dir() {
            copy(desk, &path, &to);
        } else {
            desk.put(&to, fs::read(&path).expect("a fixture"));
        }
    }
}

#[test]
fn every_family_trains_by_every_method_and_draws_with_what_it_made() {
    for (family, version, spec, module) in [
        (
            "sd2",
            "sd_v2",
            "stable-diffusion-v2-512/lora",
            "lora_unet_mid_block_attentions_0_proj_in",
        ),
        (
            "sd2_v",
            "sd_v2_v",
            "stable-diffusion-v2-768-v/lora",
            "lora_unet_mid_block_attentions_0_proj_in",
        ),
        (
            "sdxl",
            "sdxl_base_v1-0",
            "stable-diffusion-xl-v1-base/lora",
            "lora_unet_middle_block_1_proj_in",
        ),
        (
            "sdxl_v",
            "sdxl_base_v1-0",
            "stable-diffusion-xl-v1-base/lora",
            "lora_unet_middle_block_1_proj_in",
        ),
    ] {
        let desk = Desk::new();
        put_family(&desk, family);
        for method in ["plain", "addift", "copier"] {
            let quick = QUICK.replace("--method plain", &format!("--method {method}"));
            let prompt = "--prompt (smile:1.2)BREAK(glasses)";
            desk.run(&format!(
                "train {quick} --base base {prompt} --out {method}.safetensors"
            ))
            .done();
            let lora = read_lora(&desk.path(&format!("{method}.safetensors")));
            assert!(lora.modules.contains_key(module), "{method} on {family}");
            let said = |key: &str| lora.metadata.get(key).map(String::as_str);
            assert_eq!(said("ss_base_model_version"), Some(version), "{family}");
            assert_eq!(said("modelspec.architecture"), Some(spec), "{family}");
            let is_velocity = family.ends_with("_v").then_some("True");
            assert_eq!(said("ss_v_parameterization"), is_velocity, "{family}");
        }
        let draw = "sample --device cpu --base base --prompt smile --steps 2";
        desk.run(&format!("{draw} --out plain.png")).done();
        for sampler in ["ddim", "euler"] {
            let lora = "--lora addift.safetensors:8";
            desk.run(&format!(
                "{draw} {lora} --sampler {sampler} --out {sampler}.png"
            ))
            .done();
        }
        let read = |name: &str| {
            let bytes = fs::read(desk.path(name)).expect(name);
            decode(&bytes).expect(name).picture
        };
        let (plain, with_lora) = (read("plain.png"), read("ddim.png"));
        assert_eq!((plain.width(), plain.height()), (64, 64), "{family}");
        assert!(plain != with_lora, "the LoRA acts on {family}");
    }
}

#[test]
fn what_a_trained_lora_does_is_measured_on_every_family() {
    for family in ["sd2_v", "sdxl_v"] {
        let desk = Desk::new();
        put_family(&desk, family);
        let train = QUICK.replace("--no-score --no-calibrate", "");
        desk.run(&format!("train {train} --base base --out x.safetensors"))
            .done();
        let lora = read_lora(&desk.path("x.safetensors"));
        assert!(lora.metadata.contains_key("mimeo.scores"), "{family}");
    }
}

#[test]
fn what_a_family_lacks_is_said() {
    let desk = Desk::new();
    put_family(&desk, "sdxl");
    let refused = |words: &str| {
        let sentence = desk.refused(&format!("train {QUICK} --base base --out x.safetensors"), 2);
        assert!(sentence.contains(words), "{words:?} in: {sentence}");
    };
    let second = desk.path("base/text_encoder_2");
    let config = fs::read_to_string(second.join("config.json")).expect("a configuration");
    let narrow = config.replace("\"projection_dim\": 20", "\"projection_dim\": 16");
    fs::write(second.join("config.json"), narrow).expect("a file on the desk");
    refused("second text encoder's projection is 16 wide");
    fs::remove_dir_all(&second).expect("the folder was there");
    refused("text_encoder_2/config.json");
}
