//! Scaling and moving along both axes, in one pass each. Edges repeat.

/// What one sample of the result is made of: how much a sample counts that lies a distance away.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kernel {
    /// Linear. Never rings; for masks, and for making pictures smaller.
    Triangle,
    /// Keys' cubic through the samples (Catmull-Rom). Keeps a moved picture sharp.
    Cubic,
}

impl Kernel {
    fn support(self) -> f64 {
        match self {
            Self::Triangle => 1.0,
            Self::Cubic => 2.0,
        }
    }

    fn weight(self, distance: f64) -> f64 {
        let x = distance.abs();
        match self {
            Self::Triangle => (1.0 - x).max(0.0),
            Self::Cubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Cubic if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            Self::Cubic => 0.0,
        }
    }
}

/// Which samples along an axis make up each sample of the result.
pub(crate) struct Axis {
    /// How many samples each is made of.
    taps: usize,
    /// The first of them.
    starts: Vec<usize>,
    /// `[result, taps]`; each adds up to 1.
    weights: Vec<f32>,
}

impl Axis {
    /// From `source` to `result` samples over the same length.
    pub(crate) fn scaled(source: usize, result: usize, kernel: Kernel) -> Self {
        let step = source as f64 / result as f64;
        Self::new(source, result, kernel, step, |at| at * step)
    }

    /// `side` samples, scaled about the place `centre` and then moved.
    ///
    /// A scale beyond 0.05..=20 is taken as the nearest end of that; what is not a number neither
    /// scales nor moves.
    pub(crate) fn moved(side: usize, centre: f64, scale: f64, by: f64, kernel: Kernel) -> Self {
        const FARTHEST: f64 = 1e6;
        let or = |value: f64, otherwise: f64| if value.is_nan() { otherwise } else { value };
        let (scale, by) = (
            or(scale, 1.0).clamp(0.05, 20.0),
            or(by, 0.0).clamp(-FARTHEST, FARTHEST),
        );
        Self::new(side, side, kernel, 1.0 / scale, |at| {
            (at - centre - by) / scale + centre
        })
    }

    /// `step` is how far apart in the source neighbours of the result lie, and `place` tells where.
    /// Places are in px from the start; a sample lies half way through its pixel.
    fn new(
        source: usize,
        result: usize,
        kernel: Kernel,
        step: f64,
        place: impl Fn(f64) -> f64,
    ) -> Self {
        // Where the result is coarser, a sample is the mean over all that it stands for.
        let stretch = step.max(1.0);
        let reach = kernel.support() * stretch;
        let window = (2.0 * reach).ceil() as usize + 1;
        let taps = window.min(source);
        let mut starts = Vec::with_capacity(result);
        let mut weights = vec![0.0; result * taps];
        for (i, weights) in weights.chunks_exact_mut(taps).enumerate() {
            let middle = place(i as f64 + 0.5) - 0.5;
            let first = (middle - reach).ceil();
            let start = first.clamp(0.0, (source - taps) as f64) as usize;
            let weight = |k: usize| kernel.weight((first + k as f64 - middle) / stretch);
            let total: f64 = (0..window).map(weight).sum();
            for k in 0..window {
                // Samples beyond an edge are the one at the edge.
                let at = (first + k as f64).clamp(0.0, (source - 1) as f64) as usize;
                weights[at - start] += (weight(k) / total) as f32;
            }
            starts.push(start);
        }
        Self {
            taps,
            starts,
            weights,
        }
    }

    fn result(&self) -> usize {
        self.starts.len()
    }

    /// For each sample of the result, its first source and the weights from there on.
    fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        let weights = self.weights.chunks_exact(self.taps);
        self.starts.iter().copied().zip(weights)
    }
}

/// Resamples `[height, width, CHANNELS]` along both axes.
pub(crate) fn resample<const CHANNELS: usize>(
    samples: &[u8],
    width: usize,
    across: &Axis,
    down: &Axis,
) -> Vec<u8> {
    let mut rows: Vec<f32> = Vec::new();
    for row in samples.chunks_exact(width * CHANNELS) {
        let row: Vec<f32> = row.iter().map(|&sample| f32::from(sample)).collect();
        for (start, weights) in across.iter() {
            let mut sums = [0.0; CHANNELS];
            let sources = row[start * CHANNELS..].chunks_exact(CHANNELS);
            for (source, weight) in sources.zip(weights) {
                for (sum, sample) in sums.iter_mut().zip(source) {
                    *sum += sample * weight;
                }
            }
            rows.extend(sums);
        }
    }
    let wide = across.result() * CHANNELS;
    let mut resampled = Vec::with_capacity(wide * down.result());
    let mut sums = vec![0.0f32; wide];
    for (start, weights) in down.iter() {
        sums.fill(0.5);
        for (row, weight) in rows[start * wide..].chunks_exact(wide).zip(weights) {
            for (sum, sample) in sums.iter_mut().zip(row) {
                *sum += sample * weight;
            }
        }
        // The cast rounds down what was begun at a half, and keeps to the range.
        resampled.extend(sums.iter().map(|&sum| sum as u8));
    }
    resampled
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KERNELS: [Kernel; 2] = [Kernel::Triangle, Kernel::Cubic];

    #[test]
    fn a_whole_shift_moves_every_sample() {
        let samples: Vec<u8> = (0..12).map(|i| i * 20).collect();
        for kernel in KERNELS {
            let across = Axis::moved(4, 2.0, 1.0, 1.0, kernel);
            let down = Axis::moved(3, 1.5, 1.0, -1.0, kernel);
            let moved = resample::<1>(&samples, 4, &across, &down);
            let expected = [80, 80, 100, 120, 160, 160, 180, 200, 160, 160, 180, 200];
            assert_eq!(
                moved, expected,
                "right and up, the edge repeats: {kernel:?}"
            );
        }
    }

    #[test]
    fn scaling_goes_about_the_centre() {
        let mut samples = [0; 9];
        samples[4] = 255;
        let one = Axis::scaled(1, 1, Kernel::Triangle);
        for scale in [0.6, 1.7] {
            let across = Axis::moved(9, 4.5, scale, 0.0, Kernel::Cubic);
            let scaled = resample::<1>(&samples, 9, &across, &one);
            let mut reversed = scaled.clone();
            reversed.reverse();
            assert_eq!(scaled, reversed, "the middle stays, at {scale}");
        }
    }

    proptest! {
        #[test]
        fn one_colour_stays_one_colour(
            colour in any::<[u8; 3]>(), (width, height) in (1..30usize, 1..30usize),
            (wide, high) in (1..50usize, 1..50usize), cubic in any::<bool>(),
        ) {
            let kernel = KERNELS[usize::from(cubic)];
            let (across, down) = (Axis::scaled(width, wide, kernel), Axis::scaled(height, high, kernel));
            let scaled = resample::<3>(&colour.repeat(width * height), width, &across, &down);
            prop_assert_eq!(scaled, colour.repeat(wide * high), "at any size");
        }

        #[test]
        fn any_move_gives_an_answer(
            samples in any::<[u8; 12]>(), scale in 0.01..50.0f64, by in -1e9..1e9f64, centre in -9.0..9.0f64,
        ) {
            let across = Axis::moved(4, centre, scale, by, Kernel::Cubic);
            let down = Axis::moved(3, centre, scale, -by, Kernel::Triangle);
            prop_assert_eq!(resample::<1>(&samples, 4, &across, &down).len(), 12, "of the same size");
        }
    }

    #[test]
    fn numbers_beyond_reason_are_brought_back() {
        let same = Axis::moved(4, 2.0, 1.0, 0.0, Kernel::Cubic);
        let nan = Axis::moved(4, 2.0, f64::NAN, f64::NAN, Kernel::Cubic);
        assert_eq!(nan.weights, same.weights, "neither scaled nor moved");
        for odd in [0.0, -3.0, f64::INFINITY, f64::NEG_INFINITY] {
            let axis = Axis::moved(4, 2.0, odd, odd, Kernel::Triangle);
            assert_eq!(axis.result(), 4, "an answer for {odd}");
        }
    }
}
