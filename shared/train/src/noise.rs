//! Randomness: one seeded generator on the CPU, so that every device sees the same draws.
//!
//! `Tensor::random` would give other numbers on every backend.

use burn::tensor::{Device, Tensor, TensorData};
use mimeo_protocol::TimestepRange;
use rand::{Rng, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// 1/φ: multiples of it, modulo 1, fill the unit interval more evenly than any random draw.
pub(crate) const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// What one forward pass is trained on.
#[derive(Debug, Clone)]
pub struct Draw {
    /// `[batch, channels, height, width]`, standard normal.
    pub noise: Tensor<4>,
    /// One per picture of the batch.
    pub timesteps: Vec<usize>,
}

/// The generator of a run.
#[derive(Debug, Clone)]
pub struct NoiseRng {
    rng: ChaCha8Rng,
    /// Position in the unit interval of the next timestep.
    phase: f64,
}

/// A place in the draws of a [`NoiseRng`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoisePosition {
    /// Words drawn from the stream.
    pub word: u64,
    /// Position in the unit interval of the next timestep.
    pub phase: f64,
}

impl NoiseRng {
    /// A generator of its own for each `stream` of a seed, so that a pass draws the same numbers
    /// whether or not another pass ran before it.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        let phase = rng.random();
        Self { rng, phase }
    }

    /// Where the generator is in its stream.
    #[must_use]
    pub fn position(&self) -> NoisePosition {
        // A stream repeats after 2^68 words; no run draws 2^64.
        let word = u64::try_from(self.rng.get_word_pos()).unwrap_or(u64::MAX);
        let phase = self.phase;
        NoisePosition { word, phase }
    }

    /// Goes to where another generator of the same seed and stream was.
    pub fn seek(&mut self, position: NoisePosition) {
        self.rng.set_word_pos(position.word.into());
        self.phase = position.phase;
    }

    /// Standard normal numbers.
    pub fn normal(&mut self, shape: [usize; 4], device: &Device) -> Tensor<4> {
        let values = self.normals(shape.iter().product());
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// So many of them, before they are on a device.
    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        (0..count)
            .map(|_| self.rng.sample(StandardNormal))
            .collect()
    }

    /// Timesteps of the window, each uniform, together evenly spread: a run of a few dozen steps
    /// then meets every part of the schedule, where independent draws would leave gaps.
    pub fn timesteps(&mut self, range: TimestepRange, count: usize) -> Vec<usize> {
        let (min, width) = (range.min() as usize, range.max() - range.min());
        let spread = self.spread(width as usize, count);
        spread.into_iter().map(|timestep| min + timestep).collect()
    }

    /// `count` of the numbers below `below`, each uniform, together evenly spread.
    pub fn spread(&mut self, below: usize, count: usize) -> Vec<usize> {
        (0..count)
            .map(|_| {
                self.phase = (self.phase + GOLDEN).fract();
                (self.phase * below as f64) as usize
            })
            .collect()
    }

    /// The generator itself, for what is drawn once per run.
    pub fn rng(&mut self) -> &mut impl Rng {
        &mut self.rng
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timesteps_stay_in_the_window_and_fill_it_evenly() {
        let range = TimestepRange::new(200, 400).expect("a window");
        let mut timesteps = NoiseRng::new(7, 0).timesteps(range, 20);
        timesteps.sort_unstable();
        assert!(
            timesteps.iter().all(|t| (200..400).contains(t)),
            "outside: {timesteps:?}"
        );
        let widest = timesteps.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(
            widest < Some(20),
            "a gap of {widest:?} among 20 draws of 200: {timesteps:?}"
        );
    }

    #[test]
    fn a_generator_goes_on_where_another_was() {
        let device = Device::flex();
        let mut first = NoiseRng::new(3, 1);
        // An odd number, so that a word is left in the middle of a block.
        let _: Tensor<4> = first.normal([1, 1, 3, 7], &device);
        first.timesteps(TimestepRange::ALL, 3);
        let mut second = NoiseRng::new(3, 1);
        second.seek(first.position());
        for round in 0..3 {
            let draw = |rng: &mut NoiseRng| {
                let noise = rng.normal([1, 1, 5, 5], &device).into_data();
                (noise, rng.timesteps(TimestepRange::ALL, 4))
            };
            assert_eq!(draw(&mut first), draw(&mut second), "draw {round}");
        }
    }

    #[test]
    fn streams_of_one_seed_differ_and_repeat() {
        let draw = |seed, stream| NoiseRng::new(seed, stream).timesteps(TimestepRange::ALL, 4);
        assert_eq!(draw(1, 0), draw(1, 0), "the same stream repeats");
        assert_ne!(draw(1, 0), draw(1, 1), "another stream differs");
        assert_ne!(draw(1, 0), draw(1 << 40, 0), "every bit of the seed counts");
    }
}
