//! The values that commands change and undo puts back.

use std::sync::Arc;

use mimeo_image::{ImageError, Mask, Rect, Sizing};
use mimeo_protocol::fields::Field;
use mimeo_protocol::{
    BaseId, CopierInfo, InvalidNumber, InvalidSeed, Method, ModelSize, Range, Recipe, Resolution,
    Steps, VaeId, parse_seed,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::command::{Refusal, Setting, Where};
use super::set::Set;
use crate::copiers::GivenCopier;
use crate::fields::{FieldInRecipe as _, edited};
use crate::frame::{Frame, Sides};
use crate::picture::{Picture, Slot};
use crate::plain;
use crate::prompts::with_syntax;

/// Everything a user changes.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The pairs.
    pub set: Set,
    /// Recipe, name and base.
    pub settings: Settings,
}

/// The pair, its crop, and the frame that they make.
#[derive(Debug, Clone)]
pub struct Pictures {
    /// A.
    pub original: Option<Arc<Picture>>,
    /// B.
    pub target: Option<Arc<Picture>>,
    /// Where the crop is; 0.5 is the middle.
    pub offset: (f64, f64),
    /// Which size they are brought to.
    pub sizing: Sizing,
    /// A and B as they are trained.
    pub frame: Option<Arc<Frame>>,
}

impl Default for Pictures {
    fn default() -> Self {
        Self {
            original: None,
            target: None,
            offset: Self::MIDDLE,
            sizing: Settings::default().sizing(),
            frame: None,
        }
    }
}

impl Pictures {
    /// Where the crop is at first.
    pub const MIDDLE: (f64, f64) = (0.5, 0.5);

    /// The picture in a well.
    #[must_use]
    pub const fn get(&self, slot: Slot) -> Option<&Arc<Picture>> {
        match slot {
            Slot::Original => self.original.as_ref(),
            Slot::Target => self.target.as_ref(),
        }
    }

    pub(super) fn set(&mut self, slot: Slot, picture: Option<Arc<Picture>>) {
        match slot {
            Slot::Original => self.original = picture,
            Slot::Target => self.target = picture,
        }
    }

    /// Lays the pictures onto each other again.
    ///
    /// # Errors
    /// Those of [`Frame::of`].
    pub fn refit(&mut self) -> Result<(), ImageError> {
        let (original, target) = (self.original.as_deref(), self.target.as_deref());
        self.frame = Frame::of(original, target, self.offset, self.sizing)?.map(Arc::new);
        Ok(())
    }

    /// What is kept of the picture whose frame it is, in its own px.
    pub(super) fn crop(&self) -> Option<Rect> {
        let anchor = if self.original.is_some() {
            Slot::Original
        } else {
            Slot::Target
        };
        self.crop_of(anchor)
    }

    /// What is kept of a picture, in its own px.
    #[must_use]
    pub fn crop_of(&self, slot: Slot) -> Option<Rect> {
        let (picture, frame) = (self.get(slot)?, self.frame.as_ref()?);
        let (width, height) = (picture.pixels.width(), picture.pixels.height());
        let fit = mimeo_image::Fit::covering(width, height, (frame.width(), frame.height()));
        Some(fit.ok()?.with_offset(self.offset.0, self.offset.1).crop())
    }

    pub(super) fn same_files(&self, other: &Self) -> bool {
        let ids = |pictures: &Self| {
            Slot::ALL.map(|slot| {
                pictures
                    .get(slot)
                    .map(|picture| (picture.id, picture.name.clone()))
            })
        };
        ids(self) == ids(other) && self.offset == other.offset
    }

    /// Memory it takes, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let pictures = [&self.original, &self.target].into_iter().flatten();
        let pictures: usize = pictures.map(|picture| picture.bytes()).sum();
        pictures + self.frame.as_ref().map_or(0, |frame| frame.bytes())
    }

    /// As [`Self::bytes`], but of what others hold as well its part only: so a move from pair to pair
    /// counts for nothing, and a picture that nobody else holds for all of it.
    pub(super) fn own_bytes(&self) -> usize {
        let pictures = [&self.original, &self.target].into_iter().flatten();
        let parts = pictures.map(|picture| picture.bytes() / Arc::strong_count(picture));
        let frame = self.frame.as_ref();
        let frame = frame.map_or(0, |frame| frame.bytes() / Arc::strong_count(frame));
        parts.sum::<usize>() + frame
    }
}

/// Recipe, name and base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Which base to train upon.
    pub base: BaseId,
    /// The VAE that is taken; none: the base's own.
    #[serde(default)]
    pub vae: Option<VaeId>,
    /// The copier that is built upon; none: one of the run's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copier: Option<GivenCopier>,
    /// Which presets fit the base.
    pub size: ModelSize,
    /// Which sizes the base takes.
    #[serde(with = "sides")]
    pub sides: Sides,
    /// The method and its numbers.
    pub recipe: Recipe,
    /// What the LoRA is called, as typed.
    pub name: String,
    /// What previews show.
    pub previews: PreviewSettings,
}

/// What previews show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewSettings {
    /// What to draw.
    pub prompt: String,
    /// Which noise it starts from.
    pub seed: u64,
    /// Steps between previews, 0 for none; not given: a quarter of the steps.
    pub every: Option<u32>,
}

impl PreviewSettings {
    /// What may be typed as an interval: a number of steps, or none.
    const EVERY: Range = Range {
        name: "Every",
        min: 0.0,
        ..Steps::RANGE
    };

    /// Steps between previews of a pass of so many steps; 0 for none.
    #[must_use]
    pub fn interval(&self, steps: u32) -> u32 {
        self.every.unwrap_or_else(|| steps.div_ceil(4))
    }
}

impl Default for Settings {
    fn default() -> Self {
        let size = ModelSize::Small;
        Self {
            base: BaseId::bundled(),
            vae: None,
            copier: None,
            size,
            sides: Sides {
                long: 128,
                multiple: 32,
            },
            recipe: Recipe::preset(Method::Copier, size),
            name: String::new(),
            previews: PreviewSettings {
                prompt: String::new(),
                seed: 1,
                every: None,
            },
        }
    }
}

impl Settings {
    /// Which size the pair is trained at.
    #[must_use]
    pub fn sizing(&self) -> Sizing {
        Sizing {
            multiple: self.sides.multiple,
            native_side: self.sides.long,
            resolution: self.recipe.resolution.map(Resolution::get),
        }
    }

    /// What the recipe would be without the user.
    #[must_use]
    pub fn defaults(&self) -> Recipe {
        Recipe::preset(self.recipe.method, self.size)
    }

    /// Fields that the user changed.
    #[must_use]
    pub fn edited(&self) -> Vec<&'static Field> {
        edited(&self.recipe, &self.defaults())
    }

    pub(super) fn set(&mut self, setting: Setting) -> Result<(), Refusal> {
        match setting {
            Setting::Method(method) => {
                self.recipe = plain::change_method(&self.recipe, method, self.size);
            }
            Setting::ChangeKind(effect) => self.recipe.pass.timesteps = effect.timesteps(),
            Setting::Effort(effort) => {
                self.recipe.pass.steps = effort.steps(self.recipe.method, self.size);
            }
            Setting::Capacity(capacity) => {
                let (rank, alpha) = capacity.rank(self.recipe.method, self.size);
                (self.recipe.pass.rank, self.recipe.pass.alpha) = (rank, alpha);
            }
            Setting::Field(field, value) => self.set_field(field, value)?,
            Setting::Reset(field) => self.set_field(field, field.value(&self.defaults()))?,
            Setting::ResetAll => self.recipe = self.defaults(),
            Setting::Recipe(recipe) => {
                let checked = recipe.check();
                checked.map_err(|error| Refusal::new(Where::Recipe, error.to_string()))?;
                self.recipe = with_syntax(*recipe);
                self.copier = None;
            }
            Setting::Name(name) => self.name = name,
            Setting::Base { id, size, sides } => {
                self.recipe = plain::change_size(&self.recipe, self.size, size);
                if self.base != id {
                    self.forget_said();
                }
                (self.base, self.size, self.sides) = (id, size, sides);
            }
            Setting::Vae(vae) => self.vae = vae,
            Setting::Copier(copier) => self.build_upon(copier.as_deref()),
            Setting::PreviewPrompt(prompt) => self.previews.prompt = prompt,
            Setting::PreviewSeed(seed) => self.previews.seed = seed,
            Setting::PreviewSeedTyped(text) => {
                let seed = parse_seed(&text);
                let refused =
                    |error: InvalidSeed| Refusal::new(Where::PreviewSeed, error.to_string());
                self.previews.seed = seed.map_err(refused)?;
            }
            Setting::PreviewEvery(every) => self.previews.every = every,
            Setting::PreviewEveryTyped(text) if text.trim().is_empty() => {
                self.previews.every = None;
            }
            Setting::PreviewEveryTyped(text) => {
                let every = PreviewSettings::EVERY.parse(&text);
                let refused =
                    |error: InvalidNumber| Refusal::new(Where::PreviewEvery, error.to_string());
                // In range, so that nothing is cut off.
                self.previews.every = Some(every.map_err(refused)? as u32);
            }
        }
        let kind = self.recipe.copier.kind;
        self.copier.take_if(|given| given.kind != kind);
        Ok(())
    }

    fn build_upon(&mut self, copier: Option<&CopierInfo>) {
        let kind = &mut self.recipe.copier.kind;
        if let Some(given) = self.copier.take() {
            *kind = given.before;
        }
        self.copier = copier.map(|copier| GivenCopier {
            file: copier.file.sha256,
            name: copier.name.clone(),
            kind: copier.kind,
            before: std::mem::replace(kind, copier.kind),
        });
    }

    /// The copier that is built upon, if the method builds upon one.
    #[must_use]
    pub fn given_copier(&self) -> Option<&GivenCopier> {
        let is_used = self.recipe.method == Method::Copier;
        self.copier.as_ref().filter(|_| is_used)
    }

    /// What was said of one base says nothing of another, and neither are its VAE and copier for that.
    fn forget_said(&mut self) {
        self.vae = None;
        self.build_upon(None);
        let recipe = &mut self.recipe;
        (recipe.prediction_type, recipe.zero_terminal_snr) = (None, None);
        recipe.clip_skip = None;
    }

    fn set_field(&mut self, field: &'static Field, value: Value) -> Result<(), Refusal> {
        let with = field.with(&self.recipe, value);
        self.recipe = with.map_err(|why| Refusal::new(Where::Field(field), why))?;
        Ok(())
    }
}

/// [`Sides`] as two numbers.
mod sides {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::Sides;

    pub fn serialize<S: Serializer>(sides: &Sides, serializer: S) -> Result<S::Ok, S::Error> {
        (sides.long, sides.multiple).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Sides, D::Error> {
        let (long, multiple) = <(u32, u32)>::deserialize(deserializer)?;
        Ok(Sides { long, multiple })
    }
}

/// The mask for a frame: scaled if it was painted at another size, from the alpha channel of a
/// picture if nothing is painted, else empty.
pub(super) fn for_frame(mask: Option<&Mask>, frame: Option<&Frame>) -> Option<Mask> {
    let frame = frame?;
    let (width, height) = (frame.width(), frame.height());
    let painted = mask.filter(|mask| !mask.is_empty());
    let mask = match (painted, &frame.alpha) {
        (Some(mask), _) | (None, Some(mask)) => mask,
        (None, None) => return Some(Mask::empty(width, height)),
    };
    if (mask.width(), mask.height()) == (width, height) {
        return Some(mask.clone());
    }
    Some(mask.resized(width, height))
}
