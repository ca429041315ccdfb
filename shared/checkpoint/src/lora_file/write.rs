//! Writing: check everything, lay the tensors out, hash them, put the header before.

use std::collections::BTreeMap;

use half::f16;

use crate::{
    Array, Dtype, LoraFileError,
    metadata::{LEGACY_HASH, MODEL_HASH},
    names::{ModuleName, parse_lora_key},
    safetensors::write::TensorData,
    sha256::{LEGACY_HASH_BYTES, LEGACY_HASH_START, sha256_hex},
    text,
};

use super::{LoraFile, MAX_METADATA_BYTES, Precision, metadata_bytes};

impl LoraFile {
    /// The bytes of a `.safetensors` file in kohya's spelling, the same for the same content.
    ///
    /// Adds the two `sshs_*` hashes to the metadata, replacing any that are there.
    ///
    /// # Errors
    /// If there are no modules, one is unsound (see [`super::LoraModule::check`]) or does not fit
    /// the precision, a name is no kohya name, or the metadata is longer than the reader accepts.
    pub fn write(&self, precision: Precision) -> Result<Vec<u8>, LoraFileError> {
        if self.modules.is_empty() {
            return Err(LoraFileError::Empty);
        }
        let data = self.tensors(precision)?;
        let mut metadata = self.metadata.clone();
        metadata.insert(MODEL_HASH.to_owned(), sha256_hex(data.bytes()));
        metadata.insert(LEGACY_HASH.to_owned(), legacy_hash(&self.metadata, &data));

        let found = metadata_bytes(&metadata);
        if found > MAX_METADATA_BYTES {
            return Err(LoraFileError::UnwritableMetadata {
                found,
                limit: MAX_METADATA_BYTES,
            });
        }
        let mut bytes = data.header(&metadata);
        bytes.extend_from_slice(data.bytes());
        Ok(bytes)
    }

    fn tensors(&self, precision: Precision) -> Result<TensorData, LoraFileError> {
        let mut tensors = BTreeMap::new();
        for (name, module) in &self.modules {
            check_name(name)?;
            let unwritable = |problem| LoraFileError::UnwritableModule {
                module: text::name(name),
                problem,
            };
            module.check().map_err(unwritable)?;

            let alpha = Array {
                shape: Vec::new(),
                data: vec![module.alpha],
            };
            let parts = module
                .factors()
                .map(|(factor, array)| (format!("lora_{factor}.weight"), array));
            for (part, array) in parts.chain([("alpha".to_owned(), &alpha)]) {
                let bytes =
                    encode(&array.data, precision).map_err(|value| LoraFileError::F16Overflow {
                        module: text::name(name),
                        value,
                    })?;
                tensors.insert(format!("{name}.{part}"), (array.shape.clone(), bytes));
            }
        }
        let dtype = match precision {
            Precision::F16 => Dtype::F16,
            Precision::F32 => Dtype::F32,
        };
        Ok(TensorData::new(dtype, tensors))
    }
}

/// A name that the reader would not give back is not written.
fn check_name(name: &str) -> Result<(), LoraFileError> {
    let key = format!("{name}.alpha");
    match parse_lora_key(&key).map(|key| key.module) {
        Ok(ModuleName::Kohya(found)) if found == name => Ok(()),
        _ => Err(LoraFileError::UnwritableName {
            module: text::name(name),
        }),
    }
}

/// Little-endian bytes of `values`, or the first value that the precision cannot hold.
fn encode(values: &[f32], precision: Precision) -> Result<Vec<u8>, f32> {
    match precision {
        Precision::F32 => Ok(values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()),
        Precision::F16 => {
            let mut bytes = Vec::with_capacity(2 * values.len());
            for &value in values {
                let half = f16::from_f32(value);
                if !half.is_finite() {
                    return Err(value);
                }
                bytes.extend(half.to_le_bytes());
            }
            Ok(bytes)
        }
    }
}

/// Eight hex digits of the SHA-256 of a window into the file as it would be with `ss_*` metadata
/// alone (kohya's `precalculate_safetensors_hashes`). A shorter file leaves the window empty.
fn legacy_hash(metadata: &BTreeMap<String, String>, data: &TensorData) -> String {
    let training_metadata = metadata
        .iter()
        .filter(|(key, _)| key.starts_with("ss_"))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let mut file = data.header(&training_metadata);
    file.extend(
        data.bytes()
            .iter()
            .take(LEGACY_HASH_START + LEGACY_HASH_BYTES),
    );

    let end = file.len().min(LEGACY_HASH_START + LEGACY_HASH_BYTES);
    let window = file.get(LEGACY_HASH_START..end).unwrap_or_default();
    let mut hash = sha256_hex(window);
    hash.truncate(8);
    hash
}
