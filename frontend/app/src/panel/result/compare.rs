//! Two pictures against each other: behind a line, beside each other, or their difference.

mod stack;
mod zoom;

use leptos::prelude::*;
use mimeo_protocol::BlobId;
use mimeo_workbench::dial::Notch;
use mimeo_workbench::words;

use self::zoom::Zoom;
use super::desk::Desk;
use crate::widget::segmented::Segmented;

/// What can be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Original,
    Target,
    Base,
    Lora,
}

/// How two pictures are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Slide,
    Beside,
    Difference,
}

const SIDES: [(Side, &str); 4] = [
    (Side::Original, "A"),
    (Side::Target, "B"),
    (Side::Base, "Base"),
    (Side::Lora, "LoRA"),
];
const MODES: [(Mode, &str); 3] = [
    (Mode::Slide, "Slide"),
    (Mode::Beside, "Side by side"),
    (Mode::Difference, "Difference"),
];

/// What is looked at, and how.
#[derive(Clone, Copy)]
struct Look {
    desk: Desk,
    pair: (BlobId, BlobId),
    left: RwSignal<Side>,
    right: RwSignal<Side>,
    mode: RwSignal<Mode>,
    zoom: Zoom,
}

impl Look {
    fn picture(self, side: Side) -> Option<BlobId> {
        let (original, target) = self.pair;
        match side {
            Side::Original => Some(original),
            Side::Target => Some(target),
            Side::Base => self.desk.dial.with(|dial| dial.picture(Notch::BASE)),
            Side::Lora => self.desk.dial.with(|dial| Some(dial.shown()?.picture)),
        }
    }

    fn caption(self, side: Side) -> String {
        let strength = || {
            let shown = self.desk.dial.with(|dial| dial.shown());
            let at = shown.map_or(Notch::CHANGE, |shown| shown.at);
            words::strength(at.strength().get())
        };
        match side {
            Side::Original => "A, before".to_owned(),
            Side::Target => "B, after".to_owned(),
            Side::Base => "The base alone".to_owned(),
            Side::Lora => format!("The LoRA at strength {}", strength()),
        }
    }

    /// The picture whose shape all others take: they are drawn in A's size as it is trained, which
    /// A and B themselves may exceed by a crop.
    fn measure(self) -> BlobId {
        let drawn = self
            .picture(Side::Lora)
            .or_else(|| self.picture(Side::Base));
        drawn.unwrap_or(self.pair.0)
    }
}

#[component]
pub fn Compare(
    desk: Desk,
    /// A and B.
    pair: (BlobId, BlobId),
) -> impl IntoView {
    let look = Look {
        desk,
        pair,
        left: RwSignal::new(Side::Base),
        right: RwSignal::new(Side::Lora),
        mode: RwSignal::new(Mode::Slide),
        zoom: Zoom::new(),
    };
    view! {
        <section class="compare" aria-label="Compare">
            <Choices look />
            {move || match look.mode.get() {
                Mode::Slide => view! { <stack::Slide look /> }.into_any(),
                Mode::Difference => view! { <stack::Difference look /> }.into_any(),
                Mode::Beside => view! { <stack::Beside look /> }.into_any(),
            }}
            <zoom::Controls zoom=look.zoom />
            <Ahead desk />
        </section>
    }
}

#[component]
fn Choices(look: Look) -> impl IntoView {
    let side = |legend: &'static str, side: RwSignal<Side>| {
        view! {
            <div class="compare-side">
                <span class="soft" aria-hidden="true">{legend}</span>
                <Segmented
                    legend
                    options=SIDES.to_vec()
                    chosen=Signal::derive(move || Some(side.get()))
                    choose=Callback::new(move |chosen| side.set(chosen))
                />
            </div>
        }
    };
    view! {
        <div class="row">
            {side("Left", look.left)} {side("Right", look.right)}
            <Segmented
                legend="Compare by"
                options=MODES.to_vec()
                chosen=Signal::derive(move || Some(look.mode.get()))
                choose=Callback::new(move |mode| look.mode.set(mode))
            />
        </div>
    }
}

/// Fetches what was drawn beforehand, so that the dial shows it without delay.
#[component]
fn Ahead(desk: Desk) -> impl IntoView {
    let pictures = Notch::PREPARED.map(|notch| {
        let picture = Memo::new(move |_| desk.dial.with(|dial| dial.picture(notch)));
        view! {
            <Show when=move || picture.with(Option::is_some)>
                <img src=move || picture.get().and_then(|id| desk.link.blob_url(id)) alt="" />
            </Show>
        }
    });
    view! { <div hidden>{pictures.into_iter().collect_view()}</div> }
}
