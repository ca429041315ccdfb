//! The workbench: everything a user changes, the commands that change it, and undo.
//!
//! [`Workbench::apply`] is the one way in. It answers what changed, so that the page redraws that
//! and nothing else.

mod command;
#[cfg(test)]
pub(crate) mod examples;
mod history;
mod mask;
mod pairs;
mod set;
mod state;

use std::sync::Arc;

use mimeo_image::{ImageError, Mask, Rect, StrokeUnderWay};

pub use command::{
    Change, Command, MaskCommand, NewPair, PairsCommand, Refusal, Remedy, Setting, Where,
};
pub use history::History;
pub use set::{Pair, Set};
pub use state::{Pictures, PreviewSettings, Settings, State};

use crate::frame::Frame;
use crate::picture::{Picture, Slot};
use history::{Restore, Step};

/// The state, what can be undone, and the stroke under way.
#[derive(Debug, Default)]
pub struct Workbench {
    state: State,
    history: History,
    stroke: Option<StrokeUnderWay>,
}

impl Workbench {
    /// A workbench that goes on where another one was.
    #[must_use]
    pub fn with_state(state: State) -> Self {
        Self {
            state,
            ..Self::default()
        }
    }

    /// Everything a user changes.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The pairs.
    #[must_use]
    pub const fn set(&self) -> &Set {
        &self.state.set
    }

    /// The pair on the stage.
    #[must_use]
    pub fn pair(&self) -> &Pair {
        self.state.set.pair()
    }

    /// A and B of the pair on the stage in one frame, if there is a picture.
    #[must_use]
    pub fn frame(&self) -> Option<&Frame> {
        self.pair().frame()
    }

    /// Its mask, at the frame's size; there is one as soon as there is a frame.
    #[must_use]
    pub fn mask(&self) -> Option<&Mask> {
        self.pair().mask()
    }

    /// Its picture in a well.
    #[must_use]
    pub fn picture(&self, slot: Slot) -> Option<&Arc<Picture>> {
        self.pair().picture(slot)
    }

    /// Recipe, name and base.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.state.settings
    }

    /// What can be undone.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// Whether a stroke is under way.
    #[must_use]
    pub const fn is_painting(&self) -> bool {
        self.stroke.is_some()
    }

    /// Does what a user wants.
    ///
    /// # Errors
    /// [`Refusal`], and then nothing has changed.
    pub fn apply(&mut self, command: Command) -> Result<Change, Refusal> {
        match command {
            Command::BeginStroke { brush, paint, at } => Ok(self.begin_stroke(brush, paint, at)),
            Command::ExtendStroke(point) => Ok(self.extend_stroke(point)),
            Command::EndStroke => Ok(self.end_stroke()),
            Command::CancelStroke => Ok(self.cancel_stroke()),
            other => {
                // What is half done is done first, or undo would put back a half.
                let ended = self.end_stroke();
                Ok(ended.and(self.apply_whole(other)?))
            }
        }
    }

    fn apply_whole(&mut self, command: Command) -> Result<Change, Refusal> {
        match command {
            Command::Place { slot, picture } => self.place(slot, picture),
            Command::PlacePair {
                original,
                target,
                mask,
            } => self.place_pair(original, target, mask),
            Command::Remove(slot) => self.set_pictures("Remove picture", |pictures| {
                pictures.set(slot, None);
            }),
            Command::Swap => self.set_pictures("Swap A and B", |pictures| {
                std::mem::swap(&mut pictures.original, &mut pictures.target);
            }),
            Command::MoveCrop { x, y } => self.move_crop((x, y)),
            Command::Remedy(remedy) => self.remedy(remedy),
            Command::MakeTarget { edit, inside_mask } => self.make_target(edit, inside_mask),
            Command::NewPair => Ok(self.start_over()),
            Command::Mask(command) => self.apply_mask(command),
            Command::Pairs(command) => self.apply_pairs(command),
            Command::Set(setting) => self.change_setting(setting),
            Command::Undo => Ok(self.history.undo(&mut self.state).unwrap_or_default()),
            Command::Redo => Ok(self.history.redo(&mut self.state).unwrap_or_default()),
            Command::BeginStroke { .. }
            | Command::ExtendStroke(_)
            | Command::EndStroke
            | Command::CancelStroke => Ok(Change::default()),
        }
    }

    fn place(&mut self, slot: Option<Slot>, picture: Arc<Picture>) -> Result<Change, Refusal> {
        let pair = self.pair();
        // Without a place: the first empty well, or B, which is what one tries again.
        let empty = Slot::ALL
            .into_iter()
            .find(|slot| pair.picture(*slot).is_none());
        let slot = slot.or(empty).unwrap_or(Slot::Target);
        let label = match slot {
            Slot::Original => "Set A",
            Slot::Target => "Set B",
        };
        let placed = self.set_pictures(label, |pictures| pictures.set(slot, Some(picture)));
        placed.map_err(|refusal| refusal.at(Where::Well(slot)))
    }

    fn place_pair(
        &mut self,
        original: Arc<Picture>,
        target: Arc<Picture>,
        mask: Option<Mask>,
    ) -> Result<Change, Refusal> {
        let change = self.set_pictures("Set A and B", |pictures| {
            pictures.original = Some(original);
            pictures.target = Some(target);
            pictures.offset = Pictures::MIDDLE;
        })?;
        let (Some(mask), Some(frame)) = (mask, self.frame()) else {
            return Ok(change);
        };
        let mask = mask.resized(frame.width(), frame.height());
        let pair = self.pair();
        let masked = pair.with(pair.pictures.clone(), Some(&mask));
        // Joins the step above: whoever undoes an example wants neither its pair nor its mask.
        let before = self.replace_pair(masked);
        self.history.extend_last(before);
        Ok(change.and(Change::whole_mask()))
    }

    fn move_crop(&mut self, offset: (f64, f64)) -> Result<Change, Refusal> {
        let clamped = (offset.0.clamp(0.0, 1.0), offset.1.clamp(0.0, 1.0));
        let pair = self.pair();
        if clamped == pair.pictures.offset {
            return Ok(Change::default());
        }
        let before = pair.pictures.crop();
        let mut pictures = pair.pictures.clone();
        pictures.offset = clamped;
        pictures.refit()?;
        let after = pictures.crop();
        let moved = before.zip(after).zip(pictures.frame.as_deref());
        let mask = moved.zip(pair.mask());
        let mask = mask.map(|(((before, after), frame), mask)| {
            mask::moved_with_crop(mask, before, after, frame.width())
        });
        let moved = pair.with(pictures, mask.as_ref());
        let restores = vec![self.replace_pair(moved)];
        self.history.push_or_join(Step::new("Move crop", restores));
        Ok(Change::pictures().and(Change::whole_mask()))
    }

    /// Replaces the pair by what comes out of `change`, with the mask refitted, as one step.
    fn set_pictures(
        &mut self,
        label: &'static str,
        change: impl FnOnce(&mut Pictures),
    ) -> Result<Change, Refusal> {
        let mut pictures = self.pair().pictures.clone();
        change(&mut pictures);
        if pictures.same_files(&self.pair().pictures) {
            return Ok(Change::default());
        }
        pictures.refit()?;
        let pair = self.pair().with_pictures(pictures);
        let restores = vec![self.replace_pair(pair)];
        self.history.push(Step::new(label, restores));
        Ok(Change::pictures().and(Change::whole_mask()))
    }

    /// Puts another pair in the place of the one on the stage.
    fn replace_pair(&mut self, pair: Pair) -> Restore {
        let at = self.state.set.chosen();
        let before = std::mem::replace(self.state.set.pair_mut(), pair);
        Restore::Pair(at, Box::new(before))
    }

    fn remedy(&mut self, remedy: Remedy) -> Result<Change, Refusal> {
        let (original, target) = self.fitted_pair()?;
        let mask = self.mask().filter(|mask| !mask.is_empty());
        let (label, made) = match remedy {
            Remedy::Align(alignment) => ("Align B", alignment.apply(target)),
            Remedy::MatchColour => (
                "Match colours",
                mimeo_image::match_colour(original, target, mask)?,
            ),
            Remedy::Composite => {
                let mask = mask.cloned();
                let mask = mask.or_else(|| Some(self.frame()?.difference()?.suggested_mask()));
                let mask = mask.ok_or_else(Refusal::no_pair)?;
                let feather = self.settings().recipe.mask.feather.get();
                (
                    "Keep A outside",
                    mimeo_image::composite(original, target, &mask, feather as u32)?,
                )
            }
        };
        self.bake(label, made)
    }

    fn make_target(
        &mut self,
        edit: mimeo_image::Edit,
        inside_mask: bool,
    ) -> Result<Change, Refusal> {
        let frame = self.frame().and_then(|frame| frame.original.as_ref());
        let original = frame.ok_or_else(Refusal::no_original)?;
        let mask = self.mask().filter(|mask| inside_mask && !mask.is_empty());
        if inside_mask && mask.is_none() {
            return Err(Refusal::nothing_painted());
        }
        let made = edit.apply(original, mask)?;
        self.bake("Make B", made)
    }

    /// Makes the pair what the frame shows, with another B: pixels that were made at the frame's
    /// size cannot follow a crop that moves.
    fn bake(&mut self, label: &'static str, target: mimeo_image::Rgb) -> Result<Change, Refusal> {
        let frame = self.frame().and_then(|frame| frame.original.clone());
        let original = frame.ok_or_else(Refusal::no_original)?;
        let name = |slot: Slot| {
            let picture = self.picture(slot);
            picture.map_or_else(
                || format!("{}.png", slot.letter()),
                |picture| picture.name.clone(),
            )
        };
        let original = Picture::made(&name(Slot::Original), original)?;
        let target = Picture::made(&name(Slot::Target), target)?;
        self.set_pictures(label, |pictures| {
            pictures.original = Some(Arc::new(original));
            pictures.target = Some(Arc::new(target));
            pictures.offset = Pictures::MIDDLE;
        })
    }

    fn fitted_pair(&self) -> Result<(&mimeo_image::Rgb, &mimeo_image::Rgb), Refusal> {
        self.frame()
            .and_then(Frame::pair)
            .ok_or_else(Refusal::no_pair)
    }

    fn change_setting(&mut self, setting: Setting) -> Result<Change, Refusal> {
        let (label, is_dragged) = (setting.label(), setting.is_dragged());
        let place = match &setting {
            Setting::Field(field, _) | Setting::Reset(field) => Where::Field(field),
            Setting::Recipe(_) | Setting::ResetAll => Where::Recipe,
            _ => Where::Pair,
        };
        let mut settings = self.state.settings.clone();
        settings.set(setting)?;
        if settings == self.state.settings {
            return Ok(Change::default());
        }
        let mut change = Change::settings();
        let mut restores = Vec::new();
        if settings.sizing() != self.settings().sizing() {
            restores = self.refit(settings.sizing(), place)?;
            change = change.and(Change::another_pair());
        }
        let before = std::mem::replace(&mut self.state.settings, settings);
        restores.push(Restore::Settings(Box::new(before)));
        let step = Step::new(label, restores);
        if is_dragged {
            self.history.push_or_join(step);
        } else {
            self.history.push(step);
        }
        Ok(change)
    }

    /// What must be true after every command; the tests ask after each.
    ///
    /// # Errors
    /// What is not.
    pub fn check(&self) -> Result<(), String> {
        let mut pairs = self.set().pairs().iter().enumerate();
        if self.set().chosen() >= self.set().pairs().len() {
            return Err("the pair on the stage is none of the set".to_owned());
        }
        pairs.try_for_each(|(at, pair)| {
            let checked = self.check_pair(pair);
            checked.map_err(|broken| format!("pair {}: {broken}", at + 1))
        })
    }

    fn check_pair(&self, pair: &Pair) -> Result<(), String> {
        let frame = pair.frame().map(|frame| (frame.width(), frame.height()));
        let mask = pair.mask().map(|mask| (mask.width(), mask.height()));
        if frame != mask {
            return Err(format!(
                "the mask {mask:?} does not lie on the frame {frame:?}"
            ));
        }
        if pair.is_empty() == frame.is_some() {
            return Err("there is a frame exactly when there is a picture".to_owned());
        }
        if pair.pictures.sizing != self.settings().sizing() {
            return Err("the pictures are fitted to another size".to_owned());
        }
        for slot in Slot::ALL {
            let fitted = pair.frame().and_then(|frame| match slot {
                Slot::Original => frame.original.as_ref(),
                Slot::Target => frame.target.as_ref(),
            });
            if fitted.is_some() != pair.picture(slot).is_some() {
                return Err(format!("{} is not what the frame shows", slot.letter()));
            }
            let size = fitted.map(|picture| (picture.width(), picture.height()));
            if size.is_some() && size != frame {
                return Err(format!("{} is not as large as the frame", slot.letter()));
            }
        }
        Ok(())
    }
}

impl From<ImageError> for Refusal {
    fn from(error: ImageError) -> Self {
        Self::new(Where::Pair, error.to_string())
    }
}

/// Everything of a mask.
fn whole(mask: &Mask) -> Rect {
    Rect::whole(mask.width(), mask.height())
}

#[cfg(test)]
mod tests;
