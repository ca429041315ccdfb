//! What a run made: looking at it, measuring it, taking it along.

mod compare;
mod desk;
mod dial;
mod grid;
mod scores;
mod sheet;
mod take;

use leptos::prelude::*;
use mimeo_protocol::ResultFile;
use mimeo_workbench::Run;

use self::desk::Desk;
use crate::page::Page;

/// The result of the run that is shown.
#[component]
pub fn ResultPanel(
    /// The run.
    #[prop(into)]
    run: Signal<Run>,
) -> impl IntoView {
    // Everything below is drawn anew for another file only, and not with every event of a run.
    let result = Memo::new(move |_| run.with(|run| run.result().cloned()));
    view! {
        <section class="result" aria-label="Result">
            {move || match result.get() {
                Some(file) => view! { <Whole run file /> }.into_any(),
                None => view! { <Nothing run /> }.into_any(),
            }}
        </section>
    }
}

#[component]
fn Whole(run: Signal<Run>, file: ResultFile) -> impl IntoView {
    let desk = Desk::new(run, &file);
    let pair = run.with_untracked(|run| {
        let example = run.job().examples.first();
        example.map(|example| (example.original, example.target))
    });
    let pairs = run.with_untracked(Run::pairs);
    view! {
        <div class="result-look">
            {pair.map(|pair| view! { <compare::Compare desk pair /> })}
            <dial::StrengthDial desk />
        </div>
        <div class="result-side">
            {pairs.map(|pairs| view! { <p class="soft">{format!("Trained on {pairs}")}</p> })}
            <scores::ScorePanel desk run />
            <take::Take run file />
        </div>
        <grid::GridPanel desk />
    }
}

/// A run without a LoRA says why, and what to do.
#[component]
fn Nothing(run: Signal<Run>) -> impl IntoView {
    let page = expect_context::<Page>();
    let is_over = Memo::new(move |_| run.with(|run| run.state().is_over()));
    let again = move |_| page.run_again.run(run.with_untracked(Run::id));
    view! {
        <div class="result-nothing">
            <Show
                when=move || is_over.get()
                fallback=|| view! { <p class="soft">"The result comes when the run ends"</p> }
            >
                <p>"This run ended without a LoRA. Run it again, or choose another one under Runs."</p>
                <button on:click=again>"Run again with one change"</button>
            </Show>
            <take::OtherFiles run />
        </div>
    }
}
