//! The head of the page: name, backend, undo and redo, keys, light and dark.

use leptos::prelude::*;
use mimeo_workbench::Command;

use crate::bench::Bench;
use crate::link::{Link, Status};
use crate::page::Page;
use crate::storage;

const THEME: &str = "mimeo.theme";

#[component]
pub fn Header() -> impl IntoView {
    let (bench, page) = (expect_context::<Bench>(), expect_context::<Page>());
    // Labels change with every command, whatever it was.
    let undo = Memo::new(move |_| bench.with_all(|bench| bench.history().undo_label()));
    let redo = Memo::new(move |_| bench.with_all(|bench| bench.history().redo_label()));
    let says = |verb: &str, label: Option<&str>| match label {
        Some(label) => format!("{verb}: {label}"),
        None => format!("Nothing to {}", verb.to_lowercase()),
    };
    view! {
        <header>
            <h1>"Mimeo"</h1>
            <Backend />
            <div class="row head-tools">
                <button
                    class="quiet"
                    title=move || says("Undo", undo.get())
                    aria-disabled=move || undo.get().is_none().to_string()
                    on:click=move |_| _ = bench.apply(Command::Undo)
                >
                    "Undo"
                </button>
                <button
                    class="quiet"
                    title=move || says("Redo", redo.get())
                    aria-disabled=move || redo.get().is_none().to_string()
                    on:click=move |_| _ = bench.apply(Command::Redo)
                >
                    "Redo"
                </button>
                <button
                    class="quiet"
                    aria-label="Keys"
                    title="Keys (?)"
                    on:click=move |_| page.shows_keys.set(true)
                >
                    "?"
                </button>
                <Theme />
            </div>
        </header>
        <Banner />
    }
}

/// Where it trains, and why there.
#[component]
fn Backend() -> impl IntoView {
    let link = expect_context::<Link>();
    let device = move || link.host.with(|host| host.device.clone());
    let title = move || match link.status.get() {
        Status::Connected => {
            let name = device().map_or_else(String::new, |device| format!(" · {}", device.name));
            format!("Companion{name}")
        }
        Status::Connecting => "Connecting…".to_owned(),
        Status::Lost { retry_secs } => format!("No companion · next try in {retry_secs} s"),
        Status::Refused(_) => "Companion refuses".to_owned(),
    };
    view! {
        <details class="backend">
            <summary class:lost=move || !link.is_connected()>
                <span class="dot" aria-hidden="true"></span>
                <span class="soft">"Train on: "</span>
                {title}
            </summary>
            <div class="backend-body">
                {move || device().map(|device| view! { <p>{device.reason}</p> })}
                {move || {
                    let memory = device().and_then(|device| device.memory_bytes);
                    memory
                        .map(|memory| {
                            view! { <p>{format!("Memory: {}", mimeo_workbench::words::bytes(memory))}</p> }
                        })
                }}
                <p class="soft">{move || link.host.with(|host| host.app.clone())}</p>
                <Show when=move || !link.is_connected()>
                    <p>"Start it with " <code>"mimeo serve"</code> ". This page connects by itself."</p>
                    <button on:click=move |_| link.connect_now()>"Connect now"</button>
                </Show>
            </div>
        </details>
    }
}

/// A line that is down is said above everything, since it concerns everything.
#[component]
fn Banner() -> impl IntoView {
    let link = expect_context::<Link>();
    let was_connected = RwSignal::new(false);
    Effect::new(move |_| {
        if link.is_connected() {
            was_connected.set(true);
        }
    });
    let sentence = move || match link.status.get() {
        Status::Connected | Status::Connecting => None,
        Status::Refused(why) => Some(why),
        Status::Lost { .. } if was_connected.get() => Some(
            "The companion is gone. Reconnecting… A run goes on there, or when it is back."
                .to_owned(),
        ),
        Status::Lost { .. } => Some(
            "No companion answers. Start it with `mimeo serve`; this page connects by itself."
                .to_owned(),
        ),
    };
    view! {
        {move || {
            sentence()
                .map(|sentence| {
                    view! {
                        <div class="banner" role="alert">
                            <span>{sentence}</span>
                            <button on:click=move |_| link.connect_now()>"Connect now"</button>
                        </div>
                    }
                })
        }}
    }
}

/// Light or dark: the system's choice, until one is made here.
#[component]
fn Theme() -> impl IntoView {
    let theme = RwSignal::new(storage::choice(THEME));
    Effect::new(move |_| {
        let root = document().document_element();
        if let (Some(root), Some(theme)) = (root, theme.get()) {
            // Fails for names that no attribute can have.
            _ = root.set_attribute("data-theme", &theme);
            storage::keep_choice(THEME, &theme);
        }
    });
    let is_dark = move || match theme.get() {
        Some(theme) => theme == "dark",
        None => {
            let query = window().match_media("(prefers-color-scheme: dark)");
            query.ok().flatten().is_some_and(|query| query.matches())
        }
    };
    view! {
        <button
            class="quiet"
            aria-pressed=move || is_dark().to_string()
            aria-label="Dark colours"
            title="Light or dark"
            on:click=move |_| {
                let other = if is_dark() { "light" } else { "dark" };
                theme.set(Some(other.to_owned()));
            }
        >
            "☾"
        </button>
    }
}
