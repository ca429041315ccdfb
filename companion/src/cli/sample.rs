//! `mimeo sample`: draw pictures.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, value_parser};
use mimeo_engine::sample::{sample, total_steps};
use mimeo_engine::{Base, LoraStack, SampleRequest, SamplerKind};
use serde::Serialize;

use super::base::ComputeArgs;
use super::lora::{self, LoraArg};
use super::pictures::{claim_png, save_png};
use crate::exit::{BadInput, Exit};
use crate::output::{Existing, OutFile};
use crate::progress::Report;

/// How to draw, the same for every command that draws.
#[derive(Debug, Args)]
pub struct DrawArgs {
    /// What to keep away from
    #[arg(long, default_value = "")]
    negative: String,
    /// Denoising steps [default: 20]
    #[arg(long, value_parser = value_parser!(u32).range(1..=1000))]
    steps: Option<u32>,
    /// Classifier-free guidance; 1 is none [default: 3]
    #[arg(long, value_parser = guidance)]
    guidance: Option<f64>,
    /// Which sampler
    #[arg(long, default_value = "ddim", value_parser = sampler())]
    sampler: SamplerKind,
    /// Width in pixels [default: the base's own]
    #[arg(long)]
    width: Option<u32>,
    /// Height in pixels [default: the base's own]
    #[arg(long)]
    height: Option<u32>,
}

impl DrawArgs {
    /// The request for pictures of these prompts and seeds.
    pub fn request(&self, base: &Base, pictures: Vec<(String, u64)>) -> SampleRequest {
        let mut request = SampleRequest::new(base, pictures);
        let (width, height) = request.size;
        request.size = (self.width.unwrap_or(width), self.height.unwrap_or(height));
        request.steps = self.steps.map_or(request.steps, |steps| steps as usize);
        request.guidance = self.guidance.unwrap_or(request.guidance);
        request.negative_prompt.clone_from(&self.negative);
        request.sampler = self.sampler;
        request
    }
}

/// Draw pictures, with or without LoRAs.
#[derive(Debug, Args)]
pub struct Sample {
    #[command(flatten)]
    compute: ComputeArgs,
    /// What to draw
    #[arg(long)]
    prompt: String,
    /// Seed of the first picture
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Pictures, each with the next seed
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=1000))]
    count: u32,
    /// A LoRA, also a folder of PEFT's, with its strength after a colon (x.safetensors:0.8); may be
    /// repeated
    #[arg(long, value_name = "FILE[:STRENGTH]")]
    lora: Vec<LoraArg>,
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
    /// Draws and saves.
    ///
    /// # Errors
    /// One sentence for the user.
    pub async fn run(self, report: &mut Report) -> anyhow::Result<Exit> {
        let seeds: Vec<u64> = (0..u64::from(self.count))
            .map(|i| self.seed.wrapping_add(i))
            .collect();
        let outs = self.claim(&seeds)?;
        let mut files = Vec::new();
        for lora in &self.lora {
            files.push((lora, lora::read(&lora.path).await?));
        }
        let base = self.compute.load(report).await?;
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
        let request = |seed: u64| self.draw.request(&base, vec![(self.prompt.clone(), seed)]);
        let each = total_steps(&request(self.seed));
        report.begin("Drawing", each * self.count);
        for (index, (out, seed)) in (0..).zip(outs.iter().zip(seeds)) {
            let progress = |done| report.advance(index * each + done);
            let pictures = sample(&base, &request(seed), &stack, progress).await?;
            for picture in &pictures {
                save_png(out, picture)?;
            }
        }
        let out: Vec<String> = outs.iter().map(OutFile::name).collect();
        let lines: Vec<String> = out.iter().map(|name| format!("Saved {name:?}")).collect();
        report.result(&SampleResult { out }, &lines.join("\n"));
        Ok(Exit::Done)
    }

    fn claim(&self, seeds: &[u64]) -> Result<Vec<OutFile>, BadInput> {
        let existing = Existing::from(self.overwrite);
        let [_] = seeds else {
            let stem = self.out.file_stem().unwrap_or_default().to_string_lossy();
            let extension = self.out.extension().unwrap_or_default().to_string_lossy();
            let name = |seed: &u64| {
                self.out
                    .with_file_name(format!("{stem}-{seed}.{extension}"))
            };
            return seeds
                .iter()
                .map(|seed| claim_png(&name(seed), existing))
                .collect();
        };
        Ok(vec![claim_png(&self.out, existing)?])
    }
}

fn sampler() -> impl TypedValueParser<Value = SamplerKind> {
    PossibleValuesParser::new(["ddim", "euler"]).map(|name| match name.as_str() {
        "euler" => SamplerKind::Euler,
        _ => SamplerKind::Ddim,
    })
}

fn guidance(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(guidance) if (0.0..=50.0).contains(&guidance) => Ok(guidance),
        _ => Err("choose a number between 0 and 50.".to_owned()),
    }
}
