//! Which picture of the table has the focus: the Tab key stops at those of the pair on the stage, and
//! arrow keys lead from one picture to the next.

use leptos::prelude::*;
use mimeo_workbench::Slot;
use wasm_bindgen::JsCast as _;
use web_sys::HtmlElement;

/// Of the button that holds a picture.
pub fn id((at, slot): (usize, Slot)) -> String {
    format!("picture-{}-{}", slot.letter(), at + 1)
}

/// Gives a picture the focus.
pub fn give(place: (usize, Slot)) {
    let button = document().get_element_by_id(&id(place));
    if let Some(button) = button.and_then(|it| it.dyn_into::<HtmlElement>().ok()) {
        // It fails for nothing that is on the page.
        _ = button.focus();
    }
}

/// The same once rows that come or go are drawn.
pub fn give_soon(place: (usize, Slot)) {
    request_animation_frame(move || give(place));
}

/// Where an arrow key leads from here; none for every other key.
///
/// - `count`: of pairs; behind the last one there is a place for a picture that moves
pub fn neighbour(key: &str, (at, slot): (usize, Slot), count: usize) -> Option<(usize, Slot)> {
    Some(match key {
        "ArrowUp" => (at.checked_sub(1)?, slot),
        "ArrowDown" => ((at + 1).min(count), slot),
        "ArrowLeft" => (at, Slot::Original),
        "ArrowRight" => (at, Slot::Target),
        "Home" => (0, slot),
        "End" => (count.checked_sub(1)?, slot),
        _ => return None,
    })
}
