//! In which number format a UNet computes.

use std::fmt;

use burn::tensor::{DType, Device, Tensor};

/// The number format of a UNet's activations and frozen weights.
///
/// Whatever it is, sums, norms, softmax, loss, optimiser and the LoRA's own values are f32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Arithmetic {
    /// 24 bits of precision, on every device.
    #[default]
    F32,
    /// 11 bits of precision, up to 65504.
    F16,
    /// 8 bits of precision, as far as f32.
    BF16,
}

impl Arithmetic {
    /// The format as Burn calls it.
    #[must_use]
    pub const fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::BF16 => DType::BF16,
        }
    }

    /// Whether a device computes in it. A GPU that nothing has used yet is opened.
    #[must_use]
    pub fn is_on(self, device: &Device) -> bool {
        match self {
            Self::F32 => true,
            // The CPU's kernels are for f32.
            Self::F16 | Self::BF16 => {
                *device != Device::flex() && device.supports_dtype(self.dtype())
            }
        }
    }

    /// Whether gradients in it are scaled, or the small ones would be zero.
    #[must_use]
    pub const fn is_narrow(self) -> bool {
        matches!(self, Self::F16)
    }

    /// A tensor in this format.
    #[must_use]
    pub fn of<const D: usize>(self, tensor: Tensor<D>) -> Tensor<D> {
        tensor.cast(self.dtype())
    }
}

/// As people write it: `f16`.
impl fmt::Display for Arithmetic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
        })
    }
}
