//! AdamW, gradient clipping and learning rates beside torch and diffusers.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use mimeo_protocol::{BatchSize, ClipNorm, LearningRate, LrSchedule, Pass, Steps, Warmup};
use mimeo_train::lr::learning_rate;
use mimeo_train::optimizer::{AdamW, clip};
use serde::Deserialize;

use crate::support::close::{Comparison, Tolerance, assert_all_close, assert_values_close, values};
use crate::support::fixture::{Fixture, read_json};
use crate::support::models::cpu;
use crate::support::scene::{WEIGHT_DECAY, pass};
use crate::support::test;

/// Roundings of values of order one over ten steps of 1e-2: 4.8e-7 measured.
const ADAMW: Tolerance = Tolerance::abs(2e-6);
/// Sums of squares in another order: 7.2e-8, one rounding, measured.
const CLIP: Tolerance = Tolerance::rel(4e-7);
/// Both sides compute in f64 and are compared as f32: equal where measured, but cosines differ.
const RATE: Tolerance = Tolerance {
    abs: 1e-18,
    rel: f32::EPSILON,
};

#[test]
fn ten_steps_of_adamw_match_torch() {
    let fixture = Fixture::read("adamw.safetensors");
    let flat = |name: &str| fixture.tensor::<2>(name, &cpu()).reshape([35]);
    let row = |name: &str, step: usize| -> Tensor<1> {
        fixture
            .tensor::<3>(name, &cpu())
            .narrow(0, step, 1)
            .reshape([35])
    };
    let mut optimizer = AdamW::new(WEIGHT_DECAY);
    let mut parameter = flat("parameter");
    let comparisons: Vec<_> = (0..10)
        .map(|step| {
            parameter = optimizer.step(1e-2, parameter.clone(), row("gradients", step));
            let (ours, theirs) = (values(parameter.clone()), values(row("parameters", step)));
            Comparison::new(&format!("step {step}"), &ours, &theirs, ADAMW)
        })
        .collect();
    assert_all_close("AdamW", &comparisons);
}

#[test]
fn clipping_matches_torch() {
    let fixture = Fixture::read("adamw.safetensors");
    for label in ["clip", "clip_untouched"] {
        let joined = |when: &str| -> Vec<f32> {
            (0..3)
                .flat_map(|index| fixture.floats(&format!("{label}.{when}.{index}")).to_vec())
                .collect()
        };
        let gradient = Tensor::from_floats(joined("before").as_slice(), &cpu());
        let (clipped, norm) = clip(gradient, Some(ClipNorm::constant(1.0)));
        let theirs = [fixture.scalar(&format!("{label}.norm"))];
        assert_values_close(&format!("{label}.norm"), &values(norm), &theirs, CLIP);
        assert_values_close(
            &format!("{label}.after"),
            &values(clipped),
            &joined("after"),
            CLIP,
        );
    }
}

#[derive(Deserialize)]
struct Curve {
    learning_rate: f64,
    warmup_steps: u32,
    steps: u32,
    learning_rates: Vec<f32>,
}

#[test]
fn learning_rates_match_diffusers() {
    let curves: BTreeMap<String, Curve> = read_json("lr.json");
    let schedules = [
        ("cosine_with_warmup", LrSchedule::Cosine),
        ("constant_with_warmup", LrSchedule::Constant),
    ];
    assert_eq!(curves.len(), schedules.len(), "curves");
    for (name, schedule) in schedules {
        let curve = &curves[name];
        let pass = Pass {
            schedule,
            learning_rate: LearningRate::try_from(curve.learning_rate).unwrap(),
            warmup: Warmup::try_from(f64::from(curve.warmup_steps)).unwrap(),
            steps: Steps::try_from(f64::from(curve.steps)).unwrap(),
            ..pass(BatchSize::constant(1))
        };
        let ours: Vec<f32> = (0..curve.steps)
            .map(|step| learning_rate(&pass, step) as f32)
            .collect();
        assert_values_close(name, &ours, &curve.learning_rates, RATE);
    }
}
