//! LoRAs that change a whole model, convolutions and text encoders included, beside what kohya's and
//! LyCORIS' merging, diffusers and peft make of them (`tests/reference/parity/applied.py`).

use std::collections::BTreeMap;

use burn::tensor::{Int, Tensor, TensorData};
use mimeo_checkpoint::names::{Part, Spelling};
use mimeo_checkpoint::{Architecture, LoraFile};
use mimeo_diffusion::{Conditioning, Ddim, Guidance};
use mimeo_engine::sample::sample;
use mimeo_engine::{Base, LoadedLora, NoRest, SampleRequest};
use mimeo_lora::{LoraNetwork, LoraStack, TargetKind};
use mimeo_protocol::PromptSyntax;
use mimeo_train::{Student, copier};
use pollster::block_on;

use crate::support::close::{Tolerance, assert_close, values};
use crate::support::fixture::{Fixture, memory_file};
use crate::support::models::{cpu, family, family_folder, micro, sd1x, unet};
use crate::support::scene::{Scene, masked_with_prior};
use crate::support::test;

const BASES: [&str; 3] = ["micro", "sd2", "sdxl"];
const FILES: [&str; 3] = ["kohya", "tucker", "diffusers"];
const PROMPTS: [&str; 2] = ["", "glasses, smile"];
/// Pictures of the miniatures, px.
const SIZE: (u32, u32) = (64, 64);
/// Of kohya's file; the others act with their full strength.
const MULTIPLIER: f64 = 0.7;
/// Sums in another order, and factors beside a weight instead of in it: 6.3e-6 measured, on states of 2.7.
const STATES: Tolerance = Tolerance::abs(2.5e-5);
/// As the states, through all blocks: 4.3e-6 measured, the answer being of order one.
const WHOLE: Tolerance = Tolerance::abs(1.7e-5);
/// What four steps with guidance make of that: 2.1e-5 measured, on latents of 11.
const LATENTS: Tolerance = Tolerance::abs(8.5e-5);

fn base(name: &str) -> &'static Base {
    match name {
        "micro" => micro(),
        family_name => family(family_name),
    }
}

fn read(base: &str, file: &str) -> LoraFile {
    let file = memory_file(&format!("applied/{base}_{file}.safetensors"));
    block_on(LoraFile::read(Box::new(file))).unwrap()
}

fn load(base_name: &str, file: &str) -> LoadedLora {
    LoadedLora::new(base(base_name), &read(base_name, file), file).unwrap()
}

fn stack<'a>(network: &'a LoraNetwork, file: &str) -> LoraStack<'a> {
    let multiplier = if file == "kohya" { MULTIPLIER } else { 1.0 };
    LoraStack::none().with(network, multiplier)
}

fn said(base: &Base, prompt: &str, lora: &LoraStack<'_>) -> Conditioning {
    let said = base.encode_prompt(prompt, PromptSyntax::A1111, SIZE, lora);
    block_on(said).unwrap()
}

/// The base alone, and it with each file.
fn for_each_file(compare: impl Fn(&str, &Base, &Fixture, &str, &LoraStack<'_>)) {
    for name in BASES {
        let fixture = Fixture::read(&format!("applied/{name}.safetensors"));
        compare(name, base(name), &fixture, "base", &LoraStack::none());
        for file in FILES {
            let lora = load(name, file);
            let stack = stack(&lora.network, file);
            compare(name, base(name), &fixture, file, &stack);
        }
    }
}

#[test]
fn all_that_the_programs_write_is_applied() {
    for name in BASES {
        for file in FILES {
            let (file, lora) = (read(name, file), load(name, file));
            assert!(lora.left_out.is_empty(), "of {name}: {}", lora.left_out);
            assert_eq!(lora.matched, file.modules.len(), "every module of {name}");
        }
        let parts = read(name, "kohya").applied();
        let expected = match name {
            "sdxl" => vec![
                Part::Transformers,
                Part::Convolutions,
                Part::Embeddings,
                Part::TextEncoder,
                Part::TextEncoder2,
            ],
            _ => vec![
                Part::Transformers,
                Part::Convolutions,
                Part::Embeddings,
                Part::TextEncoder,
            ],
        };
        assert_eq!(Vec::from_iter(parts.into_keys()), expected, "of {name}");
    }
}

#[test]
fn prompts_are_said_under_a_lora_as_the_programs_say_them() {
    for_each_file(|name, base, fixture, file, lora| {
        for (index, prompt) in PROMPTS.iter().enumerate() {
            let ours = said(base, prompt, lora);
            let label = format!("prompt {index} of {name} under {file}");
            let theirs = fixture.tensor(&format!("{file}.{index}"), &cpu());
            assert_close(&label, ours.hidden_states, theirs, STATES);
            let pooled = format!("{file}.{index}.pooled");
            assert_eq!(ours.pooled.is_some(), fixture.has(&pooled), "{label}");
            if let Some(ours) = ours.pooled {
                let theirs = fixture.tensor(&pooled, &cpu());
                assert_close(&format!("{label}, pooled"), *ours, theirs, STATES);
            }
        }
    });
}

#[test]
fn a_unet_predicts_under_a_lora_what_the_programs_predict() {
    for_each_file(|name, base, fixture, file, lora| {
        let noise_pred = base.unet.forward(
            fixture.tensor("sample", &cpu()),
            fixture.int_tensor("timesteps", &cpu()),
            &said(base, PROMPTS[1], lora).repeat(2),
            lora,
        );
        let label = format!("noise_pred of {name} under {file}");
        let theirs = fixture.tensor(&format!("{file}.noise_pred"), &cpu());
        assert_close(&label, noise_pred, theirs, WHOLE);
    });
}

#[test]
fn what_is_drawn_under_a_lora_is_what_the_programs_draw() {
    for_each_file(|name, base, fixture, file, lora| {
        let guidance = Guidance {
            conditional: said(base, PROMPTS[1], lora),
            unconditional: said(base, PROMPTS[0], lora),
            scale: 3.0,
            rescale: 0.0,
        };
        let ddim = Ddim::new(&base.schedule, 4);
        let mut latent: Tensor<4> = fixture.tensor("latent", &cpu());
        for timestep in ddim.timesteps() {
            let pred = guidance.noise_pred(&base.unet, latent.clone(), *timestep, lora);
            latent = ddim.step(*timestep, pred, latent);
        }
        let label = format!("latents of {name} under {file}");
        let theirs = fixture.tensor(&format!("{file}.latents"), &cpu());
        assert_close(&label, latent, theirs, LATENTS);
    });
}

/// What of a file changes text encoders alone.
fn words_of(base: &str) -> LoraFile {
    let mut file = read(base, "kohya");
    file.modules
        .retain(|name, _| matches!(Part::of(name), Part::TextEncoder | Part::TextEncoder2));
    file
}

#[test]
fn a_lora_of_text_encoders_alone_changes_what_is_drawn() {
    let base = micro();
    let lora = LoadedLora::new(base, &words_of("micro"), "words").unwrap();
    let request = SampleRequest {
        steps: 2,
        size: SIZE,
        ..SampleRequest::new(base, vec![("smile".to_owned(), 3)])
    };
    let draw = |lora: &LoraStack<'_>| {
        let drawn = block_on(sample(base, &request, lora, &mut NoRest));
        drawn.unwrap().swap_remove(0)
    };
    let own = draw(&LoraStack::none());
    let changed = draw(&LoraStack::none().with(&lora.network, 1.0));
    assert!(
        own.pixels() != changed.pixels(),
        "the prompt says something else"
    );
    let nothing = draw(&LoraStack::none().with(&lora.network, 0.0));
    assert_eq!(own.pixels(), nothing.pixels(), "at strength 0 it does not");
}

#[test]
fn each_row_may_have_a_strength_of_its_own() {
    let base = family("sdxl");
    let lora = load("sdxl", "kohya");
    let fixture = Fixture::read("applied/sdxl.safetensors");
    let sample: Tensor<4> = fixture.tensor("sample", &cpu());
    let conditioning = said(base, PROMPTS[1], &LoraStack::none());
    let predict = |sample: Tensor<4>, lora: &LoraStack<'_>| {
        let [rows, ..] = sample.dims();
        let timesteps = TensorData::new(vec![500; rows], [rows]);
        let timesteps = Tensor::<1, Int>::from_data(timesteps, &cpu());
        base.unet
            .forward(sample, timesteps, &conditioning.repeat(rows), lora)
    };
    let strengths = [-0.5, 1.0];
    let together = LoraStack::none().with_each(&lora.network, strengths.to_vec());
    let together = predict(sample.clone(), &together);
    for (row, strength) in strengths.into_iter().enumerate() {
        let alone = LoraStack::none().with(&lora.network, strength);
        let alone = predict(sample.clone().narrow(0, row, 1), &alone);
        let row = together.clone().narrow(0, row, 1);
        assert_close(&format!("strength {strength}"), row, alone, WHOLE);
    }
}

#[test]
fn what_can_be_changed_is_told_by_part_in_every_numbering() {
    for name in ["micro", "sdxl"] {
        let unet = &base(name).unet;
        let layout = block_on(mimeo_checkpoint::family::unet_layout(&folder(name))).unwrap();
        let spellings = [
            Spelling::Diffusers,
            Spelling::of(Architecture::SdxlLike, Some(&layout)),
        ];
        let mut parts = BTreeMap::new();
        for (id, target) in unet.all_targets().iter() {
            let expected = match target.kind {
                _ if unet.targets().iter().any(|(trained, _)| trained == id) => Part::Transformers,
                TargetKind::Conv(_) => Part::Convolutions,
                TargetKind::Linear | TargetKind::Conv1x1 => Part::Embeddings,
            };
            *parts.entry(expected).or_insert(0) += 1;
            for spelling in &spellings {
                let name = spelling.kohya_name(target.component, &target.path);
                assert_eq!(Part::of(&name), expected, "of {name}");
            }
        }
        assert_eq!(parts.len(), 3, "of each part of {name}: {parts:?}");
    }
}

fn folder(name: &str) -> mimeo_checkpoint::EmbeddedFolder {
    match name {
        "micro" => crate::support::models::micro_folder(),
        _ => family_folder("sdxl"),
    }
}

/// kohya's tools say "create LoRA for U-Net: 278 modules" of Stable Diffusion 1.5 with `conv_dim`. They leave out
/// the first and the last convolution and the timestep's own embedding, which LyCORIS adapts.
#[test]
fn a_unet_of_stable_diffusion_1_5_has_as_many_modules_as_kohya_adapts_and_four_more() {
    let unet = unet(&sd1x());
    let all = unet.all_targets();
    assert_eq!(all.len(), 278 + 4, "in all");
    let mut convolutions = all.iter().filter(
        |(_, target)| matches!(target.kind, TargetKind::Conv(kernel) if kernel.stride == 2),
    );
    assert!(
        convolutions.all(|(_, target)| target.path.ends_with("downsamplers.0.conv")),
        "only these make pictures smaller"
    );
}

/// A copier that another program made may change convolutions; what is trained above it must learn
/// through them.
#[test]
fn gradients_go_through_the_convolutions_of_a_copier() {
    /// Far from rounding, near enough for a straight line.
    const STEP: f64 = 1e-3;
    let (base, scene) = (micro(), Scene::micro());
    let copier = load("micro", "kohya").network;
    let start = scene.difference(base.unet.targets());
    let weights = scene.weights(&masked_with_prior());
    let pair = scene.pair_of_one_prompt();
    let below = LoraStack::none().with(&copier, 1.0);
    let loss = |lora: &LoraNetwork| {
        let model = base.model();
        let student = Student {
            below: &below,
            lora,
            level: 1.0,
        };
        copier::difference_loss(model, &pair, &scene.draw, student, &weights, None)
    };
    let flat = start.flatten();
    let trained = start.with_values(&flat).trainable();
    let gradient = trained.flatten_gradients(&[loss(&trained).backward()]);
    let steepness = values(gradient.clone().square().sum())[0].sqrt();
    let uphill = gradient / f64::from(steepness);
    let at = |way: f64| {
        values(loss(
            &start.with_values(&(flat.clone() + uphill.clone() * way)),
        ))[0]
    };
    let measured = f64::from(at(STEP) - at(-STEP)) / (2.0 * STEP);
    let steepness = f64::from(steepness);
    assert!(
        (measured - steepness).abs() < 0.02 * steepness,
        "{measured} uphill, where the gradient says {steepness}"
    );
}
