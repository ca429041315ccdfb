//! A loaded base checkpoint.

use burn::tensor::{Device, Tensor, TensorData};
use mimeo_checkpoint::family::unet_layout;
use mimeo_checkpoint::folder::{base_hash, open_weights, read_text};
use mimeo_checkpoint::names::{Component, ModuleNames, UnetKeys, UnetLayout};
use mimeo_checkpoint::{Architecture, CheckpointError, Family, Folder, SafetensorsFile};
use mimeo_diffusion::{
    AutoencoderKl, ClipTextModel, NoiseSchedule, SchedulerConfig, TextEncoderConfig, Tokenizer,
    UNet2DConditionModel, UNetConfig, VaeConfig, WeightFormat, WeightMap,
};
use mimeo_image::Rgb;
use mimeo_protocol::ModelSize;

use crate::error::EngineError;
use crate::event::{Emit, Event, Phase};
use crate::runtime;

pub(crate) const MAX_CONFIG_BYTES: u64 = 1 << 20;
const MAX_VOCABULARY_BYTES: u64 = 16 << 20;
/// A UNet with fewer channels than this at its widest takes the settings of a small model.
const SMALL_BELOW_CHANNELS: usize = 640;

/// Every part of a checkpoint, on the device.
pub struct Base {
    /// The folder it came from.
    pub name: String,
    /// Identifies the base: SHA-256 of the UNet's weights file.
    pub hash: String,
    /// Which model it is.
    pub family: Family,
    /// The noise prediction model.
    pub unet: UNet2DConditionModel,
    /// Pictures to latents and back.
    pub vae: AutoencoderKl,
    /// The noise schedule.
    pub schedule: NoiseSchedule,
    /// What LoRA files may call the modules of the UNet's transformers.
    pub(crate) module_names: ModuleNames,
    pub(crate) text_encoder: ClipTextModel,
    pub(crate) tokenizer: Tokenizer,
    unet_config: UNetConfig,
    vae_config: VaeConfig,
    device: Device,
}

impl Base {
    /// Reads a diffusers folder onto the device.
    ///
    /// # Errors
    /// [`EngineError`] when a part is missing, damaged or of an unsupported kind.
    pub async fn load(
        folder: &dyn Folder,
        device: &Device,
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

        let family = Family::of_folder(folder).await?;
        check_supported(&family, folder)?;
        let config = |path| read_text(folder, path, MAX_CONFIG_BYTES);
        let unet_config = UNetConfig::from_json(&config("unet/config.json").await?)?;
        let vae_config = VaeConfig::from_json(&config("vae/config.json").await?)?;
        let text_config = TextEncoderConfig::from_json(&config("text_encoder/config.json").await?)?;
        let scheduler = config("scheduler/scheduler_config.json").await?;
        let schedule = NoiseSchedule::new(&SchedulerConfig::from_json(&scheduler)?);

        let vocabulary = read_text(folder, "tokenizer/vocab.json", MAX_VOCABULARY_BYTES).await?;
        let merges = read_text(folder, "tokenizer/merges.txt", MAX_VOCABULARY_BYTES).await?;
        let tokenizer = Tokenizer::new(&vocabulary, &merges)?;
        let tokens = tokenizer.size();
        check_parts(&unet_config, &vae_config, (&text_config, tokens), folder)?;
        loaded(&mut |event| emit.emit(event));

        let mut weights =
            read_weights(folder, "text_encoder", device, WeightFormat::Single).await?;
        let text_encoder = ClipTextModel::load(&text_config, &mut weights)?;
        loaded(&mut |event| emit.emit(event));
        let mut weights = read_weights(folder, "vae", device, WeightFormat::Single).await?;
        let vae = AutoencoderKl::load(&vae_config, &mut weights)?;
        loaded(&mut |event| emit.emit(event));
        let format = WeightFormat::of_unet(device);
        let mut weights = read_weights(folder, "unet", device, format).await?;
        let unet = UNet2DConditionModel::load(&unet_config, &mut weights)?;
        // A UNet whose blocks ldm could not number has diffusers' names only.
        let layout = unet_layout(folder).await.ok();
        let module_names = module_names(&unet, layout.as_ref())?;
        let hash = base_hash(folder).await?;
        loaded(&mut |event| emit.emit(event));

        Ok(Self {
            name: folder.name(),
            hash,
            family,
            unet,
            vae,
            schedule,
            module_names,
            text_encoder,
            tokenizer,
            unet_config,
            vae_config,
            device: device.clone(),
        })
    }

    /// Where the base computes.
    #[must_use]
    pub const fn device(&self) -> &Device {
        &self.device
    }

    /// Which defaults fit it.
    #[must_use]
    pub fn model_size(&self) -> ModelSize {
        model_size(&self.unet_config)
    }

    /// Width and height of the pictures that the base was trained on.
    #[must_use]
    pub fn native_side(&self) -> u32 {
        native_side(&self.unet_config, &self.vae_config)
    }

    /// Sides of a picture must be multiples of this.
    #[must_use]
    pub fn side_multiple(&self) -> u32 {
        side_multiple(&self.unet_config, &self.vae_config)
    }

    /// Shape of the latent of one picture.
    #[must_use]
    pub fn latent_shape(&self, width: u32, height: u32) -> [usize; 4] {
        let downscale = self.vae_config.downscale();
        let [rows, columns] = [height, width].map(|side| side as usize / downscale);
        [1, self.vae_config.latent_channels, rows, columns]
    }

    /// The latent of a picture: `[1, 4, height/8, width/8]`.
    #[must_use]
    pub fn encode_picture(&self, picture: &Rgb) -> Tensor<4> {
        let shape = [1, 3, picture.height() as usize, picture.width() as usize];
        let planes = TensorData::new(picture.to_signed_planes(), shape);
        self.vae.encode(Tensor::from_data(planes, &self.device))
    }

    /// The pictures of latents, one by one so that memory stays that of one picture.
    ///
    /// - `latents`: `[pictures, 4, height, width]`
    ///
    /// # Errors
    /// [`EngineError::Readback`] when the device fails.
    pub async fn decode(&self, latents: Tensor<4>) -> Result<Vec<Rgb>, EngineError> {
        let [count, ..] = latents.dims();
        let mut pictures = Vec::with_capacity(count);
        for index in 0..count {
            let planes = self.vae.decode(latents.clone().narrow(0, index, 1));
            let [_, _, height, width] = planes.dims();
            let planes = read_back(planes).await?;
            pictures.push(Rgb::from_signed_planes(
                width as u32,
                height as u32,
                &planes,
            )?);
            runtime::yield_now().await;
        }
        Ok(pictures)
    }

    /// The frozen model that is trained upon.
    #[must_use]
    pub const fn model(&self) -> mimeo_train::Model<'_> {
        mimeo_train::Model {
            unet: &self.unet,
            schedule: &self.schedule,
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
}

/// Reads a base's configuration and nothing else.
///
/// # Errors
/// [`EngineError`] when its configuration is missing or of an unsupported kind.
pub async fn glance(folder: &dyn Folder) -> Result<Glance, EngineError> {
    let config = |path| read_text(folder, path, MAX_CONFIG_BYTES);
    let unet = UNetConfig::from_json(&config("unet/config.json").await?)?;
    let vae = VaeConfig::from_json(&config("vae/config.json").await?)?;
    Ok(Glance {
        size: model_size(&unet),
        native_side: native_side(&unet, &vae),
        side_multiple: side_multiple(&unet, &vae),
    })
}

fn model_size(unet: &UNetConfig) -> ModelSize {
    match unet.block_out_channels.iter().max() {
        Some(channels) if *channels >= SMALL_BELOW_CHANNELS => ModelSize::Full,
        _ => ModelSize::Small,
    }
}

pub(crate) fn native_side(unet: &UNetConfig, vae: &VaeConfig) -> u32 {
    (unet.sample_size * vae.downscale()) as u32
}

pub(crate) fn side_multiple(unet: &UNetConfig, vae: &VaeConfig) -> u32 {
    (unet.latent_multiple() * vae.downscale()) as u32
}

fn module_names(
    unet: &UNet2DConditionModel,
    layout: Option<&UnetLayout>,
) -> Result<ModuleNames, CheckpointError> {
    let paths = unet.targets().iter().map(|(_, target)| &*target.path);
    let names = ModuleNames::new(Component::Unet, paths)?;
    match layout {
        Some(layout) => names.with_ldm_names(&UnetKeys::new(layout)),
        None => Ok(names),
    }
}

async fn read_weights(
    folder: &dyn Folder,
    component: &str,
    device: &Device,
    format: WeightFormat,
) -> Result<WeightMap, EngineError> {
    let file = SafetensorsFile::open(open_weights(folder, component).await?).await?;
    Ok(WeightMap::read(&file, device, format).await?)
}

fn check_supported(family: &Family, folder: &dyn Folder) -> Result<(), EngineError> {
    let found = match family.architecture {
        _ if family.is_inpainting() => "an inpainting model".to_owned(),
        Architecture::Sd1 | Architecture::Sd1Like => return Ok(()),
        other => other.title().to_owned(),
    };
    Err(EngineError::UnsupportedFamily {
        found,
        folder: folder.name(),
    })
}

/// A folder put together from two models would fail in the middle of the arithmetic.
fn check_parts(
    unet: &UNetConfig,
    vae: &VaeConfig,
    (text, tokens): (&TextEncoderConfig, usize),
    folder: &dyn Folder,
) -> Result<(), EngineError> {
    let mixed = |what: String| EngineError::Mixed {
        what,
        folder: folder.name(),
    };
    if tokens > text.vocab_size {
        let known = text.vocab_size;
        let what = format!("the tokenizer has {tokens} tokens, the text encoder knows {known}");
        return Err(mixed(what));
    }
    let widths = [
        (
            "text encoder",
            text.hidden_size,
            "UNet's context",
            unet.cross_attention_dim,
        ),
        (
            "VAE's latent",
            vae.latent_channels,
            "UNet's sample",
            unet.in_channels,
        ),
    ];
    for (one, found, other, expected) in widths {
        if found != expected {
            let what = format!("the {one} is {found} wide, the {other} {expected}");
            return Err(mixed(what));
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
