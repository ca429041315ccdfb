//! Reading: sort the keys into modules, check the shapes, then read the numbers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::{
    AsyncReadAt, CheckpointError, Component, Dtype, LoraFileError, ModuleProblem, SafetensorsFile,
    metadata::{ADAPTER_CONFIG, LORA_ADAPTER_METADATA},
    names::{
        self, LDM_UNET_PREFIX, LoraPart, ModuleName, Part, UnreadableKey, is_saved_by_peft,
        other_model, parse_lora_key,
    },
    text,
};

use super::adapter_config::{ConfigProblem, LORA_BIAS, USE_DORA};
use super::{
    AdapterConfig, AlphaOrigin, LeftOut, LoraFile, LoraModule, MAX_METADATA_BYTES, Reading,
    Remarks, check_applies, check_shapes, left_out, metadata_bytes,
};

impl LoraFile {
    /// Reads a LoRA in kohya's, PEFT's, diffusers' or ComfyUI's spelling, stored in F32, F16 or BF16.
    ///
    /// A module's alpha is that of its own tensor; else the one that the metadata of diffusers names
    /// for it; else, as every program takes it, the rank. PEFT's own files keep alpha elsewhere and
    /// need [`Self::with_adapter_config`], unless [`put_together`] made one file of the two.
    ///
    /// # Errors
    /// If `source` is no safetensors file, holds no plain LoRA (what it is instead is named), or
    /// modules that are incomplete, of contradicting shapes, or not finite; or if alpha is unknown.
    pub async fn read(source: Box<dyn AsyncReadAt>) -> Result<Self, LoraFileError> {
        Self::from_tensors(&SafetensorsFile::open(source).await?).await
    }

    /// Reads a LoRA from a file that is already open.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn from_tensors(file: &SafetensorsFile) -> Result<Self, LoraFileError> {
        Self::with_adapter_config(file, None).await
    }

    /// Reads a LoRA beside which an `adapter_config.json` may stand. It counts for modules whose names
    /// PEFT wrote, so that one that lies beside the file of another program changes nothing.
    ///
    /// # Errors
    /// As [`Self::read`], and if the configuration is of another LoRA.
    pub async fn with_adapter_config(
        file: &SafetensorsFile,
        config: Option<&AdapterConfig>,
    ) -> Result<Self, LoraFileError> {
        check_metadata(file)?;
        let Sorted {
            modules: sorted,
            other_kinds,
        } = sort_keys(file)?;
        let settings = ModuleSettings::new(file, config)?;
        let mut reading = Reading {
            other_kinds,
            ..Reading::default()
        };
        let mut modules = BTreeMap::new();
        for (name, keys) in sorted {
            let config = settings.of(&keys);
            let missing = missing(config, &reading.other_kinds, file.name())?;
            reading.missing.extend(missing);
            let (module, origin) = read_module(file, &name, &keys, config).await?;
            *reading.alphas.entry(origin).or_default() += 1;
            if let Some((config, used)) = config
                && used == origin
            {
                reading.rank_stabilized += usize::from(config.is_rank_stabilized());
                reading
                    .unknown_settings
                    .extend(config.unknown().iter().cloned());
            }
            modules.insert(name, module);
        }
        Ok(Self {
            modules,
            metadata: file.metadata().clone(),
            reading,
        })
    }
}

impl AdapterConfig {
    /// Reads the text of an `adapter_config.json`; `file` is what messages call it.
    ///
    /// # Errors
    /// If it cannot be understood, or asks for something else than a LoRA.
    pub fn read(json: &str, file: &str) -> Result<Self, LoraFileError> {
        Self::parse(json).map_err(|problem| refusal(problem, AlphaOrigin::AdapterConfig, file))
    }
}

/// What is to be said of a LoRA file, by its names alone; of its numbers only as many are read as tell
/// that it changes something.
///
/// # Errors
/// If nothing of it would be applied, or something is missing or not known, as [`LoraFile::read`] and
/// [`LoraFile::check_applies`] would say.
pub async fn survey(file: &SafetensorsFile) -> Result<Remarks, LoraFileError> {
    check_metadata(file)?;
    let Sorted {
        modules,
        other_kinds,
    } = sort_keys(file)?;
    let settings = ModuleSettings::new(file, None)?;
    let mut remarks = Remarks::default();
    for keys in modules.values() {
        let config = settings.of(keys);
        if keys.alpha.is_none() && keys.saved_by_peft && config.is_none() {
            let file = file.name().to_owned();
            return Err(LoraFileError::MissingAdapterConfig { file });
        }
        let missing = missing(config, &other_kinds, file.name())?;
        remarks.missing.extend(missing);
        if let (None, Some((config, _))) = (keys.alpha, config) {
            let unknown = config.unknown().iter().cloned();
            remarks.unknown_settings.extend(unknown);
        }
    }
    remarks.left_out = left_out(other_kinds, modules.keys());
    check_applies(modules.keys(), || remarks.left_out.clone(), file.name())?;
    remarks.changes_nothing = true;
    for (name, keys) in &modules {
        if Part::of(name).is_applied() {
            let (module, _) = read_module(file, name, keys, settings.of(keys)).await?;
            if module.changes_something() {
                remarks.changes_nothing = false;
                break;
            }
        }
    }
    Ok(remarks)
}

/// Settings of a plain module that ask for tensors which the file lacks. What it has of that is sorted
/// already, as another kind or as a key that nothing knows.
///
/// # Errors
/// If the module was to be scaled by magnitudes: without them its factors mean something else.
fn missing(
    config: Option<(&AdapterConfig, AlphaOrigin)>,
    other_kinds: &LeftOut,
    file: &str,
) -> Result<Vec<&'static str>, LoraFileError> {
    let Some((config, place)) = config else {
        return Ok(Vec::new());
    };
    if config.asked().contains(&USE_DORA) {
        let problem = ConfigProblem::Other {
            setting: format!("{USE_DORA} = true"),
            what: "asks for magnitudes (DoRA), and the file holds none for some layers",
        };
        return Err(refusal(problem, place, file));
    }
    let is_there = |name: &str| {
        let mut kinds = other_kinds.iter().map(|(kind, _)| kind);
        name == LORA_BIAS && kinds.any(|kind| kind == names::LORA_BIAS)
    };
    let asked = config.asked().iter().copied();
    Ok(asked.filter(|name| !is_there(name)).collect())
}

/// The bytes of one file that says by itself what PEFT says in two: the weights, with the text of
/// their `adapter_config.json` in the metadata.
///
/// # Errors
/// If the configuration cannot be used, or the file cannot be read.
pub async fn put_together(
    weights: &SafetensorsFile,
    adapter_config: &str,
) -> Result<Vec<u8>, LoraFileError> {
    AdapterConfig::read(adapter_config, weights.name())?;
    let file = weights.with_metadata(ADAPTER_CONFIG, adapter_config);
    Ok(file.await?)
}

fn check_metadata(file: &SafetensorsFile) -> Result<(), LoraFileError> {
    let found = metadata_bytes(file.metadata());
    if found <= MAX_METADATA_BYTES {
        return Ok(());
    }
    Err(LoraFileError::MetadataTooLong {
        found,
        limit: MAX_METADATA_BYTES,
        file: file.name().to_owned(),
    })
}

/// PEFT's settings, from all places where they may stand.
struct ModuleSettings<'a> {
    /// Of the names that PEFT itself wrote.
    adapter_config: Option<Cow<'a, AdapterConfig>>,
    /// Of the names that diffusers wrote, by component.
    metadata: BTreeMap<Component, AdapterConfig>,
}

impl<'a> ModuleSettings<'a> {
    fn new(
        file: &SafetensorsFile,
        given: Option<&'a AdapterConfig>,
    ) -> Result<Self, LoraFileError> {
        let inside = file.metadata().get(ADAPTER_CONFIG);
        let adapter_config = match (given, inside) {
            (Some(config), _) => Some(Cow::Borrowed(config)),
            (None, Some(json)) => Some(Cow::Owned(AdapterConfig::read(json, file.name())?)),
            (None, None) => None,
        };
        let mut metadata = BTreeMap::new();
        if let Some(json) = file.metadata().get(LORA_ADAPTER_METADATA) {
            for component in Component::ADAPTED {
                let config = AdapterConfig::parse_component(json, component.diffusers_name());
                let config = config
                    .map_err(|problem| refusal(problem, AlphaOrigin::Metadata, file.name()))?;
                metadata.extend(config.map(|config| (component, config)));
            }
        }
        Ok(Self {
            adapter_config,
            metadata,
        })
    }

    /// What is said about a module, and where.
    fn of(&self, keys: &ModuleKeys<'_>) -> Option<(&AdapterConfig, AlphaOrigin)> {
        let (component, _) = keys.path.as_ref()?;
        let beside = self.adapter_config.as_deref();
        let beside = beside.filter(|_| keys.saved_by_peft);
        let inside = || self.metadata.get(component);
        beside
            .map(|config| (config, AlphaOrigin::AdapterConfig))
            .or_else(|| Some((inside()?, AlphaOrigin::Metadata)))
    }
}

fn refusal(problem: ConfigProblem, place: AlphaOrigin, file: &str) -> LoraFileError {
    let (place, file) = (place.title(), file.to_owned());
    match problem {
        ConfigProblem::Unreadable(reason) => LoraFileError::BadAdapterConfig {
            place,
            reason,
            file,
        },
        ConfigProblem::Other { setting, what } => LoraFileError::OtherArithmetic {
            setting,
            what,
            place,
            file,
        },
    }
}

/// The keys of one module's tensors, as the file spells them.
#[derive(Default)]
struct ModuleKeys<'a> {
    down: Option<&'a str>,
    up: Option<&'a str>,
    mid: Option<&'a str>,
    alpha: Option<&'a str>,
    /// Where it is in which model, if its name has not lost that: what PEFT's settings go by.
    path: Option<(Component, String)>,
    saved_by_peft: bool,
}

/// A file's keys, sorted.
struct Sorted<'a> {
    /// By kohya name of their module.
    modules: BTreeMap<String, ModuleKeys<'a>>,
    /// What is no factor of a plain LoRA.
    other_kinds: LeftOut,
}

/// Sorts the keys. Nothing is read yet: a checkpoint that was picked by mistake is refused at once,
/// whatever its size.
fn sort_keys(file: &SafetensorsFile) -> Result<Sorted<'_>, LoraFileError> {
    let mut modules: BTreeMap<String, ModuleKeys<'_>> = BTreeMap::new();
    let mut others = BTreeMap::new();
    let mut unknown = None;
    for key in file.tensors().keys() {
        if let Some(model) = other_model(key) {
            let file = file.name().to_owned();
            let model = model.to_owned();
            return Err(LoraFileError::OtherModel { model, file });
        }
        let parsed = match parse_lora_key(key) {
            Ok(parsed) => parsed,
            Err(UnreadableKey::OtherKind { kind, module }) => {
                others.entry((module, kind.name)).or_insert(kind);
                continue;
            }
            Err(UnreadableKey::Unknown) => {
                unknown.get_or_insert(key);
                continue;
            }
        };
        let module = parsed.module.kohya_name();
        let shown = text::name(&module);
        let keys = modules.entry(module).or_default();
        if let ModuleName::Path { component, path } = parsed.module {
            keys.path = Some((component, path.into_owned()));
        }
        keys.saved_by_peft |= is_saved_by_peft(key);
        let place = match parsed.part {
            LoraPart::Down => &mut keys.down,
            LoraPart::Up => &mut keys.up,
            LoraPart::Mid => &mut keys.mid,
            LoraPart::Alpha => &mut keys.alpha,
        };
        if place.replace(key).is_some() {
            let file = file.name().to_owned();
            return Err(LoraFileError::DuplicateModule {
                module: shown,
                file,
            });
        }
    }
    let mut other_kinds = LeftOut::default();
    for ((module, name), kind) in others {
        if kind.alters_factors {
            modules.remove(&module);
        }
        other_kinds.add(name);
    }
    if modules.is_empty() {
        return Err(what_else(file, other_kinds, unknown));
    }
    match unknown {
        None => Ok(Sorted {
            modules,
            other_kinds,
        }),
        Some(key) => {
            let (key, file) = (text::name(key), file.name().to_owned());
            Err(LoraFileError::UnknownKey { key, file })
        }
    }
}

/// What a file is in which no module of a plain LoRA was found.
fn what_else(file: &SafetensorsFile, kinds: LeftOut, unknown: Option<&String>) -> LoraFileError {
    let name = file.name().to_owned();
    if !kinds.is_empty() {
        return LoraFileError::OtherKinds { kinds, file: name };
    }
    if is_textual_inversion(file) {
        return LoraFileError::TextualInversion { file: name };
    }
    match unknown {
        Some(key) if key.contains("lora") => LoraFileError::OtherModel {
            model: format!(
                "a model that Mimeo does not know (it has a tensor {:?})",
                text::name(key)
            ),
            file: name,
        },
        Some(_) if is_checkpoint(file) => LoraFileError::NotALora {
            found: "a checkpoint",
            file: name,
        },
        Some(_) => LoraFileError::NotALora {
            found: "another kind of model",
            file: name,
        },
        None => LoraFileError::NotALora {
            found: "an empty file",
            file: name,
        },
    }
}

fn is_checkpoint(file: &SafetensorsFile) -> bool {
    let mut keys = file.tensors().keys();
    keys.any(|key| key.starts_with(LDM_UNET_PREFIX))
}

/// A1111 names the vectors of a new word `emb_params`, those of SDXL have one tensor for each text
/// encoder, and diffusers' tensor is called like the word, most often `<word>`.
fn is_textual_inversion(file: &SafetensorsFile) -> bool {
    const NAMES: [&str; 3] = ["emb_params", "clip_l", "clip_g"];
    let mut tensors = file.tensors().iter();
    file.tensors().len() <= NAMES.len()
        && tensors.all(|(name, tensor)| {
            let is_word = name.starts_with('<') && name.ends_with('>');
            (is_word || NAMES.contains(&&**name)) && matches!(tensor.shape.len(), 1 | 2)
        })
        && !file.tensors().is_empty()
}

/// A module and where its alpha is from.
async fn read_module(
    file: &SafetensorsFile,
    name: &str,
    keys: &ModuleKeys<'_>,
    config: Option<(&AdapterConfig, AlphaOrigin)>,
) -> Result<(LoraModule, AlphaOrigin), LoraFileError> {
    let missing = |part| LoraFileError::MissingPart {
        module: text::name(name),
        part,
        file: file.name().to_owned(),
    };
    let bad = |problem| LoraFileError::BadModule {
        module: text::name(name),
        problem,
        file: file.name().to_owned(),
    };
    let down_key = keys.down.ok_or_else(|| missing("down"))?;
    let up_key = keys.up.ok_or_else(|| missing("up"))?;
    let down_shape = &file.entry(down_key)?.shape;
    let mid_shape = match keys.mid {
        Some(key) => Some(&*file.entry(key)?.shape),
        None => None,
    };
    check_shapes(down_shape, mid_shape, &file.entry(up_key)?.shape).map_err(bad)?;

    let rank = down_shape[0];
    let (alpha, origin) = match (keys.alpha, config, &keys.path) {
        (Some(key), _, _) => {
            let alpha = read_number(file, key).await?;
            let alpha = alpha.ok_or_else(|| bad(ModuleProblem::Alpha))?;
            (alpha, AlphaOrigin::Tensor)
        }
        (None, Some((config, origin)), Some((_, path))) => {
            // A rank of 0 in a file would be refused above; what is no whole number never equals one.
            let expected = config
                .rank(path)
                .filter(|expected| !is_rank(*expected, rank));
            if let Some(expected) = expected {
                let (found, place) = (rank, origin.title());
                return Err(bad(ModuleProblem::OtherRank {
                    expected,
                    found,
                    place,
                }));
            }
            (config.alpha(path, rank) as f32, origin)
        }
        (None, _, _) if keys.saved_by_peft => {
            let file = file.name().to_owned();
            return Err(LoraFileError::MissingAdapterConfig { file });
        }
        (None, _, _) => (rank as f32, AlphaOrigin::Rank),
    };
    let down = file.read_f32(down_key).await?;
    let up = file.read_f32(up_key).await?;
    let mid = match keys.mid {
        Some(key) => Some(file.read_f32(key).await?),
        None => None,
    };
    let module = LoraModule {
        down,
        mid,
        up,
        alpha,
    };
    module.check().map_err(bad)?;
    Ok((module, origin))
}

fn is_rank(expected: f64, rank: usize) -> bool {
    (expected - rank as f64).abs() < f64::EPSILON
}

/// One number, or `None` if the tensor holds more or fewer.
async fn read_number(file: &SafetensorsFile, key: &str) -> Result<Option<f32>, CheckpointError> {
    let entry = file.entry(key)?;
    if entry.shape.iter().any(|size| *size != 1) {
        return Ok(None);
    }
    // torch.tensor(4) is an I64, and files in which a trainer left alpha like that exist; numpy's own
    // number is an F64.
    let number_from_bytes: fn(&[u8]) -> Option<f32> = match entry.dtype {
        Dtype::I64 => |bytes| Some(i64::from_le_bytes(*bytes.first_chunk()?) as f32),
        Dtype::I32 => |bytes| Some(i32::from_le_bytes(*bytes.first_chunk()?) as f32),
        Dtype::F64 => |bytes| Some(f64::from_le_bytes(*bytes.first_chunk()?) as f32),
        _ => return Ok(file.read_f32(key).await?.data.first().copied()),
    };
    Ok(number_from_bytes(&file.read_bytes(key).await?))
}
