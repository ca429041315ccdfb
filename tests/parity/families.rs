//! Stable Diffusion 2 and XL in miniature beside diffusers, transformers and peft: what the text
//! encoders say, the VAE, the UNet, LoRAs, the schedules, the samplers, a step of every method.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use mimeo_checkpoint::config::PredictionType;
use mimeo_checkpoint::family::unet_layout;
use mimeo_checkpoint::names::{Spelling, UnetLayout};
use mimeo_checkpoint::{Architecture, Component, LoraFile, UNetConfig};
use mimeo_diffusion::{Ddim, Euler, Guidance, OutputLayer, WeightFormat, unet};
use mimeo_engine::artifact::file_from_network;
use mimeo_engine::memory::BaseShape;
use mimeo_engine::text::read_tokenizer;
use mimeo_engine::{Base, LoadedLora};
use mimeo_lora::LoraStack;
use mimeo_protocol::PromptSyntax;
use mimeo_train::addift::Direction;
use pollster::block_on;
use serde_json::json;

use crate::support::close::{
    Tolerance, assert_all_close, assert_close, assert_values_close, values,
};
use crate::support::fixture::{Fixture, memory_file, read_json};
use crate::support::lora::{compare_gradients, masked};
use crate::support::models::{
    FAMILY_NAMES, cpu, family, family_folder, open, text_encoder, text_encoder_2,
};
use crate::support::scene::Scene;
use crate::support::step::{Allowed, Step, assert_step};
use crate::support::test;
use crate::support::walk::Walk;

/// Those with weights of their own.
const WITH_WEIGHTS: [&str; 2] = ["sd2", "sdxl"];
/// Sums in another order: 4.5e-6 measured, on states of 2.
const STATES: Tolerance = Tolerance::abs(1.8e-5);
/// As the states: 4.1e-6 measured.
const VAE: Tolerance = Tolerance::abs(1.6e-5);
/// Through all blocks: 3e-6 measured, the answer being of order one.
const WHOLE: Tolerance = Tolerance::abs(1.2e-5);
/// A mean, in which such errors cancel: the same to the last bit as measured.
const LOSS: Tolerance = Tolerance::rel(5e-7);
/// In units of each gradient's largest element: 6.9e-5 measured.
const GRADIENT: f32 = 2.8e-4;

fn fixture(family: &str, part: &str) -> Fixture {
    Fixture::read(&format!("families/{family}_{part}.safetensors"))
}

#[test]
fn prompts_are_said_as_diffusers_pipelines_and_a1111_say_them() {
    let long = ["long hair, blonde hair, pale skin, round glasses, wink, tongue out"; 4].join(", ");
    for name in WITH_WEIGHTS {
        let (base, fixture) = (family(name), fixture(name, "text"));
        let prompts = ["", "glasses, smile", &long, "glasses, (smile:1.3), hat"];
        let (syntax, own) = (PromptSyntax::A1111, LoraStack::none());
        let said = block_on(base.encode_prompts(&prompts, syntax, (64, 48), &own));
        for (index, ours) in said.unwrap().into_iter().enumerate() {
            let label = format!("prompt {index} of {name}");
            let theirs = fixture.tensor(&index.to_string(), &cpu());
            assert_close(&label, ours.hidden_states, theirs, STATES);
            let pooled = format!("{index}.pooled");
            assert_eq!(ours.pooled.is_some(), fixture.has(&pooled), "{label}");
            let is_xl = ours.pooled.is_some();
            if let Some(ours) = ours.pooled {
                let theirs = fixture.tensor(&pooled, &cpu());
                assert_close(&format!("{label}, pooled"), *ours, theirs, STATES);
            }
            let size = is_xl.then(|| vec![[48, 64, 0, 0, 48, 64]]);
            assert_eq!(ours.size, size, "height before width, {label}");
        }
    }
}

#[test]
fn layers_that_are_skipped_are_those_that_diffusers_skips() {
    for name in WITH_WEIGHTS {
        let (folder, fixture) = (family_folder(name), fixture(name, "text"));
        let ids = |component| {
            let tokenizer = block_on(read_tokenizer(&folder, component)).unwrap();
            vec![tokenizer.framed(&tokenizer.tokens("glasses, smile").unwrap())]
        };
        let first = |output: OutputLayer| {
            let ids = ids(Component::TextEncoder);
            text_encoder(&folder).forward(&ids, output.skipping(1), &LoraStack::none())
        };
        let ours = if name == "sdxl" {
            let ids = ids(Component::TextEncoder2);
            let output = OutputLayer::PENULTIMATE.skipping(1);
            let (second, _) = text_encoder_2(&folder).forward(&ids, output, &LoraStack::none());
            Tensor::cat(vec![first(OutputLayer::PENULTIMATE), second], 2)
        } else {
            first(OutputLayer::LAST)
        };
        let theirs = fixture.tensor("1.skipped", &cpu());
        assert_close(&format!("{name} with clip skip"), ours, theirs, STATES);
    }
}

#[test]
fn both_vaes_match_diffusers() {
    for name in WITH_WEIGHTS {
        let vae = block_on(family(name).vae()).unwrap();
        let fixture = fixture(name, "vae");
        let latent: Tensor<4> = fixture.tensor("latent", &cpu());
        let ours = vae.encode(fixture.tensor("image", &cpu()));
        assert_close(&format!("latent of {name}"), ours, latent.clone(), VAE);
        let theirs = fixture.tensor("decoded", &cpu());
        assert_close(
            &format!("decoded by {name}"),
            vae.decode(latent),
            theirs,
            VAE,
        );
    }
}

fn predict(base: &Base, fixture: &Fixture, prefix: &str, lora: &LoraStack<'_>) -> Tensor<4> {
    let name = |part: &str| format!("{prefix}{part}");
    base.unet.forward(
        fixture.tensor(&name("sample"), &cpu()),
        fixture.int_tensor(&name("timesteps"), &cpu()),
        &fixture.conditioning(&name("encoder_hidden_states"), &cpu()),
        lora,
    )
}

#[test]
fn both_unets_match_diffusers() {
    for name in WITH_WEIGHTS {
        let fixture = fixture(name, "unet");
        for prefix in ["", "wide."] {
            let ours = predict(family(name), &fixture, prefix, &LoraStack::none());
            let theirs = fixture.tensor(&format!("{prefix}noise_pred"), &cpu());
            let label = format!("{prefix}noise_pred of {name}");
            assert_close(&label, ours, theirs, WHOLE);
        }
    }
}

#[test]
fn a_lora_in_the_family_s_names_predicts_and_learns_as_with_peft() {
    for name in WITH_WEIGHTS {
        let (base, fixture) = (family(name), fixture(name, "lora_grad"));
        let file = format!("families/{name}_lora.safetensors");
        let file = block_on(LoraFile::read(Box::new(memory_file(&file)))).unwrap();
        let loaded = LoadedLora::new(base, &file, name).unwrap();
        let targets = base.unet.targets();
        assert_eq!(loaded.matched, targets.len(), "every module of {name}");

        let network = loaded.network.trainable();
        let stack = LoraStack::none().with(&network, 0.5);
        let noise_pred = predict(base, &fixture, "", &stack);
        let theirs: Tensor<4> = fixture.tensor("noise_pred", &cpu());
        let label = format!("noise_pred of {name} with a LoRA");
        assert_close(&label, noise_pred.clone().inner(), theirs, WHOLE);

        let error = noise_pred - fixture.tensor("target", &cpu());
        let loss = masked(error, fixture.tensor("mask", &cpu()));
        let ours = values(loss.clone().inner());
        let label = format!("loss of {name}");
        assert_values_close(&label, &ours, fixture.floats("loss"), LOSS);
        let gradient = network.flatten_gradients(&[loss.backward()]);
        let compared = compare_gradients(targets, &network, &gradient, &fixture, GRADIENT);
        assert_all_close(&format!("gradients of {name}"), &compared);
    }
}

#[test]
fn a_lora_is_written_in_the_names_in_which_kohya_writes_it() {
    for name in WITH_WEIGHTS {
        let base = family(name);
        let file = format!("families/{name}_lora.safetensors");
        let theirs = block_on(LoraFile::read(Box::new(memory_file(&file)))).unwrap();
        let loaded = LoadedLora::new(base, &theirs, name).unwrap();
        let ours = block_on(file_from_network(base, &loaded.network)).unwrap();
        assert_eq!(ours.modules, theirs.modules, "{name} there and back");
        let begins = |start: &str| ours.modules.keys().any(|name| name.starts_with(start));
        let is_sgm = name == "sdxl";
        assert_eq!(begins("lora_unet_input_blocks_4_1_"), is_sgm, "{name}");
        assert_eq!(begins("lora_unet_down_blocks_1_"), !is_sgm, "{name}");
    }
}

#[test]
fn a_lora_of_xl_in_diffusers_names_is_read_too() {
    let (base, folder) = (family("sdxl"), family_folder("sdxl"));
    let layout = block_on(unet_layout(&folder)).unwrap();
    let written = Spelling::of(base.family.architecture, Some(&layout));
    let file = memory_file("families/sdxl_lora.safetensors");
    let file = block_on(LoraFile::read(Box::new(file))).unwrap();
    let targets = base.unet.targets();
    let modules = targets.iter().map(|(_, target)| {
        let name = written.kohya_name(target.component, &target.path);
        (target.kohya_name(), file.modules[&name].clone())
    });
    let renamed = LoraFile {
        modules: modules.collect(),
        ..LoraFile::default()
    };
    let of = |file: &LoraFile| LoadedLora::new(base, file, "lora").unwrap();
    let (ours, theirs) = (of(&renamed), of(&file));
    assert_eq!(ours.matched, targets.len(), "every module");
    let flat = |lora: LoadedLora| lora.network.flatten();
    assert_close("factors", flat(ours), flat(theirs), Tolerance::EXACT);
}

#[test]
fn the_modules_of_stable_diffusion_xl_are_called_as_kohya_calls_them() {
    let config = json!({
        "sample_size": 128,
        "block_out_channels": [320, 640, 1280],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "attention_head_dim": [5, 10, 20],
        "transformer_layers_per_block": [1, 2, 10],
        "cross_attention_dim": 2048,
        "use_linear_projection": true,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    });
    let config = UNetConfig::from_json(&config.to_string()).unwrap();
    let layout = UnetLayout {
        layers_per_block: 2,
        down_attention: vec![false, true, true],
        up_attention: vec![true, true, false],
    };
    let spelling = Spelling::of(Architecture::Sdxl, Some(&layout));
    let name = |path: &str| spelling.kohya_name(Component::Unet, path);
    let targets = unet::targets(&config);
    let ours = targets.iter().map(|(_, target)| &target.path);
    let ours: BTreeMap<String, String> = ours.map(|path| (path.clone(), name(path))).collect();
    let theirs: BTreeMap<String, String> = read_json("families/xl_names.json");
    assert_eq!(theirs.len(), 722, "modules that kohya trains");
    assert_eq!(ours, theirs, "diffusers' path, and the name in the file");
}

#[test]
fn both_text_encoders_count_in_what_a_base_takes() {
    let folder = family_folder("sdxl");
    let shape = block_on(BaseShape::read(&folder)).unwrap();
    let numbers = [
        Component::Unet,
        Component::Vae,
        Component::TextEncoder,
        Component::TextEncoder2,
    ]
    .map(|component| {
        let weights = open(&folder, component);
        let sizes = weights.tensors().map(|tensor| {
            let sides = tensor.entry.shape.iter();
            sides.map(|side| *side as u64).product::<u64>()
        });
        sizes.sum::<u64>()
    });
    let all: u64 = numbers.iter().sum();
    let bytes = shape.weights_bytes(WeightFormat::Single);
    assert_eq!(bytes, all * 4, "of {numbers:?} numbers");
}

/// torch multiplies a thousand alphas in f32, we in f64; near pure noise little is left of them:
/// 3.8e-5 measured at the last timestep but one of `sdxl_v`, where 2e-7 are left.
const ALPHAS: Tolerance = Tolerance::rel(1.5e-4);
/// As the alphas; and of `1 - alpha`, 8.5e-4 at the first timestep, an f32 alpha keeps four digits:
/// 2.6e-5 measured there.
const RATIOS: Tolerance = Tolerance::rel(1.5e-4);

#[test]
fn the_schedule_of_each_family_is_diffusers() {
    let fixture = Fixture::read("families/schedules.safetensors");
    for name in FAMILY_NAMES {
        let schedule = &family(name).schedule;
        let theirs = |part: &str| format!("{name}.{part}");
        let floats = |part: &str| fixture.floats(&theirs(part)).to_vec();
        let compare = |part: &str, ours: Vec<f64>, tolerance| {
            let ours: Vec<f32> = ours.into_iter().map(|value| value as f32).collect();
            assert_values_close(&theirs(part), &ours, &floats(part), tolerance);
        };
        let is_velocity = schedule.prediction_type() == PredictionType::VPrediction;
        assert_eq!(is_velocity, name.ends_with("_v"), "{name}");
        let alphas = (0..1000).map(|timestep| schedule.alpha_cumprod(timestep));
        compare("alphas_cumprod", alphas.collect(), ALPHAS);
        let timesteps = fixture.timesteps(&theirs("weight_timesteps"));
        let snr = timesteps.iter().map(|timestep| schedule.snr(*timestep));
        compare("snr", snr.collect(), RATIOS);
        let weights = timesteps.iter();
        let weights = weights.map(|timestep| schedule.min_snr_weight(*timestep, 5.0));
        compare("min_snr_weight", weights.collect(), RATIOS);

        let (ddim, euler) = (Ddim::new(schedule, 8), Euler::new(schedule, 8));
        let theirs_ddim = fixture.timesteps(&theirs("ddim_timesteps"));
        assert_eq!(ddim.timesteps(), theirs_ddim, "DDIM of {name}");
        // What a prediction of 1 moves the clean picture by, squared.
        for timestep in theirs_ddim {
            let ones = Tensor::ones([1, 1, 1, 1], &cpu());
            let moved = ddim.pred_original_sample(timestep, ones.clone(), ones.zeros_like());
            let weight = schedule.picture_weight(timestep) as f32;
            let label = format!("picture_weight of {name} at {timestep}");
            assert_values_close(&label, &[weight], &values(moved.square()), RATIOS);
        }
        let theirs_euler = fixture.timesteps(&theirs("euler_timesteps"));
        assert_eq!(euler.timesteps(), theirs_euler, "Euler of {name}");
        compare("euler_sigmas", euler.sigmas().to_vec(), RATIOS);
        let first = vec![euler.init_noise_sigma()];
        compare("euler_init_noise_sigma", first, RATIOS);
    }
    let ends = family("sdxl_v").schedule.alpha_cumprod(999);
    assert_eq!(ends, 0.0, "in pure noise");
}

/// The UNet's error, times guidance and the step's factors: 5.6e-6 measured.
const STEP: f32 = 2.3e-5;
/// What the steps' errors add up to: 8.9e-5 measured where Euler begins in pure noise, whose first
/// step rounds latents of 4096; 1.8e-5 on all other ways.
const WAY: f32 = 3.6e-4;

fn assert_walks(
    family: &str,
    walk: &str,
    scale: impl Fn(usize) -> f32,
    advance: impl Fn(usize, Tensor<4>) -> Tensor<4>,
) {
    let fixture = fixture(family, "walks");
    let start: Tensor<4> = fixture.tensor(&format!("{walk}.latent"), &cpu());
    let latents: Tensor<4> = fixture.tensor(&format!("{walk}.latents"), &cpu());
    let walk = Walk {
        label: &format!("{walk} of {family}"),
        start,
        latents,
        step: STEP,
        way: WAY,
    };
    walk.assert_matches(scale, advance);
}

#[test]
fn samplers_walk_as_diffusers_do_in_every_family() {
    for name in FAMILY_NAMES {
        let (base, fixture) = (family(name), fixture(name, "walks"));
        let nothing = LoraStack::none();
        let negative = fixture.conditioning("negative.encoder_hidden_states", &cpu());
        let guidance = Guidance {
            conditional: fixture.conditioning("encoder_hidden_states", &cpu()),
            unconditional: negative.clone(),
            scale: 3.0,
            rescale: if name == "sdxl_v" { 0.7 } else { 0.0 },
        };
        let ddim = Ddim::new(&base.schedule, 8);
        assert_walks(
            name,
            "ddim",
            |_| 1.0,
            |step, latent| {
                let timestep = ddim.timesteps()[step];
                let pred = guidance.noise_pred(&base.unet, latent.clone(), timestep, &nothing);
                ddim.step(timestep, pred, latent)
            },
        );
        let euler = Euler::new(&base.schedule, 8);
        // Euler's latents are larger: each is as large as the noise in it.
        let scale = |step: usize| euler.sigmas()[step].max(1.0) as f32;
        assert_walks(name, "euler", scale, |step, latent| {
            let timestep = euler.timesteps()[step];
            let scaled = euler.scale_model_input(step, latent.clone());
            let pred = guidance.noise_pred(&base.unet, scaled, timestep, &nothing);
            euler.step(step, pred, latent)
        });
        let unguided = Guidance::unguided(negative);
        let timesteps: Vec<usize> = ddim.timesteps().iter().rev().copied().collect();
        let theirs = fixture.timesteps("inverse.timesteps");
        assert_eq!(timesteps, theirs, "inversion of {name}, lowest first");
        assert_walks(
            name,
            "inverse",
            |_| 1.0,
            |step, latent| {
                let timestep = timesteps[step];
                let pred = unguided.noise_pred(&base.unet, latent.clone(), timestep, &nothing);
                ddim.invert_step(timestep, pred, latent)
            },
        );
    }
}

/// On random weights, whose gradients cancel more than trained ones.
const STEPS: Allowed = Allowed {
    // torch's min-SNR weights, which come from f32 alphas: 3.1e-6 measured.
    loss: Tolerance::rel(1.3e-5),
    // As the loss: 9.5e-6 measured.
    grad_norm: Tolerance::rel(4e-5),
    // 7.7e-4 measured on one query of `sdxl_v`, of which torch's own f32 is 1.4e-4 from what it gets
    // in f64; 1.9e-4 on all others.
    gradient: 3e-3,
    // Of a learning rate of 1e-3: 3.4e-6 measured.
    after: Tolerance::abs(1.4e-5),
    // Some queries see tokens that are nearly alike.
    learning: 0.5,
};

fn assert_steps(part: &str, step: Step) {
    for name in ["sd2_v", "sdxl", "sdxl_v"] {
        let file = format!("families/{name}_{part}.safetensors");
        assert_step(&file, family(name), &Scene::family(name), step, STEPS);
    }
}

#[test]
fn a_step_of_plain_matches_the_reference_in_every_family() {
    assert_steps("plain", Step::Plain);
}

#[test]
fn a_step_of_the_copier_s_first_pass_matches_the_reference_in_every_family() {
    assert_steps("copier_1", Step::Copy);
}

#[test]
fn a_step_of_the_copier_s_second_pass_matches_the_reference_in_every_family() {
    assert_steps("copier_2", Step::Difference);
}

#[test]
fn a_step_of_addift_matches_the_reference_in_every_family() {
    assert_steps("addift", Step::Addift(Direction::Forward));
}

#[test]
fn a_step_of_the_slider_matches_the_reference_in_every_family() {
    assert_steps("slider", Step::Slider(Direction::Forward));
}
