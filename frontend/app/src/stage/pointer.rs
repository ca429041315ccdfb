//! Mouse, pen and fingers on the stage.

use leptos::ev;
use leptos::prelude::*;
use mimeo_workbench::tool::Pointer;
use mimeo_workbench::view::Touched;
use mimeo_workbench::{Command, Toolbox};
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::{DomRect, PointerEvent, WheelEvent};

use super::{Stage, frame_size};

/// Buttons as `PointerEvent.button` numbers them.
mod button {
    pub const MIDDLE: i16 = 1;
    pub const RIGHT: i16 = 2;
    /// The far end of a pen.
    pub const ERASER: i16 = 5;
}

/// The part of the page that pointers paint on.
#[component]
pub fn Area(stage: Stage, children: Children) -> impl IntoView {
    let is_painting = move || stage.bench.toolbox.with(Toolbox::is_dragging);
    view! {
        <div
            class="stage-area"
            class:pans=move || stage.pans.get()
            class:paints=is_painting
            node_ref=stage.area
            on:pointerdown=move |event| press(stage, &event)
            on:pointermove=move |event| drag(stage, &event)
            on:pointerup=move |event| release(stage, &event)
            on:pointercancel=move |event| lose(stage, &event)
            on:pointerleave=move |_| stage.cursor.set(None)
            on:contextmenu=move |event: ev::MouseEvent| event.prevent_default()
            on:wheel=move |event| wheel(stage, &event)
        >
            {children()}
        </div>
    }
}

fn press(stage: Stage, event: &PointerEvent) {
    let Some(bounds) = bounds(stage) else {
        return;
    };
    // What lies above the stage, such as the line between A and B, is not painted through.
    if is_on_control(event) {
        return;
    }
    event.prevent_default();
    capture(stage, event);
    let at = on_stage(event, &bounds);
    if event.pointer_type() == "touch" {
        return touch_press(stage, event, at, &bounds);
    }
    if event.pointer_type() == "pen" {
        stage.fingers.update_value(|fingers| fingers.saw_pen());
    }
    let pans = stage.pans.get_untracked() || event.button() == button::MIDDLE;
    if pans {
        stage.panned_from.set_value(Some(at));
    } else if event.button() == button::RIGHT && event.alt_key() {
        let pointer = pointer(stage, event, &bounds);
        stage
            .bench
            .toolbox
            .update(|tools| tools.press_sizing(pointer));
    } else {
        paint(stage, Toolbox::press, pointer(stage, event, &bounds));
    }
}

fn drag(stage: Stage, event: &PointerEvent) {
    let Some(bounds) = bounds(stage) else {
        return;
    };
    let at = on_stage(event, &bounds);
    if event.pointer_type() == "touch" {
        let view = stage.view.get_untracked();
        let touched = stage
            .fingers
            .try_update_value(|fingers| fingers.drag(event.pointer_id(), at, view));
        match touched {
            Some(Touched::Moves(view)) => stage.look(view),
            Some(Touched::Paints) => drag_tool(stage, event, &bounds),
            _ => {}
        }
        return;
    }
    stage.cursor.set(Some(at));
    if let Some(from) = stage.panned_from.get_value() {
        stage.panned_from.set_value(Some(at));
        let view = stage.view.get_untracked();
        stage.look(view.panned(at.0 - from.0, at.1 - from.1));
    } else {
        drag_tool(stage, event, &bounds);
    }
}

/// Every place the pointer was since the last frame, not only the last one.
fn drag_tool(stage: Stage, event: &PointerEvent, bounds: &DomRect) {
    if !stage.bench.toolbox.with_untracked(Toolbox::is_dragging) {
        return;
    }
    let places = event.get_coalesced_events();
    for place in places.iter() {
        if let Ok(place) = place.dyn_into::<PointerEvent>() {
            paint(stage, Toolbox::drag, pointer(stage, &place, bounds));
        }
    }
    if places.length() == 0 {
        paint(stage, Toolbox::drag, pointer(stage, event, bounds));
    }
}

fn release(stage: Stage, event: &PointerEvent) {
    stage.panned_from.set_value(None);
    let Some(bounds) = bounds(stage) else {
        return;
    };
    if event.pointer_type() == "touch" {
        return touch_release(stage, event, &bounds);
    }
    finish(stage, event, &bounds);
}

fn finish(stage: Stage, event: &PointerEvent, bounds: &DomRect) {
    let frame = stage.bench.with(frame_size).unwrap_or((0, 0));
    let at = pointer(stage, event, bounds);
    paint(stage, |tools, at| tools.release(at, frame), at);
}

/// The browser took the pointer away, as for its own gestures.
fn lose(stage: Stage, event: &PointerEvent) {
    stage.panned_from.set_value(None);
    stage.fingers.update_value(|fingers| {
        _ = fingers.release(event.pointer_id(), f64::INFINITY);
    });
    stage.cancel();
}

fn touch_press(stage: Stage, event: &PointerEvent, at: (f64, f64), bounds: &DomRect) {
    let now = event.time_stamp();
    let touched = stage
        .fingers
        .try_update_value(|fingers| fingers.press(event.pointer_id(), at, now));
    match touched {
        Some(Touched::Paints) => paint(stage, Toolbox::press, pointer(stage, event, bounds)),
        Some(Touched::TakesOver) => stage.cancel(),
        _ => {}
    }
}

fn touch_release(stage: Stage, event: &PointerEvent, bounds: &DomRect) {
    let now = event.time_stamp();
    let touched = stage
        .fingers
        .try_update_value(|fingers| fingers.release(event.pointer_id(), now));
    match touched {
        Some(Touched::Paints) => finish(stage, event, bounds),
        Some(Touched::Undoes) => _ = stage.bench.apply(Command::Undo),
        _ => {}
    }
}

/// Lets the tool do its part, and the workbench what comes of it.
fn paint(stage: Stage, step: impl FnOnce(&mut Toolbox, Pointer) -> Vec<Command>, pointer: Pointer) {
    let was_dragging = stage.bench.toolbox.with_untracked(Toolbox::is_dragging);
    // Without a signal for every move: strokes come by the hundred a second.
    let commands = stage
        .bench
        .toolbox
        .try_update_untracked(|tools| step(tools, pointer));
    let (is_dragging, outline) = stage
        .bench
        .toolbox
        .with_untracked(|tools| (tools.is_dragging(), tools.outline()));
    if was_dragging != is_dragging {
        stage.bench.toolbox.notify();
    }
    if stage.outline.with_untracked(|shown| *shown != outline) {
        stage.outline.set(outline);
    }
    stage.bench.apply_all(commands.unwrap_or_default());
}

fn wheel(stage: Stage, event: &WheelEvent) {
    event.prevent_default();
    let Some(bounds) = bounds(stage) else {
        return;
    };
    if event.ctrl_key() {
        let larger = event.delta_y() < 0.0;
        return stage.bench.toolbox.update(|tools| tools.resize(larger));
    }
    let factor = (-event.delta_y() / 400.0).exp();
    let at = on_stage(event, &bounds);
    stage.look(stage.view.get_untracked().zoomed(factor, at));
}

/// Where the stage is within its border, which is where its pictures are placed.
fn bounds(stage: Stage) -> Option<DomRect> {
    let area = stage.area.get_untracked()?;
    let outer = area.get_bounding_client_rect();
    let (left, top) = (f64::from(area.client_left()), f64::from(area.client_top()));
    outer.set_x(outer.x() + left);
    outer.set_y(outer.y() + top);
    Some(outer)
}

/// In CSS px of the stage.
fn on_stage(event: &web_sys::MouseEvent, bounds: &DomRect) -> (f64, f64) {
    (
        precise(event, "clientX", event.client_x()) - bounds.left(),
        precise(event, "clientY", event.client_y()) - bounds.top(),
    )
}

/// Pens and fingers are known to fractions of a pixel, which the typed getters cut off.
fn precise(event: &web_sys::MouseEvent, property: &str, whole: i32) -> f64 {
    let value = js_sys::Reflect::get(event, &JsValue::from_str(property));
    let value = value.ok().and_then(|value| value.as_f64());
    value.unwrap_or_else(|| f64::from(whole))
}

fn pointer(stage: Stage, event: &PointerEvent, bounds: &DomRect) -> Pointer {
    let (x, y) = on_stage(event, bounds);
    let (x, y) = stage.view.get_untracked().frame_from_stage(x, y);
    let is_pen = event.pointer_type() == "pen";
    Pointer {
        x,
        y,
        // A mouse says 0.5, and fingers say what glass guesses.
        pressure: if is_pen { event.pressure() } else { 1.0 },
        erases: matches!(event.button(), button::RIGHT | button::ERASER),
        shift: event.shift_key(),
    }
}

fn capture(stage: Stage, event: &PointerEvent) {
    if let Some(area) = stage.area.get_untracked() {
        // Without it, a drag that leaves the stage ends there.
        _ = area.set_pointer_capture(event.pointer_id());
    }
}

fn is_on_control(event: &PointerEvent) -> bool {
    let target = event
        .target()
        .and_then(|target| target.dyn_into::<web_sys::Element>().ok());
    let control =
        target.and_then(|target| target.closest("button, [role=slider], a").ok().flatten());
    control.is_some()
}
