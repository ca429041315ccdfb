//! What a weights file holds instead of a Stable Diffusion that Mimeo knows, by the names in it.
//!
//! The signs are those of diffusers' `loaders/single_file_utils.py` (`CHECKPOINT_KEY_NAMES`) and
//! ComfyUI's `model_detection.py`.

use crate::SafetensorsFile;

use super::UnetShape;

/// Pieces of keys that only these have: what is laid upon a model.
const ADAPTERS: [(&str, &str); 7] = [
    ("lora_", "a LoRA, not a checkpoint"),
    (".lora_A.", "a LoRA, not a checkpoint"),
    (".lora_B.", "a LoRA, not a checkpoint"),
    ("_lora.", "a LoRA, not a checkpoint"),
    (".lora.", "a LoRA, not a checkpoint"),
    ("lokr_", "a LoKr, not a checkpoint"),
    ("hada_", "a LoHa, not a checkpoint"),
];

/// Pieces of keys that only these have. The first that fits counts, so what a model is stands before
/// what it is made of.
const OTHER_MODELS: [(&str, &str); 36] = [
    ("distilled_guidance_layer.", "a Chroma model"),
    ("single_stream_modulation", "a Flux 2 model"),
    ("stream_modulations.", "a Flux 3 model"),
    ("individual_token_refiner", "a HunyuanVideo model"),
    ("double_stream_blocks.", "a HiDream model"),
    ("double_blocks.", "a Flux model"),
    ("single_transformer_blocks.", "a Flux model"),
    ("joint_transformer_blocks.", "an AuraFlow model"),
    ("double_layers.", "an AuraFlow model"),
    ("joint_blocks.", "a Stable Diffusion 3 model"),
    ("txt_norm.", "a Qwen-Image model"),
    ("txt_in.text_norm", "a Qwen-Image model"),
    ("img_mlp.", "a Qwen-Image model"),
    ("txtfusion.", "a Krea 2 model"),
    ("llm_adapter.", "an Anima model"),
    ("layers.0.adaLN_modulation.0.", "a Z-Image model"),
    ("cap_embedder.", "a Lumina 2 or Z-Image model"),
    ("head.modulation", "a Wan model, which makes videos"),
    ("x_embedder.proj.1.", "a Cosmos model"),
    ("patchify_proj.", "an LTX model, which makes videos"),
    ("attn.qkv_x.", "a Mochi model, which makes videos"),
    ("cross_attn.q_linear.", "a PixArt or Sana model"),
    ("adaln_single.", "a PixArt model"),
    ("mlp_t5.", "a HunyuanDiT model"),
    ("clip_txt_mapper.", "a Stable Cascade model"),
    ("channelwise.0.", "a Stable Cascade model"),
    ("motion_modules.", "a motion module of AnimateDiff"),
    ("control_model.", "a ControlNet"),
    ("controlnet_", "a ControlNet"),
    ("image_proj.", "an IP-Adapter"),
    ("input_blocks.", "a UNet alone, not a checkpoint"),
    ("resblocks.", "a text encoder"),
    ("text_model.", "a text encoder"),
    ("encoder.block.0.layer.", "a text encoder (T5)"),
    ("decoder.conv_in.", "a VAE"),
    ("emb_params", "a textual inversion embedding"),
];

/// The same of models that are built around a UNet as Stable Diffusion is.
const AROUND_A_UNET: [(&str, &str); 8] = [
    (
        "edm_vpred.sigma_max",
        "an EDM model (CosXL or Playground), whose noise schedule is another",
    ),
    (
        "edm_mean",
        "an EDM model (CosXL or Playground), whose noise schedule is another",
    ),
    (
        ".time_stack.",
        "a Stable Video Diffusion model, which makes videos",
    ),
    (
        "temporal_transformer_blocks",
        "a Stable Video Diffusion model, which makes videos",
    ),
    (
        "motion_modules.",
        "a model with AnimateDiff, which makes videos",
    ),
    (
        "cc_projection.",
        "a Stable Zero123 model, which turns objects around",
    ),
    (
        "encoder_hid_proj.",
        "a Kolors model, which reads prompts otherwise",
    ),
    ("controlnet_cond_embedding.", "a ControlNet"),
];

/// What a file is whose UNet is not all there is to it.
pub(super) fn built_around_a_unet(file: &SafetensorsFile) -> Option<&'static str> {
    called(file, &AROUND_A_UNET)
}

/// A name for a file that holds no UNet of Stable Diffusion.
pub(super) fn without_unet(file: &SafetensorsFile) -> &'static str {
    let known = called(file, &ADAPTERS).or_else(|| called(file, &OTHER_MODELS));
    known.unwrap_or("a file without a UNet")
}

/// Whether a file holds what is laid upon a model, and not a model.
pub(super) fn is_adapter(file: &SafetensorsFile) -> bool {
    called(file, &ADAPTERS).is_some()
}

fn called(file: &SafetensorsFile, signs: &[(&str, &'static str)]) -> Option<&'static str> {
    let is_there = |sign: &str| file.tensors().keys().any(|name| name.contains(sign));
    let found = signs.iter().find(|(sign, _)| is_there(sign));
    found.map(|(_, what)| *what)
}

/// What a UNet is for that takes something else than a latent and a prompt.
///
/// The one that inpaints, with 9 channels, is a [`Family`](super::Family) that is not trained.
pub(super) const fn of_sizes(shape: &UnetShape, in_channels: usize) -> Option<&'static str> {
    match in_channels {
        5 => Some("a depth model, which also takes a picture's depth"),
        7 => Some("an upscaler, which also takes a small picture"),
        8 => Some("an instruct-pix2pix model, which edits a picture by an instruction"),
        _ if shape.added_conditioning && shape.context_width == 1024 => {
            Some("an unCLIP model, which also takes a picture in a vector")
        }
        _ => None,
    }
}
