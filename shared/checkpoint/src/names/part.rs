//! Which part of a model a module of a LoRA belongs to, and of which model.

use crate::Component;

/// A part of a model, as LoRAs are told by what they change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Linear layers and 1×1 convolutions of the UNet's transformers: what Mimeo trains.
    Transformers,
    /// Convolutions of the UNet's ResNets, down- and upsamplers, the first and the last one. kohya adapts
    /// them with `conv_dim`, which LyCORIS calls LoCon.
    Convolutions,
    /// Linear layers through which the UNet is told the timestep and, of XL, sizes.
    Embeddings,
    /// Linear layers of the text encoder, or of XL's first.
    TextEncoder,
    /// The same of XL's second.
    TextEncoder2,
    /// Norms, which no pair of factors can change.
    Norms,
    /// What else a text encoder has: the vectors of tokens and positions.
    TextVectors,
}

impl Part {
    /// In a few words, for a list.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Transformers => "UNet transformers",
            Self::Convolutions => "UNet convolutions",
            Self::Embeddings => "UNet time layers",
            Self::TextEncoder => "text encoder",
            Self::TextEncoder2 => "second text encoder",
            Self::Norms => "norm layers",
            Self::TextVectors => "vectors of the text encoder",
        }
    }

    /// Whether a LoRA's factors are applied there.
    #[must_use]
    pub const fn is_applied(self) -> bool {
        !matches!(self, Self::Norms | Self::TextVectors)
    }

    /// The part that the module called `name` (kohya's spelling) belongs to. What looks like no other
    /// part of a UNet is one of its transformers.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let is_of = |component: Component| {
            let mut prefixes = component.kohya_prefixes().iter();
            prefixes.any(|prefix| name.starts_with(prefix))
        };
        for (component, part) in [
            (Component::TextEncoder, Self::TextEncoder),
            (Component::TextEncoder2, Self::TextEncoder2),
        ] {
            if is_of(component) {
                return match name {
                    _ if name.contains("_norm") => Self::Norms,
                    _ if name.contains("_embeddings_") => Self::TextVectors,
                    _ => part,
                };
            }
        }
        let part = UNET_PARTS.iter().find(|(piece, _)| name.contains(piece));
        let is_sampler = || {
            LDM_SAMPLERS
                .iter()
                .any(|(block, layer)| name.contains(block) && name.ends_with(layer))
        };
        match part {
            Some((_, part)) => *part,
            None if is_sampler() => Self::Convolutions,
            None => Self::Transformers,
        }
    }
}

/// Parts of a UNet other than its transformers, by a piece of the names of their modules, in diffusers'
/// numbering and in ldm's. The first that fits counts.
const UNET_PARTS: [(&str, Part); 20] = [
    ("_norm", Part::Norms),
    ("_in_layers_0", Part::Norms),
    ("_out_layers_0", Part::Norms),
    ("lora_unet_out_0", Part::Norms),
    ("_time_emb_proj", Part::Embeddings),
    ("_emb_layers_", Part::Embeddings),
    ("_time_embedding_", Part::Embeddings),
    ("_time_embed_", Part::Embeddings),
    ("_add_embedding_", Part::Embeddings),
    ("_label_emb_", Part::Embeddings),
    ("_resnets_", Part::Convolutions),
    ("_in_layers_", Part::Convolutions),
    ("_out_layers_", Part::Convolutions),
    ("_skip_connection", Part::Convolutions),
    ("_downsamplers_", Part::Convolutions),
    ("_upsamplers_", Part::Convolutions),
    ("_conv_in", Part::Convolutions),
    ("_conv_out", Part::Convolutions),
    ("_input_blocks_0_0", Part::Convolutions),
    ("lora_unet_out_2", Part::Convolutions),
];

/// ldm's down- and upsamplers, by how their names end and what else is in them.
const LDM_SAMPLERS: [(&str, &str); 2] = [("_input_blocks_", "_op"), ("_output_blocks_", "_conv")];

/// Models that Mimeo does not draw with, by what only the keys of their LoRAs contain, where `#` is any
/// number. Their own names, as diffusers, kohya and ComfyUI write them with `.` and `_`. The first
/// that fits counts.
const OTHER_MODELS: [(&[&str], &str); 14] = [
    (&["motion_modules"], "AnimateDiff, which makes videos"),
    (
        &["temporal_transformer_blocks"],
        "Stable Video Diffusion, or a model built like it",
    ),
    (&["double_stream_blocks", "single_stream_blocks"], "HiDream"),
    (
        &[
            "single_transformer_blocks",
            "double_blocks",
            "single_blocks",
        ],
        "Flux, HunyuanVideo or a model built like them",
    ),
    (&["joint_transformer_blocks"], "AuraFlow"),
    (&["joint_blocks"], "Stable Diffusion 3"),
    (&["img_mlp", "txt_mlp"], "Qwen-Image"),
    (
        &[
            "blocks.#.self_attn",
            "blocks_#_self_attn",
            "blocks.#.cross_attn",
            "blocks_#_cross_attn",
        ],
        "Wan, which makes videos, or a model built like it",
    ),
    (
        &[
            "layers.#.attention.",
            "layers_#_attention_",
            "noise_refiner",
            "context_refiner",
        ],
        "Z-Image, Lumina or a model built like them",
    ),
    (
        &["caption_projection", "adaln_single"],
        "PixArt, LTX-Video or a model built like them",
    ),
    (&["prior_unet"], "Stable Cascade"),
    (
        &["model.layers.#.self_attn", "transformer.h.#."],
        "a language model",
    ),
    (
        &[
            "transformer.transformer_blocks",
            "base_model.model.transformer_blocks",
            "diffusion_model.transformer_blocks",
            "lora_unet_transformer_blocks",
            "lora_transformer_",
        ],
        "a diffusion transformer, such as Stable Diffusion 3",
    ),
    (
        &[
            "transformer.blocks.#.",
            "diffusion_model.blocks.#.",
            "diffusion_model.layers.#.",
            "lora_unet_blocks_#_",
            "lora_unet_layers_#_",
        ],
        "a diffusion transformer, such as those that make videos",
    ),
];

/// What a LoRA with this key is for, if that is a model whose parts Stable Diffusion does not have.
#[must_use]
pub fn other_model(key: &str) -> Option<&'static str> {
    let is_adapter = ["lora", "lycoris", "lokr", "hada", "oft"]
        .iter()
        .any(|sign| key.contains(sign));
    if !is_adapter {
        return None;
    }
    let key = numbered(key);
    let has = |signs: &&[&str]| signs.iter().any(|sign| key.contains(sign));
    let model = OTHER_MODELS.iter().find(|(signs, _)| has(signs));
    model.map(|(_, model)| *model)
}

/// A key with `#` for every number in it.
fn numbered(key: &str) -> String {
    let mut numbered = String::with_capacity(key.len());
    for character in key.chars() {
        match character {
            '0'..='9' if numbered.ends_with('#') => {}
            '0'..='9' => numbered.push('#'),
            other => numbered.push(other),
        }
    }
    numbered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_in_every_numbering() {
        let parts = [
            (
                Part::TextEncoder,
                vec![
                    "lora_te_text_model_encoder_layers_0_mlp_fc1",
                    "lora_te1_text_model_encoder_layers_0_self_attn_q_proj",
                ],
            ),
            (
                Part::TextEncoder2,
                vec![
                    "lora_te2_text_model_encoder_layers_0_mlp_fc1",
                    "lora_te2_text_projection",
                ],
            ),
            (
                Part::Embeddings,
                vec![
                    "lora_unet_down_blocks_0_resnets_0_time_emb_proj",
                    "lora_unet_input_blocks_1_0_emb_layers_1",
                    "lora_unet_time_embedding_linear_1",
                    "lora_unet_time_embed_2",
                    "lora_unet_add_embedding_linear_2",
                    "lora_unet_label_emb_0_0",
                ],
            ),
            (
                Part::Convolutions,
                vec![
                    "lora_unet_mid_block_resnets_1_conv2",
                    "lora_unet_input_blocks_1_0_in_layers_2",
                    "lora_unet_output_blocks_3_0_skip_connection",
                    "lora_unet_down_blocks_0_downsamplers_0_conv",
                    "lora_unet_input_blocks_3_0_op",
                    "lora_unet_output_blocks_5_2_conv",
                    "lora_unet_conv_in",
                    "lora_unet_input_blocks_0_0",
                    "lora_unet_out_2",
                ],
            ),
            (
                Part::Norms,
                vec![
                    "lora_unet_mid_block_attentions_0_norm",
                    "lora_unet_mid_block_resnets_0_norm1",
                    "lora_unet_middle_block_0_in_layers_0",
                    "lora_unet_conv_norm_out",
                    "lora_unet_out_0",
                    "lora_te_text_model_final_layer_norm",
                ],
            ),
            (
                Part::TextVectors,
                vec!["lora_te_text_model_embeddings_token_embedding"],
            ),
            (
                Part::Transformers,
                vec![
                    "lora_unet_mid_block_attentions_0_proj_in",
                    "lora_unet_output_blocks_3_1_proj_out",
                    "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_out_0",
                    "lora_unet_up_blocks_1_attentions_0_transformer_blocks_0_ff_net_0_proj",
                ],
            ),
        ];
        for (part, names) in parts {
            for name in names {
                assert_eq!(Part::of(name), part, "of {name}");
            }
            let is_left_out = matches!(part, Part::Norms | Part::TextVectors);
            assert_eq!(part.is_applied(), !is_left_out, "{part:?}");
        }
    }

    #[test]
    fn loras_of_other_models_are_recognised_in_every_spelling() {
        let keys = [
            (
                "transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight",
                "Flux",
            ),
            (
                "lora_unet_double_blocks_0_img_attn_proj.lora_down.weight",
                "Flux",
            ),
            (
                "diffusion_model.double_blocks.0.img_mlp.0.lora_A.weight",
                "Flux",
            ),
            (
                "lora_unet_joint_blocks_0_context_block_attn_qkv.lora_up.weight",
                "Stable Diffusion 3",
            ),
            (
                "transformer.transformer_blocks.0.attn.to_k.lora_A.weight",
                "transformer",
            ),
            (
                "transformer.transformer_blocks.0.img_mlp.net.2.lora_B.weight",
                "Qwen",
            ),
            ("diffusion_model.blocks.0.cross_attn.q.lora_A.weight", "Wan"),
            ("diffusion_model.blocks.11.self_attn.q.lora_A.weight", "Wan"),
            ("lora_unet_blocks_3_self_attn_q.lora_down.weight", "Wan"),
            ("transformer.blocks.0.attn1.to_q.lora_A.weight", "videos"),
            (
                "diffusion_model.layers.12.attention.to_q.lora_A.weight",
                "Z-Image",
            ),
            (
                "lora_unet_layers_0_attention_to_q.lora_down.weight",
                "Z-Image",
            ),
            (
                "diffusion_model.noise_refiner.0.feed_forward.w1.lora_A.weight",
                "Z-Image",
            ),
            (
                "diffusion_model.layers.0.feed_forward.w1.lora_A.weight",
                "transformer",
            ),
            (
                "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0.processor.to_q_lora.down.weight",
                "AnimateDiff",
            ),
            (
                "unet.down_blocks.0.attentions.0.temporal_transformer_blocks.0.attn1.to_q.lora_A.weight",
                "Stable Video Diffusion",
            ),
            (
                "diffusion_model.double_stream_blocks.0.block.attn1.to_q.lora_A.weight",
                "HiDream",
            ),
            (
                "diffusion_model.transformer_blocks.0.attn1.to_q.lora_A.weight",
                "transformer",
            ),
            (
                "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
                "language",
            ),
        ];
        for (key, word) in keys {
            let model = other_model(key).unwrap_or_default();
            assert!(model.contains(word), "{key} is for {word}, not {model:?}");
        }
        for key in [
            "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight",
            "lora_te_text_model_encoder_layers_0_self_attn_q_proj.alpha",
            "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.lora_down.weight",
            "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.lora_A.weight",
            "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight",
            "base_model.model.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight",
            // A checkpoint, not a LoRA.
            "double_blocks.0.img_attn.proj.weight",
        ] {
            assert_eq!(other_model(key), None, "{key}");
        }
    }
}
