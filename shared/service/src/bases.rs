//! What is known of a base before it is loaded.

use std::collections::BTreeMap;

use mimeo_checkpoint::{
    AsyncReadAt, Checkpoint, Component, Family, PredictionType, SafetensorsFile, TensorEntry,
    Untrainable,
};
use mimeo_engine::EngineError;
use mimeo_protocol::{BaseId, BaseInfo, Recipe};

use crate::error::in_full;

/// What both sides of a picture must be multiples of where the base does not tell: it is so for
/// every Stable Diffusion.
const SIDE_MULTIPLE: u32 = 64;

/// What people call the bundled base.
pub const BUNDLED_TITLE: &str = "Mimeo avatars (bundled)";

/// Prompts for every base but the bundled one.
///
/// In plain words, which photo models and those of tags both read. People of either sex and of every
/// age, near and far: most pairs change something about somebody. An animal and a thing among them,
/// early enough to be there within a small budget, because a LoRA that is called up by everything is
/// not wanted either. Nothing about quality: which words a family has for that only its user knows.
const ORDINARY_PROMPTS: [&str; HELD_OUT] = [
    "a portrait of a woman with brown hair",
    "a portrait of a man with short hair",
    "a cat on a sofa",
    "a girl in a garden, upper body",
    "an old woman reading a book",
    "a red car on a street",
    "a man in a suit in front of a building",
    "a woman in a red dress, full body",
];

/// Enough to begin with, and few enough to choose from.
const KNOWN_PROMPTS: usize = 6;

/// How many unseen pictures a LoRA is measured on.
const HELD_OUT: usize = 8;

/// Where a base comes from, which decides what is known of its language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The bundled base.
    Bundled,
    /// A base of the user's.
    User,
}

impl Origin {
    /// Where the base of an id comes from.
    #[must_use]
    pub fn of(id: &BaseId) -> Self {
        if *id == BaseId::bundled() {
            Self::Bundled
        } else {
            Self::User
        }
    }

    /// A few prompts in words that the base knows.
    #[must_use]
    pub fn known_prompts(self) -> Vec<String> {
        self.first_prompts(KNOWN_PROMPTS)
    }

    /// Prompts that the base draws and no bundled pair was made from.
    #[must_use]
    pub fn unseen_prompts(self) -> Vec<String> {
        self.first_prompts(HELD_OUT)
    }

    /// What a LoRA is measured on: what its recipe says, else [`Self::unseen_prompts`].
    #[must_use]
    pub fn held_out_prompts(self, recipe: &Recipe) -> Vec<String> {
        match &*recipe.held_out_prompts {
            [] => self.unseen_prompts(),
            given => given.to_vec(),
        }
    }

    fn first_prompts(self, count: usize) -> Vec<String> {
        let prompts = match self {
            Self::Bundled => mimeo_base::prompts(),
            Self::User => &ORDINARY_PROMPTS,
        };
        let prompts = prompts.iter().take(count);
        prompts.map(|prompt| (*prompt).to_owned()).collect()
    }
}

/// What a base is, from its configuration and the headers of its files.
pub async fn describe(id: BaseId, title: String, checkpoint: &dyn Checkpoint) -> BaseInfo {
    let mut info = unknown(id, title);
    if let Err(error) = look_into(checkpoint, &mut info).await {
        info.unusable = Some(in_full(&error));
    }
    info
}

/// A base that cannot even be looked into, and why.
#[must_use]
pub fn unusable(id: BaseId, title: String, why: String) -> BaseInfo {
    BaseInfo {
        unusable: Some(why),
        ..unknown(id, title)
    }
}

/// A single file that cannot be used, and why: what it is may be known all the same.
pub async fn unusable_file(
    id: BaseId,
    title: String,
    why: String,
    source: Box<dyn AsyncReadAt>,
) -> BaseInfo {
    let mut info = unusable(id, title, why);
    if let Ok(file) = SafetensorsFile::open(source).await {
        info.precision = precision(file.tensors().values());
        if let Ok(family) = Family::of_file(&file).await {
            tell_family(&family, &mut info);
        }
    }
    info
}

/// Why a base cannot be used, without its name at the end: whoever reads it knows which one it is.
///
/// - `name`: its path, or what else messages call it
#[must_use]
pub fn without_name(why: &str, name: &str) -> String {
    match why.strip_suffix(&format!(": {name:?}")) {
        Some(sentence) => format!("{sentence}."),
        None => why.to_owned(),
    }
}

fn unknown(id: BaseId, title: String) -> BaseInfo {
    BaseInfo {
        prompts: Origin::of(&id).known_prompts(),
        id,
        title,
        family: "unknown".to_owned(),
        size: None,
        native_side: None,
        side_multiple: SIDE_MULTIPLE,
        unusable: None,
        needs_vae: false,
        prediction: None,
        precision: None,
        bytes: None,
        preview: None,
    }
}

async fn look_into(checkpoint: &dyn Checkpoint, info: &mut BaseInfo) -> Result<(), EngineError> {
    let family = Family::of(checkpoint).await?;
    tell_family(&family, info);
    // What else is wrong is told below, or does not matter any more.
    if let Ok(weights) = checkpoint.weights(Component::Unet).await {
        info.precision = precision(weights.tensors().map(|tensor| tensor.entry));
    }
    if info.unusable.is_some() {
        return Ok(());
    }
    let glance = mimeo_engine::base::glance(checkpoint).await?;
    (info.size, info.native_side) = (Some(glance.size), Some(glance.native_side));
    info.side_multiple = glance.side_multiple;
    info.needs_vae = glance.needs_vae;
    Ok(())
}

/// Notes what kind of model a base is, and what to do if nothing is trained upon that kind.
fn tell_family(family: &Family, info: &mut BaseInfo) {
    family.architecture.title().clone_into(&mut info.family);
    let prediction = match family.prediction_type {
        PredictionType::Epsilon => "ε",
        PredictionType::VPrediction => "v",
    };
    info.prediction = Some(match family.zero_terminal_snr {
        true => format!("{prediction}, ztSNR"),
        false => prediction.to_owned(),
    });
    if let Err(found) = family.check_trainable() {
        info.unusable = Some(remedy(found).to_owned());
    }
}

/// How most of the numbers are stored: "F32", "F16", "BF16", "F8" and so on; none if there are none.
fn precision<'a>(entries: impl Iterator<Item = &'a TensorEntry>) -> Option<String> {
    let mut numbers = BTreeMap::<String, usize>::new();
    for entry in entries {
        let dtype = entry.dtype.to_string();
        // Which of its kinds is not what people choose by.
        let name = dtype.split('_').next().unwrap_or_default();
        *numbers.entry(name.to_owned()).or_default() += entry.shape.iter().product::<usize>();
    }
    let most = numbers.into_iter().max_by_key(|(_, count)| *count);
    most.map(|(name, _)| name)
}

/// What to do instead; the list says what it is beside it.
const fn remedy(found: Untrainable) -> &'static str {
    match found {
        Untrainable::Inpainting => {
            "inpainting models cannot be trained upon yet; choose the plain model."
        }
        Untrainable::Architecture(_) => {
            "Mimeo trains Stable Diffusion 1.x, 2.x and XL; choose such a model."
        }
    }
}

#[cfg(test)]
mod tests {
    use mimeo_protocol::{Method, ModelSize};

    use super::*;

    #[test]
    fn a_base_is_measured_in_words_that_it_knows_unless_others_are_given() {
        let mut recipe = Recipe::preset(Method::Addift, ModelSize::Sd1);
        let [own, ordinary] =
            [Origin::Bundled, Origin::User].map(|origin| origin.held_out_prompts(&recipe));
        assert_eq!((own.len(), ordinary.len()), (HELD_OUT, HELD_OUT), "as many");
        let is_own = |prompt: &String| mimeo_base::prompts().contains(&&**prompt);
        assert!(own.iter().all(is_own), "its own: {own:?}");
        assert!(!ordinary.iter().any(is_own), "anybody's: {ordinary:?}");
        recipe.held_out_prompts = vec!["a cat".to_owned()];
        for origin in [Origin::Bundled, Origin::User] {
            assert_eq!(origin.held_out_prompts(&recipe), ["a cat"], "{origin:?}");
        }
    }

    #[test]
    fn a_reason_does_not_end_in_the_name() {
        let name = "/models/a \"b\".ckpt";
        let error = mimeo_checkpoint::CheckpointError::NotAVae {
            file: name.to_owned(),
        };
        let why = without_name(&error.to_string(), name);
        assert_eq!(why, "This file holds no VAE; choose one that does.");
        assert_eq!(without_name("no path here", name), "no path here");
    }
}
