//! From prompts and seeds to pictures.

use std::ops::Range;

use burn::tensor::{Tensor, TensorData};
use mimeo_checkpoint::Array;
use mimeo_diffusion::{Conditioning, Ddim, Euler, Guidance};
use mimeo_image::Rgb;
use mimeo_lora::LoraStack;
use mimeo_protocol::PromptSyntax;
use mimeo_train::NoiseRng;

use crate::base::Base;
use crate::error::EngineError;
use crate::rest::{GivenUp, Rest};

/// Stream of a seed from which pictures start, apart from those that training uses.
pub(crate) const STREAM: u64 = 0x5a;
/// Longest side that is drawn; beyond it a typing error is likelier than a wish.
pub(crate) const MAX_SIDE: u32 = 2048;
/// Pictures per forward pass: more only takes more memory.
const BATCH: usize = 8;

/// Denoising steps, if nobody says otherwise: what A1111 begins with, and enough for every family.
pub(crate) const STEPS: usize = 20;

/// Which sampler draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SamplerKind {
    /// Deterministic DDIM.
    #[default]
    Ddim,
    /// Euler.
    Euler,
}

/// What to draw: one picture per prompt and seed.
#[derive(Debug, Clone)]
pub struct SampleRequest {
    /// Prompt and seed of every picture.
    pub pictures: Vec<(String, u64)>,
    /// What to keep away from; empty for nothing.
    pub negative_prompt: String,
    /// How all prompts are read.
    pub syntax: PromptSyntax,
    /// Denoising steps.
    pub steps: usize,
    /// Classifier-free guidance; 1 switches it off.
    pub guidance: f64,
    /// How much of the contrast that guidance adds is taken back; 0 is nothing.
    pub guidance_rescale: f64,
    /// Which sampler.
    pub sampler: SamplerKind,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// What every picture starts from instead of the noise of its seed: standard normal numbers of
    /// the shape of one latent, `[1, 4, height/8, width/8]`.
    pub noise: Option<Array>,
}

impl SampleRequest {
    /// Pictures of a base's own size with the settings that suit it.
    #[must_use]
    pub fn new(base: &Base, pictures: Vec<(String, u64)>) -> Self {
        let side = base.native_side();
        Self {
            pictures,
            negative_prompt: String::new(),
            syntax: PromptSyntax::USUAL,
            steps: STEPS,
            guidance: base.model_size().guidance(),
            guidance_rescale: base.guidance_rescale(),
            sampler: SamplerKind::Ddim,
            size: (side, side),
            noise: None,
        }
    }

    fn prompts(&self) -> Vec<&str> {
        let pictures = self.pictures.iter();
        pictures.map(|(prompt, _)| prompt.as_str()).collect()
    }

    /// What a user should know about the prompts, each once and as one sentence.
    ///
    /// # Errors
    /// [`EngineError`] when one cannot be read.
    pub fn notes(&self, base: &Base) -> Result<Vec<String>, EngineError> {
        let mut notes = Vec::new();
        for prompt in self.prompts().into_iter().chain([&*self.negative_prompt]) {
            for note in base.prompt_notes(prompt, self.syntax)? {
                if !notes.contains(&note) {
                    notes.push(note);
                }
            }
        }
        Ok(notes)
    }
}

/// Draws the pictures; what the LoRA does to text encoders, it does to all prompts. The units of its rests are denoising steps, of which there are
/// [`total_steps`].
///
/// # Errors
/// [`EngineError::Size`] for a size the base cannot draw; [`EngineError::Noise`];
/// [`EngineError::Tokenizer`] and [`EngineError::PromptTooLong`] for a prompt that it cannot read;
/// [`EngineError::Readback`]; [`EngineError::GivenUp`].
pub async fn sample(
    base: &Base,
    request: &SampleRequest,
    lora: &LoraStack<'_>,
    rest: &mut impl Rest,
) -> Result<Vec<Rgb>, EngineError> {
    sample_foreseen(base, request, request.steps, lora, rest).await
}

/// As [`sample`], of each picture the first `calls` of its steps, and what they would lead to.
pub(crate) async fn sample_foreseen(
    base: &Base,
    request: &SampleRequest,
    calls: usize,
    lora: &LoraStack<'_>,
    rest: &mut impl Rest,
) -> Result<Vec<Rgb>, EngineError> {
    let latents = sample_latents(base, request, calls, lora, rest).await?;
    base.decode(latents, rest).await
}

/// How many steps [`sample`] takes.
///
/// # Errors
/// [`EngineError`] when a prompt cannot be read.
pub fn total_steps(base: &Base, request: &SampleRequest) -> Result<u32, EngineError> {
    let lengths = base.count_chunks(&request.prompts(), request.syntax)?;
    Ok((batches(&lengths).len() * request.steps) as u32)
}

/// Which pictures go through the model together: neighbours whose prompts are of one length. Shorter
/// ones are not filled up, which would change what they mean by what is drawn beside them.
fn batches(lengths: &[usize]) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let mut first = 0;
    for alike in lengths.chunk_by(|one, next| one == next) {
        for batch in alike.chunks(BATCH) {
            batches.push(first..first + batch.len());
            first += batch.len();
        }
    }
    batches
}

/// As [`sample_foreseen`], before they are decoded: `[pictures, channels, height, width]`.
pub(crate) async fn sample_latents(
    base: &Base,
    request: &SampleRequest,
    calls: usize,
    lora: &LoraStack<'_>,
    rest: &mut impl Rest,
) -> Result<Tensor<4>, EngineError> {
    check_size(base.side_multiple(), request.size, MAX_SIDE)?;
    let (width, height) = request.size;
    let shape = base.latent_shape(width, height);
    let (syntax, size) = (request.syntax, request.size);
    let unconditional = base.encode_prompt(&request.negative_prompt, syntax, size, lora);
    let unconditional = unconditional.await?;
    let prompts = request.prompts();
    let lengths = base.count_chunks(&prompts, request.syntax)?;
    let mut latents = Vec::new();
    for batch in batches(&lengths) {
        let prompts = &prompts[batch.clone()];
        let batch = &request.pictures[batch];
        let said = base.encode_prompts(prompts, syntax, size, lora);
        let guidance = Guidance {
            conditional: Conditioning::cat(said.await?),
            unconditional: unconditional.clone(),
            scale: request.guidance,
            rescale: request.guidance_rescale,
        };
        let noise = match &request.noise {
            Some(noise) => given_noise(noise, shape, base)?.repeat_dim(0, batch.len()),
            None => {
                let seeds = batch.iter().map(|(_, seed)| *seed);
                let noises =
                    seeds.map(|seed| NoiseRng::new(seed, STREAM).normal(shape, base.device()));
                Tensor::cat(noises.collect(), 0)
            }
        };
        latents.push(match request.sampler {
            SamplerKind::Ddim => {
                let of = (calls, request.steps);
                foresee(base, &guidance, noise, of, lora, rest).await?
            }
            SamplerKind::Euler => {
                denoise_euler(base, &guidance, noise, request.steps, lora, rest).await?
            }
        });
    }
    Ok(Tensor::cat(latents, 0))
}

fn given_noise(noise: &Array, shape: [usize; 4], base: &Base) -> Result<Tensor<4>, EngineError> {
    if noise.shape != shape {
        return Err(EngineError::Noise {
            found: noise.shape.clone(),
            expected: shape,
        });
    }
    let data = TensorData::new(noise.data.clone(), shape);
    Ok(Tensor::from_data(data, base.device()))
}

/// Whether a base can draw pictures of this size, with sides that are multiples of `multiple` and up
/// to `limit` px.
///
/// # Errors
/// [`EngineError::Size`] if it cannot.
pub(crate) fn check_size(
    multiple: u32,
    (width, height): (u32, u32),
    limit: u32,
) -> Result<(), EngineError> {
    let fits = |side: u32| side > 0 && side <= limit && side.is_multiple_of(multiple);
    if fits(width) && fits(height) {
        return Ok(());
    }
    Err(EngineError::Size {
        width,
        height,
        multiple,
        limit,
    })
}

/// DDIM from noise to latents. A unit is a step.
pub(crate) async fn denoise(
    base: &Base,
    guidance: &Guidance,
    noise: Tensor<4>,
    steps: usize,
    lora: &LoraStack<'_>,
    rest: &mut impl Rest,
) -> Result<Tensor<4>, GivenUp> {
    let ddim = Ddim::new(&base.schedule, steps);
    let mut sample = noise;
    for timestep in ddim.timesteps() {
        let noise_pred = guidance.noise_pred(&base.unet, sample.clone(), *timestep, lora);
        sample = ddim.step(*timestep, noise_pred, sample);
        rest.unit_done();
        rest.rest().await?;
    }
    Ok(sample)
}

/// The first `calls` of the steps of [`denoise`], and what the model then takes for the picture. What a
/// picture shows is settled early: most of what later steps do is to make it sharp.
///
/// Not the same as fewer steps, which leave a LoRA fewer noisy ones to change the picture in: it
/// would look weaker than it is.
pub(crate) async fn foresee(
    base: &Base,
    guidance: &Guidance,
    noise: Tensor<4>,
    (calls, steps): (usize, usize),
    lora: &LoraStack<'_>,
    rest: &mut impl Rest,
) -> Result<Tensor<4>, GivenUp> {
    if calls >= steps {
        return denoise(base, guidance, noise, steps, lora, rest).await;
    }
    let ddim = Ddim::new(&base.schedule, steps);
    let mut sample = noise;
    let mut picture = sample.clone();
    for timestep in &ddim.timesteps()[..calls] {
        let noise_pred = guidance.noise_pred(&base.unet, sample.clone(), *timestep, lora);
        picture = ddim.pred_original_sample(*timestep, noise_pred.clone(), sample.clone());
        sample = ddim.step(*timestep, noise_pred, sample);
        rest.unit_done();
        rest.rest().await?;
    }
    Ok(picture)
}

async fn denoise_euler(
    base: &Base,
    guidance: &Guidance,
    noise: Tensor<4>,
    steps: usize,
    lora: &LoraStack<'_>,
    rest: &mut impl Rest,
) -> Result<Tensor<4>, GivenUp> {
    let euler = Euler::new(&base.schedule, steps);
    let mut sample = noise * euler.init_noise_sigma();
    for (index, timestep) in euler.timesteps().iter().enumerate() {
        let input = euler.scale_model_input(index, sample.clone());
        let noise_pred = guidance.noise_pred(&base.unet, input, *timestep, lora);
        sample = euler.step(index, noise_pred, sample);
        rest.unit_done();
        rest.rest().await?;
    }
    Ok(sample)
}

/// DDIM from latents back to the noise that draws them.
pub(crate) async fn invert(
    base: &Base,
    guidance: &Guidance,
    latents: Tensor<4>,
    steps: usize,
    rest: &mut impl Rest,
) -> Result<Tensor<4>, GivenUp> {
    let ddim = Ddim::new(&base.schedule, steps);
    let mut sample = latents;
    for timestep in ddim.timesteps().iter().rev() {
        let own = LoraStack::none();
        let noise_pred = guidance.noise_pred(&base.unet, sample.clone(), *timestep, &own);
        sample = ddim.invert_step(*timestep, noise_pred, sample);
        rest.unit_done();
        rest.rest().await?;
    }
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_drawn_together_where_their_prompts_are_of_one_length() {
        for (lengths, expected) in [
            (vec![], vec![]),
            (vec![1; 3], vec![3]),
            (vec![1; 20], vec![8, 8, 4]),
            (vec![1, 1, 2, 1], vec![2, 1, 1]),
        ] {
            let batches = batches(&lengths);
            let sizes: Vec<usize> = batches.iter().map(Range::len).collect();
            assert_eq!(sizes, expected, "{lengths:?}");
            let order: Vec<usize> = batches.into_iter().flatten().collect();
            assert!(
                order.into_iter().eq(0..lengths.len()),
                "each once, in order"
            );
        }
    }
}
