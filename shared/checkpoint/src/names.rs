//! What one weight is called in the four places that name it.
//!
//! | where | example |
//! |---|---|
//! | single-file checkpoint (ldm) | `model.diffusion_model.input_blocks.1.1.proj_in.weight` |
//! | diffusers | `down_blocks.0.attentions.0.proj_in.weight` |
//! | LoRA file, kohya | `lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight` |
//! | LoRA file, PEFT | `unet.down_blocks.0.attentions.0.proj_in.lora_A.weight` |
//!
//! diffusers' path is the one used inside Mimeo. The ldm names follow from the block structure by
//! the rule of diffusers' `convert_ldm_unet_checkpoint`; the kohya name is the path with `_` for
//! `.`, which cannot be undone by looking at it (`to_out_0`), so [`ModuleNames`] looks it up among
//! the paths that the model has.

mod kohya;
mod lora_key;
mod unet_keys;

pub use kohya::{Component, ModuleNames};
pub use lora_key::{LoraKey, LoraPart, ModuleName, UnreadableKey, parse_lora_key};
pub use unet_keys::{LDM_UNET_PREFIX, UnetKeys, UnetLayout};
