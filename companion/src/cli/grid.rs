//! `mimeo grid`: prompts × strengths on one sheet.

use std::path::PathBuf;

use clap::Args;
use mimeo_engine::rest::Counted;
use mimeo_engine::sample::{sample, total_steps};
use mimeo_engine::{DeviceChoice, LoraStack};
use mimeo_image::{Rgb, Sheet, SheetRow};
use mimeo_protocol::{Said, parse_seed};
use serde::Serialize;

use super::base::BaseArgs;
use super::lora;
use super::number::whole;
use super::pictures::save_png;
use super::sample::{DrawArgs, tell_prompts};
use crate::exit::{BadInput, Exit};
use crate::output::{Claims, Existing, Format};
use crate::progress::Report;

/// Draw prompts × strengths of a LoRA on one sheet.
#[derive(Debug, Args)]
pub struct Grid {
    #[command(flatten)]
    base: BaseArgs,
    /// The LoRA
    #[arg(long, value_name = "FILE")]
    lora: PathBuf,
    /// A row of the sheet; may be repeated [default: eight prompts the base knows]
    #[arg(long, allow_hyphen_values = true)]
    prompt: Vec<String>,
    /// The columns; 0 is the base alone
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = lora::strength,
        default_value = "-1,0,1",
        allow_hyphen_values = true
    )]
    strengths: Vec<f64>,
    /// Seed of every picture
    #[arg(long, default_value_t = 0, value_parser = parse_seed, allow_hyphen_values = true)]
    seed: u64,
    #[command(flatten)]
    draw: DrawArgs,
    /// Each pixel becomes a square of this side
    #[arg(long, default_value_t = 2, value_parser = whole("Scale", 1..=16), allow_hyphen_values = true)]
    scale: u32,
    /// Where to write the sheet
    #[arg(long, value_name = "sheet.png")]
    out: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    overwrite: bool,
}

#[derive(Serialize)]
struct GridResult {
    out: String,
}

impl Grid {
    /// Where it is to be computed.
    pub const fn device(&self) -> &DeviceChoice {
        self.base.device()
    }

    /// Draws and saves.
    ///
    /// # Errors
    /// One sentence for the user.
    pub async fn run(self, report: &mut Report) -> anyhow::Result<Exit> {
        let inputs = [("--lora", self.lora.as_path())];
        let inputs = inputs.into_iter().chain(self.base.inputs());
        let mut claims = Claims::new(Existing::from(self.overwrite), inputs);
        let out = claims.claim(&self.out, Format::Picture)?;
        let file = lora::read(&self.lora).await?;
        let prompts = if self.prompt.is_empty() {
            self.base.unseen_prompts()
        } else {
            self.prompt.clone()
        };
        let base = self.base.load(Said::default(), report).await?;
        let lora = lora::load(&base, &file, &self.lora, report)?;

        let pictures = prompts
            .iter()
            .map(|prompt| (prompt.clone(), self.seed))
            .collect();
        let request = self.draw.request(&base, pictures);
        let mut sheet = self.sheet(&prompts);
        // Not after minutes of drawing.
        sheet.check_size(request.size).map_err(|error| {
            let (strengths, prompts) = (self.strengths.len(), prompts.len());
            BadInput(format!(
                "{strengths} strengths and {prompts} prompts make too large a sheet. {error}"
            ))
        })?;
        tell_prompts(&request, &base, report)?;
        let total = total_steps(&base, &request)?;
        report.begin("Drawing", total * self.strengths.len() as u32);
        let mut columns = Vec::new();
        for (before, strength) in (0..).zip(&self.strengths) {
            let stack = LoraStack::none().with(&lora.network, *strength);
            let mut rest = Counted::new(|done| report.advance(before * total + done));
            columns.push(sample(&base, &request, &stack, &mut rest).await?);
        }

        sheet.rows = rows(prompts, &columns);
        let out = save_png(&out, &sheet.render()?, report)?;
        let text = format!("Saved {out:?}");
        report.result(&GridResult { out }, &text);
        Ok(Exit::Done)
    }

    /// The sheet without its pictures.
    fn sheet(&self, prompts: &[String]) -> Sheet {
        let title = self.lora.file_stem().unwrap_or_default();
        let strengths = self.strengths.iter();
        Sheet {
            title: title.to_string_lossy().into_owned(),
            columns: strengths
                .map(|strength| format!("strength {strength}"))
                .collect(),
            rows: rows(prompts.to_vec(), &[]),
            scale: self.scale,
        }
    }
}

/// The rows of a sheet, from pictures by column.
pub fn rows(labels: Vec<String>, columns: &[Vec<Rgb>]) -> Vec<SheetRow> {
    let row = |(index, label): (usize, String)| SheetRow {
        label,
        pictures: columns
            .iter()
            .filter_map(|column| column.get(index))
            .cloned()
            .collect(),
    };
    labels.into_iter().enumerate().map(row).collect()
}
