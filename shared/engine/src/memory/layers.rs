//! What the layers of the UNet keep of a picture for the backward pass, and how much of it is alive at once.
//!
//! The layers are those that `mimeo-diffusion` goes through (`unet/layers.rs`), walked by the configuration alone.
//! What each keeps follows from the operations there (`ops`): a frozen convolution or product keeps nothing, a norm
//! its input, attention query, key, value, answer and two numbers a score's row, the gate of the feed-forward what
//! was projected, and an adapted product its input and the narrow tensor between the two factors. A tensor that
//! several keep is there once.

use mimeo_checkpoint::UNetConfig;
use mimeo_diffusion::Recompute;

/// What is trained.
#[derive(Debug, Clone, Copy)]
pub(super) struct Picture {
    /// Rows and columns of the latent.
    pub rows: u64,
    pub columns: u64,
    /// Of the prompt.
    pub tokens: u64,
    /// Of the LoRA.
    pub rank: u64,
    /// Whether convolutions are products of unfolded pictures, as in half precision.
    pub unfolds: bool,
}

/// A layer and its numbers, of one picture.
#[derive(Debug, Clone, Copy)]
struct Layer {
    level: usize,
    /// Whether something in it or before it is trained.
    is_tracked: bool,
    is_trainable: bool,
    takes_residual: bool,
    leaves_residual: bool,
    /// Whether its graph keeps what came in as it is.
    keeps_input: bool,
    /// Numbers that come in, with the residual state.
    input: u64,
    /// Numbers that come out.
    answer: u64,
    /// Numbers that its graph keeps beside its input.
    graph: u64,
    /// Numbers that it takes beside these while it is computed, without a graph or backwards.
    working: u64,
}

/// Numbers of one picture.
#[derive(Debug, Clone)]
pub(super) struct Layers(Vec<Layer>);

/// Tensors as wide as a transformer that its feed-forward holds at once: what its first linear answers, values and
/// gates, each four times as wide, and the same of its LoRA. The backward pass holds fewer: the gradients of what
/// was projected, and of the gate's answer.
const FEED_FORWARD: u64 = 16;
/// Tensors as wide as the wider end of a ResNet that it holds at once, in either pass.
const RESNET: u64 = 3;
/// Numbers that one is for a convolution to unfold it at most (`ops/gpu/conv.rs`), and how many times as many a kernel
/// makes of it.
const UNFOLDED: u64 = 64 << 20;
const KERNEL: u64 = 9;

impl Layers {
    /// Those of a UNet, in their order.
    pub fn of(config: &UNetConfig, picture: Picture) -> Self {
        let levels = config.block_out_channels.len();
        let resnets = config.layers_per_block();
        let mut walk = Walk {
            config,
            picture,
            channels: config.in_channels as u64,
            level: 0,
            residuals: Vec::new(),
            is_tracked: false,
            layers: Vec::new(),
        };
        walk.conv(Way::Down, walk.width(0));
        for level in 0..levels {
            walk.level = level;
            for _ in 0..resnets {
                walk.resnet(Way::Down, config.attends_down(level));
            }
            if level + 1 < levels {
                walk.downsample();
            }
        }
        walk.resnet(Way::Middle, true);
        walk.resnet(Way::Middle, false);
        for (block, level) in (0..levels).rev().enumerate() {
            walk.level = level;
            for _ in 0..=resnets {
                walk.resnet(Way::Up, config.attends_up(block));
            }
            if level > 0 {
                walk.upsample();
            }
        }
        walk.conv(Way::Up, config.out_channels as u64);
        Self(walk.layers)
    }

    /// Numbers that are kept when the backward pass begins.
    pub fn kept(&self, recompute: Recompute) -> u64 {
        (0..self.0.len())
            .map(|place| self.stored(place, recompute))
            .sum()
    }

    /// Numbers that are alive at most in the backward pass.
    ///
    /// It goes from the last layer to the first. What the layers before still keep is alive, the gradients of
    /// residual states that wait for the layer that left them, and what the layer itself takes.
    pub fn backward(&self, recompute: Recompute) -> u64 {
        let mut alive = self.kept(recompute);
        let mut waiting = Vec::new();
        let mut most = 0;
        for (place, layer) in self.0.iter().enumerate().rev() {
            if !layer.is_tracked {
                break;
            }
            if layer.leaves_residual {
                alive -= waiting.pop().unwrap_or_default();
            }
            let again = if self.is_again(place, recompute) {
                layer.graph
            } else {
                0
            };
            most = most.max(alive + again + layer.working);
            alive -= self.stored(place, recompute);
            if layer.takes_residual {
                // A part of the gradient of all that came in.
                waiting.push(layer.input);
                alive += layer.input;
            }
        }
        most
    }

    /// Whether a layer is run again.
    fn is_again(&self, place: usize, recompute: Recompute) -> bool {
        let last = self.0.iter().rposition(|layer| layer.is_trainable);
        last.is_some_and(|last| recompute.takes(self.0[place].level, place, last))
    }

    /// What the layer before answered, as far as it is kept for this one, and what this one's graph keeps.
    fn stored(&self, place: usize, recompute: Recompute) -> u64 {
        let layer = self.0[place];
        // With a tape, all that goes into a layer is kept.
        let keeps_input = layer.keeps_input || recompute != Recompute::NOTHING;
        let before = place.checked_sub(1).filter(|_| keeps_input);
        let input = before.map_or(0, |before| self.0[before].answer);
        let graph = if self.is_again(place, recompute) {
            0
        } else {
            layer.graph
        };
        input + graph
    }

    /// Numbers that are alive at most in a pass without a graph: the residual states and the layer at work.
    pub fn forward(&self) -> u64 {
        let (mut residuals, mut most) = (Vec::new(), 0);
        for layer in &self.0 {
            let states: u64 = residuals.iter().sum();
            most = most.max(states + layer.input + layer.answer + layer.working);
            if layer.takes_residual {
                residuals.pop();
            }
            if layer.leaves_residual {
                residuals.push(layer.answer);
            }
        }
        most
    }
}

/// Where a layer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It leaves a residual state.
    Down,
    Middle,
    /// Its ResNet takes one.
    Up,
}

/// On the way through the layers.
struct Walk<'a> {
    config: &'a UNetConfig,
    picture: Picture,
    /// Of the hidden states.
    channels: u64,
    level: usize,
    /// Channels of the residual states.
    residuals: Vec<u64>,
    /// Whether something before is trained.
    is_tracked: bool,
    layers: Vec<Layer>,
}

impl Walk<'_> {
    fn width(&self, level: usize) -> u64 {
        self.config.block_out_channels[level] as u64
    }

    fn pixels(&self, level: usize) -> u64 {
        let Picture { rows, columns, .. } = self.picture;
        let side = |side: u64| (0..level).fold(side, |side, _| side.div_ceil(2));
        side(rows) * side(columns)
    }

    /// `conv_in`, or the norm and convolution at the end.
    fn conv(&mut self, way: Way, output: u64) {
        let pixels = self.pixels(self.level);
        let input = self.channels * pixels;
        self.push(
            way,
            output,
            Layer {
                // The norm does.
                keeps_input: way == Way::Up,
                takes_residual: false,
                working: 2 * input,
                ..self.layer(input, output * pixels)
            },
        );
    }

    fn downsample(&mut self) {
        let channels = self.channels;
        let input = channels * self.pixels(self.level);
        let answer = channels * self.pixels(self.level + 1);
        self.push(Way::Down, channels, self.layer(input, answer));
    }

    fn upsample(&mut self) {
        let channels = self.channels;
        let input = channels * self.pixels(self.level);
        let answer = channels * self.pixels(self.level - 1);
        let layer = Layer {
            // The change of size does.
            keeps_input: true,
            working: answer,
            ..self.layer(input, answer)
        };
        self.push(Way::Middle, channels, layer);
    }

    fn resnet(&mut self, way: Way, attends: bool) {
        let takes_residual = way == Way::Up;
        if takes_residual {
            self.channels += self.residuals.pop().unwrap_or_default();
        }
        let (pixels, output) = (self.pixels(self.level), self.width(self.level));
        let (input, answer) = (self.channels * pixels, output * pixels);
        // The inputs of the two norms; the first is the layer's own.
        let mut graph = 0;
        if self.is_tracked {
            graph += answer;
            if takes_residual {
                graph += input;
            }
        }
        let keeps_input = self.is_tracked && !takes_residual;
        let mut working = RESNET * input.max(answer);
        if self.picture.unfolds {
            working += (KERNEL * input.max(answer)).min(UNFOLDED);
        }
        if attends {
            graph += self.transformer(way, pixels, output);
            working = working.max(FEED_FORWARD * answer);
        }
        self.is_tracked |= attends;
        let layer = Layer {
            is_trainable: attends,
            takes_residual,
            keeps_input,
            graph,
            working,
            ..self.layer(input, answer)
        };
        self.push(way, output, layer);
    }

    /// Numbers that the graph of a transformer keeps.
    fn transformer(&self, way: Way, pixels: u64, width: u64) -> u64 {
        let (config, level) = (self.config, self.level);
        let Picture { tokens, rank, .. } = self.picture;
        let blocks = config.transformer_layers_per_block.of(level) as u64;
        let heads = config.heads(level) as u64;
        // Of the group norm, and of the projections in and out.
        let (mut wide, mut narrow) = (3 * pixels, 2 * pixels);
        let mut softmax = 0;
        // diffusers' middle is never told of `only_cross_attention`.
        let looks_at_prompt = way != Way::Middle && config.only_cross_attention.of(level);
        for keys in [if looks_at_prompt { tokens } else { pixels }, tokens] {
            // The norm's input, what it answers, query and answer; key and value.
            wide += blocks * (4 * pixels + 2 * keys);
            // Of query and answer; of key and value.
            narrow += blocks * (2 * pixels + 2 * keys);
            softmax += blocks * 2 * heads * pixels;
        }
        // The norm's input, what it answers, what is projected, and the gate's answer.
        wide += blocks * (1 + 1 + 8 + 4) * pixels;
        narrow += blocks * 2 * pixels;
        wide * width + narrow * rank + softmax
    }

    fn layer(&self, input: u64, answer: u64) -> Layer {
        Layer {
            level: self.level,
            is_tracked: self.is_tracked,
            is_trainable: false,
            takes_residual: false,
            leaves_residual: false,
            keeps_input: false,
            input,
            answer,
            graph: 0,
            working: 0,
        }
    }

    fn push(&mut self, way: Way, output: u64, layer: Layer) {
        let leaves_residual = way == Way::Down;
        if leaves_residual {
            self.residuals.push(output);
        }
        self.channels = output;
        self.layers.push(Layer {
            leaves_residual,
            is_tracked: self.is_tracked,
            ..layer
        });
    }
}

#[cfg(test)]
mod tests {
    use mimeo_checkpoint::{Checkpoint as _, Component};

    use super::*;
    use crate::{bundled, runtime};

    const PICTURE: Picture = Picture {
        rows: 16,
        columns: 16,
        tokens: 77,
        rank: 4,
        unfolds: false,
    };

    #[test]
    fn the_layers_are_those_of_the_bundled_base() {
        let folder = bundled::folder();
        let json = runtime::block_on(folder.config(Component::Unet)).unwrap();
        let config = UNetConfig::from_json(&json).unwrap();
        let Layers(layers) = Layers::of(&config, PICTURE);
        // Kernels of the first convolution of each: it looks at all that comes in, and draws as many channels as go
        // out, which in a change of size have four times as many or as few pixels.
        let kernels = layers.iter().map(|layer| {
            let pixels = (PICTURE.rows * PICTURE.columns) >> (2 * layer.level);
            (layer.input / pixels) * layer.answer / pixels
        });
        let found: u64 = kernels.sum();

        let weights = runtime::block_on(folder.weights(Component::Unet)).unwrap();
        let kernels = weights.tensors().map(|tensor| {
            let first = [
                "conv_in.weight",
                "conv_out.weight",
                "conv1.weight",
                ".conv.weight",
            ];
            if !first.iter().any(|end| tensor.name.ends_with(end)) {
                return 0;
            }
            let numbers = (tensor.entry.shape[0] * tensor.entry.shape[1]) as u64;
            match tensor.name {
                name if name.contains("upsamplers") => numbers * 4,
                name if name.contains("downsamplers") => numbers / 4,
                _ => numbers,
            }
        });
        assert_eq!(found, kernels.sum::<u64>(), "channels of all layers");
        let attend = layers.iter().filter(|layer| layer.is_trainable).count();
        let targets = mimeo_diffusion::unet::targets(&config);
        let blocks = targets
            .iter()
            .filter(|(_, target)| target.path.ends_with("proj_in"));
        assert_eq!(attend, blocks.count(), "those with a transformer");
    }

    #[test]
    fn a_pass_without_a_graph_takes_less_than_one_with_and_the_tape_less_than_all() {
        let folder = bundled::folder();
        let json = runtime::block_on(folder.config(Component::Unet)).unwrap();
        let layers = Layers::of(&UNetConfig::from_json(&json).unwrap(), PICTURE);
        let again = layers.backward(Recompute::EVERYTHING);
        let kept = layers.backward(Recompute::NOTHING);
        assert!(again < kept / 2, "{again} of {kept}");
        assert!(layers.forward() < again, "{} of {again}", layers.forward());
        assert!(
            layers.kept(Recompute::NOTHING) < kept,
            "and what is at work"
        );
    }
}
