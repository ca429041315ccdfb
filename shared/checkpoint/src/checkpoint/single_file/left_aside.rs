//! What a single file holds that nothing is drawn with.

use std::collections::BTreeMap;

use crate::text;

/// Beginnings of keys that people should know to be of no effect, and what they are.
const KINDS: [(&str, &str); 5] = [
    ("model_ema.", "averaged weights (EMA)"),
    ("first_stage_model.loss.", "what its VAE was trained with"),
    ("control_model.", "a ControlNet"),
    ("lora_", "a LoRA"),
    ("embedding_manager.", "embeddings"),
];

/// What every program leaves aside, because it follows from the rest or says something about it.
const OF_NO_EFFECT: [&str; 22] = [
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "betas",
    "denoiser.log_sigmas",
    "denoiser.sigmas",
    "global_step",
    "log_one_minus_alphas_cumprod",
    "logvar",
    "lvlb_weights",
    "model_ema.decay",
    "model_ema.num_updates",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "posterior_variance",
    "scaled_fp8",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "v_pred",
    "ztsnr",
];

/// The same by how the key ends: indices and masks that are always the same, and how numbers of 8 bits
/// were made.
const OF_NO_EFFECT_AT_END: [&str; 10] = [
    ".position_ids",
    ".logit_scale",
    ".attn_mask",
    ".text_projection",
    ".text_projection.weight",
    ".scale_weight",
    ".weight_scale",
    ".scale_input",
    ".input_scale",
    ".comfy_quant",
];

/// Tensors that are not read, by kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LeftAside {
    kinds: BTreeMap<&'static str, usize>,
    unknown: usize,
    first_unknown: Option<String>,
}

impl LeftAside {
    /// Counts a tensor that belongs to no part.
    pub(super) fn count(&mut self, key: &str) {
        if OF_NO_EFFECT.contains(&key)
            || key.ends_with(".scaled_fp8")
            || OF_NO_EFFECT_AT_END.iter().any(|end| key.ends_with(end))
        {
            return;
        }
        match KINDS
            .iter()
            .find(|(beginning, _)| key.starts_with(beginning))
        {
            Some((_, kind)) => *self.kinds.entry(kind).or_default() += 1,
            None => {
                self.unknown += 1;
                self.first_unknown.get_or_insert_with(|| text::name(key));
            }
        }
    }

    /// A sentence for the user, if there is anything to say.
    pub(super) fn note(&self) -> Option<String> {
        let mut kinds: Vec<String> = self
            .kinds
            .iter()
            .map(|(kind, count)| format!("{count} of {kind}"))
            .collect();
        if let Some(first) = &self.first_unknown {
            let count = self.unknown;
            kinds.push(format!(
                "{count} that Mimeo does not know (the first: {first})"
            ));
        }
        let kinds = kinds.join(", ");
        (!kinds.is_empty()).then(|| format!("tensors of the file are left aside: {kinds}."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_said_by_kind_and_count() {
        let mut left = LeftAside::default();
        for key in ["betas", "v_pred", "x.position_ids", "model_ema.decay"] {
            left.count(key);
        }
        assert_eq!(left.note(), None, "nothing that anybody misses");
        for key in ["model_ema.a", "model_ema.b", "strange.one", "strange.two"] {
            left.count(key);
        }
        assert_eq!(
            left.note().as_deref(),
            Some(
                "tensors of the file are left aside: 2 of averaged weights (EMA), 2 that Mimeo does \
                 not know (the first: strange.one)."
            ),
            "each kind once"
        );
    }
}
