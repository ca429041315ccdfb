//! How much of a device's memory a job takes, estimated from files and numbers alone.
//!
//! Counted are the weights in single precision, the tensors that the forward pass keeps for the
//! backward pass, and the vectors of the optimiser. The counts per block follow what the
//! operations of `mimeo-diffusion` keep (`ops`): a frozen convolution keeps nothing, attention
//! keeps its inputs and not its scores.

use burn::tensor::Device;
use mimeo_checkpoint::folder::{open_weights, read_text};
use mimeo_checkpoint::{Folder, SafetensorsFile};
use mimeo_diffusion::{UNet2DConditionModel, UNetConfig, VaeConfig};
use mimeo_protocol::{Method, Pass, Recipe};

use crate::base::MAX_CONFIG_BYTES;
use crate::error::EngineError;

const BYTES: u64 = 4;
/// Tensors of the block's size that a ResNet keeps: two norms' inputs, the skip, the sum.
const PER_RESNET: u64 = 4;
/// Tensors of the block's size that a transformer block keeps: the inputs of four norms and of the
/// adapted projections, query, key, value and answer of two attentions, and twelve times the width
/// between the two linears of the feed-forward.
const PER_TRANSFORMER: u64 = 30;
/// What the backward pass takes beside what was kept, in halves: measured on the bundled base, a row
/// in flight takes 22 MB where the kept tensors sum up to 9.6 MB.
const HALVES_WITH_BACKWARD: u64 = 5;
/// Vectors as long as a LoRA: values, gradient, two moments, the good values, and what an update
/// makes on its way.
const LORA_VECTORS: u64 = 8;
/// Tensors of the decoder's widest level that are alive at once.
const PER_DECODER: u64 = 4;

/// What a job takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryNeed {
    /// The base's weights.
    pub weights_bytes: u64,
    /// What the forward pass keeps for the backward pass, or decoding a picture takes.
    pub activations_bytes: u64,
    /// The LoRA, its gradient, its moments.
    pub optimizer_bytes: u64,
}

impl MemoryNeed {
    /// All of it.
    #[must_use]
    pub const fn total_bytes(self) -> u64 {
        self.weights_bytes + self.activations_bytes + self.optimizer_bytes
    }
}

/// Estimates what a job takes.
///
/// - `size`: width and height of the pictures as they are trained; none: the base's own
///
/// # Errors
/// [`EngineError`] when the base cannot be read.
pub async fn memory_need(
    folder: &dyn Folder,
    recipe: &Recipe,
    size: Option<(u32, u32)>,
    device: &Device,
) -> Result<MemoryNeed, EngineError> {
    let config = |path| read_text(folder, path, MAX_CONFIG_BYTES);
    let unet = UNetConfig::from_json(&config("unet/config.json").await?)?;
    let vae = VaeConfig::from_json(&config("vae/config.json").await?)?;
    let mut weights = 0;
    let mut per_rank = 0;
    for component in ["unet", "vae", "text_encoder"] {
        let file = SafetensorsFile::open(open_weights(folder, component).await?).await?;
        for (name, entry) in file.tensors() {
            weights += entry.shape.iter().map(|side| *side as u64).product::<u64>();
            if component == "unet" {
                per_rank += lora_values_per_rank(name, &entry.shape);
            }
        }
    }
    let (pass, copier) = (&recipe.pass, &recipe.copier.pass);
    let passes: &[&Pass] = match recipe.method {
        Method::Copier => &[pass, copier],
        Method::Addift | Method::Plain => &[pass],
    };
    let rank: u64 = passes.iter().map(|pass| u64::from(pass.rank.get())).sum();
    let native = unet.sample_size;
    let (width, height) = match size {
        Some((width, height)) => (width as usize, height as usize),
        None => (native * vae.downscale(), native * vae.downscale()),
    };
    let (rows, columns) = (height / vae.downscale(), width / vae.downscale());
    let batch = passes.iter().map(|pass| pass.batch_size.get() as usize);
    let in_flight = rows_in_flight(batch.max().unwrap_or(1), device) as u64;
    let kept = kept_per_row(&unet, rows as u64, columns as u64) * in_flight;
    let in_training = kept * HALVES_WITH_BACKWARD / 2;
    let widest = vae.block_out_channels.first().copied().unwrap_or_default() as u64;
    let decoded = widest * 2 * (width * height) as u64 * PER_DECODER;
    Ok(MemoryNeed {
        weights_bytes: weights * BYTES,
        activations_bytes: in_training.max(decoded) * BYTES,
        optimizer_bytes: per_rank * rank * LORA_VECTORS * BYTES,
    })
}

/// Rows of a batch whose tensors are alive at once.
fn rows_in_flight(batch: usize, device: &Device) -> usize {
    let per_task = UNet2DConditionModel::rows_per_task(device);
    if per_task >= batch {
        return batch;
    }
    let threads = rayon::current_num_threads();
    batch.min(per_task * threads)
}

/// Numbers that the UNet keeps for one row, for a latent of `rows` x `columns`.
fn kept_per_row(config: &UNetConfig, rows: u64, columns: u64) -> u64 {
    let levels = config.block_out_channels.len();
    let layers = config.layers_per_block as u64;
    let mut kept = 0;
    for (level, channels) in config.block_out_channels.iter().enumerate() {
        let size = *channels as u64 * (rows >> level).max(1) * (columns >> level).max(1);
        let depth = config.transformer_layers_per_block.of(level) as u64;
        let attends = config.attends(level);
        // Down, up (with one more), and the middle below the last level.
        let (mut resnets, mut transformers) = (2 * layers + 1, 0);
        if attends {
            transformers = resnets * depth;
        }
        if level + 1 == levels {
            resnets += 2;
            transformers += depth;
        }
        kept += size * (resnets * PER_RESNET + transformers * PER_TRANSFORMER);
    }
    kept
}

/// Values that one rank of a LoRA has for this weight: its inputs and outputs, if it is adapted.
fn lora_values_per_rank(name: &str, shape: &[usize]) -> u64 {
    let is_projection = [
        "to_q",
        "to_k",
        "to_v",
        "to_out.0",
        "ff.net.0.proj",
        "ff.net.2",
    ]
    .iter()
    .chain(&["proj_in", "proj_out"])
    .any(|target| name.ends_with(&format!("{target}.weight")));
    match shape {
        [output, input, ..] if is_projection => (*output + *input) as u64,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_adapted_weights_count() {
        let per_rank = |name, shape: &[usize]| lora_values_per_rank(name, shape);
        let linear = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight";
        assert_eq!(per_rank(linear, &[64, 32]), 96, "a projection");
        let conv = "mid_block.attentions.0.proj_in.weight";
        assert_eq!(per_rank(conv, &[64, 64, 1, 1]), 128, "a 1x1 convolution");
        let resnet = "down_blocks.0.resnets.0.conv1.weight";
        assert_eq!(per_rank(resnet, &[64, 64, 3, 3]), 0, "not adapted");
    }
}
