//! Convolution with 3×3 kernels and stride 1 in fewer multiplications: Winograd's minimal filtering
//! F(2×2, 3×3) (arXiv 1509.09308, section 4.1), 16 products for 4 pixels where the plain sum has 36.
//!
//! A *tile* is 2×2 pixels of the answer. What each looks at, 4×4 pixels of a channel, becomes 16
//! *points*, and so do the kernels; the sum over channels is then a matrix product for each point.
//! Kernels are transformed where they are used, a block at a time that stays in a core's cache, so
//! that nothing is kept beside the weights themselves.
//!
//! Each number is the same sum in the same order however the work is cut.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::product::{Columns, Left, Output, Rows, Shifts, every, product};
use super::scratch;
use super::weight::Weight;

/// Taps of a kernel.
const TAPS: usize = 9;
/// Numbers that a tile of a channel becomes.
const POINTS: usize = 16;
/// Tiles side by side: whole vectors on every machine, and three of the widest.
const STRIP: usize = 48;
/// Channels summed at once: with [`STRIP`] tiles, half of a core's first cache.
const DEPTH: usize = 64;
/// Channels that one task draws.
const DRAWN: usize = 32;
/// Numbers that a part of a picture is to become at most: they stay in the cache of all cores.
const PART: usize = 3 << 20;

/// The kernels of a convolution.
#[derive(Clone, Copy)]
pub(super) struct Kernels<'a> {
    /// `[out, 3, 3, in]`
    pub weight: Weight<'a>,
    /// Channels of the picture and of the answer of the convolution.
    pub io: [usize; 2],
    /// Whether this is the convolution's way back, from `out` to `in`: the same with the kernels
    /// turned round.
    pub is_turned: bool,
}

impl Kernels<'_> {
    /// Channels looked at, and drawn.
    const fn channels(&self) -> [usize; 2] {
        let [input, output] = self.io;
        if self.is_turned {
            [output, input]
        } else {
            [input, output]
        }
    }
}

/// The convolution with zeros around the picture, which keeps its size.
///
/// - `x`: `[batch, channels looked at, height, width]`, `bias`: `[channels drawn]`
/// - answer: `[batch, channels drawn, height, width]`
pub(super) fn convolve(
    x: &[f32],
    kernels: Kernels<'_>,
    bias: Option<&[f32]>,
    [height, width]: [usize; 2],
) -> Vec<f32> {
    let [channels, drawn] = kernels.channels();
    let plane = height * width;
    let batch = x.len() / (channels * plane);
    let tiles = [height.div_ceil(2), width.div_ceil(2)];
    let rows_at_once = (PART / (POINTS * channels * tiles[1])).clamp(1, tiles[0]);
    let mut out = vec![0.0; batch * drawn * plane];
    let pictures = x.chunks_exact(channels * plane);
    for (x, out) in pictures.zip(out.chunks_exact_mut(drawn * plane)) {
        for first in (0..tiles[0]).step_by(rows_at_once) {
            let part = Part {
                size: [height, width],
                first,
                rows: rows_at_once.min(tiles[0] - first),
                tiles: tiles[1],
            };
            scratch::with(channels.div_ceil(DEPTH) * part.block(), |points| {
                x.par_chunks(DEPTH * plane)
                    .zip(points.par_chunks_exact_mut(part.block()))
                    .for_each(|(x, points)| Arch::new().dispatch(Look { part, x, points }));
                let points = &*points;
                out.par_chunks_mut(DRAWN * plane)
                    .enumerate()
                    .for_each(|(block, out)| {
                        Arch::new().dispatch(Draw {
                            part,
                            points,
                            kernels,
                            first: block * DRAWN,
                            bias,
                            out,
                        });
                    });
            });
        }
    }
    out
}

/// Some rows of tiles of a picture.
#[derive(Clone, Copy)]
struct Part {
    /// Height and width of the picture.
    size: [usize; 2],
    first: usize,
    rows: usize,
    /// In a row.
    tiles: usize,
}

impl Part {
    const fn plane(self) -> usize {
        self.size[0] * self.size[1]
    }

    const fn strips(self) -> usize {
        (self.rows * self.tiles).div_ceil(STRIP)
    }

    /// Numbers that [`DEPTH`] channels become: `[POINTS, strips, DEPTH, STRIP]`.
    const fn block(self) -> usize {
        POINTS * self.strips() * DEPTH * STRIP
    }

    /// The stretches of a row of tiles that lie in one strip each.
    #[inline(always)]
    fn stretches(self, row: usize) -> impl Iterator<Item = Stretch> {
        let first = row * self.tiles;
        let strips = first / STRIP..(first + self.tiles).div_ceil(STRIP);
        strips.map(
            #[inline(always)]
            move |strip| {
                let start = first.max(strip * STRIP);
                let end = (first + self.tiles).min((strip + 1) * STRIP);
                Stretch {
                    tile: start - first,
                    count: end - start,
                    strip,
                    place: start % STRIP,
                }
            },
        )
    }
}

/// Some tiles of a row that lie in one strip.
#[derive(Clone, Copy)]
struct Stretch {
    /// The first, of the row.
    tile: usize,
    count: usize,
    strip: usize,
    /// Of the first, in the strip.
    place: usize,
}

/// What tiles look at becomes points: `Bᵀ d B`.
struct Look<'a> {
    part: Part,
    /// `[up to DEPTH channels, height, width]`
    x: &'a [f32],
    /// `[POINTS, strips, DEPTH, STRIP]`
    points: &'a mut [f32],
}

impl WithSimd for Look<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { part, x, points } = self;
        let [height, width] = part.size;
        let point_size = part.strips() * DEPTH * STRIP;
        // Four rows of the picture, with zeros around.
        let padded = 2 * part.tiles + 2;
        let mut lines = vec![0.0; 4 * padded];
        let mut across = vec![0.0; padded];
        let mut halves = vec![0.0; padded];
        for (channel, plane) in x.chunks_exact(part.plane()).enumerate() {
            for row in 0..part.rows {
                let top = 2 * (part.first + row);
                for (y, line) in (top..).zip(lines.chunks_exact_mut(padded)) {
                    let line = &mut line[1..][..width];
                    match y.checked_sub(1).filter(|y| *y < height) {
                        Some(y) => line.copy_from_slice(&plane[y * width..][..width]),
                        None => line.fill(0.0),
                    }
                }
                let (above, below) = lines.split_at(2 * padded);
                let lines = [above.split_at(padded), below.split_at(padded)];
                let [(d0, d1), (d2, d3)] = lines;
                for across_point in 0..4 {
                    match across_point {
                        0 => combine(d0, d2, &mut across, |a, b| a - b),
                        1 => combine(d1, d2, &mut across, |a, b| a + b),
                        2 => combine(d2, d1, &mut across, |a, b| a - b),
                        _ => combine(d1, d3, &mut across, |a, b| a - b),
                    }
                    let (even, odd) = halves.split_at_mut(part.tiles + 1);
                    let (pairs, _) = across.as_chunks::<2>();
                    for (pair, (even, odd)) in pairs.iter().zip(even.iter_mut().zip(&mut *odd)) {
                        [*even, *odd] = *pair;
                    }
                    for stretch in part.stretches(row) {
                        let Stretch {
                            tile,
                            count,
                            strip,
                            place,
                        } = stretch;
                        let e0 = &even[tile..][..count];
                        let e1 = &even[tile + 1..][..count];
                        let o0 = &odd[tile..][..count];
                        let o1 = &odd[tile + 1..][..count];
                        let start = (strip * DEPTH + channel) * STRIP + place;
                        let mut point = |index: usize, a: &[f32], b: &[f32], sign: f32| {
                            let start = (4 * across_point + index) * point_size + start;
                            combine(a, b, &mut points[start..][..count], |a, b| a + sign * b);
                        };
                        point(0, e0, e1, -1.0);
                        point(1, o0, e1, 1.0);
                        point(2, e1, o0, -1.0);
                        point(3, o0, o1, -1.0);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn combine(a: &[f32], b: &[f32], out: &mut [f32], combine: impl Fn(f32, f32) -> f32) {
    for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
        *out = combine(*a, *b);
    }
}

/// Some channels of a part of the answer.
struct Draw<'a> {
    part: Part,
    /// Of the picture, [`DEPTH`] channels after others.
    points: &'a [f32],
    kernels: Kernels<'a>,
    /// The first channel that is drawn.
    first: usize,
    bias: Option<&'a [f32]>,
    /// `[up to DRAWN channels, height, width]`, of which the part's rows are written.
    out: &'a mut [f32],
}

impl WithSimd for Draw<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let kernels = POINTS * DEPTH * DRAWN;
        // `[POINTS, strips, DRAWN, STRIP]`
        let sums = POINTS * self.part.strips() * DRAWN * STRIP;
        scratch::with(
            kernels + sums,
            #[inline(always)]
            |numbers| {
                let (kernels, sums) = numbers.split_at_mut(kernels);
                self.draw(simd, kernels, sums);
            },
        );
    }
}

impl Draw<'_> {
    #[inline(always)]
    fn draw<S: Simd>(self, simd: S, kernels: &mut [f32], sums: &mut [f32]) {
        let part = self.part;
        let (drawn, strips) = (self.out.len() / part.plane(), part.strips());
        let [channels, _] = self.kernels.channels();
        let starts = every(STRIP, DEPTH);
        for (block, points) in self.points.chunks_exact(part.block()).enumerate() {
            let looked = block * DEPTH..channels.min((block + 1) * DEPTH);
            let starts = &starts[..looked.len()];
            self.transform(simd, looked.start, looked.len(), drawn, kernels);
            let answer = if block == 0 {
                Output::Replace
            } else {
                Output::Continue
            };
            for point in 0..POINTS {
                let kernels = &kernels[point * DEPTH * DRAWN..][..DEPTH * DRAWN];
                for strip in 0..strips {
                    let index = point * strips + strip;
                    let points = &points[index * DEPTH * STRIP..][..DEPTH * STRIP];
                    let sums = &mut sums[index * DRAWN * STRIP..][..DRAWN * STRIP];
                    let right = Shifts::new(points, starts);
                    let columns = STRIP.min(part.rows * part.tiles - strip * STRIP);
                    if self.kernels.is_turned {
                        let left = Columns {
                            values: kernels,
                            stride: DRAWN,
                            rows: drawn,
                        };
                        multiply(simd, left, right, columns, sums, answer);
                    } else {
                        let left = Rows::new(kernels, DEPTH, drawn);
                        multiply(simd, left, right, columns, sums, answer);
                    }
                }
            }
        }
        self.write(sums);
    }

    /// The kernels from `looked` channels to `drawn` become points, `G g Gᵀ`.
    ///
    /// - `out`: `[POINTS, drawn, DEPTH]`, or turned `[POINTS, looked, DRAWN]`
    #[inline(always)]
    fn transform<S: Simd>(
        &self,
        simd: S,
        first_looked: usize,
        looked: usize,
        drawn: usize,
        out: &mut [f32],
    ) {
        let Kernels {
            weight,
            io: [input, _],
            is_turned,
        } = self.kernels;
        // Whichever way, the weights' own inputs lie side by side.
        let ([first_output, outputs], [first_input, inputs], padded) = if is_turned {
            ([first_looked, looked], [self.first, drawn], DRAWN)
        } else {
            ([self.first, drawn], [first_looked, looked], DEPTH)
        };
        let mut taps = [[0.0; DEPTH]; TAPS];
        for output in 0..outputs {
            for (tap, values) in taps.iter_mut().enumerate() {
                let start = ((first_output + output) * TAPS + tap) * input + first_input;
                weight.read(start, &mut values[..inputs]);
            }
            if is_turned {
                taps.reverse();
            }
            let mut points = out[output * padded..].chunks_mut(DEPTH * DRAWN);
            let points: [&mut [f32]; POINTS] = std::array::from_fn(|_| {
                let Some(point) = points.next() else {
                    unreachable!("there are as many points")
                };
                &mut point[..padded]
            });
            for start in (0..padded).step_by(S::F32_LANES) {
                let tap = |index: usize| vector::<S>(&taps[index][start..]);
                // G g, whose rows have three numbers, and then that Gᵀ.
                let mut down = [[simd.splat_f32s(0.0); 3]; 4];
                for column in 0..3 {
                    let of_column = [tap(column), tap(3 + column), tap(6 + column)];
                    let transformed = four(simd, of_column);
                    for (row, value) in down.iter_mut().zip(transformed) {
                        row[column] = value;
                    }
                }
                for (row, values) in down.iter().enumerate() {
                    for (column, value) in four(simd, *values).into_iter().enumerate() {
                        let (out, _) = S::as_mut_simd_f32s(&mut points[4 * row + column][start..]);
                        out[0] = value;
                    }
                }
            }
        }
    }

    /// Points become pixels, `Aᵀ m A`, and the bias comes to them.
    ///
    /// - `sums`: `[POINTS, strips, DRAWN, STRIP]`
    #[inline(always)]
    fn write(self, sums: &[f32]) {
        let part = self.part;
        let [height, width] = part.size;
        let point_size = part.strips() * DRAWN * STRIP;
        // For both rows of a tile's pixels: four numbers of each tile.
        let mut down = vec![0.0; 4 * part.tiles];
        for (channel, plane) in self.out.chunks_exact_mut(part.plane()).enumerate() {
            let bias = self.bias.map_or(0.0, |bias| bias[self.first + channel]);
            for row in 0..part.rows {
                let top = 2 * (part.first + row);
                for y in top..height.min(top + 2) {
                    for stretch in part.stretches(row) {
                        let Stretch {
                            tile,
                            count,
                            strip,
                            place,
                        } = stretch;
                        let start = (strip * DRAWN + channel) * STRIP + place;
                        for column in 0..4 {
                            let point = |row: usize| {
                                &sums[(4 * row + column) * point_size + start..][..count]
                            };
                            let out = &mut down[column * part.tiles + tile..][..count];
                            if y == top {
                                three(point(0), point(1), point(2), out, |a, b, c| a + b + c);
                            } else {
                                three(point(1), point(2), point(3), out, |a, b, c| a - b - c);
                            }
                        }
                    }
                    let columns: [&[f32]; 4] =
                        std::array::from_fn(|column| &down[column * part.tiles..][..part.tiles]);
                    let line = &mut plane[y * width..][..width];
                    let [m0, m1, m2, m3] = columns;
                    let (pairs, last) = line.as_chunks_mut::<2>();
                    for (tile, pair) in pairs.iter_mut().enumerate() {
                        *pair = [
                            m0[tile] + m1[tile] + m2[tile] + bias,
                            m1[tile] - m2[tile] - m3[tile] + bias,
                        ];
                    }
                    if let [last] = last {
                        let tile = part.tiles - 1;
                        *last = m0[tile] + m1[tile] + m2[tile] + bias;
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn multiply<S: Simd>(
    simd: S,
    left: impl Left,
    right: Shifts<'_>,
    columns: usize,
    out: &mut [f32],
    answer: Output,
) {
    product(simd, left, right, columns, out, STRIP, answer);
}

#[inline(always)]
fn three(a: &[f32], b: &[f32], c: &[f32], out: &mut [f32], combine: impl Fn(f32, f32, f32) -> f32) {
    for (out, (a, (b, c))) in out.iter_mut().zip(a.iter().zip(b.iter().zip(c))) {
        *out = combine(*a, *b, *c);
    }
}

/// `G g`
#[inline(always)]
fn four<S: Simd>(simd: S, [g0, g1, g2]: [S::f32s; 3]) -> [S::f32s; 4] {
    let half = simd.splat_f32s(0.5);
    let ends = simd.mul_f32s(half, simd.add_f32s(g0, g2));
    let middle = simd.mul_f32s(half, g1);
    [
        g0,
        simd.add_f32s(ends, middle),
        simd.sub_f32s(ends, middle),
        g2,
    ]
}

/// The first vector of some numbers.
#[inline(always)]
fn vector<S: Simd>(values: &[f32]) -> S::f32s {
    let (vectors, _) = S::as_simd_f32s(values);
    vectors[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plain sum for one channel drawn, in double precision.
    fn plain(
        x: &[f32],
        kernels: Kernels<'_>,
        channel: usize,
        [height, width]: [usize; 2],
    ) -> Vec<f64> {
        let Kernels {
            io: [input, _],
            is_turned,
            ..
        } = kernels;
        let [channels, _] = kernels.channels();
        let mut out = vec![0.0; height * width];
        for looked in 0..channels {
            for tap in 0..TAPS {
                let mut weight = [0.0];
                let place = if is_turned {
                    (looked * TAPS + TAPS - 1 - tap) * input + channel
                } else {
                    (channel * TAPS + tap) * input + looked
                };
                kernels.weight.read(place, &mut weight);
                for (index, out) in out.iter_mut().enumerate() {
                    let (y, x_place) = (index / width + tap / 3, index % width + tap % 3);
                    if (1..=height).contains(&y) && (1..=width).contains(&x_place) {
                        let place = (looked * height + y - 1) * width + x_place - 1;
                        *out += f64::from(weight[0]) * f64::from(x[place]);
                    }
                }
            }
        }
        out
    }

    #[test]
    fn fewer_multiplications_give_the_same_sum() {
        let value = |index: usize| ((index * 7919) % 1009) as f32 / 504.5 - 1.0;
        // Odd sides, more tiles than a strip, and channels that fill no block.
        for (io, size) in [([70, 40], [7, 9]), ([33, 65], [20, 22])] {
            let [input, output] = io;
            let weight: Vec<f32> = (0..input * output * TAPS).map(value).collect();
            for is_turned in [false, true] {
                let kernels = Kernels {
                    weight: Weight::Single(&weight),
                    io,
                    is_turned,
                };
                let [channels, drawn] = kernels.channels();
                let plane = size[0] * size[1];
                let x: Vec<f32> = (0..channels * plane)
                    .map(|index| value(index * 3 + 1))
                    .collect();
                let bias: Vec<f32> = (0..drawn).map(value).collect();
                let out = convolve(&x, kernels, Some(&bias), size);
                for (channel, out) in out.chunks_exact(plane).enumerate() {
                    let expected = plain(&x, kernels, channel, size);
                    for (out, expected) in out.iter().zip(expected) {
                        let expected = expected + f64::from(bias[channel]);
                        let error = (f64::from(*out) - expected).abs();
                        assert!(error < 2e-5, "channel {channel}: {out} is not {expected}");
                    }
                }
            }
        }
    }
}
