//! Which timesteps to train: where the base does not make the change by itself.
//!
//! With the same noise n, the base is asked about A and about B seen through it, and how much of the
//! change between them is left in what it takes for the clean pictures:
//!
//! `r(t) = ⟨x̂0(x_t(z_B, n)) - x̂0(x_t(z_A, n)), m Δz⟩ / ⟨Δz, m Δz⟩`
//!
//! At little noise it sees what is there, and r is 1: a student that is to answer with all of Δz does
//! so already, and a step teaches nothing. Where noise hides the change, r is 0, and all of it is to be
//! learnt. The student's error is `(a_t/s_t) (1 - r) Δz` in ε, so a timestep where r is near 1 is a
//! step that is lost; the window begins where r falls below [`RESTORED`].
//!
//! Of a set up to four examples are asked, as many of them at a timestep as there are noises otherwise:
//! more of them take turns along the curve, and between where they are asked each one's is a line.

use burn::tensor::Tensor;
use mimeo_diffusion::Conditioning;
use mimeo_lora::LoraStack;
use mimeo_protocol::{ResponseCurve, TimestepRange};
use mimeo_train::NoiseRng;

use crate::base::{Base, read_back};
use crate::control::{Control, Within};
use crate::error::EngineError;
use crate::event::Event;
use crate::rest::Rest as _;
use crate::session::{Scene, Session};

/// Stream of the recipe's seed for the noise.
const STREAM: u64 = 0x52;
/// Timesteps at which the base is asked.
const TIMESTEPS: usize = 12;
/// Noises at each.
const NOISES: usize = 2;
/// Where the base restores so much of the change, there is too little to learn.
const RESTORED: f32 = 0.75;
/// Windows begin at multiples of this: the curve is not known any better.
const GRID: u32 = 10;
/// However late the base restores the change, so many timesteps are trained.
const NARROWEST: u32 = 200;

impl Session<'_> {
    /// Asks the base about the examples, and tells what it answers.
    ///
    /// - `below`: the copier below the LoRA that is to be trained
    pub(crate) async fn respond(
        &self,
        below: &LoraStack<'_>,
        control: &mut impl Control,
    ) -> Result<TimestepRange, EngineError> {
        let base = self.base;
        let scenes = self.scenes(self.measurable());
        let mut rng = NoiseRng::new(self.recipe.seed, STREAM);
        let groups: Vec<Vec<Asked>> = scenes
            .chunks(NOISES)
            .map(|scenes| {
                let noises = NOISES / scenes.len();
                let asked = scenes.iter();
                let asked = asked.map(|scene| Asked::new(self, scene, noises, &mut rng));
                asked.collect()
            })
            .collect();

        let mut told: Vec<Vec<(usize, Tensor<1>)>> = vec![Vec::new(); groups.len()];
        let mut rest = Within::uncounted(control);
        let timesteps =
            (0..TIMESTEPS).map(|index| (2 * index + 1) * base.schedule.len() / (2 * TIMESTEPS));
        let timesteps: Vec<usize> = timesteps.collect();
        for (index, timestep) in timesteps.iter().enumerate() {
            let turn = index % groups.len();
            let group = &groups[turn];
            let answers = group
                .iter()
                .map(|asked| asked.answer(base, *timestep, below));
            let sum = answers.reduce(|sum, answer| sum + answer);
            told[turn].extend(sum.map(|sum| (index, sum / group.len() as f64)));
            rest.rest().await?;
        }
        let mut responses = Vec::with_capacity(told.len());
        for of_group in told {
            let (places, answers): (Vec<usize>, Vec<_>) = of_group.into_iter().unzip();
            let answers = read_back(Tensor::cat(answers, 0)).await?;
            responses.push(places.into_iter().zip(answers).collect::<Vec<_>>());
        }
        let response = mean_curve(&responses);
        let timesteps: Vec<u32> = timesteps.iter().map(|timestep| *timestep as u32).collect();
        let window = window(&timesteps, &response);
        let curve = ResponseCurve {
            timesteps,
            response,
            window,
        };
        control.emit(Event::Response { curve });
        Ok(window)
    }
}

/// What the base is asked of one example.
struct Asked {
    /// A as often as there are noises, then B: `[2 noises, channels, height, width]`
    pictures: Tensor<4>,
    noise: Tensor<4>,
    conditioning: Conditioning,
    /// m Δz
    meant: Tensor<4>,
    /// `⟨Δz, m Δz⟩`
    squares: Tensor<1>,
    noises: usize,
}

impl Asked {
    fn new(session: &Session<'_>, scene: &Scene, noises: usize, rng: &mut NoiseRng) -> Self {
        let pair = &scene.pair;
        let [_, channels, height, width] = pair.original.dims();
        let noise = rng.normal([noises, channels, height, width], session.base.device());
        let pictures =
            [&pair.original, &pair.target].map(|latent| latent.clone().repeat_dim(0, noises));
        let meant = (pair.target.clone() - pair.original.clone()) * pair.mask.clone();
        Self {
            pictures: Tensor::cat(pictures.to_vec(), 0),
            noise: noise.repeat_dim(0, 2),
            conditioning: session.conditioning(scene).repeat(2 * noises),
            squares: (meant.clone() * (pair.target.clone() - pair.original.clone())).sum(),
            meant,
            noises,
        }
    }

    /// r at a timestep, `[1]`.
    fn answer(&self, base: &Base, timestep: usize, below: &LoraStack<'_>) -> Tensor<1> {
        let noises = self.noises;
        let rows = vec![timestep; 2 * noises];
        let noisy = base.schedule.add_noise(&self.pictures, &self.noise, &rows);
        let clean = base.pred_original_sample(&noisy, timestep, &self.conditioning, below);
        let left = clean.clone().narrow(0, noises, noises) - clean.narrow(0, 0, noises);
        (left * self.meant.clone()).sum() / (self.squares.clone() * noises as f64)
    }
}

/// The mean of curves, each of which is known at some of the timesteps.
///
/// - `curves`: place among the timesteps and response, in order, at least one of each
fn mean_curve(curves: &[Vec<(usize, f32)>]) -> Vec<f32> {
    let mean = |index| {
        let sum: f32 = curves.iter().map(|curve| at(curve, index)).sum();
        sum / curves.len() as f32
    };
    (0..TIMESTEPS).map(mean).collect()
}

/// What a curve is at a place, on a line between those where it is known, and level beyond them.
fn at(curve: &[(usize, f32)], index: usize) -> f32 {
    let next = curve.partition_point(|(place, _)| *place < index);
    match (next.checked_sub(1).map(|last| curve[last]), curve.get(next)) {
        (Some((before, from)), Some((after, to))) => {
            from + (to - from) * (index - before) as f32 / (after - before) as f32
        }
        (None, Some((_, level))) => *level,
        (Some((_, level)), None) => level,
        (None, None) => 0.0,
    }
}

/// From where the response has fallen for good to pure noise.
fn window(timesteps: &[u32], response: &[f32]) -> TimestepRange {
    let last = response.iter().rposition(|response| *response >= RESTORED);
    let first = match last {
        None => 0,
        Some(last) => match (timesteps.get(last + 1), response.get(last + 1)) {
            (Some(next), Some(after)) => {
                let (here, before) = (timesteps[last], response[last]);
                let way = (before - RESTORED) / (before - after).max(f32::EPSILON);
                here + (way * (next - here) as f32) as u32
            }
            _ => TimestepRange::ALL.max(),
        },
    };
    let first = (first / GRID * GRID).min(TimestepRange::ALL.max() - NARROWEST);
    TimestepRange::new(first, TimestepRange::ALL.max()).unwrap_or(TimestepRange::ALL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_of_examples_that_take_turns_are_lines_between() {
        let whole: Vec<(usize, f32)> = (0..TIMESTEPS).map(|at| (at, at as f32)).collect();
        let same: Vec<f32> = (0..TIMESTEPS).map(|at| at as f32).collect();
        assert_eq!(
            mean_curve(std::slice::from_ref(&whole)),
            same,
            "of one as it is"
        );
        let even = whole.iter().copied().filter(|(at, _)| at % 2 == 0);
        let odd = whole.iter().map(|(at, response)| (*at, response + 2.0));
        let odd = odd.filter(|(at, _)| at % 2 == 1);
        let mean = mean_curve(&[even.collect(), odd.collect()]);
        assert_eq!(
            mean[..3],
            [(0.0 + 3.0) / 2.0, 2.0, 3.0],
            "level, then lines"
        );
        assert_eq!(mean[11], (10.0 + 13.0) / 2.0, "level at the end");
    }

    #[test]
    fn the_window_begins_where_the_base_stops_to_restore_the_change() {
        let timesteps = [100, 300, 500, 700, 900];
        let begins = |response: [f32; 5]| window(&timesteps, &response).min();
        assert_eq!(
            begins([1.0, 1.0, 0.5, 0.1, 0.0]),
            400,
            "half way from 300 to 500"
        );
        assert_eq!(begins([0.6, 0.4, 0.2, 0.1, 0.0]), 0, "it never does");
        assert_eq!(begins([1.0; 5]), 800, "it always does");
        assert_eq!(begins([1.0, 0.7, 0.8, 0.3, 0.0]), 520, "for good");
        let whole = window(&timesteps, &[1.0, 0.7, 0.8, 0.3, 0.0]);
        assert_eq!(whole.max(), 1000, "to pure noise");
    }
}
