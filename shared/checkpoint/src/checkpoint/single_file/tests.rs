//! Files of `tests/fixtures/single`, which diffusers reads too: see `tests/reference/parity/single_file.py`.

use std::path::{Path, PathBuf};

use half::f16;
use pollster::block_on;
use serde_json::{Map, Value, json};

use super::*;
use crate::config::TimestepSpacing;
use crate::family::Mark;
use crate::{
    Array, DiskFile, DiskFolder, Dtype, EmbeddedFolder, Family, MemoryFile, PredictionType,
    SchedulerConfig, TensorEntry, UNetConfig, VaeConfig, WithVae,
};

const VOCABULARY: EmbeddedFolder = EmbeddedFolder {
    name: "vocabulary",
    files: &[
        ("tokenizer/vocab.json", br#"{"!": 0}"#),
        ("tokenizer/merges.txt", b"#version: 0.2\n"),
    ],
};

fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    fixtures.join("single").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap()
}

fn open_bytes(bytes: Vec<u8>) -> Result<SingleFile, CheckpointError> {
    let source = MemoryFile::new("model.safetensors", bytes);
    block_on(SingleFile::open(Box::new(source), Box::new(VOCABULARY)))
}

fn open(name: &str) -> SingleFile {
    let source = DiskFile::open(fixture(name)).unwrap();
    block_on(SingleFile::open(Box::new(source), Box::new(VOCABULARY))).unwrap()
}

/// A tensor of a file: its name, its entry in the header, its bytes.
type Tensor = (String, Value, Vec<u8>);

/// Read without Mimeo's own reader.
fn tensors(file: &[u8]) -> Vec<Tensor> {
    let (length, rest) = file.split_first_chunk().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let header: Map<String, Value> = serde_json::from_slice(header).unwrap();
    let place = |entry: &Value, end: usize| entry["data_offsets"][end].as_u64().unwrap() as usize;
    header
        .into_iter()
        .filter(|(name, _)| name != "__metadata__")
        .map(|(name, entry)| {
            let bytes = data[place(&entry, 0)..place(&entry, 1)].to_vec();
            (name, entry, bytes)
        })
        .collect()
}

fn file_of(tensors: &[Tensor], metadata: &[(&str, &str)]) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), Vec::new());
    if !metadata.is_empty() {
        let metadata: BTreeMap<_, _> = metadata.iter().copied().collect();
        header.insert("__metadata__".to_owned(), json!(metadata));
    }
    for (name, entry, bytes) in tensors {
        let start = data.len();
        data.extend(bytes);
        let mut entry = entry.clone();
        entry["data_offsets"] = json!([start, data.len()]);
        header.insert(name.clone(), entry);
    }
    let header = Value::Object(header).to_string();
    let length = (header.len() as u64).to_le_bytes();
    [&length, header.as_bytes(), &data].concat()
}

/// A tensor of single precision.
fn single(name: &str, shape: &[usize], numbers: &[f32]) -> Tensor {
    let bytes = numbers.iter().flat_map(|it| it.to_le_bytes()).collect();
    let entry = json!({"dtype": "F32", "shape": shape});
    (name.to_owned(), entry, bytes)
}

fn without(file: &[u8], prefix: &str) -> Vec<u8> {
    let mut tensors = tensors(file);
    tensors.retain(|(name, ..)| !name.starts_with(prefix));
    file_of(&tensors, &[])
}

/// Every weight of a component with its type, shape and bits.
fn weights(
    checkpoint: &dyn Checkpoint,
    component: Component,
) -> BTreeMap<String, (Vec<usize>, Vec<u32>)> {
    let weights = block_on(checkpoint.weights(component)).unwrap();
    let read = |tensor: super::super::WeightTensor<'_>| {
        let Array { shape, data } = block_on(tensor.read_f32()).unwrap();
        assert_eq!(shape, tensor.entry.shape, "of {}", tensor.name);
        if tensor.entry.dtype == Dtype::F16 {
            let halves = block_on(tensor.read_f16()).unwrap();
            let halves: Vec<f32> = halves.into_iter().map(f16::to_f32).collect();
            assert_eq!(halves, data, "{} as it is stored", tensor.name);
        }
        let bits = data.into_iter().map(f32::to_bits).collect();
        (tensor.name.to_owned(), (shape, bits))
    };
    weights.tensors().map(read).collect()
}

fn config(checkpoint: &dyn Checkpoint, component: Component) -> Value {
    serde_json::from_str(&block_on(checkpoint.config(component)).unwrap()).unwrap()
}

fn components(family: &str) -> Vec<Component> {
    let mut components = vec![Component::Unet, Component::Vae, Component::TextEncoder];
    if family == "sdxl" {
        components.push(Component::TextEncoder2);
    }
    components
}

fn assert_same(single: &dyn Checkpoint, family: &str) {
    let folder = DiskFolder::new(fixture(family)).unwrap();
    for component in components(family) {
        let (found, expected) = (weights(single, component), weights(&folder, component));
        let names = |map: &BTreeMap<String, _>| map.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&found), names(&expected), "{component:?} of {family}");
        for (name, weight) in &expected {
            assert_eq!(Some(weight), found.get(name), "{name} of {family}");
        }
    }
    for component in components(family).into_iter().chain([Component::Scheduler]) {
        let (found, expected) = (config(single, component), config(&folder, component));
        for (field, value) in found.as_object().unwrap() {
            let told = &expected[field];
            let is_same = match (value.as_f64(), told.as_f64()) {
                (Some(value), Some(told)) => value == told,
                _ => value == told,
            };
            assert!(
                is_same,
                "{field} of {component:?} of {family}: {value} is not {told}"
            );
        }
    }
}

#[test]
fn a_single_file_is_its_folder_bit_for_bit() {
    for family in ["sd1", "sd2", "sdxl"] {
        assert_same(&open(&format!("{family}.safetensors")), family);
    }
}

#[test]
fn a_file_in_f32_with_novelai_names_and_averaged_weights_is_the_same() {
    let file = open("sd1_nai.safetensors");
    assert_same(&file, "sd1");
    let notes = file.notes().join("\n");
    assert!(notes.contains("3 of averaged weights (EMA)"), "{notes}");
    assert!(!notes.contains("does not know"), "{notes}");
    let plain = open("sd1.safetensors").notes();
    assert_eq!(plain.len(), 1, "nothing else to say: {plain:?}");
}

#[test]
fn what_a_file_is_is_told_with_the_reason() {
    let told = |bytes: &[u8], metadata: &[(&str, &str)], dropped: &[&str]| {
        let mut tensors = tensors(bytes);
        tensors.retain(|(name, ..)| !dropped.contains(&&**name));
        *open_bytes(file_of(&tensors, metadata)).unwrap().detected()
    };
    let [sd1, sd2, sdxl] = ["sd1", "sd2", "sdxl"].map(|it| bytes(&format!("{it}.safetensors")));

    let found = told(&sd1, &[], &[]);
    assert_eq!(
        found.family.architecture,
        Architecture::Sd1Like,
        "by its shapes"
    );
    assert_eq!(
        found.family.prediction_type,
        PredictionType::Epsilon,
        "as most"
    );
    assert_eq!(found.prediction_by, None, "nothing says so");

    let found = told(&sd2, &[], &[]);
    assert_eq!(
        found.family.architecture,
        Architecture::Sd2Like,
        "by its shapes"
    );
    assert_eq!(
        found.family.prediction_type,
        PredictionType::VPrediction,
        "velocity"
    );
    assert_eq!(found.prediction_by, Some(Mark::Spread), "of a bias");
    let kohya = [("modelspec.prediction_type", "epsilon")];
    let found = told(&sd2, &kohya, &[]);
    assert_eq!(
        found.family.prediction_type,
        PredictionType::Epsilon,
        "it is said"
    );
    let by = Some(Mark::Metadata("modelspec.prediction_type"));
    assert_eq!(found.prediction_by, by, "before it is guessed");

    let found = told(&sdxl, &[], &[]);
    assert_eq!(
        found.family.architecture,
        Architecture::SdxlLike,
        "by its shapes"
    );
    assert_eq!(
        found.family.prediction_type,
        PredictionType::VPrediction,
        "velocity"
    );
    assert_eq!(
        found.prediction_by,
        Some(Mark::Tensor("v_pred")),
        "its mark"
    );
    assert!(found.family.zero_terminal_snr, "its other mark");
    let sentence = found.to_string();
    for word in [
        "XL",
        "v-prediction",
        "\"v_pred\"",
        "pure noise",
        "\"ztsnr\"",
    ] {
        assert!(sentence.contains(word), "{word} in: {sentence}");
    }
    let found = told(&sdxl, &[], &["v_pred"]);
    assert_eq!(
        found.family.prediction_type,
        PredictionType::Epsilon,
        "no mark"
    );
    assert!(!found.family.zero_terminal_snr, "of noise nothing else");
    let comfy = [("modelspec.predict_key", "v")];
    let found = told(&sdxl, &comfy, &["v_pred", "ztsnr"]);
    assert_eq!(
        found.family.prediction_type,
        PredictionType::VPrediction,
        "said"
    );
    assert!(!found.family.zero_terminal_snr, "not said");
}

#[test]
fn a_prediction_can_be_said_instead() {
    use PredictionType::{Epsilon, VPrediction};
    let json = block_on(open("sdxl.safetensors").config(Component::Scheduler)).unwrap();
    let plain = SchedulerConfig::from_json(&json).unwrap();
    let told = |config: &SchedulerConfig| (config.prediction_type, config.has_zero_terminal_snr());
    assert_eq!(told(&plain), (VPrediction, true), "as the file tells");
    assert_eq!(told(&plain.as_said(None, None)), told(&plain), "nothing");
    let noise = plain.as_said(Some(Epsilon), None);
    assert_eq!(told(&noise), (Epsilon, false), "which goes with no other");
    let shorter = plain.as_said(None, Some(false));
    assert_eq!(told(&shorter), (VPrediction, false), "as it was said");
    let again = shorter.as_said(None, Some(true));
    assert_eq!(again.betas(), plain.betas(), "and back");

    let ordinary = SchedulerConfig::from_json("{}").unwrap();
    let whole = ordinary.as_said(Some(VPrediction), Some(true));
    assert_eq!(told(&whole), (VPrediction, true), "both");
    assert_eq!(
        whole.timestep_spacing,
        TimestepSpacing::Trailing,
        "a drawing begins in pure noise"
    );
}

#[test]
fn a_vae_can_be_given_instead() {
    // Alone as people share it, in diffusers' names, and in a whole checkpoint.
    let whole = bytes("sdxl.safetensors");
    let bare = without(&whole, "first_stage_model.");
    let mut alone = tensors(&whole);
    alone.retain(|(name, ..)| name.starts_with("first_stage_model."));
    for (name, ..) in &mut alone {
        *name = name.replace("first_stage_model.", "");
    }
    let diffusers = bytes("sdxl/vae/diffusion_pytorch_model.safetensors");
    for vae in [file_of(&alone, &[]), diffusers, whole] {
        let sha256 = crate::sha256::sha256_hex(&vae);
        let source = Box::new(MemoryFile::new("models/vae.safetensors", vae));
        let checkpoint = Box::new(open_bytes(bare.clone()).unwrap());
        assert_eq!(
            block_on(checkpoint.vae_file()).unwrap(),
            None,
            "none but its own"
        );
        let checkpoint = block_on(WithVae::new(checkpoint, source)).unwrap();
        assert_same(&checkpoint, "sdxl");
        let named = block_on(checkpoint.vae_file()).unwrap().unwrap();
        assert_eq!(named.name, "vae.safetensors", "without its folder");
        assert_eq!(named.sha256, sha256, "of all of it");
        let notes = checkpoint.notes().join("\n");
        assert!(notes.contains("vae.safetensors"), "which: {notes}");
    }
    let source = Box::new(MemoryFile::new("unet.safetensors", bare));
    let refused = block_on(WithVae::new(Box::new(open("sdxl.safetensors")), source));
    let refused = refused.err().unwrap();
    assert!(
        matches!(refused, CheckpointError::NotAVae { .. }),
        "{refused}"
    );
}

#[test]
fn what_is_missing_is_told_with_what_to_do() {
    let whole = bytes("sdxl.safetensors");
    for (prefix, component, words) in [
        (
            "first_stage_model.",
            Component::Vae,
            ["holds no VAE", "--vae FILE"],
        ),
        (
            "conditioner.embedders.0.",
            Component::TextEncoder,
            ["holds no text encoder", "choose a checkpoint"],
        ),
        (
            "conditioner.embedders.1.",
            Component::TextEncoder2,
            ["holds no second text encoder", "choose a checkpoint"],
        ),
    ] {
        let file = open_bytes(without(&whole, prefix)).unwrap();
        let errors = [
            block_on(file.config(component)).err(),
            block_on(file.weights(component)).err(),
        ];
        for error in errors {
            let error = error.unwrap();
            let is_vae = component == Component::Vae;
            assert_eq!(error.is_missing_vae(), is_vae, "which can be brought");
            let sentence = error.to_string();
            for word in words {
                assert!(sentence.contains(word), "{word:?} in: {sentence}");
            }
        }
        assert!(block_on(Family::of(&file)).is_ok(), "what it is, is known");
    }
}

#[test]
fn a_unet_alone_is_told_as_such() {
    let mut alone = tensors(&bytes("sdxl.safetensors"));
    alone.retain(|(name, ..)| name.starts_with("model.diffusion_model."));
    let file = open_bytes(file_of(&alone, &[])).unwrap();
    let error = block_on(file.config(Component::Vae)).unwrap_err();
    assert!(!error.is_missing_vae(), "{error}");
    let sentence = error.to_string();
    assert!(
        sentence.contains("holds no text encoder"),
        "a VAE would not help: {sentence}"
    );
    let part = bytes("sd1/unet/diffusion_pytorch_model.safetensors");
    let sentence = open_bytes(part).err().unwrap().to_string();
    assert!(
        sentence.contains("one file of a diffusers folder"),
        "{sentence}"
    );
}

#[test]
fn a_tokenizer_comes_from_elsewhere_and_fills_as_the_family_does() {
    for (file, component, filler) in [
        ("sd1", Component::TextEncoder, "<|endoftext|>"),
        ("sd2", Component::TextEncoder, "!"),
        ("sdxl", Component::TextEncoder, "<|endoftext|>"),
        ("sdxl", Component::TextEncoder2, "!"),
    ] {
        let file = open(&format!("{file}.safetensors"));
        let read = |name| block_on(file.tokenizer_file(component, name));
        let special: Value =
            serde_json::from_str(&read("special_tokens_map.json").unwrap()).unwrap();
        assert_eq!(
            special["pad_token"],
            filler,
            "{component:?} of {}",
            file.name()
        );
        assert_eq!(
            read("vocab.json").unwrap(),
            r#"{"!": 0}"#,
            "as it was given"
        );
        for other in ["tokenizer.json", "added_tokens.json", "../vocab.json"] {
            let answer = read(other);
            let is_missing = matches!(answer, Err(CheckpointError::MissingFile { .. }));
            assert!(is_missing, "{other}: {answer:?}");
        }
    }
}

#[test]
fn the_hash_is_that_of_the_whole_file() {
    let file = open("sd1.safetensors");
    let expected = crate::sha256::sha256_hex(&bytes("sd1.safetensors"));
    assert_eq!(block_on(file.hash()).unwrap(), expected, "header included");
}

/// The UNet in 8 bits, each byte a number; what stands beside it stays.
fn in_fp8(dtype: &str) -> Vec<Tensor> {
    let mut tensors = tensors(&bytes("sd1.safetensors"));
    for (name, entry, bytes) in &mut tensors {
        if name.starts_with("model.diffusion_model.") {
            entry["dtype"] = json!(dtype);
            // Neither 7F, which is no number, nor the infinities of E5M2.
            *bytes = bytes.iter().step_by(2).map(|byte| byte & 0xBB).collect();
        }
    }
    tensors
}

const PROJECTION: &str = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight";
const LDM_PROJECTION: &str = "model.diffusion_model.middle_block.1.transformer_blocks.0.attn1.to_q";

#[test]
fn fp8_is_read_as_the_numbers_that_it_stands_for() {
    for (dtype, of_one) in [("F8_E4M3", 0x38), ("F8_E5M2", 0x3C)] {
        let mut tensors = in_fp8(dtype);
        for (name, _, bytes) in &mut tensors {
            if name.strip_suffix(".weight") == Some(LDM_PROJECTION) {
                bytes.fill(of_one);
            }
        }
        let file = open_bytes(file_of(&tensors, &[])).unwrap();
        let unet = block_on(file.weights(Component::Unet)).unwrap();
        assert!(unet.refuse_quantised().is_ok(), "{dtype} is read");
        let is_half = unet
            .tensors()
            .all(|tensor| tensor.entry.dtype == Dtype::F16);
        assert!(is_half, "{dtype} loses nothing as f16");
        let found = weights(&file, Component::Unet);
        let (_, bits) = &found[PROJECTION];
        assert!(
            bits.iter().all(|bits| f32::from_bits(*bits) == 1.0),
            "{dtype}"
        );

        // As ComfyUI scales it, and as others do.
        for scale in ["scale_weight", "weight_scale"] {
            let mut scaled = tensors.clone();
            scaled.push(single(&format!("{LDM_PROJECTION}.{scale}"), &[], &[0.375]));
            scaled.push(single("scaled_fp8", &[0], &[]));
            let file = open_bytes(file_of(&scaled, &[])).unwrap();
            assert_eq!(file.notes().len(), 1, "nothing is left aside");
            let found = weights(&file, Component::Unet);
            let (_, bits) = &found[PROJECTION];
            let is_scaled = bits.iter().all(|bits| f32::from_bits(*bits) == 0.375);
            assert!(is_scaled, "{dtype} with {scale}");
        }
    }
}

#[test]
fn other_packings_are_refused_by_name() {
    let mut rows = in_fp8("F8_E4M3");
    rows.push(single(
        &format!("{LDM_PROJECTION}.scale_weight"),
        &[2],
        &[1.0, 2.0],
    ));
    let sentence = open_bytes(file_of(&rows, &[])).err().unwrap().to_string();
    assert!(
        sentence.contains("a scale for each row or block"),
        "{sentence}"
    );
    let file = open_bytes(file_of(&in_fp8("I8"), &[])).unwrap();
    let unet = block_on(file.weights(Component::Unet)).unwrap();
    let sentence = unet.refuse_quantised().unwrap_err().to_string();
    assert!(sentence.contains("stored as I8"), "{sentence}");
}

#[test]
fn two_tensors_that_are_one_weight_are_refused() {
    let mut twice = tensors(&bytes("sd1.safetensors"));
    let prefix = "cond_stage_model.transformer.";
    let (name, entry, bytes) = twice
        .iter()
        .find(|(name, ..)| name.ends_with("final_layer_norm.bias"))
        .cloned()
        .unwrap();
    let other = name.replace("text_model.", "");
    assert!(other.starts_with(prefix) && other != name, "{other}");
    twice.push((other, entry, bytes));
    let refused = open_bytes(file_of(&twice, &[])).err().unwrap();
    assert!(
        matches!(refused, CheckpointError::DuplicateTensor { .. }),
        "{refused}"
    );
}

/// Asks for everything there is; answers the first refusal.
fn look_through(bytes: Vec<u8>) -> Result<(), CheckpointError> {
    let file = open_bytes(bytes)?;
    file.notes();
    block_on(Family::of(&file))?;
    block_on(file.config(Component::Scheduler))?;
    for component in components("sdxl") {
        block_on(file.config(component))?;
        block_on(file.weights(component))?.refuse_quantised()?;
    }
    Ok(())
}

fn one_sentence(error: &CheckpointError) {
    let sentence = error.to_string();
    assert!(!sentence.chars().any(char::is_control), "{sentence:?}");
    assert!(sentence.len() < 1000, "{sentence}");
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let whole = bytes("sdxl.safetensors");
    look_through(whole.clone()).unwrap();
    for length in (0..whole.len())
        .step_by(9973)
        .chain([1, 7, 8, 9, whole.len() - 1])
    {
        let refused = look_through(whole[..length].to_vec()).unwrap_err();
        one_sentence(&refused);
    }
}

#[test]
fn a_file_without_any_one_of_its_tensors_or_with_its_shape_wrong_does_no_harm() {
    let whole = tensors(&bytes("sdxl.safetensors"));
    for place in (0..whole.len()).step_by(23) {
        let mut fewer = whole.clone();
        fewer.remove(place);
        if let Err(error) = look_through(file_of(&fewer, &[])) {
            one_sentence(&error);
        }
        let empty = [json!([]), json!([0]), json!([0, 3]), json!([usize::MAX, 0])];
        for shape in empty {
            let mut odd = whole.clone();
            let bytes = if shape == json!([]) {
                vec![0; 4]
            } else {
                Vec::new()
            };
            odd[place].1 = json!({"dtype": "F32", "shape": shape});
            odd[place].2 = bytes;
            if let Err(error) = look_through(file_of(&odd, &[])) {
                one_sentence(&error);
            }
        }
    }
}

#[test]
fn a_hundred_thousand_tensors_are_counted_and_not_kept() {
    let mut many = tensors(&bytes("sd1.safetensors"));
    for index in 0..50_000 {
        many.push(single(&format!("strange.{index}.\u{1b}[31m"), &[0], &[]));
        many.push(single(
            &format!("model.diffusion_model.strange.{index}"),
            &[0],
            &[],
        ));
    }
    let file = open_bytes(file_of(&many, &[])).unwrap();
    let notes = file.notes().join("\n");
    assert!(notes.contains("100000 that Mimeo does not know"), "{notes}");
    assert!(!notes.contains('\u{1b}'), "{notes:?}");
    assert_same(&file, "sd1");
}

#[test]
fn a_unet_without_end_is_refused() {
    let mut endless = tensors(&bytes("sd1.safetensors"));
    let block = |slot| format!("model.diffusion_model.input_blocks.{slot}.0.in_layers.2.weight");
    for slot in 12..100_000 {
        endless.push(single(&block(slot), &[0], &[]));
    }
    let refused = open_bytes(file_of(&endless, &[])).err().unwrap();
    let sentence = refused.to_string();
    assert!(sentence.contains("unusual number of layers"), "{sentence}");
}

/// Shapes of Stable Diffusion XL's own UNet, which diffusers knows too.
#[derive(serde::Deserialize)]
struct Keys {
    diffusers: BTreeMap<String, Vec<usize>>,
    ldm: BTreeMap<String, String>,
}

#[test]
fn the_real_sizes_of_xl_give_the_real_configuration() {
    let json = std::fs::read_to_string(fixture("../sdxl_keys.json")).unwrap();
    let keys: Keys = serde_json::from_str(&json).unwrap();
    let entry = |name: &str| TensorEntry::of_shape(Dtype::F16, &keys.diffusers[name]);
    let tensors = keys.ldm.iter();
    let tensors = tensors
        .map(|(ldm, name)| (ldm.clone(), entry(name)))
        .collect();
    let layout = unet::layout(&tensors).unwrap();
    assert_eq!(layout, crate::names::UnetLayout::sdxl(), "its blocks");
    let views: Views = keys
        .diffusers
        .keys()
        .map(|name| (name.clone(), View::plain(name, &entry(name))))
        .collect();
    let family = Family {
        architecture: Architecture::Sdxl,
        context_width: 2048,
        in_channels: 4,
        prediction_type: PredictionType::Epsilon,
        zero_terminal_snr: false,
    };
    let json = config::unet(&views, None, &family).unwrap();
    let found: Value = serde_json::from_str(&json).unwrap();
    for (field, expected) in [
        ("block_out_channels", json!([320, 640, 1280])),
        ("attention_head_dim", json!([5, 10, 20])),
        ("transformer_layers_per_block", json!([1, 2, 10])),
        ("norm_num_groups", json!(32)),
        ("sample_size", json!(128)),
        ("addition_time_embed_dim", json!(256)),
        ("projection_class_embeddings_input_dim", json!(2816)),
        ("use_linear_projection", json!(true)),
    ] {
        assert_eq!(found[field], expected, "{field}");
    }
}

#[test]
fn a_distilled_model_is_called_so() {
    let mut tensors = tensors(&bytes("sdxl.safetensors"));
    tensors.retain(|(name, ..)| !name.contains("middle_block.1.transformer_blocks.1."));
    let refused = look_through(file_of(&tensors, &[]))
        .unwrap_err()
        .to_string();
    assert!(refused.contains("a distilled model"), "{refused}");
}

#[test]
fn the_derived_configurations_are_ones_that_mimeo_reads() {
    let file = open("sd1.safetensors");
    let json = |component| block_on(file.config(component)).unwrap();
    let unet = UNetConfig::from_json(&json(Component::Unet)).unwrap();
    assert_eq!(unet.heads(0), 8, "of Stable Diffusion 1");
    let vae = VaeConfig::from_json(&json(Component::Vae)).unwrap();
    assert_eq!(vae.downscale(), 8, "four levels");
    crate::TextEncoderConfig::from_json(&json(Component::TextEncoder)).unwrap();
    crate::SchedulerConfig::from_json(&json(Component::Scheduler)).unwrap();
}
