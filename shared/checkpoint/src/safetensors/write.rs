//! Writing a safetensors file, always the same bytes for the same content.
//!
//! The `safetensors` crate takes the metadata as a `HashMap`, whose order changes with every
//! process, and the bytes with it. "Same seed, same file" needs one order, so the header is written
//! here: metadata first and sorted, then the tensors in the order of their bytes.

use std::collections::BTreeMap;

use ::safetensors::tensor::TensorInfo;
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{Dtype, LENGTH_BYTES, SafetensorsFile, header::METADATA_KEY};
use crate::{Array, CheckpointError};

/// The tensors of a file to be: end to end, by name.
///
/// All are of one dtype, so the order by name is also the one of the `safetensors` crate and of
/// Python, which put wider types first; the data, and the hashes over it, come out equal.
pub(crate) struct TensorData {
    infos: Vec<(String, TensorInfo)>,
    bytes: Vec<u8>,
}

impl TensorData {
    /// Lays out `tensors`: name to shape and bytes, all of `dtype`.
    pub(crate) fn new(dtype: Dtype, tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)>) -> Self {
        let mut data = Self {
            infos: Vec::with_capacity(tensors.len()),
            bytes: Vec::new(),
        };
        for (name, (shape, bytes)) in tensors {
            let start = data.bytes.len();
            data.bytes.extend(bytes);
            let data_offsets = (start, data.bytes.len());
            data.infos.push((
                name,
                TensorInfo {
                    dtype,
                    shape,
                    data_offsets,
                },
            ));
        }
        data
    }

    /// All bytes after the header.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Length, header and padding: all bytes before [`Self::bytes`].
    pub(crate) fn header(&self, metadata: &BTreeMap<String, String>) -> Vec<u8> {
        let header = HeaderOut {
            metadata,
            tensors: &self.infos,
        };
        let mut json = serde_json::to_vec(&header)
            .expect("a map of strings, numbers and lists is always valid JSON");
        // Spaces up to a multiple of eight, so that the data is aligned for readers that map it.
        json.resize(json.len().next_multiple_of(LENGTH_BYTES as usize), b' ');

        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json);
        bytes
    }
}

/// A file of single-precision tensors, by name.
#[must_use]
pub fn write_f32(tensors: BTreeMap<String, Array>, metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let bytes = |data: Vec<f32>| data.iter().flat_map(|value| value.to_le_bytes()).collect();
    let tensors = tensors
        .into_iter()
        .map(|(name, Array { shape, data })| (name, (shape, bytes(data))));
    let data = TensorData::new(Dtype::F32, tensors.collect());
    let mut file = data.header(metadata);
    file.extend_from_slice(data.bytes());
    file
}

impl SafetensorsFile {
    /// The bytes of the same file with one more entry in its metadata, or another value of it.
    ///
    /// # Errors
    /// If the tensors cannot be read.
    pub async fn with_metadata(&self, key: &str, value: &str) -> Result<Vec<u8>, CheckpointError> {
        let mut metadata = self.metadata.clone();
        metadata.insert(key.to_owned(), value.to_owned());
        let mut infos: Vec<(String, TensorInfo)> = self
            .tensors
            .iter()
            .map(|(name, entry)| {
                let info = TensorInfo {
                    dtype: entry.dtype,
                    shape: entry.shape.clone(),
                    data_offsets: (entry.start, entry.start + entry.length),
                };
                (name.clone(), info)
            })
            .collect();
        infos.sort_by_key(|(_, info)| info.data_offsets);
        let length = infos.last().map_or(0, |(_, info)| info.data_offsets.1);
        let bytes = self.source.read_at(self.data_start, length).await?;
        let data = TensorData { infos, bytes };
        let mut file = data.header(&metadata);
        file.extend_from_slice(data.bytes());
        Ok(file)
    }
}

struct HeaderOut<'a> {
    metadata: &'a BTreeMap<String, String>,
    tensors: &'a [(String, TensorInfo)],
}

impl Serialize for HeaderOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.metadata.is_empty() {
            map.serialize_entry(METADATA_KEY, self.metadata)?;
        }
        for (name, info) in self.tensors {
            map.serialize_entry(name, info)?;
        }
        map.end()
    }
}
