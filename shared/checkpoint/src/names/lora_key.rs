//! Which module and which factor a key of a LoRA file means, in the spellings found in the wild.
//!
//! Sources: kohya's `networks/lora.py`; diffusers' `utils/state_dict_utils.py`
//! (`UNET_TO_DIFFUSERS`, `DIFFUSERS_TO_PEFT`) and `loaders/lora_conversion_utils.py`; SimpleTuner's
//! `helpers/training/lora_format.py`; ComfyUI's `comfy/lora.py`; LyCORIS' `modules/` and peft's
//! `tuners/` for the kinds that are left out.

use std::borrow::Cow;

use crate::Component;

/// A key of a LoRA file, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoraKey<'a> {
    /// The module that it changes.
    pub module: ModuleName<'a>,
    /// What it holds.
    pub part: LoraPart,
}

/// A module as a LoRA file names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModuleName<'a> {
    /// With `_`, prefix included: `lora_unet_down_blocks_0_…`. LyCORIS' own prefix became kohya's.
    Kohya(Cow<'a, str>),
    /// With `.`: `down_blocks.0.…` of the UNet.
    Path {
        /// Where the path starts.
        component: Component,
        /// diffusers' path (ldm's in files saved by ComfyUI).
        path: Cow<'a, str>,
    },
}

impl ModuleName<'_> {
    /// The module in kohya's spelling, whatever the file's was.
    #[must_use]
    pub fn kohya_name(&self) -> String {
        match self {
            Self::Kohya(name) => name.clone().into_owned(),
            Self::Path { component, path } => component.kohya_name(path),
        }
    }
}

/// What a tensor of a LoRA file is to its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LoraPart {
    /// The first factor, `[rank, in]`; PEFT's A.
    Down,
    /// The second factor, `[out, rank]`; PEFT's B.
    Up,
    /// What LyCORIS' Tucker form (`use_tucker`, once `use_cp`) of a convolution has between the two,
    /// `[rank, rank, height, width]`.
    Mid,
    /// The numerator of the scale alpha / rank.
    Alpha,
}

/// Why a key could not be taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnreadableKey {
    /// It holds something that Mimeo knows by name and cannot apply.
    OtherKind {
        /// What it holds.
        kind: OtherKind,
        /// The module that it changes, in kohya's spelling where that is known.
        module: String,
    },
    /// It belongs to nothing known.
    Unknown,
}

/// What a file may hold beside the two factors of a LoRA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherKind {
    /// What the programs that write it call it.
    pub name: &'static str,
    /// Whether the factors of the same module mean something else with it, so that they cannot be
    /// applied without it. What is only added on top can be left out by itself.
    pub alters_factors: bool,
}

const PARTS: [(&str, LoraPart); 14] = [
    // kohya and LyCORIS
    (".lora_down.weight", LoraPart::Down),
    (".lora_up.weight", LoraPart::Up),
    (".lora_mid.weight", LoraPart::Mid),
    (".alpha", LoraPart::Alpha),
    // PEFT, and without ".weight" where the factors are bare parameters
    (".lora_A.weight", LoraPart::Down),
    (".lora_B.weight", LoraPart::Up),
    (".lora_A", LoraPart::Down),
    (".lora_B", LoraPart::Up),
    // diffusers: modules, text encoders, attention processors (`to_q_lora`)
    (".lora.down.weight", LoraPart::Down),
    (".lora.up.weight", LoraPart::Up),
    (".lora_linear_layer.down.weight", LoraPart::Down),
    (".lora_linear_layer.up.weight", LoraPart::Up),
    ("_lora.down.weight", LoraPart::Down),
    ("_lora.up.weight", LoraPart::Up),
];

/// PEFT's factors in a model's own state, where the adapter's name stands between:
/// `….lora_A.default.weight`.
const NAMED_PARTS: [(&str, LoraPart); 2] = [(".lora_A", LoraPart::Down), (".lora_B", LoraPart::Up)];

const COMPONENTS: [(&str, Component); 9] = [
    ("unet.", Component::Unet),
    ("text_encoder.", Component::TextEncoder),
    ("text_encoder_2.", Component::TextEncoder2),
    // ComfyUI's own saves, and SimpleTuner's for ComfyUI; what follows is ldm's path or diffusers'
    ("diffusion_model.", Component::Unet),
    ("text_encoders.clip_l.transformer.", Component::TextEncoder),
    ("text_encoders.clip_h.transformer.", Component::TextEncoder),
    ("text_encoders.clip_g.transformer.", Component::TextEncoder2),
    // single-file checkpoints
    ("model.diffusion_model.", Component::Unet),
    ("cond_stage_model.transformer.", Component::TextEncoder),
];

/// What PEFT puts before a path when a bare model was wrapped.
const PEFT_WRAPPER: &str = "base_model.model.";

/// LyCORIS' own prefix, which stands for the model that was wrapped: the UNet.
const LYCORIS_PREFIX: &str = "lycoris_";

/// How the paths of a bare model begin.
const ROOTS: [(&str, Component); 13] = [
    ("down_blocks.", Component::Unet),
    ("mid_block.", Component::Unet),
    ("up_blocks.", Component::Unet),
    ("input_blocks.", Component::Unet),
    ("middle_block.", Component::Unet),
    ("output_blocks.", Component::Unet),
    ("conv_in", Component::Unet),
    ("conv_out", Component::Unet),
    ("time_embedding.", Component::Unet),
    ("time_embed.", Component::Unet),
    ("add_embedding.", Component::Unet),
    ("text_model.", Component::TextEncoder),
    ("encoder.layers.", Component::TextEncoder),
];

/// What stands behind a module's name if a tensor is of another kind.
const OTHER_KINDS_INSIDE: [(&str, OtherKind); 10] = [
    (".hada_", instead("LoHa")),
    (".lokr_", instead("LoKr")),
    (".dora_scale", instead("DoRA")),
    (".lora_magnitude_vector", instead("DoRA")),
    (".oft_", instead("OFT")),
    (".boft_", instead("BOFT")),
    (".on_input", instead("(IA)³")),
    (".vera_lambda_", instead("VeRA")),
    (".ia3_l", instead("(IA)³")),
    (".reshape_weight", instead("LoRA of a reshaped layer")),
];

/// How a key ends if it belongs to another kind.
const OTHER_KINDS_AT_END: [(&str, OtherKind); 15] = [
    (".a1.weight", instead("GLoRA")),
    (".a2.weight", instead("GLoRA")),
    (".b1.weight", instead("GLoRA")),
    (".b2.weight", instead("GLoRA")),
    (".diff", added("full difference (diff)")),
    (".diff_b", added("difference of a bias (diff_b)")),
    (".w_norm", added("norm (w_norm, b_norm)")),
    (".b_norm", added("norm (w_norm, b_norm)")),
    (".set_weight", instead("full weight (set_weight)")),
    (".lora_B.bias", added(LORA_BIAS)),
    (".lora_up.bias", added(LORA_BIAS)),
    (".lora.up.bias", added(LORA_BIAS)),
    (".lora_A.bias", instead("bias inside a LoRA")),
    (".lora_down.bias", instead("bias inside a LoRA")),
    (".lora.down.bias", instead("bias inside a LoRA")),
];

/// What PEFT's `lora_bias` adds.
pub(crate) const LORA_BIAS: &str = "bias of a LoRA (lora_bias)";

/// How bundled embeddings are named: `bundle_emb.NAME.…`, LyCORIS' `utils/`.
const BUNDLED: &str = "bundle_emb.";

const fn instead(name: &'static str) -> OtherKind {
    OtherKind {
        name,
        alters_factors: true,
    }
}

const fn added(name: &'static str) -> OtherKind {
    OtherKind {
        name,
        alters_factors: false,
    }
}

/// Takes a key of a LoRA file apart.
///
/// # Errors
/// If it is of another kind of adapter, or of none.
pub fn parse_lora_key(key: &str) -> Result<LoraKey<'_>, UnreadableKey> {
    if let Some((module, kind)) = other_kind(key) {
        let known = module_name(module).map(|name| name.kohya_name());
        let module = known.unwrap_or_else(|| module.to_owned());
        return Err(UnreadableKey::OtherKind { kind, module });
    }
    let (module, part) = split_part(key).ok_or(UnreadableKey::Unknown)?;
    let module = module_name(module).ok_or(UnreadableKey::Unknown)?;
    Ok(LoraKey { module, part })
}

/// Whether PEFT itself saved this key; it keeps alpha elsewhere, in `adapter_config.json`.
#[must_use]
pub fn is_saved_by_peft(key: &str) -> bool {
    key.starts_with(PEFT_WRAPPER)
}

fn split_part(key: &str) -> Option<(&str, LoraPart)> {
    let plain = PARTS
        .iter()
        .find_map(|(suffix, part)| Some((key.strip_suffix(suffix)?, *part)));
    let named = || {
        let (factor, _adapter) = key.strip_suffix(".weight")?.rsplit_once('.')?;
        NAMED_PARTS
            .iter()
            .find_map(|(suffix, part)| Some((factor.strip_suffix(suffix)?, *part)))
    };
    plain.or_else(named)
}

/// The module and the kind, if a key is no factor of a plain LoRA.
fn other_kind(key: &str) -> Option<(&str, OtherKind)> {
    if let Some(embedding) = key.strip_prefix(BUNDLED) {
        let name = embedding.split('.').next().unwrap_or(embedding);
        return Some((name, added("bundled embedding")));
    }
    let inside = OTHER_KINDS_INSIDE.iter().find_map(|(piece, kind)| {
        let (module, _) = key.split_once(piece)?;
        Some((module, *kind))
    });
    let at_end = || {
        OTHER_KINDS_AT_END
            .iter()
            .find_map(|(ending, kind)| Some((key.strip_suffix(ending)?, *kind)))
    };
    inside.or_else(at_end)
}

fn module_name(module: &str) -> Option<ModuleName<'_>> {
    let kohya = Component::ADAPTED
        .iter()
        .flat_map(|component| component.kohya_prefixes())
        .any(|prefix| {
            module
                .strip_prefix(prefix)
                .is_some_and(|rest| !rest.is_empty())
        });
    if kohya {
        // A kohya name has no dots; one would be a spelling that nobody writes.
        return (!module.contains('.')).then_some(ModuleName::Kohya(Cow::Borrowed(module)));
    }
    if let Some(rest) = module.strip_prefix(LYCORIS_PREFIX) {
        let is_name = !rest.is_empty() && !rest.contains('.');
        let name = || Component::Unet.kohya_name(rest);
        return is_name.then(|| ModuleName::Kohya(Cow::Owned(name())));
    }

    let module = module.strip_prefix(PEFT_WRAPPER).unwrap_or(module);
    let named = COMPONENTS
        .iter()
        .find_map(|(prefix, component)| Some((*component, module.strip_prefix(prefix)?)));
    let bare = || {
        let root = ROOTS.iter().find(|(root, _)| module.starts_with(root));
        root.map(|(_, component)| (*component, module))
    };
    let (component, path) = named.or_else(bare)?;
    let path = path.strip_prefix(PEFT_WRAPPER).unwrap_or(path);
    (!path.is_empty()).then(|| ModuleName::Path {
        component,
        path: module_path(path),
    })
}

/// diffusers once kept LoRA in attention processors: `attn1.processor.to_out_lora` meant the module
/// `attn1.to_out.0`.
fn module_path(path: &str) -> Cow<'_, str> {
    match path.rsplit_once(".processor.") {
        Some((attention, "to_out")) => Cow::Owned(format!("{attention}.to_out.0")),
        Some((attention, projection)) => Cow::Owned(format!("{attention}.{projection}")),
        None => Cow::Borrowed(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TO_OUT: &str = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0";
    const Q_PROJ: &str = "lora_te_text_model_encoder_layers_0_self_attn_q_proj";

    #[test]
    fn every_known_spelling_names_the_same_module() {
        let block = "mid_block.attentions.0.transformer_blocks.0.attn1";
        let layer = "text_model.encoder.layers.0.self_attn.q_proj";
        let spellings = [
            (format!("{TO_OUT}.lora_down.weight"), TO_OUT, LoraPart::Down),
            (format!("{TO_OUT}.lora_up.weight"), TO_OUT, LoraPart::Up),
            (format!("{TO_OUT}.alpha"), TO_OUT, LoraPart::Alpha),
            // LyCORIS
            (format!("{TO_OUT}.lora_mid.weight"), TO_OUT, LoraPart::Mid),
            (
                format!("unet.{block}.to_out.0.lora_A.weight"),
                TO_OUT,
                LoraPart::Down,
            ),
            (
                format!("unet.{block}.to_out.0.lora_B.weight"),
                TO_OUT,
                LoraPart::Up,
            ),
            (
                format!("unet.{block}.to_out.0.alpha"),
                TO_OUT,
                LoraPart::Alpha,
            ),
            (
                format!("unet.{block}.to_out.0.lora.down.weight"),
                TO_OUT,
                LoraPart::Down,
            ),
            (
                format!("unet.{block}.processor.to_out_lora.up.weight"),
                TO_OUT,
                LoraPart::Up,
            ),
            (
                format!("{block}.to_out.0.lora_A.weight"),
                TO_OUT,
                LoraPart::Down,
            ),
            (
                format!("base_model.model.{block}.to_out.0.lora_B.weight"),
                TO_OUT,
                LoraPart::Up,
            ),
            (format!("{Q_PROJ}.lora_down.weight"), Q_PROJ, LoraPart::Down),
            (
                format!("text_encoder.{layer}.lora_A.weight"),
                Q_PROJ,
                LoraPart::Down,
            ),
            (
                format!("text_encoder.{layer}.lora_linear_layer.up.weight"),
                Q_PROJ,
                LoraPart::Up,
            ),
            // SimpleTuner, for ComfyUI
            (
                format!("diffusion_model.{block}.to_out.0.lora_A.weight"),
                TO_OUT,
                LoraPart::Down,
            ),
            (
                format!(
                    "lycoris_{}_to_out_0.lora_up.weight",
                    block.replace('.', "_")
                ),
                TO_OUT,
                LoraPart::Up,
            ),
            // PEFT, a model's own state and bare parameters
            (
                format!("base_model.model.{block}.to_out.0.lora_A.default.weight"),
                TO_OUT,
                LoraPart::Down,
            ),
            (format!("{block}.to_out.0.lora_B"), TO_OUT, LoraPart::Up),
            (
                format!("base_model.model.{layer}.lora_A.weight"),
                Q_PROJ,
                LoraPart::Down,
            ),
            (
                format!("text_encoders.clip_l.transformer.{layer}.lora_down.weight"),
                Q_PROJ,
                LoraPart::Down,
            ),
        ];
        for (key, module, part) in &spellings {
            let parsed = parse_lora_key(key).unwrap_or_else(|error| panic!("{key}: {error:?}"));
            assert_eq!(&parsed.module.kohya_name(), module, "module of {key}");
            assert_eq!(parsed.part, *part, "part of {key}");
        }
    }

    #[test]
    fn ldm_paths_of_comfyui_become_ldm_names_of_kohya() {
        let key = "diffusion_model.input_blocks.1.1.proj_in.lora_up.weight";
        let parsed = parse_lora_key(key).unwrap();
        assert_eq!(
            parsed.module.kohya_name(),
            "lora_unet_input_blocks_1_1_proj_in",
            "which of the two numberings it is, the base's names tell"
        );
    }

    #[test]
    fn other_kinds_are_named_with_their_module() {
        let kinds = [
            ("hada_w1_a", "LoHa", true),
            ("lokr_w2", "LoKr", true),
            ("dora_scale", "DoRA", true),
            ("lora_magnitude_vector.weight", "DoRA", true),
            ("diff_b", "difference of a bias (diff_b)", false),
            ("w_norm", "norm (w_norm, b_norm)", false),
            ("lora_B.bias", "bias of a LoRA (lora_bias)", false),
        ];
        for (suffix, name, alters_factors) in kinds {
            let answer = parse_lora_key(&format!("{TO_OUT}.{suffix}")).map(|_| ());
            let kind = OtherKind {
                name,
                alters_factors,
            };
            let module = TO_OUT.to_owned();
            let expected = Err(UnreadableKey::OtherKind { kind, module });
            assert_eq!(answer, expected, "of {suffix}");
        }
    }

    #[test]
    fn a_bundled_embedding_is_named_by_its_word() {
        let answer = parse_lora_key("bundle_emb.mycat.string_to_param.*").map(|_| ());
        let kind = added("bundled embedding");
        let module = "mycat".to_owned();
        assert_eq!(
            answer,
            Err(UnreadableKey::OtherKind { kind, module }),
            "one"
        );
    }

    #[test]
    fn only_what_peft_wrapped_keeps_its_alpha_elsewhere() {
        let path = "mid_block.attentions.0.proj_in.lora_A.weight";
        assert!(
            is_saved_by_peft(&format!("base_model.model.{path}")),
            "PEFT"
        );
        assert!(!is_saved_by_peft(&format!("unet.{path}")), "diffusers");
        assert!(!is_saved_by_peft(path), "diffusers, of a bare model");
    }

    #[test]
    fn keys_of_a_checkpoint_are_unknown() {
        let keys = [
            "model.diffusion_model.out.2.weight",
            "conv_in.weight",
            "",
            ".alpha",
            "lora_unet_.alpha",
        ];
        for key in keys {
            let answer = parse_lora_key(key).map(|_| ());
            assert_eq!(answer, Err(UnreadableKey::Unknown), "of {key:?}");
        }
    }

    proptest! {
        #[test]
        fn no_key_makes_the_parser_panic(key in "\\PC*") {
            let answer = parse_lora_key(&key);
            prop_assert!(answer.is_err() || !key.is_empty(), "an empty key means nothing");
        }
    }
}
