//! Frozen weights, read where they are used.

use burn::tensor::f16;

use super::{CpuTensor, values};

/// Weights as they lie in memory.
#[derive(Clone, Copy)]
pub(super) enum Weight<'a> {
    Single(&'a [f32]),
    /// Widened where they are used; an f16 is an f32 as well, so nothing is rounded.
    Half(&'a [f16]),
}

impl<'a> Weight<'a> {
    /// - `contiguous`: of f32 or f16
    pub fn of(contiguous: &'a CpuTensor) -> Self {
        match contiguous.as_slice() {
            Some(halves) => Self::Half(halves),
            None => Self::Single(values(contiguous)),
        }
    }
}

impl Weight<'_> {
    /// As many as fit into `out`, from `start` on.
    #[inline(always)]
    pub fn read(self, start: usize, out: &mut [f32]) {
        match self {
            Self::Single(values) => out.copy_from_slice(&values[start..][..out.len()]),
            Self::Half(values) => {
                for (out, half) in out.iter_mut().zip(&values[start..]) {
                    *out = widened(half.to_bits());
                }
            }
        }
    }
}

/// The f32 that a finite f16 is, without a branch: whole vectors of them are made at once.
#[inline(always)]
const fn widened(bits: u16) -> f32 {
    /// What an f32's exponent has more than an f16's.
    const EXPONENT: u32 = (127 - 15) << 23;
    let sign = (bits as u32 & 0x8000) << 16;
    let magnitude = (bits as u32 & 0x7fff) << 13;
    // Where the exponent is 0 the fraction has no leading one: one is put there, and taken away.
    let normal = f32::from_bits(magnitude + EXPONENT);
    let tiny =
        f32::from_bits(magnitude + EXPONENT + (1 << 23)) - f32::from_bits(EXPONENT + (1 << 23));
    let value = if magnitude < 1 << 23 { tiny } else { normal };
    f32::from_bits(value.to_bits() | sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_half_is_widened_exactly() {
        for bits in 0..=u16::MAX {
            let half = f16::from_bits(bits);
            if half.is_finite() {
                let (ours, theirs) = (widened(bits).to_bits(), half.to_f32().to_bits());
                assert_eq!(ours, theirs, "{half} of {bits:#06x}");
            }
        }
    }
}
