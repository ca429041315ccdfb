//! Keys become actions by the one table of `mimeo_workbench::keys`; here they are done.

use leptos::ev::{keydown, keyup};
use leptos::prelude::*;
use mimeo_workbench::Command;
use mimeo_workbench::keys::{Action, Press};
use mimeo_workbench::workbench::MaskCommand;
use wasm_bindgen::JsCast as _;
use web_sys::{HtmlElement, KeyboardEvent};

use crate::bench::Bench;
use crate::page::{Page, Shown};
use crate::stage::Stage;

/// Listens for as long as the page is open.
pub fn listen(bench: Bench, page: Page, stage: Stage, train: Callback<()>) {
    let down = window_event_listener(keydown, move |event| {
        // Over the stage, Space pans whatever has the focus: a tool keeps it after a click.
        let pans = stage.is_pointed_at() && !is_text(&event) || !is_control(&event);
        if event.key() == " " && pans {
            stage.pans.set(true);
            event.prevent_default();
            return;
        }
        let Some(action) = action(&event, page) else {
            return;
        };
        event.prevent_default();
        if action == Action::Train && is_text(&event) {
            take_typed(&event);
        }
        perform(action, bench, page, stage, train);
    });
    let up = window_event_listener(keyup, move |event| {
        if event.key() == " " && stage.pans.get_untracked() {
            stage.pans.set(false);
            // Buttons are pressed when Space goes up.
            event.prevent_default();
        }
        if event.key() == "\\" {
            page.blinks.set(false);
        }
    });
    std::mem::forget((down, up));
}

fn action(event: &KeyboardEvent, page: Page) -> Option<Action> {
    let key = event.key();
    let press = Press {
        key: &key,
        ctrl: event.ctrl_key() || event.meta_key(),
        shift: event.shift_key(),
        alt: event.alt_key(),
        in_text: is_text(event) || is_in_dialog(event),
        single_keys: page.single_keys.get_untracked(),
    };
    press.action()
}

fn perform(action: Action, bench: Bench, page: Page, stage: Stage, train: Callback<()>) {
    let mask = |command| _ = bench.apply(Command::Mask(command));
    match action {
        Action::Choose(tool) => stage.choose(tool),
        Action::Swap => _ = bench.apply(Command::Swap),
        Action::Smaller => bench.toolbox.update(|tools| tools.resize(false)),
        Action::Larger => bench.toolbox.update(|tools| tools.resize(true)),
        Action::Harder => bench.toolbox.update(|tools| tools.soften(false)),
        Action::Softer => bench.toolbox.update(|tools| tools.soften(true)),
        Action::Invert => mask(MaskCommand::Invert),
        Action::Clear => mask(MaskCommand::Clear),
        Action::Suggest => mask(MaskCommand::Suggest),
        Action::Fit => stage.fit(),
        Action::ZoomIn => stage.zoom(1.25),
        Action::ZoomOut => stage.zoom(0.8),
        Action::Show(number) => {
            if let Some(view) = Shown::ALL.get(usize::from(number).wrapping_sub(1)) {
                page.view.set(*view);
            }
        }
        Action::ToggleMask => page.has_mask_on.update(|on| *on = !*on),
        Action::Blink => page.blinks.set(true),
        Action::Undo => _ = bench.apply(Command::Undo),
        Action::Redo => _ = bench.apply(Command::Redo),
        Action::Train => train.run(()),
        Action::Cancel => {
            stage.cancel();
            page.shows_keys.set(false);
        }
        Action::Help => page.shows_keys.update(|shown| *shown = !*shown),
    }
}

/// Has the box that is typed into tell what it holds, which it otherwise does when it is left.
fn take_typed(event: &KeyboardEvent) {
    if let Some(element) = target(event) {
        // Neither fails for an element that has the focus.
        _ = element.blur();
        _ = element.focus();
    }
}

/// Whether keys are text here.
fn is_text(event: &KeyboardEvent) -> bool {
    let Some(element) = target(event) else {
        return false;
    };
    let kind = element.get_attribute("type").unwrap_or_default();
    let is_typed = |kind: &str| {
        !matches!(
            kind,
            "checkbox" | "radio" | "range" | "button" | "color" | "file"
        )
    };
    match element.tag_name().as_str() {
        "TEXTAREA" | "SELECT" => true,
        "INPUT" => is_typed(&kind),
        _ => element.is_content_editable(),
    }
}

/// Whether Space belongs to what has the focus.
fn is_control(event: &KeyboardEvent) -> bool {
    let is = |element: HtmlElement| {
        let tag = element.tag_name();
        let has_role = element.has_attribute("role") && element.tab_index() >= 0;
        has_role
            || matches!(
                tag.as_str(),
                "BUTTON" | "INPUT" | "TEXTAREA" | "SELECT" | "SUMMARY" | "A"
            )
    };
    target(event).is_some_and(is)
}

fn is_in_dialog(event: &KeyboardEvent) -> bool {
    let element = target(event);
    let dialog = element.and_then(|element| element.closest("dialog").ok().flatten());
    dialog.is_some()
}

fn target(event: &KeyboardEvent) -> Option<HtmlElement> {
    event.target()?.dyn_into().ok()
}
