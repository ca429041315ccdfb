//! A run's pair and recipe, back on the bench.

use std::sync::Arc;

use leptos::prelude::*;
use mimeo_image::decode_mask;
use mimeo_protocol::{Example, JobId, TrainJob};
use mimeo_workbench::workbench::{Setting, Where};
use mimeo_workbench::{Command, Picture, Refusal};

use crate::bench::Bench;
use crate::link::Link;

/// Loads a run, so that it can be run again with one change.
pub fn load(bench: Bench, link: Link, job: JobId) {
    let job = link
        .runs
        .with_untracked(|runs| runs.get(job).map(|run| run.to_run_again()));
    let Some(job) = job else {
        return;
    };
    leptos::task::spawn_local(async move {
        // The bench holds one pair.
        let [example] = &job.examples[..] else {
            return;
        };
        match pair(link, example).await {
            Ok(pair) => {
                bench.apply(pair);
                bench.apply_all(settings(job));
            }
            Err(why) => bench.refusal.set(Some(Refusal::new(Where::Pair, why))),
        }
    });
}

fn settings(job: TrainJob) -> Vec<Command> {
    let mut settings = vec![
        Setting::Recipe(Box::new(job.recipe)),
        Setting::Name(job.name.to_string()),
    ];
    if let Some(previews) = job.previews {
        settings.push(Setting::PreviewPrompt(previews.prompt));
        settings.push(Setting::PreviewSeed(previews.seed));
        settings.push(Setting::PreviewEvery(Some(previews.every.get())));
    }
    settings.into_iter().map(Command::Set).collect()
}

/// The command that puts in a pair that is kept where it trains.
///
/// # Errors
/// A sentence when it does not, any more.
pub async fn pair(link: Link, example: &Example) -> Result<Command, String> {
    let picture = async |name: &str, id| {
        let file = link.fetch_blob(id).await?;
        let picture = Picture::read(name, file).map_err(|error| error.to_string())?;
        Ok::<_, String>(Arc::new(picture))
    };
    let mask = match example.mask {
        Some(mask) => Some(link.fetch_blob(mask).await?),
        None => None,
    };
    let mask = mask.map(|mask| decode_mask(&mask)).transpose();
    Ok(Command::PlacePair {
        original: picture("A.png", example.original).await?,
        target: picture("B.png", example.target).await?,
        mask: mask.map_err(|error| error.to_string())?,
    })
}
