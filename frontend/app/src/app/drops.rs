//! Files that are dropped or pasted anywhere.

use leptos::ev;
use leptos::prelude::*;
use wasm_bindgen::JsCast as _;

use super::again;
use crate::bench::Bench;
use crate::files;
use crate::link::Link;
use crate::page::Page;

/// Listens for as long as the page is open.
pub fn listen(bench: Bench, link: Link, page: Page) {
    // Without this, a browser leaves the page for the file.
    let over = window_event_listener(ev::dragover, |event| event.prevent_default());
    let dropped = window_event_listener(ev::drop, move |event| {
        event.prevent_default();
        if let Some(transfer) = event.data_transfer() {
            files::take(bench, link, page, None, files::taken_of(&transfer));
        }
    });
    let pasted = window_event_listener_untyped("paste", move |event| {
        let event = event.dyn_into::<web_sys::ClipboardEvent>().ok();
        let Some(transfer) = event
            .as_ref()
            .and_then(web_sys::ClipboardEvent::clipboard_data)
        else {
            return;
        };
        let files = files::taken_of(&transfer);
        if let Some(event) = event.filter(|_| !files.is_empty()) {
            event.prevent_default();
            files::take(bench, link, page, None, files);
        }
    });
    std::mem::forget((over, dropped, pasted));
}

/// What came back with a LoRA that was dropped.
#[component]
pub fn BroughtBack() -> impl IntoView {
    let (bench, page) = (expect_context::<Bench>(), expect_context::<Page>());
    let link = expect_context::<Link>();
    let refusal = RwSignal::new(None::<String>);
    let dropped = move || page.brought_back.get();
    let load_pair = move |_| {
        let pair = dropped().and_then(|dropped| dropped.pair);
        let Some(pair) = pair else {
            return;
        };
        leptos::task::spawn_local(async move {
            match again::pair(link, &pair).await {
                Ok(command) => {
                    bench.apply(command);
                    page.brought_back.set(None);
                }
                Err(_gone) => refusal.set(Some(
                    "Its pictures are not kept here. Add them yourself; the settings are here."
                        .to_owned(),
                )),
            }
        });
    };
    view! {
        {move || {
            dropped()
                .map(|dropped| {
                    let has_pair = dropped.pair.is_some();
                    view! {
                        <aside class="brought-back" aria-label="Settings that came back">
                            {dropped.thumbnail.map(|address| view! { <img src=address alt="" /> })}
                            <div>
                                <p>{format!("The settings of {} are on the bench", dropped.name)}</p>
                                <div class="row">
                                    {has_pair
                                        .then(|| view! { <button on:click=load_pair>"Its pair, too"</button> })}
                                    <button
                                        class="quiet"
                                        on:click=move |_| {
                                            refusal.set(None);
                                            page.brought_back.set(None);
                                        }
                                    >
                                        "Close"
                                    </button>
                                </div>
                                {move || {
                                    refusal
                                        .get()
                                        .map(|why| view! { <p class="refusal" role="alert">{why}</p> })
                                }}
                            </div>
                        </aside>
                    }
                })
        }}
    }
}
