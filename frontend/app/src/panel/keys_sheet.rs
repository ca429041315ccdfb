//! The list of keys, from the very table that they are looked up in.

use leptos::prelude::*;
use mimeo_workbench::keys::{BINDINGS, IN_TABLE, POINTERS};
use wasm_bindgen::JsCast as _;
use web_sys::HtmlElement;

use crate::page::Page;

fn focused() -> Option<HtmlElement> {
    document().active_element()?.dyn_into().ok()
}

#[component]
pub fn KeysSheet() -> impl IntoView {
    let page = expect_context::<Page>();
    let close = NodeRef::<leptos::html::Button>::new();
    let came_from = StoredValue::new_local(None::<HtmlElement>);
    Effect::new(move |_| {
        if page.shows_keys.get() {
            if let Some(close) = close.get() {
                came_from.set_value(focused());
                _ = close.focus();
            }
        } else if let Some(before) = came_from.try_update_value(Option::take).flatten() {
            // Back to where one was, not to the top of the page.
            _ = before.focus();
        }
    });
    let rows = || {
        let keys = BINDINGS.iter().filter(|binding| !binding.says.is_empty());
        let keys = keys.map(|binding| (binding.keys, binding.says));
        keys.chain(IN_TABLE.iter().chain(POINTERS).copied())
            .map(|(keys, says)| {
                view! {
                    <div>
                        <dt><kbd>{keys}</kbd></dt>
                        <dd>{says}</dd>
                    </div>
                }
            })
            .collect_view()
    };
    view! {
        <Show when=move || page.shows_keys.get()>
            <aside class="keys" aria-labelledby="keys-heading">
                <div class="row between">
                    <h2 id="keys-heading">"Keys"</h2>
                    <button node_ref=close on:click=move |_| page.shows_keys.set(false)>"Close"</button>
                </div>
                <label class="check">
                    <input
                        type="checkbox"
                        prop:checked=move || page.single_keys.get()
                        on:change=move |event| page.single_keys.set(event_target_checked(&event))
                    />
                    "Single keys do something"
                </label>
                <dl>{rows()}</dl>
            </aside>
        </Show>
    }
}
