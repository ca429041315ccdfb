//! The picture that was drawn, what can be done with it, and those before it.

use std::sync::Arc;

use leptos::prelude::*;
use mimeo_protocol::BlobId;
use mimeo_workbench::playground::Drawing;
use mimeo_workbench::{Command, Picture, Slot};

use super::desk::Desk;
use crate::bench::Bench;
use crate::files;
use crate::link::Link;
use crate::page::Page;

#[component]
pub fn Drawings(desk: Desk) -> impl IntoView {
    let state = desk.state;
    let drawing = Memo::new(move |_| desk.drawing());
    let is_drawing = Memo::new(move |_| state.with(|state| state.is_drawing()));
    let trouble = Memo::new(move |_| state.with(|state| state.trouble().map(str::to_owned)));
    let said = move || match (
        is_drawing.get(),
        trouble.with(Option::is_some),
        drawing.get(),
    ) {
        (true, _, _) => "Drawing".to_owned(),
        (false, false, Some(drawing)) => format!("Drawn: {}", drawing.settings.prompt),
        _ => String::new(),
    };
    view! {
        <div class="playground-drawn" aria-busy=move || is_drawing.get().to_string()>
            {move || trouble.get().map(|why| view! { <p class="refusal" role="alert">{why}</p> })}
            {move || match drawing.get() {
                Some(drawing) => view! { <Shown drawing /> }.into_any(),
                None => view! { <p class="soft">"Write a prompt and press Enter"</p> }.into_any(),
            }}
            <History desk drawing />
            <p class="hidden" role="status">{said}</p>
        </div>
    }
}

/// The picture that is looked at, and where it can go.
#[component]
fn Shown(drawing: Drawing) -> impl IntoView {
    let (bench, link) = (expect_context::<Bench>(), expect_context::<Link>());
    let page = expect_context::<Page>();
    let refusal = RwSignal::new(None::<String>);
    let Drawing { settings, picture } = drawing;
    let name = file_name(&settings.prompt, settings.seed);
    let save = {
        let name = name.clone();
        move |_| {
            let name = name.clone();
            leptos::task::spawn_local(async move {
                let file = link.fetch_blob(picture).await;
                if let Ok(file) = &file {
                    files::download(&name, "image/png", file);
                }
                // The picture may be gone by then.
                _ = refusal.try_set(file.err());
            });
        }
    };
    let place = move |slot: Slot| {
        let name = name.clone();
        leptos::task::spawn_local(async move {
            let placed = put(link, bench, slot, picture, &name).await;
            if placed.is_ok() {
                page.say(format!("The picture is {} now", slot.letter()));
            }
            // The picture may be gone by then.
            _ = refusal.try_set(placed.err());
        });
    };
    let uses = Slot::ALL.map(|slot| {
        let place = place.clone();
        let says = format!("Use as {}", slot.letter());
        view! { <button on:click=move |_| place(slot)>{says}</button> }
    });
    view! {
        <figure>
            <img src=move || link.blob_url(picture) alt=settings.prompt.clone() />
            <figcaption>
                <span>{settings.prompt.clone()}</span>
                <span class="soft">{settings.describe()}</span>
            </figcaption>
        </figure>
        <div class="row">
            <button on:click=save>"Save"</button>
            {uses.into_iter().collect_view()}
            <button on:click=move |_| page.on_stage.set(Some(picture))>"Show on the stage"</button>
        </div>
        {move || refusal.get().map(|why| view! { <p class="refusal" role="alert">{why}</p> })}
    }
}

/// Puts the picture into a well; what keeps it from there is said here too.
async fn put(
    link: Link,
    bench: Bench,
    slot: Slot,
    picture: BlobId,
    name: &str,
) -> Result<(), String> {
    let file = link.fetch_blob(picture).await?;
    let picture = Picture::read(name, file).map_err(|error| error.to_string())?;
    let command = Command::Place {
        slot: Some(slot),
        picture: Arc::new(picture),
    };
    if bench.apply(command) {
        return Ok(());
    }
    let refusal = bench.refusal.get_untracked();
    Err(refusal.map_or_else(String::new, |refusal| refusal.sentence))
}

/// What the picture is saved as: the first words of the prompt, and the seed.
fn file_name(prompt: &str, seed: u64) -> String {
    const LONGEST: usize = 40;
    let letters = prompt.chars().map(|letter| {
        if letter.is_alphanumeric() {
            letter
        } else {
            '-'
        }
    });
    let letters: String = letters.take(LONGEST).collect();
    let words: Vec<&str> = letters.split('-').filter(|word| !word.is_empty()).collect();
    match words.is_empty() {
        true => format!("picture-{seed}.png"),
        false => format!("{}-{seed}.png", words.join("-")),
    }
}

/// The pictures before, the newest first.
#[component]
fn History(desk: Desk, drawing: Memo<Option<Drawing>>) -> impl IntoView {
    let drawings = Memo::new(move |_| desk.state.with(|state| state.drawings().to_vec()));
    let row = move |known: Drawing| {
        let (picture, alt) = (known.picture, known.settings.prompt.clone());
        let src = move || desk.link.blob_url(picture);
        let title = format!(
            "{} \u{b7} {}",
            known.settings.prompt,
            known.settings.describe()
        );
        let here = known.clone();
        let is_here = move || drawing.with(|drawing| drawing.as_ref() == Some(&here));
        view! {
            <li>
                <button
                    class="picture"
                    aria-pressed=move || is_here().to_string()
                    title=title
                    on:click=move |_| desk.restore(known.clone())
                >
                    <img src=src alt=alt />
                </button>
            </li>
        }
    };
    view! {
        <Show when=move || drawings.with(|drawings| drawings.len() > 1)>
            <h2>"Drawn before"</h2>
            <ul class="history" aria-label="Pictures drawn before, the newest first">
                {move || drawings.get().into_iter().map(row).collect_view()}
            </ul>
        </Show>
    }
}
