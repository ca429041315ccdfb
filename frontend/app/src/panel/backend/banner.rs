//! What concerns everything is said above everything: that nobody trains, and what to do.

use leptos::prelude::*;
use mimeo_workbench::backend::{Backend, Companion, Wish};
use mimeo_workbench::link::Status;

use crate::link::Link;

/// What its button does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Connect,
    Start,
    Reload,
    TakeOver,
}

impl Act {
    const fn label(self) -> &'static str {
        match self {
            Self::Connect => "Connect now",
            Self::Start => "Start now",
            Self::Reload => "Reload",
            Self::TakeOver => "Train here",
        }
    }

    fn perform(self, link: Link) {
        match self {
            Self::Connect | Self::Start => link.connect_now(),
            // Fails for pages without an address.
            Self::Reload => _ = window().location().reload(),
            Self::TakeOver => link.take_over(),
        }
    }
}

#[component]
pub fn Banner() -> impl IntoView {
    let link = expect_context::<Link>();
    let was_connected = RwSignal::new(false);
    Effect::new(move |_| {
        if link.is_connected() {
            was_connected.set(true);
        }
    });
    // Said once, and not with every second that passes.
    let said = Memo::new(move |_| says(link, was_connected.get()));
    let is_broken = Memo::new(move |_| {
        link.status
            .with(|status| matches!(status, Status::Broken { .. }))
    });
    let ended_on_gpu =
        Memo::new(move |_| is_broken.get() && link.place.get() == Some(Backend::BrowserGpu));
    let has_companion = Memo::new(move |_| {
        let companion = link.facts.with(|facts| facts.companion);
        is_broken.get() && matches!(companion, Companion::There { .. })
    });
    move || {
        let (sentence, act) = said.get()?;
        Some(view! {
            <div class="banner" role="alert">
                <span>{sentence}</span>
                <button on:click=move |_| act.perform(link)>{act.label()}</button>
                <Show when=move || ended_on_gpu.get()>
                    <button on:click=move |_| link.choose(Wish::BrowserCpu)>
                        "Train on this browser's CPU"
                    </button>
                </Show>
                <Show when=move || has_companion.get()>
                    <button on:click=move |_| link.choose(Wish::Companion)>
                        "Train on the companion"
                    </button>
                </Show>
            </div>
        })
    }
}

fn says(link: Link, was_connected: bool) -> Option<(String, Act)> {
    let is_browser = link.is_browser();
    Some(match link.status.get() {
        Status::Connected | Status::Connecting => return None,
        Status::Refused(why) if is_browser => (why, Act::Reload),
        Status::Refused(why) => (why, Act::Connect),
        Status::Lost { .. } if was_connected => (
            "The companion is gone. Reconnecting… A run goes on there, or when it is back."
                .to_owned(),
            Act::Connect,
        ),
        Status::Lost { .. } => (
            "No companion answers. Start it with `mimeo serve`; this page connects by itself."
                .to_owned(),
            Act::Connect,
        ),
        Status::Elsewhere => (
            "Mimeo trains in another tab of this browser. Close it, or train here.".to_owned(),
            Act::TakeOver,
        ),
        Status::Taken(why) => (why, Act::TakeOver),
        Status::Broken { why, retry_secs } => {
            let next = match retry_secs {
                Some(_) => "It is started again, and a run goes on from its last snapshot.",
                None => "It was started again and came no further.",
            };
            (format!("{why} {next}"), Act::Start)
        }
    })
}
