//! Reading `tests/fixtures`.

use std::collections::BTreeMap;

use burn::tensor::{Device, Int, Tensor, TensorData};
use mimeo_checkpoint::{EmbeddedFolder, MemoryFile};
use mimeo_diffusion::Conditioning;
use rust_embed::RustEmbed;
use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;

/// The files themselves: a browser has no disk to read them from.
#[derive(RustEmbed)]
#[folder = "fixtures"]
struct Files;

/// A safetensors fixture.
///
/// Read with the format's own crate, so that no test depends on the reader that Mimeo has.
pub struct Fixture {
    file: String,
    tensors: BTreeMap<String, (Vec<usize>, Numbers)>,
}

enum Numbers {
    Float(Vec<f32>),
    Int(Vec<i32>),
}

impl Fixture {
    /// Reads a file of `tests/fixtures`.
    pub fn read(file: &str) -> Self {
        let tensors = SafeTensors::deserialize(&bytes(file))
            .unwrap_or_else(|error| panic!("{file}: {error}"))
            .iter()
            .map(|(name, view)| {
                let words = view.data().as_chunks::<4>().0.iter().copied();
                let numbers = match view.dtype() {
                    Dtype::F32 => Numbers::Float(words.map(f32::from_le_bytes).collect()),
                    Dtype::I32 => Numbers::Int(words.map(i32::from_le_bytes).collect()),
                    other => panic!("{file}: {name} is {other:?}, which no fixture is"),
                };
                (name.to_owned(), (view.shape().to_vec(), numbers))
            })
            .collect();
        let file = file.to_owned();
        Self { file, tensors }
    }

    /// A tensor on a device.
    pub fn tensor<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D> {
        Tensor::from_data(
            TensorData::new(self.floats(name).to_vec(), self.shape(name).to_vec()),
            device,
        )
    }

    /// What prompts condition the model on, and beside them whatever the file has of `pooled` and
    /// `size`.
    pub fn conditioning(&self, name: &str, device: &Device) -> Conditioning {
        let beside = |part: &str| {
            let name = name.replace("encoder_hidden_states", part);
            self.has(&name).then_some(name)
        };
        let sizes = |name: String| {
            let numbers = self.integers(&name);
            let numbers = numbers.iter().map(|number| number.unsigned_abs());
            let numbers: Vec<u32> = numbers.collect();
            numbers.as_chunks::<6>().0.to_vec()
        };
        Conditioning {
            hidden_states: self.tensor(name, device),
            pooled: beside("pooled").map(|name| Box::new(self.tensor(&name, device))),
            size: beside("size").map(sizes),
        }
    }

    /// Whole numbers on a device.
    pub fn int_tensor(&self, name: &str, device: &Device) -> Tensor<1, Int> {
        let values = self.integers(name);
        let count = values.len();
        Tensor::from_data(TensorData::new(values, [count]), device)
    }

    /// The numbers of a tensor, row-major.
    pub fn floats(&self, name: &str) -> &[f32] {
        match &self.entry(name).1 {
            Numbers::Float(values) => values,
            Numbers::Int(_) => panic!("{}: {name} holds whole numbers", self.file),
        }
    }

    /// The only number of a tensor.
    pub fn scalar(&self, name: &str) -> f32 {
        let [value] = self.floats(name) else {
            panic!("{}: {name} is no single number", self.file)
        };
        *value
    }

    /// Whole numbers.
    pub fn integers(&self, name: &str) -> Vec<i32> {
        match &self.entry(name).1 {
            Numbers::Int(values) => values.clone(),
            Numbers::Float(_) => panic!("{}: {name} holds no whole numbers", self.file),
        }
    }

    /// Timesteps, as the schedule indexes them.
    pub fn timesteps(&self, name: &str) -> Vec<usize> {
        self.integers(name)
            .into_iter()
            .map(|timestep| usize::try_from(timestep).unwrap())
            .collect()
    }

    /// Sizes of a tensor.
    pub fn shape(&self, name: &str) -> &[usize] {
        &self.entry(name).0
    }

    /// Whether there is such a tensor.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    fn entry(&self, name: &str) -> &(Vec<usize>, Numbers) {
        self.tensors
            .get(name)
            .unwrap_or_else(|| panic!("{} has no tensor {name}", self.file))
    }
}

/// Reads a JSON fixture.
pub fn read_json<T: DeserializeOwned>(file: &str) -> T {
    serde_json::from_slice(&bytes(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Reads a fixture as text.
pub fn read_text(file: &str) -> String {
    String::from_utf8(bytes(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A fixture for the readers that Mimeo has.
pub fn memory_file(file: &str) -> MemoryFile {
    MemoryFile::new(file, bytes(file))
}

/// A checkpoint among the fixtures.
pub fn folder(name: &'static str) -> EmbeddedFolder {
    let inside = |path: &str| Some(path.strip_prefix(name)?.strip_prefix('/')?.to_owned());
    let files = Files::iter().filter_map(|path| Some((inside(&path)?, bytes(&path))));
    // For as long as the tests run.
    let files: Vec<(&'static str, &'static [u8])> = files
        .map(|(path, bytes)| (&*path.leak(), &*bytes.leak()))
        .collect();
    EmbeddedFolder {
        name,
        files: files.leak(),
    }
}

/// A fixture as it is.
pub fn bytes(file: &str) -> Vec<u8> {
    let found = Files::get(file).unwrap_or_else(|| panic!("{file}: no such fixture"));
    found.data.into_owned()
}
