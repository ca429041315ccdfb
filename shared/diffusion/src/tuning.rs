//! What depends on the kind of device that computes.

use burn::tensor::Device;

use crate::load::WeightFormat;

/// How work is cut and weights are kept for a kind of device.
///
/// Nothing here depends on how many cores there are, so neither does any rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// How many rows of a batch are best given to one call of the UNet.
    pub rows_per_task: usize,
    /// Whether two calls that do not need each other are best made side by side.
    pub is_side_by_side: bool,
    /// Scores (over batch and heads) that attention's portable backward pass holds at once.
    pub attention_tile: usize,
    /// How the weights of the UNet are best kept where the device can read f16.
    pub unet_weights: WeightFormat,
    /// The same of the VAE and the text encoders.
    pub other_weights: WeightFormat,
    /// Which kernels of convolutions best lie channels last.
    pub channels_last: ChannelsLast,
    /// How many losses are best read at once: a GPU stands still until one is read.
    pub losses_at_once: usize,
}

/// Which kernels of convolutions lie with their input channels side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelsLast {
    /// Those of stride 1 with many channels.
    Wide,
    /// All.
    All,
}

/// 64 MiB in f32.
const ATTENTION_TILE: usize = 16 << 20;

impl Tuning {
    /// Every few rows are a task of their own: at small sizes a core does nearly twice as much with
    /// its own part of the batch as it does helping with every single operation.
    const CPU: Self = Self {
        // One row would leave too little work between the operations' own cost.
        rows_per_task: 2,
        is_side_by_side: true,
        attention_tile: ATTENTION_TILE,
        unet_weights: WeightFormat::LargeHalfAsStored,
        other_weights: WeightFormat::LargeHalfAsStored,
        channels_last: ChannelsLast::Wide,
        losses_at_once: 1,
    };

    /// Few large kernels win.
    const GPU: Self = Self {
        rows_per_task: usize::MAX,
        is_side_by_side: false,
        attention_tile: ATTENTION_TILE,
        unet_weights: WeightFormat::HalfAsStored,
        other_weights: WeightFormat::LargeHalfAsStored,
        channels_last: ChannelsLast::All,
        losses_at_once: 10,
    };

    /// What suits a device.
    #[must_use]
    pub fn of(device: &Device) -> Self {
        if *device == Device::flex() {
            Self::CPU
        } else {
            Self::GPU
        }
    }
}
