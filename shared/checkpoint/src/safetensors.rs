//! A safetensors file, opened by its header and read tensor by tensor.
//!
//! Format: <https://huggingface.co/docs/safetensors>. Eight bytes of header length, a JSON header,
//! then the tensors' bytes. [`SafetensorsFile::open`] reads the header only, so a checkpoint of
//! several gigabytes never has to fit into memory.

mod diagnosis;
mod fp8;
mod header;
pub(crate) mod write;

use std::collections::BTreeMap;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

pub use ::safetensors::Dtype;
pub use write::write_f32;

use crate::sha256::{LEGACY_HASH_BYTES, LEGACY_HASH_START, sha256_hex};
use crate::{Array, AsyncReadAt, CheckpointError, sha256_of, text};

/// Bytes before the header: its length, little-endian.
const LENGTH_BYTES: u64 = 8;

/// The format's own limit of a header's length.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Numbers that are looked at before the first bad one is noticed.
const FINITE_BLOCK: usize = 4096;

/// An open safetensors file: its names, shapes and metadata are known, its tensors are on disk.
pub struct SafetensorsFile {
    source: Box<dyn AsyncReadAt>,
    /// Where the tensors' bytes begin.
    data_start: u64,
    tensors: BTreeMap<String, TensorEntry>,
    metadata: BTreeMap<String, String>,
}

/// What the header says about one tensor; checked, so that its bytes are in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// How each number is stored.
    pub dtype: Dtype,
    /// Sizes, outermost first; empty for a single number.
    pub shape: Vec<usize>,
    /// First byte, counted from the end of the header.
    start: usize,
    /// Bytes.
    length: usize,
}

/// A number that a weight can be.
pub trait Number: Copy {
    /// Whether it is neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// Whether it is NaN.
    fn is_nan(self) -> bool;
    /// Whether each of them is finite: a loop over a whole base, so it is compiled here (see the
    /// functions at the end of this file).
    fn all_finite(numbers: &[Self]) -> bool;
}

impl Number for f32 {
    fn is_finite(self) -> bool {
        self.is_finite()
    }

    fn is_nan(self) -> bool {
        self.is_nan()
    }

    fn all_finite(numbers: &[Self]) -> bool {
        all_finite(numbers)
    }
}

impl Number for f16 {
    fn is_finite(self) -> bool {
        self.is_finite()
    }

    fn is_nan(self) -> bool {
        self.is_nan()
    }

    fn all_finite(numbers: &[Self]) -> bool {
        all_finite(numbers)
    }
}

impl TensorEntry {
    /// Whether each number takes 8 bits or fewer, which no weight does that was not quantised.
    #[must_use]
    pub fn is_quantised(&self) -> bool {
        self.dtype != Dtype::BOOL && self.dtype.bitsize() <= 8
    }

    /// Numbers in it; they fit, as the header was checked.
    pub(crate) fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Of a file that is not there.
    #[cfg(test)]
    pub(crate) fn of_shape(dtype: Dtype, shape: &[usize]) -> Self {
        let count: usize = shape.iter().product();
        Self {
            dtype,
            shape: shape.to_vec(),
            start: 0,
            length: count * dtype.bitsize() / 8,
        }
    }

    /// The same bytes handed out in another shape.
    pub(crate) fn reshaped(&self, shape: Vec<usize>) -> Self {
        Self {
            shape,
            ..self.clone()
        }
    }

    /// The same numbers handed out in another type.
    pub(crate) fn of_type(&self, dtype: Dtype) -> Self {
        Self {
            dtype,
            ..self.clone()
        }
    }

    /// One of `of` equal parts along the first side, as a tensor of its own; none if the rows do not
    /// divide.
    pub(crate) fn part(&self, index: usize, of: usize) -> Option<Self> {
        let (rows, rest) = self.shape.split_first()?;
        if !rows.is_multiple_of(of) || !self.length.is_multiple_of(of) || index >= of {
            return None;
        }
        let length = self.length / of;
        Some(Self {
            dtype: self.dtype,
            shape: std::iter::once(rows / of)
                .chain(rest.iter().copied())
                .collect(),
            start: self.start + index * length,
            length,
        })
    }
}

impl SafetensorsFile {
    /// Reads and checks the header of `source`.
    ///
    /// # Errors
    /// If `source` is no safetensors file (pickles are named as such), is damaged, or is longer or
    /// shorter than its header says.
    pub async fn open(source: Box<dyn AsyncReadAt>) -> Result<Self, CheckpointError> {
        let header_length = diagnosis::header_length(&*source).await?;
        let header_bytes = source.read_at(LENGTH_BYTES, header_length).await?;
        let header = header::parse(&header_bytes, source.name())?;

        let data_start = LENGTH_BYTES + header_length as u64;
        let expected = data_start.saturating_add(header.data_length as u64);
        let found = source.size();
        let file = source.name().to_owned();
        if expected > found {
            return Err(CheckpointError::Truncated {
                expected,
                found,
                file,
            });
        }
        if expected < found {
            return Err(CheckpointError::TrailingBytes {
                expected,
                found,
                file,
            });
        }
        Ok(Self {
            source,
            data_start,
            tensors: header.tensors,
            metadata: header.metadata,
        })
    }

    /// What messages call this file.
    #[must_use]
    pub fn name(&self) -> &str {
        self.source.name()
    }

    /// The `__metadata__` of the file: text from a stranger, see [`crate::printable`].
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// All tensors by name, in the order of their names.
    #[must_use]
    pub fn tensors(&self) -> &BTreeMap<String, TensorEntry> {
        &self.tensors
    }

    /// What the header says about the tensor `name`.
    ///
    /// # Errors
    /// [`CheckpointError::MissingTensor`].
    pub fn entry(&self, name: &str) -> Result<&TensorEntry, CheckpointError> {
        self.tensors
            .get(name)
            .ok_or_else(|| CheckpointError::MissingTensor {
                tensor: text::name(name),
                file: self.name().to_owned(),
            })
    }

    /// Reads one tensor as `f32`, whatever it is stored in of F32, F16 and BF16.
    ///
    /// # Errors
    /// If it is missing, of another type, or cannot be read.
    pub async fn read_f32(&self, name: &str) -> Result<Array, CheckpointError> {
        let entry = self.entry(name)?;
        // Refused before its bytes are read: they can be gigabytes.
        let to_f32 = match entry.dtype {
            Dtype::F32 => f32_from_bytes,
            Dtype::F16 => f32_from_f16,
            Dtype::BF16 => f32_from_bf16,
            other => return Err(self.wrong_dtype(name, other)),
        };
        let data = to_f32(&self.read_entry(entry).await?);
        Ok(Array {
            shape: entry.shape.clone(),
            data,
        })
    }

    /// Reads some of a tensor's bytes as `f32`: what [`Self::read_f32`] reads, and fp8.
    ///
    /// - `entry`: the tensor `name`, or a part of it
    ///
    /// # Errors
    /// If it is of another type, or cannot be read.
    pub(crate) async fn widened_f32(
        &self,
        name: &str,
        entry: &TensorEntry,
    ) -> Result<Vec<f32>, CheckpointError> {
        let to_f32 = match entry.dtype {
            Dtype::F32 => f32_from_bytes,
            Dtype::F16 => f32_from_f16,
            Dtype::BF16 => f32_from_bf16,
            Dtype::F8_E4M3 => fp8::f32_from_e4m3,
            Dtype::F8_E5M2 => fp8::f32_from_e5m2,
            other => return Err(self.wrong_dtype(name, other)),
        };
        Ok(to_f32(&self.read_entry(entry).await?))
    }

    /// Reads some of a tensor's bytes as `f16`: F16, and fp8, each of whose numbers is an f16 too.
    ///
    /// - `entry`: the tensor `name`, or a part of it
    ///
    /// # Errors
    /// If it is of another type, or cannot be read.
    pub(crate) async fn widened_f16(
        &self,
        name: &str,
        entry: &TensorEntry,
    ) -> Result<Vec<f16>, CheckpointError> {
        let to_f16 = match entry.dtype {
            Dtype::F16 => f16_from_bytes,
            Dtype::F8_E4M3 => fp8::f16_from_e4m3,
            Dtype::F8_E5M2 => fp8::f16_from_e5m2,
            other => return Err(self.wrong_dtype(name, other)),
        };
        Ok(to_f16(&self.read_entry(entry).await?))
    }

    /// Reads the numbers of one tensor that is stored as F16, row-major.
    ///
    /// # Errors
    /// If it is missing, of another type, or cannot be read.
    pub async fn read_f16(&self, name: &str) -> Result<Vec<f16>, CheckpointError> {
        match self.entry(name)?.dtype {
            Dtype::F16 => Ok(f16_from_bytes(&self.read_bytes(name).await?)),
            other => Err(self.wrong_dtype(name, other)),
        }
    }

    /// SHA-256 of the whole file, header and metadata included, as 64 lower-case hex digits.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn sha256(&self) -> Result<String, CheckpointError> {
        sha256_of(&*self.source).await
    }

    /// The short hash by which A1111 and kohya's tools named models first: eight hex digits of the
    /// SHA-256 of 64 KiB from 1 MiB on (sd-scripts `train_util.py`, `model_hash`). A shorter file
    /// leaves less, or nothing, to hash.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn legacy_hash(&self) -> Result<String, CheckpointError> {
        let size = self.source.size();
        let start = (LEGACY_HASH_START as u64).min(size);
        let length = (LEGACY_HASH_BYTES as u64).min(size - start) as usize;
        let mut hash = sha256_hex(&self.source.read_at(start, length).await?);
        hash.truncate(8);
        Ok(hash)
    }

    /// What to say of a tensor that is stored in another type than one reads.
    #[must_use]
    pub fn wrong_dtype(&self, tensor: &str, dtype: Dtype) -> CheckpointError {
        CheckpointError::WrongDtype {
            tensor: text::name(tensor),
            found: match dtype {
                Dtype::F8_E5M2
                | Dtype::F8_E4M3
                | Dtype::F8_E8M0
                | Dtype::F8_E4M3FNUZ
                | Dtype::F8_E5M2FNUZ => format!("fp8 ({dtype})"),
                other => other.to_string(),
            },
            file: self.name().to_owned(),
        }
    }

    /// Refuses a file with a quantised tensor by its header alone.
    ///
    /// # Errors
    /// [`CheckpointError::WrongDtype`] for the first one.
    pub fn refuse_quantised(&self) -> Result<(), CheckpointError> {
        match self.tensors.iter().find(|(_, entry)| entry.is_quantised()) {
            None => Ok(()),
            Some((name, entry)) => Err(self.wrong_dtype(name, entry.dtype)),
        }
    }

    /// Refuses the numbers of a tensor, as they were read, if one of them is infinite or not a
    /// number.
    ///
    /// # Errors
    /// [`CheckpointError::NotFinite`].
    pub fn require_finite<T: Number>(
        &self,
        tensor: &str,
        numbers: &[T],
    ) -> Result<(), CheckpointError> {
        if T::all_finite(numbers) {
            return Ok(());
        }
        let has_nan = numbers.iter().any(|number| number.is_nan());
        Err(CheckpointError::NotFinite {
            tensor: text::name(tensor),
            found: if has_nan { "NaN" } else { "infinity" },
            count: numbers.iter().filter(|number| !number.is_finite()).count(),
            total: numbers.len(),
            file: self.name().to_owned(),
        })
    }

    /// Reads the bytes of one tensor as they are stored (little-endian, row-major).
    ///
    /// # Errors
    /// If it is missing or cannot be read.
    pub async fn read_bytes(&self, name: &str) -> Result<Vec<u8>, CheckpointError> {
        self.read_entry(self.entry(name)?).await
    }

    /// - `entry`: of a tensor of this file, or of a part of one
    async fn read_entry(&self, entry: &TensorEntry) -> Result<Vec<u8>, CheckpointError> {
        let start = self.data_start + entry.start as u64;
        self.source.read_at(start, entry.length).await
    }
}

// Not in the `async` functions above: those are compiled with the program that awaits them, which
// optimises less than this crate does.

fn all_finite<T: Number>(numbers: &[T]) -> bool {
    // Block by block, and none left early, because then the compiler makes vectors of it.
    let is_finite = |block: &[T]| block.iter().fold(true, |all, it| all & it.is_finite());
    numbers.chunks(FINITE_BLOCK).all(is_finite)
}

fn f16_from_bytes(bytes: &[u8]) -> Vec<f16> {
    let (numbers, _) = bytes.as_chunks();
    numbers.iter().copied().map(f16::from_le_bytes).collect()
}

fn f32_from_bytes(bytes: &[u8]) -> Vec<f32> {
    let (numbers, _) = bytes.as_chunks();
    numbers.iter().copied().map(f32::from_le_bytes).collect()
}

fn f32_from_f16(bytes: &[u8]) -> Vec<f32> {
    f32_from_halves(bytes, f16::from_le_bytes)
}

fn f32_from_bf16(bytes: &[u8]) -> Vec<f32> {
    f32_from_halves(bytes, bf16::from_le_bytes)
}

fn f32_from_halves<T>(bytes: &[u8], half_from_bytes: impl Fn([u8; 2]) -> T) -> Vec<f32>
where
    [T]: HalfFloatSliceExt,
{
    let (numbers, _) = bytes.as_chunks();
    let halves: Vec<T> = numbers.iter().copied().map(half_from_bytes).collect();
    let mut data = vec![0.; halves.len()];
    // All at once: the processor has an instruction for several numbers.
    halves.convert_to_f32_slice(&mut data);
    data
}

#[cfg(test)]
mod tests;
