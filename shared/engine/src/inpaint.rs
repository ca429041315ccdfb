//! A picture drawn anew where a mask is painted, and left alone elsewhere.
//!
//! The base draws from noise as always, but after every step the latent around the mask is replaced
//! by that of the picture, noised to the same timestep, so that what is drawn grows into what is
//! kept: diffusers `pipelines/stable_diffusion/pipeline_stable_diffusion_inpaint.py`,
//! `__call__` with a UNet of four channels at strength 1 (the simple case of RePaint, arXiv
//! 2201.09865, algorithm 1 without resampling). Any base can do it; inpainting models are not
//! needed.

use burn::tensor::{Tensor, TensorData};
use mimeo_diffusion::{Ddim, Guidance};
use mimeo_image::{ImageError, LatentMask, Mask, Rgb, composite};
use mimeo_lora::LoraStack;
use mimeo_protocol::PromptSyntax;
use mimeo_train::NoiseRng;

use crate::base::Base;
use crate::error::EngineError;
use crate::rest::Rest;
use crate::sample::{STEPS, STREAM, check_size};

/// Width in px of the soft edge around the mask, so that no seam shows. Farther out every pixel
/// stays as it is.
pub const FEATHER: u32 = 2;
/// Pictures are drawn up to so many times a base's own side: beyond that it repeats itself, and
/// attention takes memory by the fourth power.
const MAX_SCALE: u32 = 2;

/// What to draw where.
#[derive(Debug, Clone)]
pub struct InpaintRequest<'a> {
    /// The picture.
    pub picture: &'a Rgb,
    /// Where to draw, of the picture's size.
    pub mask: &'a Mask,
    /// What the whole picture shows afterwards.
    pub prompt: &'a str,
    /// What to keep away from; empty for nothing.
    pub negative_prompt: &'a str,
    /// How both are read.
    pub syntax: PromptSyntax,
    /// Which noise it starts from.
    pub seed: u64,
    /// Denoising steps.
    pub steps: usize,
    /// Classifier-free guidance; 1 switches it off.
    pub guidance: f64,
    /// How much of the contrast that guidance adds is taken back; 0 is nothing.
    pub guidance_rescale: f64,
}

impl<'a> InpaintRequest<'a> {
    /// With the settings of [`crate::SampleRequest::new`].
    #[must_use]
    pub fn new(base: &Base, picture: &'a Rgb, mask: &'a Mask, prompt: &'a str, seed: u64) -> Self {
        Self {
            picture,
            mask,
            prompt,
            negative_prompt: "",
            syntax: PromptSyntax::USUAL,
            seed,
            steps: STEPS,
            guidance: base.model_size().guidance(),
            guidance_rescale: base.guidance_rescale(),
        }
    }
}

/// Draws the masked part of a picture anew; same request, same base, same device, same picture.
///
/// # Errors
/// [`EngineError::Size`] for a picture that the base cannot draw, [`EngineError::Image`] for a mask
/// of another size, [`EngineError::NothingToDraw`] for an empty one, those of [`crate::sample::sample`].
pub async fn inpaint(
    base: &Base,
    request: &InpaintRequest<'_>,
    lora: &LoraStack<'_>,
    rest: &mut impl Rest,
) -> Result<Rgb, EngineError> {
    let (picture, mask) = (request.picture, request.mask);
    let (width, height) = (picture.width(), picture.height());
    let limit = MAX_SCALE * base.native_side();
    check_size(base.side_multiple(), (width, height), limit)?;
    check_lies_on(mask, picture)?;
    if mask.is_empty() {
        return Err(EngineError::NothingToDraw);
    }
    let free = free_cells(base, mask)?;
    let encode = |prompt| base.encode_prompt(prompt, request.syntax, (width, height), lora);
    let guidance = Guidance {
        conditional: encode(request.prompt).await?,
        unconditional: encode(request.negative_prompt).await?,
        scale: request.guidance,
        rescale: request.guidance_rescale,
    };
    let shape = base.latent_shape(width, height);
    let noise = NoiseRng::new(request.seed, STREAM).normal(shape, base.device());
    let latent = base.encode_picture(picture).await?;

    let ddim = Ddim::new(&base.schedule, request.steps);
    let (timesteps, schedule) = (ddim.timesteps(), &base.schedule);
    let keep = |kept: Tensor<4>, drawn: Tensor<4>| kept.clone() + (drawn - kept) * free.clone();
    let noised = |timestep: Option<&usize>| match timestep {
        Some(timestep) => schedule.add_noise(&latent, &noise, &[*timestep]),
        None => latent.clone(),
    };
    let mut sample = keep(noised(timesteps.first()), noise.clone());
    for (index, timestep) in timesteps.iter().enumerate() {
        let noise_pred = guidance.noise_pred(&base.unet, sample.clone(), *timestep, lora);
        sample = ddim.step(*timestep, noise_pred, sample);
        sample = keep(noised(timesteps.get(index + 1)), sample);
        rest.unit_done();
        rest.rest().await?;
    }
    // One latent, one picture.
    let drawn = base.decode(sample, rest).await?;
    let drawn = drawn.first().unwrap_or(picture);
    Ok(composite(picture, drawn, mask, FEATHER)?)
}

fn check_lies_on(mask: &Mask, picture: &Rgb) -> Result<(), ImageError> {
    let (width, height) = (picture.width(), picture.height());
    let (mask_width, mask_height) = (mask.width(), mask.height());
    if (mask_width, mask_height) == (width, height) {
        return Ok(());
    }
    Err(ImageError::MaskSizeDiffers {
        mask_width,
        mask_height,
        width,
        height,
    })
}

/// 1 for every latent cell of which the mask touches a pixel, else 0: `[1, 1, height, width]`.
///
/// Whole cells, although the mask may touch but a corner: a thin stroke would otherwise be held to
/// what was there. What is drawn beyond the mask is not taken over.
fn free_cells(base: &Base, mask: &Mask) -> Result<Tensor<4>, EngineError> {
    let cells = LatentMask::new(mask)?;
    let shape = [1, 1, cells.height as usize, cells.width as usize];
    let free: Vec<f32> = cells.weights.iter().map(|share| share.ceil()).collect();
    Ok(Tensor::from_data(
        TensorData::new(free, shape),
        base.device(),
    ))
}

#[cfg(test)]
mod tests {
    use mimeo_base::ExamplePair;
    use mimeo_image::{decode, decode_mask, mae_weighted};

    use super::*;
    use crate::bundled;
    use crate::rest::NoRest;
    use crate::runtime::block_on;

    /// The bundled pair of this edit: A, B and where they differ.
    fn example(edit: &str) -> (&'static ExamplePair, [Rgb; 2], Mask) {
        let mut pairs = mimeo_base::pairs().iter();
        let pair = pairs.find(|pair| pair.edit == edit).expect("it is bundled");
        let pictures = [pair.original_png, pair.target_png];
        let pictures = pictures.map(|png| decode(png).expect("a picture").picture);
        let mask = decode_mask(pair.mask_png).expect("a mask");
        (pair, pictures, mask)
    }

    fn draw(base: &Base, picture: &Rgb, mask: &Mask, prompt: &str) -> Result<Rgb, EngineError> {
        let request = InpaintRequest::new(base, picture, mask, prompt, 1);
        block_on(inpaint(base, &request, &LoraStack::none(), &mut NoRest))
    }

    /// Whether a pixel of the mask is painted within the feather.
    fn is_near(mask: &Mask, x: u32, y: u32) -> bool {
        let around = |at: u32, side: u32| at.saturating_sub(FEATHER)..(at + FEATHER + 1).min(side);
        around(y, mask.height()).any(|row| {
            around(x, mask.width()).any(|column| {
                let index = (row * mask.width() + column) as usize;
                mask.values().get(index).is_some_and(|value| *value > 0)
            })
        })
    }

    #[test]
    fn what_the_prompt_adds_shows_in_the_mask_and_nothing_changes_elsewhere() {
        let base = bundled::base();
        let (pair, [original, target], mask) = example("glasses");
        let drawn = draw(&base, &original, &mask, pair.target_caption).expect("it fits");

        let inside = mask.inside_weights();
        let distance = |picture: &Rgb| {
            mae_weighted(picture.pixels(), target.pixels(), &inside).expect("one size")
        };
        let (before, after) = (distance(&original), distance(&drawn));
        assert!(
            after < before / 2.0,
            "the glasses are where B has them: {after} of {before} is left"
        );
        for (x, y) in (0..mask.height()).flat_map(|y| (0..mask.width()).map(move |x| (x, y))) {
            assert!(
                is_near(&mask, x, y) || drawn.pixel(x, y) == original.pixel(x, y),
                "pixel {x}, {y} is far from the mask"
            );
        }
        let again = draw(&base, &original, &mask, pair.target_caption).expect("it fits");
        assert!(drawn == again, "the same wish, the same picture");
    }

    #[test]
    fn what_does_not_fit_is_refused_in_a_sentence() {
        let base = bundled::base();
        let sentence = |size: (u32, u32), mask: (u32, u32), value: u8| {
            let picture = Rgb::filled(size.0, size.1, [9; 3]);
            let values = vec![value; (mask.0 * mask.1) as usize];
            let mask = Mask::new(mask.0, mask.1, values).expect("as many as pixels");
            let refused = draw(&base, &picture, &mask, "smile").expect_err("it does not fit");
            refused.to_string()
        };
        for (size, mask, value, part) in [
            ((100, 128), (100, 128), 255, "multiples of 32"),
            ((128, 512), (128, 512), 255, "at most 256"),
            ((128, 128), (128, 96), 255, "mask is 128x96"),
            ((128, 128), (128, 128), 0, "mask is empty"),
        ] {
            let sentence = sentence(size, mask, value);
            assert!(sentence.contains(part), "{part} in {sentence}");
        }
    }
}
