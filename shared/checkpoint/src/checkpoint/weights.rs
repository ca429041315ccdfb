//! The weights of a component, wherever they lie and however they are stored there.

use std::collections::BTreeMap;
use std::sync::Arc;

use half::f16;

use crate::{Array, CheckpointError, Dtype, Number, SafetensorsFile, TensorEntry};

/// The weights of one component by diffusers' names; each is read when it is asked for.
pub struct ComponentWeights {
    files: Vec<Arc<SafetensorsFile>>,
    /// Which of the files holds a weight, and how it comes out of it.
    places: BTreeMap<String, (usize, View)>,
}

/// One of a component's weights: known by its header, not read yet.
#[derive(Clone, Copy)]
pub struct WeightTensor<'a> {
    /// Its name in diffusers.
    pub name: &'a str,
    /// Type and shape as it is handed out.
    pub entry: &'a TensorEntry,
    file: &'a SafetensorsFile,
    view: &'a View,
}

/// How a weight comes out of the tensor that holds it.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// The tensor's name in its file.
    key: String,
    /// Its bytes, or those of the part that is this weight.
    stored: TensorEntry,
    /// What is handed out.
    given: TensorEntry,
    /// Whether rows become columns.
    is_transposed: bool,
    /// What each number is multiplied by.
    scale: Option<f32>,
}

impl View {
    /// A tensor as it is stored.
    pub(super) fn plain(key: &str, entry: &TensorEntry) -> Self {
        Self {
            key: key.to_owned(),
            stored: entry.clone(),
            given: entry.clone(),
            is_transposed: false,
            scale: None,
        }
    }

    /// What is handed out.
    pub(super) const fn given(&self) -> &TensorEntry {
        &self.given
    }

    /// The name of the tensor in its file.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// One of `of` equal parts of its rows; none if they do not divide.
    pub(super) fn part(&self, index: usize, of: usize) -> Option<Self> {
        Some(Self {
            stored: self.stored.part(index, of)?,
            given: self.given.part(index, of)?,
            ..self.clone()
        })
    }

    /// The same numbers in another shape of as many.
    pub(super) fn reshaped(&self, shape: Vec<usize>) -> Self {
        Self {
            given: self.given.reshaped(shape),
            ..self.clone()
        }
    }

    /// With rows as columns; none if it is no matrix.
    pub(super) fn transposed(&self) -> Option<Self> {
        let [rows, columns] = *self.given.shape.as_slice() else {
            return None;
        };
        Some(Self {
            given: self.given.reshaped(vec![columns, rows]),
            is_transposed: true,
            ..self.clone()
        })
    }

    /// fp8 as the numbers that it stands for: as f16, which has them all, or multiplied by a scale.
    pub(super) fn widened(mut self, scale: Option<f32>) -> Self {
        self.scale = scale;
        if scale.is_some() {
            self.given = self.given.of_type(Dtype::F32);
        } else if matches!(self.stored.dtype, Dtype::F8_E4M3 | Dtype::F8_E5M2) {
            self.given = self.given.of_type(Dtype::F16);
        }
        self
    }

    fn arranged<T: Copy>(&self, numbers: Vec<T>) -> Vec<T> {
        match *self.given.shape.as_slice() {
            [rows, columns] if self.is_transposed => {
                let columns_of = |row| (0..columns).map(move |column| column * rows + row);
                let places = (0..rows).flat_map(columns_of);
                places
                    .filter_map(|place| numbers.get(place).copied())
                    .collect()
            }
            _ => numbers,
        }
    }
}

impl ComponentWeights {
    /// Of files whose names are diffusers' already, no two the same.
    #[must_use]
    pub fn new(files: Vec<SafetensorsFile>) -> Self {
        let mut places = BTreeMap::new();
        for (place, file) in files.iter().enumerate() {
            for (name, entry) in file.tensors() {
                places.insert(name.clone(), (place, View::plain(name, entry)));
            }
        }
        let files = files.into_iter().map(Arc::new).collect();
        Self { files, places }
    }

    /// Of one file that others read too.
    pub(super) fn of_views(file: &Arc<SafetensorsFile>, views: &BTreeMap<String, View>) -> Self {
        let views = views.iter();
        Self {
            files: vec![Arc::clone(file)],
            places: views
                .map(|(name, view)| (name.clone(), (0, view.clone())))
                .collect(),
        }
    }

    /// All of them, in the order of their names.
    pub fn tensors(&self) -> impl Iterator<Item = WeightTensor<'_>> {
        self.places.iter().filter_map(|(name, (place, view))| {
            Some(WeightTensor {
                name,
                entry: &view.given,
                file: self.files.get(*place)?,
                view,
            })
        })
    }

    /// Refuses weights with a quantised tensor by their headers alone.
    ///
    /// # Errors
    /// [`CheckpointError::WrongDtype`] for the first one.
    pub fn refuse_quantised(&self) -> Result<(), CheckpointError> {
        let mut tensors = self.tensors();
        let quantised = tensors.find(|tensor| tensor.entry.is_quantised());
        quantised.map_or(Ok(()), |tensor| Err(tensor.wrong_dtype()))
    }
}

impl WeightTensor<'_> {
    /// Reads it as `f32`, whatever it is handed out in of F32, F16 and BF16.
    ///
    /// # Errors
    /// If it is of another type, or cannot be read.
    pub async fn read_f32(&self) -> Result<Array, CheckpointError> {
        if !matches!(self.entry.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Err(self.wrong_dtype());
        }
        let View { key, stored, .. } = self.view;
        let mut numbers = self.file.widened_f32(key, stored).await?;
        if let Some(scale) = self.view.scale {
            for number in &mut numbers {
                *number *= scale;
            }
        }
        Ok(Array {
            shape: self.entry.shape.clone(),
            data: self.view.arranged(numbers),
        })
    }

    /// Reads the numbers of one that is handed out as F16, row-major.
    ///
    /// # Errors
    /// If it is of another type, or cannot be read.
    pub async fn read_f16(&self) -> Result<Vec<f16>, CheckpointError> {
        if self.entry.dtype != Dtype::F16 {
            return Err(self.wrong_dtype());
        }
        let View { key, stored, .. } = self.view;
        let numbers = self.file.widened_f16(key, stored).await?;
        Ok(self.view.arranged(numbers))
    }

    /// What to say if it is stored in a type that nothing can be computed with.
    #[must_use]
    pub fn wrong_dtype(&self) -> CheckpointError {
        self.file.wrong_dtype(&self.view.key, self.entry.dtype)
    }

    /// Refuses its numbers, as they were read, if one of them is infinite or not a number.
    ///
    /// # Errors
    /// [`CheckpointError::NotFinite`].
    pub fn require_finite<T: Number>(&self, numbers: &[T]) -> Result<(), CheckpointError> {
        self.file.require_finite(&self.view.key, numbers)
    }
}
