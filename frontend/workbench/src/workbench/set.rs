//! The pairs on the bench: at least one, which may be empty, and one of them on the stage.

use std::sync::{Arc, OnceLock};

use mimeo_image::{ImageError, Mask, MaskView, Sizing};
use mimeo_protocol::{Level, Weight};

use super::state::{Pictures, for_frame};
use crate::frame::Frame;
use crate::picture::{Picture, Slot};

/// Two pictures that differ in one thing, where, and what is said of them.
#[derive(Debug, Clone)]
pub struct Pair {
    /// A and B.
    pub pictures: Pictures,
    /// Where to learn, at the frame's size; there is one as soon as there is a frame.
    mask: Option<Mask>,
    /// Prompt of these two pictures; empty: that of the recipe.
    pub caption: String,
    /// How much it counts beside the others.
    pub weight: Weight,
    /// The strength of the LoRA at which its change is to come.
    pub level: Level,
    /// Why one of its pictures is alone, where that is not by a choice.
    pub note: Option<String>,
    /// Found when first asked for, and asked for by every row after every stroke on one of them.
    seen: OnceLock<Seen>,
}

/// What a mask was found to be.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// The share of the picture that is inside; none if nothing is painted.
    coverage: Option<f64>,
    /// None without a pair, too.
    view: Option<MaskView>,
}

impl Pair {
    /// How much a pair counts, and at which strength, where nobody says so.
    pub const USUAL: (Weight, Level) = (Weight::constant(1.0), Level::constant(1.0));

    /// A pair whose mask lies on its frame, whatever size it was kept at.
    #[must_use]
    pub fn new(pictures: Pictures, mask: Option<&Mask>) -> Self {
        let mask = for_frame(mask, pictures.frame.as_deref());
        let (weight, level) = Self::USUAL;
        Self {
            pictures,
            mask,
            caption: String::new(),
            weight,
            level,
            note: None,
            seen: OnceLock::new(),
        }
    }

    /// A pair without pictures.
    #[must_use]
    pub fn empty(sizing: Sizing) -> Self {
        let pictures = Pictures {
            sizing,
            ..Pictures::default()
        };
        Self::new(pictures, None)
    }

    /// The same pair with other pictures, and the mask brought to their frame.
    #[must_use]
    pub(super) fn with_pictures(&self, pictures: Pictures) -> Self {
        self.with(pictures, self.mask.as_ref())
    }

    /// The same pair with other pictures and another mask.
    #[must_use]
    pub(super) fn with(&self, pictures: Pictures, mask: Option<&Mask>) -> Self {
        Self {
            caption: self.caption.clone(),
            weight: self.weight,
            level: self.level,
            ..Self::new(pictures, mask)
        }
    }

    /// The picture in a well.
    #[must_use]
    pub const fn picture(&self, slot: Slot) -> Option<&Arc<Picture>> {
        self.pictures.get(slot)
    }

    /// A and B in one frame, if there is a picture.
    #[must_use]
    pub fn frame(&self) -> Option<&Frame> {
        self.pictures.frame.as_deref()
    }

    /// Where to learn.
    #[must_use]
    pub const fn mask(&self) -> Option<&Mask> {
        self.mask.as_ref()
    }

    /// The mask, if something is painted.
    #[must_use]
    pub fn painted(&self) -> Option<&Mask> {
        self.mask.as_ref().filter(|mask| !mask.is_empty())
    }

    /// The share of the picture that is masked, 0..=1; none if nothing is painted.
    #[must_use]
    pub fn masked_share(&self) -> Option<f64> {
        self.seen().coverage
    }

    /// What the mask sees of what differs; none without a pair or without paint.
    #[must_use]
    pub fn mask_view(&self) -> Option<&MaskView> {
        self.seen().view.as_ref()
    }

    fn seen(&self) -> &Seen {
        self.seen.get_or_init(|| {
            let Some(mask) = self.painted() else {
                return Seen::default();
            };
            let difference = self.frame().and_then(Frame::standing_out);
            Seen {
                coverage: Some(mask.coverage()),
                view: difference.and_then(|difference| MaskView::new(difference, mask).ok()),
            }
        })
    }

    /// The mask, to be painted on.
    pub(super) fn mask_mut(&mut self) -> &mut Option<Mask> {
        self.seen.take();
        &mut self.mask
    }

    /// Whether both wells are empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pictures.original.is_none() && self.pictures.target.is_none()
    }

    /// The picture of a pair that has one, and where it is.
    #[must_use]
    pub fn only_picture(&self) -> Option<(Slot, &Arc<Picture>)> {
        match (&self.pictures.original, &self.pictures.target) {
            (Some(picture), None) => Some((Slot::Original, picture)),
            (None, Some(picture)) => Some((Slot::Target, picture)),
            _ => None,
        }
    }

    /// Whether something is said of it beside its pictures and its mask.
    #[must_use]
    pub fn is_told_of(&self) -> bool {
        !self.caption.is_empty() || (self.weight, self.level) != Self::USUAL
    }

    /// Lays the pictures onto each other for another size.
    ///
    /// # Errors
    /// Those of [`Frame::of`].
    pub(super) fn refitted(&self, sizing: Sizing) -> Result<Self, ImageError> {
        let mut pictures = self.pictures.clone();
        pictures.sizing = sizing;
        pictures.refit()?;
        Ok(Self {
            note: self.note.clone(),
            ..self.with_pictures(pictures)
        })
    }

    /// Memory that its pictures take, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.pictures.bytes() + self.mask_bytes()
    }

    /// As [`Self::bytes`], but of what others hold as well its part only.
    pub(super) fn own_bytes(&self) -> usize {
        self.pictures.own_bytes() + self.mask_bytes()
    }

    fn mask_bytes(&self) -> usize {
        self.mask.as_ref().map_or(0, |mask| mask.values().len())
    }
}

/// The pairs, and which of them is on the stage.
#[derive(Debug, Clone)]
pub struct Set {
    /// At least one.
    pairs: Vec<Pair>,
    /// Less than there are.
    chosen: usize,
}

impl Default for Set {
    fn default() -> Self {
        Self::new(Vec::new(), 0)
    }
}

impl Set {
    /// These pairs; none become an empty one.
    #[must_use]
    pub fn new(mut pairs: Vec<Pair>, chosen: usize) -> Self {
        if pairs.is_empty() {
            pairs.push(Pair::empty(Pictures::default().sizing));
        }
        let chosen = chosen.min(pairs.len() - 1);
        Self { pairs, chosen }
    }

    /// All of them.
    #[must_use]
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// Which one is on the stage.
    #[must_use]
    pub const fn chosen(&self) -> usize {
        self.chosen
    }

    /// The one on the stage.
    #[must_use]
    pub fn pair(&self) -> &Pair {
        &self.pairs[self.chosen]
    }

    /// Whether there is more than one pair.
    #[must_use]
    pub const fn has_several(&self) -> bool {
        self.pairs.len() > 1
    }

    /// Memory that it takes, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.pairs.iter().map(Pair::bytes).sum()
    }

    pub(super) fn pair_mut(&mut self) -> &mut Pair {
        &mut self.pairs[self.chosen]
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Pair> {
        self.pairs.get_mut(at)
    }

    /// Brings one onto the stage, if it is there. Whether another one was there before.
    pub(super) fn choose(&mut self, at: usize) -> bool {
        let is_other = at != self.chosen && at < self.pairs.len();
        if is_other {
            self.chosen = at;
        }
        is_other
    }

    /// Puts a pair in before the one that is there.
    pub(super) fn insert(&mut self, at: usize, pair: Pair) {
        let at = at.min(self.pairs.len());
        self.pairs.insert(at, pair);
        self.chosen = at;
    }

    /// Takes a pair out; none where it is the last one, or none is there.
    pub(super) fn remove(&mut self, at: usize) -> Option<Pair> {
        if at >= self.pairs.len() || self.pairs.len() == 1 {
            return None;
        }
        let pair = self.pairs.remove(at);
        if self.chosen > at || self.chosen == self.pairs.len() {
            self.chosen -= 1;
        }
        Some(pair)
    }
}
