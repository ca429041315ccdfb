//! The table of pairs: there once there is more than one, or something is said of the only one.

mod cell;
mod focus;
mod row;
mod tags;

use std::time::Duration;

use leptos::prelude::*;
use mimeo_workbench::workbench::{PairsCommand, Where};
use mimeo_workbench::{Command, Workbench, captions};

use crate::bench::Bench;
use crate::files::{self, Taken};
use crate::page::Page;

/// Looking for what is suspicious takes a moment for each pair, so the page is drawn in between.
const BETWEEN_PAIRS: Duration = Duration::from_millis(60);

#[component]
pub fn SetPanel() -> impl IntoView {
    let bench = expect_context::<Bench>();
    let is_shown = Memo::new(move |_| {
        bench.with_set(|bench| bench.set().has_several() || bench.pair().is_told_of())
    });
    view! {
        {move || {
            let refusal = bench.refusal_at(|place| place == Where::Set);
            refusal.map(|sentence| view! { <p class="refusal" role="alert">{sentence}</p> })
        }}
        <Show when=move || is_shown.get()>
            <Table />
        </Show>
        <Left />
    }
}

#[component]
fn Table() -> impl IntoView {
    let (bench, page) = (expect_context::<Bench>(), expect_context::<Page>());
    let count = Memo::new(move |_| bench.with_set(|bench| bench.set().pairs().len()));
    let looked = RwSignal::new(0);
    look_for_warnings(bench, looked);
    let heading = move || match count.get() {
        1 => "1 pair".to_owned(),
        count => format!("{count} pairs"),
    };
    let added = move |event: leptos::ev::Event| {
        let input = event_target::<web_sys::HtmlInputElement>(&event);
        let files = input.files();
        let files = files.into_iter().flat_map(|files| {
            (0..files.length()).filter_map(move |at| files.get(at).map(Taken::from))
        });
        files::take_set(bench, page, files.collect());
        // The same files can be picked again.
        input.set_value("");
    };
    let has_captions = Memo::new(move |_| {
        let has_one = |bench: &Workbench| {
            let mut pairs = bench.set().pairs().iter();
            pairs.any(|pair| !pair.caption.is_empty())
        };
        bench.with_set(has_one)
    });
    let download = move |_| {
        let zip = bench.with(|bench| captions::archive(bench.set()));
        files::download("captions.zip", "application/zip", &zip);
    };
    view! {
        <section class="set" aria-labelledby="set-heading">
            <div class="row between">
                <h2 id="set-heading">{heading}</h2>
                <div class="row">
                    <button on:click=move |_| {
                        bench.apply(Command::Pairs(PairsCommand::AddEmpty));
                    }>"Add a pair"</button>
                    <label class="file">
                        "Add files…"
                        <input
                            type="file"
                            multiple
                            accept="image/png,image/jpeg,image/webp,.txt,.caption"
                            aria-label="Add files to the set"
                            on:change=added
                        />
                    </label>
                    <button on:click=move |_| files::pick_set(bench, page)>"Add folder…"</button>
                    <Show when=move || has_captions.get()>
                        <button on:click=download>"Download captions"</button>
                    </Show>
                </div>
            </div>
            <tags::Tags />
            <p class="hidden" id="set-keys">
                "Arrow keys lead from picture to picture. With Alt, they move the picture: up and down to another pair, left and right to the other side."
            </p>
            <div class="set-rows">
                <table>
                    <thead>
                        <tr>
                            <th scope="col"><span class="hidden">"Number"</span></th>
                            <th scope="col">"A"</th>
                            <th scope="col">"B"</th>
                            <th scope="col">"Mask"</th>
                            <th scope="col">"Caption"</th>
                            <th scope="col"><span class="hidden">"More"</span></th>
                        </tr>
                    </thead>
                    <tbody>
                        <For each=move || 0..count.get() key=|at| *at let:at>
                            <row::Row at looked=looked.read_only() />
                        </For>
                    </tbody>
                </table>
            </div>
        </section>
    }
}

/// Files that were dropped and are no part of the set, each with the reason.
#[component]
fn Left() -> impl IntoView {
    let page = expect_context::<Page>();
    let left = page.left_files;
    view! {
        <Show when=move || left.with(|left| !left.is_empty())>
            <section class="left-files" aria-label="Files that were left out">
                <ul class="told" aria-live="polite">
                    {move || {
                        let left = left.get().into_iter();
                        left.map(|why| view! { <li>{why}</li> }).collect_view()
                    }}
                </ul>
                <button class="quiet" on:click=move |_| left.set(Vec::new())>
                    "Close"
                </button>
            </section>
        </Show>
    }
}

/// Looks at one pair after the other.
///
/// - `looked`: counts those that were looked at
fn look_for_warnings(bench: Bench, looked: RwSignal<u32>) {
    Effect::new(move |_| {
        bench.with_set(|_| ());
        look_at_the_next(bench, looked);
    });
}

fn look_at_the_next(bench: Bench, looked: RwSignal<u32>) {
    let frame = bench.with(|bench| {
        let frames = bench.set().pairs().iter().map(|pair| &pair.pictures.frame);
        let mut unknown = frames
            .flatten()
            .filter(|frame| frame.known_warnings().is_none());
        unknown.next().cloned()
    });
    let Some(frame) = frame else {
        return;
    };
    set_timeout(
        move || {
            // Kept by the frame.
            let _found = frame.warnings();
            if looked.try_update(|looked| *looked += 1).is_some() {
                look_at_the_next(bench, looked);
            }
        },
        BETWEEN_PAIRS,
    );
}
