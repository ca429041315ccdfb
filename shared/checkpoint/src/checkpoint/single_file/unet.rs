//! How the UNet of a single file is built, from the names and shapes of its tensors.

use std::collections::BTreeMap;

use crate::names::{LDM_UNET_PREFIX, UnetLayout};
use crate::{CheckpointError, TensorEntry, text};

/// Far above any real UNet.
const MAX_LEVELS: usize = 16;
const MAX_LAYERS: usize = 16;

/// A component that is not built as one of Stable Diffusion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::checkpoint) enum Unfit {
    /// It is this instead.
    Other(String),
    /// A tensor is missing, or has a shape of no use.
    Lacks(String),
}

impl Unfit {
    /// - `name`: of the file
    pub(in crate::checkpoint) fn in_file(self, name: &str) -> CheckpointError {
        let file = name.to_owned();
        match self {
            Self::Other(found) => CheckpointError::UnknownFamily { found, file },
            Self::Lacks(tensor) => CheckpointError::MissingTensor {
                tensor: text::name(&tensor),
                file,
            },
        }
    }
}

/// The block structure, from which diffusers' names follow.
///
/// # Errors
/// If the blocks are not those of a Stable Diffusion.
pub(super) fn layout(tensors: &BTreeMap<String, TensorEntry>) -> Result<UnetLayout, Unfit> {
    let has = |inside: String| tensors.contains_key(&format!("{LDM_UNET_PREFIX}{inside}"));
    let is_resnet = |block: &str| has(format!("{block}.0.in_layers.2.weight"));
    let attends = |block: &str| has(format!("{block}.1.proj_in.weight"));
    let unusual = || Unfit::Other("a UNet with an unusual number of layers per block".to_owned());

    // ldm counts residual blocks and downsamplers in one row, after `conv_in`.
    let mut levels: Vec<Vec<bool>> = vec![Vec::new()];
    for slot in 1..=MAX_LEVELS * (MAX_LAYERS + 1) {
        let block = format!("input_blocks.{slot}");
        let Some(level) = levels.last_mut() else {
            break;
        };
        if is_resnet(&block) {
            level.push(attends(&block));
        } else if has(format!("{block}.0.op.weight")) {
            levels.push(Vec::new());
        } else {
            break;
        }
    }
    let layers_per_block = levels.first().map_or(0, Vec::len);
    let is_regular = levels.len() <= MAX_LEVELS
        && (1..=MAX_LAYERS).contains(&layers_per_block)
        && levels.iter().all(|level| level.len() == layers_per_block);
    if !is_regular {
        return Err(unusual());
    }
    let of_level = |level: &Vec<bool>| {
        let first = level.first().copied().unwrap_or_default();
        let is_same = level.iter().all(|attends| *attends == first);
        is_same.then_some(first).ok_or_else(unusual)
    };
    let down_attention = levels.iter().map(of_level).collect::<Result<Vec<_>, _>>()?;

    let mut up_attention = Vec::new();
    for level in 0..levels.len() {
        let first = level * (layers_per_block + 1);
        let slots = first..=first + layers_per_block;
        let blocks: Vec<String> = slots.map(|slot| format!("output_blocks.{slot}")).collect();
        if !blocks.iter().all(|block| is_resnet(block)) {
            return Err(unusual());
        }
        up_attention.push(of_level(&blocks.iter().map(|it| attends(it)).collect())?);
    }
    let beyond = levels.len() * (layers_per_block + 1);
    if is_resnet(&format!("output_blocks.{beyond}")) {
        return Err(unusual());
    }
    Ok(UnetLayout {
        layers_per_block,
        down_attention,
        up_attention,
    })
}
