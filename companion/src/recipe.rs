//! A recipe in layers: the preset for the method and the base, a recipe file over it.
//!
//! A file may be TOML or JSON with only what is to differ, or a LoRA that Mimeo trained, whose
//! metadata holds its whole recipe. Flags come on top (`cli::recipe_flags`).

use std::path::Path;

use mimeo_checkpoint::metadata::RECIPE;
use mimeo_checkpoint::{DiskFile, SafetensorsFile, Stranger, printable, text_of};
use mimeo_protocol::fields::FIELDS;
use mimeo_protocol::{Method, ModelSize, Recipe, RecipeFormat};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

use crate::exit::BadInput;
use crate::input;

/// Far above any recipe.
const MAX_BYTES: u64 = 1 << 20;

/// A recipe file that was read.
#[derive(Debug)]
pub struct RecipeFile {
    json: Value,
    name: String,
}

impl RecipeFile {
    /// Reads a recipe file of any of the three kinds.
    ///
    /// # Errors
    /// When it cannot be read or understood; what it says is checked by [`Self::over`].
    pub async fn read(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let json = if path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"))
        {
            from_lora(path).await?
        } else {
            from_text(&read_text(path)?).map_err(|reason| {
                let why = format!("the recipe cannot be understood ({reason}); correct it");
                BadInput::file(why, path)
            })?
        };
        Ok(Self { json, name })
    }

    /// The method it asks for, if any.
    pub fn method(&self) -> Option<Method> {
        self.json
            .get("method")
            .and_then(|method| Method::deserialize(method).ok())
    }

    /// What to say about a file that sets nothing, and about tables of it that do nothing with this
    /// method. A whole recipe has all of them, whichever method it is for.
    pub fn idle(&self, method: Method) -> impl Iterator<Item = String> {
        let sets_nothing = self.json.as_object().is_some_and(Map::is_empty);
        let empty = sets_nothing.then(|| {
            let name = &self.name;
            format!(
                "The recipe sets nothing, so all is as it is preset for method {method}: {name:?}."
            )
        });
        let is_whole = Recipe::deserialize(&self.json).is_ok();
        let tables = [
            ("copier", Method::Copier),
            ("addift", Method::Addift),
            ("slider", Method::Slider),
        ];
        let tables = tables
            .into_iter()
            .filter(move |(table, owner)| {
                !is_whole && *owner != method && self.json.get(table).is_some()
            })
            .map(move |(table, owner)| {
                format!("The recipe's table {table} is for method {owner} and does nothing with method {method}.")
            });
        empty.into_iter().chain(tables)
    }

    /// A refusal of what the file asks for, with its name.
    pub fn refusal(&self, why: impl std::fmt::Display) -> BadInput {
        BadInput::file(why, Path::new(&self.name))
    }

    /// What the file asks for, over the preset of `method` for what it does not mention.
    ///
    /// A file with a whole recipe stands for itself: what it leaves out is off, not preset.
    ///
    /// # Errors
    /// A newer format, or the first key that does not exist or whose value is out of range, by name.
    pub fn over(&self, method: Method, size: ModelSize) -> Result<Recipe, BadInput> {
        // First: what is new in a newer recipe is no typing error.
        RecipeFormat::check(&self.json).map_err(|newer| self.refusal(newer))?;
        if let Ok(whole) = Recipe::deserialize(&self.json) {
            return Ok(whole);
        }
        let mut recipe = Recipe::preset(method, size);
        let mut leaves = Vec::new();
        collect_leaves(&self.json, &mut Vec::new(), &mut leaves);
        // One at a time, so that the key that is refused is the key that is wrong.
        for (path, value) in leaves {
            recipe = with_value(&recipe, &path, value).map_err(|reason| {
                let key = printable(&path.join("."), 80);
                let reason = printable(reason.trim_end_matches('.'), 400);
                let why = format!("the recipe's {key:?} cannot be used ({reason})");
                self.refusal(format!("{why}; correct or remove it"))
            })?;
        }
        Ok(recipe)
    }
}

fn read_text(path: &Path) -> Result<String, BadInput> {
    text_of(&input::read(path, "recipe", MAX_BYTES)?).map_err(|stranger| {
        let Stranger { found, remedy } = stranger;
        let remedy = match stranger {
            Stranger::EMPTY => "write what is to differ into it, or leave out --recipe",
            _ => remedy,
        };
        BadInput::file(format!("the recipe is {found}; {remedy}"), path)
    })
}

/// JSON begins with a brace, TOML never does.
fn from_text(text: &str) -> Result<Value, String> {
    if text.trim_start().starts_with('{') {
        let json = serde_json::from_str::<OnceEach>(text);
        return json
            .map(|OnceEach(json)| json)
            .map_err(|error| error.to_string());
    }
    let table = toml::from_str::<toml::Table>(text).map_err(|error| {
        let line = error.span().and_then(|span| text.get(..span.start));
        let line = line.map_or(1, |before| before.matches('\n').count() + 1);
        let reason = crate::console::one_line(error.message());
        format!("{reason}, in line {line}")
    })?;
    Ok(from_toml(toml::Value::Table(table)))
}

/// JSON has no NaN and no infinity. As the null that serde makes of them they would switch off what
/// can be switched off, so here they stay what was written, and are refused as such.
fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::Float(number) => match Number::from_f64(number) {
            Some(number) => Value::Number(number),
            None => Value::String(number.to_string()),
        },
        toml::Value::Integer(number) => number.into(),
        toml::Value::Boolean(is_true) => is_true.into(),
        toml::Value::String(text) => text.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(from_toml).collect(),
        toml::Value::Table(table) => table
            .into_iter()
            .map(|(key, value)| (key, from_toml(value)))
            .collect(),
    }
}

/// JSON with every key once. Of a key that stands twice, [`Value`] would keep the last in silence.
struct OnceEach(Value);

impl<'de> Deserialize<'de> for OnceEach {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnceEachReader).map(Self)
    }
}

struct OnceEachReader;

impl<'de> Visitor<'de> for OnceEachReader {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, is_true: bool) -> Result<Value, E> {
        Ok(is_true.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(OnceEach(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(array.into())
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut table = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if table.contains_key(&key) {
                let key = printable(&key, 80);
                return Err(de::Error::custom(format!("the key {key:?} stands twice")));
            }
            let OnceEach(value) = entries.next_value()?;
            table.insert(key, value);
        }
        Ok(table.into())
    }
}

async fn from_lora(path: &Path) -> anyhow::Result<Value> {
    let file = SafetensorsFile::open(Box::new(DiskFile::open(path)?)).await?;
    let found = file
        .metadata()
        .get(RECIPE)
        .and_then(|recipe| serde_json::from_str(recipe).ok());
    let why = "this file holds no recipe; only LoRAs trained by Mimeo do, so choose one of these";
    found.ok_or_else(|| BadInput::file(why, path).into())
}

/// Every value that is no table, with the keys that lead to it.
fn collect_leaves<'a>(
    json: &'a Value,
    path: &mut Vec<&'a str>,
    leaves: &mut Vec<(Vec<&'a str>, &'a Value)>,
) {
    let Value::Object(table) = json else {
        leaves.push((path.clone(), json));
        return;
    };
    for (key, value) in table {
        path.push(key);
        collect_leaves(value, path, leaves);
        path.pop();
    }
}

/// The recipe with another value in a place.
///
/// # Errors
/// What is wrong with it, as its format says it.
pub fn with_value(recipe: &Recipe, path: &[&str], value: &Value) -> Result<Recipe, String> {
    let Some((last, tables)) = path.split_last() else {
        return Err("a recipe is a table of keys and values".to_owned());
    };
    let mut json = serde_json::to_value(recipe).map_err(|error| error.to_string())?;
    let mut place = &mut json;
    for key in tables {
        let Value::Object(table) = place else {
            return Err("it is inside of something that is no table".to_owned());
        };
        place = table
            .entry((*key).to_owned())
            .or_insert_with(|| Value::Object(Map::new()));
    }
    let Value::Object(table) = place else {
        return Err("it is inside of something that is no table".to_owned());
    };
    let is_none = |word: &str| value.is_null() || value.as_str() == Some(word);
    if none_word(last).is_some_and(is_none) {
        table.remove(*last);
    } else {
        table.insert((*last).to_owned(), value.clone());
    }
    serde_json::from_value(json).map_err(|error| error.to_string())
}

/// What stands for no value, where there may be none. TOML has no null, so a word says it as well.
fn none_word(key: &str) -> Option<&'static str> {
    let mut fields = FIELDS.iter();
    let field = fields.find(|field| field.path.rsplit('/').next() == Some(key));
    field.and_then(|field| field.kind.none_word())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> RecipeFile {
        RecipeFile {
            json: from_text(text).unwrap(),
            name: "r.toml".to_owned(),
        }
    }

    fn over(text: &str) -> Result<Recipe, BadInput> {
        file(text).over(Method::Plain, ModelSize::Small)
    }

    #[test]
    fn a_partial_file_changes_only_what_it_names() {
        let recipe = over("seed = 7\n[pass]\nsteps = 3\nmin_snr_gamma = 5\n").unwrap();
        let preset = Recipe::preset(Method::Plain, ModelSize::Small);
        assert_eq!((recipe.seed, recipe.pass.steps.get()), (7, 3), "named");
        assert_eq!(
            recipe.pass.min_snr_gamma.map(|gamma| gamma.get()),
            Some(5.0),
            "switched on"
        );
        assert_eq!(recipe.pass.rank, preset.pass.rank, "not named");
        assert_eq!(recipe.copier, preset.copier, "a table not named");
    }

    #[test]
    fn optional_numbers_can_be_switched_off() {
        for text in [
            "[pass]\nclip_norm = \"off\"",
            r#"{"pass": {"clip_norm": null}}"#,
        ] {
            assert_eq!(over(text).unwrap().pass.clip_norm, None, "{text}");
        }
    }

    #[test]
    fn a_recipe_says_what_the_base_is_or_leaves_it_to_it() {
        let said = |text: &str| over(text).unwrap().said();
        let three = said("prediction_type = \"v\"\nzero_terminal_snr = true\nclip_skip = 2");
        assert_eq!(three.zero_terminal_snr, Some(true), "three");
        let none = "prediction_type = \"base\"\nzero_terminal_snr = \"base\"\nclip_skip = \"base\"";
        assert!(said(none).is_nothing(), "none of them");
        let refusal = over("prediction_type = \"eps\"").unwrap_err().to_string();
        assert!(refusal.contains("\"prediction_type\""), "{refusal}");
    }

    #[test]
    fn tables_of_another_method_are_told_unless_the_recipe_is_whole() {
        let told = |text: &str| file(text).idle(Method::Addift).collect::<Vec<_>>();
        let both = told("[copier.pass]\nrank = 4\n[addift]\nmultiplier = 0.5");
        assert_eq!(
            both,
            ["The recipe's table copier is for method copier and does nothing with method addift."],
            "one of the two"
        );
        let whole = Recipe::preset(Method::Addift, ModelSize::Sd1);
        let whole = serde_json::to_string(&whole).unwrap();
        assert!(told(&whole).is_empty(), "it has every table");
    }

    #[test]
    fn a_recipe_that_sets_nothing_is_told() {
        for text in ["# rank = 4", "{}", "{ \n}"] {
            let told = file(text).idle(Method::Plain).collect::<Vec<_>>();
            let expected =
                "The recipe sets nothing, so all is as it is preset for method plain: \"r.toml\".";
            assert_eq!(told, [expected], "of {text:?}");
        }
    }

    #[test]
    fn a_whole_recipe_stands_for_itself() {
        let mut whole = Recipe::preset(Method::Addift, ModelSize::Sd1);
        whole.pass.clip_norm = None;
        let text = serde_json::to_string(&whole).unwrap();
        assert_eq!(
            over(&text).unwrap(),
            whole,
            "nothing of the preset is mixed in"
        );
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        for (text, key) in [
            ("[pass]\nstepz = 3", "pass.stepz"),
            ("[passs]\nsteps = 3", "passs.steps"),
            ("pass = 3", "pass"),
            ("[prompt]\na = 3", "prompt.a"),
        ] {
            let error = over(text).unwrap_err().to_string();
            assert!(error.contains(&format!("{key:?}")), "{key} in: {error}");
            assert!(error.ends_with(": \"r.toml\""), "the file last: {error}");
        }
    }

    #[test]
    fn a_recipe_of_a_newer_mimeo_is_refused_as_such() {
        let error = over("format = 2\n[advanced]\ncolour = 3").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the recipe has format 2 of a newer Mimeo, and this one reads formats up to 1: update \
             Mimeo: \"r.toml\"",
            "and not for what is new in it"
        );
        assert!(over("format = 1\nseed = 3").is_ok(), "this one's own");
        let error = over("format = \"new\"").unwrap_err().to_string();
        assert!(error.contains("\"format\" cannot be used"), "{error}");
    }

    #[test]
    fn a_number_out_of_range_is_refused_by_name() {
        let error = over("[copier.pass]\nrank = 0").unwrap_err().to_string();
        assert!(error.contains("copier.pass.rank"), "the key: {error}");
        assert!(
            error.contains("between 1 and 128, not 0"),
            "the range: {error}"
        );
    }

    #[test]
    fn what_is_no_number_is_refused_by_name_and_switches_nothing_off() {
        for (text, key, words) in [
            (
                "[pass]\nclip_norm = nan",
                "pass.clip_norm",
                "Gradient clipping must be",
            ),
            (
                "[pass]\nmin_snr_gamma = inf",
                "pass.min_snr_gamma",
                "min-SNR gamma must be",
            ),
            (
                "[pass]\nlearning_rate = \"0,001\"",
                "pass.learning_rate",
                "no commas or units",
            ),
            (
                "[pass]\nlearning_rate = 1e30",
                "pass.learning_rate",
                "between 0.00000001 and 1",
            ),
            (
                "[pass]\nsteps = 1.5",
                "pass.steps",
                "Steps must be a whole number",
            ),
            (
                "[pass]\ntimesteps = [0, 2000]",
                "pass.timesteps",
                "Last timestep must be between",
            ),
            ("seed = -1", "seed", "No number stands for a random seed"),
            (
                r#"{"seed": 1.5}"#,
                "seed",
                "Seed must be a whole number between 0 and",
            ),
            (
                r#"{"addift": {"multiplier": 9}}"#,
                "addift.multiplier",
                "Multiplier must be between",
            ),
        ] {
            let error = over(text).unwrap_err().to_string();
            assert!(error.contains(&format!("{key:?}")), "{key} in: {error}");
            assert!(error.contains(words), "{words} in: {error}");
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        for (text, words) in [
            (r#"{"seed": 1, "pass": {"rank": 4, "rank": 8}}"#, "rank"),
            (
                "seed = 1\n[pass]\nrank = 4\nrank = 8",
                "duplicate key, in line 4",
            ),
        ] {
            let error = from_text(text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let nested = r#"{"seed": 1, "pass": {"timesteps": [0, 500], "clip_norm": null}}"#;
        let read: Value = serde_json::from_str(nested).unwrap();
        assert_eq!(from_text(nested), Ok(read), "the same as read by others");
    }

    #[test]
    fn a_typing_error_is_told_with_its_line() {
        let error = from_text("seed = 1\nsteps = = 3\n").unwrap_err();
        assert!(error.contains("line 2"), "{error}");
        assert!(!error.contains('\n'), "one line: {error}");
    }
}
