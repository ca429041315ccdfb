//! A run's pair and recipe, back on the bench.

use std::sync::Arc;

use leptos::prelude::*;
use mimeo_image::{Mask, decode_mask};
use mimeo_protocol::{CopierChoice, Example, JobId, TrainJob};
use mimeo_workbench::workbench::{NewPair, PairsCommand, Setting, Where};
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
    if !job.recipe.method.takes_pictures() {
        return bench.apply_all(settings(link, job));
    }
    leptos::task::spawn_local(async move {
        let loaded = async {
            match &job.examples[..] {
                [example] => Ok(vec![pair(link, example).await?]),
                examples => set(link, examples).await,
            }
        };
        match loaded.await {
            Ok(pictures) => {
                bench.apply_all(pictures);
                bench.apply_all(settings(link, job));
            }
            Err(why) => bench.refusal.set(Some(Refusal::new(Where::Pair, why))),
        }
    });
}

/// The commands that put several pairs in the place of whatever is on the bench.
async fn set(link: Link, examples: &[Example]) -> Result<Vec<Command>, String> {
    let mut pairs = Vec::with_capacity(examples.len());
    for (at, example) in examples.iter().enumerate() {
        let Parts {
            original,
            target,
            mask,
        } = parts(link, example, &format!("{} ", at + 1)).await?;
        pairs.push(NewPair {
            original: Some(original),
            target: (!example.is_alone()).then_some(target),
            mask,
            caption: example.caption.clone(),
            numbers: Some((example.weight, example.level)),
            note: None,
        });
    }
    let add = Command::Pairs(PairsCommand::Add(pairs));
    Ok(vec![Command::NewPair, add])
}

fn settings(link: Link, job: TrainJob) -> Vec<Command> {
    let mut settings = vec![
        Setting::Recipe(Box::new(job.recipe)),
        Setting::Name(job.name.to_string()),
    ];
    if let CopierChoice::Given(id) = job.copier {
        // One that is gone meanwhile is trained anew.
        let copier = link.host.with_untracked(|host| host.copier(id).cloned());
        settings.push(Setting::Copier(copier.map(Box::new)));
    }
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
    let Parts {
        original,
        target,
        mask,
    } = parts(link, example, "").await?;
    Ok(Command::PlacePair {
        original,
        target,
        mask,
    })
}

/// What a pair is made of.
struct Parts {
    original: Arc<Picture>,
    target: Arc<Picture>,
    mask: Option<Mask>,
}

/// - `number`: before the letters that the pictures are called by
async fn parts(link: Link, example: &Example, number: &str) -> Result<Parts, String> {
    let picture = async |letter: &str, id| {
        let file = link.fetch_blob(id).await?;
        let name = format!("{number}{letter}.png");
        let picture = Picture::read(&name, file).map_err(|error| error.to_string())?;
        Ok::<_, String>(Arc::new(picture))
    };
    let mask = match example.mask {
        Some(mask) => Some(link.fetch_blob(mask).await?),
        None => None,
    };
    let mask = mask.map(|mask| decode_mask(&mask)).transpose();
    Ok(Parts {
        original: picture("A", example.original).await?,
        target: picture("B", example.target).await?,
        mask: mask.map_err(|error| error.to_string())?,
    })
}
