//! Tags that captions share, as chips: a click gives one to all pairs, or takes it from all.

use leptos::prelude::*;
use mimeo_workbench::workbench::PairsCommand;
use mimeo_workbench::{Command, captions};

use crate::bench::Bench;

#[component]
pub fn Tags() -> impl IntoView {
    let bench = expect_context::<Bench>();
    let shown = Memo::new(move |_| {
        bench.with_set(|bench| {
            let set = bench.set();
            (captions::shared_tags(set), set.pairs().len())
        })
    });
    let chip = move |tag: captions::Tag, all: usize| {
        let is_everywhere = tag.count == all;
        let says = if is_everywhere {
            format!("Take “{}” from all captions", tag.text)
        } else {
            format!("Add “{}” to all captions; {} have it", tag.text, tag.count)
        };
        let text = tag.text.clone();
        let toggle = move |_| {
            bench.apply(Command::Pairs(PairsCommand::Tag(text.clone())));
        };
        view! {
            <button class="chip" aria-label=says.clone() title=says aria-pressed=is_everywhere.to_string() on:click=toggle>
                {format!("{} {}/{all}", tag.text, tag.count)}
            </button>
        }
    };
    view! {
        <Show when=move || shown.with(|(tags, _)| !tags.is_empty())>
            <div class="chips" role="group" aria-label="Tags that captions share">
                {move || {
                    let (tags, all) = shown.get();
                    tags.into_iter().map(|tag| chip(tag, all)).collect_view()
                }}
            </div>
        </Show>
    }
}
