//! What one weight is called in the places that name it.
//!
//! | where | example |
//! |---|---|
//! | single-file checkpoint (ldm) | `model.diffusion_model.input_blocks.1.1.proj_in.weight` |
//! | diffusers | `down_blocks.0.attentions.0.proj_in.weight` |
//! | LoRA file, kohya | `lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight` |
//! | LoRA file, kohya with ldm's names | `lora_unet_input_blocks_1_1_proj_in.lora_down.weight` |
//! | LoRA file, diffusers | `unet.down_blocks.0.attentions.0.proj_in.lora_A.weight` |
//! | LoRA file, PEFT | `base_model.model.down_blocks.0.attentions.0.proj_in.lora_A.weight` |
//! | LoRA file, ComfyUI | `diffusion_model.input_blocks.1.1.proj_in.lora_up.weight` |
//! | LoRA file, SimpleTuner for ComfyUI | `diffusion_model.down_blocks.0.attentions.0.proj_in.lora_A.weight` |
//!
//! diffusers' path is the one used inside Mimeo. The ldm names follow from the block structure by
//! the rule of diffusers' `convert_ldm_unet_checkpoint`; the kohya name is the path with `_` for
//! `.`, which cannot be undone by looking at it (`to_out_0`), so [`ModuleNames`] looks it up among
//! the paths that the model has.

mod kohya;
mod lora_key;
mod part;
mod text_keys;
mod unet_keys;
mod vae_keys;

pub use kohya::{ModuleNames, Spelling};
pub(crate) use lora_key::LORA_BIAS;
pub use lora_key::{
    LoraKey, LoraPart, ModuleName, OtherKind, UnreadableKey, is_saved_by_peft, parse_lora_key,
};
pub use part::{Part, other_model};
pub(crate) use text_keys::in_block;
pub use text_keys::{OpenClipShape, clip_from_open_clip};
pub use unet_keys::{LDM_UNET_PREFIX, UnetKeys, UnetLayout};
pub use vae_keys::{LDM_VAE_PREFIXES, VaeKey, vae_key_from_ldm};
