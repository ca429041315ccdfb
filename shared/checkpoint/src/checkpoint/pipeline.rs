//! What a diffusers folder is for, as it says itself.

use serde::Deserialize;

use crate::text;

/// The few fields of its index that tell the kind of model.
#[derive(Deserialize)]
struct ModelIndex {
    #[serde(rename = "_class_name")]
    class_name: String,
}

/// How the pipelines of models are called that have a UNet of Stable Diffusion, and those among them
/// that have none.
const WITH_UNET: &str = "StableDiffusion";
const EXCEPT: &str = "StableDiffusion3";

/// What a folder without a UNet is, if its index names the pipeline of another model (Flux, PixArt,
/// Stable Diffusion 3); none if a UNet belongs there.
pub(super) fn without_unet(index: &str) -> Option<String> {
    let index: ModelIndex = serde_json::from_str(index).ok()?;
    let class = index.class_name;
    let needs_unet = class.starts_with(WITH_UNET) && !class.starts_with(EXCEPT);
    (!needs_unet).then(|| {
        let class = text::name(&class);
        format!("a model for diffusers' {class}, which has no UNet")
    })
}
