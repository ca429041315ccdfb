//! A run in this browser ends with its tab, and goes slowly in one that nobody sees: so the screen
//! is kept on, and leaving is a question.

use js_sys::{Function, Promise, Reflect};
use leptos::ev::beforeunload;
use leptos::prelude::*;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;

use crate::link::Link;
use crate::page::Page;

/// Follows the runs for as long as the page is open.
pub fn follow(link: Link, page: Page) {
    let runs_here = Memo::new(move |_| link.runs_here());
    let asked = window_event_listener(beforeunload, move |event| {
        if runs_here.get_untracked() {
            event.prevent_default();
            // What older browsers ask for; none of them shows the sentence.
            event.set_return_value("A run is under way in this tab.");
        }
    });
    let lock = StoredValue::new_local(None::<JsValue>);
    Effect::new(move |_| {
        page.was_hidden.set(false);
        match runs_here.get() {
            true => keep_on(lock, runs_here),
            false => let_go(lock),
        }
    });
    let seen = window_event_listener_untyped("visibilitychange", move |_| {
        if !runs_here.get_untracked() {
            return;
        }
        match document().hidden() {
            true => page.was_hidden.set(true),
            // The browser took the lock back when the page was hidden.
            false => keep_on(lock, runs_here),
        }
    });
    std::mem::forget((asked, seen));
}

/// Keeps the screen on, where the browser can: a computer that falls asleep trains nothing.
fn keep_on(lock: StoredValue<Option<JsValue>, LocalStorage>, runs_here: Memo<bool>) {
    leptos::task::spawn_local(async move {
        let Some(asked) = ask() else { return };
        // Refused to save energy: then it is the user's to decide.
        let Ok(sentinel) = JsFuture::from(asked).await else {
            return;
        };
        let_go(lock);
        lock.set_value(Some(sentinel));
        if !runs_here.get_untracked() {
            let_go(lock);
        }
    });
}

fn ask() -> Option<Promise> {
    let locks = Reflect::get(&window().navigator(), &"wakeLock".into()).ok()?;
    let request: Function = Reflect::get(&locks, &"request".into())
        .ok()?
        .dyn_into()
        .ok()?;
    request
        .call1(&locks, &"screen".into())
        .ok()?
        .dyn_into()
        .ok()
}

fn let_go(lock: StoredValue<Option<JsValue>, LocalStorage>) {
    let Some(sentinel) = lock.try_update_value(Option::take).flatten() else {
        return;
    };
    let release = Reflect::get(&sentinel, &"release".into()).ok();
    if let Some(release) = release.and_then(|release| release.dyn_into::<Function>().ok()) {
        // It may be released already.
        _ = release.call0(&sentinel);
    }
}
