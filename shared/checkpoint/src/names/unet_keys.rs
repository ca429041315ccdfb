//! Single-file (ldm) and diffusers names of a UNet's weights.

use std::collections::BTreeMap;

/// What stands before every UNet key of a single-file checkpoint.
pub const LDM_UNET_PREFIX: &str = "model.diffusion_model.";

/// The inside of a residual block: ldm numbers the layers, diffusers names them.
const RESNET: [(&str, &str); 6] = [
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("emb_layers.1", "time_emb_proj"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("skip_connection", "conv_shortcut"),
];

/// Of how many blocks a UNet consists, and which of them have attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnetLayout {
    /// Residual blocks per down block; up blocks have one more.
    pub layers_per_block: usize,
    /// For each down block: has it attention?
    pub down_attention: Vec<bool>,
    /// For each up block: has it attention?
    pub up_attention: Vec<bool>,
}

impl UnetLayout {
    /// Stable Diffusion 1.x:
    /// <https://huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5/blob/main/unet/config.json>.
    #[must_use]
    pub fn sd1() -> Self {
        Self {
            layers_per_block: 2,
            down_attention: vec![true, true, true, false],
            up_attention: vec![false, true, true, true],
        }
    }

    /// Stable Diffusion XL:
    /// <https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/unet/config.json>.
    #[must_use]
    pub fn sdxl() -> Self {
        Self {
            layers_per_block: 2,
            down_attention: vec![false, true, true],
            up_attention: vec![true, true, false],
        }
    }
}

/// The names of every part of a UNet, both ways.
#[derive(Debug, Clone)]
pub struct UnetKeys {
    diffusers_by_ldm: BTreeMap<String, String>,
    ldm_by_diffusers: BTreeMap<String, String>,
}

impl UnetKeys {
    /// Works out the names for a UNet of this layout.
    #[must_use]
    pub fn new(layout: &UnetLayout) -> Self {
        let pairs = pairs(layout);
        Self {
            ldm_by_diffusers: pairs
                .iter()
                .cloned()
                .map(|(ldm, path)| (path, ldm))
                .collect(),
            diffusers_by_ldm: pairs.into_iter().collect(),
        }
    }

    /// `model.diffusion_model.time_embed.0.weight` → `time_embedding.linear_1.weight`; `None` if
    /// this is no key of such a UNet.
    #[must_use]
    pub fn diffusers_from_ldm(&self, key: &str) -> Option<String> {
        renamed(&self.diffusers_by_ldm, key.strip_prefix(LDM_UNET_PREFIX)?)
    }

    /// `time_embedding.linear_1.weight` → `model.diffusion_model.time_embed.0.weight`; `None` if
    /// this is no key of such a UNet.
    #[must_use]
    pub fn ldm_from_diffusers(&self, key: &str) -> Option<String> {
        Some(format!(
            "{LDM_UNET_PREFIX}{}",
            renamed(&self.ldm_by_diffusers, key)?
        ))
    }
}

/// `key` with the longest known beginning, cut at a dot, replaced.
fn renamed(table: &BTreeMap<String, String>, key: &str) -> Option<String> {
    let dots = key.rmatch_indices('.').map(|(position, _)| position);
    std::iter::once(key.len()).chain(dots).find_map(|end| {
        let (known, rest) = key.split_at(end);
        table.get(known).map(|renamed| format!("{renamed}{rest}"))
    })
}

/// (ldm, diffusers) for every part whose inside is called the same on both sides.
fn pairs(layout: &UnetLayout) -> Vec<(String, String)> {
    let mut pairs = Pairs(Vec::new());
    let layers = layout.layers_per_block;

    pairs.same("time_embed.0", "time_embedding.linear_1");
    pairs.same("time_embed.2", "time_embedding.linear_2");
    // Only Stable Diffusion XL has it.
    pairs.same("label_emb.0.0", "add_embedding.linear_1");
    pairs.same("label_emb.0.2", "add_embedding.linear_2");
    pairs.same("input_blocks.0.0", "conv_in");

    // ldm counts residual blocks and downsamplers in one row, after `conv_in`.
    let last_down = layout.down_attention.len().saturating_sub(1);
    for (block, &attention) in layout.down_attention.iter().enumerate() {
        let first = 1 + block * (layers + 1);
        for layer in 0..layers {
            let ldm = format!("input_blocks.{}", first + layer);
            pairs.layer(&ldm, &format!("down_blocks.{block}"), layer, attention);
        }
        if block < last_down {
            let ldm = format!("input_blocks.{}.0.op", first + layers);
            pairs.same(&ldm, &format!("down_blocks.{block}.downsamplers.0.conv"));
        }
    }

    pairs.resnet("middle_block.0", "mid_block.resnets.0");
    pairs.same("middle_block.1", "mid_block.attentions.0");
    pairs.resnet("middle_block.2", "mid_block.resnets.1");

    // An upsampler shares the slot of its block's last layer, after the attention if there is one.
    let last_up = layout.up_attention.len().saturating_sub(1);
    for (block, &attention) in layout.up_attention.iter().enumerate() {
        let first = block * (layers + 1);
        for layer in 0..=layers {
            let ldm = format!("output_blocks.{}", first + layer);
            pairs.layer(&ldm, &format!("up_blocks.{block}"), layer, attention);
        }
        if block < last_up {
            let slot = 1 + usize::from(attention);
            let ldm = format!("output_blocks.{}.{slot}.conv", first + layers);
            pairs.same(&ldm, &format!("up_blocks.{block}.upsamplers.0.conv"));
        }
    }

    pairs.same("out.0", "conv_norm_out");
    pairs.same("out.2", "conv_out");
    pairs.0
}

struct Pairs(Vec<(String, String)>);

impl Pairs {
    fn same(&mut self, ldm: &str, diffusers: &str) {
        self.0.push((ldm.to_owned(), diffusers.to_owned()));
    }

    fn resnet(&mut self, ldm: &str, diffusers: &str) {
        for (numbered, named) in RESNET {
            self.0
                .push((format!("{ldm}.{numbered}"), format!("{diffusers}.{named}")));
        }
    }

    fn layer(&mut self, ldm: &str, diffusers: &str, layer: usize, attention: bool) {
        self.resnet(&format!("{ldm}.0"), &format!("{diffusers}.resnets.{layer}"));
        if attention {
            self.same(
                &format!("{ldm}.1"),
                &format!("{diffusers}.attentions.{layer}"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs that differ in kind, from the table of `convert_diffusers_to_original_stable_diffusion.py`
    /// (diffusers) applied to Stable Diffusion 1.5.
    const SD1: [(&str, &str); 14] = [
        ("time_embed.2.bias", "time_embedding.linear_2.bias"),
        ("input_blocks.0.0.weight", "conv_in.weight"),
        (
            "input_blocks.1.0.in_layers.0.weight",
            "down_blocks.0.resnets.0.norm1.weight",
        ),
        (
            "input_blocks.3.0.op.weight",
            "down_blocks.0.downsamplers.0.conv.weight",
        ),
        (
            "input_blocks.4.0.skip_connection.bias",
            "down_blocks.1.resnets.0.conv_shortcut.bias",
        ),
        (
            "input_blocks.4.1.transformer_blocks.0.attn2.to_out.0.weight",
            "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0.weight",
        ),
        (
            "input_blocks.11.0.out_layers.3.weight",
            "down_blocks.3.resnets.1.conv2.weight",
        ),
        (
            "middle_block.1.norm.weight",
            "mid_block.attentions.0.norm.weight",
        ),
        (
            "middle_block.2.emb_layers.1.weight",
            "mid_block.resnets.1.time_emb_proj.weight",
        ),
        (
            "output_blocks.2.1.conv.weight",
            "up_blocks.0.upsamplers.0.conv.weight",
        ),
        (
            "output_blocks.5.2.conv.bias",
            "up_blocks.1.upsamplers.0.conv.bias",
        ),
        (
            "output_blocks.11.1.proj_out.weight",
            "up_blocks.3.attentions.2.proj_out.weight",
        ),
        ("out.0.weight", "conv_norm_out.weight"),
        ("out.2.bias", "conv_out.bias"),
    ];

    #[test]
    fn known_names_of_stable_diffusion_1_map_both_ways() {
        let keys = UnetKeys::new(&UnetLayout::sd1());
        for (ldm, diffusers) in SD1 {
            let ldm = format!("{LDM_UNET_PREFIX}{ldm}");
            let there = keys.diffusers_from_ldm(&ldm);
            assert_eq!(there.as_deref(), Some(diffusers), "of {ldm}");
            let back = keys.ldm_from_diffusers(diffusers);
            assert_eq!(back.as_deref(), Some(&*ldm), "of {diffusers}");
        }
    }

    #[test]
    fn no_two_parts_share_a_name() {
        let layout = UnetLayout::sd1();
        let keys = UnetKeys::new(&layout);
        let count = pairs(&layout).len();
        assert_eq!(keys.diffusers_by_ldm.len(), count, "ldm names are distinct");
        assert_eq!(
            keys.ldm_by_diffusers.len(),
            count,
            "diffusers names are distinct"
        );
        // 22 residual blocks (8 down, 2 mid, 12 up) of 6, 16 attentions, 3 + 3 samplers, 7 others.
        assert_eq!(count, 22 * 6 + 16 + 6 + 7, "parts of Stable Diffusion 1.x");
    }

    #[test]
    fn foreign_keys_have_no_name() {
        let keys = UnetKeys::new(&UnetLayout::sd1());
        for key in [
            "",
            ".",
            "first_stage_model.encoder.conv_in.weight",
            "conv_in.weight",
        ] {
            assert_eq!(
                keys.diffusers_from_ldm(key),
                None,
                "{key:?} is no ldm UNet key"
            );
        }
        for key in [
            "",
            "down_blocks.9.resnets.0.conv1.weight",
            "conv_inx.weight",
        ] {
            assert_eq!(
                keys.ldm_from_diffusers(key),
                None,
                "{key:?} is no diffusers UNet key"
            );
        }
        let down_block_without_attention = "model.diffusion_model.input_blocks.10.1.norm.weight";
        assert_eq!(
            keys.diffusers_from_ldm(down_block_without_attention),
            None,
            "the last down block has no attention"
        );
    }
}
