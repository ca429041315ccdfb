//! How much a LoRA module changes.

use mimeo_checkpoint::LoraModule;

/// Frobenius norm of `(alpha / rank) · up · down`.
///
/// `‖U D‖² = tr((Uᵀ U)(D Dᵀ))`: two products of rank × rank instead of one of out × in.
pub fn of_change(module: &LoraModule) -> f64 {
    let rank = module.rank();
    let inputs = module.down.data.len() / rank.max(1);
    // down is [rank, in]: its rows are whole; up is [out, rank]: its columns are strided.
    let down_gram = gram(rank, inputs, |row, index| {
        module.down.data[row * inputs + index]
    });
    let outputs = module.up.data.len() / rank.max(1);
    let up_gram = gram(rank, outputs, |column, index| {
        module.up.data[index * rank + column]
    });
    let trace: f64 = up_gram
        .iter()
        .zip(&down_gram)
        .map(|(up, down)| up * down)
        .sum();
    // Rounding may leave a zero slightly negative.
    f64::from(module.scale()).abs() * trace.max(0.0).sqrt()
}

/// Inner products of `count` vectors of `length` values: `[count, count]`.
fn gram(count: usize, length: usize, value: impl Fn(usize, usize) -> f32) -> Vec<f64> {
    let mut products = vec![0.0; count * count];
    for a in 0..count {
        for b in 0..=a {
            let product = (0..length)
                .map(|index| f64::from(value(a, index)) * f64::from(value(b, index)))
                .sum();
            products[a * count + b] = product;
            products[b * count + a] = product;
        }
    }
    products
}

#[cfg(test)]
mod tests {
    use mimeo_checkpoint::Array;

    use super::*;

    #[test]
    fn the_norm_is_that_of_the_whole_product() {
        let module = LoraModule {
            down: Array {
                shape: vec![2, 3],
                data: vec![1.0, 2.0, 3.0, -1.0, 0.5, 2.0],
            },
            up: Array {
                shape: vec![2, 2],
                data: vec![0.5, 1.0, -2.0, 3.0],
            },
            alpha: 1.0,
        };
        let mut sum = 0.0_f64;
        for out in 0..2 {
            for input in 0..3 {
                let product =
                    |r: usize| module.up.data[out * 2 + r] * module.down.data[r * 3 + input];
                sum += f64::from(product(0) + product(1)).powi(2);
            }
        }
        let expected = sum.sqrt() / 2.0;
        assert!(
            (of_change(&module) - expected).abs() < 1e-9,
            "alpha / rank is a half"
        );
    }
}
