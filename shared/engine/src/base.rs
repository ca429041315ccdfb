//! A loaded base checkpoint.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use mimeo_checkpoint::config::fields::{self, ConfigFile};
use mimeo_checkpoint::family::unet_layout;
use mimeo_checkpoint::names::{ModuleNames, Spelling, UnetKeys, UnetLayout};
use mimeo_checkpoint::{
    Checkpoint, CheckpointError, Component, Family, SchedulerConfig, UNetConfig, VaeConfig,
    VaeFile, printable,
};
use mimeo_diffusion::{
    AutoencoderKl, Conditioning, NoiseSchedule, OutputLayer, UNet2DConditionModel, WeightFormat,
    WeightMap,
};
use mimeo_image::{Rgb, Sizing};
use mimeo_lora::{LoraStack, Targets};
use mimeo_protocol::{ModelSize, Resolution, Said};

use crate::error::EngineError;
use crate::event::{Emit, Event, Phase};
use crate::memory::{BaseShape, Place, Weights};
use crate::on_demand::OnDemand;
use crate::rest::Rest;
use crate::runtime::ArithmeticChoice;
use crate::said::AsItIs;
use crate::text::{TextEncoder, TextParts, config_files, text_config};

/// Beginnings of keys of a whole CLIP, of which Stable Diffusion takes the text's half before its
/// projection.
const BESIDE_THE_TEXT: [&str; 4] = [
    "text_projection",
    "visual_projection",
    "vision_model",
    "logit_scale",
];
/// A UNet with fewer channels than this at its widest takes the settings of a small model.
const SMALL_BELOW_CHANNELS: usize = 640;
/// Stable Diffusion is trained and drawn in multiples of this, as in the buckets of kohya's tools and of
/// XL's own training, though XL's UNet would take half of it.
const FULL_MULTIPLE: u32 = 64;

/// Width of a latent's cell in px, where there is no VAE that tells: it is so in every Stable Diffusion.
const DOWNSCALE: usize = 8;

/// Every part of a checkpoint: the UNet on the device, the others while they are needed. A clone shares
/// the weights.
#[derive(Clone)]
pub struct Base {
    /// What it came from.
    pub name: String,
    /// Identifies the base: SHA-256 of the UNet's weights file.
    pub hash: String,
    /// Which model it is.
    pub family: Family,
    /// The noise prediction model.
    pub unet: Arc<UNet2DConditionModel>,
    /// Pictures to latents and back.
    pub(crate) vae: Arc<OnDemand<AutoencoderKl>>,
    /// The noise schedule.
    pub schedule: NoiseSchedule,
    /// What LoRA files may call the modules of each component that they change.
    pub(crate) module_names: Arc<[ModuleNames]>,
    /// What the LoRA files that are written call them.
    pub(crate) spelling: Spelling,
    /// One, or the two of Stable Diffusion XL.
    pub(crate) text_encoders: Arc<[TextEncoder]>,
    /// Whose hidden states the UNet is given.
    pub(crate) output: OutputLayer,
    /// What it is without what is said of it.
    pub(crate) as_it_is: AsItIs,
    /// What is said of it and is not so by itself.
    pub(crate) said: Said,
    /// The file that the VAE was taken from; none: its own.
    pub(crate) vae_file: Option<VaeFile>,
    pub(crate) vae_config: VaeConfig,
    /// What estimates know of it.
    pub(crate) shape: Arc<BaseShape>,
    unet_config: UNetConfig,
    device: Device,
}

impl Base {
    /// Reads a checkpoint onto the device.
    ///
    /// - `arithmetic`: of its UNet
    ///
    /// # Errors
    /// [`EngineError`] when a part is missing, damaged or of an unsupported kind.
    pub async fn load(
        checkpoint: &dyn Checkpoint,
        device: &Device,
        arithmetic: ArithmeticChoice,
        emit: &mut impl Emit,
    ) -> Result<Self, EngineError> {
        emit.emit(Event::Phase {
            phase: Phase::Loading,
            total: Some(4),
        });
        let mut parts = 0;
        let mut loaded = |emit: &mut dyn FnMut(Event)| {
            parts += 1;
            emit(Event::Progress { done: parts });
        };

        for text in checkpoint.notes() {
            emit.emit(Event::Note { text });
        }
        let family = Family::of(checkpoint).await?;
        family
            .check_trainable()
            .map_err(|found| EngineError::UnsupportedFamily {
                found,
                folder: checkpoint.name(),
            })?;
        let mut config = async |file: ConfigFile| read_config(checkpoint, file, emit).await;
        let unet_config = UNetConfig::from_json(&config(fields::UNET).await?)?;
        let vae_config = VaeConfig::from_json(&config(fields::VAE).await?)?;
        let scheduler = SchedulerConfig::from_json(&config(fields::SCHEDULER).await?)?;
        let schedule = NoiseSchedule::new(&scheduler);
        let mut texts = Vec::new();
        for file in config_files(has_two_texts(&unet_config)) {
            let json = config(*file).await?;
            texts.push(TextParts::read(checkpoint, *file, &json).await?);
        }
        check_parts(&unet_config, &vae_config, &texts, checkpoint)?;
        loaded(&mut |event| emit.emit(event));

        let mut text_encoders = Vec::new();
        for parts in texts {
            let weights = checkpoint.weights(parts.component).await?;
            let title = parts.title();
            let (encoder, weights) = TextEncoder::load(parts, weights, device).await?;
            say_unused(title, &weights, emit);
            text_encoders.push(encoder);
        }
        loaded(&mut |event| emit.emit(event));
        let vae = load_vae(&vae_config, checkpoint, device, emit).await?;
        loaded(&mut |event| emit.emit(event));
        let unet = checkpoint.weights(Component::Unet).await?;
        let arithmetic = arithmetic.of(device, Weights::of(&unet).are_half());
        let format = WeightFormat::of_unet(device, arithmetic);
        let mut weights = WeightMap::read(&unet, device, format).await?;
        let unet = UNet2DConditionModel::load(&unet_config, &mut weights)?;
        say_unused("UNet", &weights, emit);
        // A UNet whose blocks ldm could not number has diffusers' names only.
        let layout = unet_layout(checkpoint).await.ok();
        let mut module_names = vec![names_in_unet(&unet, layout.as_ref())?];
        for encoder in &text_encoders {
            module_names.push(names_of(&encoder.targets)?);
        }
        let spelling = Spelling::of(family.architecture, layout.as_ref());
        let shape = BaseShape::read(checkpoint).await?;
        let hash = checkpoint.hash().await?;
        let vae_file = checkpoint.vae_file().await?;
        loaded(&mut |event| emit.emit(event));

        let output = output_layer(&unet_config);
        Ok(Self {
            name: checkpoint.name(),
            hash,
            family,
            unet: Arc::new(unet),
            vae: Arc::new(vae),
            schedule,
            module_names: module_names.into(),
            spelling,
            text_encoders: text_encoders.into(),
            output,
            as_it_is: AsItIs {
                scheduler,
                family,
                output,
            },
            said: Said::default(),
            vae_file,
            unet_config,
            vae_config,
            shape: Arc::new(shape),
            device: device.clone(),
        })
    }

    /// Where the base computes.
    #[must_use]
    pub const fn device(&self) -> &Device {
        &self.device
    }

    /// Where its UNet computes, and in what.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        Place {
            device: &self.device,
            arithmetic: self.unet.arithmetic(),
        }
    }

    /// What estimates know of it.
    #[must_use]
    pub fn shape(&self) -> &BaseShape {
        &self.shape
    }

    /// Which defaults fit it.
    #[must_use]
    pub fn model_size(&self) -> ModelSize {
        model_size(&self.unet_config, self.vae_config.downscale())
    }

    /// Width and height of the pictures that the base was trained on.
    #[must_use]
    pub fn native_side(&self) -> u32 {
        native_side(&self.unet_config, self.vae_config.downscale())
    }

    /// Sides of a picture must be multiples of this.
    #[must_use]
    pub fn side_multiple(&self) -> u32 {
        side_multiple(&self.unet_config, self.vae_config.downscale())
    }

    /// Which size pictures are brought to.
    ///
    /// - `resolution`: of the recipe
    #[must_use]
    pub fn sizing(&self, resolution: Option<Resolution>) -> Sizing {
        sizing(&self.unet_config, self.vae_config.downscale(), resolution)
    }

    /// Shape of the latent of one picture.
    #[must_use]
    pub fn latent_shape(&self, width: u32, height: u32) -> [usize; 4] {
        let downscale = self.vae_config.downscale();
        let [rows, columns] = [height, width].map(|side| side as usize / downscale);
        [1, self.vae_config.latent_channels, rows, columns]
    }

    /// Pictures to latents and back; on the device for as long as it is held.
    ///
    /// # Errors
    /// [`EngineError::Load`] when it cannot be read any more.
    pub async fn vae(&self) -> Result<Arc<AutoencoderKl>, EngineError> {
        self.vae.hold().await
    }

    /// The latent of a picture: `[1, 4, height/8, width/8]`.
    ///
    /// # Errors
    /// [`EngineError::Load`] when the VAE cannot be read any more.
    pub async fn encode_picture(&self, picture: &Rgb) -> Result<Tensor<4>, EngineError> {
        let shape = [1, 3, picture.height() as usize, picture.width() as usize];
        let planes = TensorData::new(picture.to_signed_planes(), shape);
        self.put_down_text_encoders();
        let vae = self.vae().await?;
        Ok(vae.encode(Tensor::from_data(planes, &self.device)))
    }

    /// Takes off the device what training has no use for: text encoders and VAE. They come back by
    /// themselves where they are needed.
    pub(crate) fn put_down_encoders(&self) {
        self.vae.put_down();
        self.put_down_text_encoders();
    }

    /// The same of the text encoders alone: of XL they weigh as much as a picture takes in the VAE.
    fn put_down_text_encoders(&self) {
        for encoder in &*self.text_encoders {
            encoder.model.put_down();
        }
    }

    /// The pictures of latents, one by one so that memory stays that of one picture.
    ///
    /// - `latents`: `[pictures, 4, height, width]`
    ///
    /// # Errors
    /// [`EngineError::Readback`] when the device fails; [`EngineError::GivenUp`];
    /// [`EngineError::Load`] when the VAE cannot be read any more.
    pub async fn decode(
        &self,
        latents: Tensor<4>,
        rest: &mut impl Rest,
    ) -> Result<Vec<Rgb>, EngineError> {
        self.put_down_text_encoders();
        let vae = self.vae().await?;
        let [count, ..] = latents.dims();
        let mut pictures = Vec::with_capacity(count);
        for index in 0..count {
            let planes = vae.decode(latents.clone().narrow(0, index, 1));
            let [_, _, height, width] = planes.dims();
            let planes = read_back(planes).await?;
            pictures.push(Rgb::from_signed_planes(
                width as u32,
                height as u32,
                &planes,
            )?);
            rest.rest().await?;
        }
        Ok(pictures)
    }

    /// What it takes for the clean latents behind noisy ones of one timestep.
    ///
    /// - `noisy`: `[rows, 4, height, width]`, `conditioning`: of every row
    pub(crate) fn pred_original_sample(
        &self,
        noisy: &Tensor<4>,
        timestep: usize,
        conditioning: &Conditioning,
        lora: &LoraStack<'_>,
    ) -> Tensor<4> {
        let [rows, ..] = noisy.dims();
        let pred = self
            .unet
            .forward_in_tasks(noisy, timestep, conditioning, lora);
        let timesteps = vec![timestep; rows];
        self.schedule.pred_original_sample(noisy, &pred, &timesteps)
    }

    /// The sizes that condition a picture of `size` (width and height, px), where the model takes any:
    /// as if it had been made in this size and not cropped, which is how ComfyUI and A1111 draw.
    pub(crate) fn size_conditioning(&self, (width, height): (u32, u32)) -> Option<[u32; 6]> {
        let size = [height, width, 0, 0, height, width];
        self.unet_config.text_time().map(|_| size)
    }

    /// The modules that a LoRA can change, by component.
    pub(crate) fn all_targets(&self) -> impl Iterator<Item = &Targets> {
        let texts = self.text_encoders.iter().map(|encoder| &encoder.targets);
        std::iter::once(self.unet.all_targets()).chain(texts)
    }

    /// Layers of its text encoder; of two, of the one that has fewer.
    pub(crate) fn text_layers(&self) -> usize {
        let layers = self.text_encoders.iter().map(|encoder| encoder.layers);
        layers.min().unwrap_or_default()
    }

    /// How wide the latents of a VAE are, and those that the UNet takes.
    pub(crate) fn vae_width(&self, vae: &VaeConfig) -> Width {
        vae_width(vae, &self.unet_config)
    }

    /// The frozen model that is trained upon.
    #[must_use]
    pub fn model(&self) -> mimeo_train::Model<'_> {
        mimeo_train::Model {
            unet: &self.unet,
            schedule: &self.schedule,
            tape: None,
        }
    }
}

/// What a base's configuration tells without its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance {
    /// Which defaults fit it.
    pub size: ModelSize,
    /// Width and height of the pictures that it was trained on.
    pub native_side: u32,
    /// Sides of a picture must be multiples of this.
    pub side_multiple: u32,
    /// Whether all is there but a VAE.
    pub needs_vae: bool,
}

/// Reads a base's configuration and the headers of its weights, and nothing else.
///
/// # Errors
/// [`EngineError`] when one of them is missing, damaged or of an unsupported kind.
pub async fn glance(checkpoint: &dyn Checkpoint) -> Result<Glance, EngineError> {
    let config = |file: ConfigFile| checkpoint.config(file.component);
    let unet = UNetConfig::from_json(&config(fields::UNET).await?)?;
    let vae = match config(fields::VAE).await {
        Ok(json) => Some(VaeConfig::from_json(&json)?),
        Err(error) if error.is_missing_vae() => None,
        Err(error) => return Err(error.into()),
    };
    for file in config_files(has_two_texts(&unet)) {
        text_config(file.component, &config(*file).await?)?;
    }
    SchedulerConfig::from_json(&config(fields::SCHEDULER).await?)?;
    let has_weights = |component: &Component| *component != Component::Vae || vae.is_some();
    for component in components(&unet).filter(has_weights) {
        checkpoint.weights(component).await?.refuse_quantised()?;
    }
    let downscale = vae.as_ref().map_or(DOWNSCALE, VaeConfig::downscale);
    Ok(Glance {
        size: model_size(&unet, downscale),
        native_side: native_side(&unet, downscale),
        side_multiple: side_multiple(&unet, downscale),
        needs_vae: vae.is_none(),
    })
}

/// Whether a second text encoder says the prompt in one vector, as in Stable Diffusion XL.
pub(crate) const fn has_two_texts(unet: &UNetConfig) -> bool {
    unet.has_added_conditioning()
}

/// Whose hidden states the UNet was trained with. No configuration says it; diffusers' pipelines do,
/// each for its family.
pub(crate) const fn output_layer(unet: &UNetConfig) -> OutputLayer {
    if has_two_texts(unet) {
        OutputLayer::PENULTIMATE
    } else {
        OutputLayer::LAST
    }
}

/// The parts of a base that have weights.
pub(crate) fn components(unet: &UNetConfig) -> impl Iterator<Item = Component> + use<> {
    let texts = config_files(has_two_texts(unet)).iter();
    let texts = texts.map(|file| file.component);
    [Component::Unet, Component::Vae].into_iter().chain(texts)
}

/// - `downscale`: pixels per latent along a side
fn model_size(unet: &UNetConfig, downscale: usize) -> ModelSize {
    let widest = unet.block_out_channels.iter().max();
    if widest.is_none_or(|channels| *channels < SMALL_BELOW_CHANNELS) {
        ModelSize::Small
    } else if unet.has_added_conditioning() {
        ModelSize::Xl
    } else if native_side(unet, downscale) >= 768 {
        ModelSize::Sd2
    } else {
        ModelSize::Sd1
    }
}

pub(crate) fn native_side(unet: &UNetConfig, downscale: usize) -> u32 {
    (unet.sample_side() * downscale) as u32
}

pub(crate) fn side_multiple(unet: &UNetConfig, downscale: usize) -> u32 {
    let own = (unet.latent_multiple() * downscale) as u32;
    match model_size(unet, downscale) {
        ModelSize::Small => own,
        ModelSize::Sd1 | ModelSize::Sd2 | ModelSize::Xl => own.max(FULL_MULTIPLE),
    }
}

pub(crate) fn sizing(
    unet: &UNetConfig,
    downscale: usize,
    resolution: Option<Resolution>,
) -> Sizing {
    Sizing {
        multiple: side_multiple(unet, downscale),
        native_side: native_side(unet, downscale),
        resolution: resolution.map(Resolution::get),
    }
}

fn names_in_unet(
    unet: &UNet2DConditionModel,
    layout: Option<&UnetLayout>,
) -> Result<ModuleNames, CheckpointError> {
    let names = names_of(unet.all_targets())?;
    match layout {
        Some(layout) => names.with_ldm_names(&UnetKeys::new(layout)),
        None => Ok(names),
    }
}

fn names_of(targets: &Targets) -> Result<ModuleNames, CheckpointError> {
    let paths = targets.iter().map(|(_, target)| &*target.path);
    ModuleNames::new(targets.component(), paths)
}

/// Reads a configuration, and says what of it is left aside.
pub(crate) async fn read_config(
    checkpoint: &dyn Checkpoint,
    file: ConfigFile,
    emit: &mut impl Emit,
) -> Result<String, EngineError> {
    let json = checkpoint.config(file.component).await?;
    if let Some(text) = file.note(&json) {
        emit.emit(Event::Note { text });
    }
    Ok(json)
}

/// Reads the weights of a checkpoint's VAE.
pub(crate) async fn load_vae(
    config: &VaeConfig,
    checkpoint: &dyn Checkpoint,
    device: &Device,
    emit: &mut impl Emit,
) -> Result<OnDemand<AutoencoderKl>, EngineError> {
    let weights = checkpoint.weights(Component::Vae).await?;
    let config = config.clone();
    let build = move |weights: &mut WeightMap| AutoencoderKl::load(&config, weights);
    let (vae, unused) = OnDemand::load(weights, device, build).await?;
    say_unused("VAE", &unused, emit);
    Ok(vae)
}

/// Says what of the weights is left aside, as diffusers does.
fn say_unused(component: &str, weights: &WeightMap, emit: &mut impl Emit) {
    let mut unused = weights.unused();
    unused.retain(|key| !BESIDE_THE_TEXT.iter().any(|part| key.starts_with(part)));
    if let Some(first) = unused.first() {
        let (count, first) = (unused.len(), printable(first, 120));
        let text = format!(
            "the {component} has {count} tensors that its config.json does not call for; they are left aside (the first: {first})."
        );
        emit.emit(Event::Note { text });
    }
}

/// A folder put together from two models would fail in the middle of the arithmetic.
fn check_parts(
    unet: &UNetConfig,
    vae: &VaeConfig,
    texts: &[TextParts],
    checkpoint: &dyn Checkpoint,
) -> Result<(), EngineError> {
    let mixed = |what: String| EngineError::Mixed {
        what,
        folder: checkpoint.name(),
    };
    for text in texts {
        let (tokens, known) = (text.tokenizer.size(), text.config.vocab_size);
        if tokens > known {
            let title = text.title();
            let what = format!("the tokenizer has {tokens} tokens, the {title} knows {known}");
            return Err(mixed(what));
        }
    }
    let encoders = match texts {
        [_] => "text encoder",
        _ => "text of both encoders",
    };
    let mut widths = vec![
        (
            encoders,
            texts.iter().map(|text| text.config.hidden_size).sum(),
            "UNet's context",
            unet.cross_attention_dim(),
        ),
        vae_width(vae, unet),
    ];
    if let (Some(text_time), [_, second]) = (unet.text_time(), texts) {
        widths.push((
            "second text encoder's projection",
            second.config.projection_dim.unwrap_or(0),
            "UNet's text in one vector",
            text_time.pooled_width,
        ));
    }
    check_widths(&widths, checkpoint)
}

/// A part and how wide it is, and the other part and how wide that takes it.
pub(crate) type Width = (&'static str, usize, &'static str, usize);

const fn vae_width(vae: &VaeConfig, unet: &UNetConfig) -> Width {
    let (found, expected) = (vae.latent_channels, unet.in_channels);
    ("VAE's latent", found, "UNet's sample", expected)
}

pub(crate) fn check_widths(
    widths: &[Width],
    checkpoint: &dyn Checkpoint,
) -> Result<(), EngineError> {
    for (one, found, other, expected) in widths {
        if found != expected {
            return Err(EngineError::Mixed {
                what: format!("the {one} is {found} wide, the {other} {expected}"),
                folder: checkpoint.name(),
            });
        }
    }
    Ok(())
}

/// The numbers of a tensor.
pub(crate) async fn read_back<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, EngineError> {
    let failed = |reason: String| EngineError::Readback { reason };
    let data = tensor
        .into_data_async()
        .await
        .map_err(|error| failed(error.to_string()))?;
    data.try_to_vec::<f32>()
        .map_err(|error| failed(format!("{error:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SampleRequest;
    use crate::bundled;
    use crate::trial::{SD1, SDXL, VAE};

    const SD2: &str = r#"{"sample_size": 96, "cross_attention_dim": 1024}"#;
    const SD2_BASE: &str = r#"{"sample_size": 64, "cross_attention_dim": 1024}"#;

    #[test]
    fn every_family_has_the_defaults_of_its_size_and_multiples_of_64() {
        let downscale = VaeConfig::from_json(VAE).unwrap().downscale();
        for (config, expected, side) in [
            (SD1, ModelSize::Sd1, 512),
            (SD2_BASE, ModelSize::Sd1, 512),
            (SD2, ModelSize::Sd2, 768),
            (SDXL, ModelSize::Xl, 1024),
        ] {
            let unet = UNetConfig::from_json(config).unwrap();
            let found = model_size(&unet, downscale);
            assert_eq!(found, expected, "{config}");
            assert_eq!(native_side(&unet, downscale), side, "{config}");
            let preset = found.resolution().map(Resolution::get);
            assert_eq!(preset, Some(side), "its own size: {config}");
            assert_eq!(side_multiple(&unet, downscale), 64, "{config}");
        }
    }

    #[test]
    fn the_bundled_base_is_drawn_as_it_was_tuned() {
        let base = bundled::base();
        assert_eq!(base.model_size(), ModelSize::Small, "its presets");
        assert_eq!(base.side_multiple(), 32, "its own");
        let request = SampleRequest::new(&base, Vec::new());
        assert_eq!(request.guidance, mimeo_base::GUIDANCE, "its guidance");
    }
}
