//! A forward pass that keeps little of what its backward pass needs, and computes it again (arXiv 1604.06174).
//!
//! The forward pass runs without a graph, and all that is kept of a layer is what went into it. The backward pass
//! takes the layers from the last to the first: each is run once more, now with its graph, which ends with the
//! layer's gradients. So the graph of one layer is alive at a time, for one more forward pass in all.
//!
//! The sums are the same in the same order, so on the CPU the gradients are the same bit for bit.

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::tensor::{Gradients, Int, Tensor};
use mimeo_lora::LoraStack;

use super::UNet2DConditionModel;
use super::layers::Layer;
use crate::conditioning::Conditioning;

/// How much of the UNet is run again in the backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Recompute {
    /// So many levels, the outermost first, where the pictures are largest and a layer keeps most.
    pub levels: usize,
}

impl Recompute {
    /// Nothing: all is kept.
    pub const NOTHING: Self = Self { levels: 0 };
    /// Every level.
    pub const EVERYTHING: Self = Self { levels: usize::MAX };

    /// Whether a layer is run again.
    ///
    /// - `place`: of the layer in the sequence, from 0
    /// - `last`: place of the last one that can be trained. From there on nothing is: the backward pass begins with
    ///   these, when nothing else of it is alive yet.
    #[must_use]
    pub const fn takes(self, level: usize, place: usize, last: usize) -> bool {
        level < self.levels && place < last
    }
}

/// The answers of a UNet that is trained, from which a backward pass goes on.
#[derive(Debug, Default)]
pub struct Tape {
    recompute: Recompute,
    recorded: Mutex<Vec<Recorded>>,
}

/// One call of the UNet.
#[derive(Debug)]
struct Recorded {
    /// A leaf: the caller's graph begins here.
    answer: Tensor<4>,
    segments: Vec<Segment>,
    temb: Tensor<2>,
    encoder_hidden_states: Tensor<3>,
    lora: LoraStack<'static>,
}

/// One layer of it.
#[derive(Debug)]
struct Segment {
    /// Its place in the sequence.
    place: usize,
    /// What went in, as leaves.
    hidden_states: State,
    residual: Option<State>,
    /// What came out, with its graph; none: it is run again.
    answer: Option<Tensor<4>>,
}

/// Hidden states, or a residual state.
#[derive(Debug, Clone)]
struct State {
    values: Tensor<4>,
    /// Place of the layer that answered them; none where they do not depend on what is trained.
    from: Option<usize>,
}

impl State {
    /// The same as a leaf of a graph, if a gradient of it is asked for.
    fn leaf(self) -> Self {
        match self.from {
            Some(_) => Self {
                values: self.values.autodiff().require_grad(),
                ..self
            },
            None => self,
        }
    }
}

impl Tape {
    /// An empty one.
    #[must_use]
    pub fn new(recompute: Recompute) -> Self {
        Self {
            recompute,
            ..Self::default()
        }
    }

    /// [`UNet2DConditionModel::forward`]. With a trained LoRA the answer is a leaf, whose gradient
    /// [`Self::backward`] takes further.
    ///
    /// # Panics
    /// As [`UNet2DConditionModel::forward`].
    #[must_use]
    pub fn forward(
        &self,
        unet: &UNet2DConditionModel,
        sample: Tensor<4>,
        timestep: Tensor<1, Int>,
        conditioning: &Conditioning,
        lora: &LoraStack<'_>,
    ) -> Tensor<4> {
        if !lora.is_trained() {
            return unet.forward(sample, timestep, conditioning, lora);
        }
        let encoder_hidden_states = &unet.context(conditioning);
        let frozen = lora.frozen();
        // What is trained stands in the transformers alone, so the timestep's embedding is a constant.
        let temb = unet.temb(timestep, conditioning, &frozen);
        let trainable = unet.layers().enumerate();
        let trainable = trainable.filter(|(_, layer)| layer.is_trainable());
        let last = trainable.map(|(place, _)| place).last().unwrap_or_default();

        let mut segments = Vec::new();
        let mut places = 0..;
        let sample = State {
            values: unet.centred(sample),
            from: None,
        };
        let mut forward = |layer: &Layer<'_>, hidden_states: State, residual: Option<State>| {
            let place = places.next().unwrap_or_default();
            let run = |hidden_states: &State, residual: Option<&State>, lora: &LoraStack<'_>| {
                let residual = residual.map(|residual| residual.values.clone());
                let hidden_states = hidden_states.values.clone();
                layer.forward(hidden_states, residual, &temb, encoder_hidden_states, lora)
            };
            let inputs = [Some(&hidden_states), residual.as_ref()];
            let depends = inputs
                .into_iter()
                .flatten()
                .any(|input| input.from.is_some());
            if !depends && !layer.is_trainable() {
                return State {
                    values: run(&hidden_states, residual.as_ref(), &frozen),
                    from: None,
                };
            }
            let (values, answer);
            let inputs = (
                hidden_states.clone().leaf(),
                residual.clone().map(State::leaf),
            );
            if self.recompute.takes(layer.level, place, last) {
                values = run(&hidden_states, residual.as_ref(), &frozen);
                answer = None;
            } else {
                let tracked = run(&inputs.0, inputs.1.as_ref(), lora);
                values = tracked.clone().inner();
                answer = Some(tracked);
            }
            segments.push(Segment {
                place,
                hidden_states: inputs.0,
                residual: inputs.1,
                answer,
            });
            State {
                values,
                from: Some(place),
            }
        };
        let answer = unet.through(sample, &mut forward).leaf().values;
        self.lock().push(Recorded {
            answer: answer.clone(),
            segments,
            temb,
            encoder_hidden_states: encoder_hidden_states.clone(),
            lora: lora.owned(),
        });
        answer
    }

    /// Takes the gradients of all answers back through the UNet, and forgets the answers.
    ///
    /// The gradients of what is trained are in parts, which add up to the whole.
    ///
    /// - `unet`: that gave the answers
    /// - `gradients`: of what was made of the answers
    #[must_use]
    pub fn backward(&self, unet: &UNet2DConditionModel, gradients: &Gradients) -> Vec<Gradients> {
        let layers: Vec<_> = unet.layers().collect();
        let recorded = std::mem::take(&mut *self.lock());
        let parts = recorded.into_iter().rev().map(|recorded| {
            let gradient = recorded.answer.grad(gradients);
            recorded.backward(&layers, gradient)
        });
        parts.flatten().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Recorded>> {
        // Nothing is left half done in it.
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorded {
    /// - `gradient`: of the answer, if anything was made of it
    fn backward(mut self, layers: &[Layer<'_>], gradient: Option<Tensor<4>>) -> Vec<Gradients> {
        // Of each layer's answer, as far as it was used.
        let mut answered: Vec<Option<Tensor<4>>> = vec![None; layers.len()];
        if let Some(last) = answered.last_mut() {
            *last = gradient;
        }
        let mut parts = Vec::with_capacity(self.segments.len());
        while let Some(mut segment) = self.segments.pop() {
            let Some(gradient) = answered[segment.place].take() else {
                continue;
            };
            let answer = segment.answer.take();
            let answer = answer.unwrap_or_else(|| self.run(&layers[segment.place], &segment));
            if !answer.is_tracked() {
                continue;
            }
            let mut gradients = (answer * gradient).sum().backward();
            let Segment {
                hidden_states,
                residual,
                ..
            } = segment;
            for State { values, from } in [Some(hidden_states), residual].into_iter().flatten() {
                let (Some(from), Some(gradient)) = (from, values.grad_remove(&mut gradients))
                else {
                    continue;
                };
                answered[from] = Some(match answered[from].take() {
                    Some(sum) => sum + gradient,
                    None => gradient,
                });
            }
            parts.push(gradients);
        }
        parts
    }

    /// A layer once more, with its graph.
    fn run(&self, layer: &Layer<'_>, segment: &Segment) -> Tensor<4> {
        let residual = segment.residual.as_ref();
        layer.forward(
            segment.hidden_states.values.clone(),
            residual.map(|residual| residual.values.clone()),
            &self.temb,
            &self.encoder_hidden_states,
            &self.lora,
        )
    }
}
