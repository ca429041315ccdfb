//! OpenCLIP's and transformers' names of a text encoder's weights, by the rule of diffusers'
//! `convert_open_clip_checkpoint`.

/// How a weight comes out of OpenCLIP's tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenClipShape {
    /// As it is.
    Whole,
    /// A parameter `P` that is used as `x P` where transformers has the linear layer `x Wᵀ`
    /// (Stability-AI/generative-models#111 shows both files).
    Transposed,
    /// A third of the rows: the projections to queries, keys and values are one matrix.
    Third(usize),
}

/// Layers of a block that are called otherwise; a block's norms and its MLP have weights and biases.
const LAYERS: [(&str, &str); 5] = [
    ("ln_1", "layer_norm1"),
    ("ln_2", "layer_norm2"),
    ("attn.out_proj", "self_attn.out_proj"),
    ("mlp.c_fc", "mlp.fc1"),
    ("mlp.c_proj", "mlp.fc2"),
];

/// Parts outside of the blocks.
const OUTSIDE: [(&str, &str, OpenClipShape); 6] = [
    (
        "positional_embedding",
        "text_model.embeddings.position_embedding.weight",
        OpenClipShape::Whole,
    ),
    (
        "token_embedding.weight",
        "text_model.embeddings.token_embedding.weight",
        OpenClipShape::Whole,
    ),
    (
        "ln_final.weight",
        "text_model.final_layer_norm.weight",
        OpenClipShape::Whole,
    ),
    (
        "ln_final.bias",
        "text_model.final_layer_norm.bias",
        OpenClipShape::Whole,
    ),
    (
        "text_projection",
        "text_projection.weight",
        OpenClipShape::Transposed,
    ),
    // ComfyUI once saved the linear layer of transformers among OpenCLIP's names.
    (
        "text_projection.weight",
        "text_projection.weight",
        OpenClipShape::Whole,
    ),
];

/// What stands before a block's number.
const BLOCKS: &str = "transformer.resblocks.";

/// `transformer.resblocks.0.attn.in_proj_bias` → the biases of `text_model.encoder.layers.0.self_attn`'s
/// `q_proj`, `k_proj` and `v_proj`; nothing if this is no weight of such a text encoder.
///
/// - `key`: without its prefix
#[must_use]
pub fn clip_from_open_clip(key: &str) -> Vec<(String, OpenClipShape)> {
    if let Some((_, name, shape)) = OUTSIDE.iter().find(|(ours, ..)| *ours == key) {
        return vec![((*name).to_owned(), *shape)];
    }
    let Some((block, inside)) = in_block(key) else {
        return Vec::new();
    };
    let layer = format!("text_model.encoder.layers.{block}");
    if let Some(part) = inside.strip_prefix("attn.in_proj_") {
        if !matches!(part, "weight" | "bias") {
            return Vec::new();
        }
        let third = |(place, name): (usize, &str)| {
            let name = format!("{layer}.self_attn.{name}.{part}");
            (name, OpenClipShape::Third(place))
        };
        let thirds = ["q_proj", "k_proj", "v_proj"].into_iter().enumerate();
        return thirds.map(third).collect();
    }
    let renamed = inside.rsplit_once('.').and_then(|(found, part)| {
        let (_, name) = LAYERS.iter().find(|(ours, _)| *ours == found)?;
        Some((format!("{layer}.{name}.{part}"), OpenClipShape::Whole))
    });
    renamed.into_iter().collect()
}

/// The number of the block that a key of OpenCLIP belongs to, and what follows it.
#[must_use]
pub fn in_block(key: &str) -> Option<(usize, &str)> {
    let (block, inside) = key.strip_prefix(BLOCKS)?.split_once('.')?;
    Some((block.parse().ok()?, inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fused_projection_is_three_and_the_last_one_is_turned() {
        let names = |key: &str| clip_from_open_clip(key);
        let layer = "text_model.encoder.layers.31";
        assert_eq!(
            names("transformer.resblocks.31.attn.in_proj_weight"),
            [
                (
                    format!("{layer}.self_attn.q_proj.weight"),
                    OpenClipShape::Third(0)
                ),
                (
                    format!("{layer}.self_attn.k_proj.weight"),
                    OpenClipShape::Third(1)
                ),
                (
                    format!("{layer}.self_attn.v_proj.weight"),
                    OpenClipShape::Third(2)
                ),
            ],
            "one matrix"
        );
        for (key, name) in [
            ("transformer.resblocks.31.ln_2.bias", "layer_norm2.bias"),
            ("transformer.resblocks.31.mlp.c_fc.weight", "mlp.fc1.weight"),
            ("transformer.resblocks.31.mlp.c_proj.bias", "mlp.fc2.bias"),
            (
                "transformer.resblocks.31.attn.out_proj.weight",
                "self_attn.out_proj.weight",
            ),
        ] {
            let expected = [(format!("{layer}.{name}"), OpenClipShape::Whole)];
            assert_eq!(names(key), expected, "of {key}");
        }
        let projection = "text_projection.weight".to_owned();
        assert_eq!(
            names("text_projection"),
            [(projection.clone(), OpenClipShape::Transposed)],
            "a parameter"
        );
        assert_eq!(
            names("text_projection.weight"),
            [(projection, OpenClipShape::Whole)],
            "a linear layer already"
        );
    }

    #[test]
    fn what_is_no_weight_of_the_text_encoder_has_no_name() {
        for key in [
            "",
            "logit_scale",
            "attn_mask",
            "visual.proj",
            "transformer.resblocks.x.ln_1.weight",
            "transformer.resblocks.0.attn.in_proj_scale",
            "transformer.resblocks.0.ln_3.weight",
            "transformer.resblocks.0",
        ] {
            assert_eq!(clip_from_open_clip(key), [], "{key:?}");
        }
    }
}
