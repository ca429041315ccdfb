//! Reading: sort the keys into modules, check the shapes, then read the numbers.

use std::collections::BTreeMap;

use crate::{
    AsyncReadAt, CheckpointError, Dtype, LoraFileError, ModuleProblem, SafetensorsFile,
    names::{LoraPart, UnreadableKey, parse_lora_key},
    text,
};

use super::{LoraFile, LoraModule, MAX_METADATA_BYTES, check_shapes, metadata_bytes};

impl LoraFile {
    /// Reads a LoRA in kohya's, PEFT's or diffusers' spelling, stored in F32, F16 or BF16. A module
    /// without alpha has alpha = rank.
    ///
    /// # Errors
    /// If `source` is no safetensors file, no plain LoRA (other kinds are named), or holds modules
    /// that are incomplete, of contradicting shapes, or not finite.
    pub async fn read(source: Box<dyn AsyncReadAt>) -> Result<Self, LoraFileError> {
        Self::from_tensors(&SafetensorsFile::open(source).await?).await
    }

    /// Reads a LoRA from a file that is already open.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn from_tensors(file: &SafetensorsFile) -> Result<Self, LoraFileError> {
        let found = metadata_bytes(file.metadata());
        if found > MAX_METADATA_BYTES {
            let file = file.name().to_owned();
            return Err(LoraFileError::MetadataTooLong {
                found,
                limit: MAX_METADATA_BYTES,
                file,
            });
        }
        let mut modules = BTreeMap::new();
        for (name, keys) in sort_keys(file)? {
            let module = read_module(file, &name, keys).await?;
            modules.insert(name, module);
        }
        Ok(Self {
            modules,
            metadata: file.metadata().clone(),
        })
    }
}

/// The keys of one module's tensors, as the file spells them.
#[derive(Default)]
struct ModuleKeys<'a> {
    down: Option<&'a str>,
    up: Option<&'a str>,
    alpha: Option<&'a str>,
}

/// Keys by kohya name of their module. Nothing is read yet: a checkpoint that was picked by mistake
/// is refused at once, whatever its size.
fn sort_keys(file: &SafetensorsFile) -> Result<BTreeMap<String, ModuleKeys<'_>>, LoraFileError> {
    let mut modules: BTreeMap<String, ModuleKeys<'_>> = BTreeMap::new();
    let mut unknown = None;
    for key in file.tensors().keys() {
        let parsed = match parse_lora_key(key) {
            Ok(parsed) => parsed,
            Err(UnreadableKey::OtherKind(kind)) => {
                let (key, file) = (text::name(key), file.name().to_owned());
                return Err(LoraFileError::UnsupportedKind { kind, key, file });
            }
            Err(UnreadableKey::Unknown) => {
                unknown.get_or_insert(key);
                continue;
            }
        };
        let module = parsed.module.kohya_name();
        let shown = text::name(&module);
        let keys = modules.entry(module).or_default();
        let place = match parsed.part {
            LoraPart::Down => &mut keys.down,
            LoraPart::Up => &mut keys.up,
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
    if modules.is_empty() {
        let found = if unknown.is_some() {
            "another kind of model"
        } else {
            "an empty file"
        };
        return Err(LoraFileError::NotALora {
            found,
            file: file.name().to_owned(),
        });
    }
    match unknown {
        None => Ok(modules),
        Some(key) => {
            let (key, file) = (text::name(key), file.name().to_owned());
            Err(LoraFileError::UnknownKey { key, file })
        }
    }
}

async fn read_module(
    file: &SafetensorsFile,
    name: &str,
    keys: ModuleKeys<'_>,
) -> Result<LoraModule, LoraFileError> {
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
    check_shapes(&file.entry(down_key)?.shape, &file.entry(up_key)?.shape).map_err(bad)?;

    let down = file.read_f32(down_key).await?;
    let up = file.read_f32(up_key).await?;
    let alpha = match keys.alpha {
        Some(key) => read_number(file, key)
            .await?
            .ok_or_else(|| bad(ModuleProblem::Alpha))?,
        None => down.shape[0] as f32,
    };
    let module = LoraModule { down, up, alpha };
    module.check().map_err(bad)?;
    Ok(module)
}

/// One number, or `None` if the tensor holds more or fewer.
async fn read_number(file: &SafetensorsFile, key: &str) -> Result<Option<f32>, CheckpointError> {
    let entry = file.entry(key)?;
    if entry.shape.iter().any(|size| *size != 1) {
        return Ok(None);
    }
    // torch.tensor(4) is an I64, and files in which a trainer left alpha like that exist.
    if entry.dtype == Dtype::I64 {
        let bytes = file.read_bytes(key).await?;
        return Ok(bytes
            .first_chunk()
            .map(|bytes| i64::from_le_bytes(*bytes) as f32));
    }
    Ok(file.read_f32(key).await?.data.first().copied())
}
