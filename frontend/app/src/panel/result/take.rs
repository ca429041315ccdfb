//! Taking the result along: the file, its name in other programs, its folder.

use leptos::prelude::*;
use mimeo_protocol::{ClientMessage, FileId, FileKind, ResultFile};
use mimeo_workbench::runs::Column;
use mimeo_workbench::{Run, words};

use crate::files;
use crate::link::Link;
use crate::page::Page;

/// Digits of the hash that are shown; all of them are copied.
const HASH_DIGITS: usize = 12;

#[component]
pub fn Take(run: Signal<Run>, file: ResultFile) -> impl IntoView {
    let page = expect_context::<Page>();
    let rank = run.with_untracked(|run| run.job().recipe.pass.rank);
    let hash = file.sha256.to_string();
    let short: String = hash.chars().take(HASH_DIGITS).collect();
    let ResultFile {
        id, name, bytes, ..
    } = file.clone();
    let tag = tag(&name);
    let says = format!("Copy {tag}");
    view! {
        <section class="take" aria-label="The file">
            <h2>"The file"</h2>
            <dl>
                <div><dt>"Name"</dt><dd>{name}</dd></div>
                <div><dt>"Size"</dt><dd>{words::bytes(bytes)}</dd></div>
                <div><dt>"Rank"</dt><dd>{rank.to_string()}</dd></div>
                <div>
                    <dt>"SHA-256"</dt>
                    <dd>
                        <code title=hash.clone()>{short}"…"</code>
                        " "
                        <button
                            class="quiet"
                            aria-label="Copy the SHA-256"
                            on:click=move |_| files::copy(page, hash.clone())
                        >
                            "Copy"
                        </button>
                    </dd>
                </div>
            </dl>
            <div class="row">
                <Download file label="Download" />
                <button on:click=move |_| files::copy(page, tag.clone())>{says}</button>
                <button on:click=move |_| page.run_again.run(run.with_untracked(Run::id))>
                    "Run again with one change"
                </button>
            </div>
            <Reveal file=id />
            <OtherFiles run />
        </section>
    }
}

/// What names the LoRA in prompts of other programs, which call it by its file's name.
fn tag(file: &str) -> String {
    let name = file.rsplit_once('.').map_or(file, |(name, _)| name);
    format!("<lora:{name}:1>")
}

#[component]
fn Download(file: ResultFile, label: &'static str) -> impl IntoView {
    let link = expect_context::<Link>();
    let (says, name) = (format!("{label} {}", file.name), file.name.clone());
    view! {
        <a class="button primary" href=move || link.file_url(&file) download=name aria-label=says>
            {label}
        </a>
    }
}

/// Opens the folder on the companion's own screen, or says why not.
#[component]
fn Reveal(file: FileId) -> impl IntoView {
    let link = expect_context::<Link>();
    let (is_busy, refusal) = (RwSignal::new(false), RwSignal::new(None::<String>));
    // A browser keeps its files where nobody looks.
    let has_folder = move || !link.is_browser();
    let reveal = move |_| {
        if is_busy.get_untracked() {
            return;
        }
        is_busy.set(true);
        refusal.set(None);
        leptos::task::spawn_local(async move {
            let answer = link
                .ask(|request| ClientMessage::Reveal { request, file })
                .await;
            // The panel may be gone by then.
            _ = is_busy.try_set(false);
            _ = refusal.try_set(answer.err());
        });
    };
    view! {
        <div class="row">
            <Show when=has_folder>
                <button aria-busy=move || is_busy.get().to_string() on:click=reveal>
                    "Show in folder"
                </button>
            </Show>
            {move || refusal.get().map(|why| view! { <p class="refusal" role="alert">{why}</p> })}
        </div>
    }
}

/// The copier, and the LoRA as it was on the way.
#[component]
pub fn OtherFiles(run: Signal<Run>) -> impl IntoView {
    let others = Memo::new(move |_| {
        run.with(|run| {
            let files = run.files().iter();
            let others = files.filter(|file| Some(*file) != run.result());
            others.cloned().collect::<Vec<_>>()
        })
    });
    let row = |file: ResultFile| {
        view! {
            <li class="row">
                <span>{kind(&file)}</span>
                <span class="soft">{words::bytes(file.bytes)}</span>
                <Download file label="Download" />
            </li>
        }
    };
    view! {
        <Show when=move || !others.with(Vec::is_empty)>
            <details class="fold">
                <summary>{move || format!("Other files ({})", others.with(Vec::len))}</summary>
                <ul class="files">{move || others.get().into_iter().map(row).collect_view()}</ul>
            </details>
        </Show>
    }
}

fn kind(file: &ResultFile) -> String {
    match file.kind {
        FileKind::Lora => "The LoRA".to_owned(),
        FileKind::Copier => "The copier".to_owned(),
        FileKind::Step { phase, step } => Column { phase, step }.label(),
    }
}
