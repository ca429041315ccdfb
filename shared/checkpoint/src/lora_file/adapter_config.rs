//! How strongly the modules of a LoRA act where no tensor says so: PEFT's `LoraConfig`.
//!
//! PEFT writes it to `adapter_config.json` beside the weights; diffusers (0.35 and later) writes the
//! same settings into the header of its file, as JSON under `lora_adapter_metadata`, each with the
//! component before it (`unet.lora_alpha`), or without one if a bare model was saved. What a setting
//! does to the numbers is in peft's `tuners/lora/layer.py`, `LoraLayer.update_layer`: the scale is
//! `lora_alpha / r`, with rsLoRA (arXiv 2312.03732) `lora_alpha / √r`; both numbers may be others for
//! modules whose path a pattern matches.

mod pattern;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::Value;

use crate::text::{self, printable};

use pattern::Pattern;

/// PEFT's own values where a configuration is silent.
const DEFAULT_ALPHA: f64 = 8.0;

/// Numbers that decide about the scale. Read by [`AdapterConfig::parse`].
const SCALE: [&str; 5] = [
    "r",
    "lora_alpha",
    "rank_pattern",
    "alpha_pattern",
    "use_rslora",
];

/// What shows in the tensors themselves: each kind has keys of its own, by which it is left out or
/// refused. That a file lacks them shows by these settings only.
const SEEN_IN_THE_TENSORS: [&str; 5] = [
    "bias",
    LORA_BIAS,
    "modules_to_save",
    "trainable_token_indices",
    USE_DORA,
];

/// A bias beside the second factor.
pub(super) const LORA_BIAS: &str = "lora_bias";
/// Magnitudes, by which the weights of a layer are scaled after the factors were added.
pub(super) const USE_DORA: &str = "use_dora";

/// What was said of the training, or of where the modules are, and changes no number afterwards.
const WITHOUT_EFFECT: [&str; 24] = [
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    // Turned off by PEFT itself for the layers that a UNet has.
    "fan_in_fan_out",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_dropout",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "peft_version",
    // Counts with `use_qalora` only.
    "qalora_group_size",
    "revision",
    "runtime_config",
    "target_modules",
    "target_parameters",
    "task_type",
    "velora_config",
    "_custom_modules",
];

/// What makes another arithmetic of the two factors, where it is set.
const OTHER_ARITHMETIC: [(&str, &str); 7] = [
    (
        "alora_invocation_tokens",
        "acts on some tokens only (aLoRA)",
    ),
    ("arrow_config", "chooses between several LoRAs (Arrow)"),
    ("kasa_config", "changes the base's weights as well (KaSA)"),
    ("layer_replication", "repeats layers of the base"),
    (
        "monteclora_config",
        "draws its factors at random (MonteCLoRA)",
    ),
    ("use_bdlora", "has factors in blocks (BD-LoRA)"),
    ("use_qalora", "pools its input in groups (QA-LoRA)"),
];

/// Ways to begin (`init_lora_weights`) that take something out of the base's weights, which the LoRA
/// then puts back; by how their names start.
const CHANGES_THE_BASE: [&str; 5] = ["corda", "loftq", "lora_ga", "olora", "pissa"];
/// Ways to begin that leave the base as it is.
const LEAVES_THE_BASE: [&str; 4] = ["eva", "gaussian", "mica", "orthogonal"];

/// What PEFT knows about the modules of one model.
#[derive(Debug, Clone)]
pub struct AdapterConfig {
    /// Rank of every module that no pattern names; none where the settings do not tell.
    rank: Option<f64>,
    alpha: f64,
    /// In PEFT's order: the first that matches counts.
    rank_pattern: Vec<(Pattern, f64)>,
    alpha_pattern: Vec<(Pattern, f64)>,
    rank_stabilized: bool,
    /// Settings that ask for tensors beside the two factors.
    asked: Vec<&'static str>,
    /// Settings that no version known here has.
    unknown: BTreeSet<String>,
}

/// What is wrong with such settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ConfigProblem {
    /// They cannot be understood.
    Unreadable(String),
    /// They ask for something else than a LoRA's two factors.
    Other {
        /// The setting as it stands.
        setting: String,
        /// What it does; reads on after "which".
        what: &'static str,
    },
}

impl AdapterConfig {
    /// Reads the text of an `adapter_config.json`, or of diffusers' metadata where it names no
    /// component.
    pub(super) fn parse(json: &str) -> Result<Self, ConfigProblem> {
        Self::from_settings(settings(json)?)
    }

    /// Reads diffusers' metadata: the settings of `component` (such as `unet`), or none if it has
    /// only those of others.
    pub(super) fn parse_component(
        json: &str,
        component: &str,
    ) -> Result<Option<Self>, ConfigProblem> {
        let settings = settings(json)?;
        // The settings' own names have no dots.
        if !settings.keys().any(|key| key.contains('.')) {
            return Self::from_settings(settings).map(Some);
        }
        let own: PeftSettings = settings
            .into_iter()
            .filter_map(|(key, value)| {
                let (owner, name) = key.rsplit_once('.')?;
                (owner == component).then(|| (name.to_owned(), value))
            })
            .collect();
        if own.is_empty() {
            return Ok(None);
        }
        Self::from_settings(own).map(Some)
    }

    fn from_settings(mut settings: PeftSettings) -> Result<Self, ConfigProblem> {
        refuse_other_kinds(&settings)?;
        let mut number = |name: &str| match settings.remove(name) {
            None | Some(Setting::Other(Value::Null)) => Ok(None),
            Some(Setting::Other(value)) => match value.as_f64() {
                Some(number) => Ok(Some(number)),
                None => Err(unreadable(name, "a number")),
            },
            Some(Setting::Pattern(_)) => Err(unreadable(name, "a number")),
        };
        let (rank, alpha) = (number("r")?, number("lora_alpha")?);
        let mut pattern = |name: &str| match settings.remove(name) {
            None | Some(Setting::Other(Value::Null)) => Ok(Vec::new()),
            Some(Setting::Pattern(Ordered(entries))) => pattern::read_all(entries)
                .map_err(|problem| ConfigProblem::Unreadable(format!("{name}: {problem}"))),
            Some(Setting::Other(_)) => Err(unreadable(name, "a table of numbers")),
        };
        let (rank_pattern, alpha_pattern) = (pattern("rank_pattern")?, pattern("alpha_pattern")?);
        let rank_stabilized = match settings.remove("use_rslora") {
            None | Some(Setting::Other(Value::Null)) => false,
            Some(Setting::Other(Value::Bool(value))) => value,
            Some(_) => return Err(unreadable("use_rslora", "true or false")),
        };
        Ok(Self {
            rank,
            alpha: alpha.unwrap_or(DEFAULT_ALPHA),
            rank_pattern,
            alpha_pattern,
            rank_stabilized,
            asked: asked(&settings),
            unknown: unknown(&settings),
        })
    }

    /// The rank that the module at `path` must have, where the settings tell.
    pub(super) fn rank(&self, path: &str) -> Option<f64> {
        first_match(&self.rank_pattern, path).or(self.rank)
    }

    /// What stands over the module's rank in its scale: for rsLoRA `lora_alpha · √rank`, so that alpha
    /// / rank is `lora_alpha / √rank`.
    pub(super) fn alpha(&self, path: &str, rank: usize) -> f64 {
        let alpha = first_match(&self.alpha_pattern, path).unwrap_or(self.alpha);
        if self.rank_stabilized {
            alpha * (rank as f64).sqrt()
        } else {
            alpha
        }
    }

    /// Whether the scale is `lora_alpha / √rank`.
    pub(super) const fn is_rank_stabilized(&self) -> bool {
        self.rank_stabilized
    }

    /// Settings that ask for tensors beside the two factors.
    pub(super) fn asked(&self) -> &[&'static str] {
        &self.asked
    }

    /// Settings that are not known here, and left aside.
    pub(super) const fn unknown(&self) -> &BTreeSet<String> {
        &self.unknown
    }
}

fn first_match(patterns: &[(Pattern, f64)], path: &str) -> Option<f64> {
    let found = patterns.iter().find(|(pattern, _)| pattern.matches(path));
    found.map(|(_, value)| *value)
}

fn unreadable(name: &str, expected: &str) -> ConfigProblem {
    ConfigProblem::Unreadable(format!("{name} is not {expected}"))
}

type PeftSettings = BTreeMap<String, Setting>;

/// A setting; a table of numbers keeps its order, which decides between patterns.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Setting {
    Pattern(Ordered),
    Other(Value),
}

impl Setting {
    /// Whether something was chosen at all.
    fn is_set(&self) -> bool {
        match self {
            Self::Pattern(Ordered(entries)) => !entries.is_empty(),
            Self::Other(value) => match value {
                Value::Null | Value::Bool(false) => false,
                Value::Array(list) => !list.is_empty(),
                Value::Object(table) => !table.is_empty(),
                Value::Bool(true) | Value::Number(_) | Value::String(_) => true,
            },
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(_) => formatter.write_str("{…}"),
            Self::Other(value) => formatter.write_str(&printable(&value.to_string(), 60)),
        }
    }
}

fn settings(json: &str) -> Result<PeftSettings, ConfigProblem> {
    serde_json::from_str(json)
        .map_err(|error| ConfigProblem::Unreadable(printable(&error.to_string(), 200)))
}

fn refuse_other_kinds(settings: &PeftSettings) -> Result<(), ConfigProblem> {
    let other = |name: &str, value: &Setting, what| {
        let setting = format!("{name} = {value}");
        Err(ConfigProblem::Other { setting, what })
    };
    if let Some(kind @ Setting::Other(Value::String(text))) = settings.get("peft_type")
        && text != "LORA"
    {
        return other("peft_type", kind, "stands for another kind of adapter");
    }
    for (name, what) in OTHER_ARITHMETIC {
        if let Some(value) = settings.get(name).filter(|value| value.is_set()) {
            return other(name, value, what);
        }
    }
    if let Some(value @ Setting::Other(Value::String(way))) = settings.get(INIT)
        && CHANGES_THE_BASE.iter().any(|name| way.starts_with(name))
    {
        return other(INIT, value, "changes the base's weights as well");
    }
    Ok(())
}

const INIT: &str = "init_lora_weights";

/// The settings that are set and ask for tensors of their own.
fn asked(settings: &PeftSettings) -> Vec<&'static str> {
    let is_asked = |name: &&str| match settings.get(*name) {
        // PEFT's word for no bias.
        Some(Setting::Other(Value::String(choice))) => choice != "none",
        setting => setting.is_some_and(Setting::is_set),
    };
    SEEN_IN_THE_TENSORS.into_iter().filter(is_asked).collect()
}

/// The names of settings that are set and that nothing here knows.
fn unknown(settings: &PeftSettings) -> BTreeSet<String> {
    let is_understood = |name: &str, value: &Setting| match value {
        Setting::Other(Value::String(way)) if name == INIT => {
            LEAVES_THE_BASE.contains(&way.as_str())
        }
        _ => is_known(name),
    };
    settings
        .iter()
        .filter(|(name, value)| value.is_set() && !is_understood(name, value))
        .map(|(name, _)| text::name(name))
        .collect()
}

fn is_known(name: &str) -> bool {
    let plain = [&SCALE[..], &SEEN_IN_THE_TENSORS, &WITHOUT_EFFECT];
    plain.iter().any(|names| names.contains(&name))
        || OTHER_ARITHMETIC.iter().any(|(known, _)| *known == name)
        || [INIT, "peft_type"].contains(&name)
}

/// A table of numbers in the order of the file.
#[derive(Debug)]
struct Ordered(Vec<(String, f64)>);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;

        impl<'de> Visitor<'de> for Table {
            type Value = Ordered;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a table of numbers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let (mut entries, mut seen) = (Vec::new(), BTreeSet::new());
                while let Some((key, value)) = map.next_entry::<String, f64>()? {
                    if !seen.insert(key.clone()) {
                        return Err(A::Error::custom("a pattern is there twice"));
                    }
                    entries.push((key, value));
                }
                Ok(Ordered(entries))
            }
        }

        deserializer.deserialize_map(Table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO_K: &str = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k";
    const TO_V: &str = "mid_block.attentions.0.transformer_blocks.0.attn2.to_v";

    fn parse(json: &str) -> AdapterConfig {
        AdapterConfig::parse(json).unwrap()
    }

    #[test]
    fn alpha_is_the_configured_one_for_every_module() {
        let config = parse(r#"{"r": 8, "lora_alpha": 16, "peft_type": "LORA"}"#);
        assert_eq!(config.alpha(TO_K, 8), 16.0, "so that the scale is 2");
        assert_eq!(config.rank(TO_K), Some(8.0), "for the check of the weights");
    }

    #[test]
    fn a_silent_configuration_means_pefts_defaults() {
        assert_eq!(parse("{}").alpha(TO_K, 4), 8.0, "LoraConfig's lora_alpha");
    }

    #[test]
    fn rank_stabilized_means_alpha_over_the_root_of_the_rank() {
        let config = parse(r#"{"r": 16, "lora_alpha": 8, "use_rslora": true}"#);
        assert_eq!(config.alpha(TO_K, 16) / 16.0, 2.0, "8 / √16");
        assert!(config.is_rank_stabilized(), "and it can be told");
    }

    #[test]
    fn patterns_count_in_the_order_of_the_file() {
        let config = parse(
            r#"{"r": 4, "lora_alpha": 4, "rank_pattern": {"to_v": 8},
                "alpha_pattern": {"to_k": 1, "attn2.to_k": 2, "attn2.to_v": 3, "to_v": 4}}"#,
        );
        assert_eq!(config.alpha(TO_K, 4), 1.0, "the first that matches");
        assert_eq!(config.alpha(TO_V, 8), 3.0, "the first that matches");
        assert_eq!(config.rank(TO_V), Some(8.0), "by its own pattern");
        assert_eq!(config.rank(TO_K), Some(4.0), "by r");
        let other = "mid_block.attentions.0.proj_in";
        assert_eq!(config.alpha(other, 4), 4.0, "lora_alpha where none matches");
    }

    #[test]
    fn diffusers_puts_the_component_before_each_setting() {
        let json = r#"{"unet.r": 8, "unet.lora_alpha": 4, "text_encoder.lora_alpha": 2,
            "unet.alpha_pattern": {"to_k": 1}}"#;
        let alpha = |component: &str| {
            let config = AdapterConfig::parse_component(json, component).unwrap();
            config.map(|config| (config.alpha(TO_K, 8), config.alpha(TO_V, 8)))
        };
        assert_eq!(alpha("unet"), Some((1.0, 4.0)), "its own");
        assert_eq!(alpha("text_encoder"), Some((2.0, 2.0)), "its own");
        assert_eq!(alpha("text_encoder_2"), None, "nothing is said of it");
        let bare = AdapterConfig::parse_component(r#"{"lora_alpha": 4}"#, "unet").unwrap();
        let alpha = bare.map(|config| config.alpha(TO_K, 8));
        assert_eq!(alpha, Some(4.0), "save_lora_adapter of a bare model");
    }

    #[test]
    fn what_is_no_plain_lora_is_refused_by_the_setting() {
        let cases = [
            (r#"{"peft_type": "LOHA"}"#, "peft_type = \"LOHA\""),
            (r#"{"use_qalora": true}"#, "use_qalora = true"),
            (r#"{"init_lora_weights": "pissa_niter_16"}"#, "pissa"),
            (r#"{"init_lora_weights": "olora"}"#, "olora"),
            (r#"{"layer_replication": [[0, 4]]}"#, "layer_replication"),
            (r#"{"kasa_config": {"beta": 1}}"#, "kasa_config"),
        ];
        for (json, words) in cases {
            let Err(ConfigProblem::Other { setting, .. }) = AdapterConfig::parse(json) else {
                panic!("{json} must be refused");
            };
            assert!(setting.contains(words), "{json}: {setting}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        for json in [
            "",
            "[]",
            "{",
            r#"{"lora_alpha": "16"}"#,
            r#"{"lora_alpha": {"to_k": 1}}"#,
            r#"{"alpha_pattern": {"to_k": "16"}}"#,
            r#"{"alpha_pattern": {"to_k": 1, "to_k": 2}}"#,
            r#"{"alpha_pattern": {"to_(k": 1}}"#,
            r#"{"use_rslora": "yes"}"#,
        ] {
            let answer = AdapterConfig::parse(json);
            assert!(
                matches!(answer, Err(ConfigProblem::Unreadable(_))),
                "{json} gave {answer:?}"
            );
        }
    }

    /// What peft 0.21.2 writes for a UNet.
    const PEFT: &str = include_str!("adapter_config/peft_0_21.json");

    #[test]
    fn every_setting_of_peft_is_known() {
        let settings = settings(PEFT).unwrap();
        let unknown: Vec<&String> = settings.keys().filter(|name| !is_known(name)).collect();
        assert!(
            unknown.is_empty(),
            "put each into one of the lists: {unknown:?}"
        );
        assert!(settings.len() > 30, "there are many: {}", settings.len());
    }

    #[test]
    fn settings_of_a_later_peft_are_named_if_they_are_set() {
        let config = parse(
            r#"{"use_newlora": true, "newlora_config": null, "use_other": false,
                "init_lora_weights": "newinit"}"#,
        );
        let unknown: Vec<&str> = config.unknown().iter().map(String::as_str).collect();
        assert_eq!(unknown, [INIT, "use_newlora"], "what is off does nothing");
    }
}
