//! LoRAs beside peft's: which modules, what they add, what their gradients are.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::Tensor;
use mimeo_checkpoint::Component;
use mimeo_checkpoint::names::ModuleNames;
use mimeo_checkpoint::{AdapterConfig, LoraFile, SafetensorsFile};
use mimeo_diffusion::UNet2DConditionModel;
use mimeo_engine::LoadedLora;
use mimeo_lora::{LoraStack, Targets};
use pollster::block_on;

use crate::support::close::{
    Comparison, Tolerance, assert_all_close, assert_close, assert_values_close, values,
};
use crate::support::fixture::{Fixture, memory_file, read_json, read_text};
use crate::support::lora::{as_stored, compare_factors, compare_gradients, masked, network};
use crate::support::models::{base, cpu, sd1x, unet};
use crate::support::test;

/// alpha of the fixtures' files, whose rank is 2.
const ALPHA: f64 = 1.0;
const MULTIPLIER: f64 = 0.5;
/// Sums in another order, as in the UNet alone: 3.6e-6 measured.
const PREDICTION: Tolerance = Tolerance::abs(1.4e-5);
/// A mean, in which such errors cancel: 1.1e-7 measured.
const LOSS: Tolerance = Tolerance::rel(5e-7);
/// In units of each gradient's largest element: 9.7e-6 measured on the bundled base, 8.8e-5 on the
/// random one, whose gradients cancel more (torch's own are up to 5.5e-5 from what it gets in f64).
const GRADIENT: f32 = 3.5e-4;

type Names = BTreeMap<String, Vec<String>>;

fn kohya_names(targets: &Targets) -> BTreeSet<String> {
    targets
        .iter()
        .map(|(_, target)| target.kohya_name())
        .collect()
}

#[test]
fn the_targets_are_the_modules_that_kohya_trains() {
    let theirs: Names = read_json("lora_kohya_names.json");
    let sd1x = unet(&sd1x());
    for (family, targets) in [("bundled", base().unet.targets()), ("sd1x", sd1x.targets())] {
        let names: BTreeSet<String> = theirs[family].iter().cloned().collect();
        assert_eq!(names.len(), targets.len(), "number of targets of {family}");
        assert_eq!(kohya_names(targets), names, "targets of {family}");
    }
    // Its structure is that of the real model, whose names must therefore be the same.
    let sd15: BTreeSet<String> = theirs["sd15"].iter().cloned().collect();
    assert_eq!(
        kohya_names(sd1x.targets()),
        sd15,
        "targets of Stable Diffusion 1.5"
    );
}

#[test]
fn the_names_of_stable_diffusion_1_5_lead_back_to_its_modules() {
    let theirs: Names = read_json("lora_kohya_names.json");
    let keys: BTreeMap<String, BTreeMap<String, serde_json::Value>> = read_json("sd15_keys.json");
    // Every weight but the norms' inside a transformer.
    let paths: Vec<&str> = keys["diffusers"]
        .keys()
        .filter_map(|key| key.strip_suffix(".weight"))
        .filter(|path| path.contains(".attentions.") && !path.contains("norm"))
        .collect();
    let names = ModuleNames::new(Component::Unet, paths.iter().copied()).unwrap();
    let found: BTreeSet<&str> = theirs["sd15"]
        .iter()
        .filter_map(|name| names.path(name))
        .collect();
    assert_eq!(
        found,
        paths.iter().copied().collect(),
        "modules that kohya's names lead to"
    );
    for path in paths {
        let name = Component::Unet.kohya_name(path);
        assert!(theirs["sd15"].contains(&name), "kohya knows no {name}");
    }
}

#[test]
fn a_file_of_kohya_is_read_into_the_same_network() {
    let file = memory_file("lora.safetensors");
    let file = block_on(LoraFile::read(Box::new(file))).unwrap();
    let loaded = LoadedLora::new(base(), &file, "lora.safetensors").unwrap();
    let fixture = Fixture::read("lora.safetensors");
    let targets = base().unet.targets();
    assert_eq!(
        loaded.matched,
        targets.len(),
        "modules that found their place"
    );
    let compare = |key: &str, factor: &Tensor<2>| {
        Comparison::new(
            key,
            &as_stored(factor.clone()),
            fixture.floats(key),
            Tolerance::EXACT,
        )
    };
    assert_all_close(
        "factors",
        &compare_factors(targets, &loaded.network, compare, ""),
    );
    for layer in loaded.network.layers() {
        assert!(
            (layer.alpha - ALPHA).abs() < f64::EPSILON,
            "alpha is {}",
            layer.alpha
        );
    }
}

fn assert_forward_and_backward(
    unet: &UNet2DConditionModel,
    file: &'static str,
    reference: &'static str,
) {
    let (lora, fixture) = (Fixture::read(file), Fixture::read(reference));
    let tensor = |name: &str| fixture.tensor::<4>(name, &cpu());
    let network = network(unet.targets(), &lora, "", ALPHA, &cpu()).trainable();

    let noise_pred = unet.forward(
        tensor("sample"),
        fixture.int_tensor("timesteps", &cpu()),
        &fixture.conditioning("encoder_hidden_states", &cpu()),
        &LoraStack::none().with(&network, MULTIPLIER),
    );
    let label = |part: &str| format!("{part} of {file}");
    assert_close(
        &label("noise_pred"),
        noise_pred.clone().inner(),
        tensor("noise_pred"),
        PREDICTION,
    );

    let loss = masked(noise_pred - tensor("target"), tensor("mask"));
    let ours = values(loss.clone().inner());
    assert_values_close(&label("loss"), &ours, fixture.floats("loss"), LOSS);

    let gradient = network.flatten_gradients(&[loss.backward()]);
    let comparisons = compare_gradients(unet.targets(), &network, &gradient, &fixture, GRADIENT);
    assert_all_close(&label("gradients"), &comparisons);
}

#[test]
fn prediction_loss_and_gradients_on_the_bundled_base_match_peft() {
    assert_forward_and_backward(&base().unet, "lora.safetensors", "lora_grad.safetensors");
}

#[test]
fn prediction_loss_and_gradients_on_sd1x_match_peft() {
    let unet = unet(&sd1x());
    assert_forward_and_backward(&unet, "sd1x_lora.safetensors", "sd1x_lora_grad.safetensors");
}

#[test]
fn gradients_end_to_end_are_the_gradients_of_the_factors() {
    let targets = base().unet.targets();
    let lora = Fixture::read("lora.safetensors");
    let network = network(targets, &lora, "", ALPHA, &cpu()).trainable();
    // The loss is a sum of squares, so the gradient is twice the value.
    let loss = network.flatten().square().sum();
    let ours = values(network.flatten_gradients(&[loss.backward()]));
    let twice = values(network.frozen().flatten() * 2.0);
    assert_values_close("gradients", &ours, &twice, Tolerance::EXACT);
}

/// `trained_lora.safetensors` was trained by `mimeo train` on glasses/00; `check_lora.py --out`
/// loaded it with diffusers' `load_lora_weights`, and wrote down what the UNet then predicts.
#[test]
fn a_lora_that_mimeo_trained_predicts_what_diffusers_predicts_with_it() {
    let fixture = Fixture::read("trained_lora_diffusers.safetensors");
    let source = memory_file("trained_lora.safetensors");
    let file = block_on(LoraFile::read(Box::new(source))).unwrap();
    let lora = LoadedLora::new(base(), &file, "trained_lora").unwrap();
    assert_eq!(lora.matched, 84, "every module of the bundled base");

    let predict = |stack: &LoraStack<'_>| {
        base().unet.forward(
            fixture.tensor("sample", &cpu()),
            fixture.int_tensor("timesteps", &cpu()),
            &fixture.conditioning("encoder_hidden_states", &cpu()),
            stack,
        )
    };
    for (name, stack) in [
        ("noise_pred_base", LoraStack::none()),
        ("noise_pred", LoraStack::none().with(&lora.network, 1.0)),
    ] {
        let theirs = fixture.tensor(name, &cpu());
        assert_close(name, predict(&stack), theirs, PREDICTION);
    }
}

/// `lora_writers.py` let each program write a LoRA, read it again and predict. Its own words for the
/// modules and its own place for alpha are all that differs.
#[test]
fn a_lora_of_any_program_predicts_what_that_program_predicts_with_it() {
    let fixture = Fixture::read("lora_writers.safetensors");
    let compare = |name: &str, stack: &LoraStack<'_>| {
        let noise_pred = base().unet.forward(
            fixture.tensor("sample", &cpu()),
            fixture.int_tensor("timesteps", &cpu()),
            &fixture.conditioning("encoder_hidden_states", &cpu()),
            stack,
        );
        let theirs = fixture.tensor(&format!("noise_pred.{name}"), &cpu());
        assert_close(name, noise_pred, theirs, PREDICTION);
    };
    compare("base", &LoraStack::none());
    for name in [
        "kohya",
        "kohya_ldm",
        "comfyui",
        "simpletuner",
        "diffusers",
        "diffusers_rslora",
        "diffusers_unet",
        "peft",
        "peft_rslora",
    ] {
        let file = block_on(read_of(name));
        let lora = LoadedLora::new(base(), &file, name).unwrap();
        assert!(lora.left_out.is_empty(), "all of {name} is applied");
        assert_eq!(lora.matched, file.modules.len(), "every module of {name}");
        compare(name, &LoraStack::none().with(&lora.network, 1.0));
    }
}

/// One of the files in `fixtures/loras`; PEFT's are folders.
async fn read_of(name: &str) -> LoraFile {
    let is_folder = name.starts_with("peft");
    let weights = match is_folder {
        true => format!("loras/{name}/adapter_model.safetensors"),
        false => format!("loras/{name}.safetensors"),
    };
    let config = is_folder.then(|| {
        let text = read_text(&format!("loras/{name}/adapter_config.json"));
        AdapterConfig::read(&text, name).unwrap()
    });
    let opened = SafetensorsFile::open(Box::new(memory_file(&weights))).await;
    let file = LoraFile::with_adapter_config(&opened.unwrap(), config.as_ref()).await;
    file.unwrap()
}
