//! A UNet whose weights stay f16, as on a GPU with half precision, beside one whose weights were
//! widened when it was loaded.
//!
//! The weights are the same numbers, and the sums the same in another order: a matrix that the CPU
//! backend widens when it is used lies in memory otherwise than one that was f32 all along.

use std::collections::BTreeMap;

use burn::tensor::{DType, Tensor};
use mimeo_checkpoint::{Checkpoint, Component, ComponentWeights, MemoryFile, SafetensorsFile};
use mimeo_diffusion::{Arithmetic, UNet2DConditionModel, WeightFormat, WeightMap};
use mimeo_engine::memory::BaseShape;
use mimeo_lora::LoraStack;
use mimeo_protocol::BatchSize;
use mimeo_train::{Dataset, Model, NoiseRng, Objective, Student, Trainer, plain};
use pollster::block_on;
use safetensors::{Dtype, serialize, tensor::TensorView};

use crate::support::close::{
    Comparison, Tolerance, assert_all_close, assert_close, assert_together, assert_values_close,
    values,
};
use crate::support::fixture::Fixture;
use crate::support::models::{bundled, cpu, micro, micro_folder, open, sd1x, unet_in};
use crate::support::scene::{GAMMA, Scene, addift, masked_with_prior, pass};
use crate::support::test;

/// Sums in another order: 1.8e-6 measured, the answer being of order one.
const PREDICTION: Tolerance = Tolerance::abs(7e-6);
/// In units of each gradient's largest element: 8.2e-6 measured.
const GRADIENT: f32 = 3.5e-5;
/// As the prediction: 5.7e-7 measured.
const LOSS: Tolerance = Tolerance::rel(2.4e-6);
/// Distance of the two LoRAs as a share of the way that they were trained: 7.3e-5 measured. Adam
/// moves a value by the learning rate even where its gradient is hardly more than rounding.
const MOVED: f64 = 3e-4;

const FORMATS: [WeightFormat; 2] = [WeightFormat::HalfAsStored, WeightFormat::Single];

/// A tensor on a device.
struct Uploaded {
    dtype: DType,
    values: Vec<f32>,
}

/// What a file puts on a device, by key.
fn upload(file: &ComponentWeights, format: WeightFormat) -> BTreeMap<String, Uploaded> {
    fn take<const D: usize>(weights: &mut WeightMap, key: &str, shape: &[usize]) -> Uploaded {
        let shape: [usize; D] = shape.try_into().unwrap();
        let tensor: Tensor<D> = weights.root().tensor(key, shape).unwrap();
        Uploaded {
            dtype: tensor.dtype(),
            values: values(tensor.cast(DType::F32)),
        }
    }
    let mut weights = block_on(WeightMap::read(file, &cpu(), format)).unwrap();
    let entries = file.tensors().map(|found| {
        let (key, shape) = (found.name, &found.entry.shape);
        let uploaded = match shape.len() {
            1 => take::<1>(&mut weights, key, shape),
            2 => take::<2>(&mut weights, key, shape),
            4 => take::<4>(&mut weights, key, shape),
            rank => panic!("{key} has {rank} axes, which no weight has"),
        };
        (key.to_owned(), uploaded)
    });
    entries.collect()
}

#[test]
fn matrices_and_kernels_stay_half_where_the_file_has_them_so() {
    for (name, file) in [
        ("bundled", open(&bundled(), Component::Unet)),
        ("micro", open(&micro_folder(), Component::Unet)),
        ("sd1x", open(&sd1x(), Component::Unet)),
    ] {
        let single = upload(&file, WeightFormat::Single);
        let mut comparisons = Vec::new();
        for (key, half) in upload(&file, WeightFormat::HalfAsStored) {
            let found = file.tensors().find(|found| found.name == key).unwrap();
            let is_weight = found.entry.shape.len() >= 2;
            let expected = if is_weight { DType::F16 } else { DType::F32 };
            assert_eq!(half.dtype, expected, "{key} of {name}");
            let single = &single[&key];
            assert_eq!(single.dtype, DType::F32, "{key} of {name}, widened");
            let (half, single) = (&half.values, &single.values);
            comparisons.push(Comparison::new(&key, half, single, Tolerance::EXACT));
        }
        assert_all_close(&format!("weights of {name}"), &comparisons);
    }
}

#[test]
fn the_model_keeps_weights_as_they_were_loaded() {
    let unet = unet_in(&micro_folder(), WeightFormat::HalfAsStored);
    let matrix = &unet.time_embedding.linear_1.linear.weight;
    assert_eq!(matrix.dtype(), DType::F16, "a matrix");
    assert_eq!(unet.conv_in.conv.weight.dtype(), DType::F16, "a kernel");
}

#[test]
fn what_half_precision_cannot_hold_is_never_made_half() {
    // 65536, which f16 has not, and 1 + 2^-23, which it would round.
    let brain = 0x4780_u16.to_le_bytes();
    let single = (1.0 + f32::EPSILON).to_le_bytes();
    let views = [
        ("brain", TensorView::new(Dtype::BF16, vec![1, 1], &brain)),
        ("single", TensorView::new(Dtype::F32, vec![1, 1], &single)),
    ];
    let views = views.map(|(name, view)| (name, view.unwrap()));
    let file = MemoryFile::new("mixed.safetensors", serialize(views, None).unwrap());
    let file = block_on(SafetensorsFile::open(Box::new(file))).unwrap();
    let file = ComponentWeights::new(vec![file]);
    let (device, format) = (cpu(), WeightFormat::HalfAsStored);
    let mut weights = block_on(WeightMap::read(&file, &device, format)).unwrap();
    for (key, expected) in [("brain", 65536.0), ("single", 1.0 + f32::EPSILON)] {
        let tensor: Tensor<2> = weights.root().tensor(key, [1, 1]).unwrap();
        assert_values_close(key, &values(tensor), &[expected], Tolerance::EXACT);
    }
}

#[test]
fn the_cpu_widens_small_weights_once() {
    let format = WeightFormat::of_unet(&cpu(), Arithmetic::F32);
    let file = open(&bundled(), Component::Unet);
    for found in file.tensors() {
        let numbers: usize = found.entry.shape.iter().product();
        let on_device = match numbers >= 512 * 512 {
            true => DType::F16,
            false => DType::F32,
        };
        let found_as = format.on_device(found.entry.dtype, &found.entry.shape);
        assert_eq!(found_as, on_device, "{}", found.name);
    }
}

#[test]
fn the_memory_estimate_counts_the_bytes_that_the_device_gets() {
    for folder in [&bundled() as &dyn Checkpoint, &micro_folder()] {
        let shape = block_on(BaseShape::read(folder)).unwrap();
        for format in [WeightFormat::LargeHalfAsStored].into_iter().chain(FORMATS) {
            let parts = [Component::Unet, Component::Vae, Component::TextEncoder];
            let parts = parts.map(|component| {
                let format = match (component, format) {
                    (Component::Unet, _) | (_, WeightFormat::Single) => format,
                    _ => WeightFormat::LargeHalfAsStored,
                };
                let uploaded = upload(&open(folder, component), format);
                let bytes = |it: &Uploaded| it.dtype.size() * it.values.len();
                uploaded.values().map(bytes).sum::<usize>() as u64
            });
            let uploaded: u64 = parts.iter().sum();
            let name = folder.name();
            assert_eq!(
                shape.weights_bytes(format),
                uploaded,
                "{name} as {format:?}"
            );
        }
    }
}

#[test]
fn predictions_are_the_same() {
    for (name, folder, file) in [
        ("bundled", &bundled() as &dyn Checkpoint, "unet.safetensors"),
        ("micro", &micro_folder(), "micro_unet.safetensors"),
        ("sd1x", &sd1x(), "sd1x_unet.safetensors"),
    ] {
        let fixture = Fixture::read(file);
        let [half, single] = FORMATS.map(|format| {
            unet_in(folder, format).forward(
                fixture.tensor("sample", &cpu()),
                fixture.int_tensor("timesteps", &cpu()),
                &fixture.conditioning("encoder_hidden_states", &cpu()),
                &LoraStack::none(),
            )
        });
        assert_eq!(half.dtype(), DType::F32, "activations of {name}");
        assert_close(&format!("noise_pred, {name}"), half, single, PREDICTION);
    }
}

/// The base in miniature with another UNet.
fn model(unet: &UNet2DConditionModel) -> Model<'_> {
    let schedule = &micro().schedule;
    Model {
        unet,
        schedule,
        tape: None,
    }
}

/// Gradients of `plain`'s loss, factor by factor.
fn gradients(unet: &UNet2DConditionModel, scene: &Scene) -> Vec<(String, [Vec<f32>; 2])> {
    let network = scene.difference(unet.targets()).trainable();
    let Scene { pair, draw, .. } = scene;
    let below = LoraStack::none();
    let student = Student {
        below: &below,
        lora: &network,
        level: 1.0,
    };
    let (latent, prompt) = (&pair.target, &pair.conditioning);
    let weights = scene.weights(&masked_with_prior());
    let gamma = Some(GAMMA);
    let loss = plain::loss(model(unet), latent, prompt, draw, student, &weights, gamma);
    let gradients = loss.backward();
    let of = |factor: &Tensor<2>| {
        let gradient = factor.grad(&gradients).expect("the loss reaches it");
        assert_eq!(gradient.dtype(), DType::F32, "type of a gradient");
        values(gradient)
    };
    let targets = unet.targets().iter();
    let layers = targets.map(|(id, target)| {
        let layer = network.layer(id).unwrap();
        (target.path.clone(), [of(&layer.down), of(&layer.up)])
    });
    layers.collect()
}

#[test]
fn gradients_are_the_same() {
    let scene = Scene::micro();
    let [half, single] = FORMATS.map(|format| gradients(&unet_in(&micro_folder(), format), &scene));
    let mut comparisons = Vec::new();
    for ((path, half), (_, single)) in half.iter().zip(&single) {
        for (part, (half, single)) in ["down", "up"].iter().zip(half.iter().zip(single)) {
            let name = format!("{path}.{part}");
            comparisons.push(Comparison::of_largest(&name, half, single, GRADIENT));
        }
    }
    assert_all_close("gradients", &comparisons);
}

/// Losses and norms of the gradients in three steps, and how far these moved the LoRA.
fn train(unet: &UNet2DConditionModel, objective: Objective<'_>) -> [Vec<f32>; 2] {
    let scene = Scene::micro();
    let (examples, pass) = (
        scene.examples(&masked_with_prior()),
        pass(BatchSize::constant(2)),
    );
    let start = scene.difference(unet.targets());
    let mut trainer = Trainer::new(
        model(unet),
        Dataset::new(&examples, 0, 0.0).unwrap(),
        objective,
        &pass,
        start.clone(),
        NoiseRng::new(17, 0),
    );
    let reports = (0..3).flat_map(|_| {
        let report = block_on(trainer.step()).unwrap();
        [report.loss, report.grad_norm]
    });
    let reports = reports.collect();
    [
        reports,
        values(trainer.network().flatten() - start.flatten()),
    ]
}

#[test]
fn training_is_the_same() {
    let unets = FORMATS.map(|format| unet_in(&micro_folder(), format));
    let (recipe, scene) = (addift(), Scene::micro());
    let copier = scene.copier(unets[0].targets());
    for (name, objective) in [
        ("plain", Objective::Plain),
        ("addift", Objective::Addift(&recipe)),
        ("copier", Objective::Copy),
        (
            "difference",
            Objective::Difference {
                copier: &copier,
                strength: 1.0,
            },
        ),
    ] {
        let [half, single] = unets.each_ref().map(|unet| train(unet, objective));
        let label = |part: &str| format!("{part} of {name}");
        assert_values_close(&label("losses and norms"), &half[0], &single[0], LOSS);
        assert_together(&label("LoRA"), &half[1], &single[1], MOVED);
    }
}
