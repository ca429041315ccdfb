//! Configuration files beside diffusers and transformers: that every field has its fate, and that
//! the honoured ones change what is computed as they do there.

use std::collections::BTreeMap;

use mimeo_checkpoint::config::fields::{FILES, Fate, Field};
use mimeo_checkpoint::{
    AsyncReadAt, BoxFuture, Checkpoint, CheckpointError, Component, EmbeddedFolder, Folder,
    MemoryFile, SchedulerConfig, TextEncoderConfig, UNetConfig, VaeConfig,
};
use mimeo_diffusion::{Ddim, Euler, NoiseSchedule, UNet2DConditionModel, WeightFormat, WeightMap};
use mimeo_engine::text::read_tokenizer;
use mimeo_engine::{ArithmeticChoice, Base, EngineError, Event};
use mimeo_lora::LoraStack;
use pollster::block_on;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::support::close::{Tolerance, assert_close, assert_values_close};
use crate::support::fixture::{Fixture, read_json};
use crate::support::models::{bundled, cpu, micro_folder, open};
use crate::support::test;

/// Fields by class.
type Classes = BTreeMap<String, Map<String, Value>>;

#[test]
fn every_field_that_the_classes_have_stands_in_a_table() {
    let known: BTreeMap<String, Classes> = read_json("config_fields.json");
    let missing: Vec<String> = known
        .iter()
        .flat_map(|(path, classes)| {
            let file = FILES.iter().find(|file| file.path == path).unwrap();
            let is_known = |name: &str| file.fields.iter().any(|field| field.name == name);
            classes.iter().flat_map(move |(class, fields)| {
                let missing = fields.keys().filter(move |name| !is_known(name));
                missing.map(move |name| format!("{name} of {class} in {path}"))
            })
        })
        .collect();
    assert!(
        missing.is_empty(),
        "neither honoured nor refused nor without effect:\n{}",
        missing.join("\n")
    );
    assert_eq!(known.len(), FILES.len(), "every file has its classes");
}

#[test]
fn what_the_classes_assume_is_what_is_computed() {
    // A class whose default is refused would refuse files that leave the field out.
    let known: BTreeMap<String, Classes> = read_json("config_fields.json");
    for file in FILES {
        for (class, defaults) in &known[file.path] {
            for Field { name, fate } in file.fields {
                let (Fate::Only { values, .. }, Some(default)) = (fate, defaults.get(*name)) else {
                    continue;
                };
                let allowed = |value: &&str| {
                    let value: Value = serde_json::from_str(value).unwrap();
                    value == *default
                        || value
                            .as_f64()
                            .is_some_and(|it| Some(it) == default.as_f64())
                };
                let is_allowed = values.iter().any(allowed);
                assert!(is_allowed, "{name} of {class} is {default} by default");
            }
        }
    }
}

#[test]
fn fields_that_a_file_leaves_out_have_the_defaults_of_the_classes() {
    let known: BTreeMap<String, Classes> = read_json("config_fields.json");
    let defaults = |path: &str, class: &str| Value::Object(known[path][class].clone()).to_string();
    let shown = |config: &dyn std::fmt::Debug| format!("{config:?}");

    let all = defaults("unet/config.json", "UNet2DConditionModel");
    let (all, none) = (UNetConfig::from_json(&all), UNetConfig::from_json("{}"));
    assert_eq!(shown(&none.unwrap()), shown(&all.unwrap()), "of a UNet");
    let all = defaults("vae/config.json", "AutoencoderKL");
    let (all, none) = (VaeConfig::from_json(&all), VaeConfig::from_json("{}"));
    assert_eq!(shown(&none.unwrap()), shown(&all.unwrap()), "of a VAE");
    let all = defaults("text_encoder/config.json", "saved");
    let all = TextEncoderConfig::from_json(&all);
    let none = TextEncoderConfig::from_json("{}");
    assert_eq!(shown(&none.unwrap()), shown(&all.unwrap()), "of CLIP");
    let all = defaults("scheduler/scheduler_config.json", "DDIMScheduler");
    let schedule = |json: &str| NoiseSchedule::new(&SchedulerConfig::from_json(json).unwrap());
    assert_eq!(shown(&schedule("{}")), shown(&schedule(&all)), "of DDIM");
}

/// Sums in another order, as of the UNet in miniature: see `micro.rs`.
const UNET: Tolerance = Tolerance::abs(7e-6);

#[test]
fn settings_of_the_unet_change_what_they_change_in_diffusers() {
    let settings: BTreeMap<String, Map<String, Value>> = read_json("unet_settings.json");
    let fixture = Fixture::read("unet_settings.safetensors");
    let folder = micro_folder();
    let config: Map<String, Value> =
        serde_json::from_slice(bytes(&folder, "unet/config.json")).unwrap();
    for (name, changes) in settings {
        let mut config = config.clone();
        config.extend(changes);
        let config = UNetConfig::from_json(&Value::Object(config).to_string()).unwrap();
        let (file, device) = (open(&folder, Component::Unet), cpu());
        let weights = WeightMap::read(&file, &device, WeightFormat::Single);
        let mut weights = block_on(weights).unwrap();
        let unet = UNet2DConditionModel::load(&config, &mut weights).unwrap();
        let ours = unet.forward(
            fixture.tensor("sample", &cpu()),
            fixture.int_tensor("timesteps", &cpu()),
            &fixture.conditioning("encoder_hidden_states", &cpu()),
            &LoraStack::none(),
        );
        let label = format!("noise_pred.{name}");
        let theirs = fixture.tensor(&label, &cpu());
        assert_close(&label, ours, theirs, UNET);
    }
}

/// torch multiplies a thousand alphas in f32, we in f64; where the schedule ends near pure noise
/// (`squaredcos_cap_v2`) they are tiny.
const ALPHAS: Tolerance = Tolerance::rel(2e-5);

/// The bundled scheduler's file, changed.
fn scheduler(changes: Map<String, Value>) -> NoiseSchedule {
    let json = bytes(&bundled(), "scheduler/scheduler_config.json");
    let mut config: Map<String, Value> = serde_json::from_slice(json).unwrap();
    config.extend(changes);
    let config = SchedulerConfig::from_json(&Value::Object(config).to_string());
    NoiseSchedule::new(&config.unwrap())
}

#[derive(Deserialize)]
struct ScheduleSettings {
    changes: BTreeMap<String, Map<String, Value>>,
    files: BTreeMap<String, String>,
}

fn alphas(schedule: &NoiseSchedule) -> Vec<f32> {
    let alphas = (0..schedule.len() as i64).map(|timestep| schedule.alpha_cumprod(timestep));
    alphas.map(|alpha| alpha as f32).collect()
}

#[test]
fn betas_of_every_kind_give_the_alphas_of_diffusers() {
    let ScheduleSettings { changes, .. } = read_json("schedule_settings.json");
    let fixture = Fixture::read("schedule_settings.safetensors");
    assert_eq!(changes.len(), 3, "kinds beside the usual one");
    for (name, changes) in changes {
        let label = format!("alphas_cumprod.{name}");
        let ours = alphas(&scheduler(changes));
        assert_values_close(&label, &ours, fixture.floats(&label), ALPHAS);
    }
}

#[test]
fn spaced_timesteps_are_those_of_diffusers() {
    let fixture = Fixture::read("schedule_settings.safetensors");
    for spacing in ["leading", "linspace", "trailing"] {
        let changes = Map::from_iter([("timestep_spacing".to_owned(), json!(spacing))]);
        let schedule = scheduler(changes);
        for steps in [1, 7, 16, 20, 30, 999] {
            let ddim = Ddim::new(&schedule, steps);
            let theirs = fixture.timesteps(&format!("ddim_timesteps.{spacing}.{steps}"));
            assert_eq!(ddim.timesteps(), theirs, "{spacing} in {steps} steps");
        }
        let label = format!("euler_init_noise_sigma.{spacing}");
        let ours = [Euler::new(&schedule, 20).init_noise_sigma() as f32];
        assert_values_close(&label, &ours, fixture.floats(&label), ALPHAS);
    }
}

#[test]
fn the_file_of_every_scheduler_is_read() {
    let ScheduleSettings { files, .. } = read_json("schedule_settings.json");
    assert!(files.len() > 15, "only {} schedulers", files.len());
    let usual = alphas(&scheduler(Map::new()));
    for (class, file) in files {
        // Through the whole way of a file: one of them holds -Infinity, which is no JSON.
        let changed = Changed::of(
            &micro_folder(),
            &[("scheduler/scheduler_config.json", &file)],
        );
        let mut notes = Vec::new();
        let base = load(&changed, &mut notes).unwrap_or_else(|error| panic!("{class}: {error}"));
        assert_eq!(alphas(&base.schedule), usual, "the schedule of {class}");
        assert_eq!(
            notes,
            Vec::<String>::new(),
            "all that {class} writes is known"
        );
    }
}

#[test]
fn a_field_that_nobody_knows_is_said_and_one_that_is_not_computed_refused() {
    let folder = micro_folder();
    let with = |path: &str, name: &str, value: Value| {
        let config = bytes(&folder, path);
        let mut config: Map<String, Value> = serde_json::from_slice(config).unwrap();
        config.insert(name.to_owned(), value);
        let text = Value::Object(config).to_string();
        let changed = Changed::of(&folder, &[(path, &text)]);
        let mut notes = Vec::new();
        let loaded = load(&changed, &mut notes).map(|_| ());
        (loaded.map_err(|error| error.to_string()), notes)
    };
    let (loaded, notes) = with("unet/config.json", "warp_factor", json!(9));
    assert_eq!(loaded, Ok(()), "as in diffusers");
    assert_eq!(notes.len(), 1, "one sentence: {notes:?}");
    assert!(notes[0].contains("warp_factor = 9"), "{notes:?}");
    let (loaded, notes) = with("vae/config.json", "use_quant_conv", json!(false));
    assert_eq!(loaded, Ok(()), "its weights are there and not called for");
    let [note] = &notes[..] else {
        panic!("one sentence: {notes:?}");
    };
    assert!(note.contains("the VAE has 2 tensors"), "{note}");
    assert!(note.contains("quant_conv.bias"), "the first: {note}");
    let (loaded, _) = with("unet/config.json", "time_cond_proj_dim", json!(256));
    let sentence = loaded.unwrap_err();
    assert!(sentence.contains("time_cond_proj_dim to 256"), "{sentence}");
}

#[derive(Deserialize)]
struct TokenizerFiles {
    prompts: Vec<String>,
    #[serde(flatten)]
    cases: BTreeMap<String, Case>,
}

#[derive(Deserialize)]
struct Case {
    files: BTreeMap<String, String>,
    ids: Vec<Vec<u32>>,
}

#[test]
fn whatever_files_the_tokenizer_comes_in_its_ids_are_those_of_transformers() {
    let TokenizerFiles { prompts, cases } = read_json("tokenizer_files.json");
    assert!(cases.len() >= 8, "only {} kinds", cases.len());
    for (name, Case { files, ids }) in cases {
        let files = files.into_iter();
        let folder = Changed(
            files
                .map(|(file, text)| (format!("tokenizer/{file}"), text.into_bytes()))
                .collect(),
        );
        let tokenizer = block_on(read_tokenizer(&folder, Component::TextEncoder));
        let tokenizer = tokenizer.unwrap_or_else(|error| panic!("{name}: {error}"));
        for (prompt, ids) in prompts.iter().zip(ids) {
            let ours = tokenizer.framed(&tokenizer.tokens(prompt).unwrap());
            assert_eq!(ours, ids, "{prompt:?} from a tokenizer {name}");
        }
    }
}

/// A folder of a test's own files.
struct Changed(BTreeMap<String, Vec<u8>>);

impl Changed {
    /// A folder with some files replaced.
    fn of(folder: &EmbeddedFolder, replaced: &[(&str, &str)]) -> Self {
        let files = folder.files.iter();
        let mut files: BTreeMap<_, _> = files
            .map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec()))
            .collect();
        for (path, text) in replaced {
            files.insert((*path).to_owned(), text.as_bytes().to_vec());
        }
        Self(files)
    }
}

impl Folder for Changed {
    fn name(&self) -> String {
        "changed".to_owned()
    }

    fn open<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn AsyncReadAt>, CheckpointError>> {
        Box::pin(async move {
            let Some(bytes) = self.0.get(path) else {
                return Err(CheckpointError::MissingFile {
                    path: path.to_owned(),
                    folder: Folder::name(self),
                });
            };
            Ok(Box::new(MemoryFile::new(path, bytes.clone())) as Box<dyn AsyncReadAt>)
        })
    }
}

fn load(folder: &dyn Checkpoint, notes: &mut Vec<String>) -> Result<Base, EngineError> {
    block_on(Base::load(
        folder,
        &cpu(),
        ArithmeticChoice::Auto,
        &mut |event: Event| {
            if let Event::Note { text } = event {
                notes.push(text);
            }
        },
    ))
}

fn bytes(folder: &EmbeddedFolder, path: &str) -> &'static [u8] {
    let mut files = folder.files.iter();
    let found = files.find(|(name, _)| *name == path);
    let (_, bytes) = found.unwrap_or_else(|| panic!("{path} is missing"));
    bytes
}
