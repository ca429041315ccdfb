//! A labelled range with its value beside it.

use leptos::prelude::*;

#[component]
pub fn Range(
    /// What it sets.
    label: &'static str,
    /// Smallest, largest and step.
    span: (f64, f64, f64),
    /// The value now.
    #[prop(into)]
    value: Signal<f64>,
    /// The value in words.
    #[prop(into)]
    text: Signal<String>,
    /// Called while it is dragged.
    change: Callback<f64>,
) -> impl IntoView {
    let (min, max, step) = span;
    view! {
        <label class="range">
            <span>{label}</span>
            <input
                type="range"
                min=min
                max=max
                step=step
                prop:value=move || value.get().to_string()
                aria-valuetext=move || text.get()
                on:input=move |event| {
                    if let Ok(value) = event_target_value(&event).parse() {
                        change.run(value);
                    }
                }
            />
            // Said by the slider itself already.
            <output aria-hidden="true">{move || text.get()}</output>
        </label>
    }
}
