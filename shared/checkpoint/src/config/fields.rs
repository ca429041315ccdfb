//! Every field of the configuration files and what becomes of it.
//!
//! A field that is left aside without a word draws other pictures than diffusers does, and nobody
//! knows why. So every field that diffusers and transformers know stands in one of these tables, and
//! a test (`tests/parity/config.rs`) holds them against the signatures of the classes themselves, as
//! of the versions in `tests/reference/requirements.txt`.

use serde_json::{Map, Value};

use crate::{Component, text::printable};

use super::ConfigError;

/// A configuration file.
#[derive(Debug, Clone, Copy)]
pub struct ConfigFile {
    /// What it configures.
    pub component: Component,
    /// Its path in the folder.
    pub path: &'static str,
    /// What its writers put into it.
    pub fields: &'static [Field],
}

/// A field of a configuration file.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name in the file.
    pub name: &'static str,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a field.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    /// Followed.
    Honoured,
    /// Refused by name unless it is absent or one of these JSON values, which are what is computed.
    Only {
        /// JSON.
        values: &'static [&'static str],
        /// What any other value asks for, in a few words.
        means: &'static str,
    },
    /// Nothing that Mimeo computes depends on it, for this reason.
    NoEffect(&'static str),
}

const fn honoured(name: &'static str) -> Field {
    let fate = Fate::Honoured;
    Field { name, fate }
}

const fn only(name: &'static str, values: &'static [&'static str], means: &'static str) -> Field {
    let fate = Fate::Only { values, means };
    Field { name, fate }
}

const fn no_effect(name: &'static str, why: &'static str) -> Field {
    let fate = Fate::NoEffect(why);
    Field { name, fate }
}

const WHO_WROTE_IT: &str = "says who wrote the file";
const RANDOM_WEIGHTS: &str = "weights are read, not drawn at random";
const DROPOUT: &str = "frozen weights are never dropped";
const PRECISION: &str = "activations are f32 everywhere";
const WITHOUT_CLASSES: &str = "of an embedding that is refused";
const SIMPLE_CROSS_ATTENTION: &str =
    "only blocks of other types (K- and Simple-), which are refused, look at it";
const AVERAGING: &str = "how a finished average of weights was made";
const GENERATION: &str = "about what a pipeline of transformers gives back, not about the numbers";

/// `unet/config.json` of a `UNet2DConditionModel`.
pub const UNET: ConfigFile = ConfigFile {
    component: Component::Unet,
    path: Component::Unet.config_path(),
    fields: &[
        only(
            "_class_name",
            &["\"UNet2DConditionModel\"", "\"FlaxUNet2DConditionModel\""],
            "a model of another kind",
        ),
        no_effect("_diffusers_version", WHO_WROTE_IT),
        no_effect("_name_or_path", WHO_WROTE_IT),
        no_effect("_commit_hash", WHO_WROTE_IT),
        no_effect("_use_default_values", WHO_WROTE_IT),
        honoured("sample_size"),
        honoured("in_channels"),
        honoured("out_channels"),
        honoured("center_input_sample"),
        honoured("flip_sin_to_cos"),
        honoured("freq_shift"),
        honoured("down_block_types"),
        only(
            "mid_block_type",
            &["\"UNetMidBlock2DCrossAttn\""],
            "another middle, or none",
        ),
        honoured("up_block_types"),
        honoured("only_cross_attention"),
        honoured("block_out_channels"),
        honoured("layers_per_block"),
        only("downsample_padding", &["1"], "other borders"),
        honoured("mid_block_scale_factor"),
        no_effect("dropout", DROPOUT),
        only("act_fn", &["\"silu\"", "\"swish\""], "another activation"),
        honoured("norm_num_groups"),
        honoured("norm_eps"),
        honoured("cross_attention_dim"),
        honoured("transformer_layers_per_block"),
        only(
            "reverse_transformer_layers_per_block",
            &["null"],
            "a way up that is not the way down's mirror",
        ),
        only("encoder_hid_dim", &["null"], "another text encoder"),
        only("encoder_hid_dim_type", &["null"], "another text encoder"),
        honoured("attention_head_dim"),
        only(
            "num_attention_heads",
            &["null"],
            "something that diffusers refuses too: heads go by attention_head_dim",
        ),
        only(
            "dual_cross_attention",
            &["false"],
            "two texts for every picture",
        ),
        honoured("use_linear_projection"),
        only("class_embed_type", &["null"], "a class beside the prompt"),
        only(
            "addition_embed_type",
            &["null", "\"text_time\""],
            "more than a prompt and sizes as its conditioning",
        ),
        honoured("addition_time_embed_dim"),
        only("num_class_embeds", &["null"], "a class beside the prompt"),
        no_effect("upcast_attention", PRECISION),
        only(
            "resnet_time_scale_shift",
            &["\"default\""],
            "a timestep that scales",
        ),
        no_effect("resnet_skip_time_act", SIMPLE_CROSS_ATTENTION),
        no_effect("resnet_out_scale_factor", SIMPLE_CROSS_ATTENTION),
        only(
            "time_embedding_type",
            &["\"positional\""],
            "another embedding of the timestep",
        ),
        honoured("time_embedding_dim"),
        only(
            "time_embedding_act_fn",
            &["null"],
            "another embedding of the timestep",
        ),
        only(
            "timestep_post_act",
            &["null"],
            "another embedding of the timestep",
        ),
        only(
            "time_cond_proj_dim",
            &["null"],
            "a latent consistency model, which is told the guidance scale",
        ),
        only("conv_in_kernel", &["3"], "a convolution of another size"),
        only("conv_out_kernel", &["3"], "a convolution of another size"),
        honoured("projection_class_embeddings_input_dim"),
        only(
            "attention_type",
            &["\"default\""],
            "boxes beside the prompt",
        ),
        only(
            "class_embeddings_concat",
            &["false"],
            "a class beside the prompt",
        ),
        no_effect("mid_block_only_cross_attention", SIMPLE_CROSS_ATTENTION),
        no_effect("cross_attention_norm", SIMPLE_CROSS_ATTENTION),
        no_effect("addition_embed_type_num_heads", WITHOUT_CLASSES),
        only("quantization_config", &["null"], "quantised weights"),
        // Of `EMAModel`, which saves its own numbers among the model's.
        no_effect("decay", AVERAGING),
        no_effect("min_decay", AVERAGING),
        no_effect("inv_gamma", AVERAGING),
        no_effect("power", AVERAGING),
        no_effect("optimization_step", AVERAGING),
        no_effect("update_after_step", AVERAGING),
        no_effect("use_ema_warmup", AVERAGING),
    ],
};

/// `vae/config.json` of an `AutoencoderKL`.
pub const VAE: ConfigFile = ConfigFile {
    component: Component::Vae,
    path: Component::Vae.config_path(),
    fields: &[
        only(
            "_class_name",
            &["\"AutoencoderKL\"", "\"FlaxAutoencoderKL\""],
            "a model of another kind",
        ),
        no_effect("_diffusers_version", WHO_WROTE_IT),
        no_effect("_name_or_path", WHO_WROTE_IT),
        no_effect("_commit_hash", WHO_WROTE_IT),
        no_effect("_use_default_values", WHO_WROTE_IT),
        only("in_channels", &["3"], "pictures that are not RGB"),
        only("out_channels", &["3"], "pictures that are not RGB"),
        honoured("down_block_types"),
        honoured("up_block_types"),
        honoured("block_out_channels"),
        honoured("layers_per_block"),
        only("act_fn", &["\"silu\"", "\"swish\""], "another activation"),
        honoured("latent_channels"),
        honoured("norm_num_groups"),
        no_effect("sample_size", "only decoding in tiles looks at it"),
        honoured("scaling_factor"),
        only("shift_factor", &["null", "0"], "latents of another model"),
        only("latents_mean", &["null"], "latents of another model"),
        only("latents_std", &["null"], "latents of another model"),
        no_effect("force_upcast", PRECISION),
        honoured("use_quant_conv"),
        honoured("use_post_quant_conv"),
        honoured("mid_block_add_attention"),
        only("quantization_config", &["null"], "quantised weights"),
    ],
};

/// `text_encoder/config.json` of a `CLIPTextModel`.
pub const TEXT_ENCODER: ConfigFile = ConfigFile {
    component: Component::TextEncoder,
    path: Component::TextEncoder.config_path(),
    fields: &[
        only(
            "model_type",
            &["\"clip_text_model\""],
            "a text encoder of another kind",
        ),
        no_effect("_name_or_path", WHO_WROTE_IT),
        no_effect("_commit_hash", WHO_WROTE_IT),
        no_effect("transformers_version", WHO_WROTE_IT),
        no_effect(
            "architectures",
            "the hidden states are the same with and without a projection behind them",
        ),
        no_effect("torch_dtype", PRECISION),
        no_effect("dtype", PRECISION),
        honoured("vocab_size"),
        honoured("hidden_size"),
        honoured("intermediate_size"),
        honoured("projection_dim"),
        honoured("num_hidden_layers"),
        honoured("num_attention_heads"),
        only(
            "max_position_embeddings",
            &["77"],
            "prompts of another length",
        ),
        honoured("hidden_act"),
        honoured("layer_norm_eps"),
        no_effect("attention_dropout", DROPOUT),
        no_effect("dropout", DROPOUT),
        no_effect("initializer_range", RANDOM_WEIGHTS),
        no_effect("initializer_factor", RANDOM_WEIGHTS),
        no_effect(
            "pad_token_id",
            "the tokenizer's files say what fills a prompt",
        ),
        no_effect(
            "bos_token_id",
            "the tokenizer's files say what begins a prompt",
        ),
        honoured("eos_token_id"),
        only("quantization_config", &["null"], "quantised weights"),
        no_effect("return_dict", GENERATION),
        no_effect("output_hidden_states", GENERATION),
        no_effect("output_attentions", GENERATION),
        no_effect("use_cache", GENERATION),
        no_effect("problem_type", GENERATION),
        no_effect("id2label", GENERATION),
        no_effect("label2id", GENERATION),
        no_effect("num_labels", GENERATION),
        no_effect("tokenizer_class", "CLIP's is the only one that is read"),
        no_effect("tie_word_embeddings", "there is no output over words"),
        only(
            "is_encoder_decoder",
            &["false"],
            "a text encoder of another kind",
        ),
        only("is_decoder", &["false"], "a text encoder of another kind"),
        only(
            "add_cross_attention",
            &["false"],
            "a text encoder of another kind",
        ),
        no_effect("cross_attention_hidden_size", "there is no cross-attention"),
        no_effect(
            "chunk_size_feed_forward",
            "how a product is split, not what it is",
        ),
        only(
            "pruned_heads",
            &["{}", "null"],
            "fewer heads in some layers",
        ),
    ],
};

/// `text_encoder_2/config.json` of a `CLIPTextModelWithProjection`, which has the same fields.
pub const TEXT_ENCODER_2: ConfigFile = ConfigFile {
    component: Component::TextEncoder2,
    path: Component::TextEncoder2.config_path(),
    ..TEXT_ENCODER
};

const SAMPLER: &str = "how the folder's own sampler walks; Mimeo brings its own";
const CLIPPING: &str = "diffusers' Stable Diffusion pipeline turns it off too";

/// `scheduler/scheduler_config.json`: fields of every scheduler, since one that was made from
/// another's configuration keeps its fields.
///
/// They say two things: with which noise the model was trained, which is honoured, and how the
/// folder's sampler walks through it. Mimeo draws with DDIM, or Euler where asked, so of the latter
/// only what DDIM knows counts: as `DDIMScheduler.from_config` would take it.
pub const SCHEDULER: ConfigFile = ConfigFile {
    component: Component::Scheduler,
    path: Component::Scheduler.config_path(),
    fields: &[
        only(
            "_class_name",
            &[
                "\"DDIMInverseScheduler\"",
                "\"DDIMParallelScheduler\"",
                "\"DDIMScheduler\"",
                "\"DDPMParallelScheduler\"",
                "\"DDPMScheduler\"",
                "\"DEISMultistepScheduler\"",
                "\"DPMSolverMultistepInverseScheduler\"",
                "\"DPMSolverMultistepScheduler\"",
                "\"DPMSolverSDEScheduler\"",
                "\"DPMSolverSinglestepScheduler\"",
                "\"EulerAncestralDiscreteScheduler\"",
                "\"EulerDiscreteScheduler\"",
                "\"FlaxDDIMScheduler\"",
                "\"FlaxDDPMScheduler\"",
                "\"FlaxDPMSolverMultistepScheduler\"",
                "\"FlaxEulerDiscreteScheduler\"",
                "\"FlaxLMSDiscreteScheduler\"",
                "\"FlaxPNDMScheduler\"",
                "\"HeunDiscreteScheduler\"",
                "\"KDPM2AncestralDiscreteScheduler\"",
                "\"KDPM2DiscreteScheduler\"",
                "\"LCMScheduler\"",
                "\"LMSDiscreteScheduler\"",
                "\"PNDMScheduler\"",
                "\"SASolverScheduler\"",
                "\"TCDScheduler\"",
                "\"UniPCMultistepScheduler\"",
            ],
            "noise of another kind (EDM, flow matching, cascades)",
        ),
        no_effect("_diffusers_version", WHO_WROTE_IT),
        no_effect("_name_or_path", WHO_WROTE_IT),
        no_effect("_commit_hash", WHO_WROTE_IT),
        no_effect("_use_default_values", WHO_WROTE_IT),
        only("num_train_timesteps", &["1000"], "noise of other steps"),
        honoured("beta_start"),
        honoured("beta_end"),
        honoured("beta_schedule"),
        honoured("trained_betas"),
        only(
            "prediction_type",
            &["\"epsilon\"", "\"v_prediction\"", "null"],
            "neither noise nor velocity",
        ),
        // Before diffusers 0.9 it stood for `prediction_type`.
        only(
            "predict_epsilon",
            &["true", "null"],
            "a picture instead of noise",
        ),
        honoured("set_alpha_to_one"),
        honoured("steps_offset"),
        honoured("timestep_spacing"),
        honoured("rescale_betas_zero_snr"),
        only(
            "thresholding",
            &["false"],
            "clipping that latents do not bear",
        ),
        no_effect(
            "dynamic_thresholding_ratio",
            "of thresholding, which is refused",
        ),
        no_effect("sample_max_value", "of thresholding, which is refused"),
        no_effect("clip_sample", CLIPPING),
        no_effect("clip_sample_range", CLIPPING),
        only(
            "variance_type",
            &[
                "null",
                "\"fixed_small\"",
                "\"fixed_small_log\"",
                "\"fixed_large\"",
                "\"fixed_large_log\"",
            ],
            "a variance among the model's answers",
        ),
        only(
            "use_flow_sigmas",
            &["false", "null"],
            "noise of another kind (flow matching)",
        ),
        only(
            "use_dynamic_shifting",
            &["false", "null"],
            "noise that depends on the size",
        ),
        no_effect("flow_shift", "of flow matching, which is refused"),
        no_effect("time_shift_type", "of shifting, which is refused"),
        no_effect("shift_terminal", "of shifting, which is refused"),
        no_effect("skip_prk_steps", SAMPLER),
        no_effect("solver_order", SAMPLER),
        no_effect("solver_type", SAMPLER),
        no_effect("solver_p", SAMPLER),
        no_effect("predictor_order", SAMPLER),
        no_effect("corrector_order", SAMPLER),
        no_effect("tau_func", SAMPLER),
        no_effect("predict_x0", SAMPLER),
        no_effect("disable_corrector", SAMPLER),
        no_effect("algorithm_type", SAMPLER),
        no_effect("lower_order_final", SAMPLER),
        no_effect("euler_at_final", SAMPLER),
        no_effect("final_sigmas_type", SAMPLER),
        no_effect("lambda_min_clipped", SAMPLER),
        no_effect("use_karras_sigmas", SAMPLER),
        no_effect("use_exponential_sigmas", SAMPLER),
        no_effect("use_beta_sigmas", SAMPLER),
        no_effect("use_lu_lambdas", SAMPLER),
        no_effect("interpolation_type", SAMPLER),
        no_effect("sigma_min", SAMPLER),
        no_effect("sigma_max", SAMPLER),
        no_effect("timestep_type", SAMPLER),
        no_effect("noise_sampler_seed", SAMPLER),
        no_effect("original_inference_steps", SAMPLER),
        no_effect("timestep_scaling", SAMPLER),
        no_effect("tensor_format", WHO_WROTE_IT),
    ],
};

/// Every file with a table of its own.
pub const FILES: [ConfigFile; 4] = [UNET, VAE, TEXT_ENCODER, SCHEDULER];

impl ConfigFile {
    /// Refuses values whose arithmetic Mimeo lacks.
    ///
    /// # Errors
    /// [`ConfigError`] for the first one, by name.
    pub(super) fn check(&self, json: &str) -> Result<(), ConfigError> {
        let found = self.read(json)?;
        let mut fields = self.fields.iter();
        fields.try_for_each(|field| self.check_one(field, &found))
    }

    /// [`Self::check`] of the field of this name alone.
    pub(super) fn check_field(&self, json: &str, name: &str) -> Result<(), ConfigError> {
        let found = self.read(json)?;
        let mut fields = self.fields.iter().filter(|field| field.name == name);
        fields.try_for_each(|field| self.check_one(field, &found))
    }

    fn check_one(&self, field: &Field, found: &Map<String, Value>) -> Result<(), ConfigError> {
        let Field { name, fate } = field;
        let (Fate::Only { values, means }, Some(value)) = (fate, found.get(*name)) else {
            return Ok(());
        };
        if values.iter().any(|allowed| is(value, allowed)) {
            return Ok(());
        }
        Err(ConfigError::unsupported(self.path, name, value, means))
    }

    /// Fields that nobody knows of, with their values: a sentence for the user, if there are any.
    ///
    /// diffusers leaves them aside with a warning, so they cannot change what it computes; they may
    /// be what a later version of it would honour.
    #[must_use]
    pub fn note(&self, json: &str) -> Option<String> {
        let found = self.read(json).ok()?;
        let unknown: Vec<String> = found
            .iter()
            .filter(|(name, _)| !self.fields.iter().any(|field| field.name == *name))
            .map(|(name, value)| {
                let value = printable(&value.to_string(), 40);
                format!("{} = {value}", printable(name, 60))
            })
            .collect();
        (!unknown.is_empty()).then(|| {
            let (path, unknown) = (self.path, unknown.join(", "));
            format!(
                "{path} sets what neither diffusers nor Mimeo knows, and it is left aside: {unknown}."
            )
        })
    }

    fn read(&self, json: &str) -> Result<Map<String, Value>, ConfigError> {
        super::parse(json, self.path)
    }
}

/// Whether a value is that of the JSON text; 1 and 1.0 are the same.
fn is(value: &Value, json: &str) -> bool {
    let Ok(expected) = serde_json::from_str::<Value>(json) else {
        return false;
    };
    match (value.as_f64(), expected.as_f64()) {
        (Some(value), Some(expected)) => value == expected,
        _ => *value == expected,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_field_has_one_fate() {
        for file in FILES {
            let names: BTreeSet<_> = file.fields.iter().map(|field| field.name).collect();
            assert_eq!(names.len(), file.fields.len(), "names in {}", file.path);
        }
    }

    #[test]
    fn every_allowed_value_is_json() {
        for file in FILES {
            for field in file.fields {
                let Fate::Only { values, .. } = field.fate else {
                    continue;
                };
                assert!(!values.is_empty(), "{} in {}", field.name, file.path);
                for value in values {
                    let parsed = serde_json::from_str::<Value>(value);
                    assert!(parsed.is_ok(), "{} in {}: {value}", field.name, file.path);
                }
            }
        }
    }

    #[test]
    fn unknown_fields_are_said_with_their_values() {
        let json = r#"{"in_channels": 4, "warp": 2, "_class_name": "UNet2DConditionModel"}"#;
        let note = UNET.note(json).unwrap_or_default();
        assert!(note.contains("warp = 2"), "the field: {note:?}");
        assert!(!note.contains("in_channels"), "a known one: {note:?}");
        assert_eq!(UNET.note(r#"{"in_channels": 4}"#), None, "nothing to say");
    }
}
