//! What every slider on a picture does with keys and pointers.

use leptos::prelude::*;
use wasm_bindgen::JsCast as _;
use web_sys::{Element, KeyboardEvent, PointerEvent};

/// Arrows move by 1 %, with Shift by 10 %; Home and End go to the ends.
pub fn by_key(event: &KeyboardEvent, share: RwSignal<f64>) {
    let step = if event.shift_key() { 0.1 } else { 0.01 };
    let now = share.get_untracked();
    let moved = match event.key().as_str() {
        "ArrowLeft" | "ArrowDown" => now - step,
        "ArrowRight" | "ArrowUp" => now + step,
        "Home" => 0.0,
        "End" => 1.0,
        _ => return,
    };
    event.prevent_default();
    event.stop_propagation();
    share.set(moved.clamp(0.0, 1.0));
}

/// The drag goes on outside of the slider too.
pub fn capture(event: &PointerEvent) {
    if let Some(element) = element(event) {
        event.prevent_default();
        event.stop_propagation();
        // Without it, a drag that leaves the slider ends there.
        _ = element.set_pointer_capture(event.pointer_id());
        if let Some(element) = element.dyn_ref::<web_sys::HtmlElement>() {
            _ = element.focus();
        }
    }
}

/// Whether the slider is being dragged.
pub fn is_held(event: &PointerEvent) -> bool {
    element(event).is_some_and(|element| element.has_pointer_capture(event.pointer_id()))
}

fn element(event: &PointerEvent) -> Option<Element> {
    event.current_target()?.dyn_into().ok()
}
