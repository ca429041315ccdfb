//! The way of a sampler beside the reference's.

use burn::tensor::Tensor;

use super::close::{Comparison, Tolerance, assert_all_close, values};

/// A trajectory of the reference.
pub struct Walk<'a> {
    /// What messages call it.
    pub label: &'a str,
    /// `[1, channels, height, width]`
    pub start: Tensor<4>,
    /// After each step: `[steps, channels, height, width]`
    pub latents: Tensor<4>,
    /// How far a step from the reference's latent may end from the reference's next.
    pub step: f32,
    /// How far the whole way may be off after any step.
    pub way: f32,
}

impl Walk<'_> {
    /// Each step is taken from the reference's own latent, which shows where a formula differs, and
    /// the whole way is walked from the first latent alone, which shows what a user gets.
    ///
    /// - `scale`: of the latents after a step, in units of which tolerances are
    /// - `advance`: takes the index of a step and the latent before it
    pub fn assert_matches(
        self,
        scale: impl Fn(usize) -> f32,
        advance: impl Fn(usize, Tensor<4>) -> Tensor<4>,
    ) {
        let [steps, ..] = self.latents.dims();
        let (mut single, mut whole) = (Vec::new(), Vec::new());
        let (mut theirs, mut ours) = (self.start.clone(), self.start);
        for step in 0..steps {
            let next = self.latents.clone().narrow(0, step, 1);
            let compare = |ours: Tensor<4>, tolerance: f32| {
                let tolerance = Tolerance::abs(tolerance * scale(step));
                let name = format!("step {step}");
                Comparison::new(&name, &values(ours), &values(next.clone()), tolerance)
            };
            single.push(compare(advance(step, theirs), self.step));
            ours = advance(step, ours);
            whole.push(compare(ours.clone(), self.way));
            theirs = next;
        }
        let label = |what: &str| format!("{}, {what}", self.label);
        assert_all_close(&label("each step from the reference's latent"), &single);
        assert_all_close(&label("the whole way"), &whole);
    }
}
