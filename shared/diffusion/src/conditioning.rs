//! What a model is conditioned on beside the timestep.

use std::ops::Range;

use burn::tensor::Tensor;

/// What the UNet is told of each picture of a batch.
///
/// Stable Diffusion 1 and 2 take the prompt's hidden states alone; XL also takes what its second text
/// encoder says of the whole prompt, and the sizes of the picture.
#[derive(Debug, Clone)]
pub struct Conditioning {
    /// The prompts: `[batch, tokens, width]`.
    pub hidden_states: Tensor<3>,
    /// The prompts in one vector each: `[batch, width]`. Boxed, because a tensor is large in itself
    /// and most models have none.
    pub pooled: Option<Box<Tensor<2>>>,
    /// Height and width of the original, top and left of the crop, height and width that are drawn
    /// (diffusers' `add_time_ids`), in px, of each picture.
    pub size: Option<Vec<[u32; 6]>>,
}

/// By prompts alone.
impl From<Tensor<3>> for Conditioning {
    fn from(hidden_states: Tensor<3>) -> Self {
        Self {
            hidden_states,
            pooled: None,
            size: None,
        }
    }
}

impl Conditioning {
    /// For how many pictures.
    #[must_use]
    pub fn batch(&self) -> usize {
        let [batch, ..] = self.hidden_states.dims();
        batch
    }

    /// How long the prompts are.
    #[must_use]
    pub fn tokens(&self) -> usize {
        let [_, tokens, _] = self.hidden_states.dims();
        tokens
    }

    /// That of some of the pictures.
    #[must_use]
    pub fn rows(&self, rows: Range<usize>) -> Self {
        let (start, count) = (rows.start, rows.len());
        let narrow = |pooled: &Tensor<2>| Box::new(pooled.clone().narrow(0, start, count));
        Self {
            hidden_states: self.hidden_states.clone().narrow(0, start, count),
            pooled: self.pooled.as_deref().map(narrow),
            size: self.size.as_ref().map(|size| size[rows].to_vec()),
        }
    }

    /// That of one picture, for `count` pictures.
    #[must_use]
    pub fn repeat(&self, count: usize) -> Self {
        let [_, tokens, width] = self.hidden_states.dims();
        let expand = |pooled: &Tensor<2>| {
            let [_, width] = pooled.dims();
            Box::new(pooled.clone().expand([count, width]))
        };
        let repeat = |size: &Vec<[u32; 6]>| size.iter().cycle().take(count).copied().collect();
        Self {
            hidden_states: self.hidden_states.clone().expand([count, tokens, width]),
            pooled: self.pooled.as_deref().map(expand),
            size: self.size.as_ref().map(repeat),
        }
    }

    /// One batch of several of the same model, whose prompts are of one length.
    #[must_use]
    pub fn cat(parts: Vec<Self>) -> Self {
        let pooled = parts.iter().map(|part| part.pooled.as_deref().cloned());
        let pooled: Option<Vec<_>> = pooled.collect();
        let size: Option<Vec<_>> = parts.iter().map(|part| part.size.clone()).collect();
        let hidden_states = parts.into_iter().map(|part| part.hidden_states);
        Self {
            hidden_states: Tensor::cat(hidden_states.collect(), 0),
            pooled: pooled.map(|pooled| Box::new(Tensor::cat(pooled, 0))),
            size: size.map(|size| size.concat()),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    /// Rows whose every number is the row's.
    fn of(rows: [f32; 2]) -> Conditioning {
        let device = Device::flex();
        let tensor = |width: usize| {
            let numbers: Vec<f32> = rows.iter().flat_map(|row| vec![*row; width]).collect();
            Tensor::<2>::from_data(TensorData::new(numbers, [2, width]), &device)
        };
        Conditioning {
            hidden_states: tensor(6).reshape([2, 3, 2]),
            pooled: Some(Box::new(tensor(4))),
            size: Some(rows.map(|row| [row as u32; 6]).to_vec()),
        }
    }

    fn first_column<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        let rows = tensor.dims()[0] as i32;
        let tensor: Tensor<2> = tensor.reshape([rows, -1]);
        let column = tensor.narrow(1, 0, 1).into_data();
        column.try_to_vec().expect("f32")
    }

    #[test]
    fn rows_repeated_and_joined_stay_together_in_every_part() {
        let both = Conditioning::cat(vec![of([1.0, 2.0]), of([3.0, 4.0])]);
        let rows = both.rows(1..3);
        let repeated = both.rows(3..4).repeat(3);
        for (conditioning, expected) in [
            (&both, vec![1.0, 2.0, 3.0, 4.0]),
            (&rows, vec![2.0, 3.0]),
            (&repeated, vec![4.0; 3]),
        ] {
            let pooled = conditioning.pooled.as_deref().cloned();
            let pooled = first_column(pooled.expect("every row has it"));
            assert_eq!(pooled, expected, "in one vector");
            let size = conditioning.size.iter().flatten();
            let size: Vec<f32> = size.map(|size| size[0] as f32).collect();
            assert_eq!(size, expected, "of the picture");
            let states = conditioning.hidden_states.clone();
            assert_eq!(first_column(states), expected, "of the prompt");
            assert_eq!(conditioning.batch(), expected.len(), "pictures");
            assert_eq!(conditioning.tokens(), 3, "of each prompt");
        }
        let alone = Conditioning::from(both.hidden_states);
        let joined = Conditioning::cat(vec![alone.clone(), alone]);
        assert!(joined.pooled.is_none(), "a model that takes prompts alone");
    }
}
