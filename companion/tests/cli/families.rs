//! Every family that is trained, from the folder to the picture, in miniature.

use std::fs;
use std::path::Path;

use mimeo_image::decode;

use crate::desk::{Desk, QUICK, read_lora};

const FAMILIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/families");

/// A family's folder on the desk. Those that predict velocity are the others under a scheduler of
/// their own.
pub fn put_family(desk: &Desk, family: &str) {
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

/// What files of a family's LoRAs hold.
struct Written {
    version: &'static str,
    spec: &'static str,
    module: &'static str,
}

/// Trains by every method and draws with what that made.
fn assert_trains_and_draws(family: &str, written: &Written) {
    let desk = Desk::new();
    put_family(&desk, family);
    for method in ["plain", "addift", "copier --copier-steps 3"] {
        let quick = QUICK.replace("--method plain", &format!("--method {method}"));
        let prompt = "--prompt (smile:1.2)BREAK(glasses)";
        desk.run(&format!(
            "train {quick} --base base {prompt} --overwrite --out x.safetensors"
        ))
        .done();
        let lora = read_lora(&desk.path("x.safetensors"));
        assert!(lora.modules.contains_key(written.module), "{method}");
        let said = |key: &str| lora.metadata.get(key).map(String::as_str);
        let (version, spec) = (
            said("ss_base_model_version"),
            said("modelspec.architecture"),
        );
        assert_eq!(version, Some(written.version), "{method}");
        assert_eq!(spec, Some(written.spec), "{method}");
        let is_velocity = family.ends_with("_v").then_some("True");
        assert_eq!(said("ss_v_parameterization"), is_velocity, "{method}");
    }
    let draw = "sample --device cpu --base base --prompt smile --steps 2";
    desk.run(&format!("{draw} --out plain.png")).done();
    for sampler in ["ddim", "euler"] {
        desk.run(&format!(
            "{draw} --lora x.safetensors:8 --sampler {sampler} --out {sampler}.png"
        ))
        .done();
    }
    let read = |name: &str| {
        let bytes = fs::read(desk.path(name)).expect(name);
        decode(&bytes).expect(name).picture
    };
    let (plain, with_lora) = (read("plain.png"), read("ddim.png"));
    assert_eq!((plain.width(), plain.height()), (64, 64), "its own size");
    assert!(plain != with_lora, "the LoRA acts");
}

const SD2: Written = Written {
    version: "sd_v2",
    spec: "stable-diffusion-v2-512/lora",
    module: "lora_unet_mid_block_attentions_0_proj_in",
};
const XL: Written = Written {
    version: "sdxl_base_v1-0",
    spec: "stable-diffusion-xl-v1-base/lora",
    module: "lora_unet_middle_block_1_proj_in",
};

#[test]
fn stable_diffusion_2_trains_by_every_method_and_draws() {
    assert_trains_and_draws("sd2", &SD2);
}

#[test]
fn stable_diffusion_2_that_predicts_velocity_trains_by_every_method_and_draws() {
    let written = Written {
        version: "sd_v2_v",
        spec: "stable-diffusion-v2-768-v/lora",
        ..SD2
    };
    assert_trains_and_draws("sd2_v", &written);
}

#[test]
fn xl_trains_by_every_method_and_draws() {
    assert_trains_and_draws("sdxl", &XL);
}

#[test]
fn xl_from_pure_noise_trains_by_every_method_and_draws() {
    assert_trains_and_draws("sdxl_v", &XL);
}

#[test]
fn what_a_trained_lora_does_is_measured_on_every_family() {
    for family in ["sd2_v", "sdxl_v"] {
        let desk = Desk::new();
        put_family(&desk, family);
        // The preset's share of so few steps would be too little for anything.
        let train = QUICK.replace("--no-score --no-calibrate", "--score-budget 20");
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
