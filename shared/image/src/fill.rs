//! Painting whole areas of a mask: boxes, lassos and what lines enclose.

use crate::mask::Mask;
use crate::raster::Paint;
use crate::rect::{Changes, Rect, rows_of_mut};

impl Mask {
    /// Sets what of `rect` lies in the mask to `value`, and tells what changed.
    pub fn fill_rect(&mut self, rect: Rect, value: u8) -> Rect {
        let (width, part) = (self.width(), rect.clipped(self.width(), self.height()));
        let mut changes = Changes::default();
        for (y, row) in (part.y..).zip(rows_of_mut(self.values_mut(), width, 1, part)) {
            changes.write((part.x, y), row, |_, _| value);
        }
        changes.part()
    }

    /// Paints the inside of a closed line through `points` (px of the picture), with smooth edges,
    /// and tells what changed.
    ///
    /// Everything that the line goes around is inside, however often (the non-zero rule): a lasso
    /// drawn by hand crosses itself, and must not leave holes where it does.
    pub fn fill_polygon(&mut self, points: &[(f32, f32)], paint: Paint) -> Rect {
        let mut outline = Outline::through(points);
        let (width, part) = (self.width(), outline.part(self.width(), self.height()));
        let mut changes = Changes::default();
        for (y, row) in (part.y..).zip(rows_of_mut(self.values_mut(), width, 1, part)) {
            let coverage = outline.coverage_of_row(y, part);
            changes.write((part.x, y), row, |i, before| {
                paint.over(before, coverage[i])
            });
        }
        changes.part()
    }

    /// Paints the area around a pixel that painted lines bound, and tells what changed.
    ///
    /// The area is what hangs together (by edges, not corners) on the same side of one half as the
    /// pixel. From its border the paint climbs the soft flank of the line up to its crest, so
    /// that no seam is left between area and line. Where the pixel has the paint's level already,
    /// nothing changes.
    pub fn flood_fill(&mut self, x: u32, y: u32, paint: Paint) -> Rect {
        let (width, height) = (self.width() as usize, self.height() as usize);
        let level = paint.level();
        let Some(seed) = self.value(x, y).filter(|&value| value != level) else {
            return Rect::default();
        };
        let is_like = |value: u8| (value < 128) == (seed < 128);
        let is_nearer = |value: u8, than: u8| value.abs_diff(level) < than.abs_diff(level);

        let start = y as usize * width + x as usize;
        let mut seen = vec![false; self.values().len()];
        let mut waiting = vec![start];
        seen[start] = true;
        let mut changes = Changes::default();
        while let Some(at) = waiting.pop() {
            let values = self.values_mut();
            let value = std::mem::replace(&mut values[at], level);
            let (x, y) = (at % width, at / width);
            if value != level {
                changes.add(y as u32, x as u32, x as u32);
            }
            let neighbours = [
                (x > 0).then(|| at - 1),
                (x + 1 < width).then_some(at + 1),
                (y > 0).then(|| at - width),
                (y + 1 < height).then_some(at + width),
            ];
            for next in neighbours.into_iter().flatten() {
                let climbs = is_nearer(values[next], value);
                if !seen[next] && (climbs || is_like(value) && is_like(values[next])) {
                    seen[next] = true;
                    waiting.push(next);
                }
            }
        }
        changes.part()
    }
}

/// How many lines of samples a row of px has. Along a line, coverage is exact.
const LINES: u32 = 16;

/// A closed line, cut into edges that lead down, and the edges that the current line of samples
/// crosses.
struct Outline {
    /// By their top, the lowest first, so that the next is the last.
    coming: Vec<Edge>,
    crossed: Vec<Edge>,
    left: f32,
    right: f32,
    top: f32,
    bottom: f32,
}

#[derive(Clone, Copy)]
struct Edge {
    top: f32,
    bottom: f32,
    x_at_top: f32,
    x_per_y: f32,
    /// +1 where the line leads down, -1 where it leads up.
    winding: i32,
}

impl Outline {
    fn through(points: &[(f32, f32)]) -> Self {
        let points: Vec<(f32, f32)> = points
            .iter()
            .copied()
            .filter(|(x, y)| x.is_finite() && y.is_finite())
            .collect();
        let bounds = |values: &dyn Fn(&(f32, f32)) -> f32| {
            let values = || points.iter().map(values);
            let low = values().fold(f32::INFINITY, f32::min);
            (low, values().fold(f32::NEG_INFINITY, f32::max))
        };
        let (left, right) = bounds(&|point| point.0);
        let (top, bottom) = bounds(&|point| point.1);
        let ends = points.iter().skip(1).chain(points.first());
        let mut coming: Vec<Edge> = points
            .iter()
            .zip(ends)
            .filter_map(|(&a, &b)| Edge::between(a, b))
            .collect();
        coming.sort_by(|a, b| b.top.total_cmp(&a.top));
        Self {
            coming,
            crossed: Vec::new(),
            left,
            right,
            top,
            bottom,
        }
    }

    fn part(&self, width: u32, height: u32) -> Rect {
        if self.coming.is_empty() {
            return Rect::default();
        }
        let (a, b) = ((self.left, self.top), (self.right, self.bottom));
        Rect::between(a, b, width, height)
    }

    /// How much of each pixel of row `y` in `part` is inside, of 255. To be called row by row
    /// downwards.
    fn coverage_of_row(&mut self, y: u32, part: Rect) -> Vec<u8> {
        // How much more is covered than in the pixel before, so that a span costs two changes.
        let mut steps = vec![0.0f32; part.width as usize + 2];
        for line in 0..LINES {
            let y = y as f32 + (line as f32 + 0.5) / LINES as f32;
            for (start, end) in self.spans(y) {
                let in_part = |x: f32| (x - part.x as f32).clamp(0.0, part.width as f32);
                add_step(&mut steps, in_part(start), 1.0);
                add_step(&mut steps, in_part(end), -1.0);
            }
        }
        let mut covered = 0.0;
        let coverage = steps.into_iter().take(part.width as usize).map(|step| {
            covered += step;
            (covered * 255.0 / LINES as f32).round() as u8
        });
        coverage.collect()
    }

    /// Start and end of all that is inside at height `y`, in px.
    fn spans(&mut self, y: f32) -> Vec<(f32, f32)> {
        while let Some(edge) = self.coming.pop_if(|edge| edge.top <= y) {
            self.crossed.push(edge);
        }
        self.crossed.retain(|edge| edge.bottom > y);
        let mut crossings: Vec<(f32, i32)> = self
            .crossed
            .iter()
            .map(|edge| (edge.x_at(y), edge.winding))
            .collect();
        crossings.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut winding = 0;
        let mut spans = Vec::new();
        for pair in crossings.windows(2) {
            winding += pair[0].1;
            if winding != 0 {
                spans.push((pair[0].0, pair[1].0));
            }
        }
        spans
    }
}

impl Edge {
    /// `None` where it is level: it crosses no line of samples.
    fn between(a: (f32, f32), b: (f32, f32)) -> Option<Self> {
        let ((top, bottom), winding) = if a.1 < b.1 { ((a, b), 1) } else { ((b, a), -1) };
        (top.1 < bottom.1).then(|| Self {
            top: top.1,
            bottom: bottom.1,
            x_at_top: top.0,
            x_per_y: (bottom.0 - top.0) / (bottom.1 - top.1),
            winding,
        })
    }

    fn x_at(&self, y: f32) -> f32 {
        self.x_at_top + (y - self.top) * self.x_per_y
    }
}

/// Everything right of `x` is covered by `amount` more.
fn add_step(steps: &mut [f32], x: f32, amount: f32) {
    let pixel = x as usize;
    let beside = x - pixel as f32;
    steps[pixel] += amount * (1.0 - beside);
    steps[pixel + 1] += amount * beside;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::raster::{Brush, StrokePoint, StrokeUnderWay};
    use crate::rect::tests::differing;

    fn area(mask: &Mask) -> f64 {
        mask.coverage() * f64::from(mask.width() * mask.height())
    }

    /// A closed line of brush strokes through `corners` on an empty mask of 40x40 px.
    fn drawn(corners: &[(f32, f32)], diameter: f32, softness: f32) -> Mask {
        let mut mask = Mask::empty(40, 40);
        let brush = Brush { diameter, softness };
        let mut stroke = StrokeUnderWay::begin(&mask, brush, Paint::Learn);
        for &(x, y) in corners.iter().chain(corners.first()) {
            let pressure = 1.0;
            stroke.extend(&mut mask, StrokePoint { x, y, pressure });
        }
        mask
    }

    const SQUARE: [(f32, f32); 4] = [(8.0, 8.0), (32.0, 8.0), (32.0, 32.0), (8.0, 32.0)];

    #[test]
    fn a_box_beyond_the_mask_is_cut() {
        let mut mask = Mask::empty(10, 10);
        let (x, y, width, height) = (8, 7, 9, u32::MAX);
        let rect = Rect {
            x,
            y,
            width,
            height,
        };
        let changed = mask.fill_rect(rect, 9);
        assert_eq!(changed, rect.clipped(10, 10), "what lies inside");
        let set = mask.values().iter().filter(|&&value| value == 9).count();
        assert_eq!(set, 6, "2x3 px");
        assert!(mask.fill_rect(rect, 9).is_empty(), "nothing left to change");
    }

    #[test]
    fn a_polygon_covers_its_area_to_the_part_of_a_pixel() {
        let mut mask = Mask::empty(40, 40);
        let triangle = [(3.25, 2.0), (33.5, 11.0), (9.0, 36.75)];
        let (a, b, c) = (triangle[0], triangle[1], triangle[2]);
        let twice = (b.0 - a.0) * (c.1 - a.1) - (c.0 - a.0) * (b.1 - a.1);
        mask.fill_polygon(&triangle, Paint::Learn);
        let (covered, exact) = (area(&mask), f64::from(twice) / 2.0);
        assert!((covered - exact).abs() < 0.5, "{covered} of {exact} px");
        assert_eq!(mask.value(12, 14), Some(255), "inside is full");
        assert_eq!(mask.value(30, 30), Some(0), "outside is not touched");
    }

    #[test]
    fn a_lasso_that_crosses_itself_leaves_no_hole() {
        let twice: Vec<(f32, f32)> = SQUARE.iter().chain(&SQUARE).copied().collect();
        for (name, points) in [("once", SQUARE.as_slice()), ("twice", &twice)] {
            let mut mask = Mask::empty(40, 40);
            mask.fill_polygon(points, Paint::Learn);
            assert_eq!(area(&mask), 24.0 * 24.0, "around it {name}");
        }
    }

    #[test]
    fn a_lasso_without_an_area_changes_nothing() {
        let lines: [&[(f32, f32)]; 4] = [
            &[],
            &[(3.0, 3.0)],
            &[(3.0, 3.0), (30.0, 30.0)],
            &[(f32::NAN, 3.0), (1.0, f32::INFINITY), (9.0, 9.0)],
        ];
        for points in lines {
            let mut mask = Mask::empty(40, 40);
            let changed = mask.fill_polygon(points, Paint::Learn);
            assert!(changed.is_empty() && mask.is_empty(), "{points:?}");
        }
    }

    #[test]
    fn filling_stays_inside_the_line_and_leaves_no_seam() {
        for softness in [0.0, 0.5, 1.0] {
            let line = drawn(&SQUARE, 6.0, softness);
            let mut mask = line.clone();
            mask.flood_fill(20, 20, Paint::Learn);
            for i in 0..40 {
                let inside = (8..32).contains(&i);
                let values = (mask.value(i, 20), line.value(i, 20));
                // The crest of a soft line need not be quite full.
                assert!(!inside || values.0 >= Some(240), "{i}: {values:?}");
                assert!(inside || values.0 == values.1, "{i}: {values:?}");
            }
            let (filled, again) = (mask.clone(), mask.flood_fill(20, 20, Paint::Learn));
            assert!(again.is_empty() && mask == filled, "filling again");
        }
    }

    #[test]
    fn a_filled_area_is_emptied_the_same_way() {
        let mut mask = drawn(&SQUARE, 6.0, 0.5);
        mask.flood_fill(20, 20, Paint::Learn);
        mask.flood_fill(20, 20, Paint::Leave);
        assert!(mask.is_empty(), "with its soft edge: {mask:?}");
    }

    #[test]
    fn corners_do_not_leak() {
        let mut mask = Mask::new(3, 3, vec![0, 255, 0, 255, 0, 255, 0, 255, 0]).unwrap();
        mask.flood_fill(1, 1, Paint::Learn);
        assert_eq!(
            mask.values(),
            [0, 255, 0, 255, 255, 255, 0, 255, 0],
            "only the middle"
        );
        assert!(mask.flood_fill(3, 0, Paint::Learn).is_empty(), "outside");
    }

    proptest! {
        #[test]
        fn every_fill_tells_what_it_changed(
            values in proptest::collection::vec(any::<u8>(), 24 * 16),
            points in proptest::collection::vec((-9.0..33.0f32, -9.0..25.0f32), 0..9),
            (x, y) in (0..24u32, 0..16u32), learn in any::<bool>(),
        ) {
            let paint = if learn { Paint::Learn } else { Paint::Leave };
            let before = Mask::new(24, 16, values).unwrap();
            let (mut polygon, mut flood) = (before.clone(), before.clone());
            let told = polygon.fill_polygon(&points, paint);
            prop_assert_eq!(told, differing(before.values(), polygon.values(), 24), "a lasso");
            let told = flood.flood_fill(x, y, paint);
            prop_assert_eq!(told, differing(before.values(), flood.values(), 24), "a flood");
            let once = flood.clone();
            flood.flood_fill(x, y, paint);
            prop_assert_eq!(flood, once, "a second flood changes nothing");
        }
    }
}
