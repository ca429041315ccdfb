//! Which component a tensor of a single file belongs to, by what name, and how it comes out of there.

use std::collections::{BTreeMap, btree_map::Entry};

use crate::names::{
    LDM_UNET_PREFIX, LDM_VAE_PREFIXES, OpenClipShape, UnetKeys, clip_from_open_clip, in_block,
    vae_key_from_ldm,
};
use crate::{Architecture, CheckpointError, Component, Dtype, SafetensorsFile, TensorEntry, text};

use super::super::weights::View;
use super::left_aside::LeftAside;
use super::{Views, has_open_clip, unet};

/// Who named a text encoder's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// transformers, as diffusers.
    Transformers,
    OpenClip,
}

/// Where text encoders lie: Stable Diffusion 1 and 2, then SGM.
const TEXT_ENCODERS: [(&str, Component, Writer); 5] = [
    (
        "cond_stage_model.transformer.",
        Component::TextEncoder,
        Writer::Transformers,
    ),
    (
        "cond_stage_model.model.",
        Component::TextEncoder,
        Writer::OpenClip,
    ),
    (
        "conditioner.embedders.0.transformer.",
        Component::TextEncoder,
        Writer::Transformers,
    ),
    (SGM_FIRST, Component::TextEncoder, Writer::OpenClip),
    (
        "conditioner.embedders.1.model.",
        Component::TextEncoder2,
        Writer::OpenClip,
    ),
];

/// OpenCLIP as SGM's first: Stable Diffusion 2's only one, and XL's second where, as in the refiner,
/// the first is left out.
const SGM_FIRST: &str = "conditioner.embedders.0.model.";

/// What the weights of CLIP begin with inside of it; NovelAI's files of Stable Diffusion 1 and those
/// made from them leave it out.
const TEXT_MODEL: &str = "text_model.";
const IN_TEXT_MODEL: [&str; 3] = ["embeddings.", "encoder.layers.", "final_layer_norm."];

/// Blocks that OpenCLIP-H has, and how many of them Stable Diffusion 2 was trained with.
const OPEN_CLIP_H_BLOCKS: usize = 24;

/// What the scale of an fp8 weight is called beside it: ComfyUI's first spelling, then the other one.
const SCALES: [&str; 2] = [".scale_weight", ".weight_scale"];

/// Sorts the tensors of a file.
///
/// # Errors
/// If two are the same weight, one does not have the shape that its name calls for, or the UNet is
/// built in an unknown way.
pub(super) async fn sorted(
    file: &SafetensorsFile,
    architecture: Architecture,
) -> Result<(BTreeMap<Component, Views>, LeftAside), CheckpointError> {
    let scales = scales(file).await?;
    let layout = unet::layout(file.tensors()).map_err(|unfit| unfit.in_file(file.name()))?;
    let names = Names {
        unet: UnetKeys::new(&layout),
        vae_levels: vae_levels(file.tensors()),
        last_block: unused_block(file.tensors(), architecture),
        is_xl: architecture.is_xl(),
    };
    let mut parts: BTreeMap<Component, Views> = BTreeMap::new();
    let mut left_aside = LeftAside::default();
    for (key, entry) in file.tensors() {
        let view = View::plain(key, entry).widened(scales.get(key).copied());
        match names.place(key, view) {
            Destination::Weights(component, weights) => {
                for (name, view) in weights {
                    let view = view.ok_or_else(|| bad_shape(file, key, entry))?;
                    insert(parts.entry(component).or_default(), name, view, file)?;
                }
            }
            Destination::Unused => {}
            Destination::Nowhere => left_aside.count(key),
        }
    }
    Ok((parts, left_aside))
}

/// The weights of a VAE in a file of its own or in a checkpoint, by diffusers' names.
///
/// # Errors
/// As [`sorted`].
pub(in crate::checkpoint) fn vae(file: &SafetensorsFile) -> Result<Views, CheckpointError> {
    let tensors = file.tensors();
    let prefix = vae_prefix(tensors);
    let levels = vae_levels(tensors);
    let mut views = Views::new();
    for (key, entry) in tensors {
        let view = View::plain(key, entry).widened(None);
        let Some(inside) = key.strip_prefix(prefix) else {
            continue;
        };
        // diffusers' own names are no names of ldm's where the two differ.
        let is_diffusers = inside.contains("_blocks.") || inside.contains("mid_block.");
        let is_diffusers = is_diffusers || inside.contains(".conv_norm_out.");
        if is_diffusers {
            insert(&mut views, inside.to_owned(), view, file)?;
        } else if let Some((name, view)) = vae_weight(inside, levels, view) {
            let view = view.ok_or_else(|| bad_shape(file, key, entry))?;
            insert(&mut views, name, view, file)?;
        }
    }
    Ok(views)
}

struct Names {
    unet: UnetKeys,
    vae_levels: usize,
    /// The block of OpenCLIP that Stable Diffusion 2 was not trained with.
    last_block: Option<usize>,
    is_xl: bool,
}

/// Where a tensor belongs.
enum Destination {
    /// It is one weight, or several; none where its shape does not allow that.
    Weights(Component, Vec<(String, Option<View>)>),
    /// It belongs to a part that is not used.
    Unused,
    Nowhere,
}

impl Names {
    fn place(&self, key: &str, view: View) -> Destination {
        if key.starts_with(LDM_UNET_PREFIX) {
            return match self.unet.diffusers_from_ldm(key) {
                Some(name) => Destination::Weights(Component::Unet, vec![(name, Some(view))]),
                None => Destination::Nowhere,
            };
        }
        for prefix in LDM_VAE_PREFIXES {
            if let Some(inside) = key.strip_prefix(prefix) {
                return match vae_weight(inside, self.vae_levels, view) {
                    Some(weight) => Destination::Weights(Component::Vae, vec![weight]),
                    None => Destination::Nowhere,
                };
            }
        }
        for (prefix, component, writer) in TEXT_ENCODERS {
            if let Some(inside) = key.strip_prefix(prefix) {
                let is_second = prefix == SGM_FIRST && self.is_xl;
                let component = if is_second {
                    Component::TextEncoder2
                } else {
                    component
                };
                return match writer {
                    Writer::Transformers => of_transformers(component, inside, view),
                    Writer::OpenClip => self.of_open_clip(component, inside, &view),
                };
            }
        }
        Destination::Nowhere
    }

    fn of_open_clip(&self, component: Component, key: &str, view: &View) -> Destination {
        let is_first = component == Component::TextEncoder;
        if is_first && in_block(key).is_some_and(|(block, _)| Some(block) == self.last_block) {
            return Destination::Unused;
        }
        let weights = clip_from_open_clip(key).into_iter();
        let weights: Vec<_> = weights
            // Only XL takes the projected text.
            .filter(|(name, _)| !is_first || name.starts_with(TEXT_MODEL))
            .map(|(name, shape)| {
                let view = match shape {
                    OpenClipShape::Whole => Some(view.clone()),
                    OpenClipShape::Transposed => view.transposed(),
                    OpenClipShape::Third(place) => view.part(place, 3),
                };
                (name, view)
            })
            .collect();
        if weights.is_empty() {
            Destination::Nowhere
        } else {
            Destination::Weights(component, weights)
        }
    }
}

fn of_transformers(component: Component, key: &str, view: View) -> Destination {
    let inside = key.strip_prefix(TEXT_MODEL).unwrap_or(key);
    let is_weight = IN_TEXT_MODEL.iter().any(|part| inside.starts_with(part));
    if is_weight && !inside.ends_with(".position_ids") {
        let name = format!("{TEXT_MODEL}{inside}");
        return Destination::Weights(component, vec![(name, Some(view))]);
    }
    Destination::Nowhere
}

fn vae_weight(key: &str, levels: usize, view: View) -> Option<(String, Option<View>)> {
    let key = vae_key_from_ldm(key, levels)?;
    // Of ldm's 1×1 convolutions the numbers are those of a linear layer; some files have that already.
    let view = match *view.given().shape.as_slice() {
        [rows, columns, 1, 1] if key.is_linear => Some(view.reshaped(vec![rows, columns])),
        [_, _] if key.is_linear => Some(view),
        _ if key.is_linear => None,
        _ => Some(view),
    };
    Some((key.name, view))
}

/// Blocks of the VAE's way up.
fn vae_levels(tensors: &BTreeMap<String, TensorEntry>) -> usize {
    let prefix = vae_prefix(tensors);
    let is_there = |level: &usize| {
        let first = format!("{prefix}decoder.up.{level}.block.0.conv1.weight");
        tensors.contains_key(&first)
    };
    (0..tensors.len()).take_while(is_there).count()
}

fn vae_prefix(tensors: &BTreeMap<String, TensorEntry>) -> &'static str {
    let is_there = |prefix: &&str| tensors.contains_key(&format!("{prefix}decoder.conv_in.weight"));
    LDM_VAE_PREFIXES.into_iter().find(is_there).unwrap_or("")
}

/// The last block of OpenCLIP-H, of which Stable Diffusion 2 takes the state before it. Files that were
/// converted from diffusers do not hold it, nor the projection behind it.
fn unused_block(
    tensors: &BTreeMap<String, TensorEntry>,
    architecture: Architecture,
) -> Option<usize> {
    if !has_open_clip(architecture) {
        return None;
    }
    let prefixes = TEXT_ENCODERS
        .iter()
        .filter(|(.., writer)| *writer == Writer::OpenClip);
    let (prefix, ..) = prefixes
        .into_iter()
        .find(|(prefix, ..)| tensors.contains_key(&format!("{prefix}positional_embedding")))?;
    let is_there = |block: &usize| {
        tensors.contains_key(&format!(
            "{prefix}transformer.resblocks.{block}.ln_1.weight"
        ))
    };
    let blocks = (0..tensors.len()).take_while(is_there).count();
    let has_projection = tensors.contains_key(&format!("{prefix}text_projection"));
    let is_whole =
        blocks == OPEN_CLIP_H_BLOCKS || (has_projection && blocks != OPEN_CLIP_H_BLOCKS - 1);
    blocks.checked_sub(1).filter(|_| is_whole)
}

/// What the numbers of each weight are multiplied by, by the weight's key.
///
/// # Errors
/// If a weight of fp8 has several scales; if one cannot be read.
async fn scales(file: &SafetensorsFile) -> Result<BTreeMap<String, f32>, CheckpointError> {
    let mut scales = BTreeMap::new();
    for (key, entry) in file.tensors() {
        let layer = SCALES.iter().find_map(|end| key.strip_suffix(end));
        let Some(weight) = layer.map(|layer| format!("{layer}.weight")) else {
            continue;
        };
        let Some(weights) = file.tensors().get(&weight) else {
            continue;
        };
        if !matches!(
            weights.dtype,
            Dtype::F8_E4M3 | Dtype::F8_E5M2 | Dtype::F16 | Dtype::BF16 | Dtype::F32
        ) {
            // Packed in another way, which is refused by its type.
            continue;
        }
        if entry.count() != 1 {
            return Err(CheckpointError::WrongDtype {
                tensor: text::name(&weight),
                found: format!("{} with a scale for each row or block", weights.dtype),
                file: file.name().to_owned(),
            });
        }
        if let [scale] = *file.widened_f32(key, entry).await? {
            scales.insert(weight, scale);
        }
    }
    Ok(scales)
}

fn insert(
    views: &mut Views,
    name: String,
    view: View,
    file: &SafetensorsFile,
) -> Result<(), CheckpointError> {
    match views.entry(name) {
        Entry::Vacant(place) => {
            place.insert(view);
            Ok(())
        }
        Entry::Occupied(_) => Err(CheckpointError::DuplicateTensor {
            tensor: text::name(view.key()),
            file: file.name().to_owned(),
        }),
    }
}

fn bad_shape(file: &SafetensorsFile, key: &str, entry: &TensorEntry) -> CheckpointError {
    CheckpointError::BadShape {
        tensor: text::name(key),
        found: entry.shape.clone(),
        file: file.name().to_owned(),
    }
}
