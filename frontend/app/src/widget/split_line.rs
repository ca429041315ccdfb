//! The line between two pictures that lie on each other.

use leptos::prelude::*;
use web_sys::PointerEvent;

use super::slide;

/// A slider: arrows and pointers move it, a double click puts it into the middle. It lies in a box
/// that is positioned.
#[component]
pub fn SplitLine(
    /// What it is between, for screen readers.
    label: &'static str,
    /// What the share is of: "A", "left".
    side: &'static str,
    /// Where it is, 0..=1.
    share: RwSignal<f64>,
    /// The same as a length from the left of its box.
    #[prop(into)]
    left: Signal<String>,
    /// Called while it is dragged.
    drag: Callback<PointerEvent>,
) -> impl IntoView {
    view! {
        <div
            class="split-line"
            role="slider"
            tabindex="0"
            aria-label=label
            aria-valuemin="0"
            aria-valuemax="100"
            aria-valuenow=move || (share.get() * 100.0).round().to_string()
            aria-valuetext=move || format!("{:.0} % {side}", share.get() * 100.0)
            style:left=move || left.get()
            on:keydown=move |event| slide::by_key(&event, share)
            on:dblclick=move |_| share.set(0.5)
            on:pointerdown=move |event| slide::capture(&event)
            on:pointermove=move |event| {
                if slide::is_held(&event) {
                    event.stop_propagation();
                    drag.run(event);
                }
            }
        >
            <span class="split-grip" aria-hidden="true"></span>
        </div>
    }
}
