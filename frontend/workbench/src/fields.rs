//! The fields of the recipe as the page reads and writes them.
//!
//! Through the recipe's own JSON, so a field is in range by the same check that guards recipe files,
//! and says the same sentence.

use mimeo_protocol::fields::Kind::{
    Choice, ChoiceOrBase, Lines, Number, OptionalNumber, Seed, Switch, SwitchOrBase, Text,
};
use mimeo_protocol::fields::{FIELDS, Field};
use mimeo_protocol::{PromptSyntax, Recipe, SliderRecipe, prompts_in};
use serde_json::Value;

/// What the page does with a field.
pub trait FieldInRecipe {
    /// Its value in a recipe; null where it is switched off.
    #[must_use]
    fn value(&self, recipe: &Recipe) -> Value;

    /// The recipe with another value here.
    ///
    /// # Errors
    /// The sentence that says why the value cannot be one.
    fn with(&self, recipe: &Recipe, value: Value) -> Result<Recipe, String>;

    /// The value that a text means. What is no number where one is needed stays a text, which
    /// [`Self::with`] refuses in the recipe's own words.
    #[must_use]
    fn parse(&self, text: &str) -> Value;
}

impl FieldInRecipe for Field {
    fn value(&self, recipe: &Recipe) -> Value {
        let json = serde_json::to_value(recipe).unwrap_or_default();
        let value = json.pointer(self.path).cloned();
        value.unwrap_or_else(|| unwritten(self))
    }

    fn with(&self, recipe: &Recipe, value: Value) -> Result<Recipe, String> {
        let mut json = serde_json::to_value(recipe).unwrap_or_default();
        let (parent, key) = self.path.rsplit_once('/').unwrap_or(("", self.path));
        // A table that says nothing is not written.
        if let (Value::Object(fields), Some(table)) = (&mut json, parent.strip_prefix('/'))
            && !table.contains('/')
        {
            let empty = || Value::Object(serde_json::Map::new());
            fields.entry(table).or_insert_with(empty);
        }
        match json.pointer_mut(parent) {
            Some(Value::Object(fields)) if value.is_null() => {
                fields.remove(key);
            }
            Some(Value::Object(fields)) => {
                fields.insert(key.to_owned(), value);
            }
            Some(Value::Array(items)) => {
                if let Some(item) = key.parse().ok().and_then(|at: usize| items.get_mut(at)) {
                    *item = value;
                }
            }
            _ => {}
        }
        let with: Recipe = serde_json::from_value(json).map_err(|error| error.to_string())?;
        match with.check() {
            // What is wrong elsewhere is said there.
            Err(error) if error.path() == self.path => Err(error.to_string()),
            _ => Ok(with),
        }
    }

    fn parse(&self, text: &str) -> Value {
        let text = text.trim();
        match self.kind {
            OptionalNumber(..) | SwitchOrBase | ChoiceOrBase(_) if text.is_empty() => Value::Null,
            Number(_) | OptionalNumber(..) | Seed => {
                // As this page writes them, with a real minus.
                let typed = text.replace('\u{2212}', "-");
                // Whole numbers stay whole: a seed has more digits than a float.
                let whole = || typed.parse::<u64>().ok().map(Value::from);
                let number = || typed.parse().ok().filter(|number: &f64| number.is_finite());
                let value = whole().or_else(|| number().map(Value::from));
                value.unwrap_or_else(|| Value::from(text))
            }
            Switch | SwitchOrBase => Value::Bool(text == "true"),
            Choice(_) | ChoiceOrBase(_) | Text => Value::from(text),
            Lines => match prompts_in(text) {
                none if none.is_empty() => Value::Null,
                prompts => Value::from(prompts),
            },
        }
    }
}

/// What a recipe means that does not write a field: what was done before there was a choice.
fn unwritten(field: &Field) -> Value {
    match (field.kind, field.path) {
        (Choice(_), "/copier/kind") => "identical".into(),
        (Choice(_), _) => PromptSyntax::default().name().into(),
        (Switch, _) => false.into(),
        (Text, _) => "".into(),
        (_, "/slider/guidance") => SliderRecipe::default().guidance.get().into(),
        (_, "/copier/strength") => 1.0.into(),
        (_, "/caption_dropout" | "/augment/crop" | "/augment/hue" | "/hold/weight") => 0.0.into(),
        _ => Value::Null,
    }
}

/// A value as it stands in its box.
#[must_use]
pub fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number_text(number),
        Value::Array(lines) => lines.iter().map(text_of).collect::<Vec<_>>().join("\n"),
        other => other.to_string(),
    }
}

/// "8" for 8.0, and no digits that nobody entered.
fn number_text(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(value) if number.is_f64() => format!("{value}"),
        _ => number.to_string(),
    }
}

/// Fields of a recipe that are not as in `defaults`, of those that its method uses.
#[must_use]
pub fn edited(recipe: &Recipe, defaults: &Recipe) -> Vec<&'static Field> {
    let of = |recipe: &Recipe| serde_json::to_value(recipe).unwrap_or_default();
    let (mine, theirs) = (of(recipe), of(defaults));
    let differs = |field: &&Field| mine.pointer(field.path) != theirs.pointer(field.path);
    FIELDS
        .iter()
        .filter(|field| field.group.is_for(recipe.method))
        .filter(differs)
        .collect()
}

#[cfg(test)]
mod tests {
    use mimeo_protocol::{CopierKind, Method, ModelSize};

    use super::*;

    fn recipe() -> Recipe {
        Recipe::preset(Method::Copier, ModelSize::Small)
    }

    #[test]
    fn every_leaf_of_a_recipe_is_a_field() {
        fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
            match value {
                Value::Object(fields) => fields
                    .iter()
                    .for_each(|(key, value)| leaves(value, &format!("{path}/{key}"), found)),
                Value::Array(items) => items
                    .iter()
                    .enumerate()
                    .for_each(|(at, value)| leaves(value, &format!("{path}/{at}"), found)),
                _ => found.push(path.to_owned()),
            }
        }
        let mut found = Vec::new();
        leaves(&serde_json::to_value(recipe()).unwrap(), "", &mut found);
        // The method has its cards. What shapes the copier's pass beyond these is not worth a
        // box: it can be given in a recipe file.
        let elsewhere = |path: &String| {
            path == "/method"
                || [
                    "schedule",
                    "warmup",
                    "accumulation",
                    "weight_decay",
                    "clip_norm",
                    "timesteps/0",
                    "timesteps/1",
                ]
                .iter()
                .any(|key| *path == format!("/copier/pass/{key}"))
        };
        found.retain(|path| !elsewhere(path) && Field::at(path).is_none());
        assert!(found.is_empty(), "nobody can edit {found:?}");
    }

    #[test]
    fn every_field_reads_writes_and_reads_the_same() {
        for field in FIELDS {
            let value = field.value(&recipe());
            let text = text_of(&value);
            let parsed = field.parse(&text);
            let written = field.with(&recipe(), parsed);
            assert_eq!(
                written.as_ref(),
                Ok(&recipe()),
                "{} as {text:?}",
                field.path
            );
        }
    }

    #[test]
    fn a_table_that_says_nothing_can_be_written_into() {
        let [guidance, target, keep, every] = ["guidance", "target", "keep", "every"].map(|key| {
            let mut fields = FIELDS.iter();
            let is_it = |field: &&Field| {
                field.path == format!("/slider/{key}") || field.path == format!("/leak/{key}")
            };
            fields.find(is_it).unwrap()
        });
        assert_eq!(guidance.value(&recipe()), 3.0, "as it is if nobody says it");
        assert_eq!(target.value(&recipe()), "", "likewise");
        let with = guidance.with(&recipe(), guidance.parse("5")).unwrap();
        assert_eq!(with.slider.guidance.get(), 5.0, "said");
        let with = keep.with(&with, keep.parse("a hat\na dog")).unwrap();
        assert_eq!(with.slider.keep, ["a hat", "a dog"], "lines");
        let with = every.with(&with, every.parse("20")).unwrap();
        assert_eq!(edited(&with, &recipe()), [every], "what its method uses");
        let off = every.with(&with, every.parse("")).unwrap();
        assert_eq!(off.leak.every, None, "off again");
    }

    #[test]
    fn what_a_recipe_does_not_write_is_shown_as_what_it_means_and_can_be_changed() {
        for (path, shown, typed) in [
            ("/copier/kind", "identical", "framing"),
            ("/copier/strength", "1", "0.9"),
            ("/caption_dropout", "0", "0.1"),
            ("/trigger", "", "anna"),
            ("/augment/mirror", "false", "true"),
            ("/augment/crop", "0", "0.2"),
            ("/augment/hue", "0", "0.1"),
            ("/hold/weight", "0", "0.5"),
        ] {
            let field = Field::at(path).unwrap();
            let mut recipe = recipe();
            recipe.copier.kind = CopierKind::Style;
            if path == "/copier/kind" {
                recipe.copier.kind = CopierKind::Identical;
            }
            assert_eq!(text_of(&field.value(&recipe)), shown, "{path}");
            let with = field.with(&recipe, field.parse(typed)).unwrap();
            assert_eq!(text_of(&field.value(&with)), typed, "{path}");
            let again = field.with(&with, field.parse(shown));
            assert_eq!(again, Ok(recipe), "{path}, back");
        }
    }

    #[test]
    fn a_recipe_from_before_prompts_had_a_syntax_shows_the_one_that_it_means() {
        let field = Field::at("/prompt_syntax").unwrap();
        let mut json = serde_json::to_value(recipe()).unwrap();
        json.as_object_mut().unwrap().remove("prompt_syntax");
        let old: Recipe = serde_json::from_value(json).unwrap();
        assert_eq!(field.value(&old), "cut", "in its box");
        assert_eq!(edited(&old, &recipe()), [field], "and as edited");
        let again = field.with(&recipe(), "cut".into());
        assert_eq!(again, Ok(old), "and it can be chosen");
    }

    #[test]
    fn held_out_prompts_are_the_lines_of_a_text() {
        let field = Field::at("/held_out_prompts").unwrap();
        let typed = field.parse(" a girl\n\n# not this\na cat ");
        let with = field.with(&recipe(), typed).unwrap();
        assert_eq!(with.held_out_prompts, ["a girl", "a cat"], "as typed");
        assert_eq!(text_of(&field.value(&with)), "a girl\na cat", "in its box");
        assert_eq!(edited(&with, &recipe()), [field], "edited");
        let many = field.parse(&"a girl\n".repeat(33));
        let reason = field.with(&recipe(), many).unwrap_err();
        assert!(
            reason.contains("33 held-out prompts are too many"),
            "{reason}"
        );
        let none = field.with(&with, field.parse("\n"));
        assert_eq!(none, Ok(recipe()), "none again");
    }

    #[test]
    fn a_value_out_of_range_is_refused_with_the_range() {
        let rank = Field::at("/pass/rank").unwrap();
        let reason = rank.with(&recipe(), 0.into()).unwrap_err();
        assert!(reason.contains("between 1 and 128"), "{reason}");
        let reason = rank.with(&recipe(), rank.parse("eight")).unwrap_err();
        assert!(
            reason.contains("Rank must be a number between 1 and 128"),
            "{reason}"
        );
    }

    #[test]
    fn every_number_refuses_what_people_mistype_with_what_is_allowed() {
        let mut addift = recipe();
        addift.method = Method::Addift;
        for field in FIELDS {
            let (Number(_) | OptionalNumber(..) | Seed) = field.kind else {
                continue;
            };
            for typed in ["0,001", "nan", "inf", "1e30", "-1e30", "ten", "5 %"] {
                let refusal = field.with(&addift, field.parse(typed));
                let Err(refusal) = refusal else {
                    panic!("{} takes {typed}", field.path);
                };
                assert!(
                    refusal.contains(" must be ") && refusal.contains("between"),
                    "{} of {typed}: {refusal}",
                    field.path
                );
            }
        }
        let refused = |path: &str, typed: &str| {
            let field = Field::at(path).unwrap();
            field.with(&addift, field.parse(typed)).unwrap_err()
        };
        for (path, typed, words) in [
            (
                "/addift/multiplier",
                "0",
                "Multiplier must be between 0.01 and 8",
            ),
            ("/seed", "-1", "No number stands for a random seed"),
            ("/pass/steps", "1.5", "Steps must be a whole number"),
            ("/pass/learning_rate", "0,001", "Use a point for decimals"),
            (
                "/pass/timesteps/0",
                "-1",
                "First timestep must be between 0 and 999",
            ),
        ] {
            let refusal = refused(path, typed);
            assert!(refusal.contains(words), "{path}: {refusal}");
        }
    }

    #[test]
    fn a_field_says_nothing_about_what_is_wrong_elsewhere() {
        let mut broken = recipe();
        broken.method = Method::Addift;
        broken.addift.multiplier = mimeo_protocol::Multiplier::constant(0.0);
        let seed = Field::at("/seed").unwrap();
        assert!(seed.with(&broken, 7.into()).is_ok(), "the seed is well");
        let multiplier = Field::at("/addift/multiplier").unwrap();
        let minus = multiplier.with(&broken, multiplier.parse("\u{2212}0.5"));
        assert!(minus.is_ok(), "a real minus: {minus:?}");
    }

    #[test]
    fn an_optional_number_can_be_switched_off_and_on() {
        let clip = Field::at("/pass/clip_norm").unwrap();
        let off = clip.with(&recipe(), clip.parse(" ")).unwrap();
        assert_eq!(off.pass.clip_norm, None, "empty is off");
        let on = clip.with(&off, clip.parse("2")).unwrap();
        assert_eq!(
            on.pass.clip_norm.map(|norm| norm.get()),
            Some(2.0),
            "and on"
        );
    }

    #[test]
    fn what_is_said_of_the_base_is_chosen_and_taken_back() {
        let mut said = recipe();
        for (path, text, value) in [
            ("/prediction_type", "v_prediction", "v_prediction".into()),
            ("/zero_terminal_snr", "false", false.into()),
            ("/zero_terminal_snr", "true", true.into()),
            ("/clip_skip", "2", 2.into()),
        ] {
            let field = Field::at(path).unwrap();
            said = field.with(&said, field.parse(text)).unwrap();
            assert_eq!(field.value(&said), value, "{path}");
            assert_eq!(text_of(&value), text, "as it stands in its box");
        }
        let prediction = Field::at("/prediction_type").unwrap();
        let refusal = prediction.with(&said, prediction.parse("epsilon"));
        assert!(refusal.is_ok(), "what is wrong is told at the other field");
        let end = Field::at("/zero_terminal_snr").unwrap();
        let refusal = end.with(&refusal.unwrap(), end.parse("true")).unwrap_err();
        assert!(refusal.contains("cannot predict noise"), "{refusal}");
        for path in ["/prediction_type", "/zero_terminal_snr", "/clip_skip"] {
            let field = Field::at(path).unwrap();
            said = field.with(&said, field.parse("")).unwrap();
        }
        assert_eq!(said, recipe(), "all as the base says");
    }

    #[test]
    fn only_what_the_method_uses_counts_as_edited() {
        let mut mine = recipe();
        let multiplier = Field::at("/addift/multiplier").unwrap();
        mine = multiplier.with(&mine, 1.into()).unwrap();
        assert!(
            edited(&mine, &recipe()).is_empty(),
            "the copier has no multiplier"
        );
        let seed = Field::at("/seed").unwrap();
        mine = seed.with(&mine, 7.into()).unwrap();
        assert_eq!(
            edited(&mine, &recipe()),
            [seed],
            "the seed is for every method"
        );
    }
}
