//! Vectors of numbers, and the functions of them that `pulp` lacks.

use pulp::Simd;

/// `eˣ` within 2 units in the last place; 0 below -87 and 2^127.9 above 88.
///
/// Cephes' `expf`: x = n·ln 2 + r, `eʳ` from a polynomial of degree 6, 2ⁿ through the exponent bits.
#[inline(always)]
pub(super) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    /// Adding it leaves a number's integer part in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const COEFFICIENTS: [f32; 6] = [
        1.987_569_1e-4,
        1.398_2e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ];
    let x = simd.min_f32s(
        simd.max_f32s(x, simd.splat_f32s(-87.0)),
        simd.splat_f32s(88.0),
    );
    let rounded = simd.mul_add_e_f32s(
        x,
        simd.splat_f32s(std::f32::consts::LOG2_E),
        simd.splat_f32s(ROUND),
    );
    let n = simd.sub_f32s(rounded, simd.splat_f32s(ROUND));
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN_2_HIGH), x);
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN_2_LOW), r);
    let mut polynomial = simd.splat_f32s(COEFFICIENTS[0]);
    for coefficient in &COEFFICIENTS[1..] {
        polynomial = simd.mul_add_e_f32s(polynomial, r, simd.splat_f32s(*coefficient));
    }
    let fraction = simd.mul_add_e_f32s(polynomial, simd.mul_f32s(r, r), r);
    let fraction = simd.add_f32s(fraction, simd.splat_f32s(1.0));

    let bits = simd.transmute_u32s_f32s(rounded);
    let exponent = simd.wrapping_dyn_shl_u32s(bits, simd.splat_u32s(23));
    let power = simd.add_u32s(exponent, simd.splat_u32s(1.0_f32.to_bits()));
    simd.mul_f32s(fraction, simd.transmute_f32s_u32s(power))
}

/// `-x`: `pulp`'s own is not inlined.
#[inline(always)]
fn negative<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    simd.sub_f32s(simd.splat_f32s(0.0), x)
}

/// `1 / (1 + e⁻ˣ)`
#[inline(always)]
pub(super) fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    simd.div_f32s(one, simd.add_f32s(one, exp(simd, negative(simd, x))))
}

/// `Φ(x)` and `φ(x)` of the normal distribution: `gelu(x) = x Φ(x)`, with slope `Φ(x) + x φ(x)`.
///
/// Φ within 8e-8 (Abramowitz and Stegun, 7.1.26, for the error function).
#[inline(always)]
pub(super) fn normal_distribution<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
    const P: f32 = 0.327_591_1;
    const COEFFICIENTS: [f32; 5] = [
        1.061_405_4,
        -1.453_152,
        1.421_413_7,
        -0.284_496_72,
        0.254_829_6,
    ];
    /// 1 / √(2π)
    const DENSITY_AT_0: f32 = 0.398_942_3;
    let half_square = simd.mul_f32s(simd.mul_f32s(x, x), simd.splat_f32s(-0.5));
    let bell = exp(simd, half_square);
    let z = simd.mul_f32s(
        simd.max_f32s(x, negative(simd, x)),
        simd.splat_f32s(std::f32::consts::FRAC_1_SQRT_2),
    );
    let t = simd.div_f32s(
        simd.splat_f32s(1.0),
        simd.mul_add_e_f32s(z, simd.splat_f32s(P), simd.splat_f32s(1.0)),
    );
    let mut polynomial = simd.splat_f32s(COEFFICIENTS[0]);
    for coefficient in &COEFFICIENTS[1..] {
        polynomial = simd.mul_add_e_f32s(polynomial, t, simd.splat_f32s(*coefficient));
    }
    // Half of what erf lacks to 1: the share above |x|.
    let tail = simd.mul_f32s(
        simd.mul_f32s(polynomial, t),
        simd.mul_f32s(bell, simd.splat_f32s(0.5)),
    );
    let above = simd.sub_f32s(simd.splat_f32s(1.0), tail);
    let below_zero = simd.less_than_f32s(x, simd.splat_f32s(0.0));
    (
        simd.select_f32s(below_zero, tail, above),
        simd.mul_f32s(bell, simd.splat_f32s(DENSITY_AT_0)),
    )
}

/// `out[i] = map(a[i])`, a whole vector at a time.
#[inline(always)]
pub(super) fn map<S: Simd>(simd: S, a: &[f32], out: &mut [f32], map: impl Fn(S::f32s) -> S::f32s) {
    let (whole, rest) = S::as_simd_f32s(a);
    let (out, out_rest) = S::as_mut_simd_f32s(out);
    for (out, a) in out.iter_mut().zip(whole) {
        *out = map(*a);
    }
    if !rest.is_empty() {
        simd.partial_store_f32s(out_rest, map(simd.partial_load_f32s(rest)));
    }
}

/// `out[i] = zip(a[i], b[i])`, a whole vector at a time.
#[inline(always)]
pub(super) fn zip<S: Simd>(
    simd: S,
    a: &[f32],
    b: &[f32],
    out: &mut [f32],
    zip: impl Fn(S::f32s, S::f32s) -> S::f32s,
) {
    let ((a, a_rest), (b, b_rest)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    let (out, out_rest) = S::as_mut_simd_f32s(out);
    for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
        *out = zip(*a, *b);
    }
    if !a_rest.is_empty() {
        let (a, b) = (
            simd.partial_load_f32s(a_rest),
            simd.partial_load_f32s(b_rest),
        );
        simd.partial_store_f32s(out_rest, zip(a, b));
    }
}

/// `out[i] = update(a[i], out[i])`, a whole vector at a time.
#[inline(always)]
pub(super) fn update<S: Simd>(
    simd: S,
    a: &[f32],
    out: &mut [f32],
    update: impl Fn(S::f32s, S::f32s) -> S::f32s,
) {
    let (a, a_rest) = S::as_simd_f32s(a);
    let (out, out_rest) = S::as_mut_simd_f32s(out);
    for (out, a) in out.iter_mut().zip(a) {
        *out = update(*a, *out);
    }
    if !a_rest.is_empty() {
        let value = update(
            simd.partial_load_f32s(a_rest),
            simd.partial_load_f32s(out_rest),
        );
        simd.partial_store_f32s(out_rest, value);
    }
}

/// `Σ term(a[i], b[i])`; a term of two zeros must be zero.
#[inline(always)]
pub(super) fn sum<S: Simd>(
    simd: S,
    a: &[f32],
    b: &[f32],
    term: impl Fn(S::f32s, S::f32s) -> S::f32s,
) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    // Two sums hide the latency of the additions.
    let mut sums = [simd.splat_f32s(0.0); 2];
    let mut pairs = a.chunks_exact(2).zip(b.chunks_exact(2));
    for (a, b) in &mut pairs {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum = simd.add_f32s(*sum, term(*a, *b));
        }
    }
    if a.len() % 2 == 1 {
        let last = a.len() - 1;
        sums[0] = simd.add_f32s(sums[0], term(a[last], b[last]));
    }
    if !a_rest.is_empty() {
        let (a, b) = (
            simd.partial_load_f32s(a_rest),
            simd.partial_load_f32s(b_rest),
        );
        sums[1] = simd.add_f32s(sums[1], term(a, b));
    }
    simd.reduce_sum_f32s(simd.add_f32s(sums[0], sums[1]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::{Arch, WithSimd};

    /// Applies a function to every number, on the machine's own vectors.
    struct Each<'a, F>(&'a [f32], F);

    trait Function {
        fn of<S: Simd>(&self, simd: S, x: S::f32s) -> S::f32s;
    }

    impl<F: Function> WithSimd for Each<'_, F> {
        type Output = Vec<f32>;

        fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
            let mut out = vec![0.0; self.0.len()];
            map(simd, self.0, &mut out, |x| self.1.of(simd, x));
            out
        }
    }

    struct Exp;

    impl Function for Exp {
        fn of<S: Simd>(&self, simd: S, x: S::f32s) -> S::f32s {
            exp(simd, x)
        }
    }

    struct Gelu;

    impl Function for Gelu {
        fn of<S: Simd>(&self, simd: S, x: S::f32s) -> S::f32s {
            simd.mul_f32s(x, normal_distribution(simd, x).0)
        }
    }

    fn grid(from: f32, to: f32) -> Vec<f32> {
        (0..=100_001)
            .map(|step| from + (to - from) * step as f32 / 100_001.0)
            .collect()
    }

    #[test]
    fn exp_is_exact_to_two_units_in_the_last_place() {
        let x = grid(-86.0, 87.0);
        for (x, y) in x.iter().zip(Arch::new().dispatch(Each(&x, Exp))) {
            let exact = f64::from(*x).exp();
            let error = (f64::from(y) / exact - 1.0).abs();
            assert!(error < 2.4e-7, "exp({x}) is {y}, off by {error:e}");
        }
    }

    #[test]
    fn exp_of_anything_is_a_number() {
        let x = [f32::NEG_INFINITY, -1e30, 0.0, 1e30];
        let y = Arch::new().dispatch(Each(&x, Exp));
        assert!(y[0] < 1e-37 && y[1] < 1e-37, "as good as nothing: {y:?}");
        assert_eq!(y[2], 1.0, "no growth");
        assert!(y[3].is_finite(), "as large as it gets: {y:?}");
    }

    #[test]
    fn gelu_is_that_of_torch() {
        // torch.nn.functional.gelu at these points, torch 2.15.
        let x = [-3.0, -1.0, -0.1, 0.0, 0.1, 1.0, 3.0];
        let torch = [
            -0.004_049_694,
            -0.158_655_26,
            -0.046_017_215,
            0.0,
            0.053_982_787,
            0.841_344_7,
            2.995_950_2,
        ];
        for (y, torch) in Arch::new().dispatch(Each(&x, Gelu)).iter().zip(torch) {
            assert!((y - torch).abs() < 3e-7, "{y} is not {torch}");
        }
    }
}
