//! One zoom for all pictures that are compared.

use leptos::prelude::*;
use wasm_bindgen::JsCast as _;
use web_sys::{Element, PointerEvent, WheelEvent};

use crate::widget::number::Range;

const MAX: f64 = 8.0;

/// How large, and which point stays where it is.
#[derive(Clone, Copy)]
pub struct Zoom {
    factor: RwSignal<f64>,
    /// Of the width, 0..=1.
    across: RwSignal<f64>,
    /// Of the height, 0..=1.
    down: RwSignal<f64>,
}

impl Zoom {
    /// Everything is seen.
    pub fn new() -> Self {
        Self {
            factor: RwSignal::new(1.0),
            across: RwSignal::new(0.5),
            down: RwSignal::new(0.5),
        }
    }

    /// Whether less than everything is seen.
    pub fn is_in(self) -> bool {
        self.factor.get() > 1.0
    }

    /// As CSS: how large.
    pub fn scale(self) -> String {
        format!("scale({})", self.factor.get())
    }

    /// As CSS: from where.
    pub fn origin(self) -> String {
        format!(
            "{}% {}%",
            self.across.get() * 100.0,
            self.down.get() * 100.0
        )
    }

    /// The picture goes along with the pointer.
    pub fn pan(self, event: &PointerEvent) {
        let Some((width, height)) = size_of_target(event) else {
            return;
        };
        // What is beyond the frame; zoomed out it is nothing.
        let beyond = (self.factor.get_untracked() - 1.0).max(0.01);
        let moved = |share: f64, by: i32, side: f64| {
            (share - f64::from(by) / (side * beyond)).clamp(0.0, 1.0)
        };
        self.across
            .update(|share| *share = moved(*share, event.movement_x(), width));
        self.down
            .update(|share| *share = moved(*share, event.movement_y(), height));
    }

    /// With Ctrl, or two fingers on a touchpad; without, the wheel scrolls the page.
    pub fn by_wheel(self, event: &WheelEvent) {
        if event.ctrl_key() {
            event.prevent_default();
            let by = (-event.delta_y() / 300.0).exp();
            self.set(self.factor.get_untracked() * by);
        }
    }

    fn set(self, factor: f64) {
        self.factor.set(factor.clamp(1.0, MAX));
    }
}

fn size_of_target(event: &PointerEvent) -> Option<(f64, f64)> {
    let element: Element = event.current_target()?.dyn_into().ok()?;
    let frame = element.get_bounding_client_rect();
    (frame.width() > 0.0 && frame.height() > 0.0).then(|| (frame.width(), frame.height()))
}

/// Zoom by number, and where to look once it is in: without a pointer too.
#[component]
pub fn Controls(zoom: Zoom) -> impl IntoView {
    let share = |label: &'static str, share: RwSignal<f64>| {
        view! {
            <Range
                label
                span=(0.0, 1.0, 0.01)
                value=Signal::from(share)
                text=Signal::derive(move || format!("{:.0} %", share.get() * 100.0))
                change=Callback::new(move |value| share.set(value))
            />
        }
    };
    view! {
        <div class="row">
            <Range
                label="Zoom"
                span=(1.0, MAX, 0.1)
                value=Signal::from(zoom.factor)
                text=Signal::derive(move || format!("{:.1}\u{d7}", zoom.factor.get()))
                change=Callback::new(move |factor| zoom.set(factor))
            />
            <Show when=move || zoom.is_in()>
                {share("Across", zoom.across)} {share("Down", zoom.down)}
                <button class="quiet" on:click=move |_| zoom.set(1.0)>
                    "Show all"
                </button>
            </Show>
        </div>
    }
}
