//! AdamW (arXiv 1711.05101) over the one vector of a LoRA's values, and gradient clipping.

use burn::optim::{
    AdamW as BurnAdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, Optimizer as _,
};
use burn::tensor::Tensor;
use mimeo_protocol::ClipNorm;

/// PyTorch's ε; Burn's own default is 1e-5.
const EPSILON: f32 = 1e-8;

/// AdamW with its moments.
#[derive(Clone)]
pub struct AdamW {
    rule: BurnAdamW,
    state: Option<<BurnAdamW as burn::optim::Optimizer>::State<1>>,
}

impl AdamW {
    /// PyTorch's `torch.optim.AdamW` with its default betas and ε.
    #[must_use]
    pub fn new(weight_decay: f64) -> Self {
        let config = AdamWConfig::new()
            .with_epsilon(EPSILON)
            .with_weight_decay(weight_decay as f32);
        Self {
            rule: config.build(),
            state: None,
        }
    }

    /// What it remembers; none before the first update.
    #[must_use]
    pub fn moments(&self) -> Option<Moments> {
        self.state.as_ref().map(|state| Moments {
            updates: state.momentum.time,
            first: state.momentum.moment_1.clone(),
            second: state.momentum.moment_2.clone(),
        })
    }

    /// Goes on from what another one remembered.
    pub fn remember(&mut self, moments: Option<Moments>) {
        self.state = moments.map(|moments| {
            let Moments {
                updates,
                first,
                second,
            } = moments;
            AdamWState::new(AdaptiveMomentumState::new(updates, first, second))
        });
    }

    /// The values after one update.
    ///
    /// - `values`, `gradient`: `[count]`
    #[must_use]
    pub fn step(
        &mut self,
        learning_rate: f64,
        values: Tensor<1>,
        gradient: Tensor<1>,
    ) -> Tensor<1> {
        let (values, state) = self
            .rule
            .step(learning_rate, values, gradient, self.state.take());
        self.state = state;
        values
    }
}

/// What AdamW remembers between updates.
#[derive(Debug, Clone)]
pub struct Moments {
    /// Updates done.
    pub updates: usize,
    /// Running mean of the gradient: `[count]`.
    pub first: Tensor<1>,
    /// Running mean of its square: `[count]`.
    pub second: Tensor<1>,
}

/// The gradient and its L2 norm before clipping, as `torch.nn.utils.clip_grad_norm_`.
///
/// Over all values at once: clipping each factor by itself would change the direction.
#[must_use]
pub fn clip(gradient: Tensor<1>, max_norm: Option<ClipNorm>) -> (Tensor<1>, Tensor<1>) {
    let norm = gradient.clone().square().sum().sqrt();
    let Some(max_norm) = max_norm else {
        return (gradient, norm);
    };
    let factor = ((norm.clone() + 1e-6).recip() * max_norm.get()).clamp_max(1.0);
    (gradient * factor, norm)
}
