//! Laying B on A where it was moved or scaled.
//!
//! The estimate goes from coarse to fine. On the coarsest copies of both pictures every move is
//! tried; on each finer one the best is refined by least squares (Baker and Matthews 2004, "Lucas-
//! Kanade 20 years on", the inverse compositional form), in which pixels that fit badly hardly
//! count (Geman and McClure), since B is meant to differ from A somewhere. Compared is not the
//! brightness itself but how much a pixel stands out of its surroundings, where A does.

use crate::resample::{Axis, Kernel, resample};
use crate::rgb::Rgb;
use crate::window;

/// How B must be scaled about its centre, and then moved, to lie on A.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alignment {
    /// To the right, px.
    pub dx: f32,
    /// Down, px.
    pub dy: f32,
    /// More than 1 enlarges B.
    pub scale: f32,
}

impl Alignment {
    /// How B lies on A; `None` when it does already, when no move and scale makes them much more
    /// alike, when only a part of the picture moved, or when they differ in size.
    ///
    /// Finds moves of up to a quarter of the picture and scales from 0.8 to 1.25.
    pub fn estimate(a: &Rgb, b: &Rgb) -> Option<Self> {
        const LEAST_MOVE: f64 = 0.25;
        const LEAST_GAIN: f64 = 0.75;
        const MOST_LOST: f64 = 0.07;
        if Rgb::check_same_size(a, b).is_err() {
            return None;
        }
        let levels = pyramid(a, b)?;
        let (coarsest, finer) = levels.split_last()?;
        let mut warp = refine(coarsest, search(coarsest));
        for level in finer.iter().rev() {
            warp = refine(level, warp);
        }
        let finest = levels.first()?;
        let farthest = warp.farthest(f64::from(a.width()), f64::from(a.height()));
        // By the middle one of all marks, which an edit of less than half of them does not touch.
        let usually_off = finest.median(Warp::NONE);
        let gained = finest.median(warp) < LEAST_GAIN * usually_off;
        // Where a part of the picture moved and the rest did not, that is the edit.
        let lost = finest.lost(warp, usually_off);
        let is_found = farthest >= LEAST_MOVE && gained && lost <= MOST_LOST;
        is_found.then(|| warp.alignment())
    }

    /// B scaled and moved, resampled with a cubic; where nothing of B lies, its edges repeat.
    pub fn apply(&self, b: &Rgb) -> Rgb {
        let (width, height) = (b.width() as usize, b.height() as usize);
        let scale = f64::from(self.scale);
        let axis = |side: usize, by: f32| {
            Axis::moved(side, side as f64 / 2.0, scale, f64::from(by), Kernel::Cubic)
        };
        let (across, down) = (axis(width, self.dx), axis(height, self.dy));
        let pixels = resample::<3>(b.pixels(), width, &across, &down);
        Rgb::from_parts(b.width(), b.height(), pixels)
    }
}

/// Where in B a place of A is shown: `scale * place + (x, y)`, in px of the full picture from its
/// centre.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Warp {
    x: f64,
    y: f64,
    scale: f64,
}

impl Warp {
    const NONE: Self = Self {
        x: 0.0,
        y: 0.0,
        scale: 1.0,
    };

    fn alignment(self) -> Alignment {
        Alignment {
            dx: (-self.x / self.scale) as f32,
            dy: (-self.y / self.scale) as f32,
            scale: (1.0 / self.scale) as f32,
        }
    }

    /// How far it moves the corner that it moves most, px.
    fn farthest(self, width: f64, height: f64) -> f64 {
        let growth = (self.scale - 1.0).abs();
        let x = self.x.abs() + growth * width / 2.0;
        x.hypot(self.y.abs() + growth * height / 2.0)
    }

    /// After a step from A's side: what lay at `place` lies at `(1 + growth) * place + (x, y)`.
    fn stepped(self, x: f64, y: f64, growth: f64) -> Self {
        let scale = self.scale / (1.0 + growth);
        Self {
            x: self.x - scale * x,
            y: self.y - scale * y,
            scale,
        }
    }
}

/// Both pictures at one size.
struct Level {
    a: Plane,
    b: Plane,
    /// Full px a px.
    px: f64,
    /// The picture's centre, px of this level.
    centre: (f64, f64),
    /// Where A stands out enough to be found again.
    marks: Vec<Mark>,
}

/// A pixel of A by which to find its place in B.
#[derive(Clone)]
struct Mark {
    /// From the centre, px of this level.
    x: f32,
    y: f32,
    value: f32,
    /// By how much the value grows to the right and down, a px.
    slope: (f32, f32),
}

/// How much each pixel stands out of its surroundings, in levels of 255.
#[derive(Clone)]
struct Plane {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

/// Halves are taken until the longer side is less than this.
const COARSEST_SIDE: usize = 96;

/// Finer than this nothing is gained: the estimate is good to a small part of a pixel.
const FINEST_SIDE: usize = 640;

/// From fine to coarse; `None` if A is too small or too flat to be found.
fn pyramid(a: &Rgb, b: &Rgb) -> Option<Vec<Level>> {
    const LEAST_MARKS: usize = 64;
    let centre = (f64::from(a.width()) / 2.0, f64::from(a.height()) / 2.0);
    let mut size = (a.width() as usize, a.height() as usize);
    let mut brightness = [brightness(a), brightness(b)];
    let (mut levels, mut px) = (Vec::new(), 1.0);
    loop {
        let side = size.0.max(size.1);
        if side <= FINEST_SIDE {
            let [a, b] = [&brightness[0], &brightness[1]].map(|values| Plane::of(values, size.0));
            let centre = (centre.0 / px, centre.1 / px);
            let marks = a.marks(centre);
            if marks.len() < LEAST_MARKS {
                // What is flat when coarse may still stand out when finer.
                break;
            }
            levels.push(Level {
                a,
                b,
                px,
                centre,
                marks,
            });
        }
        if side < COARSEST_SIDE || size.0.min(size.1) < 16 {
            break;
        }
        brightness = brightness.map(|values| halved(&values, size.0));
        size = (size.0 / 2, size.1 / 2);
        px *= 2.0;
    }
    (!levels.is_empty()).then_some(levels)
}

/// Green counts twice: near enough to what the eye sees.
fn brightness(picture: &Rgb) -> Vec<u8> {
    let sum = |rgb: &[u8]| rgb.iter().map(|&channel| u16::from(channel)).sum::<u16>();
    let pixels = picture.pixels().chunks_exact(3);
    pixels
        .map(|rgb| ((sum(rgb) + u16::from(rgb[1])) / 4) as u8)
        .collect()
}

/// Means of 2x2 px; what does not make two at the right and the bottom is left out.
fn halved(values: &[u8], width: usize) -> Vec<u8> {
    let rows = values.chunks_exact(2 * width);
    let halved = rows.flat_map(|rows| {
        let (above, below) = rows.split_at(width);
        above
            .chunks_exact(2)
            .zip(below.chunks_exact(2))
            .map(|(above, below)| {
                let sum: u16 = above.iter().chain(below).map(|&v| u16::from(v)).sum();
                ((sum + 2) / 4) as u8
            })
    });
    halved.collect()
}

impl Plane {
    fn of(brightness: &[u8], width: usize) -> Self {
        const SURROUNDINGS: usize = 4;
        // Smoothed a little itself, or noise and resampling would count as change.
        let near = window::mean(brightness, width, 1);
        let around = window::mean(brightness, width, SURROUNDINGS);
        let values = near
            .into_iter()
            .zip(around)
            .map(|(near, around)| near - around);
        Self {
            width,
            height: brightness.len() / width,
            values: values.collect(),
        }
    }

    /// The pixels where the slope is more than usual, evenly thinned out if they are many.
    fn marks(&self, centre: (f64, f64)) -> Vec<Mark> {
        const LEAST_SLOPE: f32 = 1.0;
        const ENOUGH: usize = 40_000;
        let row = |y: usize| &self.values[y * self.width..][..self.width];
        let mut marks = Vec::new();
        for y in 1..self.height.saturating_sub(1) {
            let (above, here, below) = (row(y - 1), row(y), row(y + 1));
            for x in 1..self.width.saturating_sub(1) {
                let slope = (
                    (here[x + 1] - here[x - 1]) / 2.0,
                    (below[x] - above[x]) / 2.0,
                );
                marks.push(Mark {
                    x: (x as f64 + 0.5 - centre.0) as f32,
                    y: (y as f64 + 0.5 - centre.1) as f32,
                    value: here[x],
                    slope,
                });
            }
        }
        let steepness = |mark: &Mark| mark.slope.0.abs() + mark.slope.1.abs();
        let mean = marks.iter().map(steepness).sum::<f32>() / marks.len().max(1) as f32;
        marks.retain(|mark| steepness(mark) > mean.max(LEAST_SLOPE));
        thinned(marks, ENOUGH)
    }

    /// Between the four pixels around a place in px; `None` outside.
    fn at(&self, x: f32, y: f32) -> Option<f32> {
        let (x, y) = (x - 0.5, y - 0.5);
        if !(x >= 0.0 && y >= 0.0) {
            return None;
        }
        let (column, row) = (x as usize, y as usize);
        if column + 1 >= self.width || row + 1 >= self.height {
            return None;
        }
        let (right, down) = (x - column as f32, y - row as f32);
        let first = row * self.width + column;
        let above = mix(self.values[first], self.values[first + 1], right);
        let first = first + self.width;
        let below = mix(self.values[first], self.values[first + 1], right);
        Some(mix(above, below, down))
    }
}

/// Every so many-th, so that no more than `enough` are left.
fn thinned(marks: Vec<Mark>, enough: usize) -> Vec<Mark> {
    let every = marks.len().div_ceil(enough).max(1);
    marks.into_iter().step_by(every).collect()
}

fn mix(a: f32, b: f32, share: f32) -> f32 {
    a + (b - a) * share
}

impl Level {
    /// With no more marks than are needed to tell a good move from a bad one.
    fn sparse(&self) -> Self {
        const ENOUGH: usize = 800;
        Self {
            a: self.a.clone(),
            b: self.b.clone(),
            marks: thinned(self.marks.clone(), ENOUGH),
            ..*self
        }
    }

    /// How B differs from A at each mark that lies in B.
    fn residuals(&self, warp: Warp) -> impl Iterator<Item = (&Mark, f32)> {
        let marks = self.marks.iter();
        marks.filter_map(move |mark| Some((mark, self.residual(mark, warp)?)))
    }

    fn residual(&self, mark: &Mark, warp: Warp) -> Option<f32> {
        let scale = warp.scale as f32;
        let x = mark.x * scale + (self.centre.0 + warp.x / self.px) as f32;
        let y = mark.y * scale + (self.centre.1 + warp.y / self.px) as f32;
        Some(self.b.at(x, y)? - mark.value)
    }

    /// The share of the marks that lay where they should, and with `warp` no longer do, measured
    /// by how much the middle one is off without it.
    fn lost(&self, warp: Warp, usually_off: f64) -> f64 {
        let is_lost = |mark: &&Mark| {
            let off = |warp| Some(f64::from(self.residual(mark, warp)?.abs()));
            let fitted = off(Warp::NONE).is_some_and(|before| before <= usually_off / 4.0);
            fitted && off(warp).is_some_and(|after| after >= usually_off)
        };
        self.marks.iter().filter(is_lost).count() as f64 / self.marks.len() as f64
    }

    /// How unlike the two are, where large differences count no more than middling ones: B is
    /// meant to differ somewhere.
    fn error(&self, warp: Warp) -> f64 {
        const LARGE: f32 = 24.0;
        let (mut sum, mut count) = (0.0, 0usize);
        for (_, residual) in self.residuals(warp) {
            sum += f64::from(residual.abs().min(LARGE));
            count += 1;
        }
        // A move that leaves little to compare proves little.
        if count * 2 < self.marks.len() {
            return f64::INFINITY;
        }
        sum / count as f64
    }

    /// By how much the two differ in the middle one of all marks.
    fn median(&self, warp: Warp) -> f64 {
        let residuals = self.residuals(warp);
        let mut sizes: Vec<f32> = residuals.map(|(_, residual)| residual.abs()).collect();
        if sizes.is_empty() {
            return f64::INFINITY;
        }
        let middle = sizes.len() / 2;
        f64::from(*sizes.select_nth_unstable_by(middle, f32::total_cmp).1)
    }
}

/// Tries every move px by px at several scales. The best of each scale is refined before they are
/// compared, since between two steps lies much.
fn search(level: &Level) -> Warp {
    const SCALES: [f64; 9] = [1.0, 0.95, 1.05, 0.9, 1.11, 0.85, 1.17, 0.8, 1.25];
    let sparse = level.sparse();
    let starts = SCALES.map(|scale| best_move(&sparse, scale));
    let refined = starts.map(|start| refine(level, start));
    let found = std::iter::once(Warp::NONE).chain(refined);
    least(found.map(|warp| (level.error(warp), warp)))
}

fn best_move(level: &Level, scale: f64) -> Warp {
    let reach = |side: usize| (side / 4) as i32;
    let (across, down) = (reach(level.a.width), reach(level.a.height));
    let moves = (-down..=down).flat_map(|y| (-across..=across).map(move |x| (x, y)));
    least(moves.map(|(x, y)| {
        let (x, y) = (f64::from(x) * level.px, f64::from(y) * level.px);
        let warp = Warp { x, y, scale };
        (level.error(warp), warp)
    }))
}

/// The one with the least error; the first of equals.
fn least(warps: impl Iterator<Item = (f64, Warp)>) -> Warp {
    let none = (f64::INFINITY, Warp::NONE);
    warps
        .fold(none, |best, next| if next.0 < best.0 { next } else { best })
        .1
}

/// Least squares, again and again, each pixel weighted by how well it fits so far.
fn refine(level: &Level, mut warp: Warp) -> Warp {
    const ROUNDS: usize = 12;
    const ENOUGH: f64 = 0.005;
    const LEAST_SPREAD: f64 = 1.5;
    // So that a step in scale and one in place are of like size.
    let half = level.centre.0.max(level.centre.1);
    for _ in 0..ROUNDS {
        // How far a pixel that fits is usually off.
        let spread = (1.5 * level.median(warp)).max(LEAST_SPREAD);
        let (mut normal, mut right) = ([[0.0; 3]; 3], [0.0; 3]);
        for (mark, residual) in level.residuals(warp) {
            let share = f64::from(residual) / spread;
            let weight = 1.0 / (1.0 + share * share).powi(2);
            let (sx, sy) = (f64::from(mark.slope.0), f64::from(mark.slope.1));
            let growth = (sx * f64::from(mark.x) + sy * f64::from(mark.y)) / half;
            let slopes = [sx, sy, growth];
            for (i, slope) in slopes.iter().enumerate() {
                right[i] += weight * slope * f64::from(residual);
                for (j, other) in slopes.iter().enumerate() {
                    normal[i][j] += weight * slope * other;
                }
            }
        }
        let Some([x, y, growth]) = solved(normal, right) else {
            break;
        };
        let growth = growth / half;
        let stepped = warp.stepped(x * level.px, y * level.px, growth);
        if !(0.7..1.4).contains(&stepped.scale) {
            break;
        }
        warp = stepped;
        if x.abs() + y.abs() + (growth * half).abs() < ENOUGH {
            break;
        }
    }
    warp
}

/// Three equations by Cramer's rule; `None` where they do not determine the three.
fn solved(matrix: [[f64; 3]; 3], right: [f64; 3]) -> Option<[f64; 3]> {
    let determinant = |[a, b, c]: [[f64; 3]; 3]| {
        a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0])
            + a[2] * (b[0] * c[1] - b[1] * c[0])
    };
    let whole = determinant(matrix);
    let size = matrix[0][0] * matrix[1][1] * matrix[2][2];
    if whole.abs() <= 1e-6 * size || size == 0.0 {
        return None;
    }
    let replaced = |column: usize| {
        let mut replaced = matrix;
        for (row, &value) in replaced.iter_mut().zip(&right) {
            row[column] = value;
        }
        determinant(replaced) / whole
    };
    Some([replaced(0), replaced(1), replaced(2)])
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A picture with detail of all sizes, as photographs have, seen through a window at `(x, y)`
    /// that is `scale` times as large: whatever the window, it is the same scene.
    pub(crate) fn scene(width: u32, height: u32, (x, y, scale): (f64, f64, f64)) -> Rgb {
        let centre = (f64::from(width) / 2.0, f64::from(height) / 2.0);
        let bytes = (0..width * height).flat_map(|i| {
            let at = (f64::from(i % width) + 0.5, f64::from(i / width) + 0.5);
            let place = (
                (at.0 - centre.0) * scale + centre.0 + x,
                (at.1 - centre.1) * scale + centre.1 + y,
            );
            [1.0, 1.3, 0.8].map(|tint| {
                let sum: f64 = [(64.0, 70.0), (27.0, 45.0), (11.0, 30.0), (5.0, 16.0)]
                    .iter()
                    .map(|(size, height)| height * lumps(place.0 / size * tint, place.1 / size))
                    .sum();
                (40.0 + sum).clamp(0.0, 255.0) as u8
            })
        });
        Rgb::new(width, height, bytes.collect()).unwrap()
    }

    /// Random heights at whole places, 0..1, smooth between.
    fn lumps(x: f64, y: f64) -> f64 {
        let height = |x: f64, y: f64| {
            let mixed = (x as i64).wrapping_mul(0x9E37_79B9) ^ (y as i64).wrapping_mul(0x85EB_CA6B);
            let mixed = (mixed as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93);
            ((mixed ^ mixed >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 40) as f64
                / (1u64 << 24) as f64
        };
        let smooth = |share: f64| share * share * (3.0 - 2.0 * share);
        let (left, top) = (x.floor(), y.floor());
        let (right, down) = (smooth(x - left), smooth(y - top));
        let along = |y: f64| height(left, y) * (1.0 - right) + height(left + 1.0, y) * right;
        along(top) * (1.0 - down) + along(top + 1.0) * down
    }

    /// A quarter of the picture is another one.
    fn edited(picture: &Rgb) -> Rgb {
        let (width, height) = (picture.width(), picture.height());
        let mut picture = picture.clone();
        for (i, byte) in picture.pixels_mut().iter_mut().enumerate() {
            let (x, y) = (i as u32 / 3 % width, i as u32 / 3 / width);
            if x * 2 < width && y * 2 < height {
                *byte = 255 - *byte / 2;
            }
        }
        picture
    }

    fn lighter(picture: &Rgb) -> Rgb {
        let mut picture = picture.clone();
        for byte in picture.pixels_mut() {
            *byte = byte.saturating_add(18);
        }
        picture
    }

    const WINDOWS: [(f64, f64, f64); 6] = [
        (7.3, -4.6, 1.0),
        (0.6, 0.0, 1.0),
        (-31.0, 22.5, 1.0),
        (0.0, 0.0, 1.04),
        (5.2, 9.1, 0.93),
        (-14.0, 3.3, 1.15),
    ];

    #[test]
    fn a_moved_and_scaled_picture_is_found_despite_the_edit() {
        for (width, height) in [(256, 256), (300, 201)] {
            let a = scene(width, height, (0.0, 0.0, 1.0));
            for (x, y, scale) in WINDOWS {
                let b = lighter(&edited(&scene(width, height, (x, y, scale))));
                let found = Alignment::estimate(&a, &b).unwrap();
                // What the window shows at p lies at scale * p + (x, y).
                let off = (f64::from(found.dx) - x).hypot(f64::from(found.dy) - y);
                let scale_off = (f64::from(found.scale) - scale).abs() * f64::from(width) / 2.0;
                assert!(
                    off < 0.15 && scale_off < 0.15,
                    "{found:?} of {x}, {y}, {scale}"
                );
            }
        }
    }

    #[test]
    fn applying_it_lays_b_on_a() {
        let a = scene(256, 200, (0.0, 0.0, 1.0));
        let b = scene(256, 200, (6.4, -3.7, 1.05));
        let aligned = Alignment::estimate(&a, &b).unwrap().apply(&b);
        // What B does not show cannot be compared.
        let inner = |i: usize| (20..236).contains(&(i / 3 % 256)) && (20..180).contains(&(i / 768));
        let pairs = a.pixels().iter().zip(aligned.pixels()).enumerate();
        let apart: Vec<u8> = pairs
            .filter(|(i, _)| inner(*i))
            .map(|(_, (a, b))| a.abs_diff(*b))
            .collect();
        let mean = apart.iter().map(|&v| f64::from(v)).sum::<f64>() / apart.len() as f64;
        assert!(mean < 1.5, "mean difference {mean} of 255");
        assert_eq!(
            Alignment::estimate(&a, &aligned),
            None,
            "nothing is left to align"
        );
    }

    #[test]
    fn no_number_breaks_applying() {
        for odd in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let alignment = Alignment {
                dx: odd,
                dy: odd,
                scale: odd,
            };
            let applied = alignment.apply(&Rgb::filled(5, 4, [7; 3]));
            assert_eq!(applied, Rgb::filled(5, 4, [7; 3]), "edges repeat, at {odd}");
        }
    }

    #[test]
    fn an_edit_alone_needs_no_alignment() {
        let a = scene(256, 200, (0.0, 0.0, 1.0));
        for b in [edited(&a), lighter(&a), a.clone()] {
            assert_eq!(Alignment::estimate(&a, &b), None, "it lies on A");
        }
    }

    #[test]
    fn an_object_that_moved_before_a_still_background_is_the_edit() {
        let part = |inside: &Rgb, outside: &Rgb| {
            let mut picture = outside.clone();
            let inside = inside.pixels().chunks_exact(3).enumerate();
            for (pixel, (i, rgb)) in picture.pixels_mut().chunks_exact_mut(3).zip(inside) {
                if (30..226).contains(&(i % 256)) && (30..170).contains(&(i / 256)) {
                    pixel.copy_from_slice(rgb);
                }
            }
            picture
        };
        let still = scene(256, 200, (0.0, 0.0, 1.0));
        let b = part(&scene(256, 200, (9.0, 4.0, 1.0)), &still);
        assert_eq!(
            Alignment::estimate(&still, &b),
            None,
            "the border lies still"
        );
    }

    #[test]
    fn what_cannot_be_aligned_is_left_alone() {
        let a = scene(256, 200, (0.0, 0.0, 1.0));
        let other = scene(256, 200, (5000.0, 9000.0, 1.0));
        assert_eq!(Alignment::estimate(&a, &other), None, "another picture");
        let flat = Rgb::filled(256, 200, [90; 3]);
        assert_eq!(Alignment::estimate(&a, &flat), None, "B shows nothing");
        assert_eq!(Alignment::estimate(&flat, &a), None, "A shows nothing");
        for (width, height) in [(1, 1), (3, 200), (40, 9)] {
            let tiny = scene(width, height, (0.0, 0.0, 1.0));
            let moved = scene(width, height, (1.0, 1.0, 1.0));
            // Whatever is found in so little, it is an answer.
            let aligned = Alignment::estimate(&tiny, &moved).map(|found| found.apply(&moved));
            assert!(aligned.is_none_or(|b| b.width() == width), "no panic");
        }
        assert_eq!(
            Alignment::estimate(&a, &Rgb::filled(9, 9, [0; 3])),
            None,
            "other size"
        );
    }
}
