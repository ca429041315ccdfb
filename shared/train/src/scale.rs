//! Dynamic loss scaling (arXiv 1710.03740, section 3.2; the rule is that of `torch.amp.GradScaler`).
//!
//! Many gradients are below what f16 can hold. The loss is multiplied before the backward pass and the
//! gradient divided after it, by as much as they bear: the factor doubles after so many good steps, and
//! where a gradient overflows it is halved and the step left out. All of it stays on the device, where
//! nobody waits for it.

use burn::tensor::{Bool, Device, Tensor, TensorData};

/// Factor of the first step: torch's begins at 65536 and comes down in as many lost steps, which a run of a
/// hundred has not got.
const FIRST: f32 = 4096.0;
/// Good steps in a row after which the factor doubles.
const GOOD_STEPS: f32 = 100.0;
/// The largest factor; the loss itself must stay in f32, and its gradient in f16.
const MOST: f32 = 16_777_216.0;
/// The smallest: from here on an overflow is none of the scale's.
const LEAST: f32 = 1.0;

/// What the loss is multiplied with.
#[derive(Debug, Clone)]
pub struct LossScale {
    /// The factor: `[1]`.
    pub factor: Tensor<1>,
    /// Good steps in a row: `[1]`.
    pub good: Tensor<1>,
}

impl LossScale {
    /// Of a pass that begins, on a device.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        Self::from_numbers([FIRST, 0.0], device)
    }

    /// With a factor, and good steps in a row.
    #[must_use]
    pub fn from_numbers(numbers: [f32; 2], device: &Device) -> Self {
        let [factor, good] =
            numbers.map(|number| Tensor::from_data(TensorData::new(vec![number], [1]), device));
        Self { factor, good }
    }

    /// Whether a step has to be left out: `[1]`.
    ///
    /// - `norm`: of its gradient, `[1]`
    #[must_use]
    pub fn is_lost(norm: &Tensor<1>) -> Tensor<1, Bool> {
        // Neither infinity nor what is no number is below any number.
        norm.clone().lower_equal_scalar(f32::MAX).bool_not()
    }

    /// After a step.
    #[must_use]
    pub fn after(&self, is_lost: &Tensor<1, Bool>) -> Self {
        let good = self.good.clone() + 1.0;
        let is_due = good.clone().greater_equal_scalar(GOOD_STEPS);
        let factor = self.factor.clone();
        let doubled = (factor.clone() * 2.0).clamp_max(MOST);
        let halved = (factor.clone() * 0.5).clamp_min(LEAST);
        let grown = factor.mask_where(is_due.clone(), doubled);
        Self {
            factor: grown.mask_where(is_lost.clone(), halved),
            good: good.mask_fill(is_due, 0.0).mask_fill(is_lost.clone(), 0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(scale: &LossScale) -> (f32, f32) {
        let number = |tensor: &Tensor<1>| tensor.clone().into_scalar();
        (number(&scale.factor), number(&scale.good))
    }

    fn after(scale: &LossScale, norm: f32) -> LossScale {
        let norm = Tensor::from_floats([norm], &Device::flex());
        scale.after(&LossScale::is_lost(&norm))
    }

    #[test]
    fn the_factor_doubles_after_good_steps_and_halves_where_a_gradient_overflows() {
        let mut scale = LossScale::new(&Device::flex());
        for step in 1..100 {
            scale = after(&scale, 0.5);
            assert_eq!(numbers(&scale), (FIRST, step as f32), "good step {step}");
        }
        scale = after(&scale, 0.5);
        assert_eq!(numbers(&scale), (2.0 * FIRST, 0.0), "the hundredth");
        scale = after(&scale, 0.5);
        for (norm, expected) in [(f32::INFINITY, FIRST), (f32::NAN, FIRST / 2.0)] {
            scale = after(&scale, norm);
            assert_eq!(numbers(&scale), (expected, 0.0), "a norm of {norm}");
        }
    }

    #[test]
    fn the_factor_stays_within_its_ends() {
        let device = Device::flex();
        let least = after(&LossScale::from_numbers([LEAST, 7.0], &device), f32::NAN);
        assert_eq!(numbers(&least), (LEAST, 0.0), "no smaller");
        let most = after(&LossScale::from_numbers([MOST, 99.0], &device), 1.0);
        assert_eq!(numbers(&most), (MOST, 0.0), "no larger");
    }
}
