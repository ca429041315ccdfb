//! The page: draws the workbench of `mimeo-workbench` and sends its commands.
//!
//! - `app`: the page from header to run bar. `panel`: its parts. `stage`: the canvas.
//! - `bench`: the workbench as the page holds it. `link`: whoever trains. `page`: what is shown.
//! - `files`: drop, paste, pick, download; `handles`: files that stay readable. `storage`: what a
//!   reload keeps.
//! - `widget`: accessible primitives that know no word of Mimeo's.
//!
//! Nothing here decides: rules are in `mimeo-workbench`, where they are tested without a browser.

#![cfg(target_family = "wasm")]

mod app;
mod bench;
mod files;
mod handles;
mod keyboard;
mod link;
mod page;
mod panel;
mod stage;
mod storage;
mod widget;

/// Puts the page into the document, once it is known what was on it.
pub fn start() {
    console_error_panic_hook::set_once();
    wasm_bindgen_futures::spawn_local(async {
        let restored = storage::restore().await;
        // What the page shows until then.
        if let Some(boot) = leptos::prelude::document().get_element_by_id("boot") {
            boot.remove();
        }
        leptos::mount::mount_to_body(move || app::App(app::AppProps { restored }));
    });
}
