//! The box in which a field of the recipe's table is entered.

use leptos::prelude::*;
use mimeo_protocol::fields::{Field, Kind};

#[component]
pub fn FieldControl(
    field: &'static Field,
    /// Of the box, for its label.
    #[prop(into)]
    id: String,
    /// Of what describes it.
    #[prop(into)]
    described: String,
    /// What stands in it.
    text: Signal<String>,
    /// Called with what was entered.
    set: Callback<String>,
) -> impl IntoView {
    /// What a choice says of nothing.
    const AS_IT_SAYS: &str = "as it says";
    let choice = |options: Vec<(&'static str, &'static str)>| {
        let (id, described) = (id.clone(), described.clone());
        let option = move |(value, says): (&'static str, &'static str)| {
            view! { <option value=value prop:selected=move || text.get() == value>{says}</option> }
        };
        view! {
            <select
                id=id
                aria-describedby=described
                on:change=move |event| set.run(event_target_value(&event))
            >
                {options.into_iter().map(option).collect_view()}
            </select>
        }
        .into_any()
    };
    let words = |words: &'static [&'static str]| words.iter().map(|word| (*word, *word));
    match field.kind {
        Kind::Switch => view! {
            <input
                id=id
                type="checkbox"
                aria-describedby=described
                prop:checked=move || text.get() == "true"
                on:change=move |event| set.run(event_target_checked(&event).to_string())
            />
        }
        .into_any(),
        Kind::Choice(options) => choice(words(options).collect()),
        Kind::ChoiceOrBase(options) => choice(
            [("", AS_IT_SAYS)]
                .into_iter()
                .chain(words(options))
                .collect(),
        ),
        Kind::SwitchOrBase => choice(vec![("", AS_IT_SAYS), ("true", "yes"), ("false", "no")]),
        Kind::Lines => view! {
            <textarea
                id=id
                rows="3"
                spellcheck="false"
                aria-describedby=described
                prop:value=move || text.get()
                on:change=move |event| set.run(event_target_value(&event))
            ></textarea>
        }
        .into_any(),
        Kind::Number(_) | Kind::OptionalNumber(..) | Kind::Seed | Kind::Text => view! {
            <input
                id=id
                type="text"
                inputmode=if field.kind == Kind::Text { "text" } else { "decimal" }
                autocomplete="off"
                aria-describedby=described
                prop:value=move || text.get()
                on:change=move |event| set.run(event_target_value(&event))
            />
        }
        .into_any(),
    }
}

/// What a field does, and what nothing in it means.
pub fn hint(field: &Field) -> String {
    match field.kind {
        Kind::OptionalNumber(_, none) => format!("{}; empty means {}", field.hint, none.means),
        _ => field.hint.to_owned(),
    }
}
