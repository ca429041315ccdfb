//! `NoiseSchedule`, and what samplers and losses derive from it, beside diffusers.

use burn::tensor::Tensor;
use mimeo_checkpoint::SchedulerConfig;
use mimeo_diffusion::{Ddim, Euler, NoiseSchedule};
use mimeo_train::NoiseRng;
use mimeo_train::addift::teacher_target;

use crate::support::close::{
    Comparison, Tolerance, assert_all_close, assert_close, assert_values_close, values,
};
use crate::support::fixture::Fixture;
use crate::support::models::{bundled, cpu};
use crate::support::test;

/// torch multiplies a thousand alphas in f32, we in f64: 1e-6 measured.
const ALPHAS: Tolerance = Tolerance::rel(4e-6);
/// `1 - alpha` is 8.5e-4 at the first timestep, of which an f32 alpha keeps four digits: 2.6e-5
/// measured.
const RATIOS: Tolerance = Tolerance::rel(1.1e-4);

/// The bundled schedule, under either kind of prediction.
pub fn schedule(prediction_type: &str) -> NoiseSchedule {
    let path = "scheduler/scheduler_config.json";
    let (_, json) = bundled()
        .files
        .iter()
        .find(|(name, _)| *name == path)
        .unwrap();
    let json = std::str::from_utf8(json)
        .unwrap()
        .replace("epsilon", prediction_type);
    NoiseSchedule::new(&SchedulerConfig::from_json(&json).unwrap())
}

fn as_f32(values: impl IntoIterator<Item = f64>) -> Vec<f32> {
    values.into_iter().map(|value| value as f32).collect()
}

#[test]
fn alphas_match_diffusers() {
    let fixture = Fixture::read("schedule.safetensors");
    let schedule = schedule("epsilon");
    let ours = as_f32((0..1000).map(|timestep| schedule.alpha_cumprod(timestep)));
    assert_values_close(
        "alphas_cumprod",
        &ours,
        fixture.floats("alphas_cumprod"),
        ALPHAS,
    );
    assert_eq!(schedule.len(), 1000, "timesteps");
}

#[test]
fn signal_to_noise_and_loss_weights_match_the_reference() {
    let fixture = Fixture::read("schedule.safetensors");
    let timesteps = fixture.timesteps("weight_timesteps");
    for kind in ["epsilon", "v_prediction"] {
        let schedule = schedule(kind);
        let ours = as_f32(timesteps.iter().map(|timestep| schedule.snr(*timestep)));
        assert_values_close("snr", &ours, fixture.floats("snr"), RATIOS);
        let ours = as_f32(
            timesteps
                .iter()
                .map(|timestep| schedule.min_snr_weight(*timestep, 5.0)),
        );
        let name = format!("min_snr_weight_{kind}");
        assert_values_close(&name, &ours, fixture.floats(&name), RATIOS);
    }
}

#[test]
fn timesteps_and_sigmas_match_diffusers() {
    let fixture = Fixture::read("schedule.safetensors");
    let schedule = schedule("epsilon");
    for steps in [20, 7] {
        let theirs = fixture.timesteps(&format!("ddim_timesteps_{steps}"));
        assert_eq!(
            Ddim::new(&schedule, steps).timesteps(),
            theirs,
            "DDIM in {steps} steps"
        );
    }
    let euler = Euler::new(&schedule, 20);
    let timesteps = as_f32(euler.timesteps().iter().map(|timestep| *timestep as f64));
    let theirs = fixture.floats("euler_timesteps_20");
    assert_values_close("timesteps of Euler", &timesteps, theirs, Tolerance::EXACT);
    let sigmas = as_f32(euler.sigmas().iter().copied());
    assert_values_close("sigmas", &sigmas, fixture.floats("euler_sigmas_20"), RATIOS);
    let first = [euler.init_noise_sigma() as f32];
    let theirs = fixture.floats("euler_init_noise_sigma_20");
    assert_values_close("init_noise_sigma", &first, theirs, RATIOS);
}

/// A few roundings of values of order one, divided by an `a_t` of at least 0.07: 4.1e-6 measured.
const IDENTITY: Tolerance = Tolerance::abs(1.6e-5);

#[test]
fn the_teacher_difference_moves_the_clean_picture_by_the_difference_of_the_latents() {
    let timesteps = [0, 37, 500, 999];
    let mut rng = NoiseRng::new(1, 1);
    let [original, target] = [(); 2].map(|()| rng.normal([1, 4, 8, 8], &cpu()));
    let [noise, teacher] = [(); 2].map(|()| rng.normal([4, 4, 8, 8], &cpu()));
    let delta = target.clone() - original.clone();
    for kind in ["epsilon", "v_prediction"] {
        let schedule = schedule(kind);
        let clean = |noisy: Tensor<4>, answer| {
            let (signal, sigma) = schedule.signal_and_noise(&timesteps, &noisy);
            match kind {
                "epsilon" => (noisy - sigma * answer) / signal,
                _ => noisy * signal - sigma * answer,
            }
        };
        let seen_by_teacher = schedule.add_noise(&original, &noise, &timesteps);
        let seen_by_student = schedule.add_noise(&target, &noise, &timesteps);
        let asked = teacher_target(&schedule, teacher.clone(), &timesteps, delta.clone());
        let moved = clean(seen_by_student, asked) - clean(seen_by_teacher, teacher.clone());
        let name = format!("clean pictures' difference under {kind}");
        assert_close(&name, moved, delta.clone().expand([4, 4, 8, 8]), IDENTITY);
    }
}

#[test]
fn samplers_take_the_same_step_whichever_way_the_model_predicts() {
    let (epsilon, velocity) = (schedule("epsilon"), schedule("v_prediction"));
    let mut rng = NoiseRng::new(2, 3);
    let [sample, noise] = [(); 2].map(|()| rng.normal([2, 4, 8, 8], &cpu()));
    // v = a n - s z, of the z that this noise leaves in the sample.
    let as_velocity = |sample: &Tensor<4>, signal: f64, sigma: f64| {
        let clean = (sample.clone() - noise.clone() * sigma) / signal;
        noise.clone() * signal - clean * sigma
    };

    let (ddim, ddim_v) = (Ddim::new(&epsilon, 20), Ddim::new(&velocity, 20));
    let ddim_steps = ddim.timesteps().iter().map(|&timestep| {
        let alpha = epsilon.alpha_cumprod(timestep as i64);
        let v = as_velocity(&sample, alpha.sqrt(), (1.0 - alpha).sqrt());
        let theirs = ddim.step(timestep, noise.clone(), sample.clone());
        let ours = ddim_v.step(timestep, v, sample.clone());
        Comparison::new(
            &format!("t = {timestep}"),
            &values(ours),
            &values(theirs),
            IDENTITY,
        )
    });
    assert_all_close("DDIM", &ddim_steps.collect::<Vec<_>>());

    let (euler, euler_v) = (Euler::new(&epsilon, 20), Euler::new(&velocity, 20));
    let euler_steps = (0..20).map(|step| {
        let sigma = euler.sigmas()[step];
        // The sampler's own space is the model's, divided by a.
        let signal = sigma.hypot(1.0).recip();
        let scaled = euler.scale_model_input(step, sample.clone());
        let v = as_velocity(&scaled, signal, sigma * signal);
        let theirs = euler.step(step, noise.clone(), sample.clone());
        let ours = euler_v.step(step, v, sample.clone());
        Comparison::new(
            &format!("step {step}"),
            &values(ours),
            &values(theirs),
            IDENTITY,
        )
    });
    assert_all_close("Euler", &euler_steps.collect::<Vec<_>>());
}
