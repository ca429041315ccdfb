//! The JSON header: parsed, then checked so that every later read is inside the file.
//!
//! The dtypes and the entry's shape are the `safetensors` crate's; the map around them is read
//! here, for three reasons. The crate's own reader keeps the last of two equal names (the format
//! forbids them, and two readers that disagree about a file are a trap), buffers each entry in a
//! form many times its size, and reports most faults without the tensor's name. Property tests
//! hold both readers to the same verdict on everything else.

use std::collections::{BTreeMap, BTreeSet};

use ::safetensors::tensor::TensorInfo;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

use crate::{CheckpointError, text};

use super::TensorEntry;

pub(super) const METADATA_KEY: &str = "__metadata__";

pub(super) struct Header {
    pub(super) tensors: BTreeMap<String, TensorEntry>,
    pub(super) metadata: BTreeMap<String, String>,
    /// Bytes of all tensors together.
    pub(super) data_length: usize,
}

pub(super) fn parse(bytes: &[u8], file: &str) -> Result<Header, CheckpointError> {
    let raw: RawHeader = serde_json::from_slice(bytes).map_err(|error| {
        // The parser quotes what it stumbled over.
        CheckpointError::BadHeader {
            reason: text::printable(&error.to_string(), 200),
            file: file.to_owned(),
        }
    })?;
    check(raw, file)
}

/// Checks that the tensors lie end to end, from the first byte of the data on, each as long as its
/// shape and type say.
fn check(raw: RawHeader, file: &str) -> Result<Header, CheckpointError> {
    check_names(&raw.tensors, file)?;
    let mut in_file_order = raw.tensors;
    in_file_order.sort_by_key(|(_, info)| info.data_offsets);

    let mut tensors = BTreeMap::new();
    let mut data_length = 0;
    for (name, info) in in_file_order {
        let (tensor, file) = (text::name(&name), file.to_owned());
        let (start, end) = info.data_offsets;
        if start != data_length || end < start {
            return Err(CheckpointError::BadOffsets { tensor, file });
        }
        let found = end - start;
        let Some(expected) = byte_length(&info) else {
            return Err(CheckpointError::ShapeOverflow { tensor, file });
        };
        if expected != found {
            return Err(CheckpointError::WrongSize {
                tensor,
                expected,
                found,
                file,
            });
        }
        data_length = end;

        let TensorInfo { dtype, shape, .. } = info;
        let entry = TensorEntry {
            dtype,
            shape,
            start,
            length: found,
        };
        tensors.insert(name, entry);
    }
    Ok(Header {
        tensors,
        metadata: raw.metadata,
        data_length,
    })
}

/// Before the offsets: two of one name most often share their bytes, and then those would be blamed.
fn check_names(tensors: &[(String, TensorInfo)], file: &str) -> Result<(), CheckpointError> {
    let mut seen = BTreeSet::new();
    for (name, _) in tensors {
        if !seen.insert(name) {
            return Err(CheckpointError::DuplicateTensor {
                tensor: text::name(name),
                file: file.to_owned(),
            });
        }
    }
    Ok(())
}

/// Bytes of a tensor of this shape and type; `None` if that is no whole number, or too large.
fn byte_length(info: &TensorInfo) -> Option<usize> {
    let count = info
        .shape
        .iter()
        .try_fold(1_usize, |count, &size| count.checked_mul(size))?;
    let bits = count.checked_mul(info.dtype.bitsize())?;
    bits.is_multiple_of(8).then_some(bits / 8)
}

/// The header as it stands, nothing checked.
struct RawHeader {
    tensors: Vec<(String, TensorInfo)>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;

        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = RawHeader;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a map of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut tensors = Vec::new();
                let mut metadata = None;
                while let Some(name) = map.next_key::<String>()? {
                    if name != METADATA_KEY {
                        tensors.push((name, map.next_value()?));
                    } else if metadata.replace(map.next_value()?).is_some() {
                        return Err(serde::de::Error::duplicate_field(METADATA_KEY));
                    }
                }
                // The crate's reader accepts an explicit null here, so some files may have one.
                let metadata = metadata.flatten().unwrap_or_default();
                Ok(RawHeader { tensors, metadata })
            }
        }

        deserializer.deserialize_map(HeaderVisitor)
    }
}
