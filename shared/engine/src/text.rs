//! The text encoders of a base, each with the tokenizer that spells for it.

use burn::tensor::{Device, Tensor};
use mimeo_checkpoint::config::fields::{self, ConfigFile};
use mimeo_checkpoint::{
    Checkpoint, CheckpointError, Component, ComponentWeights, TextEncoderConfig,
};
use mimeo_diffusion::{
    ClipTextModel, ClipTextModelWithProjection, LoadError, OutputLayer, Tokenizer, WeightMap,
};
use mimeo_lora::{LoraStack, Targets};

use crate::error::EngineError;
use crate::on_demand::OnDemand;

/// Where the token that fills a prompt may be named; transformers believes the first one more.
const PADDING_FILES: [&str; 2] = ["special_tokens_map.json", "tokenizer_config.json"];

/// What a base's files say about one of its text encoders, before its weights are read.
pub(crate) struct TextParts {
    pub component: Component,
    pub config: TextEncoderConfig,
    pub tokenizer: Tokenizer,
}

impl TextParts {
    /// - `json`: of the encoder's configuration
    pub async fn read(
        checkpoint: &dyn Checkpoint,
        file: ConfigFile,
        json: &str,
    ) -> Result<Self, EngineError> {
        let component = file.component;
        Ok(Self {
            component,
            config: text_config(component, json)?,
            tokenizer: read_tokenizer(checkpoint, component).await?,
        })
    }

    /// What messages call it.
    pub const fn title(&self) -> &'static str {
        match self.component {
            Component::TextEncoder2 => "second text encoder",
            _ => "text encoder",
        }
    }
}

/// The configuration files of the text encoders that a base has.
pub(crate) const fn config_files(has_two: bool) -> &'static [ConfigFile] {
    const BOTH: [ConfigFile; 2] = [fields::TEXT_ENCODER, fields::TEXT_ENCODER_2];
    if has_two { &BOTH } else { BOTH.split_at(1).0 }
}

pub(crate) fn text_config(
    component: Component,
    json: &str,
) -> Result<TextEncoderConfig, EngineError> {
    Ok(match component {
        Component::TextEncoder2 => TextEncoderConfig::second_from_json(json)?,
        _ => TextEncoderConfig::from_json(json)?,
    })
}

/// A text encoder of a base, with what is known of it while it is not on the device.
pub(crate) struct TextEncoder {
    pub tokenizer: Tokenizer,
    /// Layers that it has.
    pub layers: usize,
    /// The modules that a LoRA can change.
    pub targets: Targets,
    pub model: OnDemand<TextModel>,
}

/// A text encoder on the device.
pub(crate) enum TextModel {
    Clip(Box<ClipTextModel>),
    /// Also says a prompt in one vector.
    Projecting(Box<ClipTextModelWithProjection>),
}

impl TextEncoder {
    /// Reads the weights; answers also those that nothing took.
    pub async fn load(
        parts: TextParts,
        weights: ComponentWeights,
        device: &Device,
    ) -> Result<(Self, WeightMap), EngineError> {
        let TextParts {
            component,
            config,
            tokenizer,
        } = parts;
        let layers = config.num_hidden_layers;
        let build = move |weights: &mut WeightMap| TextModel::load(component, &config, weights);
        let (model, unused) = OnDemand::load(weights, device, build).await?;
        let encoder = Self {
            tokenizer,
            layers,
            targets: model.hold().await?.targets().clone(),
            model,
        };
        Ok((encoder, unused))
    }
}

impl TextModel {
    fn load(
        component: Component,
        config: &TextEncoderConfig,
        weights: &mut WeightMap,
    ) -> Result<Self, LoadError> {
        Ok(match component {
            Component::TextEncoder2 => {
                let model = ClipTextModelWithProjection::load(config, weights)?;
                Self::Projecting(Box::new(model))
            }
            _ => Self::Clip(Box::new(ClipTextModel::load(config, weights)?)),
        })
    }

    fn targets(&self) -> &Targets {
        match self {
            Self::Clip(model) => model.targets(),
            Self::Projecting(model) => model.targets(),
        }
    }

    /// The hidden states of each prompt, `[prompts, tokens, width]`, and of an encoder that has them,
    /// the prompts in one vector each, `[prompts, width]`.
    ///
    /// - `output`: whose hidden states
    pub fn forward(
        &self,
        ids: &[Vec<u32>],
        output: OutputLayer,
        lora: &LoraStack<'_>,
    ) -> (Tensor<3>, Option<Tensor<2>>) {
        match self {
            Self::Clip(model) => (model.forward(ids, output, lora), None),
            Self::Projecting(model) => {
                let (hidden_states, pooled) = model.forward(ids, output, lora);
                (hidden_states, Some(pooled))
            }
        }
    }
}

/// Reads the tokenizer of a text encoder from its one file, which is all that transformers 5 writes,
/// or from the two that older ones write.
///
/// # Errors
/// [`EngineError`] when they are missing or not CLIP's.
pub async fn read_tokenizer(
    checkpoint: &dyn Checkpoint,
    text_encoder: Component,
) -> Result<Tokenizer, EngineError> {
    let read = |name| checkpoint.tokenizer_file(text_encoder, name);
    let mut tokenizer = match read("tokenizer.json").await {
        Ok(whole) => Tokenizer::from_json(&whole)?,
        Err(CheckpointError::MissingFile { .. }) => {
            let vocabulary = read("vocab.json").await?;
            let mut tokenizer = Tokenizer::new(&vocabulary, &read("merges.txt").await?)?;
            match read("added_tokens.json").await {
                Ok(added) => tokenizer.add_tokens(&added)?,
                Err(CheckpointError::MissingFile { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            tokenizer
        }
        Err(error) => return Err(error.into()),
    };
    for file in PADDING_FILES {
        match read(file).await {
            Ok(json) => {
                if tokenizer.pad_as_configured(file, &json)? {
                    break;
                }
            }
            Err(CheckpointError::MissingFile { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(tokenizer)
}
