//! Painting, and every other change of the mask.

use mimeo_image::{
    Brush, Difference, ImageError, MAX_SIDE, Mask, MaskPatch, MaskRemedy, Paint, Rect, StrokePoint,
    StrokeUnderWay,
};
use mimeo_protocol::Range;

use super::history::{Restore, Step};
use super::{Change, MaskCommand, Refusal, Where, Workbench, whole};
use crate::frame::Frame;

impl Workbench {
    pub(super) fn begin_stroke(&mut self, brush: Brush, paint: Paint, at: StrokePoint) -> Change {
        let ended = self.end_stroke();
        let Some(mask) = self.state.set.pair_mut().mask_mut() else {
            return ended;
        };
        let mut stroke = StrokeUnderWay::begin(mask, brush, paint);
        let dirty = stroke.extend(mask, at);
        self.stroke = Some(stroke);
        ended.and(Change::mask(dirty))
    }

    pub(super) fn extend_stroke(&mut self, point: StrokePoint) -> Change {
        match (&mut self.stroke, self.state.set.pair_mut().mask_mut()) {
            (Some(stroke), Some(mask)) => Change::mask(stroke.extend(mask, point)),
            _ => Change::default(),
        }
    }

    /// Ends the stroke under way, if there is one: what it painted counts from now on.
    pub(super) fn end_stroke(&mut self) -> Change {
        let set = &self.state.set;
        let (Some(stroke), Some(mask)) = (self.stroke.take(), set.pair().mask()) else {
            return Change::default();
        };
        let Some(patch) = stroke.finish(mask) else {
            return Change::default();
        };
        let painted = patch.rect();
        let restores = vec![Restore::Patch(set.chosen(), patch)];
        self.history.push(Step::new("Paint", restores));
        Change::mask(painted)
    }

    pub(super) fn cancel_stroke(&mut self) -> Change {
        match (self.stroke.take(), self.state.set.pair_mut().mask_mut()) {
            (Some(stroke), Some(mask)) => Change::mask(stroke.abort(mask)),
            _ => Change::default(),
        }
    }

    pub(super) fn apply_mask(&mut self, command: MaskCommand) -> Result<Change, Refusal> {
        let Some(mask) = self.mask() else {
            let sentence = "There is no picture to paint on. Add A and B first.";
            return Err(Refusal::new(Where::Mask, sentence.to_owned()));
        };
        let (label, changed) = match command {
            MaskCommand::Suggest => ("Suggest mask", self.suggested()?),
            MaskCommand::Threshold(threshold) => {
                let difference = self.frame().and_then(Frame::difference);
                let difference = difference.ok_or_else(no_difference)?;
                ("Mask by difference", difference.mask_above(threshold))
            }
            MaskCommand::Clear => ("Clear mask", Mask::empty(mask.width(), mask.height())),
            MaskCommand::Invert => ("Invert mask", mask.inverted()),
            MaskCommand::Grow(radius) => ("Grow mask", mask.grown(radius)),
            MaskCommand::Shrink(radius) => ("Shrink mask", mask.shrunk(radius)),
            MaskCommand::Feather(radius) => ("Soften mask", mask.feathered(radius)),
            MaskCommand::Box(rect, paint) => ("Box", with_box(mask, rect, paint)),
            MaskCommand::BoxTyped(typed, paint) => (
                "Box",
                with_box(mask, typed_box(&typed, whole(mask))?, paint),
            ),
            MaskCommand::Lasso(points, paint) => (
                "Lasso",
                with(mask, |mask| {
                    mask.fill_polygon(&points, paint);
                }),
            ),
            MaskCommand::Fill { x, y, paint } => (
                "Fill",
                with(mask, |mask| {
                    mask.flood_fill(x, y, paint);
                }),
            ),
            MaskCommand::Import(imported) => ("Import mask", imported_onto(mask, &imported)?),
            MaskCommand::Mend(MaskRemedy::Stretch) => ("Stretch mask", mask.stretched()),
            MaskCommand::Mend(MaskRemedy::Invert) => ("Invert mask", mask.inverted()),
            MaskCommand::Mend(MaskRemedy::Grow) => ("Grow mask", mask.grown(MaskRemedy::GROWN_BY)),
            MaskCommand::Mend(MaskRemedy::MaskDifference) => ("Suggest mask", self.suggested()?),
        };
        Ok(self.replace_mask(label, changed))
    }

    fn suggested(&self) -> Result<Mask, Refusal> {
        let difference = self.frame().and_then(Frame::difference);
        Ok(suggested(difference.ok_or_else(no_difference)?))
    }

    fn replace_mask(&mut self, label: &'static str, mask: Mask) -> Change {
        let set = &mut self.state.set;
        let at = set.chosen();
        let Some(before) = set.pair_mut().mask_mut().replace(mask) else {
            return Change::default();
        };
        let patch = set.pair().mask();
        let patch = patch.and_then(|after| MaskPatch::between(&before, after));
        let Some(patch) = patch else {
            return Change::default();
        };
        let dirty = patch.rect();
        self.history
            .push(Step::new(label, vec![Restore::Patch(at, patch)]));
        Change::mask(dirty)
    }
}

/// The changed region, grown and with soft edges.
pub(super) fn suggested(difference: &Difference) -> Mask {
    let mask = difference.suggested_mask();
    // A soft edge of the margin that the suggestion leaves around the change.
    let margin = mask.width().max(mask.height()) / 64;
    mask.feathered((margin / 2).max(1))
}

fn with_box(mask: &Mask, rect: Rect, paint: Paint) -> Mask {
    with(mask, |mask| {
        let value = match paint {
            Paint::Learn => 255,
            Paint::Leave => 0,
        };
        mask.fill_rect(rect, value);
    })
}

/// A rectangle as it was typed; what reaches beyond the frame is cut off, as it is of one that is
/// drawn.
fn typed_box([left, top, width, height]: &[String; 4], frame: Rect) -> Result<Rect, Refusal> {
    let number = |text: &str, name, first: u32, last: u32| {
        let range = Range {
            name,
            min: first.into(),
            max: last.into(),
            is_whole: true,
        };
        let number = range.parse(text);
        number
            // In range, so that nothing is cut off.
            .map(|number| number as u32)
            .map_err(|error| Refusal::new(Where::Mask, error.to_string()))
    };
    let rect = Rect {
        x: number(left, "Left", 0, frame.width - 1)?,
        y: number(top, "Top", 0, frame.height - 1)?,
        width: number(width, "Width", 1, MAX_SIDE)?,
        height: number(height, "Height", 1, MAX_SIDE)?,
    };
    Ok(rect.clipped(frame.width, frame.height))
}

fn with(mask: &Mask, change: impl FnOnce(&mut Mask)) -> Mask {
    let mut changed = mask.clone();
    change(&mut changed);
    changed
}

/// A mask from a file, at the frame's size.
///
/// An empty mask means to learn wherever A and B differ, which nobody says with a file.
fn imported_onto(mask: &Mask, imported: &Mask) -> Result<Mask, Refusal> {
    let (width, height) = (mask.width(), mask.height());
    let refused = |error: ImageError| Refusal::new(Where::Mask, error.to_string());
    if imported.is_empty() {
        return Err(refused(ImageError::EmptyMask));
    }
    let resized = imported.resized(width, height);
    if resized.is_empty() {
        return Err(refused(ImageError::MaskVanishes { width, height }));
    }
    Ok(resized)
}

fn no_difference() -> Refusal {
    let sentence = "A and B do not differ yet. Add two pictures that differ first.";
    Refusal::new(Where::Mask, sentence.to_owned())
}

/// A mask that stays on what it was painted on while the crop moves over the picture.
pub(super) fn moved_with_crop(mask: &Mask, before: Rect, after: Rect, frame_width: u32) -> Mask {
    let scale = f64::from(frame_width) / f64::from(after.width.max(1));
    let shift = |from: u32, to: u32| ((f64::from(from) - f64::from(to)) * scale).round() as i64;
    let (dx, dy) = (shift(before.x, after.x), shift(before.y, after.y));
    let area = whole(mask);
    let values = (0..area.height)
        .flat_map(|y| (0..area.width).map(move |x| (i64::from(x) - dx, i64::from(y) - dy)))
        .map(|(x, y)| {
            let inside = u32::try_from(x).ok().zip(u32::try_from(y).ok());
            inside
                .and_then(|(x, y)| mask.value(x, y))
                .unwrap_or_default()
        })
        .collect();
    // As many values as the mask had.
    Mask::new(area.width, area.height, values).unwrap_or_else(|_| mask.clone())
}
