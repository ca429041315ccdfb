//! Masks made of a whole mask.

use crate::mask::Mask;
use crate::resample::{Axis, Kernel, resample};
use crate::window;

impl Mask {
    /// Grown by `radius` px all around (to an octagon, nearly a circle); soft edges stay soft.
    pub fn grown(&self, radius: u32) -> Self {
        self.filtered(window::round_max, radius)
    }

    /// Shrunk by `radius` px all around, as [`Self::grown`]. It does not shrink away from the
    /// picture's border, beyond which it is taken to go on.
    pub fn shrunk(&self, radius: u32) -> Self {
        self.filtered(window::round_min, radius)
    }

    /// With edges that fall off smoothly over `radius` px to both sides. Farther from any edge,
    /// nothing changes.
    pub fn feathered(&self, radius: u32) -> Self {
        self.filtered(window::smooth, radius)
    }

    /// Learn where it left, and leave where it learnt.
    pub fn inverted(&self) -> Self {
        let values = self.values().iter().map(|value| 255 - value).collect();
        Self::from_parts(self.width(), self.height(), values)
    }

    /// With the darkest value at 0 and the lightest at 255, as a file needs whose values are 0 and 1.
    /// Where all values are equal, nothing changes.
    pub fn stretched(&self) -> Self {
        let values = self.values();
        let darkest = values.iter().copied().min().unwrap_or(0);
        let range = values.iter().map(|&value| value - darkest).max();
        let range = u32::from(range.unwrap_or(0));
        if range == 0 {
            return self.clone();
        }
        let stretch = |value: &u8| (u32::from(value - darkest) * 255 + range / 2) / range;
        let values = values.iter().map(|value| stretch(value) as u8).collect();
        Self::from_parts(self.width(), self.height(), values)
    }

    /// Scaled to `width` x `height` px with a triangle, which does not ring around edges; a side
    /// of 0 becomes 1.
    pub fn resized(&self, width: u32, height: u32) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        let axis = |source: u32, result: u32| {
            Axis::scaled(source as usize, result as usize, Kernel::Triangle)
        };
        let (across, down) = (axis(self.width(), width), axis(self.height(), height));
        let values = resample::<1>(self.values(), self.width() as usize, &across, &down);
        Self::from_parts(width, height, values)
    }

    fn filtered(&self, filter: fn(&[u8], usize, usize) -> Vec<u8>, radius: u32) -> Self {
        let (width, height) = (self.width(), self.height());
        // Farther than the picture is large, nothing changes any more.
        let radius = radius.min(width.max(height)) as usize;
        let values = filter(self.values(), width as usize, radius);
        Self::from_parts(width, height, values)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::raster::Paint;

    fn masks() -> impl Strategy<Value = Mask> {
        let values = proptest::collection::vec(any::<u8>(), 14 * 10);
        values.prop_map(|values| Mask::new(14, 10, values).unwrap())
    }

    fn contains(outer: &Mask, inner: &Mask) -> bool {
        let mut pairs = outer.values().iter().zip(inner.values());
        pairs.all(|(outer, inner)| outer >= inner)
    }

    /// A half of 40x40 px.
    fn left_half() -> Mask {
        let mut mask = Mask::empty(40, 40);
        let corners = [(0.0, 0.0), (20.0, 0.0), (20.0, 40.0), (0.0, 40.0)];
        mask.fill_polygon(&corners, Paint::Learn);
        mask
    }

    #[test]
    fn growing_and_shrinking_move_an_edge_by_the_radius() {
        let edge = |mask: &Mask| (0..40).filter(|&x| mask.value(x, 9) == Some(255)).count();
        for radius in [0, 1, 2, 7, 19] {
            assert_eq!(
                edge(&left_half().grown(radius)),
                20 + radius as usize,
                "grown"
            );
            assert_eq!(
                edge(&left_half().shrunk(radius)),
                20 - radius as usize,
                "shrunk"
            );
        }
        assert!(left_half().shrunk(20).is_empty(), "nothing is left");
        assert_eq!(
            left_half().grown(u32::MAX),
            Mask::full(40, 40),
            "no overflow"
        );
    }

    #[test]
    fn a_feathered_edge_falls_off_to_both_sides_and_ends() {
        let mask = left_half().feathered(9);
        let row: Vec<u8> = (0..40).map(|x| mask.value(x, 20).unwrap()).collect();
        assert!(row.windows(2).all(|pair| pair[0] >= pair[1]), "{row:?}");
        assert!(row[..11].iter().all(|&value| value == 255), "{row:?}");
        assert!(row[29..].iter().all(|&value| value == 0), "{row:?}");
        let sides = row[15].abs_diff(255 - row[24]);
        assert!(sides <= 1 && row[15] < 255, "alike on both sides: {row:?}");
    }

    #[test]
    fn stretching_reaches_from_black_to_white() {
        let stretched = |values: [u8; 3]| {
            let mask = Mask::new(3, 1, values.to_vec()).unwrap();
            mask.stretched().values().to_vec()
        };
        assert_eq!(stretched([0, 1, 1]), [0, 255, 255], "0 and 1");
        assert_eq!(stretched([10, 11, 12]), [0, 128, 255], "greys between");
        assert_eq!(stretched([7, 7, 7]), [7, 7, 7], "nothing to tell apart");
        assert_eq!(stretched([0, 9, 255]), [0, 9, 255], "as it was");
    }

    #[test]
    fn resizing_keeps_the_share() {
        let mask = left_half();
        for (width, height) in [(20, 20), (80, 40), (13, 50), (1, 1)] {
            let resized = mask.resized(width, height);
            assert_eq!(
                (resized.width(), resized.height()),
                (width, height),
                "as asked"
            );
            assert!((resized.coverage() - 0.5).abs() < 0.02, "{resized:?}");
        }
        assert_eq!(mask.resized(0, 9).width(), 1, "at least one pixel");
    }

    proptest! {
        #[test]
        fn closing_contains_the_mask_and_opening_lies_in_it(mask in masks(), radius in 0..20u32) {
            prop_assert!(contains(&mask.grown(radius).shrunk(radius), &mask), "closed");
            prop_assert!(contains(&mask, &mask.shrunk(radius).grown(radius)), "opened");
        }

        #[test]
        fn shrinking_is_growing_what_is_left_out(mask in masks(), radius in 0..20u32) {
            prop_assert_eq!(mask.shrunk(radius), mask.inverted().grown(radius).inverted(), "the same");
            prop_assert_eq!(mask.inverted().inverted(), mask, "inverting twice is nothing");
        }

        #[test]
        fn a_radius_of_nothing_changes_nothing(mask in masks()) {
            for same in [mask.grown(0), mask.shrunk(0), mask.feathered(0), mask.resized(14, 10)] {
                prop_assert_eq!(&same, &mask, "bit for bit");
            }
        }
    }
}
