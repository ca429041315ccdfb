//! Which examples the rows of a pass are trained on, and which of them go through the model together.
//!
//! The order has no state: the row's number says its example, so a pass that goes on after a pause
//! goes on with the same ones. Pictures of another size go through the model by themselves, and
//! gradients are averaged over rows: so sizes need no buckets.

use burn::tensor::{Tensor, TensorData};
use mimeo_diffusion::Conditioning;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::Pair;
use crate::loss::MaskWeights;
use crate::noise::{Draw, NoiseRng};

/// Streams of the seed above this are those of the epochs' orders.
const ORDERS: u64 = 1 << 32;
/// Stream of the seed that decides which rows lose their caption.
const DROPOUT: u64 = 1 << 31;
/// Words of the stream that one decision takes: those of an f64.
const WORDS_PER_ROW: u128 = 2;

/// What is trained on.
#[derive(Debug, Clone)]
pub struct Example {
    /// The pictures, and their caption.
    pub pair: Pair,
    /// How much each place of them counts, and they among others.
    pub weights: MaskWeights,
    /// Factor on the LoRA's multiplier: the strength at which their change is to come.
    pub level: f64,
    /// What stands in for the caption where it is dropped; none: it never is.
    pub uncaptioned: Option<Conditioning>,
}

/// Examples, and how they are drawn from.
#[derive(Debug, Clone, Copy)]
pub struct Dataset<'a> {
    examples: &'a [Example],
    seed: u64,
    caption_dropout: f64,
}

/// There is nothing to train on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are no pictures to train on. Add at least one example.")]
pub struct NoExample;

impl<'a> Dataset<'a> {
    /// - `seed`: of their order, and of which captions are dropped
    /// - `caption_dropout`: share of the rows that are trained without their caption
    ///
    /// # Errors
    /// [`NoExample`].
    pub const fn new(
        examples: &'a [Example],
        seed: u64,
        caption_dropout: f64,
    ) -> Result<Self, NoExample> {
        if examples.is_empty() {
            return Err(NoExample);
        }
        Ok(Self {
            examples,
            seed,
            caption_dropout,
        })
    }

    /// A row of a pass, its timestep still to be chosen.
    ///
    /// - `number`: of the row among all of the pass
    pub(crate) fn row(&self, number: u64, rng: &mut NoiseRng) -> Row<'a> {
        let example = &self.examples[self.place(number)];
        Row {
            example,
            drops_caption: self.drops_caption(number),
            noise: rng.normals(example.pair.original.shape().num_elements()),
            timestep: 0,
        }
    }

    /// Which example a row takes: every epoch each one once, in an order of its own.
    fn place(&self, number: u64) -> usize {
        let count = self.examples.len() as u64;
        let (epoch, place) = (number / count, number % count);
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(ORDERS + epoch);
        let mut order: Vec<(u64, usize)> = (0..self.examples.len())
            .map(|example| (rng.random(), example))
            .collect();
        order.sort_unstable();
        order[place as usize].1
    }

    fn drops_caption(&self, number: u64) -> bool {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(DROPOUT);
        rng.set_word_pos(u128::from(number) * WORDS_PER_ROW);
        rng.random::<f64>() < self.caption_dropout
    }
}

/// What an example is trained on once: a row of a batch.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    /// The example.
    pub example: &'a Example,
    /// Whether it does without its caption.
    pub drops_caption: bool,
    /// As many numbers as its latent has, standard normal.
    pub noise: Vec<f32>,
    /// Where in the schedule.
    pub timestep: usize,
}

impl<'a> Row<'a> {
    /// The caption, or what stands in for it.
    fn conditioning(&self) -> &'a Conditioning {
        let uncaptioned = self.example.uncaptioned.as_ref();
        let uncaptioned = uncaptioned.filter(|_| self.drops_caption);
        uncaptioned.unwrap_or(&self.example.pair.conditioning)
    }

    /// Rows of the same kind can go through the model together.
    fn kind(&self) -> ([usize; 4], u64, usize) {
        let [_, tokens, _] = self.conditioning().hidden_states.dims();
        let size = self.example.pair.original.dims();
        (size, self.example.level.to_bits(), tokens)
    }

    fn is_like(&self, other: &Self) -> bool {
        std::ptr::eq(self.example, other.example)
            && std::ptr::eq(self.conditioning(), other.conditioning())
    }
}

/// Rows that go through the model together.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// A pair for each row, or one for all.
    pub pair: Pair,
    /// Likewise.
    pub weights: MaskWeights,
    pub level: f64,
    pub draw: Draw,
}

impl Batch {
    /// The rows in batches of at most `at_once`, in the order of the first of each kind.
    pub fn of_rows(rows: &[Row<'_>], at_once: usize) -> Vec<Self> {
        let mut kinds: Vec<Vec<&Row<'_>>> = Vec::new();
        for row in rows {
            match kinds.iter_mut().find(|kind| kind[0].kind() == row.kind()) {
                Some(kind) => kind.push(row),
                None => kinds.push(vec![row]),
            }
        }
        let batches = kinds.iter().flat_map(|kind| kind.chunks(at_once));
        batches.map(Self::of).collect()
    }

    /// - `rows`: of one kind; at least one
    fn of(rows: &[&Row<'_>]) -> Self {
        let first = rows[0];
        let Pair { original, .. } = &first.example.pair;
        let [_, channels, height, width] = original.dims();
        let noise = rows.iter().flat_map(|row| row.noise.iter().copied());
        let noise = TensorData::new(
            noise.collect::<Vec<_>>(),
            [rows.len(), channels, height, width],
        );
        let draw = Draw {
            noise: Tensor::from_data(noise, &original.device()),
            timesteps: rows.iter().map(|row| row.timestep).collect(),
        };
        let (pair, weights) = if rows.iter().all(|row| row.is_like(first)) {
            let conditioning = first.conditioning().clone();
            let pair = Pair {
                conditioning,
                ..first.example.pair.clone()
            };
            (pair, first.example.weights.clone())
        } else {
            let cat = |of: &dyn Fn(&Pair) -> &Tensor<4>| {
                let rows = rows.iter().map(|row| of(&row.example.pair).clone());
                Tensor::cat(rows.collect(), 0)
            };
            let said = rows.iter().map(|row| row.conditioning().clone());
            let weights: Vec<_> = rows.iter().map(|row| &row.example.weights).collect();
            let pair = Pair {
                original: cat(&|pair| &pair.original),
                target: cat(&|pair| &pair.target),
                mask: cat(&|pair| &pair.mask),
                conditioning: Conditioning::cat(said.collect()),
            };
            (pair, MaskWeights::cat(&weights))
        };
        Self {
            pair,
            weights,
            level: first.example.level,
            draw,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use mimeo_protocol::{Method, ModelSize, Recipe};

    use super::*;

    /// An example of so many columns, under a prompt of so many tokens.
    fn example(width: usize, tokens: usize, level: f64) -> Example {
        let device = Device::flex();
        let latent = |channels| Tensor::<4>::zeros([1, channels, 2, width], &device);
        let said = |tokens| Conditioning::from(Tensor::<3>::zeros([1, tokens, 3], &device));
        let mask = latent(1) + 1.0;
        let recipe = Recipe::preset(Method::Plain, ModelSize::Small).mask;
        Example {
            weights: MaskWeights::new(&mask, 4, 0.0, &recipe),
            pair: Pair {
                original: latent(4),
                target: latent(4),
                mask,
                conditioning: said(tokens),
            },
            level,
            uncaptioned: Some(said(7)),
        }
    }

    fn places(dataset: &Dataset<'_>, rows: std::ops::Range<u64>) -> Vec<usize> {
        rows.map(|row| dataset.place(row)).collect()
    }

    #[test]
    fn every_epoch_takes_each_example_once_in_an_order_of_its_own() {
        let examples: Vec<Example> = (0..12).map(|_| example(3, 5, 1.0)).collect();
        let dataset = Dataset::new(&examples, 3, 0.0).expect("examples");
        let epochs: Vec<Vec<usize>> = (0..4)
            .map(|epoch| places(&dataset, epoch * 12..(epoch + 1) * 12))
            .collect();
        for epoch in &epochs {
            let mut sorted = epoch.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..12).collect::<Vec<_>>(), "each once: {epoch:?}");
        }
        assert_ne!(epochs[0], epochs[1], "another order");
        let other_seed = Dataset::new(&examples, 4, 0.0).expect("examples");
        assert_ne!(places(&other_seed, 0..12), epochs[0], "by the seed");
        assert_eq!(places(&dataset, 0..12), epochs[0], "and nothing else");
        assert_eq!(Dataset::new(&[], 0, 0.0).err(), Some(NoExample), "none");
    }

    #[test]
    fn captions_are_dropped_as_often_as_asked_for() {
        let examples = [example(3, 5, 1.0)];
        for share in [0.0, 0.25, 1.0] {
            let dataset = Dataset::new(&examples, 9, share).expect("an example");
            let dropped = (0..1000).filter(|row| dataset.drops_caption(*row)).count();
            let dropped = dropped as f64 / 1000.0;
            assert!((dropped - share).abs() < 0.05, "{dropped} of {share}");
            let mut rng = NoiseRng::new(1, 1);
            let row = (0..1000).find(|row| dataset.drops_caption(*row));
            if let Some(row) = row {
                let row = dataset.row(row, &mut rng);
                let [_, tokens, _] = row.conditioning().hidden_states.dims();
                assert_eq!(tokens, 7, "the empty prompt");
            }
        }
    }

    #[test]
    fn rows_of_one_size_level_and_length_go_through_the_model_together() {
        let examples = [
            example(3, 5, 1.0),
            example(4, 5, 1.0),
            example(3, 5, 1.0),
            example(3, 6, 1.0),
            example(3, 5, -1.0),
            example(3, 5, 1.0),
        ];
        let dataset = Dataset::new(&examples, 0, 0.0).expect("examples");
        let mut rng = NoiseRng::new(1, 1);
        let mut whole = rng.clone();
        let rows: Vec<Row<'_>> = (0..6).map(|row| dataset.row(row, &mut rng)).collect();
        for (at_once, expected) in [(usize::MAX, vec![1, 1, 1, 3]), (2, vec![1, 1, 1, 1, 2])] {
            let batches = Batch::of_rows(&rows, at_once);
            let mut counts: Vec<usize> = batches
                .iter()
                .map(|batch| batch.draw.timesteps.len())
                .collect();
            counts.sort_unstable();
            assert_eq!(counts, expected, "at most {at_once}");
            for batch in &batches {
                let [rows, ..] = batch.draw.noise.dims();
                let [pairs, ..] = batch.pair.original.dims();
                assert!(pairs == rows || pairs == 1, "{pairs} pairs of {rows} rows");
            }
        }
        // Drawn row by row, it is the noise of a batch.
        let first = &examples[..1];
        let dataset = Dataset::new(first, 0, 0.0).expect("an example");
        let mut rng = whole.clone();
        let rows: Vec<Row<'_>> = (0..3).map(|row| dataset.row(row, &mut rng)).collect();
        let batches = Batch::of_rows(&rows, usize::MAX);
        let drawn = batches[0].draw.noise.to_data();
        let expected = whole.normal([3, 4, 2, 3], &Device::flex()).to_data();
        assert_eq!(drawn, expected, "the same numbers");
        assert_eq!(batches[0].pair.original.dims()[0], 1, "for all rows");
    }
}
