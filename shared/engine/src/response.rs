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

use burn::tensor::Tensor;
use mimeo_lora::LoraStack;
use mimeo_protocol::{ResponseCurve, TimestepRange};
use mimeo_train::NoiseRng;

use crate::base::read_back;
use crate::control::{Control, Within};
use crate::error::EngineError;
use crate::event::Event;
use crate::rest::Rest as _;
use crate::session::Session;

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
    /// Asks the base about the pair, and tells what it answers.
    ///
    /// - `below`: the copier below the LoRA that is to be trained
    pub(crate) async fn respond(
        &self,
        below: &LoraStack<'_>,
        control: &mut impl Control,
    ) -> Result<TimestepRange, EngineError> {
        let (base, pair) = (self.base, &self.scene.pair);
        let [_, channels, height, width] = pair.original.dims();
        let mut rng = NoiseRng::new(self.recipe.seed, STREAM);
        let noise = rng.normal([NOISES, channels, height, width], base.device());
        let noise = noise.repeat_dim(0, 2);
        let pictures =
            [&pair.original, &pair.target].map(|latent| latent.clone().repeat_dim(0, NOISES));
        let pictures = Tensor::cat(pictures.to_vec(), 0);
        let conditioning = self.examples[0].pair.conditioning.repeat(2 * NOISES);
        let meant = (pair.target.clone() - pair.original.clone()) * pair.mask.clone();
        let squares = (meant.clone() * (pair.target.clone() - pair.original.clone())).sum();

        let mut responses = Vec::with_capacity(TIMESTEPS);
        let mut rest = Within::uncounted(control);
        let timesteps =
            (0..TIMESTEPS).map(|index| (2 * index + 1) * base.schedule.len() / (2 * TIMESTEPS));
        let timesteps: Vec<usize> = timesteps.collect();
        for timestep in &timesteps {
            let rows = vec![*timestep; 2 * NOISES];
            let noisy = base.schedule.add_noise(&pictures, &noise, &rows);
            let clean = base.pred_original_sample(&noisy, *timestep, &conditioning, below);
            let left = clean.clone().narrow(0, NOISES, NOISES) - clean.narrow(0, 0, NOISES);
            let along = (left * meant.clone()).sum() / (squares.clone() * NOISES as f64);
            responses.push(along);
            rest.rest().await?;
        }
        let response = read_back(Tensor::cat(responses, 0)).await?;
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
