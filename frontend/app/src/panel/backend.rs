//! Where it trains, why there, and the choice of another place.

pub mod banner;

use leptos::prelude::*;
use mimeo_workbench::backend::{Arrival, Wish};
use mimeo_workbench::link::Status;
use mimeo_workbench::preflight::LinkState;
use mimeo_workbench::words;

use super::arrivals::Arrivals;
use crate::link::Link;
use crate::widget::question::open_while_asked;

#[component]
pub fn Backend() -> impl IntoView {
    let link = expect_context::<Link>();
    let asks = RwSignal::new(None::<Wish>);
    let line = Memo::new(move |_| link.line());
    // Where both say why the browser is of no use, or not its GPU, it is said once.
    let browser = move || {
        let reason = link.reason.get();
        link.facts.with(|facts| {
            let trouble = facts.trouble();
            let is_said = trouble.is_some_and(|trouble| reason.contains(&trouble));
            facts.describe_browser().filter(|_| !is_said)
        })
    };
    let said = Memo::new(move |_| match (link.is_browser(), line.get()) {
        (true, LinkState::Coming) => "The trainer is being loaded into this browser",
        (true, LinkState::Ready) => "The trainer in this browser is ready",
        _ => "",
    });
    view! {
        <details class="backend" on:toggle=move |_| link.look_at_gpu()>
            <summary
                class:lost=move || !matches!(line.get(), LinkState::Ready | LinkState::Coming)
                class:coming=move || line.get() == LinkState::Coming
            >
                <span class="dot" aria-hidden="true"></span>
                <span class="soft">"Train on: "</span>
                {move || title(link)}
            </summary>
            <div class="backend-body">
                <p>{move || link.reason.get()}</p>
                <Device />
                <Arrivals />
                <Choices asks />
                {move || browser().map(|browser| view! { <p class="soft">{browser}</p> })}
                <p class="soft">{move || link.host.with(|host| host.app.clone())}</p>
                <Remedy />
            </div>
        </details>
        <p class="hidden" role="status">
            {said}
        </p>
        <SwitchDialog asks />
    }
}

/// In a few words.
fn title(link: Link) -> String {
    let name = link
        .host
        .with(|host| host.device.as_ref().map(|device| device.name.clone()));
    let name = name.map_or_else(String::new, |name| format!(" · {name}"));
    let is_browser = link.is_browser();
    match link.status.get() {
        Status::Connected if is_browser => format!("Browser{name}"),
        Status::Connected => format!("Companion{name}"),
        Status::Connecting if is_browser => {
            let percent = link.arrival.with(Arrival::percent);
            format!("Browser · loading… {percent}")
                .trim_end()
                .to_owned()
        }
        Status::Connecting => "Connecting…".to_owned(),
        Status::Elsewhere | Status::Taken(_) => "Browser · in another tab".to_owned(),
        Status::Broken {
            retry_secs: Some(secs),
            ..
        } => {
            format!("Browser · starts again in {secs} s")
        }
        Status::Broken {
            retry_secs: None, ..
        } => "Browser · ended".to_owned(),
        Status::Lost { retry_secs } => format!("No companion · next try in {retry_secs} s"),
        Status::Refused(_) if is_browser => "Browser · reload the page".to_owned(),
        Status::Refused(_) => "Companion refuses".to_owned(),
    }
}

/// What computes there.
#[component]
fn Device() -> impl IntoView {
    let link = expect_context::<Link>();
    let device = move || link.host.with(|host| host.device.clone());
    move || {
        let device = device()?;
        let memory = device.memory_bytes.map(|memory| {
            view! { <p>{format!("Memory: {}", words::bytes(memory))}</p> }
        });
        Some(view! {
            <p>{device.reason}</p>
            {memory}
        })
    }
}

#[component]
fn Choices(
    /// What the user wants, while a run in this browser makes it a question.
    asks: RwSignal<Option<Wish>>,
) -> impl IntoView {
    let link = expect_context::<Link>();
    let choose = move |wish: Wish| {
        if untrack(|| link.runs_here()) {
            asks.set(Some(wish));
        } else {
            link.choose(wish);
        }
    };
    let options = Wish::ALL.map(|wish| {
        // Read twice: after a question that was answered with no, it has to be put back.
        let is_chosen = move || {
            asks.track();
            link.wish.get() == wish
        };
        view! {
            <label class="check">
                <input
                    type="radio"
                    name="backend"
                    value=wish.name()
                    prop:checked=is_chosen
                    on:change=move |_| choose(wish)
                />
                {wish.label()}
            </label>
        }
    });
    view! {
        <fieldset class="places">
            <legend>"Train on"</legend>
            {options.into_iter().collect_view()}
        </fieldset>
    }
}

/// What can be done about a line that is down.
#[component]
fn Remedy() -> impl IntoView {
    let link = expect_context::<Link>();
    let is_down = Memo::new(move |_| !link.is_connected() && !link.is_browser());
    view! {
        <Show when=move || is_down.get()>
            <p>"Start it with " <code>"mimeo serve"</code> ". This page connects by itself."</p>
            <button on:click=move |_| link.connect_now()>"Connect now"</button>
        </Show>
    }
}

/// A run in this browser stops where it is when it trains elsewhere.
#[component]
fn SwitchDialog(asks: RwSignal<Option<Wish>>) -> impl IntoView {
    let link = expect_context::<Link>();
    let dialog = open_while_asked(asks);
    let switch = move |_| {
        if let Some(wish) = asks.get_untracked() {
            link.choose(wish);
        }
        asks.set(None);
    };
    view! {
        <dialog class="discard" aria-label="Train elsewhere?" node_ref=dialog on:close=move |_| asks.set(None)>
            <h2>"Train elsewhere?"</h2>
            <p>
                "The run in this browser stops. It goes on from its last snapshot when you train here again."
            </p>
            <div class="row">
                <button autofocus on:click=move |_| asks.set(None)>
                    "Stay here"
                </button>
                <button on:click=switch>"Train elsewhere"</button>
            </div>
        </dialog>
    }
}
