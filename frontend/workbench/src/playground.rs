//! Drawing with any LoRAs: what is set, what is on its way, and what was drawn.

use mimeo_protocol::fields::{FIELDS, Field, Group};
use mimeo_protocol::{
    BaseId, BaseInfo, BlobId, GuidanceRescale, LoraRef, PreviewRequest, PromptSyntax, Said,
    Strength, VaeId,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fields::{FieldInRecipe as _, text_of};

/// Pictures that are kept; the oldest goes first.
pub const MAX_DRAWINGS: usize = 24;

/// A LoRA to draw with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Active {
    /// Which.
    pub lora: LoraRef,
    /// What it is called.
    pub name: String,
    /// How strong.
    pub strength: Strength,
    /// What of it is not applied, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

/// Everything that decides what a picture looks like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlaygroundSettings {
    /// The base that draws.
    pub base: BaseId,
    /// The VAE that decodes; none: the base's own.
    #[serde(default)]
    pub vae: Option<VaeId>,
    /// What is said of the base.
    #[serde(default)]
    pub said: Said,
    /// How much of the contrast that guidance adds is taken back; none: as much as suits the base.
    #[serde(default)]
    pub guidance_rescale: Option<GuidanceRescale>,
    /// What to draw.
    pub prompt: String,
    /// What to keep away from.
    pub negative_prompt: String,
    /// How both are read.
    #[serde(default = "usual_syntax")]
    pub prompt_syntax: PromptSyntax,
    /// The noise it starts from.
    pub seed: u64,
    /// The LoRAs, each once.
    pub loras: Vec<Active>,
}

/// Settings that were kept before prompts had a syntax.
const fn usual_syntax() -> PromptSyntax {
    PromptSyntax::USUAL
}

impl Default for PlaygroundSettings {
    fn default() -> Self {
        Self {
            base: BaseId::bundled(),
            vae: None,
            said: Said::default(),
            guidance_rescale: None,
            prompt: String::new(),
            negative_prompt: String::new(),
            prompt_syntax: PromptSyntax::USUAL,
            seed: 0,
            loras: Vec::new(),
        }
    }
}

impl PlaygroundSettings {
    /// What to ask the companion for.
    #[must_use]
    pub fn request(&self) -> PreviewRequest {
        let loras = self.loras.iter();
        PreviewRequest {
            vae: self.vae.clone(),
            said: self.said,
            loras: loras.map(|active| (active.lora, active.strength)).collect(),
            negative_prompt: self.negative_prompt.clone(),
            prompt_syntax: self.prompt_syntax,
            guidance_rescale: self.guidance_rescale,
            ..PreviewRequest::new(self.base.clone(), self.prompt.clone(), self.seed)
        }
    }

    /// Chooses a base. What was said of another one says nothing of it.
    pub fn choose_base(&mut self, id: BaseId) {
        if self.base != id {
            (self.base, self.vae, self.said) = (id, None, Said::default());
        }
    }

    /// What can be said of the base, as recipes do.
    pub fn said_fields() -> impl Iterator<Item = &'static Field> {
        FIELDS.iter().filter(|field| field.group == Group::Base)
    }

    /// What is said of the base in one of these fields, as it stands in its box.
    #[must_use]
    pub fn said_in(&self, field: &Field) -> String {
        let said = serde_json::to_value(self.said).unwrap_or_default();
        said.pointer(field.path).map(text_of).unwrap_or_default()
    }

    /// Says something of the base.
    ///
    /// # Errors
    /// The sentence that says why it cannot be said.
    pub fn say(&mut self, field: &Field, text: &str) -> Result<(), String> {
        let mut said = serde_json::to_value(self.said).unwrap_or_default();
        if let Value::Object(fields) = &mut said {
            let key = field.path.trim_start_matches('/');
            fields.insert(key.to_owned(), field.parse(text));
        }
        self.said = serde_json::from_value(said).map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Sets how much of guidance's contrast is taken back; nothing typed is as much as suits the base.
    ///
    /// # Errors
    /// The sentence that says why that cannot be.
    pub fn set_guidance_rescale(&mut self, text: &str) -> Result<(), String> {
        let text = text.trim();
        let typed = (!text.is_empty()).then(|| text.parse::<GuidanceRescale>());
        self.guidance_rescale = typed.transpose().map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Adds a LoRA at strength 1.
    ///
    /// # Errors
    /// A sentence when it is there already, or there are too many.
    pub fn add(&mut self, lora: LoraRef, name: &str) -> Result<(), String> {
        let limit = PreviewRequest::MAX_LORAS;
        if self.loras.iter().any(|active| active.lora == lora) {
            return Err(format!(
                "{name} is in the list already. Change its strength there."
            ));
        }
        if self.loras.len() >= limit {
            return Err(format!(
                "At most {limit} LoRAs are active at once. Remove one before you add {name}."
            ));
        }
        self.loras.push(Active {
            lora,
            name: name.to_owned(),
            strength: Strength::constant(1.0),
            remark: None,
        });
        Ok(())
    }

    /// Notes what of a LoRA is not applied; none if all of it is.
    pub fn set_remark(&mut self, lora: LoraRef, remark: Option<String>) {
        if let Some(active) = self.loras.iter_mut().find(|active| active.lora == lora) {
            active.remark = remark;
        }
    }

    /// Takes a LoRA away.
    pub fn remove(&mut self, lora: LoraRef) {
        self.loras.retain(|active| active.lora != lora);
    }

    /// Sets how strong a LoRA is; what is no strength changes nothing.
    pub fn set_strength(&mut self, lora: LoraRef, strength: f64) {
        let active = self.loras.iter_mut().find(|active| active.lora == lora);
        if let (Some(active), Ok(strength)) = (active, Strength::try_from(strength)) {
            active.strength = strength;
        }
    }

    /// The settings in one line, as they stand below a picture: "glasses +1, smile +0.5 · seed 3".
    #[must_use]
    pub fn describe(&self) -> String {
        let name = |active: &Active| {
            let strength = crate::words::strength(active.strength.get());
            format!("{} {strength}", active.name)
        };
        let mut parts = Vec::new();
        if !self.loras.is_empty() {
            parts.push(self.loras.iter().map(name).collect::<Vec<_>>().join(", "));
        }
        if !self.negative_prompt.is_empty() {
            parts.push(format!("not: {}", self.negative_prompt));
        }
        parts.push(format!("seed {}", self.seed));
        parts.join(" \u{b7} ")
    }
}

/// A picture and how it was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawing {
    /// How.
    pub settings: PlaygroundSettings,
    /// The picture, a PNG.
    pub picture: BlobId,
}

/// What is on its way and what was drawn.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Playground {
    /// The newest first.
    drawings: Vec<Drawing>,
    /// The latest wish that was not asked for yet.
    wished: Option<PlaygroundSettings>,
    /// On its way.
    asked: Option<PlaygroundSettings>,
    trouble: Option<String>,
}

impl Playground {
    /// Wants a picture; of several wishes the latest comes next.
    pub fn wish(&mut self, settings: PlaygroundSettings) {
        self.trouble = None;
        self.wished = Some(settings);
    }

    /// What to ask for now, which counts as asked from here on; none while something is on its way.
    pub fn ask(&mut self) -> Option<PlaygroundSettings> {
        if self.asked.is_none() {
            self.asked = self.wished.take();
            return self.asked.clone();
        }
        None
    }

    /// What came of what was asked for; the sentence says why nothing did.
    pub fn answered(&mut self, answer: Result<BlobId, String>) {
        let Some(settings) = self.asked.take() else {
            return;
        };
        match answer {
            Ok(picture) => {
                let drawing = Drawing { settings, picture };
                // Drawn again, the same settings give the same picture.
                self.drawings.retain(|known| *known != drawing);
                self.drawings.insert(0, drawing);
                self.drawings.truncate(MAX_DRAWINGS);
            }
            Err(why) => {
                self.trouble = Some(why);
                // It would fail for the same reason, and say so twice.
                self.wished = None;
            }
        }
    }

    /// Whether a picture is on its way.
    #[must_use]
    pub const fn is_drawing(&self) -> bool {
        self.asked.is_some()
    }

    /// Why the last picture did not come.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// The pictures, the newest first.
    #[must_use]
    pub fn drawings(&self) -> &[Drawing] {
        &self.drawings
    }
}

/// The bases that can draw.
pub fn usable(bases: &[BaseInfo]) -> impl Iterator<Item = &BaseInfo> {
    bases.iter().filter(|base| base.unusable.is_none())
}

/// The base that is wanted, or the first that can draw where that one cannot.
#[must_use]
pub fn fitting_base<'a>(bases: &'a [BaseInfo], wanted: &BaseId) -> Option<&'a BaseInfo> {
    let found = usable(bases).find(|base| base.id == *wanted);
    found.or_else(|| usable(bases).next())
}

#[cfg(test)]
mod tests {
    use mimeo_protocol::FileId;

    use super::*;

    const fn lora(number: u64) -> LoraRef {
        LoraRef::File {
            file: FileId(number),
        }
    }

    fn picture(number: u8) -> BlobId {
        BlobId::from_sha256([number; 32])
    }

    fn settings(prompt: &str) -> PlaygroundSettings {
        PlaygroundSettings {
            prompt: prompt.to_owned(),
            ..PlaygroundSettings::default()
        }
    }

    #[test]
    fn loras_are_added_once_and_up_to_the_limit() {
        let mut settings = settings("a face");
        for number in 0..8 {
            assert_eq!(settings.add(lora(number), "one"), Ok(()), "LoRA {number}");
        }
        let again = settings.add(lora(3), "glasses").unwrap_err();
        assert!(again.contains("glasses is in the list"), "{again}");
        let more = settings.add(lora(8), "smile").unwrap_err();
        assert!(more.contains("Remove one before you add smile"), "{more}");
        settings.remove(lora(3));
        assert_eq!(settings.add(lora(8), "smile"), Ok(()), "there is room");
    }

    #[test]
    fn a_strength_that_is_none_changes_nothing() {
        let mut settings = settings("a face");
        settings.add(lora(1), "glasses").unwrap();
        for wrong in [3.0, f64::NAN] {
            settings.set_strength(lora(1), wrong);
        }
        assert_eq!(settings.loras[0].strength.get(), 1.0, "as it was");
        settings.set_strength(lora(1), -0.5);
        assert_eq!(
            settings.request().loras,
            [(lora(1), Strength::constant(-0.5))],
            "what is asked for"
        );
    }

    #[test]
    fn what_is_said_of_the_base_goes_along_and_is_forgotten_with_it() {
        let mut settings = settings("a face");
        let kept = serde_json::to_value(&settings).unwrap();
        assert_eq!(kept["said"], serde_json::json!({}), "nothing at first");
        for (field, text) in PlaygroundSettings::said_fields().zip(["v_prediction", "true", "2"]) {
            assert_eq!(settings.said_in(field), "", "not said");
            assert_eq!(settings.say(field, text), Ok(()), "{}", field.path);
            assert_eq!(settings.said_in(field), text, "as it was said");
        }
        settings.set_guidance_rescale("0.5").unwrap();
        settings.vae = Some("anime".parse().unwrap());
        let request = settings.request();
        assert_eq!(request.said, settings.said, "asked for");
        assert_eq!(request.vae, settings.vae, "too");
        let rescale = request.guidance_rescale.map(GuidanceRescale::get);
        assert_eq!(rescale, Some(0.5), "too");
        let refusal = settings.set_guidance_rescale("2").unwrap_err();
        assert!(
            refusal.contains("Guidance rescale must be between"),
            "{refusal}"
        );
        let skip = Field::at("/clip_skip").unwrap();
        let refusal = settings.say(skip, "13").unwrap_err();
        assert!(refusal.contains("between 1 and 12"), "{refusal}");
        settings.choose_base(BaseId::bundled());
        assert_eq!(settings.said_in(skip), "2", "of the same base");
        settings.choose_base("other".parse().unwrap());
        assert_eq!(settings.said_in(skip), "", "of another one nothing");
        assert_eq!(settings.vae, None, "nor its VAE");
    }

    #[test]
    fn settings_are_told_in_one_line() {
        let mut settings = settings("a face");
        assert_eq!(settings.describe(), "seed 0", "the base alone");
        settings.add(lora(1), "glasses").unwrap();
        settings.add(lora(2), "smile").unwrap();
        settings.set_strength(lora(2), -0.5);
        settings.negative_prompt = "hat".to_owned();
        assert_eq!(
            settings.describe(),
            "glasses +1, smile \u{2212}0.5 \u{b7} not: hat \u{b7} seed 0",
            "all of them"
        );
    }

    #[test]
    fn one_picture_is_on_its_way_and_the_latest_wish_comes_next() {
        let mut playground = Playground::default();
        playground.wish(settings("one"));
        assert_eq!(playground.ask(), Some(settings("one")), "at once");
        playground.wish(settings("two"));
        playground.wish(settings("three"));
        assert_eq!(playground.ask(), None, "one at a time");
        playground.answered(Ok(picture(1)));
        assert_eq!(playground.ask(), Some(settings("three")), "the latest");
        playground.answered(Ok(picture(2)));
        assert_eq!(playground.ask(), None, "nothing is wished");
        let prompts: Vec<&str> = playground
            .drawings()
            .iter()
            .map(|drawing| drawing.settings.prompt.as_str())
            .collect();
        assert_eq!(
            prompts,
            ["three", "one"],
            "the newest first, with its settings"
        );
    }

    #[test]
    fn a_failure_is_told_until_the_next_wish() {
        let mut playground = Playground::default();
        playground.wish(settings("one"));
        playground.ask();
        playground.wish(settings("two"));
        playground.answered(Err("The LoRA is gone.".to_owned()));
        assert_eq!(playground.trouble(), Some("The LoRA is gone."), "said");
        assert_eq!(playground.ask(), None, "two would fail as well");
        playground.wish(settings("three"));
        assert_eq!(playground.trouble(), None, "another try");
    }

    #[test]
    fn old_pictures_leave_and_the_same_one_is_kept_once() {
        let mut playground = Playground::default();
        let mut draw = |prompt: &str, number| {
            playground.wish(settings(prompt));
            playground.ask();
            playground.answered(Ok(picture(number)));
            playground.drawings().len()
        };
        draw("again", 0);
        assert_eq!(draw("again", 0), 1, "the same settings, the same picture");
        for number in 1..30 {
            draw("more", number);
        }
        assert_eq!(draw("last", 99), MAX_DRAWINGS, "and no more");
    }

    #[test]
    fn settings_survive_a_reload() {
        let mut settings = settings("a face");
        settings.add(lora(1), "glasses").unwrap();
        settings.set_remark(lora(1), Some("Not all of it.".to_owned()));
        let json = serde_json::to_string(&settings).unwrap();
        assert_eq!(
            serde_json::from_str::<PlaygroundSettings>(&json).unwrap(),
            settings,
            "{json}"
        );
        let old = json.replace("\"prompt_syntax\":\"a1111\",", "");
        assert_ne!(old, json, "from before prompts had a syntax");
        assert_eq!(
            serde_json::from_str::<PlaygroundSettings>(&old).unwrap(),
            settings,
            "{old}"
        );
    }

    #[test]
    fn settings_of_an_earlier_version_are_read() {
        let mut settings = settings("a face");
        settings.add(lora(1), "glasses").unwrap();
        let json = serde_json::to_string(&settings).unwrap();
        assert!(
            !json.contains("remark"),
            "what was not there before: {json}"
        );
        let read: PlaygroundSettings = serde_json::from_str(&json).unwrap();
        assert_eq!(read.loras[0].remark, None, "nothing was said");
    }

    #[test]
    fn a_base_that_is_gone_is_replaced_by_the_first_that_can_draw() {
        let base = |id: &str, unusable: Option<&str>| BaseInfo {
            id: BaseId::try_from(id.to_owned()).unwrap(),
            title: id.to_owned(),
            unusable: unusable.map(str::to_owned),
            ..crate::workbench::examples::base()
        };
        let bases = [
            base("flux", Some("unknown")),
            base("sd15", None),
            base("anime", None),
        ];
        let found = |wanted: &str| {
            let wanted = BaseId::try_from(wanted.to_owned()).unwrap();
            fitting_base(&bases, &wanted).map(|base| base.title.clone())
        };
        assert_eq!(found("anime").as_deref(), Some("anime"), "it is there");
        assert_eq!(found("flux").as_deref(), Some("sd15"), "it cannot draw");
        assert_eq!(found("gone").as_deref(), Some("sd15"), "it is not there");
    }
}
