//! `mimeo sample`: draw pictures.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use mimeo_checkpoint::{Array, DiskFile, SafetensorsFile};
use mimeo_engine::rest::Counted;
use mimeo_engine::sample::{sample, total_steps};
use mimeo_engine::{Base, DeviceChoice, EngineError, LoraStack, SampleRequest, SamplerKind};
use mimeo_protocol::{PromptSyntax, Said, parse_seed};
use serde::Serialize;

use super::base::BaseArgs;
use super::lora::{self, LoraArg};
use super::number::{decimal, whole};
use super::pictures::save_png;
use super::recipe_flags;
use crate::exit::{BadInput, Exit};
use crate::output::{Claims, Existing, Format, OutFile};
use crate::progress::Report;

/// More than any base draws, in pixels; each has its own limit, which it tells itself.
const MAX_SIDE: u32 = 16_384;

/// How to draw, the same for every command that draws.
#[derive(Debug, Args)]
pub struct DrawArgs {
    /// What to keep away from
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    negative: String,
    /// How prompts are read: emphasis as A1111 or ComfyUI means it, or every bracket a letter
    /// [default: a1111]
    #[arg(long, value_name = "SYNTAX", value_parser = recipe_flags::syntax())]
    prompt_syntax: Option<PromptSyntax>,
    /// Denoising steps [default: 20]
    #[arg(long, value_parser = whole("Steps", 1..=1000), allow_hyphen_values = true)]
    steps: Option<u32>,
    /// Classifier-free guidance; 1 is none [default: 7 for Stable Diffusion 1.x and 2.x, 5 for XL, 3
    /// for the bundled base and others as small]
    #[arg(long, value_parser = decimal("Guidance", 0.0..=50.0), allow_hyphen_values = true)]
    guidance: Option<f64>,
    /// How much of the contrast that guidance adds is taken back, from 0 to 1 [default: 0.7 where the
    /// base's schedule ends in pure noise, else 0]
    #[arg(long, value_name = "SHARE", value_parser = decimal("Guidance rescale", 0.0..=1.0), allow_hyphen_values = true)]
    guidance_rescale: Option<f64>,
    /// Which sampler
    #[arg(long, default_value = "ddim", value_parser = sampler())]
    sampler: SamplerKind,
    /// Width and height in pixels [default: the base's own]
    #[arg(long, value_name = "PIXELS", value_parser = whole("Size", 1..=MAX_SIDE), allow_hyphen_values = true)]
    size: Option<u32>,
    /// Width in pixels [default: the size]
    #[arg(long, value_parser = whole("Width", 1..=MAX_SIDE), allow_hyphen_values = true)]
    width: Option<u32>,
    /// Height in pixels [default: the size]
    #[arg(long, value_parser = whole("Height", 1..=MAX_SIDE), allow_hyphen_values = true)]
    height: Option<u32>,
}

impl DrawArgs {
    /// The request for pictures of these prompts and seeds.
    pub fn request(&self, base: &Base, pictures: Vec<(String, u64)>) -> SampleRequest {
        let mut request = SampleRequest::new(base, pictures);
        let (width, height) = self.size.map_or(request.size, |side| (side, side));
        request.size = (self.width.unwrap_or(width), self.height.unwrap_or(height));
        request.steps = self.steps.map_or(request.steps, |steps| steps as usize);
        request.guidance = self.guidance.unwrap_or(request.guidance);
        let rescale = self.guidance_rescale;
        request.guidance_rescale = rescale.unwrap_or(request.guidance_rescale);
        request.negative_prompt.clone_from(&self.negative);
        request.syntax = self.prompt_syntax.unwrap_or(request.syntax);
        request.sampler = self.sampler;
        request
    }
}

/// Tells what is long in the prompts, or not understood.
pub fn tell_prompts(
    request: &SampleRequest,
    base: &Base,
    report: &mut Report,
) -> Result<(), EngineError> {
    for note in request.notes(base)? {
        report.note(note);
    }
    Ok(())
}

/// Draw pictures, with or without LoRAs.
#[derive(Debug, Args)]
pub struct Sample {
    #[command(flatten)]
    base: BaseArgs,
    /// What to draw
    #[arg(long, allow_hyphen_values = true)]
    prompt: String,
    /// Seed of the first picture
    #[arg(long, default_value_t = 0, value_parser = parse_seed, allow_hyphen_values = true)]
    seed: u64,
    /// Pictures, each with the next seed
    #[arg(long, default_value_t = 1, value_parser = whole("Count", 1..=1000), allow_hyphen_values = true)]
    count: u32,
    /// A LoRA, also a folder of PEFT's, with its strength after a colon (x.safetensors:0.8); may be
    /// repeated
    #[arg(long, value_name = "FILE[:STRENGTH]")]
    lora: Vec<LoraArg>,
    /// What to start from instead of the seed's noise, as when comparing with another program: a
    /// file with one tensor of the latent's shape, of standard normal numbers
    #[arg(long, value_name = "FILE.safetensors", conflicts_with_all = ["seed", "count"])]
    noise: Option<PathBuf>,
    #[command(flatten)]
    draw: DrawArgs,
    /// Where to write the picture; of several, each gets its seed in the name
    #[arg(long, value_name = "img.png")]
    out: PathBuf,
    /// Replace files that exist
    #[arg(long)]
    overwrite: bool,
}

#[derive(Serialize)]
struct SampleResult {
    out: Vec<String>,
}

impl Sample {
    /// Where it is to be computed.
    pub const fn device(&self) -> &DeviceChoice {
        self.base.device()
    }

    /// Draws and saves.
    ///
    /// # Errors
    /// One sentence for the user.
    pub async fn run(self, report: &mut Report) -> anyhow::Result<Exit> {
        let seeds = self.seeds()?;
        let outs = self.claim(&seeds)?;
        let mut files = Vec::new();
        for lora in &self.lora {
            files.push((lora, lora::read(&lora.path).await?));
        }
        let noise = match &self.noise {
            Some(path) => Some(read_noise(path).await?),
            None => None,
        };
        let base = self.base.load(Said::default(), report).await?;
        let mut loras = Vec::new();
        for (lora, file) in &files {
            loras.push((lora::load(&base, file, &lora.path, report)?, lora.strength));
        }
        let stack = loras
            .iter()
            .fold(LoraStack::none(), |stack, (lora, strength)| {
                stack.with(&lora.network, *strength)
            });

        // One by one: how many are drawn together shows in their last bits, and each is safe as
        // soon as it is drawn.
        let request = |seed: u64| SampleRequest {
            noise: noise.clone(),
            ..self.draw.request(&base, vec![(self.prompt.clone(), seed)])
        };
        let first = request(self.seed);
        tell_prompts(&first, &base, report)?;
        let each = total_steps(&base, &first)?;
        report.begin("Drawing", each * self.count);
        let mut out = Vec::new();
        for (index, (place, seed)) in (0..).zip(outs.iter().zip(seeds)) {
            let mut rest = Counted::new(|done| report.advance(index * each + done));
            let pictures = sample(&base, &request(seed), &stack, &mut rest).await?;
            for picture in &pictures {
                out.push(save_png(place, picture, report)?);
            }
        }
        let lines: Vec<String> = out.iter().map(|name| format!("Saved {name:?}")).collect();
        report.result(&SampleResult { out }, &lines.join("\n"));
        Ok(Exit::Done)
    }

    fn seeds(&self) -> Result<Vec<u64>, BadInput> {
        let seeds = (0..u64::from(self.count)).map(|i| self.seed.checked_add(i));
        seeds.collect::<Option<_>>().ok_or_else(|| {
            let why = format!(
                "{} pictures from seed {} on would need seeds beyond {}, the last one. Lower --seed or --count.",
                self.count, self.seed, u64::MAX
            );
            BadInput(why)
        })
    }

    fn claim(&self, seeds: &[u64]) -> Result<Vec<OutFile>, BadInput> {
        let loras = self.lora.iter().map(|lora| ("--lora", &*lora.path));
        let noise = self.noise.iter().map(|noise| ("--noise", &**noise));
        let inputs = loras.chain(noise).chain(self.base.inputs());
        let mut claims = Claims::new(Existing::from(self.overwrite), inputs);
        let [_] = seeds else {
            let stem = self.out.file_stem().unwrap_or_default().to_string_lossy();
            let extension = self.out.extension().unwrap_or_default().to_string_lossy();
            let name = |seed: &u64| {
                self.out
                    .with_file_name(format!("{stem}-{seed}.{extension}"))
            };
            return seeds
                .iter()
                .map(|seed| claims.claim(&name(seed), Format::Picture))
                .collect();
        };
        Ok(vec![claims.claim(&self.out, Format::Picture)?])
    }
}

async fn read_noise(path: &Path) -> Result<Array, BadInput> {
    let unusable = |error| BadInput::file(error, path);
    let file = DiskFile::open(path).map_err(unusable)?;
    let file = SafetensorsFile::open(Box::new(file))
        .await
        .map_err(unusable)?;
    let mut names = file.tensors().keys();
    match (names.next(), names.next()) {
        (Some(name), None) => file.read_f32(name).await.map_err(unusable),
        _ => {
            let found = file.tensors().len();
            let why = format!("the file of the noise holds {found} tensors. Save the noise alone");
            Err(BadInput::file(why, path))
        }
    }
}

fn sampler() -> impl TypedValueParser<Value = SamplerKind> {
    PossibleValuesParser::new(["ddim", "euler"]).map(|name| match name.as_str() {
        "euler" => SamplerKind::Euler,
        _ => SamplerKind::Ddim,
    })
}
