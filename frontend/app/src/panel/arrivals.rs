//! What is on its way into this browser before it can train there, counted.

use leptos::prelude::*;
use mimeo_workbench::backend::Arrival;

use crate::link::Link;

#[component]
pub fn Arrivals() -> impl IntoView {
    let link = expect_context::<Link>();
    let bars = Memo::new(move |_| link.arrival.with(Arrival::bars));
    let labels = Memo::new(move |_| {
        let labels = |bar: &mimeo_workbench::backend::Bar| bar.label;
        bars.with(|bars| bars.iter().map(labels).collect::<Vec<_>>())
    });
    let row = move |label: &'static str| {
        let bar = Memo::new(move |_| {
            bars.with(|bars| bars.iter().find(|bar| bar.label == label).cloned())
        });
        let share = move || bar.with(|bar| Some(bar.as_ref()?.share?.to_string()));
        let text = move || bar.with(|bar| bar.as_ref().map(|bar| bar.text.clone()));
        view! {
            <li>
                <span>{label}</span>
                <progress aria-label=label max="1" value=share></progress>
                <span class="soft">{text}</span>
            </li>
        }
    };
    view! {
        <Show when=move || !labels.with(Vec::is_empty)>
            <ul class="arrivals" aria-label="On its way into this browser">
                <For each=move || labels.get() key=|label| *label children=row />
            </ul>
        </Show>
    }
}
