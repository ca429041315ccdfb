//! The change that a pair shows, as what other changes are compared with.

use burn::tensor::Tensor;
use mimeo_train::Pair;

/// What is divided by is no less, so that a change that the latents do not show is no progress, and not
/// all of it.
pub(crate) const LEAST: f64 = 1e-9;

/// The change that was meant.
pub(crate) struct Meant {
    /// What a change is multiplied with to find how far it goes towards B's, summed up:
    /// `mask · Δz / Σ mask · Δz²`, `[1, channels, height, width]`
    pub along: Tensor<4>,
    /// How large it is, a mean over pixels of sums over channels: `Σ mask · |Δz| / Σ mask`,
    /// `[1, 1, 1, 1]`
    pub size: Tensor<4>,
}

impl Meant {
    pub fn of(pair: &Pair) -> Self {
        let sum = |of: Tensor<4>| of.sum().reshape([1, 1, 1, 1]);
        let mask = &pair.mask;
        let change = pair.target.clone() - pair.original.clone();
        let squares = sum(change.clone().square() * mask.clone());
        Self {
            size: sum(change.clone().abs() * mask.clone()) / sum(mask.clone()),
            along: change * mask.clone() / squares.clamp_min(LEAST),
        }
    }
}

/// Of each row: `[rows, 1]`.
pub(crate) fn row_sums(values: Tensor<4>) -> Tensor<2> {
    let [rows, channels, height, width] = values.dims();
    values.reshape([rows, channels * height * width]).sum_dim(1)
}
