//! The judge: a small conv net that reads the attributes of the bundled base's avatars.
//!
//! Trained by `shared/base/judge/train_judge.py` on renders and on what the base makes of them, and on
//! no picture of any LoRA.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use mimeo_checkpoint::{Array, MemoryFile, SafetensorsFile};
use mimeo_image::Rgb;
use serde::Deserialize;

use crate::exit::BadInput;

/// What somebody is like: the value of each attribute, by the names of the pairs' records.
pub type Attributes = BTreeMap<String, String>;

/// The net, and the words for what it answers.
pub struct Judge {
    vocabulary: Vec<Vocabulary>,
    convs: Vec<Conv>,
    hidden: Linear,
    out: Linear,
}

/// An attribute and its values, in the order of the net's outputs.
#[derive(Deserialize)]
struct Vocabulary {
    name: String,
    values: Vec<String>,
}

/// A square convolution, padded by half its kernel, and a ReLU.
struct Conv {
    /// `[kernel, kernel, in, out]`: so the innermost loop goes over neighbours.
    weight: Vec<f32>,
    bias: Vec<f32>,
    kernel: usize,
    stride: usize,
}

struct Linear {
    /// `[out, in]`
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Judge {
    /// The committed one.
    ///
    /// # Errors
    /// When its file is not what the training script writes.
    pub async fn bundled() -> anyhow::Result<Self> {
        let file = MemoryFile::new("judge.safetensors", mimeo_base::JUDGE);
        let file = SafetensorsFile::open(Box::new(file)).await?;
        let said = |key: &str| {
            file.metadata()
                .get(key)
                .context("the judge says too little")
        };
        let vocabulary = serde_json::from_str(said("attributes")?)?;
        let strides: Vec<usize> = serde_json::from_str(said("strides")?)?;
        let mut convs = Vec::new();
        for (index, stride) in strides.into_iter().enumerate() {
            let weight = file.read_f32(&format!("convs.{index}.weight")).await?;
            let bias = file.read_f32(&format!("convs.{index}.bias")).await?;
            convs.push(Conv::new(&weight, bias, stride)?);
        }
        Ok(Self {
            vocabulary,
            convs,
            hidden: Linear::read(&file, "hidden").await?,
            out: Linear::read(&file, "out").await?,
        })
    }

    /// The names of what it reads.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.vocabulary.iter().map(|attribute| &*attribute.name)
    }

    /// What is to be seen in a picture of 128 × 128 px.
    ///
    /// # Errors
    /// For a picture of another size: it is none of the bundled base's.
    pub fn read(&self, picture: &Rgb) -> Result<Attributes, BadInput> {
        let logits = self.logits(picture)?;
        let mut rest = &*logits;
        let read = self.vocabulary.iter().filter_map(|attribute| {
            let own;
            (own, rest) = rest.split_at_checked(attribute.values.len())?;
            let best = (0..own.len()).max_by(|a, b| own[*a].total_cmp(&own[*b]))?;
            Some((attribute.name.clone(), attribute.values[best].clone()))
        });
        Ok(read.collect())
    }

    /// One number for each value of each attribute, one attribute after another.
    fn logits(&self, picture: &Rgb) -> Result<Vec<f32>, BadInput> {
        let side = mimeo_base::SIDE;
        if (picture.width(), picture.height()) != (side, side) {
            let why =
                "--judge reads the avatars of the bundled base, 128 x 128 px; leave out --base.";
            return Err(BadInput(why.to_owned()));
        }
        let pixels = picture.pixels().iter();
        let mut x: Vec<f32> = pixels.map(|byte| f32::from(*byte) / 127.5 - 1.0).collect();
        let mut side = side as usize;
        for conv in &self.convs {
            (x, side) = conv.forward(&x, side);
        }
        // `[side, side, channels]` to torch's `[channels, side, side]`.
        let channels = x.len() / (side * side);
        let planes = (0..channels).flat_map(|channel| x[channel..].iter().step_by(channels));
        let x: Vec<f32> = planes.copied().collect();
        let mut x = self.hidden.forward(&x);
        relu(&mut x);
        Ok(self.out.forward(&x))
    }
}

impl Conv {
    /// - `weight`: torch's, `[out, in, kernel, kernel]`
    fn new(weight: &Array, bias: Array, stride: usize) -> anyhow::Result<Self> {
        let [outputs, inputs, kernel, _] = weight.shape[..] else {
            anyhow::bail!(
                "a convolution of the judge has the shape {:?}",
                weight.shape
            );
        };
        let area = kernel * kernel;
        let at = |tap: usize, input: usize, output: usize| {
            weight.data[(output * inputs + input) * area + tap]
        };
        let inputs_of = |tap| (0..inputs).map(move |input| (tap, input));
        let weight = (0..area).flat_map(inputs_of);
        let weight =
            weight.flat_map(|(tap, input)| (0..outputs).map(move |out| at(tap, input, out)));
        Ok(Self {
            weight: weight.collect(),
            bias: bias.data,
            kernel,
            stride,
        })
    }

    /// `[side, side, in]` to `[side / stride, side / stride, out]`, and that side.
    fn forward(&self, x: &[f32], side: usize) -> (Vec<f32>, usize) {
        let (inputs, outputs) = (x.len() / (side * side), self.bias.len());
        let side_out = side.div_ceil(self.stride);
        let mut out = self.bias.repeat(side_out * side_out);
        for (index, out) in out.chunks_exact_mut(outputs).enumerate() {
            let (top, left) = (
                index / side_out * self.stride,
                index % side_out * self.stride,
            );
            let taps = self.weight.chunks_exact(inputs * outputs).enumerate();
            for (tap, weight) in taps {
                let inside = |at: usize| at.checked_sub(self.kernel / 2).filter(|at| *at < side);
                let (row, column) = (top + tap / self.kernel, left + tap % self.kernel);
                let Some((row, column)) = inside(row).zip(inside(column)) else {
                    continue;
                };
                let from = &x[(row * side + column) * inputs..][..inputs];
                for (value, weight) in from.iter().zip(weight.chunks_exact(outputs)) {
                    for (sum, weight) in out.iter_mut().zip(weight) {
                        *sum += value * weight;
                    }
                }
            }
        }
        relu(&mut out);
        (out, side_out)
    }
}

impl Linear {
    async fn read(file: &SafetensorsFile, name: &str) -> anyhow::Result<Self> {
        let weight = file.read_f32(&format!("{name}.weight")).await?;
        let bias = file.read_f32(&format!("{name}.bias")).await?;
        ensure!(
            weight.shape.first() == Some(&bias.data.len()),
            "{name} of the judge has the shape {:?}",
            weight.shape
        );
        Ok(Self {
            weight: weight.data,
            bias: bias.data,
        })
    }

    fn forward(&self, x: &[f32]) -> Vec<f32> {
        let rows = self.weight.chunks_exact(x.len()).zip(&self.bias);
        let sum = |row: &[f32]| row.iter().zip(x).map(|(weight, x)| weight * x).sum::<f32>();
        rows.map(|(row, bias)| sum(row) + bias).collect()
    }
}

fn relu(x: &mut [f32]) {
    for value in x {
        *value = value.max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use mimeo_engine::runtime::block_on;
    use mimeo_image::decode;

    use super::*;
    use crate::cli::bench::pair::Pair;

    /// What torch made of some pairs, written by the training script.
    const PARITY: &str = include_str!("../../../../../shared/base/judge/judge_parity.json");

    #[test]
    fn reads_what_torch_reads() {
        let judge = block_on(Judge::bundled()).unwrap();
        let expected: BTreeMap<String, Vec<f32>> = serde_json::from_str(PARITY).unwrap();
        assert!(expected.len() >= 4, "{} pictures", expected.len());
        for (name, expected) in expected {
            let pairs = mimeo_base::pairs().iter();
            let pictures = pairs.flat_map(|pair| {
                let name = format!("{}/{}", pair.edit, pair.id);
                [
                    (format!("{name}_A"), pair.original_png),
                    (format!("{name}_B"), pair.target_png),
                ]
            });
            let (_, png) = pictures.into_iter().find(|(own, _)| *own == name).unwrap();
            let logits = judge.logits(&decode(png).unwrap().picture).unwrap();
            assert_eq!(logits.len(), expected.len(), "{name}");
            for (index, (found, expected)) in logits.iter().zip(&expected).enumerate() {
                assert!(
                    (found - expected).abs() < 2e-3,
                    "{name}, output {index}: {found}, and torch says {expected}"
                );
            }
        }
    }

    /// Renders that it was not trained on.
    #[test]
    fn reads_the_bundled_pairs() {
        let judge = block_on(Judge::bundled()).unwrap();
        let (mut right, mut all) = (0, 0);
        for pair in mimeo_base::pairs() {
            let pair = Pair::bundled(pair).unwrap();
            let read = judge.read(&pair.pictures.target).unwrap();
            for name in pair.edited(judge.names()) {
                assert_eq!(read[name], pair.target[name], "{name} of {}", pair.name);
            }
            for name in judge.names() {
                if let Some(value) = pair.target.get(name) {
                    all += 1;
                    right += usize::from(read[name] == *value);
                }
            }
        }
        assert!(right * 100 > all * 93, "{right} of {all}");
    }
}
