//! What is dropped on the page beside pictures: a recipe, as JSON or in the metadata of a LoRA that
//! Mimeo trained, or a checkpoint.

use mimeo_checkpoint::family::is_adapter;
use mimeo_checkpoint::folder::astray::is_single_file;
use mimeo_checkpoint::metadata::{PAIR, RECIPE, THUMBNAIL};
use mimeo_checkpoint::{AsyncReadAt, MemoryFile, SafetensorsFile, Stranger, printable, text_of};
use mimeo_protocol::{Example, Recipe, RecipeFormat};
use serde::Deserialize;

use crate::words;
use crate::workbench::{Command, Setting};

/// Largest recipe file, bytes: far above any recipe.
const MAX_RECIPE: usize = 1 << 20;
/// Longest quote of a stranger's text.
const QUOTE: usize = 200;

/// What a file brings along.
#[derive(Debug, Clone, PartialEq)]
pub struct Dropped {
    /// The recipe.
    pub recipe: Recipe,
    /// What the LoRA is called.
    pub name: String,
    /// The pictures it was trained on, if the file says so.
    pub pair: Option<Example>,
    /// What it looks like, as a `data:` address.
    pub thumbnail: Option<String>,
}

impl Dropped {
    /// The commands that put it onto the bench.
    #[must_use]
    pub fn commands(&self) -> Vec<Command> {
        vec![
            Command::Set(Setting::Recipe(Box::new(self.recipe.clone()))),
            Command::Set(Setting::Name(self.name.clone())),
        ]
    }
}

/// What a file is, as far as its name tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A picture, or something that says what it is when it is decoded.
    Picture,
    /// A recipe as JSON.
    Recipe,
    /// A LoRA or a checkpoint: see [`weights`].
    Weights,
}

impl Kind {
    /// By the name of the file.
    #[must_use]
    pub fn of(name: &str) -> Self {
        if name.to_ascii_lowercase().ends_with(".json") {
            Self::Recipe
        } else if is_single_file(name) {
            Self::Weights
        } else {
            Self::Picture
        }
    }
}

/// What weights are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    /// A LoRA, which may bring a recipe: see [`read`].
    Lora,
    /// Everything else: a base, or something that a trainer refuses as one by what it is.
    Base,
}

/// Looks at the header of weights, and at nothing else.
///
/// # Errors
/// One sentence: what it is instead of a safetensors file, and what to choose.
pub async fn weights(source: Box<dyn AsyncReadAt>) -> Result<Weights, String> {
    let file = SafetensorsFile::open(source).await;
    let file = file.map_err(|error| error.to_string())?;
    Ok(
        match file.metadata().contains_key(RECIPE) || is_adapter(&file) {
            true => Weights::Lora,
            false => Weights::Base,
        },
    )
}

/// What to do with a checkpoint that was dropped where the companion trains, which reads no picked
/// files.
#[must_use]
pub fn for_the_companion(name: &str) -> String {
    let name = printable(name, QUOTE);
    format!(
        "{name} is a checkpoint, which the companion reads from where it lies: start it with `mimeo serve --models FOLDER`, then choose it as the base. (`mimeo train` takes it as `--base FILE`.)"
    )
}

/// Reads a recipe file or a LoRA.
///
/// # Errors
/// One sentence: what it is instead, and what to choose.
pub async fn read(name: &str, file: Vec<u8>) -> Result<Dropped, String> {
    let stem = name
        .rsplit_once('.')
        .map_or(name, |(stem, _)| stem)
        .to_owned();
    if name.to_ascii_lowercase().ends_with(".json") {
        if is_adapter_config(&file) {
            return Err(format!(
                "{} is no recipe but half of a LoRA. In the playground, add it together with its \
                 adapter_model.safetensors.",
                printable(name, QUOTE)
            ));
        }
        let recipe = recipe_from_json(&file)?;
        return Ok(Dropped {
            recipe,
            name: stem,
            pair: None,
            thumbnail: None,
        });
    }
    let source = MemoryFile::new(name, file);
    let opened = SafetensorsFile::open(Box::new(source)).await;
    let metadata = opened
        .map_err(|error| error.to_string())?
        .metadata()
        .clone();
    let found = metadata.get(RECIPE).ok_or_else(|| {
        let name = printable(name, QUOTE);
        format!(
            "{name} holds no recipe; only LoRAs trained by Mimeo do. To draw with it, add it in the playground."
        )
    })?;
    let json = |key: &str| serde_json::from_str(metadata.get(key)?).ok();
    Ok(Dropped {
        recipe: recipe_from_json(found.as_bytes())?,
        name: stem,
        pair: json(PAIR),
        thumbnail: metadata
            .get(THUMBNAIL)
            .filter(|address| is_picture(address))
            .cloned(),
    })
}

/// Reads a recipe.
///
/// # Errors
/// One sentence with the name of what is wrong in it.
pub fn recipe_from_json(json: &[u8]) -> Result<Recipe, String> {
    if json.len() > MAX_RECIPE {
        return Err("This is no recipe file; it is far too large. Choose another one.".to_owned());
    }
    let json = text_of(json).map_err(|Stranger { found, .. }| {
        format!("The recipe is {found}. Choose its file again, or copy one from this page.")
    })?;
    RecipeFormat::check(&mut serde_json::Deserializer::from_str(&json))
        .map_err(|newer| words::newer(&newer))?;
    serde_json::from_str(&json).map_err(|error| {
        let why = printable(&error.to_string(), QUOTE);
        format!("The recipe cannot be used ({why}). Correct it, or copy one from this page.")
    })
}

/// A recipe as people pass it on.
#[must_use]
pub fn recipe_to_json(recipe: &Recipe) -> String {
    // A recipe is plain data.
    serde_json::to_string_pretty(recipe).unwrap_or_default()
}

/// Whether this is what PEFT writes beside the numbers of a LoRA.
fn is_adapter_config(json: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct AdapterConfig {
        #[serde(rename = "peft_type")]
        _kind: String,
    }
    let text = if json.len() > MAX_RECIPE {
        None
    } else {
        text_of(json).ok()
    };
    text.is_some_and(|text| serde_json::from_str::<AdapterConfig>(&text).is_ok())
}

/// Whether an address holds a small picture and nothing that could be fetched or run.
fn is_picture(address: &str) -> bool {
    address.len() < MAX_RECIPE && address.starts_with("data:image/")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mimeo_protocol::{Method, ModelSize};
    use pollster::block_on;

    use super::*;

    #[test]
    fn a_recipe_goes_out_and_comes_in_the_same() {
        let recipe = Recipe::preset(Method::Addift, ModelSize::Sd1);
        let json = recipe_to_json(&recipe);
        assert_eq!(recipe_from_json(json.as_bytes()), Ok(recipe), "{json}");
    }

    #[test]
    fn a_recipe_is_read_as_notepad_saves_it_and_what_is_none_is_named() {
        let recipe = Recipe::preset(Method::Addift, ModelSize::Sd1);
        let json = recipe_to_json(&recipe);
        let units = json.encode_utf16().flat_map(u16::to_le_bytes);
        let notepad: Vec<u8> = [0xFF, 0xFE].into_iter().chain(units).collect();
        assert_eq!(recipe_from_json(&notepad), Ok(recipe), "UTF-16");
        for (file, found) in [
            (&b""[..], "an empty file"),
            (b" \n", "an empty file"),
            (b"<!DOCTYPE html>", "a web page"),
            (
                b"version https://git-lfs.github.com/spec/v1",
                "a Git LFS pointer",
            ),
            (b"PK\x03\x04", "a zip archive"),
        ] {
            let why = recipe_from_json(file).unwrap_err();
            assert!(why.starts_with(&format!("The recipe is {found}.")), "{why}");
        }
    }

    #[test]
    fn a_recipe_with_a_typing_error_is_refused_by_name() {
        let recipe = Recipe::preset(Method::Addift, ModelSize::Sd1);
        let json = recipe_to_json(&recipe).replace("\"rank\"", "\"rnak\"");
        let why = recipe_from_json(json.as_bytes()).unwrap_err();
        assert!(why.contains("rnak"), "{why}");
    }

    #[test]
    fn the_recipe_of_a_lora_of_format_1_is_read() {
        let results = "../../tests/stored/format-1/companion/paused/results";
        let results = Path::new(env!("CARGO_MANIFEST_DIR")).join(results);
        for (lora, method) in [
            ("1/finished.safetensors", Method::Copier),
            ("2/addift.safetensors", Method::Addift),
        ] {
            let file = std::fs::read(results.join(lora)).unwrap();
            let dropped = block_on(read(lora, file)).unwrap();
            assert_eq!(dropped.recipe.method, method, "{lora}");
            assert_eq!(dropped.recipe.pass.rank.get(), 1, "{lora}");
            assert!(dropped.pair.is_some(), "{lora} names its pictures");
        }
    }

    #[test]
    fn a_recipe_of_a_newer_mimeo_is_refused_as_such() {
        let recipe = recipe_to_json(&Recipe::preset(Method::Addift, ModelSize::Sd1));
        let newer = recipe.replacen('{', r#"{"colour": "blue", "format": 2,"#, 1);
        let why = recipe_from_json(newer.as_bytes()).unwrap_err();
        let told = "The recipe has format 2 of a newer Mimeo, and this one reads formats up to 1";
        assert_eq!(
            why,
            format!("{told}: update Mimeo."),
            "and not for its colour"
        );
    }

    #[test]
    fn half_of_a_lora_is_no_recipe() {
        let config = br#"{"peft_type": "LORA", "r": 8}"#;
        assert!(is_adapter_config(config), "it is PEFT's");
        let recipe = recipe_to_json(&Recipe::preset(Method::Addift, ModelSize::Sd1));
        assert!(!is_adapter_config(recipe.as_bytes()), "a recipe is not");
    }

    #[test]
    fn files_are_told_apart_by_their_names() {
        for (name, kind) in [
            ("glasses A.png", Kind::Picture),
            ("notes", Kind::Picture),
            ("mine.JSON", Kind::Recipe),
            ("anime.safetensors", Kind::Weights),
            ("anime.CKPT", Kind::Weights),
        ] {
            assert_eq!(Kind::of(name), kind, "{name}");
        }
    }

    #[test]
    fn a_lora_and_a_checkpoint_are_told_apart_by_their_headers() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
        let told = |name: &str| {
            let file = std::fs::read(fixtures.join(name)).unwrap();
            block_on(weights(Box::new(MemoryFile::new(name, file))))
        };
        for (name, expected) in [
            ("trained_lora.safetensors", Weights::Lora),
            ("loras/kohya_ldm.safetensors", Weights::Lora),
            ("loras/comfyui.safetensors", Weights::Lora),
            ("loras/diffusers.safetensors", Weights::Lora),
            ("loras/peft/adapter_model.safetensors", Weights::Lora),
            ("single/sd1.safetensors", Weights::Base),
            ("single/sd1_nai.safetensors", Weights::Base),
            ("single/sd2.safetensors", Weights::Base),
            ("single/sdxl.safetensors", Weights::Base),
            (
                "micro/vae/diffusion_pytorch_model.safetensors",
                Weights::Base,
            ),
        ] {
            assert_eq!(told(name), Ok(expected), "{name}");
        }
        let why = told("micro/model_index.json").unwrap_err();
        assert!(why.contains("not a safetensors file; choose"), "{why}");
    }

    #[test]
    fn a_picture_in_metadata_can_only_be_a_picture() {
        assert!(is_picture("data:image/jpeg;base64,AAAA"), "a small one");
        assert!(!is_picture("data:text/html,<script>"), "a page");
        assert!(
            !is_picture("https://example.org/spy.png"),
            "one from elsewhere"
        );
    }
}
