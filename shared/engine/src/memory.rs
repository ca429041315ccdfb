//! How much of a device's memory a job takes, and of a disk its LoRA, estimated from files' headers
//! and numbers alone.
//!
//! Counted are the weights in the format in which the device gets them, the tensors that the
//! forward pass keeps for the backward pass, and the vectors of the optimiser. The counts per block
//! follow what the operations of `mimeo-diffusion` keep (`ops`): a frozen convolution keeps nothing,
//! attention keeps its inputs and not its scores.

use burn::tensor::Device;
use mimeo_checkpoint::family::unet_layout;
use mimeo_checkpoint::names::Spelling;
use mimeo_checkpoint::{Checkpoint, Component, Family, UNetConfig, VaeConfig};
use mimeo_diffusion::tokenizer::MAX_TOKENS;
use mimeo_diffusion::{Tuning, WeightFormat, unet};
use mimeo_image::Fit;
use mimeo_protocol::{Method, Pass, Precision, Recipe, Said, SliderRecipe};

use crate::base::{components, has_two_texts, native_side, output_layer, sizing};
use crate::error::EngineError;
use crate::prompt::about_chunks;
use crate::said::skipped;
use crate::sample::{MAX_SIDE, check_size};
use crate::text::{config_files, text_config};
use crate::thumbnail;

/// Bytes of an f32.
const BYTES: u64 = 4;
/// Bytes of an f16.
const HALF_BYTES: u64 = 2;
/// Tensors of the block's size that a ResNet keeps: two norms' inputs, the skip, the sum.
const PER_RESNET: u64 = 4;
/// Tensors of the block's size that a transformer block keeps: the inputs of four norms and of the
/// adapted projections, query, key, value and answer of two attentions, and twelve times the width
/// between the two linears of the feed-forward.
const PER_TRANSFORMER: u64 = 30;
/// Numbers a channel that the second attention of a transformer block keeps for each token of the
/// prompt: key and value. Those of one chunk are no more than what is counted above.
const PER_TOKEN: u64 = 2;
/// How much wider than the block the feed-forward's first linear is: four times, and its gate.
const FEED_FORWARD: u64 = 8;
/// What the backward pass takes beside what was kept, in halves: measured on the bundled base, a row
/// in flight takes 22 MB where the kept tensors sum up to 9.6 MB.
const HALVES_WITH_BACKWARD: u64 = 5;
/// Vectors as long as a LoRA: values, gradient, two moments, the good values, and what an update
/// makes on its way.
const LORA_VECTORS: u64 = 8;
/// Tensors of the decoder's widest level that are alive at once.
const PER_DECODER: u64 = 4;

/// Tensors of a module in a LoRA file: alpha, down, up.
const TENSORS_PER_MODULE: u64 = 3;
/// Characters that a file's header has for them beside the module's name: what they are, shapes,
/// offsets. Counted in files of the bundled base.
const HEADER_PER_MODULE: u64 = 228;
/// Metadata of a LoRA file without the thumbnail: recipe, scores, and what other programs read.
const METADATA_BYTES: u64 = 2 << 10;
/// Pixels of a thumbnail in 3 bytes of metadata, in thumbnails of the bundled pairs.
const THUMBNAIL_PIXELS: u64 = 8;

/// What a job takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryNeed {
    /// The base's weights.
    pub weights_bytes: u64,
    /// What the forward pass keeps for the backward pass, or decoding a picture takes.
    pub activations_bytes: u64,
    /// The LoRA, its gradient, its moments.
    pub optimizer_bytes: u64,
    /// The largest single tensor: GPUs limit that too.
    pub largest_bytes: u64,
}

impl MemoryNeed {
    /// All of it.
    #[must_use]
    pub const fn total_bytes(self) -> u64 {
        self.weights_bytes + self.activations_bytes + self.optimizer_bytes
    }
}

/// What the estimates need to know of a base: read once, from its configuration and the headers of
/// its files.
#[derive(Debug, Clone)]
pub struct BaseShape {
    unet: UNetConfig,
    vae: VaeConfig,
    /// Numbers in all weights.
    weights: u64,
    /// Those among them that a device with half precision gets as f16.
    halves: u64,
    /// Those that the CPU does, of all components.
    large_halves: u64,
    /// Numbers in the largest weight.
    largest_weight: u64,
    /// Numbers that one rank of a LoRA has.
    per_rank: u64,
    /// Modules that a LoRA adapts.
    modules: u64,
    /// Characters of the names that their file gives them.
    name_chars: u64,
    /// Layers of the text encoder; of two, of the one that has fewer.
    text_layers: usize,
}

impl BaseShape {
    /// Reads the configuration and the headers; no weights.
    ///
    /// # Errors
    /// [`EngineError`] when the base cannot be read.
    pub async fn read(checkpoint: &dyn Checkpoint) -> Result<Self, EngineError> {
        let mut shape = Self {
            unet: UNetConfig::from_json(&checkpoint.config(Component::Unet).await?)?,
            vae: VaeConfig::from_json(&checkpoint.config(Component::Vae).await?)?,
            weights: 0,
            halves: 0,
            large_halves: 0,
            largest_weight: 0,
            per_rank: 0,
            modules: 0,
            name_chars: 0,
            text_layers: usize::MAX,
        };
        for file in config_files(has_two_texts(&shape.unet)) {
            let json = checkpoint.config(file.component).await?;
            let layers = text_config(file.component, &json)?.num_hidden_layers;
            shape.text_layers = shape.text_layers.min(layers);
        }
        let family = Family::of(checkpoint).await?;
        let layout = unet_layout(checkpoint).await.ok();
        let spelling = Spelling::of(family.architecture, layout.as_ref());
        for (_, target) in unet::targets(&shape.unet).iter() {
            shape.per_rank += (target.in_features + target.out_features) as u64;
            shape.modules += 1;
            let name = spelling.kohya_name(target.component, &target.path);
            shape.name_chars += name.len() as u64;
        }
        for component in components(&shape.unet) {
            let weights = checkpoint.weights(component).await?;
            weights.refuse_quantised()?;
            for tensor in weights.tensors() {
                let sides = tensor.entry.shape.iter();
                let numbers = sides.map(|side| *side as u64).product::<u64>();
                shape.weights += numbers;
                shape.largest_weight = shape.largest_weight.max(numbers);
                let is_of_unet = component == Component::Unet;
                if is_of_unet && WeightFormat::HalfAsStored.is_half(tensor.entry) {
                    shape.halves += numbers;
                }
                if WeightFormat::LargeHalfAsStored.is_half(tensor.entry) {
                    shape.large_halves += numbers;
                }
            }
        }
        Ok(shape)
    }

    /// Whether the base can be what is said of it.
    ///
    /// # Errors
    /// [`EngineError::ClipSkip`] where it has no such layer.
    pub fn check_said(&self, said: &Said) -> Result<(), EngineError> {
        let Some(skip) = said.clip_skip else {
            return Ok(());
        };
        skipped(output_layer(&self.unet), skip, self.text_layers).map(drop)
    }

    /// Estimates what a job takes.
    ///
    /// - `sizes`: width and height of the pictures of each example as they are, where they are known
    #[must_use]
    pub fn memory_need(
        &self,
        recipe: &Recipe,
        sizes: &[(u32, u32)],
        device: &Device,
    ) -> MemoryNeed {
        let (unet, vae) = (&self.unet, &self.vae);
        let (pass, copier) = (&recipe.pass, &recipe.copier.pass);
        let passes: &[&Pass] = match recipe.method {
            Method::Copier => &[pass, copier],
            Method::Addift | Method::Plain | Method::Slider => &[pass],
        };
        let rank: u64 = passes.iter().map(|pass| u64::from(pass.rank.get())).sum();
        let trained = sizes
            .iter()
            .map(|size| self.trained_size(recipe, Some(*size)));
        // A step takes those of one size, and most the largest.
        let largest = trained.max_by_key(|(width, height)| width * height);
        let (width, height) = largest.unwrap_or_else(|| self.trained_size(recipe, None));
        let downscale = vae.downscale() as u64;
        let (rows, columns) = (height / downscale, width / downscale);
        let batch = passes.iter().map(|pass| pass.batch_size.get() as usize);
        let in_flight = rows_in_flight(batch.max().unwrap_or(1), device) as u64;
        let chunks = about_chunks(&recipe.prompt, recipe.prompt_syntax).max(1);
        let beyond = ((chunks - 1) * MAX_TOKENS) as u64;
        let kept = kept_per_row(unet, (rows, columns), beyond) * in_flight;
        let in_training = kept * HALVES_WITH_BACKWARD / 2;
        // All of a set wait on the device for their turn; one pair is hardly anything.
        let waiting = (sizes.len() * recipe.augment.versions()).saturating_sub(1) as u64;
        let latents = (2 * unet.in_channels as u64 + 1) * rows * columns;
        let prompt = (MAX_TOKENS * chunks) as u64 * unet.cross_attention_dim() as u64;
        let held = waiting * (latents + prompt) + self.states(recipe, rows * columns);
        let widest = vae.block_out_channels.first().copied().unwrap_or_default() as u64;
        let decoder_tensor = widest * 2 * width * height;
        let decoded = decoder_tensor * PER_DECODER;
        let channels = unet.block_out_channels.first().copied().unwrap_or_default() as u64;
        let unet_tensor = channels * FEED_FORWARD * rows * columns * in_flight;
        let largest = self.largest_weight.max(decoder_tensor).max(unet_tensor);
        MemoryNeed {
            weights_bytes: self.weights_bytes(WeightFormat::of_unet(device)),
            activations_bytes: (in_training.max(decoded) + held) * BYTES,
            optimizer_bytes: self.per_rank * rank * LORA_VECTORS * BYTES,
            largest_bytes: largest * BYTES,
        }
    }

    /// Numbers that a slider is trained on.
    ///
    /// - `places`: of a latent
    fn states(&self, recipe: &Recipe, places: u64) -> u64 {
        if recipe.method.takes_pictures() {
            return 0;
        }
        let states = (SliderRecipe::PICTURES * SliderRecipe::DRAWING_STEPS) as u64;
        let latent = self.vae.latent_channels as u64 * places;
        // What is seen, the base's answer and the change; of what is kept no change.
        let kept = recipe.slider.keep.len() as u64;
        states * latent * (3 + 2 * kept)
    }

    /// What the base's weights take of the device.
    ///
    /// - `unet`: format of the UNet's; the others' are f32, on the CPU as the UNet's
    #[must_use]
    pub const fn weights_bytes(&self, unet: WeightFormat) -> u64 {
        let halves = match unet {
            WeightFormat::Single => 0,
            WeightFormat::HalfAsStored => self.halves,
            WeightFormat::LargeHalfAsStored => self.large_halves,
        };
        (self.weights - halves) * BYTES + halves * HALF_BYTES
    }

    fn thumbnail_bytes(&self, recipe: &Recipe, size: Option<(u32, u32)>) -> u64 {
        let (width, height) = self.trained_size(recipe, size);
        let side = u64::from(thumbnail::MAX_SIDE);
        let pixels = width.min(side) * height.min(side);
        (pixels * 3 / THUMBNAIL_PIXELS).min(thumbnail::MAX_CHARS)
    }

    /// How pictures of a size are brought to that at which they are trained.
    ///
    /// # Errors
    /// As [`crate::job::fit`], when they cannot be.
    pub fn fit(&self, recipe: &Recipe, (width, height): (u32, u32)) -> Result<Fit, EngineError> {
        let sizing = sizing(&self.unet, self.vae.downscale(), recipe.resolution);
        let fit = sizing.fit(width, height)?;
        check_size(sizing.multiple, (fit.width(), fit.height()), MAX_SIDE)?;
        Ok(fit)
    }

    /// Width and height at which pictures are trained; those that cannot be are refused elsewhere.
    fn trained_size(&self, recipe: &Recipe, size: Option<(u32, u32)>) -> (u64, u64) {
        let side = native_side(&self.unet, self.vae.downscale());
        let fit = self.fit(recipe, size.unwrap_or((side, side)));
        let (width, height) = fit.map_or((side, side), |fit| (fit.width(), fit.height()));
        (width.into(), height.into())
    }

    /// Estimates how large the LoRA's file will be, within a few percent.
    ///
    /// - `size`: width and height of the pictures as they are, where they are known
    #[must_use]
    pub fn file_bytes(&self, recipe: &Recipe, size: Option<(u32, u32)>) -> u64 {
        let per_number = match recipe.precision {
            Precision::F16 => 2,
            Precision::F32 => 4,
        };
        let rank = u64::from(recipe.pass.rank.get());
        // Beside the two matrices each module has its alpha.
        let numbers = self.per_rank * rank + self.modules;
        let header = TENSORS_PER_MODULE * self.name_chars + HEADER_PER_MODULE * self.modules;
        numbers * per_number + header + METADATA_BYTES + self.thumbnail_bytes(recipe, size)
    }
}

/// Rows of a batch whose tensors are alive at once.
fn rows_in_flight(batch: usize, device: &Device) -> usize {
    let per_task = Tuning::of(device).rows_per_task;
    if per_task >= batch {
        return batch;
    }
    let threads = rayon::current_num_threads();
    batch.min(per_task * threads)
}

/// Numbers that the UNet keeps for one row.
///
/// - `rows`, `columns`: of the latent
/// - `tokens`: of the prompt beyond its first chunk
fn kept_per_row(config: &UNetConfig, (rows, columns): (u64, u64), tokens: u64) -> u64 {
    let levels = config.block_out_channels.len();
    let layers = config.layers_per_block() as u64;
    let mut kept = 0;
    for (level, channels) in config.block_out_channels.iter().enumerate() {
        let size = *channels as u64 * (rows >> level).max(1) * (columns >> level).max(1);
        let depth = config.transformer_layers_per_block.of(level) as u64;
        let attends = config.attends_down(level);
        // Down, up (with one more), and the middle below the last level.
        let (mut resnets, mut transformers) = (2 * layers + 1, 0);
        if attends {
            transformers = resnets * depth;
        }
        if level + 1 == levels {
            resnets += 2;
            transformers += depth;
        }
        kept += size * (resnets * PER_RESNET + transformers * PER_TRANSFORMER);
        kept += *channels as u64 * tokens * transformers * PER_TOKEN;
    }
    kept
}

#[cfg(test)]
mod tests {
    use mimeo_protocol::{ModelSize, Resolution};

    use super::*;
    use crate::{bundled, runtime};

    fn shape() -> BaseShape {
        runtime::block_on(BaseShape::read(&bundled::folder())).unwrap()
    }

    #[test]
    fn a_photo_needs_no_more_than_the_size_at_which_it_is_trained() {
        let (base, device) = (shape(), Device::flex());
        let recipe = Recipe::preset(Method::Addift, ModelSize::Small);
        let need = |sizes: &[(u32, u32)]| base.memory_need(&recipe, sizes, &device);
        assert_eq!(need(&[(4096, 4096)]), need(&[]), "it is made smaller");
        let wide = need(&[(4096, 2048)]).activations_bytes;
        assert!(wide < need(&[]).activations_bytes, "half as high: {wide}");
    }

    #[test]
    fn a_set_needs_little_more_than_its_largest_pictures() {
        let (base, device) = (shape(), Device::flex());
        let recipe = Recipe::preset(Method::Addift, ModelSize::Small);
        let need = |sizes: &[(u32, u32)]| base.memory_need(&recipe, sizes, &device).total_bytes();
        let (wide, square) = ((256, 128), (128, 128));
        let one = need(&[square]);
        assert_eq!(need(&[square, wide]), need(&[wide, square]), "in any order");
        let hundred = need(&[square; 100]);
        assert!(
            one < hundred && hundred < one + one / 2,
            "{hundred} against {one}"
        );
    }

    #[test]
    fn a_job_needs_as_much_as_its_resolution() {
        let (base, device) = (shape(), Device::flex());
        let need = |resolution, size| {
            let recipe = Recipe {
                resolution,
                ..Recipe::preset(Method::Addift, ModelSize::Small)
            };
            base.memory_need(&recipe, &[size], &device)
        };
        let at = |side| Some(Resolution::constant(side));
        let square = (512, 512);
        assert_eq!(need(at(128), square), need(None, square), "the base's own");
        let [own, double] = [128, 256].map(|side| need(at(side), square).activations_bytes);
        assert_eq!(double, own * 4, "of four times the pixels");
        let wide = need(at(256), (512, 256)).activations_bytes;
        assert!(
            (double / 5 * 4..=double).contains(&wide),
            "about as many: {wide}"
        );
    }

    #[test]
    fn a_long_prompt_needs_more_and_one_of_one_chunk_no_more_than_none() {
        let (base, device) = (shape(), Device::flex());
        let need = |prompt: &str| {
            let recipe = Recipe {
                prompt: prompt.to_owned(),
                ..Recipe::preset(Method::Addift, ModelSize::Small)
            };
            base.memory_need(&recipe, &[], &device).activations_bytes
        };
        assert_eq!(need("glasses"), need(""), "of one chunk");
        let needs = [1, 2, 5, 20].map(|count| need(&vec!["hat"; count].join(" BREAK ")));
        assert!(needs.is_sorted_by(|a, b| a < b), "ever more: {needs:?}");
        assert_eq!(
            needs[2] - needs[1],
            (needs[1] - needs[0]) * 3,
            "the same for each chunk"
        );
    }

    #[test]
    fn a_slider_holds_what_it_is_trained_on() {
        let (base, device) = (shape(), Device::flex());
        let need = |method, keep: usize| {
            let mut recipe = Recipe {
                pass: Recipe::preset(Method::Plain, ModelSize::Small).pass,
                ..Recipe::preset(method, ModelSize::Small)
            };
            recipe.slider.keep = vec!["a hat".to_owned(); keep];
            base.memory_need(&recipe, &[], &device).activations_bytes
        };
        let states = 16 * 10 * 4 * 16 * 16 * BYTES;
        let plain = need(Method::Plain, 0);
        assert_eq!(
            need(Method::Slider, 0),
            plain + 3 * states,
            "x, answer, change"
        );
        assert_eq!(
            need(Method::Slider, 2),
            plain + 7 * states,
            "and what is kept"
        );
        assert_eq!(need(Method::Plain, 2), plain, "others keep nothing");
    }

    #[test]
    fn only_adapted_weights_count() {
        let targets = unet::targets(&shape().unet);
        for (path, is_adapted) in [
            (
                "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
                true,
            ),
            ("mid_block.attentions.0.proj_in", true),
            ("mid_block.attentions.0.norm", false),
            ("down_blocks.0.resnets.0.conv1", false),
        ] {
            let found = targets.find(path);
            assert_eq!(found.is_some(), is_adapted, "{path}");
        }
        let base = bundled::base();
        assert_eq!(base.unet.targets(), &targets, "those of the loaded model");
        let shape = shape();
        assert_eq!(shape.modules, targets.len() as u64, "no other module");
    }
}
