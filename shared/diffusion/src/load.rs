//! From a checkpoint's tensors to modules.
//!
//! A component's weights are streamed tensor by tensor into a [`WeightMap`]; the modules then take
//! what they need by key, checking shapes, so that a wrong file is refused with the first key
//! that does not fit.

use std::collections::HashMap;

use burn::tensor::{DType, Device, Tensor, TensorData};
use mimeo_checkpoint::{Array, CheckpointError, ComponentWeights, Dtype, TensorEntry};
use mimeo_lora::{Target, TargetId, TargetKind, Targets};
use rayon::prelude::*;

use crate::arithmetic::Arithmetic;
use crate::tuning::Tuning;

/// Weights that do not make the model they should.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A tensor that the configuration calls for is not in the file.
    #[error(
        "the weights lack the tensor {key}, which their config.json calls for. Use a complete diffusers folder."
    )]
    Missing {
        /// Key of the tensor.
        key: String,
    },
    /// A tensor of another shape than the configuration says.
    #[error(
        "the tensor {key} has shape {found:?} where config.json calls for {expected:?}. Use weights and config.json of the same model."
    )]
    Shape {
        /// Key of the tensor.
        key: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape that the configuration calls for.
        expected: Vec<usize>,
    },
    /// A module that a LoRA could change and the list of those does not name.
    #[error(
        "the module {path} is missing from the list of those that a LoRA can change, a mistake of Mimeo's. Report it with the base's unet/config.json."
    )]
    NoTarget {
        /// Its path.
        path: String,
    },
    /// The file itself could not be read, or one of its tensors is of no use.
    #[error(transparent)]
    File(#[from] CheckpointError),
}

/// In which number format a component's weights lie on the device.
///
/// Nothing is rounded in any but the last: an F16 is an f32 as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightFormat {
    /// Every weight as f32.
    Single,
    /// The matrices and kernels that the file holds as F16 stay f16, which is half the memory; the
    /// rest is f32.
    ///
    /// Only for a component that uses them through [`frozen_linear`](crate::ops::frozen_linear) and
    /// [`frozen_conv2d`](crate::ops::frozen_conv2d) alone, which widen a weight when they use it and
    /// keep the narrow one for the backward pass. Norms and biases meet f32 in stock operations, and
    /// are next to nothing. BF16 has numbers that f16 has not, and F32 would be rounded.
    HalfAsStored,
    /// As [`Self::HalfAsStored`], but for small ones: on the CPU, where a product's weights are widened a
    /// strip at a time while they are used, which a small product would feel and little memory is saved
    /// by.
    LargeHalfAsStored,
    /// Every matrix and kernel in the format that is computed in, which rounds what the file has of more
    /// precision; norms as f32. Biases follow when a layer takes them.
    Computed(Arithmetic),
}

/// Numbers from which on a weight is a large one. The bundled base has none but a few kernels; of Stable
/// Diffusion 1.5 it is 98 %.
const LARGE: usize = 1 << 18;

impl WeightFormat {
    /// The format of the UNet, by far the largest component, on a device.
    ///
    /// A GPU whose shaders know no f16 (WebGPU without `shader-f16`) cannot read them at all. Whether
    /// they do is asked of the open device, so a GPU that nothing has used yet is opened.
    ///
    /// - `arithmetic`: what it computes in
    #[must_use]
    pub fn of_unet(device: &Device, arithmetic: Arithmetic) -> Self {
        match arithmetic {
            Arithmetic::F16 | Arithmetic::BF16 => Self::Computed(arithmetic),
            Arithmetic::F32 if device.supports_dtype(DType::F16) => Tuning::of(device).unet_weights,
            Arithmetic::F32 => Self::Single,
        }
    }

    /// The format of the other components on a device.
    #[must_use]
    pub fn of_others(device: &Device) -> Self {
        if device.supports_dtype(DType::F16) {
            Tuning::of(device).other_weights
        } else {
            Self::Single
        }
    }

    /// The format in which a tensor lies on the device.
    ///
    /// - `stored`: its format in the file
    #[must_use]
    pub fn on_device(self, stored: Dtype, shape: &[usize]) -> DType {
        let is_kept = match self {
            _ if shape.len() < 2 => false,
            Self::Computed(arithmetic) => return arithmetic.dtype(),
            Self::Single => false,
            Self::HalfAsStored => stored == Dtype::F16,
            Self::LargeHalfAsStored => {
                stored == Dtype::F16 && shape.iter().product::<usize>() >= LARGE
            }
        };
        if is_kept { DType::F16 } else { DType::F32 }
    }

    /// What a component computes in whose weights lie so.
    const fn arithmetic(self) -> Arithmetic {
        match self {
            Self::Computed(arithmetic) => arithmetic,
            Self::Single | Self::HalfAsStored | Self::LargeHalfAsStored => Arithmetic::F32,
        }
    }
}

/// The tensors of one component, on the device, by key.
#[derive(Debug, Default)]
pub struct WeightMap {
    tensors: HashMap<String, Result<Loaded, CheckpointError>>,
    /// Makes what is asked for.
    random: Option<Random>,
    arithmetic: Arithmetic,
}

/// Weights that nobody trained, as a file of F16 would hold them.
#[derive(Debug)]
struct Random {
    device: Device,
    format: WeightFormat,
    /// Of each tensor that was made.
    shapes: Vec<Vec<usize>>,
}

impl Random {
    /// A norm or a bias as a model begins with it, or a matrix or kernel whose answer has the spread of its input.
    fn tensor<const D: usize>(&mut self, key: &str, shape: [usize; D]) -> Tensor<D> {
        let count: usize = shape.iter().product();
        let inputs: usize = shape[1..].iter().product();
        // Of a uniform distribution around 0.
        let bound = (3.0 / inputs as f32).sqrt();
        let number = |place: usize| match D {
            1 if key.ends_with("bias") => 0.0,
            1 => 1.0,
            _ => bound * (hash(place as u64) as f32 / (1_u64 << 63) as f32 - 1.0),
        };
        let numbers: Vec<f32> = (0..count).into_par_iter().map(number).collect();
        let tensor: Tensor<D> = Tensor::from_data(TensorData::new(numbers, shape), &self.device);
        self.shapes.push(shape.to_vec());
        tensor.cast(self.format.on_device(Dtype::F16, &shape))
    }
}

/// splitmix64: a number that looks random, and is the same at every time.
const fn hash(place: u64) -> u64 {
    let z = place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A tensor on the device, flat.
#[derive(Debug)]
struct Loaded {
    shape: Vec<usize>,
    tensor: Tensor<1>,
}

impl WeightMap {
    /// Streams every tensor of a component to the device, one at a time.
    ///
    /// A tensor that no module could compute with (quantised, or holding NaN) is refused when a
    /// module takes it, so that what nobody takes harms nobody: `position_ids` are integers.
    ///
    /// # Errors
    /// [`LoadError::File`] when a file cannot be read.
    pub async fn read(
        weights: &ComponentWeights,
        device: &Device,
        format: WeightFormat,
    ) -> Result<Self, LoadError> {
        let mut map = Self {
            arithmetic: format.arithmetic(),
            ..Self::default()
        };
        for found in weights.tensors() {
            let TensorEntry { dtype, shape, .. } = found.entry;
            let on_device = format.on_device(*dtype, shape);
            let loaded = if !is_float(*dtype) {
                Err(found.wrong_dtype())
            } else if *dtype == Dtype::F16 && on_device != DType::F32 {
                let data = found.read_f16().await?;
                let count = data.len();
                found.require_finite(&data).map(|()| {
                    // Without the type it would become the device's default, f32.
                    Tensor::from_data(TensorData::new(data, [count]), (device, DType::F16))
                })
            } else {
                let Array { data, .. } = found.read_f32().await?;
                let count = data.len();
                found
                    .require_finite(&data)
                    .map(|()| Tensor::from_data(TensorData::new(data, [count]), device))
            };
            let loaded = loaded.map(|tensor: Tensor<1>| Loaded {
                shape: shape.clone(),
                tensor: tensor.cast(on_device),
            });
            map.tensors.insert(found.name.to_owned(), loaded);
        }
        Ok(map)
    }

    /// Weights that nobody trained: whatever a module asks for is made, as if a file held it as F16. They are for
    /// measuring how fast a model is and what memory it takes.
    #[must_use]
    pub fn random(device: &Device, format: WeightFormat) -> Self {
        Self {
            tensors: HashMap::new(),
            arithmetic: format.arithmetic(),
            random: Some(Random {
                device: device.clone(),
                format,
                shapes: Vec::new(),
            }),
        }
    }

    /// The shapes of the tensors that were made.
    #[must_use]
    pub fn made(&self) -> &[Vec<usize>] {
        self.random.as_ref().map_or(&[], |random| &random.shapes)
    }

    /// The root of the keys.
    pub fn root(&mut self) -> Weights<'_> {
        Weights {
            map: self,
            prefix: String::new(),
        }
    }

    /// Keys of usable tensors that no module has taken.
    #[must_use]
    pub fn unused(&self) -> Vec<&str> {
        let usable = self.tensors.iter().filter(|(_, loaded)| loaded.is_ok());
        let mut keys: Vec<&str> = usable.map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        keys
    }
}

const fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32)
}

/// A place in the tree of keys; modules descend with [`Weights::at`].
#[derive(Debug)]
pub struct Weights<'a> {
    map: &'a mut WeightMap,
    prefix: String,
}

impl Weights<'_> {
    /// One level down: a field name or a list index.
    pub fn at(&mut self, name: impl std::fmt::Display) -> Weights<'_> {
        let prefix = self.path(name);
        Weights {
            map: self.map,
            prefix,
        }
    }

    /// Whether a tensor exists here.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.map.tensors.contains_key(&self.path(name))
    }

    /// Takes a tensor.
    ///
    /// # Errors
    /// [`LoadError::Missing`] or [`LoadError::Shape`]; [`LoadError::File`] for one that nothing can
    /// be computed with.
    pub fn tensor<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
    ) -> Result<Tensor<D>, LoadError> {
        let key = self.path(name);
        if let Some(random) = &mut self.map.random {
            return Ok(random.tensor(&key, shape));
        }
        let Some(loaded) = self.map.tensors.remove(&key) else {
            return Err(LoadError::Missing { key });
        };
        let loaded = loaded?;
        if loaded.shape != shape {
            return Err(LoadError::Shape {
                key,
                found: loaded.shape,
                expected: shape.to_vec(),
            });
        }
        Ok(loaded.tensor.reshape(shape))
    }

    /// The format that the component computes in.
    #[must_use]
    pub const fn arithmetic(&self) -> Arithmetic {
        self.map.arithmetic
    }

    /// Takes a bias, which is added to what is computed.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    pub fn bias(&mut self, width: usize) -> Result<Tensor<1>, LoadError> {
        let bias = self.tensor("bias", [width])?;
        Ok(self.arithmetic().of(bias))
    }

    /// The target that the module at this place is.
    ///
    /// # Errors
    /// [`LoadError::NoTarget`].
    pub fn target<'a>(&self, targets: &'a Targets) -> Result<(TargetId, &'a Target), LoadError> {
        let missing = || LoadError::NoTarget {
            path: self.prefix.clone(),
        };
        targets.find(&self.prefix).ok_or_else(missing)
    }

    /// Makes the module at this place one that a LoRA can change.
    ///
    /// - `io`: width of its input and of its output
    pub fn add_target(&self, targets: &mut Targets, kind: TargetKind, io: [usize; 2]) -> TargetId {
        targets.add(self.prefix.clone(), kind, io)
    }

    fn path(&self, name: impl std::fmt::Display) -> String {
        if self.prefix.is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", self.prefix)
        }
    }
}
