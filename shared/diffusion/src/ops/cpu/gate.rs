//! GEGLU on the CPU.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::vector::{normal_distribution, update, zip};
use super::{CpuTensor, tensor, values};

/// Tokens gated by one task.
const TOKENS: usize = 32;

/// See [`crate::ops::geglu`].
pub(in crate::ops) fn geglu(projected: &CpuTensor, dims: [usize; 3]) -> CpuTensor {
    let [batch, tokens, both] = dims;
    let width = both / 2;
    let projected = projected.to_contiguous();
    let mut out = vec![0.0; batch * tokens * width];
    out.par_chunks_mut(width * TOKENS)
        .zip(values(&projected).par_chunks(both * TOKENS))
        .for_each(|(out, projected)| {
            Arch::new().dispatch(Geglu {
                width,
                projected,
                out,
            });
        });
    tensor(out, [batch, tokens, width])
}

/// The gradient of the input, from that of the answer.
pub(in crate::ops) fn geglu_backward(
    projected: &CpuTensor,
    gradient: &CpuTensor,
    dims: [usize; 3],
) -> CpuTensor {
    let [batch, tokens, both] = dims;
    let width = both / 2;
    let (projected, gradient) = (projected.to_contiguous(), gradient.to_contiguous());
    let mut out = vec![0.0; batch * tokens * both];
    out.par_chunks_mut(both * TOKENS)
        .zip(values(&projected).par_chunks(both * TOKENS))
        .zip(values(&gradient).par_chunks(width * TOKENS))
        .for_each(|((out, projected), gradient)| {
            Arch::new().dispatch(GegluBackward {
                width,
                projected,
                gradient,
                out,
            });
        });
    tensor(out, dims)
}

struct Geglu<'a> {
    width: usize,
    projected: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Geglu<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let rows = self
            .projected
            .chunks_exact(self.width * 2)
            .zip(self.out.chunks_exact_mut(self.width));
        for (projected, out) in rows {
            let (values, gates) = projected.split_at(self.width);
            zip(
                simd,
                values,
                gates,
                out,
                #[inline(always)]
                |value, gate| {
                    let (below, _) = normal_distribution(simd, gate);
                    simd.mul_f32s(value, simd.mul_f32s(gate, below))
                },
            );
        }
    }
}

struct GegluBackward<'a> {
    width: usize,
    projected: &'a [f32],
    gradient: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for GegluBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let rows = self
            .projected
            .chunks_exact(self.width * 2)
            .zip(self.gradient.chunks_exact(self.width))
            .zip(self.out.chunks_exact_mut(self.width * 2));
        for ((projected, gradient), out) in rows {
            let (values, gates) = projected.split_at(self.width);
            let (of_values, of_gates) = out.split_at_mut(self.width);
            zip(
                simd,
                gradient,
                gates,
                of_values,
                #[inline(always)]
                |gradient, gate| {
                    let (below, _) = normal_distribution(simd, gate);
                    simd.mul_f32s(gradient, simd.mul_f32s(gate, below))
                },
            );
            zip(
                simd,
                values,
                gates,
                of_gates,
                #[inline(always)]
                |value, gate| {
                    let (below, density) = normal_distribution(simd, gate);
                    simd.mul_f32s(value, simd.mul_add_e_f32s(gate, density, below))
                },
            );
            update(
                simd,
                gradient,
                of_gates,
                #[inline(always)]
                |gradient, slope| simd.mul_f32s(gradient, slope),
            );
        }
    }
}
