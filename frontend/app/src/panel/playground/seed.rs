//! A field for a seed, with a button for another one.

use leptos::prelude::*;
use mimeo_protocol::parse_seed;
use web_sys::HtmlInputElement;

/// Random seeds stay below this, so that they are short enough to be read and told.
const RANDOM_BELOW: f64 = 1_000_000.0;

#[component]
pub fn Seed(
    /// The seed now.
    value: Signal<u64>,
    /// Called with another one.
    change: Callback<u64>,
    /// What the button says.
    button: &'static str,
    /// What the button makes of the seed.
    other: fn(u64) -> u64,
) -> impl IntoView {
    view! {
        <label class="short">
            "Seed"
            <input
                type="text"
                inputmode="numeric"
                autocomplete="off"
                prop:value=move || value.get().to_string()
                // Whoever types on has read it.
                on:input=|event| {
                    let field: HtmlInputElement = event_target(&event);
                    field.set_custom_validity("");
                }
                on:change=move |event| match parse_seed(&event_target_value(&event)) {
                    Ok(seed) => change.run(seed),
                    Err(error) => {
                        // The browser says it beside the field.
                        let field: HtmlInputElement = event_target(&event);
                        field.set_custom_validity(&error.to_string());
                        field.report_validity();
                    }
                }
            />
        </label>
        <button
            type="button"
            class="quiet"
            aria-label=format!("{button} seed")
            on:click=move |_| change.run(other(value.get_untracked()))
        >
            {button}
        </button>
    }
}

/// Any seed.
pub fn random() -> u64 {
    (js_sys::Math::random() * RANDOM_BELOW) as u64
}
