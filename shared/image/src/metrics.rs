//! Mean absolute error, the building block of copy fidelity, edit gain and spill.
//!
//! Samples are bytes or `f32` in 0..=255, `[height, width, channels]`, and so is the result: "4.8"
//! means 4.8 of 255. The scores made of it are the engine's.

use crate::error::ImageError;

/// The mean of `|a - b|` over all samples, in 0..=255.
///
/// # Errors
/// [`ImageError::NotComparable`] when the lengths differ; [`ImageError::NoWeight`] when there are
/// no samples.
pub fn mae<T: Copy + Into<f32>>(a: &[T], b: &[T]) -> Result<f64, ImageError> {
    if a.len() != b.len() {
        return Err(ImageError::NotComparable {
            a: a.len(),
            b: b.len(),
            weights: a.len(),
        });
    }
    if a.is_empty() {
        return Err(ImageError::NoWeight);
    }
    Ok(sum_of_differences(a, b) / a.len() as f64)
}

/// The mean of `|a - b|` over all pixels (channels averaged), each counted by its weight:
/// `sum(w * |a - b|) / sum(w)`, in 0..=255.
///
/// `weights` has one entry a pixel, `[height, width]`, none negative:
/// [`crate::Mask::inside_weights`] measures inside a mask, [`crate::Mask::outside_weights`] outside.
///
/// # Errors
/// [`ImageError::NotComparable`] when the lengths do not belong together;
/// [`ImageError::NoWeight`] when all weights are 0, as outside a mask that covers everything.
pub fn mae_weighted<T: Copy + Into<f32>>(
    a: &[T],
    b: &[T],
    weights: &[f32],
) -> Result<f64, ImageError> {
    let pixels = weights.len();
    if a.len() != b.len() || pixels == 0 || !a.len().is_multiple_of(pixels) || a.is_empty() {
        return Err(ImageError::NotComparable {
            a: a.len(),
            b: b.len(),
            weights: pixels,
        });
    }
    let channels = a.len() / pixels;
    let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
    if total <= 0.0 {
        return Err(ImageError::NoWeight);
    }
    let pixels = a
        .chunks_exact(channels)
        .zip(b.chunks_exact(channels))
        .zip(weights);
    let sum: f64 = pixels
        .map(|((a, b), &weight)| f64::from(weight) * sum_of_differences(a, b))
        .sum();
    Ok(sum / (total * channels as f64))
}

/// In f64: a megapixel of f32 additions would already lose the last digits shown.
fn sum_of_differences<T: Copy + Into<f32>>(a: &[T], b: &[T]) -> f64 {
    let difference = |(&a, &b): (&T, &T)| f64::from(a.into()) - f64::from(b.into());
    a.iter().zip(b).map(|pair| difference(pair).abs()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::Mask;

    const A: [u8; 6] = [0, 0, 0, 100, 100, 100];
    const B: [u8; 6] = [60, 0, 0, 100, 110, 80];

    #[test]
    fn all_samples_count_alike() {
        assert_eq!(mae(&A, &B).unwrap(), 15.0, "(60 + 10 + 20) / 6");
        assert_eq!(mae(&A, &A).unwrap(), 0.0, "a picture is itself");
    }

    #[test]
    fn bytes_and_floats_agree() {
        let floats = |bytes: [u8; 6]| bytes.map(f32::from);
        assert_eq!(
            mae(&floats(A), &floats(B)).unwrap(),
            15.0,
            "the unit is the same"
        );
    }

    #[test]
    fn inside_and_outside_are_told_apart() {
        let mask = Mask::new(2, 1, vec![0, 255]).unwrap();
        let weighted = |weights: &[f32]| mae_weighted(&A, &B, weights).unwrap();
        assert_eq!(weighted(&mask.inside_weights()), 10.0, "(0 + 10 + 20) / 3");
        assert_eq!(weighted(&mask.outside_weights()), 20.0, "60 / 3");
        assert_eq!(
            weighted(&[1.0, 3.0]),
            12.5,
            "weights need not add up to one"
        );
    }

    #[test]
    fn soft_weights_are_a_weighted_mean() {
        let (a, b) = ([0u8, 0], [10u8, 50]);
        let mean = mae_weighted(&a, &b, &[0.75, 0.25]).unwrap();
        assert_eq!(mean, 20.0, "0.75 * 10 + 0.25 * 50, with one channel");
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        assert!(mae(&A, &B[..3]).is_err(), "different lengths");
        assert!(mae::<u8>(&[], &[]).is_err(), "nothing to measure");
        assert!(
            mae_weighted(&A, &B, &[1.0; 4]).is_err(),
            "6 samples are not 4 pixels"
        );
        assert!(mae_weighted(&A, &B, &[]).is_err(), "no pixels");
        assert!(
            matches!(mae_weighted(&A, &B, &[0.0; 2]), Err(ImageError::NoWeight)),
            "no weight"
        );
    }
}
