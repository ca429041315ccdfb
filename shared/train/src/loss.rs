//! Squared errors under a mask.

use burn::tensor::{Tensor, TensorData};
use mimeo_diffusion::NoiseSchedule;
use mimeo_protocol::{Gamma, MaskRecipe};

/// Weights of the latent's pixels, in the two roles of `design/method.md`: where to learn, and
/// where to stay with the model's own answer.
#[derive(Debug, Clone)]
pub struct MaskWeights {
    /// `m / (channels · Σ m)` with `m` the mask raised to `unmasked_weight` outside.
    learn: Tensor<4>,
    /// The same for `1 - mask`, times the prior's weight; none when there is nothing outside or
    /// the prior is switched off.
    prior: Option<Tensor<4>>,
    /// The same for a mask of ones: `1 / (channels · height · width)`.
    whole: Tensor<4>,
    /// What both weigh together, where a term that knows nothing costs 1.
    total: f32,
}

impl MaskWeights {
    /// Weights under a mask.
    ///
    /// - `mask`: `[1, 1, height, width]` in 0..=1
    /// - `outside`: Σ (1 - mask), read back once by the caller
    #[must_use]
    pub fn new(mask: &Tensor<4>, channels: usize, outside: f64, recipe: &MaskRecipe) -> Self {
        let unmasked = recipe.unmasked_weight.get();
        let learn = mask.clone() * (1.0 - unmasked) + unmasked;
        let prior_weight = recipe.prior_weight.get();
        let prior = (prior_weight > 0.0 && outside > 0.0)
            .then(|| (mask.clone().neg() + 1.0) * (prior_weight / (channels as f64 * outside)));
        let total = if prior.is_some() {
            1.0 + prior_weight as f32
        } else {
            1.0
        };
        Self {
            learn: normalised(learn, channels),
            prior,
            whole: normalised(mask.ones_like(), channels),
            total,
        }
    }

    /// The same, where the example counts `weight` times as much as others.
    #[must_use]
    pub fn weighing(self, weight: f64) -> Self {
        if weight == 1.0 {
            return self;
        }
        Self {
            learn: self.learn * weight,
            prior: self.prior.map(|prior| prior * weight),
            whole: self.whole * weight,
            total: self.total * weight as f32,
        }
    }

    /// Every pixel counts the same, and nothing is held to the model's own answer.
    #[must_use]
    pub fn everywhere(&self) -> Self {
        Self {
            learn: self.whole.clone(),
            prior: None,
            ..self.clone()
        }
    }

    /// Those of several examples, a row for each: `[rows, 1, height, width]`.
    ///
    /// - `rows`: of one size; at least one
    #[must_use]
    pub fn cat(rows: &[&Self]) -> Self {
        let cat = |of: &dyn Fn(&Self) -> Tensor<4>| {
            Tensor::cat(rows.iter().map(|row| of(row)).collect(), 0)
        };
        let has_prior = rows.iter().any(|row| row.prior.is_some());
        let prior = |row: &Self| match &row.prior {
            Some(prior) => prior.clone(),
            None => row.whole.zeros_like(),
        };
        Self {
            learn: cat(&|row| row.learn.clone()),
            prior: has_prior.then(|| cat(&prior)),
            whole: cat(&|row| row.whole.clone()),
            total: mean_total(rows.iter().copied()),
        }
    }

    /// The loss of a model that knows nothing.
    #[must_use]
    pub const fn total(&self) -> f32 {
        self.total
    }

    /// `Σ m e² / (C Σ m)` of each picture, `[batch, 1]`.
    ///
    /// Never a plain mean: with that, a small mask would mean a small learning rate.
    #[must_use]
    pub fn learn(&self, error: Tensor<4>) -> Tensor<2> {
        weighted(error, &self.learn)
    }

    /// The prior's term of each picture, `[batch, 1]`, weight included; nothing without a prior.
    #[must_use]
    pub fn prior(&self, error: impl FnOnce() -> Tensor<4>) -> Option<Tensor<2>> {
        self.prior
            .as_ref()
            .map(|weights| weighted(error(), weights))
    }
}

/// The loss of a model that knows nothing, over rows.
pub(crate) fn mean_total<'a>(rows: impl Iterator<Item = &'a MaskWeights>) -> f32 {
    // In double precision, where the mean of equal numbers is that number.
    let (count, sum) = rows.fold((0_u32, 0.0), |(count, sum), row| {
        (count + 1, sum + f64::from(row.total))
    });
    (sum / f64::from(count.max(1))) as f32
}

fn normalised(weights: Tensor<4>, channels: usize) -> Tensor<4> {
    let sum = weights.clone().sum().reshape([1, 1, 1, 1]);
    weights / (sum * channels as f64)
}

fn weighted(error: Tensor<4>, weights: &Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = error.dims();
    let squares = error.square() * weights.clone();
    squares
        .reshape([batch, channels * height * width])
        .sum_dim(1)
}

/// Mean over the batch, each picture weighted by min-SNR-γ where the recipe asks for it.
#[must_use]
pub fn batch_mean(
    losses: Tensor<2>,
    timesteps: &[usize],
    schedule: &NoiseSchedule,
    gamma: Option<Gamma>,
) -> Tensor<1> {
    let Some(gamma) = gamma else {
        return losses.mean();
    };
    let weight = |timestep: &usize| schedule.min_snr_weight(*timestep, gamma.get());
    weighted_mean(&losses, timesteps.iter().map(weight))
}

/// Mean over the batch, each picture with its weight.
///
/// - `losses`: `[batch, 1]`
pub(crate) fn weighted_mean(losses: &Tensor<2>, weights: impl Iterator<Item = f64>) -> Tensor<1> {
    let weights: Vec<f32> = weights.map(|weight| weight as f32).collect();
    let weights = TensorData::new(weights, losses.dims());
    (losses.clone() * Tensor::from_data(weights, &losses.device())).mean()
}
