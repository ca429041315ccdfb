//! Window filters over `[height, width]` bytes. Windows are cut at the border, so nothing is
//! invented outside the picture. The cost hardly depends on the radius.

/// The largest value within a square of `radius` px (dilation).
pub(crate) fn max(values: &[u8], width: usize, radius: usize) -> Vec<u8> {
    let mut largest = values.to_vec();
    raise_along(&mut largest, width, (1, 0), radius);
    raise_along(&mut largest, width, (0, 1), radius);
    largest
}

/// The smallest value within a square of `radius` px (erosion).
pub(crate) fn min(values: &[u8], width: usize, radius: usize) -> Vec<u8> {
    inverted(&max(&inverted(values), width, radius))
}

/// The largest value within `radius` px, all around: an octagon that is nowhere more
/// than 1 px and a twelfth of the radius off the circle.
pub(crate) fn round_max(values: &[u8], width: usize, radius: usize) -> Vec<u8> {
    let Octagon { square, diamond } = Octagon::of(radius);
    let mut largest = max(values, width, square);
    if diamond > 0 {
        let mut upright = largest.clone();
        raise_along(&mut largest, width, (1, 0), 1);
        raise_along(&mut upright, width, (0, 1), 1);
        raise(&mut largest, &upright);
        // Both diagonals reach every second px of a diamond. With the cross above that is all.
        largest = raise_diagonally(&largest, width, diamond / 2);
    }
    largest
}

/// The smallest value within `radius` px, all around, as [`round_max`].
pub(crate) fn round_min(values: &[u8], width: usize, radius: usize) -> Vec<u8> {
    inverted(&round_max(&inverted(values), width, radius))
}

/// The mean within a square of `radius` px. Sums are whole numbers: where all values are equal,
/// so is the mean.
pub(crate) fn mean(values: &[u8], width: usize, radius: usize) -> Vec<f32> {
    let height = values.len() / width;
    let mut across = Vec::with_capacity(values.len());
    for row in values.chunks_exact(width) {
        let mut sum = 0u32;
        across.extend((0..width).map(|x| {
            for column in entering(x, radius, width) {
                sum += u32::from(row[column]);
            }
            if let Some(column) = leaving(x, radius) {
                sum -= u32::from(row[column]);
            }
            sum
        }));
    }
    let widths: Vec<usize> = (0..width).map(|x| in_reach(x, radius, width)).collect();
    let mut sums = vec![0u64; width];
    let mut means = Vec::with_capacity(values.len());
    for y in 0..height {
        for row in entering(y, radius, height) {
            for (sum, &value) in sums.iter_mut().zip(&across[row * width..]) {
                *sum += u64::from(value);
            }
        }
        if let Some(row) = leaving(y, radius) {
            for (sum, &value) in sums.iter_mut().zip(&across[row * width..]) {
                *sum -= u64::from(value);
            }
        }
        let rows = in_reach(y, radius, height);
        let mean = |(sum, columns): (&u64, &usize)| *sum as f32 / (rows * columns) as f32;
        means.extend(sums.iter().zip(&widths).map(mean));
    }
    means
}

/// A weighted mean within a square of `radius` px that falls off like a bell: the means of three
/// boxes whose radii add up to `radius`. Where all values are equal, so is the result.
pub(crate) fn smooth(values: &[u8], width: usize, radius: usize) -> Vec<u8> {
    // Between the boxes in 16 bits, so that roundings do not add up.
    const FINER: u16 = 257;
    let mut fine: Vec<u16> = values.iter().map(|&v| u16::from(v) * FINER).collect();
    for third in [radius.div_ceil(3), (radius + 1) / 3, radius / 3] {
        if third > 0 {
            fine = box_down(&box_across(&fine, width, third), width, third);
        }
    }
    let coarse = |value: u16| ((u32::from(value) + u32::from(FINER / 2)) / u32::from(FINER)) as u8;
    fine.into_iter().map(coarse).collect()
}

/// The means of `2 * radius + 1` px of each row.
fn box_across(values: &[u16], width: usize, radius: usize) -> Vec<u16> {
    let shares: Vec<f32> = (0..width).map(|x| share(x, radius, width)).collect();
    let mut means = Vec::with_capacity(values.len());
    for row in values.chunks_exact(width) {
        let mut sum = 0u32;
        means.extend(shares.iter().enumerate().map(|(x, share)| {
            for column in entering(x, radius, width) {
                sum += u32::from(row[column]);
            }
            if let Some(column) = leaving(x, radius) {
                sum -= u32::from(row[column]);
            }
            (sum as f32 * share + 0.5) as u16
        }));
    }
    means
}

/// The means of `2 * radius + 1` px of each column.
fn box_down(values: &[u16], width: usize, radius: usize) -> Vec<u16> {
    let height = values.len() / width;
    let mut sums = vec![0u32; width];
    let mut means = Vec::with_capacity(values.len());
    for y in 0..height {
        for row in entering(y, radius, height) {
            for (sum, &value) in sums.iter_mut().zip(&values[row * width..]) {
                *sum += u32::from(value);
            }
        }
        if let Some(row) = leaving(y, radius) {
            for (sum, &value) in sums.iter_mut().zip(&values[row * width..]) {
                *sum -= u32::from(value);
            }
        }
        let share = share(y, radius, height);
        means.extend(sums.iter().map(|&sum| (sum as f32 * share + 0.5) as u16));
    }
    means
}

/// What comes into the window when it moves on to `centre`: at first all of it, then one place.
fn entering(centre: usize, radius: usize, side: usize) -> std::ops::Range<usize> {
    let end = centre.saturating_add(radius).saturating_add(1).min(side);
    let start = if centre == 0 {
        0
    } else {
        centre + radius.min(side)
    };
    start.min(end)..end
}

/// What goes out of the window when it moves on to `centre`.
fn leaving(centre: usize, radius: usize) -> Option<usize> {
    centre.checked_sub(radius.saturating_add(1))
}

/// How many places are in the window.
fn in_reach(centre: usize, radius: usize, side: usize) -> usize {
    centre.saturating_add(radius).saturating_add(1).min(side) - centre.saturating_sub(radius)
}

fn share(centre: usize, radius: usize, side: usize) -> f32 {
    1.0 / in_reach(centre, radius, side) as f32
}

/// A square grown by a diamond: the px for which what is left of `|x|` and of `|y|` after the
/// square adds up to no more than the diamond.
struct Octagon {
    square: usize,
    /// 0 or odd.
    diamond: usize,
}

impl Octagon {
    fn of(radius: usize) -> Self {
        if radius == 0 {
            let (square, diamond) = (0, 0);
            return Self { square, diamond };
        }
        // A regular octagon has 2 - sqrt(2) of its radius from the diamond.
        let ideal = radius as f64 * (2.0 - std::f64::consts::SQRT_2);
        let diamond = (ideal / 2.0) as usize * 2 + 1;
        let square = radius - diamond;
        Self { square, diamond }
    }
}

fn raise_diagonally(values: &[u8], width: usize, radius: usize) -> Vec<u8> {
    if radius == 0 {
        return values.to_vec();
    }
    // With a border, since the way along both diagonals may lead outside and back.
    let (height, wide) = (values.len() / width, width + 2 * radius);
    let mut padded = vec![0; wide * (height + 2 * radius)];
    let rows = padded.chunks_exact_mut(wide).skip(radius);
    for (padded, row) in rows.zip(values.chunks_exact(width)) {
        padded[radius..radius + width].copy_from_slice(row);
    }
    raise_along(&mut padded, wide, (1, 1), radius);
    raise_along(&mut padded, wide, (1, -1), radius);
    let rows = padded.chunks_exact(wide).skip(radius).take(height);
    rows.flat_map(|row| &row[radius..radius + width])
        .copied()
        .collect()
}

/// Each value becomes the largest of those up to `radius` steps ahead and behind.
fn raise_along(values: &mut [u8], width: usize, (dx, dy): (isize, isize), radius: usize) {
    if radius == 0 {
        return;
    }
    // Farther than this there is nothing.
    let radius = radius.min(width.max(values.len() / width));
    let mut behind = values.to_vec();
    raise_ahead(values, width, (dx, dy), radius);
    raise_ahead(&mut behind, width, (-dx, -dy), radius);
    raise(values, &behind);
}

/// Each value becomes the largest of those up to `steps` steps ahead, by taking in as many as are
/// taken in already, again and again.
fn raise_ahead(values: &mut [u8], width: usize, (dx, dy): (isize, isize), steps: usize) {
    let mut reached = 0;
    while reached < steps {
        let step = (reached + 1).min(steps - reached);
        raise_by_shifted(values, width, (dx * step as isize, dy * step as isize));
        reached += step;
    }
}

/// Each value becomes the larger of itself and the one `dx` to the right and `dy` below.
fn raise_by_shifted(values: &mut [u8], width: usize, (dx, dy): (isize, isize)) {
    let (columns, rows) = (dx.unsigned_abs(), dy.unsigned_abs());
    let height = values.len() / width;
    if columns >= width || rows >= height {
        return;
    }
    let (start, end) = (0..width - columns, columns..width);
    let (to, from) = if dx < 0 { (end, start) } else { (start, end) };
    // In the order in which no row is read after it was raised.
    if dy == 0 {
        let mut before = vec![0; width];
        for row in values.chunks_exact_mut(width) {
            before.copy_from_slice(row);
            raise(&mut row[to.clone()], &before[from.clone()]);
        }
    } else if dy > 0 {
        for y in 0..height - rows {
            let (above, below) = values.split_at_mut((y + rows) * width);
            raise(&mut above[y * width..][to.clone()], &below[from.clone()]);
        }
    } else {
        for y in (rows..height).rev() {
            let (above, below) = values.split_at_mut(y * width);
            raise(
                &mut below[to.clone()],
                &above[(y - rows) * width..][from.clone()],
            );
        }
    }
}

/// Each value becomes the larger of both.
fn raise(values: &mut [u8], others: &[u8]) {
    for (value, &other) in values.iter_mut().zip(others) {
        *value = (*value).max(other);
    }
}

fn inverted(values: &[u8]) -> Vec<u8> {
    values.iter().map(|value| 255 - value).collect()
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

        #[test]
        fn round_windows_are_octagons(
            width in 1..12usize, rows in 1..12usize, radius in 0..9usize, seed in any::<[u8; 32]>(),
        ) {
            // Few values differ from 0, or every window would hold a large one.
            let values: Vec<u8> = (0..width * rows).map(|i| seed[i % 32].saturating_sub(200)).collect();
            let (largest, Octagon { square, diamond }) = (round_max(&values, width, radius), Octagon::of(radius));
            let left = |a: usize, b: usize| a.abs_diff(b).saturating_sub(square);
            for (i, &largest) in largest.iter().enumerate() {
                let reached = |j: &usize| left(i % width, j % width) + left(i / width, j / width) <= diamond;
                let expected = (0..values.len()).filter(reached).map(|j| values[j]).max();
                prop_assert_eq!(Some(largest), expected, "at {}", i);
            }
        }

        #[test]
        fn smoothing_stays_between_the_values_around(
            width in 1..12usize, rows in 1..12usize, radius in 0..9usize, seed in any::<[u8; 32]>(),
        ) {
            let values: Vec<u8> = (0..width * rows).map(|i| seed[i % 32]).collect();
            let smooth = smooth(&values, width, radius);
            let (least, most) = (min(&values, width, radius), max(&values, width, radius));
            for i in 0..values.len() {
                prop_assert!((least[i]..=most[i]).contains(&smooth[i]), "{} at {}", smooth[i], i);
            }
        }
    }

    #[test]
    fn an_octagon_is_nearly_a_circle() {
        for radius in 1..200usize {
            let Octagon { square, diamond } = Octagon::of(radius);
            assert_eq!(square + diamond, radius, "the radius to all four sides");
            // The farthest corner, and the nearest point of a slanted side.
            let corner = (radius as f64).hypot(square as f64);
            let side = (2 * square + diamond) as f64 / std::f64::consts::SQRT_2;
            let allowed = radius as f64 / 12.0 + 1.0;
            for reach in [corner, side] {
                let off = (reach - radius as f64).abs();
                assert!(off <= allowed, "{off} px off at {radius} px");
            }
        }
    }
}
