//! What can be wished for, what came of it, and why not.

use std::sync::Arc;

use mimeo_image::{Alignment, Brush, Edit, Mask, MaskRemedy, Paint, Rect, StrokePoint};
use mimeo_protocol::fields::Field;
use mimeo_protocol::{BaseId, CopierInfo, Level, Method, ModelSize, Recipe, VaeId, Weight};
use serde_json::Value;

use crate::frame::Sides;
use crate::picture::{Picture, Slot};
use crate::plain::{Capacity, ChangeKind, Effort};

/// One thing that a user does.
#[derive(Debug, Clone)]
pub enum Command {
    /// Put a picture into a well; without one, into the first that is empty.
    Place {
        /// Which well.
        slot: Option<Slot>,
        /// What.
        picture: Arc<Picture>,
    },
    /// Put in a whole pair.
    PlacePair {
        /// A.
        original: Arc<Picture>,
        /// B.
        target: Arc<Picture>,
        /// Where they differ, if that is known.
        mask: Option<Mask>,
    },
    /// Empty a well.
    Remove(Slot),
    /// B becomes A and A becomes B.
    Swap,
    /// Move the crop that A, B and mask share; 0.5 is the middle.
    MoveCrop {
        /// 0 left, 1 right.
        x: f64,
        /// 0 top, 1 bottom.
        y: f64,
    },
    /// Mend the pair.
    Remedy(Remedy),
    /// Make B from A.
    MakeTarget {
        /// What to do to A.
        edit: Edit,
        /// Where: inside the mask, or everywhere.
        inside_mask: bool,
    },
    /// Empty both wells.
    NewPair,
    /// Change the mask.
    Mask(MaskCommand),
    /// Change the set of pairs.
    Pairs(PairsCommand),
    /// Begin to paint.
    BeginStroke {
        /// With what.
        brush: Brush,
        /// Add or remove.
        paint: Paint,
        /// Where, in the frame's px.
        at: StrokePoint,
    },
    /// Go on painting.
    ExtendStroke(StrokePoint),
    /// Stop painting.
    EndStroke,
    /// Take the stroke under way back.
    CancelStroke,
    /// Change recipe, name or base.
    Set(Setting),
    /// Take back the last thing.
    Undo,
    /// Do again what was taken back.
    Redo,
}

/// Something that mends a pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Remedy {
    /// Move and scale B so that it lies on A.
    Align(Alignment),
    /// Give B the colours of A where nothing changes.
    MatchColour,
    /// Put A back outside the mask, or outside what changed if nothing is painted.
    Composite,
}

/// One change of the mask.
#[derive(Debug, Clone)]
pub enum MaskCommand {
    /// The changed region, grown and with soft edges.
    Suggest,
    /// Where A and B differ by more than this, of 255.
    Threshold(u8),
    /// Nothing.
    Clear,
    /// The rest.
    Invert,
    /// Larger by px.
    Grow(u32),
    /// Smaller by px.
    Shrink(u32),
    /// Soft edges of px.
    Feather(u32),
    /// A rectangle.
    Box(Rect, Paint),
    /// A rectangle as it was typed: left, top, width and height, px.
    BoxTyped([String; 4], Paint),
    /// A shape drawn by hand, its corners in the frame's px.
    Lasso(Vec<(f32, f32)>, Paint),
    /// The area around a point, as painted lines bound it.
    Fill {
        /// Column, px.
        x: u32,
        /// Row, px.
        y: u32,
        /// Add or remove.
        paint: Paint,
    },
    /// A mask from a file.
    Import(Mask),
    /// What helps against a warning.
    Mend(MaskRemedy),
}

/// One change of the set of pairs. Pairs are named by their place, from 0.
#[derive(Debug, Clone)]
pub enum PairsCommand {
    /// Put pairs behind those that are there.
    Add(Vec<NewPair>),
    /// Put in an empty one behind them.
    AddEmpty,
    /// Bring one onto the stage.
    Choose(usize),
    /// Take one out.
    Remove(usize),
    /// Two pictures change places; what is put into an empty place leaves its own.
    Move {
        /// Pair and well.
        from: (usize, Slot),
        /// Pair and well; behind the last pair a new one is made.
        to: (usize, Slot),
    },
    /// Say what two pictures show.
    Caption(usize, String),
    /// Take in what caption files say that come after their pictures: the name of each, and its text.
    CaptionFiles(Vec<(String, String)>),
    /// Say how much a pair counts, as typed.
    WeightTyped(usize, String),
    /// Say at which strength its change is to come, as typed.
    LevelTyped(usize, String),
    /// Give every caption a tag that not all of them have; take one away that all have.
    Tag(String),
    /// Suggest a mask wherever nothing is painted.
    Suggest,
}

/// A pair that is put in.
#[derive(Debug, Clone, Default)]
pub struct NewPair {
    /// A.
    pub original: Option<Arc<Picture>>,
    /// B.
    pub target: Option<Arc<Picture>>,
    /// Where they differ, if that is known.
    pub mask: Option<Mask>,
    /// Prompt of these two pictures.
    pub caption: String,
    /// How much it counts, and at which strength its change is to come; none as usual.
    pub numbers: Option<(Weight, Level)>,
    /// Why a picture is alone.
    pub note: Option<String>,
}

/// One change of recipe, name or base.
#[derive(Debug, Clone)]
pub enum Setting {
    /// How the pair becomes a LoRA.
    Method(Method),
    /// What kind of change it is.
    ChangeKind(ChangeKind),
    /// How long to train.
    Effort(Effort),
    /// How much the LoRA can hold.
    Capacity(Capacity),
    /// One number.
    Field(&'static Field, Value),
    /// One number, back to its default.
    Reset(&'static Field),
    /// Every number, back to its default.
    ResetAll,
    /// A whole recipe.
    Recipe(Box<Recipe>),
    /// What the LoRA is called, as typed.
    Name(String),
    /// Which base to train upon, and what it asks for.
    Base {
        /// Its id.
        id: BaseId,
        /// Which presets fit.
        size: ModelSize,
        /// Which sizes it takes.
        sides: Sides,
    },
    /// Which VAE is taken; none: the base's own.
    Vae(Option<VaeId>),
    /// Which copier to build upon; none: one of the run's own.
    Copier(Option<Box<CopierInfo>>),
    /// What previews show.
    PreviewPrompt(String),
    /// Which noise previews start from.
    PreviewSeed(u64),
    /// The same, as typed.
    PreviewSeedTyped(String),
    /// Steps between previews, 0 for none; not given: a quarter of the steps.
    PreviewEvery(Option<u32>),
    /// The same, as typed; empty where it is not given.
    PreviewEveryTyped(String),
}

impl Setting {
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Method(_) => "Choose method",
            Self::ChangeKind(_) => "Choose what changes",
            Self::Effort(_) => "Choose effort",
            Self::Capacity(_) => "Choose size",
            // Labels of fields differ, so that dragging one does not join another.
            Self::Field(field, _) => field.label,
            Self::Reset(_) | Self::ResetAll => "Reset",
            Self::Recipe(_) => "Load recipe",
            Self::Name(_) => "Name",
            Self::Base { .. } => "Choose base",
            Self::Vae(_) => "Choose VAE",
            Self::Copier(_) => "Choose copier",
            Self::PreviewPrompt(_) => "Preview prompt",
            Self::PreviewSeed(_) | Self::PreviewSeedTyped(_) => "Preview seed",
            Self::PreviewEvery(_) | Self::PreviewEveryTyped(_) => "Preview interval",
        }
    }

    /// Whether many of it in a row are one change: typing, or a slider.
    pub(super) const fn is_dragged(&self) -> bool {
        matches!(
            self,
            Self::Field(..)
                | Self::Name(_)
                | Self::PreviewPrompt(_)
                | Self::PreviewSeed(_)
                | Self::PreviewSeedTyped(_)
        )
    }
}

/// What has to be drawn again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// The pair, its frame, its difference.
    pub pictures: bool,
    /// This part of the mask.
    pub mask: Option<Rect>,
    /// All of the mask: it may have another size.
    pub whole_mask: bool,
    /// Which pairs there are, which one is on the stage, and what is said of them.
    pub set: bool,
    /// Recipe, name or base.
    pub settings: bool,
}

impl Change {
    pub(crate) fn pictures() -> Self {
        Self {
            pictures: true,
            ..Self::default()
        }
    }

    pub(crate) fn whole_mask() -> Self {
        Self {
            whole_mask: true,
            ..Self::default()
        }
    }

    pub(crate) fn set() -> Self {
        Self {
            set: true,
            ..Self::default()
        }
    }

    /// Another pair is on the stage, or the same one with other pictures.
    pub(crate) fn another_pair() -> Self {
        Self::pictures().and(Self::whole_mask()).and(Self::set())
    }

    pub(crate) fn settings() -> Self {
        Self {
            settings: true,
            ..Self::default()
        }
    }

    pub(crate) fn everything() -> Self {
        Self::another_pair().and(Self::settings())
    }

    pub(crate) fn mask(dirty: Rect) -> Self {
        Self {
            mask: (!dirty.is_empty()).then_some(dirty),
            ..Self::default()
        }
    }

    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let mask = match (self.mask, other.mask) {
            (Some(mine), Some(theirs)) => Some(mine.union(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
        Self {
            pictures: self.pictures || other.pictures,
            mask,
            whole_mask: self.whole_mask || other.whole_mask,
            set: self.set || other.set,
            settings: self.settings || other.settings,
        }
    }

    /// Whether nothing has to be drawn again.
    #[must_use]
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// Where on the page something is wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Where {
    /// At one well.
    Well(Slot),
    /// At the pair.
    Pair,
    /// At the table of the pairs.
    Set,
    /// At the mask.
    Mask,
    /// At a field of the recipe.
    Field(&'static Field),
    /// At the recipe.
    Recipe,
    /// At the seed of the previews.
    PreviewSeed,
    /// At the interval of the previews.
    PreviewEvery,
}

/// Why something was not done: one sentence that also says what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{sentence}")]
pub struct Refusal {
    /// Where to say it.
    pub place: Where,
    /// What to say.
    pub sentence: String,
}

impl Refusal {
    /// A refusal.
    #[must_use]
    pub const fn new(place: Where, sentence: String) -> Self {
        Self { place, sentence }
    }

    pub(super) fn at(mut self, place: Where) -> Self {
        self.place = place;
        self
    }

    pub(super) fn no_pair() -> Self {
        let sentence = "This needs A and B. Add the missing picture first.";
        Self::new(Where::Pair, sentence.to_owned())
    }

    pub(super) fn no_original() -> Self {
        let sentence = "There is no A to make B from. Add it first.";
        Self::new(Where::Well(Slot::Original), sentence.to_owned())
    }

    pub(super) fn nothing_painted() -> Self {
        let sentence = "Nothing is painted. Paint the mask first, or edit the whole picture.";
        Self::new(Where::Mask, sentence.to_owned())
    }
}
