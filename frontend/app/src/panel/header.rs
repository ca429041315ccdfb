//! The head of the page: name, backend, undo and redo, keys, light and dark.

use leptos::prelude::*;
use mimeo_workbench::Command;

use crate::bench::Bench;
use crate::page::Page;
use crate::panel::backend::{Backend, banner::Banner};
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
        <Unkept />
    }
}

/// What a newer Mimeo kept stays, until the user says otherwise.
#[component]
fn Unkept() -> impl IntoView {
    let bench = expect_context::<Bench>();
    move || {
        let sentence = bench.unkept.get()?;
        Some(view! {
            <div class="banner" role="alert">
                <span>{sentence}</span>
                <button on:click=move |_| bench.keep_all_the_same()>"Keep this page instead"</button>
            </div>
        })
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
