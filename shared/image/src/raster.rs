//! Painting a mask by hand.
//!
//! Places are in px of the picture, `(0, 0)` the top left corner of its first pixel, whose middle
//! is `(0.5, 0.5)`.

use crate::mask::Mask;
use crate::patch::MaskPatch;
use crate::rect::{Changes, Rect, rows_of, rows_of_mut};

/// What a stroke is drawn with: a round brush.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Brush {
    /// At full pressure, in px of the picture; less than 1 is 1.
    pub diameter: f32,
    /// 0 is hard, with an edge of 1 px; 1 falls off from the middle on.
    pub softness: f32,
}

/// What painting does to the mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// Towards 255.
    Learn,
    /// Towards 0.
    Leave,
}

impl Paint {
    /// The value of a pixel that is painted fully.
    pub fn level(self) -> u8 {
        match self {
            Self::Learn => 255,
            Self::Leave => 0,
        }
    }

    /// `before` with `coverage` of 255 painted over.
    pub(crate) fn over(self, before: u8, coverage: u8) -> u8 {
        let share = |of: u8| ((u16::from(of) * u16::from(coverage) + 127) / 255) as u8;
        match self {
            Self::Learn => before + share(255 - before),
            Self::Leave => before - share(before),
        }
    }
}

/// Where the pointer was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StrokePoint {
    /// In px of the picture; may lie outside.
    pub x: f32,
    /// In px of the picture; may lie outside.
    pub y: f32,
    /// 0..=1, scales the diameter; 1 for a mouse.
    pub pressure: f32,
}

/// A stroke under way.
///
/// Overlapping parts of a stroke do not add up: a pixel is covered as much as the part of the
/// stroke that covers it most, so that a soft brush leaves an even edge. Between two points the
/// brush moves in a straight line, its size changing evenly, and what it covers is computed
/// exactly: it does not matter how many points on that line the pointer delivered.
#[derive(Debug)]
pub struct StrokeUnderWay {
    brush: Brush,
    paint: Paint,
    before: Mask,
    /// `[height, width]`: how much of each pixel the stroke covers so far, of 255.
    coverage: Vec<u8>,
    last: Option<Disc>,
    dirty: Rect,
}

impl StrokeUnderWay {
    /// A stroke on `mask`, which nothing else may change until the stroke ends.
    pub fn begin(mask: &Mask, brush: Brush, paint: Paint) -> Self {
        Self {
            brush,
            paint,
            before: mask.clone(),
            coverage: vec![0; mask.values().len()],
            last: None,
            dirty: Rect::default(),
        }
    }

    /// Continues to `point` (the first one puts a dab), and tells what changed.
    ///
    /// A point that is not a number, or a mask of another size than the stroke was begun on,
    /// changes nothing.
    pub fn extend(&mut self, mask: &mut Mask, point: StrokePoint) -> Rect {
        if !self.is_on(mask) || !point.x.is_finite() || !point.y.is_finite() {
            return Rect::default();
        }
        let end = Disc::of(self.brush, point);
        let start = self.last.replace(end).unwrap_or(end);
        let changed = self.cover(mask, &Sweep::between(start, end, self.brush));
        self.dirty = self.dirty.union(changed);
        changed
    }

    /// Everything that changed so far.
    pub fn dirty(&self) -> Rect {
        self.dirty
    }

    /// Undoes all of it, and tells what changed by that.
    pub fn abort(self, mask: &mut Mask) -> Rect {
        if !self.is_on(mask) {
            return Rect::default();
        }
        let (width, dirty) = (mask.width(), self.dirty);
        let before = rows_of(self.before.values(), width, 1, dirty);
        for (row, before) in rows_of_mut(mask.values_mut(), width, 1, dirty).zip(before) {
            row.copy_from_slice(before);
        }
        dirty
    }

    /// Ends the stroke. The patch undoes it; `None` if nothing changed.
    pub fn finish(self, mask: &Mask) -> Option<MaskPatch> {
        MaskPatch::between_in(&self.before, mask, self.dirty)
    }

    fn is_on(&self, mask: &Mask) -> bool {
        (mask.width(), mask.height()) == (self.before.width(), self.before.height())
    }

    fn cover(&mut self, mask: &mut Mask, sweep: &Sweep) -> Rect {
        let (width, part) = (mask.width(), sweep.part(mask.width(), mask.height()));
        let mut changes = Changes::default();
        for y in part.y..part.y + part.height {
            let row = sweep.part_of_row(y, part);
            if row.is_empty() {
                continue;
            }
            let start = y as usize * width as usize + row.x as usize;
            let columns = start..start + row.width as usize;
            let before = &self.before.values()[columns.clone()];
            let coverage = &mut self.coverage[columns.clone()];
            changes.write((row.x, y), &mut mask.values_mut()[columns], |i, _| {
                let covered = sweep.coverage(row.x + i as u32, y);
                coverage[i] = coverage[i].max(covered);
                self.paint.over(before[i], coverage[i])
            });
        }
        changes.part()
    }
}

/// The brush at one point.
#[derive(Debug, Clone, Copy)]
struct Disc {
    x: f32,
    y: f32,
    radius: f32,
}

impl Disc {
    fn of(brush: Brush, point: StrokePoint) -> Self {
        const MAX_DIAMETER: f32 = 65_536.0;
        let pressure = within(point.pressure, 0.0, 1.0);
        let diameter = within(brush.diameter * pressure, 1.0, MAX_DIAMETER);
        Self {
            x: point.x,
            y: point.y,
            radius: diameter / 2.0,
        }
    }
}

/// The brush on its way from one disc to the next.
struct Sweep {
    start: Disc,
    /// Unit vector from start to end.
    direction: (f32, f32),
    length: f32,
    /// By how much the radius grows per px of the way.
    slope: f32,
    softness: f32,
    /// How far from the way a pixel can be covered.
    reach: f32,
}

impl Sweep {
    fn between(start: Disc, end: Disc, brush: Brush) -> Self {
        let (dx, dy) = (end.x - start.x, end.y - start.y);
        let length = dx.hypot(dy);
        // Nearer than this, the two are one place, and the larger disc covers the smaller.
        let is_place = length < 1e-3;
        let start = if is_place && end.radius > start.radius {
            end
        } else {
            start
        };
        let (direction, length, slope) = if is_place {
            ((1.0, 0.0), 0.0, 0.0)
        } else {
            let growth = end.radius - start.radius;
            ((dx / length, dy / length), length, growth / length)
        };
        Self {
            start,
            direction,
            length,
            slope,
            softness: within(brush.softness, 0.0, 1.0),
            reach: start.radius.max(end.radius) + 0.5,
        }
    }

    /// The part of a picture that it can cover.
    fn part(&self, width: u32, height: u32) -> Rect {
        let (end, reach) = (self.at(self.length), self.reach);
        let (left, right) = (self.start.x.min(end.0), self.start.x.max(end.0));
        let (top, bottom) = (self.start.y.min(end.1), self.start.y.max(end.1));
        let corner = (left - reach, top - reach);
        Rect::between(corner, (right + reach, bottom + reach), width, height)
    }

    /// What of row `y` of `part` it can cover: near a slanted line that is much less than all.
    fn part_of_row(&self, y: u32, part: Rect) -> Rect {
        let above = y as f32 + 0.5 - self.start.y;
        let mut ends = (0.0, self.length);
        if self.direction.1 != 0.0 {
            let a = (above - self.reach) / self.direction.1;
            let b = (above + self.reach) / self.direction.1;
            ends = (a.min(b).max(0.0), a.max(b).min(self.length));
        }
        let (a, b) = (self.at(ends.0).0, self.at(ends.1).0);
        let (left, right) = (a.min(b) - self.reach, a.max(b) + self.reach);
        let row = y as f32;
        let right_end = part.x + part.width;
        let mut found = Rect::between((left, row), (right, row + 1.0), right_end, y + 1);
        let cut = part.x.saturating_sub(found.x).min(found.width);
        found.x += cut;
        found.width -= cut;
        found
    }

    /// How much of a pixel it covers, of 255.
    fn coverage(&self, x: u32, y: u32) -> u8 {
        let (dx, dy) = (x as f32 + 0.5 - self.start.x, y as f32 + 0.5 - self.start.y);
        let along = dx * self.direction.0 + dy * self.direction.1;
        let across = (dx * self.direction.1 - dy * self.direction.0).abs();
        let depth = self.depth(self.deepest(along, across), along, across);
        let linear = depth.clamp(0.0, 1.0);
        let smooth = linear * linear * (3.0 - 2.0 * linear);
        // A hard edge is linear, as the share of a pixel that is covered; a soft one has no kinks.
        ((linear + (smooth - linear) * self.softness) * 255.0).round() as u8
    }

    /// How deep a pixel lies in the disc at `at` px of the way: 0 at its edge, 1 where it is
    /// covered fully. `along` and `across` are the pixel's place as seen from the start.
    fn depth(&self, at: f32, along: f32, across: f32) -> f32 {
        let radius = self.start.radius + self.slope * at;
        let distance = (along - at).hypot(across);
        (radius + 0.5 - distance) / (1.0 + self.softness * radius)
    }

    /// Where on its way the brush covers a pixel most.
    ///
    /// With one size that is the nearest point. Otherwise the depth is a ratio of two functions of
    /// the way, and its largest value `c` is where `(radius + 0.5 - distance) - c * (1 + softness
    /// * radius)` has its largest value 0 (Dinkelbach 1967); for a given `c` that place has a
    /// closed form, and the next `c` is the depth there.
    fn deepest(&self, along: f32, across: f32) -> f32 {
        let mut at = along.clamp(0.0, self.length);
        if self.slope == 0.0 {
            return at;
        }
        for _ in 0..4 {
            let depth = self.depth(at, along, across);
            let growth = self.slope * (1.0 - depth * self.softness);
            at = if growth.abs() < 1.0 {
                along + across * growth / (1.0 - growth * growth).sqrt()
            } else {
                growth * f32::INFINITY
            }
            .clamp(0.0, self.length);
        }
        at
    }

    fn at(&self, at: f32) -> (f32, f32) {
        let (x, y) = self.direction;
        (self.start.x + x * at, self.start.y + y * at)
    }
}

/// As `clamp`, but what is not a number becomes the least.
fn within(value: f32, least: f32, most: f32) -> f32 {
    if value.is_nan() {
        least
    } else {
        value.clamp(least, most)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rect::tests::differing;

    const SIZE: (u32, u32) = (48, 32);

    fn brush(diameter: f32, softness: f32) -> Brush {
        Brush { diameter, softness }
    }

    fn point(x: f32, y: f32) -> StrokePoint {
        let pressure = 1.0;
        StrokePoint { x, y, pressure }
    }

    /// What a stroke through `points` makes of `mask`.
    fn stroke(mask: &Mask, brush: Brush, paint: Paint, points: &[StrokePoint]) -> Mask {
        let mut painted = mask.clone();
        let mut stroke = StrokeUnderWay::begin(mask, brush, paint);
        for &point in points {
            stroke.extend(&mut painted, point);
        }
        painted
    }

    fn on_black(brush: Brush, points: &[StrokePoint]) -> Mask {
        stroke(&Mask::empty(SIZE.0, SIZE.1), brush, Paint::Learn, points)
    }

    fn most_apart(a: &Mask, b: &Mask) -> u8 {
        let pairs = a.values().iter().zip(b.values());
        pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap()
    }

    #[test]
    fn a_hard_dab_is_a_disc_with_an_edge_of_one_pixel() {
        let mask = on_black(brush(20.0, 0.0), &[point(24.0, 16.0)]);
        let area = mask.coverage() * f64::from(SIZE.0 * SIZE.1);
        assert!((area - 314.16).abs() < 1.0, "10 px of radius, got {area}");
        let row: Vec<u8> = (12..=16).map(|x| mask.value(x, 16).unwrap()).collect();
        assert_eq!(row[0], 0, "more than the radius away: {row:?}");
        assert_eq!(row[3..], [255, 255], "well inside: {row:?}");
    }

    #[test]
    fn a_soft_dab_falls_off_evenly_from_the_middle() {
        let mask = on_black(brush(24.0, 1.0), &[point(24.5, 16.5)]);
        let row: Vec<u8> = (24..=37).map(|x| mask.value(x, 16).unwrap()).collect();
        assert!(row[0] > 245, "full in the middle: {row:?}");
        assert!(row.windows(2).all(|pair| pair[0] >= pair[1]), "{row:?}");
        assert!((118..=138).contains(&row[6]), "half way, half: {row:?}");
        assert_eq!(row[13], 0, "nothing beyond the radius: {row:?}");
    }

    #[test]
    fn a_small_brush_leaves_a_mark_wherever_it_is() {
        for offset in [0.0, 0.25, 0.5] {
            let at = point(10.0 + offset, 10.0 + offset);
            let mask = on_black(brush(0.1, 1.0), &[at]);
            assert!(mask.coverage() > 1e-4, "at {at:?}: {mask:?}");
        }
    }

    #[test]
    fn going_over_the_same_place_in_one_stroke_adds_nothing() {
        let there = [point(10.0, 16.0), point(38.0, 16.0)];
        let and_back = [there[0], there[1], there[0], there[1]];
        let brush = brush(12.0, 0.8);
        assert_eq!(
            on_black(brush, &there),
            on_black(brush, &and_back),
            "the edge stays soft"
        );
    }

    #[test]
    fn erasing_takes_away_what_was_painted() {
        let full = Mask::full(SIZE.0, SIZE.1);
        let points = [point(5.0, 5.0), point(40.0, 28.0)];
        let erased = stroke(&full, brush(9.0, 0.3), Paint::Leave, &points);
        let painted = on_black(brush(9.0, 0.3), &points);
        let sums = erased.values().iter().zip(painted.values());
        assert!(
            sums.into_iter().all(|(a, b)| a + b == 255),
            "the one is the other inverted"
        );
    }

    #[test]
    fn pressure_scales_the_diameter() {
        let pressed = StrokePoint {
            pressure: 0.5,
            ..point(24.0, 16.0)
        };
        assert_eq!(
            on_black(brush(20.0, 0.2), &[pressed]),
            on_black(brush(10.0, 0.2), &[point(24.0, 16.0)]),
            "half the pressure, half the size"
        );
    }

    #[test]
    fn points_that_are_none_and_other_masks_change_nothing() {
        let mut mask = Mask::empty(SIZE.0, SIZE.1);
        let mut stroke = StrokeUnderWay::begin(&mask, brush(f32::NAN, f32::NAN), Paint::Learn);
        for at in [point(f32::NAN, 3.0), point(3.0, f32::INFINITY)] {
            assert!(stroke.extend(&mut mask, at).is_empty(), "{at:?}");
        }
        let mut other = Mask::empty(3, 3);
        let changed = stroke.extend(&mut other, point(1.0, 1.0));
        assert!(changed.is_empty(), "begun on another size");
        assert!(
            stroke.extend(&mut mask, point(1e30, -1e30)).is_empty(),
            "far away"
        );
        assert!(
            stroke.extend(&mut mask, point(-1e30, 1e38)).is_empty(),
            "farther"
        );
        assert!(stroke.finish(&mask).is_none(), "nothing to undo");
    }

    fn points() -> impl Strategy<Value = Vec<StrokePoint>> {
        let point = (-10.0..58.0f32, -10.0..42.0f32, 0.0..=1.0f32);
        let point = point.prop_map(|(x, y, pressure)| StrokePoint { x, y, pressure });
        proptest::collection::vec(point, 1..6)
    }

    fn brushes() -> impl Strategy<Value = Brush> {
        (0.5..30.0f32, 0.0..=1.0f32).prop_map(|(diameter, softness)| brush(diameter, softness))
    }

    fn masks() -> impl Strategy<Value = Mask> {
        let values = proptest::collection::vec(any::<u8>(), (SIZE.0 * SIZE.1) as usize);
        values.prop_map(|values| Mask::new(SIZE.0, SIZE.1, values).unwrap())
    }

    proptest! {
        #[test]
        fn every_change_is_told_and_undone(
            before in masks(), brush in brushes(), points in points(), learn in any::<bool>(),
        ) {
            let paint = if learn { Paint::Learn } else { Paint::Leave };
            let mut mask = before.clone();
            let mut stroke = StrokeUnderWay::begin(&mask, brush, paint);
            for &point in &points {
                let last = mask.clone();
                let told = stroke.extend(&mut mask, point);
                let changed = differing(last.values(), mask.values(), SIZE.0);
                prop_assert_eq!(told, changed, "what the pointer at {:?} changed", point);
            }
            let painted = mask.clone();
            let all = differing(before.values(), painted.values(), SIZE.0);
            prop_assert_eq!(stroke.dirty().union(all), stroke.dirty(), "all of {:?}", all);
            let patch = stroke.finish(&mask);
            prop_assert_eq!(patch.is_none(), painted == before, "a patch if there is a change");
            if let Some(mut patch) = patch {
                patch.swap(&mut mask);
                prop_assert_eq!(&mask, &before, "undone");
                patch.swap(&mut mask);
                prop_assert_eq!(&mask, &painted, "and done again");
            }
        }

        #[test]
        fn an_aborted_stroke_leaves_no_trace(before in masks(), brush in brushes(), points in points()) {
            let mut mask = before.clone();
            let mut stroke = StrokeUnderWay::begin(&mask, brush, Paint::Learn);
            for point in points {
                stroke.extend(&mut mask, point);
            }
            stroke.abort(&mut mask);
            prop_assert_eq!(mask, before, "bit for bit");
        }

        #[test]
        fn how_many_points_the_pointer_delivers_does_not_matter(
            brush in brushes(), ends in proptest::array::uniform2((0.0..48.0f32, 0.0..32.0f32, 0.0..=1.0f32)),
            stops in 1..12u8,
        ) {
            let between = |share: f32| {
                let mix = |a: f32, b: f32| a + (b - a) * share;
                let [a, b] = ends;
                StrokePoint { x: mix(a.0, b.0), y: mix(a.1, b.1), pressure: mix(a.2, b.2) }
            };
            // Where the size reaches its least of 1 px, it no longer changes evenly.
            prop_assume!(ends.iter().all(|end| end.2 * brush.diameter > 1.0));
            let few = on_black(brush, &[between(0.0), between(1.0)]);
            let many: Vec<StrokePoint> =
                (0..=stops).map(|i| between(f32::from(i) / f32::from(stops))).collect();
            prop_assert!(most_apart(&few, &on_black(brush, &many)) <= 2, "no more than rounding");
        }

        #[test]
        fn a_sweep_covers_a_pixel_as_its_deepest_dab_does(
            brush in brushes(), ends in proptest::array::uniform2((0.0..48.0f32, 0.0..32.0f32, 0.0..=1.0f32)),
        ) {
            let discs = ends.map(|(x, y, pressure)| Disc::of(brush, StrokePoint { x, y, pressure }));
            let sweep = Sweep::between(discs[0], discs[1], brush);
            for (x, y) in (0..SIZE.0).step_by(5).flat_map(|x| (0..SIZE.1).step_by(5).map(move |y| (x, y))) {
                let mix = |a: f32, b: f32, share: f32| a + (b - a) * share;
                let dab = |share: f32| {
                    let [a, b] = discs;
                    let (x, y) = (mix(a.x, b.x, share), mix(a.y, b.y, share));
                    let disc = Disc { x, y, radius: mix(a.radius, b.radius, share) };
                    Sweep::between(disc, disc, brush)
                };
                let most = (0..=1500u16).map(|i| dab(f32::from(i) / 1500.0).coverage(x, y)).max();
                let apart = sweep.coverage(x, y).abs_diff(most.unwrap());
                prop_assert!(apart <= 3, "at {}, {}: {} from {:?}", x, y, apart, most);
            }
        }
    }
}
