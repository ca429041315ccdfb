//! Writing a safetensors file, always the same bytes for the same content.
//!
//! The `safetensors` crate takes the metadata as a `HashMap`, whose order changes with every
//! process, and the bytes with it. "Same seed, same file" needs one order, so the header is written
//! here: metadata first and sorted, then the tensors in the order of their bytes.

use std::collections::BTreeMap;

use ::safetensors::tensor::TensorInfo;
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{Dtype, LENGTH_BYTES, header::METADATA_KEY};
use crate::Array;

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
