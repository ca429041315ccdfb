//! Deletes at the second press: what a run made cannot be brought back.

use leptos::prelude::*;
use mimeo_protocol::{ClientMessage, RequestId};

use crate::link::Link;

#[component]
pub fn DeleteButton(
    /// What deletes it.
    message: Callback<RequestId, ClientMessage>,
) -> impl IntoView {
    let link = expect_context::<Link>();
    let is_sure = RwSignal::new(false);
    let is_pending = RwSignal::new(false);
    let refusal = RwSignal::new(None::<String>);
    let press = move |_| {
        if is_pending.get_untracked() {
            return;
        }
        if !is_sure.get_untracked() {
            is_sure.set(true);
            return;
        }
        is_pending.set(true);
        leptos::task::spawn_local(async move {
            let answer = link.ask(|request| message.run(request)).await;
            // The row may be gone by now.
            _ = is_pending.try_set(false);
            _ = refusal.try_set(answer.err());
        });
    };
    let text = move || match (is_pending.get(), is_sure.get()) {
        (true, _) => "Deleting…",
        (_, true) => "Delete for good",
        _ => "Delete",
    };
    view! {
        <button
            class="quiet"
            class:danger=move || is_sure.get()
            aria-busy=move || is_pending.get().to_string()
            on:blur=move |_| is_sure.set(false)
            on:click=press
        >
            {text}
        </button>
        {move || refusal.get().map(|why| view! { <p class="refusal" role="alert">{why}</p> })}
    }
}
