//! What a diffusers folder is for, as it says itself.

use serde::Deserialize;

use crate::{Folder, text};

use super::read_config;

/// The few fields of `model_index.json` that tell the kind of model; the rest names its parts.
#[derive(Deserialize)]
struct ModelIndex {
    #[serde(rename = "_class_name")]
    class_name: String,
}

/// How the pipelines of models are called that have a UNet of Stable Diffusion, and those among them
/// that have none.
const WITH_UNET: &str = "StableDiffusion";
const EXCEPT: &str = "StableDiffusion3";

/// What a folder without a UNet is, if its `model_index.json` names the pipeline of another model
/// (Flux, PixArt, Stable Diffusion 3); none if that is missing too, or a UNet belongs there.
pub(super) async fn without_unet(folder: &dyn Folder) -> Option<String> {
    let json = read_config(folder, "model_index.json").await.ok()?;
    let index: ModelIndex = serde_json::from_str(&json).ok()?;
    let class = index.class_name;
    let needs_unet = class.starts_with(WITH_UNET) && !class.starts_with(EXCEPT);
    (!needs_unet).then(|| {
        let class = text::name(&class);
        format!("a model for diffusers' {class}, which has no UNet")
    })
}
