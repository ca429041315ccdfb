//! AdamW (arXiv 1711.05101) over the one vector of a LoRA's values, and gradient clipping.

use burn::tensor::{Bool, Tensor};
use mimeo_protocol::ClipNorm;

/// `torch.optim.AdamW`'s default betas and ε.
const BETAS: [f32; 2] = [0.9, 0.999];
const EPSILON: f32 = 1e-8;

/// AdamW with its moments.
#[derive(Debug, Clone)]
pub struct AdamW {
    weight_decay: f64,
    moments: Option<Moments>,
}

impl AdamW {
    /// PyTorch's `torch.optim.AdamW` with its default betas and ε.
    #[must_use]
    pub fn new(weight_decay: f64) -> Self {
        Self {
            // As torch's is, which computes in f32.
            weight_decay: f64::from(weight_decay as f32),
            moments: None,
        }
    }

    /// What it remembers; none before the first update.
    #[must_use]
    pub fn moments(&self) -> Option<Moments> {
        self.moments.clone()
    }

    /// Goes on from what another one remembered.
    pub fn remember(&mut self, moments: Option<Moments>) {
        self.moments = moments;
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
        let Moments {
            updates,
            first,
            second,
        } = self.moments.take().unwrap_or_else(|| Moments {
            updates: 0,
            first: gradient.zeros_like(),
            second: gradient.zeros_like(),
        });
        let updates = updates + 1;
        let [beta_1, beta_2] = BETAS;
        let rule = mimeo_lora::AdamW {
            learning_rate,
            weight_decay: self.weight_decay,
            beta_1,
            beta_2,
            epsilon: EPSILON,
            update: updates,
        };
        let (values, [first, second]) = rule.update(values, gradient, [first, second]);
        self.moments = Some(Moments {
            updates,
            first,
            second,
        });
        values
    }

    /// [`Self::step`], unless the gradient is lost: then neither values nor means change, wherever the answer is
    /// known first. Such an update still counts for the correction of the means, of which hardly anything is left
    /// after a few dozen.
    ///
    /// - `is_lost`: `[1]`
    #[must_use]
    pub fn step_unless(
        &mut self,
        is_lost: &Tensor<1, Bool>,
        learning_rate: f64,
        values: Tensor<1>,
        gradient: Tensor<1>,
    ) -> Tensor<1> {
        let is_lost = is_lost.clone().expand(values.dims());
        let kept = |new: Tensor<1>, old: Tensor<1>| new.mask_where(is_lost.clone(), old);
        let before = self.moments.clone();
        let new = self.step(learning_rate, values.clone(), gradient);
        if let Some(moments) = &mut self.moments {
            let zeros = || values.zeros_like();
            let (first, second) = match before {
                Some(before) => (before.first, before.second),
                None => (zeros(), zeros()),
            };
            moments.first = kept(moments.first.clone(), first);
            moments.second = kept(moments.second.clone(), second);
        }
        kept(new, values)
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
