//! How much a LoRA module changes.

use mimeo_checkpoint::LoraModule;

/// Frobenius norm of `(alpha / rank) · up · down`.
///
/// `‖U D‖² = tr((Uᵀ U)(D Dᵀ))`: two products of rank × rank instead of one of out × in. In the Tucker form
/// `D` is `T D` for each place of the kernel, and `D Dᵀ` the sum of `T (D Dᵀ) Tᵀ`.
pub fn of_change(module: &LoraModule) -> f64 {
    let rank = module.rank();
    let inputs = module.down.data.len() / rank.max(1);
    // down is [rank, in]: its rows are whole; up is [out, rank]: its columns are strided.
    let down_gram = gram(rank, inputs, |row, index| {
        module.down.data[row * inputs + index]
    });
    let down_gram = match &module.mid {
        Some(mid) => through(&mid.data, &down_gram, rank),
        None => down_gram,
    };
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

/// `Σ T G Tᵀ` over the places of a kernel: `[rank, rank]`.
///
/// - `kernel`: `[rank, rank, places]`, `gram`: `[rank, rank]`, which is symmetric
fn through(kernel: &[f32], gram: &[f64], rank: usize) -> Vec<f64> {
    let places = kernel.len() / (rank * rank).max(1);
    let mut sum = vec![0.0; rank * rank];
    for place in 0..places {
        let row = |row: usize| {
            let cells = (0..rank).map(move |column| (row * rank + column) * places + place);
            cells.map(|cell| f64::from(kernel[cell]))
        };
        // `G Tᵀ`, a row for each row of `T`
        let products: Vec<Vec<f64>> = (0..rank)
            .map(|index| {
                let row: Vec<f64> = row(index).collect();
                gram.chunks(rank).map(|of| dot(of, &row)).collect()
            })
            .collect();
        for (index, sums) in sum.chunks_mut(rank).enumerate() {
            let row: Vec<f64> = row(index).collect();
            for (sum, product) in sums.iter_mut().zip(&products) {
                *sum += dot(&row, product);
            }
        }
    }
    sum
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use mimeo_checkpoint::Array;

    use super::*;

    #[test]
    fn the_norm_is_that_of_the_whole_product() {
        let module = LoraModule {
            mid: None,
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

    #[test]
    fn the_norm_of_the_tucker_form_is_that_of_the_product_of_three() {
        let array = |shape: &[usize], step: f32| Array {
            shape: shape.to_vec(),
            data: (0..shape.iter().product::<usize>())
                .map(|index| (index as f32 * step).sin())
                .collect(),
        };
        let (rank, input, output, places) = (2, 3, 4, 6);
        let module = LoraModule {
            down: array(&[rank, input, 1, 1], 0.7),
            mid: Some(array(&[rank, rank, 2, 3], 1.3)),
            up: array(&[output, rank, 1, 1], 2.1),
            alpha: 3.0,
        };
        let mid = module.mid.as_ref().expect("it has one");
        let mut sum = 0.0_f64;
        for (out, input_channel) in (0..output).flat_map(|o| (0..input).map(move |i| (o, i))) {
            for place in 0..places {
                let mut weight = 0.0_f32;
                for (i, j) in (0..rank).flat_map(|i| (0..rank).map(move |j| (i, j))) {
                    weight += module.up.data[out * rank + i]
                        * mid.data[(i * rank + j) * places + place]
                        * module.down.data[j * input + input_channel];
                }
                sum += f64::from(weight).powi(2);
            }
        }
        let expected = sum.sqrt() * 1.5;
        let norm = of_change(&module);
        assert!((norm - expected).abs() < 1e-5, "{norm} is not {expected}");
    }
}
