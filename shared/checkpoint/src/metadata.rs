//! What a LoRA file says about itself: the keys that other programs read, and Mimeo's own.
//!
//! Values are strings. `ss_*` are kohya's (sd-scripts `train_network.py`), by which A1111 and others
//! recognise a LoRA; `sshs_*` are hashes that the writer adds; `modelspec.*` is
//! <https://github.com/Stability-AI/ModelSpec> 1.0.1; `mimeo.*` is ours.

use std::collections::BTreeMap;

use crate::{Architecture, PredictionType, VaeFile};

/// The whole recipe, as JSON.
pub const RECIPE: &str = "mimeo.recipe";
/// The scores that were measured after training, as JSON.
pub const SCORES: &str = "mimeo.scores";
/// The pictures it was trained on, by the SHA-256 of their files, as JSON: `original`, `target`,
/// `mask`.
pub const PAIR: &str = "mimeo.pair";
/// The same of several pairs: a list, each with what is said of it beside (`caption`, `weight`,
/// `level`).
pub const EXAMPLES: &str = "mimeo.examples";
/// A small picture of what it does, as the `data:` address of a JPEG.
pub const THUMBNAIL: &str = "modelspec.thumbnail";
/// What identifies the base: see [`crate::Checkpoint::hash`].
pub const BASE_HASH: &str = "mimeo.base_hash";
/// The version of Mimeo that wrote the file.
pub const VERSION: &str = "mimeo.version";
/// The text of the `adapter_config.json` that PEFT wrote beside a LoRA, of which one file was made to be
/// sent.
pub const ADAPTER_CONFIG: &str = "mimeo.adapter_config";
/// The same settings as diffusers (0.35 and later) writes them, as JSON
/// (`loaders/lora_base.py`, `LORA_ADAPTER_METADATA_KEY`).
pub const LORA_ADAPTER_METADATA: &str = "lora_adapter_metadata";
/// SHA-256 of everything after the header.
pub const MODEL_HASH: &str = "sshs_model_hash";
/// The older, short hash of the same program.
pub const LEGACY_HASH: &str = "sshs_legacy_hash";

/// What is known about a LoRA when it is saved.
///
/// No clock is read here: a date that the program does not pass is a date that the file does not
/// have, and then the same seed gives the same file, bit for bit.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingMetadata {
    /// The file's name without extension; A1111 offers the LoRA under it.
    pub output_name: String,
    /// The kind of base that it was trained on.
    pub architecture: Architecture,
    /// Inner size of the modules.
    pub rank: usize,
    /// Numerator of the scale alpha / rank.
    pub alpha: f32,
    /// Seed of the training noise.
    pub seed: u64,
    /// Steps that were made.
    pub steps: u32,
    /// Steps that were planned.
    pub max_steps: u32,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// The optimizer, such as `AdamW`.
    pub optimizer: String,
    /// What the base predicts.
    pub prediction_type: PredictionType,
    /// Whether the base's schedule ends in pure noise.
    pub zero_terminal_snr: bool,
    /// Which layer of the text encoder said the prompt, counted from its end; `None` if it was the one
    /// that the base's family takes.
    pub clip_skip: Option<u32>,
    /// The file that the VAE was taken from; `None` if it was the base's own.
    pub vae: Option<VaeFile>,
    /// Width and height of the training pictures, pixels.
    pub resolution: (u32, u32),
    /// First and last timestep that was trained.
    pub timestep_range: (u32, u32),
    /// The whole recipe, as JSON.
    pub recipe: String,
    /// The measured scores, as JSON; `None` if none were measured.
    pub scores: Option<String>,
    /// The pictures it was trained on, as JSON; see [`PAIR`].
    pub pair: Option<String>,
    /// Those of several pairs, as JSON; see [`EXAMPLES`].
    pub examples: Option<String>,
    /// The word that calls what was learnt, if prompts need one.
    pub trigger: Option<String>,
    /// A small picture of what it does, as a `data:` address; see [`THUMBNAIL`].
    pub thumbnail: Option<String>,
    /// What identifies the base: see [`crate::Checkpoint::hash`].
    pub base_hash: String,
    /// The version of Mimeo.
    pub version: String,
    /// Day or moment of training in ISO 8601, for `modelspec.date`.
    pub date: Option<String>,
    /// When training started, seconds since 1970.
    pub started_at_secs: Option<f64>,
    /// When training ended, seconds since 1970.
    pub finished_at_secs: Option<f64>,
}

impl TrainingMetadata {
    /// The metadata of the file; [`crate::LoraFile::write`] adds the hashes.
    #[must_use]
    pub fn to_map(&self) -> BTreeMap<String, String> {
        let (width, height) = self.resolution;
        let (first_timestep, last_timestep) = self.timestep_range;
        let predicts_velocity = self.prediction_type == PredictionType::VPrediction;
        let names = base_names(self.architecture, predicts_velocity);
        let yes = |is: bool| is.then(|| "True".to_owned());
        let clip_skip = self.clip_skip.map(|layer| layer.to_string());
        let vae = |field: fn(&VaeFile) -> &String| self.vae.as_ref().map(|vae| field(vae).clone());

        let required = [
            // kohya writes Python's booleans.
            (
                "ss_v2",
                if names.is_v2 { "True" } else { "False" }.to_owned(),
            ),
            ("ss_base_model_version", names.kohya.to_owned()),
            ("ss_network_module", "networks.lora".to_owned()),
            ("ss_network_dim", self.rank.to_string()),
            ("ss_network_alpha", self.alpha.to_string()),
            ("ss_output_name", self.output_name.clone()),
            ("ss_seed", self.seed.to_string()),
            ("ss_steps", self.steps.to_string()),
            ("ss_max_train_steps", self.max_steps.to_string()),
            ("ss_learning_rate", self.learning_rate.to_string()),
            ("ss_optimizer", self.optimizer.clone()),
            ("modelspec.sai_model_spec", "1.0.1".to_owned()),
            (
                "modelspec.architecture",
                format!("{}/lora", names.modelspec),
            ),
            ("modelspec.implementation", names.implementation.to_owned()),
            ("modelspec.title", self.output_name.clone()),
            ("modelspec.resolution", format!("{width}x{height}")),
            (
                "modelspec.prediction_type",
                if predicts_velocity { "v" } else { "epsilon" }.to_owned(),
            ),
            (
                "modelspec.timestep_range",
                format!("{first_timestep},{last_timestep}"),
            ),
            (RECIPE, self.recipe.clone()),
            (BASE_HASH, self.base_hash.clone()),
            (VERSION, self.version.clone()),
        ];
        let optional = [
            ("ss_v_parameterization", yes(predicts_velocity)),
            ("ss_zero_terminal_snr", yes(self.zero_terminal_snr)),
            ("ss_clip_skip", clip_skip.clone()),
            ("modelspec.encoder_layer", clip_skip),
            ("ss_vae_name", vae(|vae| &vae.name)),
            ("ss_vae_hash", vae(|vae| &vae.legacy_hash)),
            ("ss_new_vae_hash", vae(|vae| &vae.sha256)),
            (SCORES, self.scores.clone()),
            (PAIR, self.pair.clone()),
            (EXAMPLES, self.examples.clone()),
            ("modelspec.trigger_phrase", self.trigger.clone()),
            (THUMBNAIL, self.thumbnail.clone()),
            ("modelspec.date", self.date.clone()),
            (
                "ss_training_started_at",
                self.started_at_secs.map(|secs| secs.to_string()),
            ),
            (
                "ss_training_finished_at",
                self.finished_at_secs.map(|secs| secs.to_string()),
            ),
        ];
        let present = optional
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)));
        required
            .into_iter()
            .chain(present)
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }
}

/// The model hash that a file claims, if it has the form of one.
///
/// The one metadata value that other programs paste into pages; a file that puts markup there is an
/// attack that has been seen.
#[must_use]
pub fn model_hash(metadata: &BTreeMap<String, String>) -> Option<&str> {
    let hash = metadata.get(MODEL_HASH)?;
    let is_hex = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then_some(hash.as_str())
}

struct BaseNames {
    is_v2: bool,
    kohya: &'static str,
    modelspec: &'static str,
    implementation: &'static str,
}

/// Whose names the modules have.
const DIFFUSERS: &str = "diffusers";
const SGM: &str = "https://github.com/Stability-AI/generative-models";

/// How other programs name the base. One built like Stable Diffusion 1.x counts as that: they know
/// no other word for it, and a LoRA without a known version is hidden from their lists.
///
/// sd-scripts `library/model_util.py`, `get_model_version_str_for_sd1_sd2`, and
/// `library/sai_model_spec.py`, `build_metadata`.
fn base_names(architecture: Architecture, predicts_velocity: bool) -> BaseNames {
    let (kohya, modelspec) = match (architecture, predicts_velocity) {
        (Architecture::Sd1 | Architecture::Sd1Like, false) => ("sd_v1", "stable-diffusion-v1"),
        (Architecture::Sd1 | Architecture::Sd1Like, true) => ("sd_v1_v", "stable-diffusion-v1"),
        (Architecture::Sd2 | Architecture::Sd2Like, false) => ("sd_v2", "stable-diffusion-v2-512"),
        (Architecture::Sd2 | Architecture::Sd2Like, true) => {
            ("sd_v2_v", "stable-diffusion-v2-768-v")
        }
        (Architecture::Sdxl | Architecture::SdxlLike, _) => {
            ("sdxl_base_v1-0", "stable-diffusion-xl-v1-base")
        }
        (Architecture::SdxlRefiner, _) => ("sdxl_refiner_v1-0", "stable-diffusion-xl-v1-refiner"),
    };
    BaseNames {
        is_v2: matches!(architecture, Architecture::Sd2 | Architecture::Sd2Like),
        kohya,
        modelspec,
        implementation: if architecture.is_xl() { SGM } else { DIFFUSERS },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> TrainingMetadata {
        TrainingMetadata {
            output_name: "glasses".into(),
            architecture: Architecture::Sd1Like,
            rank: 8,
            alpha: 8.0,
            seed: 7,
            steps: 100,
            max_steps: 120,
            learning_rate: 2e-3,
            optimizer: "AdamW".into(),
            prediction_type: PredictionType::Epsilon,
            zero_terminal_snr: false,
            clip_skip: None,
            vae: None,
            resolution: (128, 128),
            timestep_range: (0, 999),
            recipe: "{\"method\":\"copier\"}".into(),
            scores: None,
            pair: None,
            examples: None,
            trigger: None,
            thumbnail: None,
            base_hash: "ab".repeat(32),
            version: "0.1.0".into(),
            date: None,
            started_at_secs: None,
            finished_at_secs: None,
        }
    }

    #[test]
    fn every_key_that_other_programs_need_is_there() {
        let map = example().to_map();
        let expected = [
            ("ss_v2", "False"),
            ("ss_base_model_version", "sd_v1"),
            ("ss_network_module", "networks.lora"),
            ("ss_network_dim", "8"),
            ("ss_network_alpha", "8"),
            ("ss_output_name", "glasses"),
            ("ss_seed", "7"),
            ("ss_steps", "100"),
            ("ss_max_train_steps", "120"),
            ("ss_learning_rate", "0.002"),
            ("ss_optimizer", "AdamW"),
            ("modelspec.sai_model_spec", "1.0.1"),
            ("modelspec.architecture", "stable-diffusion-v1/lora"),
            ("modelspec.implementation", "diffusers"),
            ("modelspec.title", "glasses"),
            ("modelspec.resolution", "128x128"),
            ("modelspec.prediction_type", "epsilon"),
            ("modelspec.timestep_range", "0,999"),
            ("mimeo.recipe", "{\"method\":\"copier\"}"),
            ("mimeo.version", "0.1.0"),
        ];
        for (key, value) in expected {
            assert_eq!(map.get(key).map(String::as_str), Some(value), "of {key}");
        }
    }

    #[test]
    fn every_family_is_called_as_kohya_calls_it() {
        use Architecture::{Sd1, Sd2, Sd2Like, Sdxl, SdxlLike};
        use PredictionType::{Epsilon, VPrediction};
        for (architecture, prediction_type, is_v2, version, spec) in [
            (Sd1, VPrediction, "False", "sd_v1_v", "stable-diffusion-v1"),
            (Sd2, Epsilon, "True", "sd_v2", "stable-diffusion-v2-512"),
            (
                Sd2Like,
                VPrediction,
                "True",
                "sd_v2_v",
                "stable-diffusion-v2-768-v",
            ),
            (
                Sdxl,
                Epsilon,
                "False",
                "sdxl_base_v1-0",
                "stable-diffusion-xl-v1-base",
            ),
            (
                SdxlLike,
                VPrediction,
                "False",
                "sdxl_base_v1-0",
                "stable-diffusion-xl-v1-base",
            ),
        ] {
            let predicts_velocity = prediction_type == VPrediction;
            let map = TrainingMetadata {
                architecture,
                prediction_type,
                zero_terminal_snr: predicts_velocity,
                ..example()
            }
            .to_map();
            assert_eq!(map["ss_v2"], is_v2, "{architecture:?}");
            assert_eq!(map["ss_base_model_version"], version, "{architecture:?}");
            let spec = format!("{spec}/lora");
            assert_eq!(map["modelspec.architecture"], spec, "{architecture:?}");
            let is_sgm = map["modelspec.implementation"] == SGM;
            assert_eq!(is_sgm, architecture.is_xl(), "{architecture:?}");
            for mark in ["ss_v_parameterization", "ss_zero_terminal_snr"] {
                let expected = predicts_velocity.then_some("True");
                let found = map.get(mark).map(String::as_str);
                assert_eq!(found, expected, "{mark} of {architecture:?}");
            }
        }
    }

    #[test]
    fn what_was_not_given_is_not_written() {
        let map = example().to_map();
        for key in [
            "ss_v_parameterization",
            "ss_zero_terminal_snr",
            "ss_clip_skip",
            "modelspec.encoder_layer",
            "ss_vae_name",
            "ss_vae_hash",
            "ss_new_vae_hash",
            "modelspec.date",
            "ss_training_started_at",
            "ss_training_finished_at",
            SCORES,
            PAIR,
            EXAMPLES,
            "modelspec.trigger_phrase",
            THUMBNAIL,
        ] {
            assert!(!map.contains_key(key), "nothing is known for {key}");
        }
        let dated = TrainingMetadata {
            date: Some("2026-01-31".into()),
            started_at_secs: Some(1_769_817_600.5),
            ..example()
        };
        let map = dated.to_map();
        assert_eq!(map["modelspec.date"], "2026-01-31", "as it was given");
        assert_eq!(
            map["ss_training_started_at"], "1769817600.5",
            "seconds, as kohya writes them"
        );
        let said = TrainingMetadata {
            clip_skip: Some(2),
            vae: Some(VaeFile {
                name: "anime.vae.safetensors".into(),
                sha256: "0f".repeat(32),
                legacy_hash: "0f0f0f0f".into(),
            }),
            ..example()
        };
        let map = said.to_map();
        for (key, value) in [
            ("ss_clip_skip", "2"),
            ("modelspec.encoder_layer", "2"),
            ("ss_vae_name", "anime.vae.safetensors"),
            ("ss_vae_hash", "0f0f0f0f"),
            ("ss_new_vae_hash", &"0f".repeat(32)),
        ] {
            assert_eq!(map[key], value, "{key}, as kohya writes it");
        }
    }

    #[test]
    fn only_a_real_hash_passes_as_one() {
        let with = |hash: &str| BTreeMap::from([(MODEL_HASH.to_owned(), hash.to_owned())]);
        let good = "0f".repeat(32);
        assert_eq!(model_hash(&with(&good)), Some(&*good), "64 hex digits");
        for bad in ["", "0f", "<img src=x onerror=alert(1)>", &"é".repeat(32)] {
            assert_eq!(model_hash(&with(bad)), None, "{bad:?} is no hash");
        }
    }
}
