//! What a mask sees of what differs between A and B, and what a mask looks like that sees little.
//!
//! Where a mask leaves the change out, the loss holds A against A for as long as the run takes. So
//! every server and every client looks here before the first step.

use crate::difference::Difference;
use crate::error::ImageError;
use crate::latent_mask::LatentMask;
use crate::mask::Mask;
use crate::mask_warning::{DARK, MaskWarning};

/// A mask whose lightest part is darker makes less than two thirds of the change, as a brush at half its
/// opacity does.
const LIGHT: u8 = 160;
/// As much of a picture as is neither black nor white; of a mask, soft edges are less.
const MOSTLY: f64 = 0.5;
/// The part of the change from which leaving it out is told.
const MUCH: f64 = 0.5;
/// The part of the change from which all of it is left out, but for soft edges.
const ALL: f64 = 0.98;
/// A mask for the change holds more of it than what is around. One that is the wrong way round
/// holds, for its area, hardly a tenth of what is outside.
const HARDLY: f64 = 0.1;
/// Less than this is nothing, but for soft edges.
const NOTHING: f64 = 0.02;
/// As much of the picture is everything.
const EVERYTHING: f64 = 0.98;
/// A cell that is filled less makes a weight of the loss that says little about its place.
const FILLED: f32 = 0.25;

/// A mask against what differs. Shares are 0..=1.
///
/// Soft pixels count by their value, against the lightest one of the mask: how light it is on the
/// whole is told apart from where it lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaskView {
    /// The share of the picture that is inside.
    pub coverage: f64,
    /// The mask's largest value; 255 is white.
    pub lightest: u8,
    /// The share of what differs that lies outside, each pixel by how much it differs.
    pub left_out: f64,
    /// The share of the picture that differs.
    pub changed: f64,
    /// The mask's smallest value; where it is the largest, too, the mask is flat.
    darkest: u8,
    /// The share of the picture in which the mask is neither black nor white.
    grey: f64,
    /// Mean difference inside against that outside; none when nothing is outside.
    inside_to_outside: Option<f64>,
    /// The share of what is outside that differs; none when nothing is outside.
    outside_changed: Option<f64>,
    /// None when the mask is no whole number of cells, as before it is fitted to a model.
    cells: Option<Cells>,
}

/// A mask on the latent grid.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cells {
    /// How many it fills in all, parts of cells added up.
    filled: f64,
    /// As much as it fills of one.
    fullest: f32,
    /// How many there are.
    count: usize,
}

impl MaskView {
    /// Measures a mask.
    ///
    /// - `difference`: where A and B differ, [`Difference::without_noise`]
    ///
    /// # Errors
    /// [`ImageError::MaskSizeDiffers`]; [`ImageError::EmptyMask`] when nothing is selected.
    pub fn new(difference: &Difference, mask: &Mask) -> Result<Self, ImageError> {
        mask.check_size(difference.width(), difference.height())?;
        let mut sums = Sums {
            darkest: u8::MAX,
            ..Sums::default()
        };
        for (&value, &differs) in mask.values().iter().zip(difference.values()) {
            sums.add(value, differs);
        }
        if sums.lightest == 0 {
            return Err(ImageError::EmptyMask);
        }
        let (area, lightest) = (mask.values().len() as f64, f64::from(sums.lightest));
        // In pixels that are as light as the lightest.
        let [inside, inside_differs, inside_changed] =
            [sums.mask, sums.mask_differs, sums.mask_changed].map(|sum| sum as f64 / lightest);
        let (differs, changed) = (sums.differs as f64, sums.changed as f64);
        let outside = area - inside;
        let has_outside = outside > 0.5;
        let outside_differs = (differs - inside_differs).max(0.0);
        let outside_mean = outside_differs / outside.max(f64::MIN_POSITIVE);
        Ok(Self {
            coverage: mask.coverage(),
            lightest: sums.lightest,
            left_out: outside_differs / differs.max(f64::MIN_POSITIVE),
            changed: changed / area,
            darkest: sums.darkest,
            grey: sums.grey as f64 / area,
            inside_to_outside: (has_outside && outside_mean > 0.0)
                .then(|| inside_differs / inside / outside_mean),
            outside_changed: has_outside.then(|| (changed - inside_changed).max(0.0) / outside),
            cells: Cells::of(mask, sums.lightest),
        })
    }

    /// What keeps a mask from being trained with: practically all of the change is left out, or so
    /// little of it is made that nothing would be learnt.
    ///
    /// However much differs outside, a mask is good that holds a change of its own.
    pub fn refusal(&self) -> Option<MaskWarning> {
        let holds_nothing = self.inside_to_outside.is_some_and(|ratio| ratio < NOTHING);
        let is_useless = self.lightest < DARK || (self.left_out >= ALL && holds_nothing);
        self.warning().filter(|_| is_useless)
    }

    /// As [`Self::refusal`].
    ///
    /// # Errors
    /// [`ImageError::MaskLeavesOutAll`].
    pub fn check(&self) -> Result<(), ImageError> {
        match self.refusal() {
            Some(warning) => Err(ImageError::MaskLeavesOutAll { warning }),
            None => Ok(()),
        }
    }

    /// The likeliest trouble of the mask, if any.
    pub fn warning(&self) -> Option<MaskWarning> {
        let (left_out, lightest, share) = (self.left_out, self.lightest, self.grey);
        let is_flat = self.darkest == lightest;
        if is_flat && self.coverage < EVERYTHING {
            return Some(MaskWarning::Flat { value: lightest });
        }
        if lightest < LIGHT {
            return Some(MaskWarning::Faint { lightest });
        }
        if self.grey > MOSTLY {
            return Some(MaskWarning::Grey { share });
        }
        if left_out >= MUCH {
            return Some(if self.looks_inverted() {
                MaskWarning::Inverted { left_out }
            } else {
                MaskWarning::LeavesOut { left_out }
            });
        }
        let (coverage, changed) = (self.coverage, self.changed);
        if coverage >= EVERYTHING && changed < MOSTLY {
            return Some(MaskWarning::Everything { coverage, changed });
        }
        self.cells.and_then(Cells::warning)
    }

    /// Whether the other side of the mask looks like the mask that was meant.
    fn looks_inverted(&self) -> bool {
        let holds_little = self.inside_to_outside.is_some_and(|ratio| ratio < HARDLY);
        // A small mask that lies beside the change is no inverted one: all around it is outside.
        let rest_is_a_mask = self.outside_changed.is_some_and(|share| share >= MOSTLY);
        holds_little && (self.coverage > 0.5 || rest_is_a_mask)
    }
}

/// What is counted of all pixels.
#[derive(Default)]
struct Sums {
    darkest: u8,
    lightest: u8,
    grey: u64,
    /// Σ mask
    mask: u64,
    /// Σ difference
    differs: u64,
    /// Pixels that differ.
    changed: u64,
    /// Σ mask · difference
    mask_differs: u64,
    /// Σ mask over pixels that differ.
    mask_changed: u64,
}

impl Sums {
    fn add(&mut self, mask: u8, differs: u8) {
        let is_changed = u64::from(differs > 0);
        self.darkest = self.darkest.min(mask);
        self.lightest = self.lightest.max(mask);
        self.grey += u64::from((DARK..=255 - DARK).contains(&mask));
        self.mask += u64::from(mask);
        self.differs += u64::from(differs);
        self.changed += is_changed;
        self.mask_differs += u64::from(mask) * u64::from(differs);
        self.mask_changed += u64::from(mask) * is_changed;
    }
}

impl Cells {
    fn of(mask: &Mask, lightest: u8) -> Option<Self> {
        let latent = LatentMask::new(mask).ok()?;
        // As light as it could be: how light it is has a warning of its own.
        let scale = 255.0 / f32::from(lightest);
        let weights = latent.weights.iter().map(|weight| weight * scale);
        Some(Self {
            filled: weights.clone().map(f64::from).sum(),
            fullest: weights.fold(0.0, f32::max),
            count: latent.weights.len(),
        })
    }

    fn warning(self) -> Option<MaskWarning> {
        let Self {
            filled,
            fullest,
            count,
        } = self;
        let is_small = filled < 1.0 || fullest < FILLED;
        is_small.then_some(MaskWarning::Small {
            filled,
            fullest,
            count,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mask_warning::MaskRemedy;
    use crate::rect::Rect;
    use crate::rgb::Rgb;

    const SIDE: u32 = 64;

    /// B differs from A by `levels` in a rectangle, and by `elsewhere` in all else.
    fn pair(changed: Rect, levels: u8, elsewhere: u8) -> (Rgb, Rgb) {
        let a = Rgb::filled(SIDE, SIDE, [100; 3]);
        let mut b = Rgb::filled(SIDE, SIDE, [100 + elsewhere; 3]);
        let pixels = b.pixels_mut().chunks_exact_mut(3);
        for (i, pixel) in pixels.enumerate() {
            if contains(changed, i as u32 % SIDE, i as u32 / SIDE) {
                pixel.fill(100 + levels);
            }
        }
        (a, b)
    }

    fn contains(rect: Rect, x: u32, y: u32) -> bool {
        (rect.x..rect.x + rect.width).contains(&x) && (rect.y..rect.y + rect.height).contains(&y)
    }

    fn rect(x: u32, y: u32, width: u32, height: u32) -> Rect {
        Rect {
            x,
            y,
            width,
            height,
        }
    }

    fn mask_of(rect: Rect, value: u8) -> Mask {
        let mut mask = Mask::empty(SIDE, SIDE);
        mask.fill_rect(rect, value);
        mask
    }

    fn view((a, b): &(Rgb, Rgb), mask: &Mask) -> MaskView {
        let difference = Difference::between(a, b).unwrap().without_noise();
        MaskView::new(&difference, mask).unwrap()
    }

    /// Where the change of most tests is: 12x12 px.
    const CHANGE: Rect = Rect {
        x: 20,
        y: 30,
        width: 12,
        height: 12,
    };

    /// The change with 4 px around, as people paint.
    const AROUND: Rect = Rect {
        x: 16,
        y: 26,
        width: 20,
        height: 20,
    };

    #[test]
    fn a_mask_around_the_change_leaves_nothing_out() {
        let view = view(&pair(CHANGE, 90, 0), &mask_of(AROUND, 255));
        assert_eq!(view.left_out, 0.0, "all is inside");
        assert_eq!(view.warning(), None, "nothing to complain about");
        assert_eq!(view.coverage, 400.0 / 4096.0, "20x20 px");
    }

    #[test]
    fn what_lies_outside_is_counted_by_how_much_it_differs() {
        // 3 of 12 columns inside.
        let view = view(&pair(CHANGE, 90, 0), &mask_of(rect(10, 20, 13, 30), 255));
        assert!((view.left_out - 0.75).abs() < 0.03, "{view:?}");
        let warning = view.warning().unwrap();
        assert!(
            matches!(warning, MaskWarning::LeavesOut { .. }),
            "{warning:?}"
        );
        assert!(
            warning.to_string().contains("lies outside the mask"),
            "{warning}"
        );
        assert_eq!(view.refusal(), None, "a part may be what was meant");
    }

    #[test]
    fn noise_all_over_is_not_what_a_mask_leaves_out() {
        let (a, mut b) = pair(CHANGE, 90, 0);
        for (i, byte) in b.pixels_mut().iter_mut().enumerate() {
            *byte = byte.saturating_add((i * 7919 % 4) as u8);
        }
        let view = view(&(a, b), &mask_of(AROUND, 255));
        assert!(view.left_out < 0.05, "{view:?}");
        assert_eq!(view.warning(), None, "the change is inside");
    }

    #[test]
    fn an_inverted_mask_is_refused_with_the_way_back() {
        for meant in [CHANGE, AROUND, rect(0, 25, 60, 20)] {
            let mask = mask_of(meant, 255);
            let inverted = view(&pair(CHANGE, 90, 0), &mask.inverted());
            let refusal = inverted.refusal();
            assert!(
                matches!(refusal, Some(MaskWarning::Inverted { left_out }) if left_out > 0.98),
                "{meant:?}: {inverted:?}"
            );
            let remedy = refusal.map(|warning| warning.remedy());
            assert_eq!(remedy, Some(MaskRemedy::Invert), "{meant:?}");
        }
    }

    #[test]
    fn a_large_change_whose_mask_is_inverted_is_told_from_one_that_is_missed() {
        // Three quarters change, so the inverted mask is the smaller part.
        let large = rect(0, 0, SIDE, 48);
        let inverted = view(&pair(large, 90, 0), &mask_of(large, 255).inverted());
        assert!(
            matches!(inverted.refusal(), Some(MaskWarning::Inverted { .. })),
            "{inverted:?}"
        );
        let missed = view(&pair(CHANGE, 90, 0), &mask_of(rect(44, 4, 12, 12), 255));
        let refusal = missed.refusal();
        assert_eq!(
            refusal,
            Some(MaskWarning::LeavesOut { left_out: 1.0 }),
            "what is left of a small mask elsewhere is no mask: {missed:?}"
        );
    }

    #[test]
    fn a_small_change_beside_a_great_one_may_be_all_that_is_meant() {
        // Another background, of which nothing is to be learnt.
        let view = view(&pair(CHANGE, 40, 100), &mask_of(CHANGE, 255));
        assert!(view.left_out > 0.98, "{view:?}");
        assert!(
            matches!(view.warning(), Some(MaskWarning::LeavesOut { .. })),
            "it is told: {view:?}"
        );
        assert_eq!(view.refusal(), None, "and trained");
    }

    #[test]
    fn a_mask_of_zeros_and_ones_is_refused_as_nearly_black() {
        let pair = pair(CHANGE, 90, 0);
        for lightest in [1, 25] {
            let faint = view(&pair, &mask_of(AROUND, lightest));
            let refusal = faint.refusal();
            assert_eq!(refusal, Some(MaskWarning::Faint { lightest }), "{faint:?}");
            assert_eq!(faint.left_out, 0.0, "it lies where it should");
        }
        let half = view(&pair, &mask_of(AROUND, 100));
        assert_eq!(half.refusal(), None, "a weak mask is a wish, too");
        let sentence = half.warning().unwrap().to_string();
        assert!(
            sentence.contains("100 of 255") && sentence.contains("39 %"),
            "{sentence}"
        );
        let stretched = mask_of(AROUND, 1).stretched();
        assert_eq!(stretched, mask_of(AROUND, 255), "the remedy");
    }

    #[test]
    fn a_flat_mask_says_nothing_and_is_refused_when_it_is_nearly_black() {
        let pair = pair(CHANGE, 90, 0);
        let flat = |value| view(&pair, &Mask::new(SIDE, SIDE, vec![value; 64 * 64]).unwrap());
        let black = flat(1).refusal().unwrap();
        assert_eq!(black, MaskWarning::Flat { value: 1 }, "nothing to stretch");
        assert_eq!(black.remedy(), MaskRemedy::MaskDifference, "{black}");
        let sentence = black.to_string();
        assert!(sentence.contains("nearly black, 1 of 255"), "{sentence}");
        let grey = flat(140);
        assert_eq!(
            grey.warning(),
            Some(MaskWarning::Flat { value: 140 }),
            "{grey:?}"
        );
        assert_eq!(grey.refusal(), None, "half of the change is a change");
    }

    #[test]
    fn a_picture_that_is_taken_for_the_mask_is_told() {
        let greys = (0..SIDE * SIDE).map(|i| (40 + i % 160) as u8).collect();
        let view = view(&pair(CHANGE, 90, 0), &Mask::new(SIDE, SIDE, greys).unwrap());
        assert!(
            matches!(view.warning(), Some(MaskWarning::Grey { share }) if share == 1.0),
            "{view:?}"
        );
    }

    #[test]
    fn a_mask_of_everything_is_told_unless_everything_changes() {
        let full = Mask::full(SIDE, SIDE);
        let view_of = |pair| view(&pair, &full);
        let little = view_of(pair(CHANGE, 90, 0));
        assert!(
            matches!(little.warning(), Some(MaskWarning::Everything { coverage, changed })
                if coverage == 1.0 && changed < 0.06),
            "{little:?}"
        );
        assert_eq!(little.refusal(), None, "it can be trained");
        let style = view_of(pair(CHANGE, 90, 60));
        assert_eq!(style.warning(), None, "all of it was meant");
    }

    #[test]
    fn a_mask_that_is_lost_on_the_latent_grid_is_told_and_grows() {
        let dot = rect(24, 33, 3, 3);
        let pair = pair(dot, 150, 0);
        let lost = view(&pair, &mask_of(dot, 255));
        let warning = lost.warning().unwrap();
        assert!(
            matches!(warning, MaskWarning::Small { count: 64, .. }),
            "{warning:?}"
        );
        assert!(warning.to_string().contains("8x8 px"), "{warning}");
        let grown = mask_of(dot, 255).grown(MaskRemedy::GROWN_BY);
        assert_eq!(view(&pair, &grown).warning(), None, "the remedy");

        let line = rect(0, 33, SIDE, 1);
        let thin = view(&self::pair(line, 150, 0), &mask_of(line, 255));
        assert!(
            matches!(
                thin.warning(),
                Some(MaskWarning::Small { fullest: 0.125, .. })
            ),
            "eight cells in all, and none by more than an eighth: {thin:?}"
        );
    }

    #[test]
    fn a_change_that_is_faint_everywhere_is_still_the_change() {
        let view = view(&pair(CHANGE, 2, 0), &mask_of(CHANGE, 255).inverted());
        assert!(
            matches!(
                view.refusal(),
                Some(MaskWarning::Inverted { left_out: 1.0 })
            ),
            "{view:?}"
        );
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        let (a, b) = pair(CHANGE, 90, 0);
        let difference = Difference::between(&a, &b).unwrap();
        let other = MaskView::new(&difference, &Mask::full(9, 9)).unwrap_err();
        assert!(other.to_string().contains("9x9"), "{other}");
        let empty = MaskView::new(&difference, &Mask::empty(SIDE, SIDE)).unwrap_err();
        assert!(matches!(empty, ImageError::EmptyMask), "{empty}");
    }

    proptest! {
        #[test]
        fn a_mask_and_its_inverse_leave_out_all_between_them(
            values in proptest::collection::vec(prop_oneof![Just(0_u8), Just(255)], 64),
            differs in proptest::collection::vec(any::<u8>(), 64),
        ) {
            let mask = Mask::new(8, 8, values).unwrap();
            let inverse = mask.inverted();
            let b = differs.iter().flat_map(|value| [*value; 3]).collect();
            let pair = (Rgb::filled(8, 8, [0; 3]), Rgb::new(8, 8, b).unwrap());
            prop_assume!(pair.0 != pair.1 && !mask.is_empty() && !inverse.is_empty());
            let [view, inverse] = [&mask, &inverse].map(|mask| view(&pair, mask));
            let sum = view.left_out + inverse.left_out;
            prop_assert!((sum - 1.0).abs() < 1e-9, "{:?} {:?}", view, inverse);
        }
    }
}
