//! Emphasis: what a token's weight does to what the text encoder says of it.
//!
//! The two ways that are in use differ by more than rounding, so that a prompt with weights is another
//! picture in A1111 than in ComfyUI.
//!
//! # Shapes
//! - `hidden_states`: `[chunks, tokens, width]`, of the text encoder
//! - `weights`: `[chunks, tokens]`, 1 for a token as it is
//! - answers: like `hidden_states`

use burn::tensor::Tensor;

/// Every token is multiplied, then all of its chunk, so that the chunk's mean is what it was:
/// stable-diffusion-webui `modules/sd_emphasis.py`, `EmphasisOriginal`.
///
/// A1111 takes the mean over all prompts of a batch; here each chunk has its own, so that a picture
/// does not depend on what is drawn beside it.
#[must_use]
pub fn keeping_the_mean(hidden_states: Tensor<3>, weights: Tensor<2>) -> Tensor<3> {
    let mean = |states: &Tensor<3>| states.clone().mean_dim(2).mean_dim(1);
    let before = mean(&hidden_states);
    let weighted = hidden_states * weights.unsqueeze_dim::<3>(2);
    let after = mean(&weighted);
    weighted * (before / after)
}

/// Every token is led away from what the empty prompt says in its place, or towards it: ComfyUI
/// `comfy/sd1_clip.py`, `encode_token_weights`.
///
/// - `empty`: `[1, tokens, width]`, of the empty prompt
#[must_use]
pub fn from_the_empty_prompt(
    hidden_states: Tensor<3>,
    empty: Tensor<3>,
    weights: Tensor<2>,
) -> Tensor<3> {
    // A token of weight 1 stays as it is, to the last bit.
    let beyond = (weights - 1.0).unsqueeze_dim::<3>(2);
    hidden_states.clone() + (hidden_states - empty) * beyond
}
