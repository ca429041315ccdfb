//! Undoing: what a part of a mask was.

use std::fmt;

use crate::mask::Mask;
use crate::rect::{Changes, Rect, rows_of, rows_of_mut};

/// The values of a part of a mask, to be put back.
///
/// Masks are mostly flat, so runs of one value are stored once.
#[derive(Clone, PartialEq, Eq)]
pub struct MaskPatch {
    part: Rect,
    packed: Vec<u8>,
}

impl MaskPatch {
    /// The values of `rect`, as far as it lies in the mask.
    pub fn of(mask: &Mask, rect: Rect) -> Self {
        let part = rect.clipped(mask.width(), mask.height());
        let values: Vec<u8> = rows_of(mask.values(), mask.width(), 1, part)
            .flatten()
            .copied()
            .collect();
        let packed = pack(&values);
        Self { part, packed }
    }

    /// What leads from `after` back to `before`: the smallest part that holds all that differs.
    ///
    /// `None` when nothing does, or when they differ in size, since then no part leads back.
    pub fn between(before: &Mask, after: &Mask) -> Option<Self> {
        Self::between_in(before, after, Rect::whole(before.width(), before.height()))
    }

    /// As [`Self::between`], where it is known that only `part` can differ.
    pub(crate) fn between_in(before: &Mask, after: &Mask, part: Rect) -> Option<Self> {
        if (before.width(), before.height()) != (after.width(), after.height()) {
            return None;
        }
        let width = before.width();
        let before_rows = rows_of(before.values(), width, 1, part);
        let after_rows = rows_of(after.values(), width, 1, part);
        let mut changes = Changes::default();
        for (y, (before, after)) in (part.y..).zip(before_rows.zip(after_rows)) {
            // Comparing whole rows is fast, and most are equal.
            if before == after {
                continue;
            }
            let mut pairs = before.iter().zip(after);
            let first = pairs.position(|(before, after)| before != after);
            let pairs = before.iter().zip(after);
            let last = pairs.rev().position(|(before, after)| before != after);
            if let (Some(first), Some(last)) = (first, last) {
                let last = part.x + part.width - 1 - last as u32;
                changes.add(y, part.x + first as u32, last);
            }
        }
        let changed = changes.part();
        (!changed.is_empty()).then(|| Self::of(before, changed))
    }

    /// The part that it holds.
    pub fn rect(&self) -> Rect {
        self.part
    }

    /// The memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.packed.capacity()
    }

    /// Puts the values back and keeps those that they replace: swapping twice changes nothing.
    /// Returns the part that it put back.
    ///
    /// A mask that the part does not lie in stays as it is.
    pub fn swap(&mut self, mask: &mut Mask) -> Rect {
        let (width, part) = (mask.width(), self.part);
        if part.is_empty() || part.clipped(width, mask.height()) != part {
            return Rect::default();
        }
        let mut values = unpack(&self.packed, part.area());
        let rows = rows_of_mut(mask.values_mut(), width, 1, part);
        for (row, values) in rows.zip(values.chunks_exact_mut(part.width as usize)) {
            row.swap_with_slice(values);
        }
        self.packed = pack(&values);
        part
    }
}

impl fmt::Debug for MaskPatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MaskPatch({:?}, {} bytes)", self.part, self.bytes())
    }
}

/// Runs shorter than this are cheaper as they are.
const SHORTEST_RUN: usize = 4;

/// Packs into pieces: a number (7 bits a byte, the lowest first, the highest bit says that more
/// follow) that is twice the length, plus 1 for a run of one value; then that value, or all values.
fn pack(values: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut put = |piece: &[u8], is_run: bool| {
        let mut header = piece.len() * 2 + usize::from(is_run);
        while header >= 128 {
            packed.push(header as u8 | 128);
            header >>= 7;
        }
        packed.push(header as u8);
        packed.extend(if is_run { &piece[..1] } else { piece });
    };
    let (mut literal, mut at) = (0, 0);
    for run in values.chunk_by(|a, b| a == b) {
        if run.len() >= SHORTEST_RUN {
            if literal < at {
                put(&values[literal..at], false);
            }
            put(run, true);
            literal = at + run.len();
        }
        at += run.len();
    }
    if literal < at {
        put(&values[literal..], false);
    }
    packed.shrink_to_fit();
    packed
}

/// The `count` values that were packed.
fn unpack(packed: &[u8], count: usize) -> Vec<u8> {
    let mut values = Vec::with_capacity(count);
    let mut rest = packed;
    while !rest.is_empty() {
        let bytes = 1 + rest.iter().take_while(|&&byte| byte >= 128).count();
        let (header, after) = rest.split_at(bytes);
        let header = header
            .iter()
            .rev()
            .fold(0, |sum, &byte| sum << 7 | usize::from(byte & 127));
        let length = header / 2;
        if header % 2 == 1 {
            values.resize(values.len() + length, after[0]);
            rest = &after[1..];
        } else {
            let (literal, after) = after.split_at(length);
            values.extend(literal);
            rest = after;
        }
    }
    debug_assert_eq!(values.len(), count, "what was packed is a whole part");
    values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rect::tests::differing;

    #[test]
    fn flat_masks_take_next_to_no_memory() {
        let mut mask = Mask::empty(1024, 1024);
        let whole = Rect::whole(1024, 1024);
        let flat = MaskPatch::of(&mask, whole).bytes();
        assert!(flat < 100, "one run, got {flat} bytes");
        let (x, y) = (200, 300);
        mask.fill_rect(
            Rect {
                x,
                y,
                width: 400,
                height: 400,
            },
            255,
        );
        let square = MaskPatch::of(&mask, whole).bytes();
        assert!(square < 5000, "two runs a row, got {square} bytes");
    }

    #[test]
    fn noise_takes_hardly_more_than_itself() {
        let values = (0..64 * 64u32).map(|i| (i * 193 % 251) as u8).collect();
        let mask = Mask::new(64, 64, values).unwrap();
        let bytes = MaskPatch::of(&mask, Rect::whole(64, 64)).bytes();
        assert!(bytes < 4096 + 64, "got {bytes} bytes");
    }

    #[test]
    fn a_mask_that_is_too_small_stays_as_it_is() {
        let mut patch = MaskPatch::of(&Mask::full(9, 9), Rect::whole(9, 9));
        let mut small = Mask::empty(8, 8);
        assert!(patch.swap(&mut small).is_empty(), "the part does not fit");
        assert!(small.is_empty(), "and nothing was written");
        assert_eq!(
            MaskPatch::between(&Mask::full(9, 9), &small),
            None,
            "no part leads from one size to another"
        );
    }

    /// Values with long and short runs.
    fn values(count: usize) -> impl Strategy<Value = Vec<u8>> {
        let run = (any::<u8>(), 1..40usize).prop_map(|(value, length)| vec![value; length]);
        proptest::collection::vec(run, count).prop_map(move |runs| {
            let mut values = runs.concat();
            values.truncate(count);
            values
        })
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(values in proptest::collection::vec(0..3u8, 0..600), many in values(700)) {
            prop_assert_eq!(unpack(&pack(&values), values.len()), values, "short runs");
            prop_assert_eq!(unpack(&pack(&many), many.len()), many, "long runs");
        }

        #[test]
        fn a_patch_leads_back_and_forth(before in values(150), after in values(150)) {
            let mask = |values: &[u8]| Mask::new(15, 10, values.to_vec()).unwrap();
            let (before, after) = (mask(&before), mask(&after));
            let patch = MaskPatch::between(&before, &after);
            let part = differing(before.values(), after.values(), 15);
            prop_assert_eq!(patch.as_ref().map_or(Rect::default(), MaskPatch::rect), part, "no more than needed");
            if let Some(mut patch) = patch {
                let mut mask = after.clone();
                prop_assert_eq!(patch.swap(&mut mask), part, "tells the part");
                prop_assert_eq!(&mask, &before, "back");
                patch.swap(&mut mask);
                prop_assert_eq!(&mask, &after, "and forth");
            }
        }
    }
}
