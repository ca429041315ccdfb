//! How much of a device's memory a job takes, and of a disk its LoRA, estimated from files' headers
//! and numbers alone.
//!
//! A job takes what its greediest phase takes: weights in the format in which the device gets them, what is kept for
//! the backward pass (`memory/layers.rs`) or a picture takes while it is encoded or drawn, and the vectors of the
//! optimiser.

mod layers;

use std::str::FromStr;

use burn::tensor::{DType, Device};
use mimeo_checkpoint::family::unet_layout;
use mimeo_checkpoint::names::Spelling;
use mimeo_checkpoint::{
    Checkpoint, Component, ComponentWeights, Dtype, Family, UNetConfig, VaeConfig,
};
use mimeo_diffusion::tokenizer::MAX_TOKENS;
use mimeo_diffusion::vae::STRIP;
use mimeo_diffusion::{Arithmetic, Recompute, Tuning, WeightFormat, unet};
use mimeo_image::Fit;
use mimeo_protocol::{Method, Pass, Precision, Recipe, Said, SliderRecipe};

use crate::base::{components, has_two_texts, native_side, output_layer, sizing};
use crate::error::EngineError;
use crate::prompt::about_chunks;
use crate::runtime::Compute;
use crate::said::skipped;
use crate::sample::{MAX_SIDE, check_size};
use crate::text::{config_files, text_config};
use crate::thumbnail;
use layers::{Layers, Picture};

/// Bytes of an f32.
const BYTES: u64 = 4;
/// Bytes of an f16.
const HALF_BYTES: u64 = 2;
/// Vectors as long as a LoRA: values, gradient, two moments, the good values, and what an update
/// makes on its way.
const LORA_VECTORS: u64 = 8;
/// Those among them that wait for the next step: values, two moments, the good values.
const WAITING_VECTORS: u64 = 4;

/// Tensors of a module in a LoRA file: alpha, down, up.
const TENSORS_PER_MODULE: u64 = 3;
/// Characters that a file's header has for them beside the module's name: what they are, shapes,
/// offsets. Counted in files of the bundled base.
const HEADER_PER_MODULE: u64 = 228;
/// Metadata of a LoRA file without the thumbnail: recipe, scores, and what other programs read.
const METADATA_BYTES: u64 = 2 << 10;
/// Pixels of a thumbnail in 3 bytes of metadata, in thumbnails of the bundled pairs.
const THUMBNAIL_PIXELS: u64 = 8;

/// What a job takes, in its greediest phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryNeed {
    /// The base's weights.
    pub weights_bytes: u64,
    /// What the forward pass keeps for the backward pass, or a picture takes while it is encoded or drawn.
    pub activations_bytes: u64,
    /// The LoRA, its gradient, its moments.
    pub optimizer_bytes: u64,
    /// The largest single tensor of the job: GPUs limit that too.
    pub largest_bytes: u64,
}

impl MemoryNeed {
    /// All of it.
    #[must_use]
    pub const fn total_bytes(self) -> u64 {
        self.weights_bytes + self.activations_bytes + self.optimizer_bytes
    }
}

/// Whether layers of the UNet are run again in the backward pass, which takes less memory and more time.
///
/// A setting of the machine and none of the recipe: what is trained is the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RecomputeChoice {
    /// As few as a job needs to fit.
    #[default]
    Auto,
    /// None.
    Off,
    /// All.
    On,
}

/// Not a way to recompute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is none of auto, off and on.")]
pub struct UnknownRecompute {
    found: String,
}

impl FromStr for RecomputeChoice {
    type Err = UnknownRecompute;

    fn from_str(text: &str) -> Result<Self, UnknownRecompute> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            "on" => Ok(Self::On),
            _ => Err(UnknownRecompute {
                found: text.to_owned(),
            }),
        }
    }
}

/// What is said of a job whose UNet is run again in part; none where nothing is.
///
/// - `levels`: of the UNet
#[must_use]
pub fn told_of(recompute: Recompute, levels: usize) -> Option<String> {
    let which = match recompute.levels {
        0 => return None,
        again if again >= levels => "the whole UNet".to_owned(),
        1 => "the outermost level of the UNet".to_owned(),
        again => format!("the {again} outermost levels of the UNet"),
    };
    Some(format!(
        "A step computes {which} twice, which takes less memory and more time."
    ))
}

/// Where a UNet computes, and in which number format.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The device.
    pub device: &'a Device,
    /// The format.
    pub arithmetic: Arithmetic,
}

/// The numbers of a component's weights, or of all.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weights {
    /// All.
    numbers: u64,
    /// Those of matrices and kernels.
    matrices: u64,
    /// Those among them that a device with half precision gets as f16 ([`WeightFormat::HalfAsStored`]).
    halves: u64,
    /// Those that the CPU does ([`WeightFormat::LargeHalfAsStored`]).
    large_halves: u64,
}

impl Weights {
    /// Those of a component.
    pub(crate) fn of(component: &ComponentWeights) -> Self {
        let mut weights = Self::default();
        for tensor in component.tensors() {
            weights.add(tensor.entry.dtype, &tensor.entry.shape);
        }
        weights
    }

    /// Counts a tensor, and answers its numbers.
    ///
    /// - `stored`: its format in the file
    fn add(&mut self, stored: Dtype, sides: &[usize]) -> u64 {
        let numbers = sides.iter().map(|side| *side as u64).product();
        let if_half = |format: WeightFormat| match format.on_device(stored, sides) {
            DType::F32 => 0,
            _ => numbers,
        };
        self.numbers += numbers;
        self.matrices += if_half(WeightFormat::Computed(Arithmetic::F16));
        self.halves += if_half(WeightFormat::HalfAsStored);
        self.large_halves += if_half(WeightFormat::LargeHalfAsStored);
        numbers
    }

    /// Whether most of them are f16 in the file, so that computing in it rounds next to none.
    pub(crate) const fn are_half(self) -> bool {
        2 * self.halves > self.numbers
    }

    const fn bytes(self, format: WeightFormat) -> u64 {
        let halves = match format {
            WeightFormat::Single | WeightFormat::Computed(Arithmetic::F32) => 0,
            WeightFormat::HalfAsStored => self.halves,
            WeightFormat::LargeHalfAsStored => self.large_halves,
            WeightFormat::Computed(Arithmetic::F16 | Arithmetic::BF16) => self.matrices,
        };
        (self.numbers - halves) * BYTES + halves * HALF_BYTES
    }
}

/// What is on the device in each phase of a job.
#[derive(Debug, Clone, Copy)]
struct Phases {
    /// While prompts are read.
    reading: MemoryNeed,
    /// While pictures become latents.
    encoding: MemoryNeed,
    training: MemoryNeed,
    /// While previews and scores are drawn.
    drawing: MemoryNeed,
}

/// What the estimates need to know of a base: read once, from its configuration and the headers of
/// its files.
#[derive(Debug, Clone)]
pub struct BaseShape {
    unet: UNetConfig,
    vae: VaeConfig,
    unet_weights: Weights,
    vae_weights: Weights,
    /// Of the text encoder, or of both.
    text_weights: Weights,
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
            unet_weights: Weights::default(),
            vae_weights: Weights::default(),
            text_weights: Weights::default(),
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
            let of_component = match component {
                Component::Unet => &mut shape.unet_weights,
                Component::Vae => &mut shape.vae_weights,
                _ => &mut shape.text_weights,
            };
            for tensor in weights.tensors() {
                let numbers = of_component.add(tensor.entry.dtype, &tensor.entry.shape);
                shape.largest_weight = shape.largest_weight.max(numbers);
            }
        }
        Ok(shape)
    }

    /// That of a UNet alone, whose file would be of F16.
    ///
    /// - `vae`: whose latents it takes
    /// - `weights`: shapes of its tensors
    pub(crate) fn of_unet(unet: UNetConfig, vae: VaeConfig, weights: &[Vec<usize>]) -> Self {
        let mut shape = Self {
            vae,
            unet_weights: Weights::default(),
            vae_weights: Weights::default(),
            text_weights: Weights::default(),
            largest_weight: 0,
            per_rank: 0,
            modules: 0,
            name_chars: 0,
            text_layers: 0,
            unet,
        };
        for (_, target) in unet::targets(&shape.unet).iter() {
            shape.per_rank += (target.in_features + target.out_features) as u64;
            shape.modules += 1;
        }
        for sides in weights {
            let numbers = shape.unet_weights.add(Dtype::F16, sides);
            shape.largest_weight = shape.largest_weight.max(numbers);
        }
        shape
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

    /// How much of the UNet a job runs again.
    ///
    /// - `available_bytes`: for all of the job; none: nobody knows, and nothing is run again unasked
    #[must_use]
    pub fn recompute(
        &self,
        choice: RecomputeChoice,
        recipe: &Recipe,
        sizes: &[(u32, u32)],
        place: Place<'_>,
        available_bytes: Option<u64>,
    ) -> Recompute {
        match (choice, available_bytes) {
            (RecomputeChoice::On, _) => Recompute::EVERYTHING,
            (RecomputeChoice::Off, _) | (RecomputeChoice::Auto, None) => Recompute::NOTHING,
            (RecomputeChoice::Auto, Some(available)) => {
                let fits = |recompute: &Recompute| {
                    let need = self.memory_need(recipe, sizes, place, *recompute);
                    need.total_bytes() <= available
                };
                let mut levels = (0..self.levels()).map(|levels| Recompute { levels });
                levels.find(fits).unwrap_or(Recompute::EVERYTHING)
            }
        }
    }

    /// Where its UNet computes, and in what.
    #[must_use]
    pub fn place<'a>(&self, compute: &'a Compute) -> Place<'a> {
        let device = &compute.device;
        let are_half = self.unet_weights.are_half();
        Place {
            device,
            arithmetic: compute.arithmetic.of(device, are_half),
        }
    }

    /// Levels of its UNet.
    #[must_use]
    pub fn levels(&self) -> usize {
        self.unet.block_out_channels.len()
    }

    /// Estimates what a job takes.
    ///
    /// - `sizes`: width and height of the pictures of each example as they are, where they are known
    #[must_use]
    pub fn memory_need(
        &self,
        recipe: &Recipe,
        sizes: &[(u32, u32)],
        place: Place<'_>,
        recompute: Recompute,
    ) -> MemoryNeed {
        let Phases {
            reading,
            encoding,
            training,
            drawing,
        } = self.phases(recipe, sizes, place, recompute);
        let mut need = training;
        for phase in [reading, encoding, drawing] {
            if phase.total_bytes() > need.total_bytes() {
                need = phase;
            }
        }
        need
    }

    /// The same of its training alone.
    pub(crate) fn training_need(
        &self,
        recipe: &Recipe,
        sizes: &[(u32, u32)],
        place: Place<'_>,
        recompute: Recompute,
    ) -> MemoryNeed {
        self.phases(recipe, sizes, place, recompute).training
    }

    fn phases(
        &self,
        recipe: &Recipe,
        sizes: &[(u32, u32)],
        place: Place<'_>,
        recompute: Recompute,
    ) -> Phases {
        let Place { device, arithmetic } = place;
        let trained = sizes
            .iter()
            .map(|size| self.trained_size(recipe, Some(*size)));
        // A step takes those of one size, and most the largest.
        let largest = trained.max_by_key(|(width, height)| width * height);
        let size = largest.unwrap_or_else(|| self.trained_size(recipe, None));
        let (rows, columns) = self.latent(size);
        let chunks = about_chunks(&recipe.prompt, recipe.prompt_syntax).max(1);
        let tokens = (MAX_TOKENS * chunks) as u64;
        let passes = passes(recipe);
        let ranks = passes.iter().map(|pass| u64::from(pass.rank.get()));
        let (all, rank) = (ranks.clone().sum::<u64>(), ranks.max().unwrap_or_default());
        let of_unet = Layers::of(
            &self.unet,
            Picture {
                rows,
                columns,
                tokens,
                rank,
                unfolds: arithmetic != Arithmetic::F32,
            },
        );
        let mut step = of_unet.backward(recompute) * answers(recipe);
        if asks_again(recipe) {
            step = step.max(of_unet.kept(recompute) + of_unet.forward());
        }
        let training = step * in_flight(recipe, device);
        let of_unet_bytes = match arithmetic {
            Arithmetic::F32 => BYTES,
            Arithmetic::F16 | Arithmetic::BF16 => HALF_BYTES,
        };
        // Both with a prompt and without.
        let drawn = of_unet.forward() * 2 * of_unet_bytes;
        let drawn = drawn.max(self.decoder(size) * BYTES);
        // All of a set wait on the device for their turn; one pair is hardly anything.
        let waiting = (sizes.len() * recipe.augment.versions()).saturating_sub(1) as u64;
        let latents = (2 * self.unet.in_channels as u64 + 1) * rows * columns;
        let prompt = tokens * self.unet.cross_attention_dim() as u64;
        let held = waiting * (latents + prompt) + self.states(recipe, rows * columns);

        let format = WeightFormat::of_unet(device, arithmetic);
        let others = others_format(format);
        let unet = self.unet_weights.bytes(format);
        // Text encoders and VAE are never there together.
        let with_text = unet + self.text_weights.bytes(others);
        let with_vae = unet + self.vae_weights.bytes(others);
        // One LoRA is trained at a time; a copier is there as it is.
        let loras = |vectors: u64| self.per_rank * (rank * vectors + (all - rank));
        let largest_bytes = self.largest_tensor(recipe, size, device) * BYTES;
        let phase = |weights_bytes: u64, activations_bytes: u64, trained: u64| MemoryNeed {
            weights_bytes,
            activations_bytes: activations_bytes + held * BYTES,
            optimizer_bytes: trained * BYTES,
            largest_bytes,
        };
        Phases {
            reading: phase(with_text, 0, 0),
            encoding: phase(with_vae, self.encoder(size) * BYTES, 0),
            // Both are put down.
            training: phase(unet, training * of_unet_bytes, loras(LORA_VECTORS)),
            // The optimiser waits for the next step.
            drawing: phase(with_vae, drawn, loras(WAITING_VECTORS)),
        }
    }

    /// Numbers of the largest tensor of a job.
    fn largest_tensor(&self, recipe: &Recipe, size: (u64, u64), device: &Device) -> u64 {
        /// How much wider than the block the feed-forward's first linear is: four times, and its gate.
        const FEED_FORWARD: u64 = 8;
        let (rows, columns) = self.latent(size);
        let channels = self.unet.block_out_channels.first();
        let channels = channels.copied().unwrap_or_default() as u64;
        let of_unet = channels * FEED_FORWARD * rows * columns * in_flight(recipe, device);
        let [own, inner] = self.vae_tensors(size);
        let of_vae = own.max(inner);
        [self.largest_weight, of_vae.min(self.strip(size))]
            .into_iter()
            .fold(of_unet, u64::max)
    }

    /// Rows and columns of the latent of pictures of a size.
    fn latent(&self, (width, height): (u64, u64)) -> (u64, u64) {
        let downscale = self.vae.downscale() as u64;
        (height / downscale, width / downscale)
    }

    /// Numbers of the VAE's largest tensors: at the size of the picture, as wide as its outermost level, and as what
    /// comes to that level from within.
    fn vae_tensors(&self, (width, height): (u64, u64)) -> [u64; 2] {
        let widths = &self.vae.block_out_channels;
        let own = widths.first().copied().unwrap_or_default();
        let inner = widths.get(1).copied().unwrap_or(own);
        [own, inner].map(|channels| channels as u64 * width * height)
    }

    /// Numbers that are alive at most while a picture is encoded: a ResNet's input, that normed, and what its first
    /// convolution answers. In strips, its input and that answer.
    fn encoder(&self, size: (u64, u64)) -> u64 {
        let [own, _] = self.vae_tensors(size);
        self.at_once(size, 3 * own, 2 * own)
    }

    /// The same while it is decoded; there the input is wider, and in strips it goes while the answer comes.
    fn decoder(&self, size: (u64, u64)) -> u64 {
        let [own, inner] = self.vae_tensors(size);
        self.at_once(size, 2 * inner + own, inner.max(2 * own))
    }

    /// Numbers that the VAE holds at most.
    ///
    /// - `whole`: if the picture is one strip
    /// - `kept`: if it is cut, beside the strip at work
    fn at_once(&self, size: (u64, u64), whole: u64, kept: u64) -> u64 {
        /// Strips that one takes while it is computed: with its neighbours' rows, normed, laid out for the
        /// convolution, what that answers, and of it the strip's own.
        const AT_WORK: u64 = 5;
        whole.min(kept + AT_WORK * self.strip(size))
    }

    /// Numbers of the largest tensor of the VAE where pictures are cut: a strip, or in very large ones a group of
    /// channels, whose moments are taken of all rows.
    fn strip(&self, size: (u64, u64)) -> u64 {
        let [own, inner] = self.vae_tensors(size);
        let group = own.max(inner) / self.vae.norm_num_groups as u64;
        group.max(STRIP as u64)
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
    /// - `unet`: format of the UNet's
    #[must_use]
    pub const fn weights_bytes(&self, unet: WeightFormat) -> u64 {
        let others = others_format(unet);
        self.unet_weights.bytes(unet)
            + self.vae_weights.bytes(others)
            + self.text_weights.bytes(others)
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

/// The format of the other components' weights beside the UNet's, on one device.
const fn others_format(unet: WeightFormat) -> WeightFormat {
    match unet {
        WeightFormat::Single => WeightFormat::Single,
        WeightFormat::HalfAsStored
        | WeightFormat::LargeHalfAsStored
        | WeightFormat::Computed(_) => WeightFormat::LargeHalfAsStored,
    }
}

/// The passes that a recipe trains.
fn passes(recipe: &Recipe) -> Vec<&Pass> {
    match recipe.method {
        Method::Copier => vec![&recipe.pass, &recipe.copier.pass],
        Method::Addift | Method::Plain | Method::Slider => vec![&recipe.pass],
    }
}

/// Rows of a batch whose tensors are alive at once.
fn in_flight(recipe: &Recipe, device: &Device) -> u64 {
    let batch = passes(recipe).into_iter();
    let batch = batch.map(|pass| pass.batch_size.get() as usize);
    let batch = batch.max().unwrap_or(1);
    let per_task = Tuning::of(device).rows_per_task;
    let rows = match per_task.checked_mul(rayon::current_num_threads()) {
        Some(at_once) => batch.min(at_once),
        None => batch,
    };
    rows as u64
}

/// How many of the student's answers the gradients of a step go back through.
fn answers(recipe: &Recipe) -> u64 {
    let preserves = recipe.method == Method::Addift && recipe.addift.preservation.get() > 0.0;
    if preserves { 2 } else { 1 }
}

/// Whether the base is asked for its own answer while the student's waits for its gradients.
fn asks_again(recipe: &Recipe) -> bool {
    match recipe.method {
        Method::Copier | Method::Plain => recipe.mask.prior_weight.get() > 0.0,
        // The teacher is asked first, or beside the student.
        Method::Addift => recipe.addift.preservation.get() > 0.0,
        Method::Slider => false,
    }
}

#[cfg(test)]
mod tests {
    use mimeo_protocol::{ModelSize, Resolution};

    use std::sync::LazyLock;

    use super::*;
    use crate::{bundled, runtime, trial};

    const KEPT: Recompute = Recompute::NOTHING;

    fn cpu() -> Place<'static> {
        static CPU: LazyLock<Device> = LazyLock::new(Device::flex);
        Place {
            device: &CPU,
            arithmetic: Arithmetic::F32,
        }
    }

    fn shape() -> BaseShape {
        runtime::block_on(BaseShape::read(&bundled::folder())).unwrap()
    }

    #[test]
    fn a_photo_needs_no_more_than_the_size_at_which_it_is_trained() {
        let (base, place) = (shape(), cpu());
        let recipe = Recipe::preset(Method::Addift, ModelSize::Small);
        let need = |sizes: &[(u32, u32)]| base.memory_need(&recipe, sizes, place, KEPT);
        assert_eq!(need(&[(4096, 4096)]), need(&[]), "it is made smaller");
        let wide = need(&[(4096, 2048)]).activations_bytes;
        assert!(wide < need(&[]).activations_bytes, "half as high: {wide}");
    }

    #[test]
    fn a_set_needs_little_more_than_its_largest_pictures() {
        let (base, place) = (shape(), cpu());
        let recipe = Recipe::preset(Method::Addift, ModelSize::Small);
        let need =
            |sizes: &[(u32, u32)]| base.memory_need(&recipe, sizes, place, KEPT).total_bytes();
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
        let (base, place) = (shape(), cpu());
        let need = |resolution, size| {
            let recipe = Recipe {
                resolution,
                ..Recipe::preset(Method::Addift, ModelSize::Small)
            };
            base.training_need(&recipe, &[size], place, KEPT)
        };
        let at = |side| Some(Resolution::constant(side));
        let square = (512, 512);
        assert_eq!(need(at(128), square), need(None, square), "the base's own");
        let [own, double] = [128, 256].map(|side| need(at(side), square).activations_bytes);
        // Of four times the pixels, and of the same prompt.
        assert!(own * 7 / 2 < double && double <= own * 4, "{own}, {double}");
        let wide = need(at(256), (512, 256)).activations_bytes;
        assert!(
            (double / 5 * 4..=double).contains(&wide),
            "about as many: {wide}"
        );
    }

    #[test]
    fn a_long_prompt_needs_more_and_one_of_one_chunk_no_more_than_none() {
        let (base, place) = (shape(), cpu());
        let need = |prompt: &str| {
            let recipe = Recipe {
                prompt: prompt.to_owned(),
                ..Recipe::preset(Method::Addift, ModelSize::Small)
            };
            base.training_need(&recipe, &[], place, KEPT)
                .activations_bytes
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
        let (base, place) = (shape(), cpu());
        let need = |method, keep: usize| {
            let mut recipe = Recipe {
                pass: Recipe::preset(Method::Plain, ModelSize::Small).pass,
                ..Recipe::preset(method, ModelSize::Small)
            };
            recipe.slider.keep = vec!["a hat".to_owned(); keep];
            base.memory_need(&recipe, &[], place, KEPT)
                .activations_bytes
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

    /// Stable Diffusion 1.5 with all weights in F16, but for what estimates of a file's size need.
    fn sd1() -> BaseShape {
        real(trial::SD1, 859_520_964, 123_060_480)
    }

    /// The same of XL.
    fn sdxl() -> BaseShape {
        real(trial::SDXL, 2_567_463_684, 123_060_480 + 694_659_840)
    }

    fn real(unet: &str, unet_numbers: u64, text_numbers: u64) -> BaseShape {
        let unet = UNetConfig::from_json(unet).unwrap();
        let targets = unet::targets(&unet);
        let per_rank = targets
            .iter()
            .map(|(_, target)| target.in_features + target.out_features);
        // Nearly all are in large tensors.
        let weights = |numbers: u64| Weights {
            numbers,
            matrices: numbers,
            halves: numbers,
            large_halves: numbers / 100 * 98,
        };
        BaseShape {
            vae: VaeConfig::from_json(trial::VAE).unwrap(),
            unet_weights: weights(unet_numbers),
            vae_weights: weights(83_653_863),
            text_weights: weights(text_numbers),
            largest_weight: 2560 * 1280 * 9,
            per_rank: per_rank.sum::<usize>() as u64,
            modules: targets.len() as u64,
            name_chars: 0,
            text_layers: 12,
            unet,
        }
    }

    #[test]
    fn estimates_of_sd1_are_near_what_was_measured() {
        let (base, place) = (sd1(), cpu());
        // `cargo xtask bench --base sd1`: the whole program in MiB, when text encoder and VAE still stayed on the
        // device.
        for (side, recompute, measured) in [
            (512, KEPT, 4049),
            (512, Recompute::EVERYTHING, 2856),
            (256, KEPT, 2875),
        ] {
            let mut recipe = Recipe {
                resolution: Some(Resolution::constant(side)),
                ..Recipe::preset(Method::Plain, ModelSize::Sd1)
            };
            recipe.pass.batch_size = mimeo_protocol::BatchSize::constant(1);
            recipe.pass.rank = mimeo_protocol::Rank::constant(16);
            let need = base.training_need(&recipe, &[], place, recompute);
            let format = WeightFormat::of_unet(place.device, place.arithmetic);
            let put_down = base.weights_bytes(format) - need.weights_bytes;
            let estimated = (need.total_bytes() + put_down) >> 20;
            let off = estimated as f64 / f64::from(measured) - 1.0;
            assert!(
                off.abs() < 0.15,
                "{side} px, {recompute:?}: {estimated} MiB, measured {measured}; {need:?}"
            );
        }
    }

    #[test]
    fn real_bases_are_trained_on_gpus_that_people_have() {
        // A GPU's weights and pictures in f16; one row is as many tasks on it as on a CPU.
        let place = Place {
            arithmetic: Arithmetic::F16,
            ..cpu()
        };
        for (base, size, side, gib) in [
            (sd1(), ModelSize::Sd1, 512, 4),
            // What a GPU of 8 has left beside a desktop: the VAE draws large pictures in strips.
            (sdxl(), ModelSize::Xl, 1024, 7),
        ] {
            for method in Method::ALL {
                let mut recipe = Recipe {
                    resolution: Some(Resolution::constant(side)),
                    ..Recipe::preset(method, size)
                };
                for pass in [&mut recipe.pass, &mut recipe.copier.pass] {
                    pass.batch_size = mimeo_protocol::BatchSize::constant(1);
                }
                let available = gib << 30;
                let choice = RecomputeChoice::Auto;
                let recompute = base.recompute(choice, &recipe, &[], place, Some(available));
                let need = base.memory_need(&recipe, &[], place, recompute);
                let mib = need.total_bytes() >> 20;
                assert!(
                    need.total_bytes() <= available,
                    "{method} at {side}: {mib} MiB with {recompute:?}, {need:?}"
                );
            }
        }
    }

    #[test]
    fn a_large_picture_takes_the_vae_what_it_is_itself_and_a_few_strips() {
        let base = sdxl();
        let per_pixel = |numbers: u64, side: u64| numbers / (side * side);
        for (side, decoder, encoder) in [
            // In one strip: two tensors as wide as what comes from within and one of its own, or three of its own.
            (128, 2 * 256 + 128, 3 * 128),
            // Five strips of 16 Mi numbers, or of the 32 Mi that a group of channels has.
            (1024, 256 + 80, 2 * 128 + 80),
            (2048, 256 + 40, 2 * 128 + 40),
        ] {
            let size = (side, side);
            assert_eq!(per_pixel(base.decoder(size), side), decoder, "{side}");
            assert_eq!(per_pixel(base.encoder(size), side), encoder, "{side}");
        }
        let strip = base.strip((1024, 1024));
        assert_eq!(strip, STRIP as u64, "nothing larger in one piece");
    }

    #[test]
    fn the_more_is_computed_twice_the_less_a_job_needs_and_auto_takes_the_least_that_fits() {
        let (base, place) = (sd1(), cpu());
        let recipe = Recipe::preset(Method::Plain, ModelSize::Sd1);
        let need = |levels| {
            let need = base.memory_need(&recipe, &[], place, Recompute { levels });
            need.total_bytes()
        };
        let needs: Vec<u64> = (0..=base.levels()).map(need).collect();
        assert!(needs.is_sorted_by(|a, b| a >= b), "{needs:?}");
        assert!(
            needs[1] < needs[0],
            "the outermost level keeps most: {needs:?}"
        );
        let choose = |choice, available| base.recompute(choice, &recipe, &[], place, available);
        let auto = |available| choose(RecomputeChoice::Auto, available);
        assert_eq!(auto(None), Recompute::NOTHING, "nobody knows");
        assert_eq!(auto(Some(needs[0])), Recompute::NOTHING, "just so");
        assert_eq!(auto(Some(needs[0] - 1)).levels, 1, "the least that fits");
        assert_eq!(auto(Some(0)), Recompute::EVERYTHING, "as near as can be");
        let off = choose(RecomputeChoice::Off, Some(0));
        assert_eq!(off, Recompute::NOTHING, "as asked");
        let on = choose(RecomputeChoice::On, None);
        assert_eq!(on, Recompute::EVERYTHING, "as asked");
        assert_eq!(told_of(off, base.levels()), None, "nothing to be told");
        let told = [1, 2, 4].map(|levels| told_of(Recompute { levels }, base.levels()).unwrap());
        assert!(told[0].contains("the outermost level of"), "{told:?}");
        assert!(told[1].contains("the 2 outermost levels of"), "{told:?}");
        assert!(told[2].contains("the whole UNet"), "{told:?}");
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
