//! Which module and which factor a key of a LoRA file means, in the spellings found in the wild.
//!
//! Sources: kohya's `networks/lora.py`; diffusers' `utils/state_dict_utils.py`
//! (`UNET_TO_DIFFUSERS`, `DIFFUSERS_TO_PEFT`) and `loaders/lora_conversion_utils.py`; LyCORIS'
//! `modules/` for the kinds that are refused.

use std::borrow::Cow;

use super::Component;

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
    /// With `_`, prefix included: `lora_unet_down_blocks_0_…`.
    Kohya(&'a str),
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
            Self::Kohya(name) => (*name).to_owned(),
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
    /// The numerator of the scale alpha / rank.
    Alpha,
}

/// Why a key could not be taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnreadableKey {
    /// It belongs to this other kind of adapter.
    OtherKind(&'static str),
    /// It belongs to nothing known.
    Unknown,
}

const PARTS: [(&str, LoraPart); 11] = [
    // kohya
    (".lora_down.weight", LoraPart::Down),
    (".lora_up.weight", LoraPart::Up),
    (".alpha", LoraPart::Alpha),
    // PEFT
    (".lora_A.weight", LoraPart::Down),
    (".lora_B.weight", LoraPart::Up),
    // diffusers: modules, text encoders, attention processors (`to_q_lora`)
    (".lora.down.weight", LoraPart::Down),
    (".lora.up.weight", LoraPart::Up),
    (".lora_linear_layer.down.weight", LoraPart::Down),
    (".lora_linear_layer.up.weight", LoraPart::Up),
    ("_lora.down.weight", LoraPart::Down),
    ("_lora.up.weight", LoraPart::Up),
];

const COMPONENTS: [(&str, Component); 4] = [
    ("unet.", Component::Unet),
    ("text_encoder.", Component::TextEncoder),
    ("text_encoder_2.", Component::TextEncoder2),
    // ComfyUI's own saves
    ("diffusion_model.", Component::Unet),
];

/// What PEFT puts before a path when a bare model was wrapped.
const PEFT_WRAPPER: &str = "base_model.model.";

const UNET_BLOCKS: [&str; 3] = ["down_blocks.", "mid_block.", "up_blocks."];

/// What a key contains if it belongs to another kind of adapter.
const OTHER_KINDS_INSIDE: [(&str, &str); 8] = [
    (".hada_", "LoHa"),
    (".lokr_", "LoKr"),
    (".lora_mid.", "LoCon (Tucker form, lora_mid)"),
    (".dora_scale", "DoRA"),
    (".lora_magnitude_vector", "DoRA"),
    (".oft_", "OFT"),
    (".on_input", "(IA)³"),
    ("bundle_emb.", "LoRA with a bundled embedding (bundle_emb)"),
];

/// How a key ends if it belongs to another kind of adapter.
const OTHER_KINDS_AT_END: [(&str, &str); 7] = [
    (".a1.weight", "GLoRA"),
    (".b1.weight", "GLoRA"),
    (".diff", "full-difference (diff)"),
    (".diff_b", "full-difference (diff)"),
    (".w_norm", "norm-difference"),
    (".b_norm", "norm-difference"),
    (".set_weight", "full-weight (set_weight)"),
];

/// Takes a key of a LoRA file apart.
///
/// # Errors
/// If it is of another kind of adapter, or of none.
pub fn parse_lora_key(key: &str) -> Result<LoraKey<'_>, UnreadableKey> {
    if let Some(kind) = other_kind(key) {
        return Err(UnreadableKey::OtherKind(kind));
    }
    let (module, part) = PARTS
        .iter()
        .find_map(|(suffix, part)| Some((key.strip_suffix(suffix)?, *part)))
        .ok_or(UnreadableKey::Unknown)?;
    let module = module_name(module).ok_or(UnreadableKey::Unknown)?;
    Ok(LoraKey { module, part })
}

fn other_kind(key: &str) -> Option<&'static str> {
    let inside = OTHER_KINDS_INSIDE
        .iter()
        .find(|(piece, _)| key.contains(piece));
    let at_end = OTHER_KINDS_AT_END
        .iter()
        .find(|(ending, _)| key.ends_with(ending));
    inside.or(at_end).map(|(_, kind)| *kind)
}

fn module_name(module: &str) -> Option<ModuleName<'_>> {
    let kohya = [
        Component::Unet,
        Component::TextEncoder,
        Component::TextEncoder2,
    ]
    .iter()
    .flat_map(|component| component.kohya_prefixes())
    .any(|prefix| {
        module
            .strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty())
    });
    if kohya {
        // A kohya name has no dots; one would be a spelling that nobody writes.
        return (!module.contains('.')).then_some(ModuleName::Kohya(module));
    }

    let module = module.strip_prefix(PEFT_WRAPPER).unwrap_or(module);
    let named = COMPONENTS
        .iter()
        .find_map(|(prefix, component)| Some((*component, module.strip_prefix(prefix)?)));
    let bare = || {
        let is_unet = UNET_BLOCKS.iter().any(|block| module.starts_with(block));
        is_unet.then_some((Component::Unet, module))
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
        ];
        for (key, module, part) in &spellings {
            let parsed = parse_lora_key(key).unwrap_or_else(|error| panic!("{key}: {error:?}"));
            assert_eq!(&parsed.module.kohya_name(), module, "module of {key}");
            assert_eq!(parsed.part, *part, "part of {key}");
        }
    }

    #[test]
    fn other_kinds_are_named() {
        let kinds = [
            ("hada_w1_a", "LoHa"),
            ("lokr_w2", "LoKr"),
            ("lora_mid.weight", "LoCon (Tucker form, lora_mid)"),
            ("dora_scale", "DoRA"),
            ("diff_b", "full-difference (diff)"),
        ];
        for (suffix, kind) in kinds {
            let answer = parse_lora_key(&format!("{TO_OUT}.{suffix}")).map(|_| ());
            assert_eq!(answer, Err(UnreadableKey::OtherKind(kind)), "of {suffix}");
        }
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
