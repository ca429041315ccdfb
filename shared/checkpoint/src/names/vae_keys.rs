//! Single-file (ldm) and diffusers names of a VAE's weights, by the rule of diffusers'
//! `convert_ldm_vae_checkpoint`.

/// What stands before every key of the VAE in a single-file checkpoint; the second is ComfyUI's and
/// SGM's for a VAE among other parts.
pub const LDM_VAE_PREFIXES: [&str; 2] = ["first_stage_model.", "vae."];

/// Layers of the attention in the middle. ldm's are 1×1 convolutions, diffusers' are linear.
const ATTENTION: [(&str, &str); 5] = [
    ("norm", "group_norm"),
    ("q", "to_q"),
    ("k", "to_k"),
    ("v", "to_v"),
    ("proj_out", "to_out.0"),
];

/// A weight of a VAE by diffusers' name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaeKey {
    /// diffusers' name.
    pub name: String,
    /// Whether ldm has a 1×1 convolution where diffusers has a linear layer.
    pub is_linear: bool,
}

/// `decoder.up.0.block.1.nin_shortcut.weight` → `decoder.up_blocks.3.resnets.1.conv_shortcut.weight`;
/// `None` if this is no key of such a VAE.
///
/// - `key`: without its prefix
/// - `levels`: blocks of the way up, which ldm counts from the last
#[must_use]
pub fn vae_key_from_ldm(key: &str, levels: usize) -> Option<VaeKey> {
    let plain = |name: String| {
        Some(VaeKey {
            name,
            is_linear: false,
        })
    };
    if key.starts_with("quant_conv.") || key.starts_with("post_quant_conv.") {
        return plain(key.to_owned());
    }
    let (side, inside) = key.split_once('.')?;
    if !matches!(side, "encoder" | "decoder") {
        return None;
    }
    let pieces: Vec<&str> = inside.split('.').collect();
    match pieces.as_slice() {
        ["conv_in" | "conv_out", _] => plain(key.to_owned()),
        ["norm_out", part] => plain(format!("{side}.conv_norm_out.{part}")),
        ["mid", "attn_1", layer, part] => {
            let (_, renamed) = ATTENTION.iter().find(|(ldm, _)| ldm == layer)?;
            Some(VaeKey {
                name: format!("{side}.mid_block.attentions.0.{renamed}.{part}"),
                is_linear: *layer != "norm" && *part == "weight",
            })
        }
        ["mid", block @ ("block_1" | "block_2"), layer, part] => {
            let place = usize::from(*block == "block_2");
            let layer = resnet_layer(layer)?;
            plain(format!("{side}.mid_block.resnets.{place}.{layer}.{part}"))
        }
        ["down", level, rest @ ..] if side == "encoder" => {
            let level: usize = level.parse().ok().filter(|level| *level < levels)?;
            plain(format!("encoder.down_blocks.{level}.{}", in_block(rest)?))
        }
        ["up", level, rest @ ..] if side == "decoder" => {
            let level: usize = level.parse().ok()?;
            let block = levels.checked_sub(1)?.checked_sub(level)?;
            plain(format!("decoder.up_blocks.{block}.{}", in_block(rest)?))
        }
        _ => None,
    }
}

/// Inside a block of the way down or up.
fn in_block(pieces: &[&str]) -> Option<String> {
    match pieces {
        ["block", place, layer, part] => {
            let place: usize = place.parse().ok()?;
            let layer = resnet_layer(layer)?;
            Some(format!("resnets.{place}.{layer}.{part}"))
        }
        ["downsample", "conv", part] => Some(format!("downsamplers.0.conv.{part}")),
        ["upsample", "conv", part] => Some(format!("upsamplers.0.conv.{part}")),
        _ => None,
    }
}

fn resnet_layer(layer: &str) -> Option<&str> {
    match layer {
        "norm1" | "conv1" | "norm2" | "conv2" => Some(layer),
        "nin_shortcut" => Some("conv_shortcut"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_map_and_attention_becomes_linear() {
        for (ldm, name, is_linear) in [
            ("encoder.conv_in.weight", "encoder.conv_in.weight", false),
            ("decoder.norm_out.bias", "decoder.conv_norm_out.bias", false),
            (
                "encoder.down.0.block.1.norm1.weight",
                "encoder.down_blocks.0.resnets.1.norm1.weight",
                false,
            ),
            (
                "encoder.down.2.downsample.conv.bias",
                "encoder.down_blocks.2.downsamplers.0.conv.bias",
                false,
            ),
            (
                "decoder.up.0.block.0.nin_shortcut.weight",
                "decoder.up_blocks.3.resnets.0.conv_shortcut.weight",
                false,
            ),
            (
                "decoder.up.3.upsample.conv.weight",
                "decoder.up_blocks.0.upsamplers.0.conv.weight",
                false,
            ),
            (
                "decoder.mid.block_2.conv2.weight",
                "decoder.mid_block.resnets.1.conv2.weight",
                false,
            ),
            (
                "encoder.mid.attn_1.norm.weight",
                "encoder.mid_block.attentions.0.group_norm.weight",
                false,
            ),
            (
                "encoder.mid.attn_1.proj_out.weight",
                "encoder.mid_block.attentions.0.to_out.0.weight",
                true,
            ),
            (
                "decoder.mid.attn_1.q.bias",
                "decoder.mid_block.attentions.0.to_q.bias",
                false,
            ),
            ("post_quant_conv.weight", "post_quant_conv.weight", false),
        ] {
            let expected = VaeKey {
                name: name.to_owned(),
                is_linear,
            };
            assert_eq!(vae_key_from_ldm(ldm, 4), Some(expected), "of {ldm}");
        }
        for key in [
            "",
            "loss.logvar",
            "encoder.down.4.block.0.conv1.weight",
            "decoder.up.4.block.0.conv1.weight",
            "decoder.up.99999999999999999999.block.0.conv1.weight",
            "decoder.down.0.block.0.conv1.weight",
            "encoder.mid.attn_2.q.weight",
            "encoder.mid.block_3.conv1.weight",
            "encoder.down.0.attn.0.q.weight",
        ] {
            assert_eq!(vae_key_from_ldm(key, 4), None, "{key:?} is none of these");
        }
    }
}
