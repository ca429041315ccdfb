//! The lower half: the run that is shown, its result, all runs, the playground.

use leptos::prelude::*;
use mimeo_workbench::Run;

use crate::link::Link;
use crate::page::{LOWER, Page, Tab};
use crate::panel::loss_chart::LossChart;
use crate::panel::playground::Playground;
use crate::panel::previews::PreviewGrid;
use crate::panel::result::ResultPanel;
use crate::panel::run_bar::RunBar;
use crate::panel::runs_list::RunsList;

const TABS: [(Tab, &str); 4] = [
    (Tab::Run, "Run"),
    (Tab::Result, "Result"),
    (Tab::Runs, "Runs"),
    (Tab::Playground, "Playground"),
];

#[component]
pub fn Lower() -> impl IntoView {
    let (link, page) = (expect_context::<Link>(), expect_context::<Page>());
    show_what_runs(link, page);
    let run = Signal::derive(move || {
        let shown = page.shown.get()?;
        link.runs.with(|runs| runs.get(shown).cloned())
    });
    let tabs = TABS.map(|(tab, label)| view! { <TabButton tab label /> });
    let has_run = Memo::new(move |_| run.with(Option::is_some));
    // The last run that was there, so that a panel on its way out still has one.
    let shown = StoredValue::new(None::<Run>);
    let shown = Signal::derive(move || {
        if let Some(run) = run.get() {
            shown.set_value(Some(run));
        }
        shown.get_value()
    });
    view! {
        <section class="lower" id=LOWER aria-label="Runs and results">
            <div class="tabs" role="tablist" aria-label="Runs and results" on:keydown=move |event| step(&event, page)>
                {tabs.collect_view()}
            </div>
            <div
                class="tab-panel"
                role="tabpanel"
                id="tab-panel"
                aria-labelledby=move || tab_id(page.tab.get())
            >
                {move || match page.tab.get() {
                    Tab::Runs => view! { <RunsList /> }.into_any(),
                    Tab::Playground => view! { <Playground /> }.into_any(),
                    Tab::Run | Tab::Result if !has_run.get() => {
                        view! { <p class="soft">"Nothing was trained yet"</p> }.into_any()
                    }
                    tab => {
                        let Some(first) = shown.get_untracked() else {
                            return ().into_any();
                        };
                        let run = Signal::derive(move || shown.get().unwrap_or_else(|| first.clone()));
                        match tab {
                            Tab::Result => view! { <ResultPanel run /> }.into_any(),
                            _ => {
                                view! {
                                    <RunBar run />
                                    <div class="run-parts">
                                        <LossChart run />
                                        <PreviewGrid run />
                                    </div>
                                }
                                    .into_any()
                            }
                        }
                    }
                }}
            </div>
        </section>
    }
}

#[component]
fn TabButton(tab: Tab, label: &'static str) -> impl IntoView {
    let page = expect_context::<Page>();
    let is_open = move || page.tab.get() == tab;
    view! {
        <button
            role="tab"
            id=tab_id(tab)
            aria-selected=move || is_open().to_string()
            aria-controls="tab-panel"
            tabindex=move || if is_open() { "0" } else { "-1" }
            on:click=move |_| page.tab.set(tab)
        >
            {label}
        </button>
    }
}

fn tab_id(tab: Tab) -> &'static str {
    match tab {
        Tab::Run => "tab-run",
        Tab::Result => "tab-result",
        Tab::Runs => "tab-runs",
        Tab::Playground => "tab-playground",
    }
}

/// Arrows move among the tabs.
fn step(event: &web_sys::KeyboardEvent, page: Page) {
    use wasm_bindgen::JsCast as _;
    let by = match event.key().as_str() {
        "ArrowRight" => 1,
        "ArrowLeft" => TABS.len() - 1,
        _ => return,
    };
    event.prevent_default();
    let now = page.tab.get_untracked();
    let at = TABS.iter().position(|(tab, _)| *tab == now).unwrap_or(0);
    let (next, _) = TABS[(at + by) % TABS.len()];
    page.tab.set(next);
    let button = document().get_element_by_id(tab_id(next));
    if let Some(button) = button.and_then(|button| button.dyn_into::<web_sys::HtmlElement>().ok()) {
        _ = button.focus();
    }
}

/// A page that comes back shows the run under way, or the newest; a run that ends well shows its
/// result.
fn show_what_runs(link: Link, page: Page) {
    Effect::new(move |_| {
        let (under_way, newest) = link.runs.with(|runs| {
            let newest = runs.iter().next().map(Run::id);
            (runs.under_way().map(Run::id), newest)
        });
        if page.shown.get_untracked().is_none() {
            page.shown.set(under_way.or(newest));
        }
    });
    Effect::new(move |_| {
        if let Some(shown) = page.shown.get() {
            // Also when the line is back, or the run became known only now.
            let is_known = link.runs.with(|runs| runs.get(shown).is_some());
            if link.is_connected() && is_known {
                link.follow(shown);
            }
        }
    });
    let finished = Memo::new(move |_| {
        let shown = page.shown.get()?;
        link.runs.with(|runs| {
            let run = runs.get(shown)?;
            Some((shown, run.state().is_over() && run.scores().is_some()))
        })
    });
    Effect::new(
        move |before: Option<Option<(mimeo_protocol::JobId, bool)>>| {
            let now = finished.get();
            let ended = match (before.flatten(), now) {
                (Some((old, false)), Some((new, true))) => old == new,
                _ => false,
            };
            if ended && page.tab.get_untracked() == Tab::Run {
                page.tab.set(Tab::Result);
            }
            now
        },
    );
}
