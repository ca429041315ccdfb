//! One of a few, side by side: radio buttons that look like one bar.

use std::sync::atomic::{AtomicU32, Ordering};

use leptos::prelude::*;

/// Radio buttons of one group share a name of their own.
static GROUPS: AtomicU32 = AtomicU32::new(0);

#[component]
pub fn Segmented<T: Copy + PartialEq + Send + Sync + 'static>(
    /// What is chosen, for screen readers.
    legend: &'static str,
    /// Values and what they are called.
    options: Vec<(T, &'static str)>,
    /// The value now; none if it is none of them.
    #[prop(into)]
    chosen: Signal<Option<T>>,
    /// Called with the value that is chosen.
    choose: Callback<T>,
) -> impl IntoView {
    let group = format!("group-{}", GROUPS.fetch_add(1, Ordering::Relaxed));
    let options = options.into_iter().map(|(value, label)| {
        view! {
            <label class:chosen=move || chosen.get() == Some(value)>
                <input
                    type="radio"
                    name=group.clone()
                    prop:checked=move || chosen.get() == Some(value)
                    on:change=move |_| choose.run(value)
                />
                {label}
            </label>
        }
    });
    view! {
        <fieldset class="segmented">
            <legend class="hidden">{legend}</legend>
            {options.collect_view()}
        </fieldset>
    }
}
