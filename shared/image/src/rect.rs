//! Parts of a picture.

use std::ops::Range;

/// A part of a picture in whole px: columns `x..x + width`, rows `y..y + height`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rect {
    /// The first column.
    pub x: u32,
    /// The first row.
    pub y: u32,
    /// How many columns.
    pub width: u32,
    /// How many rows.
    pub height: u32,
}

impl Rect {
    /// All of a picture of `width` x `height` px.
    pub fn whole(width: u32, height: u32) -> Self {
        let (x, y) = (0, 0);
        Self {
            x,
            y,
            width,
            height,
        }
    }

    /// The part of a picture of `width` x `height` px between two corners in px, given in any
    /// order. A pixel that is only touched belongs to it.
    pub fn between(a: (f32, f32), b: (f32, f32), width: u32, height: u32) -> Self {
        // The cast brings everything negative, and what is not a number, to 0.
        let range = |a: f32, b: f32, side: u32| {
            let end = (a.max(b).ceil() as u32).min(side);
            (a.min(b).floor() as u32).min(end)..end
        };
        Self::of_ranges(range(a.0, b.0, width), range(a.1, b.1, height))
    }

    /// Whether it holds no pixel.
    pub fn is_empty(self) -> bool {
        self.width == 0 || self.height == 0
    }

    /// The smallest part that holds both. An empty one adds nothing, wherever it lies.
    pub fn union(self, other: Self) -> Self {
        if self.is_empty() {
            return other;
        }
        if other.is_empty() {
            return self;
        }
        let ((a_x, a_y), (b_x, b_y)) = (self.ranges(), other.ranges());
        Self::of_ranges(
            a_x.start.min(b_x.start)..a_x.end.max(b_x.end),
            a_y.start.min(b_y.start)..a_y.end.max(b_y.end),
        )
    }

    /// What of it lies in a picture of `width` x `height` px; empty if nothing does.
    pub fn clipped(self, width: u32, height: u32) -> Self {
        let clip = |range: Range<u32>, side: u32| {
            let end = range.end.min(side);
            range.start.min(end)..end
        };
        let (columns, rows) = self.ranges();
        Self::of_ranges(clip(columns, width), clip(rows, height))
    }

    /// How many pixels it holds.
    pub(crate) fn area(self) -> usize {
        self.width as usize * self.height as usize
    }

    /// Columns and rows. Ends beyond `u32` are cut: no picture is that large.
    fn ranges(self) -> (Range<u32>, Range<u32>) {
        let range = |start: u32, length: u32| start..start.saturating_add(length);
        (range(self.x, self.width), range(self.y, self.height))
    }

    fn of_ranges(columns: Range<u32>, rows: Range<u32>) -> Self {
        Self {
            x: columns.start,
            y: rows.start,
            width: columns.end - columns.start,
            height: rows.end - rows.start,
        }
    }
}

/// The rows of `part` in samples of `channels` a pixel that are `width` px wide; `part` must lie
/// in the picture.
pub(crate) fn rows_of(
    samples: &[u8],
    width: u32,
    channels: usize,
    part: Rect,
) -> impl Iterator<Item = &[u8]> {
    let first = part.x as usize * channels;
    let columns = first..first + part.width as usize * channels;
    samples
        .chunks_exact(width as usize * channels)
        .skip(part.y as usize)
        .take(part.height as usize)
        .map(move |row| &row[columns.clone()])
}

/// As [`rows_of`], to be changed.
pub(crate) fn rows_of_mut(
    samples: &mut [u8],
    width: u32,
    channels: usize,
    part: Rect,
) -> impl Iterator<Item = &mut [u8]> {
    let first = part.x as usize * channels;
    let columns = first..first + part.width as usize * channels;
    samples
        .chunks_exact_mut(width as usize * channels)
        .skip(part.y as usize)
        .take(part.height as usize)
        .map(move |row| &mut row[columns.clone()])
}

/// Collects changed pixels into the smallest part that holds them.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    part: Rect,
}

impl Changes {
    /// Columns `first..=last` of row `y` are the outermost that changed in it.
    pub(crate) fn add(&mut self, y: u32, first: u32, last: u32) {
        let row = Rect {
            x: first,
            y,
            width: last - first + 1,
            height: 1,
        };
        self.part = self.part.union(row);
    }

    /// Writes what `new(column, old)` gives into `row`, which starts at column `x` of row `y`.
    pub(crate) fn write(
        &mut self,
        (x, y): (u32, u32),
        row: &mut [u8],
        mut new: impl FnMut(usize, u8) -> u8,
    ) {
        let mut changed: Option<(u32, u32)> = None;
        for (column, value) in row.iter_mut().enumerate() {
            let new = new(column, *value);
            if new != *value {
                *value = new;
                let column = x + column as u32;
                changed = Some((changed.map_or(column, |(first, _)| first), column));
            }
        }
        if let Some((first, last)) = changed {
            self.add(y, first, last);
        }
    }

    /// All of them; empty if there were none.
    pub(crate) fn part(self) -> Rect {
        self.part
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The smallest part of two rasters of one size that differs, the slow way.
    pub(crate) fn differing(before: &[u8], after: &[u8], width: u32) -> Rect {
        let pixels = (0u32..).zip(before.iter().zip(after));
        let apart = pixels.filter(|(_, (before, after))| before != after);
        apart.fold(Rect::default(), |part, (i, _)| {
            let (x, y) = (i % width, i / width);
            let pixel = Rect {
                x,
                y,
                width: 1,
                height: 1,
            };
            part.union(pixel)
        })
    }

    fn rect(x: u32, y: u32, width: u32, height: u32) -> Rect {
        Rect {
            x,
            y,
            width,
            height,
        }
    }

    #[test]
    fn corners_may_come_in_any_order_and_touched_pixels_belong() {
        let part = rect(2, 3, 5, 2);
        let corners = [((2.9, 4.1), (6.1, 3.0)), ((6.1, 3.0), (2.9, 4.1))];
        for (a, b) in corners {
            assert_eq!(Rect::between(a, b, 20, 20), part, "{a:?} to {b:?}");
        }
        let outside = Rect::between((-9.0, -9.0), (99.0, 1.5), 20, 10);
        assert_eq!(outside, rect(0, 0, 20, 2), "cut at the picture");
        let nothing = Rect::between((30.0, 30.0), (40.0, 40.0), 20, 10);
        assert!(nothing.is_empty(), "beside the picture");
        assert!(
            Rect::between((f32::NAN, 0.0), (f32::NAN, 9.0), 20, 10).is_empty(),
            "not a number is no place"
        );
    }

    #[test]
    fn an_empty_part_adds_nothing() {
        let part = rect(2, 3, 5, 2);
        assert_eq!(part.union(rect(90, 90, 0, 7)), part, "on the right");
        assert_eq!(rect(90, 90, 7, 0).union(part), part, "on the left");
    }

    proptest! {
        #[test]
        fn a_union_holds_both_and_a_clip_lies_inside(
            a in (0..99u32, 0..99u32, 1..99u32, 1..99u32), b in (0..99u32, 0..99u32, 1..99u32, 1..99u32),
        ) {
            let (a, b) = (rect(a.0, a.1, a.2, a.3), rect(b.0, b.1, b.2, b.3));
            let union = a.union(b);
            prop_assert_eq!(union, b.union(a), "in either order");
            for part in [a, b] {
                prop_assert_eq!(union.union(part), union, "nothing of {:?} is left out", part);
            }
            let clipped = union.clipped(50, 40);
            prop_assert!(clipped.x + clipped.width <= 50 && clipped.y + clipped.height <= 40, "{:?}", clipped);
        }
    }
}
