//! Choosing a base among a hundred: what is typed, what is listed for it, and where the keys are.

use mimeo_protocol::{BaseId, BaseInfo};

use crate::words;

/// Bases that `PageUp` and `PageDown` go over.
const PAGE: usize = 8;

/// A list of bases that opens, is searched, and closes with a choice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BasePicker {
    is_open: bool,
    query: String,
    /// The base that Enter would choose.
    at: Option<BaseId>,
}

/// What a key did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pressed {
    /// Nothing: it means what it always means in a text field.
    Ignored,
    /// The list opened, closed or moved.
    Taken,
    /// A base was chosen.
    Chosen(BaseId),
}

impl BasePicker {
    /// Whether the list is shown.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.is_open
    }

    /// What was typed.
    #[must_use]
    pub fn query(&self) -> &str {
        &self.query
    }

    /// The base that the keys are at.
    #[must_use]
    pub const fn at(&self) -> Option<&BaseId> {
        self.at.as_ref()
    }

    /// Shows all bases, with the keys at the chosen one.
    pub fn open(&mut self, chosen: Option<&BaseId>) {
        if !self.is_open {
            *self = Self {
                is_open: true,
                query: String::new(),
                at: chosen.cloned(),
            };
        }
    }

    /// Shows none, and forgets what was typed.
    pub fn close(&mut self) {
        *self = Self::default();
    }

    /// Lists what fits to the text; the keys are at the first that can be used.
    pub fn search(&mut self, query: String, bases: &[BaseInfo]) {
        (self.is_open, self.query) = (true, query);
        let listed = self.listed(bases);
        self.at = listed.first().map(|base| base.id.clone());
    }

    /// What is listed: bases that fit to what was typed, those that cannot be used last.
    ///
    /// Every word has to be in the title or in what is told of a base, so that "xl" finds all of a
    /// family; a single letter or digit in the title only, since a 1 is in every "1.x".
    #[must_use]
    pub fn listed<'a>(&self, bases: &'a [BaseInfo]) -> Vec<&'a BaseInfo> {
        let query = self.query.to_lowercase();
        let words: Vec<&str> = query.split_whitespace().collect();
        let fits = |base: &&BaseInfo| {
            let (title, facts) = (base.title.to_lowercase(), facts(base).to_lowercase());
            let is_told = |word: &str| word.chars().nth(1).is_some() && facts.contains(word);
            words
                .iter()
                .all(|word| title.contains(word) || is_told(word))
        };
        let (usable, others): (Vec<&BaseInfo>, _) = bases
            .iter()
            .filter(fits)
            .partition(|base| base.unusable.is_none());
        [usable, others].concat()
    }

    /// Does what a key does, by its name in the browser.
    pub fn press(&mut self, key: &str, chosen: Option<&BaseId>, bases: &[BaseInfo]) -> Pressed {
        if !self.is_open {
            return match key {
                "ArrowDown" | "ArrowUp" => {
                    self.open(chosen);
                    Pressed::Taken
                }
                _ => Pressed::Ignored,
            };
        }
        match key {
            "ArrowDown" => self.go(bases, |at, last| (at + 1).min(last)),
            "ArrowUp" => self.go(bases, |at, _| at.saturating_sub(1)),
            "PageDown" => self.go(bases, |at, last| (at + PAGE).min(last)),
            "PageUp" => self.go(bases, |at, _| at.saturating_sub(PAGE)),
            "Escape" => self.close(),
            "Enter" => {
                let at = self.at.clone();
                return at.map_or(Pressed::Taken, |id| self.choose(&id, bases));
            }
            _ => return Pressed::Ignored,
        }
        Pressed::Taken
    }

    /// Chooses a base, if it can be used; the list closes then.
    pub fn choose(&mut self, id: &BaseId, bases: &[BaseInfo]) -> Pressed {
        let listed = self.listed(bases);
        match listed
            .iter()
            .any(|base| base.id == *id && base.unusable.is_none())
        {
            true => {
                self.close();
                Pressed::Chosen(id.clone())
            }
            false => Pressed::Taken,
        }
    }

    fn go(&mut self, bases: &[BaseInfo], to: impl Fn(usize, usize) -> usize) {
        let listed = self.listed(bases);
        let Some(last) = listed.len().checked_sub(1) else {
            return;
        };
        let at = listed
            .iter()
            .position(|base| Some(&base.id) == self.at.as_ref());
        // From nowhere the first step leads to the first.
        let at = at.map_or(0, |at| to(at, last));
        self.at = listed.get(at).map(|base| base.id.clone());
    }
}

/// What is told of a base beside its name: "Stable Diffusion XL · v · F16 · 6.9 GB".
#[must_use]
pub fn facts(base: &BaseInfo) -> String {
    let family = Some(base.family.clone()).filter(|family| family != UNKNOWN);
    let size = base.bytes.filter(|bytes| *bytes > 0).map(words::bytes);
    let facts = [
        family,
        base.prediction.clone(),
        base.precision.clone(),
        size,
        base.needs_vae.then(|| "without VAE".to_owned()),
    ];
    let facts: Vec<String> = facts.into_iter().flatten().collect();
    facts.join(" · ")
}

/// What a server calls a family that cannot be told.
const UNKNOWN: &str = "unknown";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workbench::examples;

    fn base(title: &str, family: &str, unusable: Option<&str>) -> BaseInfo {
        BaseInfo {
            id: title.to_lowercase().replace(' ', "-").parse().unwrap(),
            title: title.to_owned(),
            family: family.to_owned(),
            prediction: Some("ε".to_owned()),
            precision: Some("F16".to_owned()),
            bytes: Some(6_938_040_682),
            unusable: unusable.map(str::to_owned),
            ..examples::base()
        }
    }

    fn bases() -> Vec<BaseInfo> {
        let mut bases = vec![
            base("Anime v2", "Stable Diffusion 1.x", None),
            base("Detail LoRA", "unknown", Some("this is a LoRA")),
            base("Noob", "Stable Diffusion XL", None),
            base("Noob v", "Stable Diffusion XL", None),
        ];
        bases[3].prediction = Some("v, ztSNR".to_owned());
        bases
    }

    fn listed(picker: &BasePicker) -> Vec<String> {
        let bases = bases();
        let listed = picker.listed(&bases).into_iter();
        listed.map(|base| base.id.to_string()).collect()
    }

    fn at(picker: &BasePicker) -> &str {
        picker.at().map_or("nowhere", BaseId::as_str)
    }

    fn searched(query: &str) -> BasePicker {
        let mut picker = BasePicker::default();
        picker.search(query.to_owned(), &bases());
        picker
    }

    #[test]
    fn facts_are_told_as_far_as_they_are_known() {
        let all = facts(&bases()[3]);
        assert_eq!(all, "Stable Diffusion XL · v, ztSNR · F16 · 6.9 GB", "all");
        let some = BaseInfo {
            prediction: None,
            bytes: Some(0),
            ..bases()[1].clone()
        };
        assert_eq!(facts(&some), "F16", "an unknown family is none");
        let bare = BaseInfo {
            needs_vae: true,
            ..some
        };
        assert_eq!(facts(&bare), "F16 · without VAE", "what has to be chosen");
    }

    #[test]
    fn a_search_finds_every_word_in_names_and_facts() {
        assert_eq!(
            listed(&searched("")),
            ["anime-v2", "noob", "noob-v", "detail-lora"],
            "all, and last what cannot be used"
        );
        assert_eq!(listed(&searched("NOOB")), ["noob", "noob-v"], "by name");
        assert_eq!(listed(&searched(" xl  zts ")), ["noob-v"], "by what it is");
        assert_eq!(listed(&searched("1")), [""; 0], "a digit is of a name");
        assert_eq!(listed(&searched("flux")), [""; 0], "and nothing else");
    }

    #[test]
    fn keys_open_move_and_choose() {
        let (bases, anime) = (bases(), "anime-v2".parse().unwrap());
        let mut picker = BasePicker::default();
        let press = |picker: &mut BasePicker, key| picker.press(key, Some(&anime), &bases);
        assert_eq!(
            press(&mut picker, "Enter"),
            Pressed::Ignored,
            "closed: Enter is the form's"
        );
        assert_eq!(press(&mut picker, "ArrowDown"), Pressed::Taken, "opens");
        assert!(picker.is_open(), "{picker:?}");
        assert_eq!(at(&picker), "anime-v2", "at the chosen one");
        press(&mut picker, "ArrowUp");
        assert_eq!(at(&picker), "anime-v2", "the first is the first");
        press(&mut picker, "ArrowDown");
        assert_eq!(at(&picker), "noob", "the next");
        press(&mut picker, "PageDown");
        assert_eq!(at(&picker), "detail-lora", "the last, to read why");
        assert_eq!(
            press(&mut picker, "Enter"),
            Pressed::Taken,
            "which cannot be chosen"
        );
        assert!(picker.is_open(), "{picker:?}");
        press(&mut picker, "PageUp");
        press(&mut picker, "ArrowDown");
        let noob = Pressed::Chosen("noob".parse().unwrap());
        assert_eq!(
            press(&mut picker, "Enter"),
            noob,
            "the one that the keys are at"
        );
        assert!(!picker.is_open(), "{picker:?}");
        press(&mut picker, "ArrowDown");
        assert_eq!(
            press(&mut picker, "a"),
            Pressed::Ignored,
            "letters are typed"
        );
        press(&mut picker, "Escape");
        assert_eq!(
            picker,
            BasePicker::default(),
            "closed, and nothing is typed"
        );
    }

    #[test]
    fn what_is_typed_is_one_enter_away() {
        let bases = bases();
        let mut picker = searched("noob v");
        assert_eq!(at(&picker), "noob-v", "the first that fits");
        let chosen = picker.press("Enter", None, &bases);
        assert_eq!(
            chosen,
            Pressed::Chosen("noob-v".parse().unwrap()),
            "{picker:?}"
        );

        let mut picker = searched("no such base");
        assert_eq!(
            picker.press("ArrowDown", None, &bases),
            Pressed::Taken,
            "nowhere to go"
        );
        assert_eq!(
            picker.press("Enter", None, &bases),
            Pressed::Taken,
            "nothing to choose"
        );
        assert!(picker.is_open(), "{picker:?}");
    }

    #[test]
    fn a_base_that_is_gone_meanwhile_is_not_chosen() {
        let mut picker = searched("noob");
        let fewer = &bases()[..2];
        assert_eq!(
            picker.press("Enter", None, fewer),
            Pressed::Taken,
            "it is not listed"
        );
        picker.press("ArrowDown", None, fewer);
        assert_eq!(at(&picker), "noob", "nothing is");
    }
}
