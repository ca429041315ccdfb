//! Square-window filters over `[height, width]` bytes. Windows are cut at the border, so nothing
//! is invented outside the picture. The cost does not depend on the radius.

use std::collections::VecDeque;

/// The largest value within `radius` px (dilation).
pub(crate) fn max(values: &[u8], width: usize, radius: usize) -> Vec<u8> {
    separable(values.to_vec(), width, |line, out| {
        sliding_max(line, radius, out)
    })
}

/// The smallest value within `radius` px (erosion).
pub(crate) fn min(values: &[u8], width: usize, radius: usize) -> Vec<u8> {
    let inverted: Vec<u8> = values.iter().map(|value| 255 - value).collect();
    max(&inverted, width, radius)
        .into_iter()
        .map(|value| 255 - value)
        .collect()
}

/// The mean within `radius` px. Sums are whole numbers: where all values are equal, so is the mean.
pub(crate) fn mean(values: &[u8], width: usize, radius: usize) -> Vec<f32> {
    let height = values.len() / width;
    let wide = values.iter().map(|&value| u64::from(value)).collect();
    let sums = separable(wide, width, |line, out| sliding_sum(line, radius, out));
    let in_reach = |at: usize, side: usize| (at + radius + 1).min(side) - at.saturating_sub(radius);
    let area = |i: usize| in_reach(i % width, width) * in_reach(i / width, height);
    sums.into_iter()
        .enumerate()
        .map(|(i, sum)| sum as f32 / area(i) as f32)
        .collect()
}

/// Runs `filter(line, out)` over every row, then over every column of the result.
fn separable<T: Copy + Default>(
    mut values: Vec<T>,
    width: usize,
    filter: impl Fn(&[T], &mut [T]),
) -> Vec<T> {
    let height = values.len() / width;
    let mut line = vec![T::default(); width.max(height)];
    let mut out = line.clone();
    for row in values.chunks_exact_mut(width) {
        filter(row, &mut out[..width]);
        row.copy_from_slice(&out[..width]);
    }
    for x in 0..width {
        for (sample, row) in line.iter_mut().zip(values.chunks_exact(width)) {
            *sample = row[x];
        }
        filter(&line[..height], &mut out[..height]);
        for (row, sample) in values.chunks_exact_mut(width).zip(&out) {
            row[x] = *sample;
        }
    }
    values
}

fn sliding_max(line: &[u8], radius: usize, out: &mut [u8]) {
    // Places that can still be the maximum of a window to come, largest value first.
    let mut candidates = VecDeque::new();
    let mut entering = 0;
    for (centre, out) in out.iter_mut().enumerate() {
        while entering < line.len() && entering <= centre + radius {
            while candidates
                .back()
                .is_some_and(|&last: &usize| line[last] <= line[entering])
            {
                candidates.pop_back();
            }
            candidates.push_back(entering);
            entering += 1;
        }
        while candidates
            .front()
            .is_some_and(|&first| first + radius < centre)
        {
            candidates.pop_front();
        }
        *out = candidates.front().map_or(0, |&first| line[first]);
    }
}

fn sliding_sum(line: &[u64], radius: usize, out: &mut [u64]) {
    let mut sum: u64 = line.iter().take(radius).sum();
    for (centre, out) in out.iter_mut().enumerate() {
        sum += line.get(centre + radius).copied().unwrap_or(0);
        *out = sum;
        sum -= centre
            .checked_sub(radius)
            .map_or(0, |leaving| line[leaving]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All values within the square, the slow way.
    fn within(values: &[u8], width: usize, radius: usize, i: usize) -> Vec<u8> {
        let near = |a: usize, b: usize| a.abs_diff(b) <= radius;
        let reached = |j: &usize| near(i % width, j % width) && near(i / width, j / width);
        (0..values.len())
            .filter(reached)
            .map(|j| values[j])
            .collect()
    }

    proptest! {
        #[test]
        fn every_filter_equals_its_definition(
            width in 1..9usize, rows in 1..9usize, radius in 0..12usize, seed in any::<[u8; 64]>(),
        ) {
            let values = &seed[..(width * rows).min(64)];
            let (largest, smallest) = (max(values, width, radius), min(values, width, radius));
            let means = mean(values, width, radius);
            for i in 0..values.len() {
                let window = within(values, width, radius, i);
                prop_assert_eq!(Some(&largest[i]), window.iter().max(), "the maximum at {}", i);
                prop_assert_eq!(Some(&smallest[i]), window.iter().min(), "the minimum at {}", i);
                let sum: f32 = window.iter().map(|&value| f32::from(value)).sum();
                prop_assert!((means[i] - sum / window.len() as f32).abs() < 1e-3, "the mean at {}", i);
            }
        }
    }
}
