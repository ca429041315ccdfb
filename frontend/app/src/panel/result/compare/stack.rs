//! The pictures themselves.

use leptos::html::Div;
use leptos::prelude::*;
use web_sys::PointerEvent;

use super::{Look, Side};
use crate::page::Page;
use crate::widget::slide;
use crate::widget::split_line::SplitLine;

/// Left and right of a line that is dragged.
#[component]
pub fn Slide(look: Look) -> impl IntoView {
    let page = expect_context::<Page>();
    let frame = NodeRef::<Div>::new();
    let share = RwSignal::new(0.5);
    // While the key is held that shows A on the stage, the left picture is shown here.
    let cut = move || if page.blinks.get() { 1.0 } else { share.get() };
    let drag = move |event: &PointerEvent| {
        if let Some(frame) = frame.get_untracked() {
            let frame = frame.get_bounding_client_rect();
            let x = (f64::from(event.client_x()) - frame.left()) / frame.width();
            share.set(x.clamp(0.0, 1.0));
        }
    };
    let move_over = move |event: PointerEvent| {
        if !slide::is_held(&event) {
            return;
        }
        if look.zoom.is_in() {
            look.zoom.pan(&event);
        } else {
            drag(&event);
        }
    };
    view! {
        <div
            class="compare-frame"
            class:zoomed=move || look.zoom.is_in()
            node_ref=frame
            on:pointerdown=move |event| {
                slide::capture(&event);
                if !look.zoom.is_in() {
                    drag(&event);
                }
            }
            on:pointermove=move_over
            on:wheel=move |event| look.zoom.by_wheel(&event)
        >
            <Measure look />
            <div class="compare-layer">
                <Layer look side=look.left />
            </div>
            <div
                class="compare-layer"
                style:clip-path=move || format!("inset(0 0 0 {}%)", cut() * 100.0)
            >
                <Layer look side=look.right />
            </div>
            <SplitLine
                label="Line between left and right"
                side="left"
                share=share
                left=Signal::derive(move || format!("{}%", cut() * 100.0))
                drag=Callback::new(move |event: PointerEvent| drag(&event))
            />
        </div>
        <p class="compare-captions soft">
            <span>{move || look.caption(look.left.get())}</span>
            <span>{move || look.caption(look.right.get())}</span>
        </p>
    }
}

/// Where they differ: black where they are the same.
#[component]
pub fn Difference(look: Look) -> impl IntoView {
    let caption = move || {
        let (left, right) = (
            look.caption(look.left.get()),
            look.caption(look.right.get()),
        );
        format!("{left}, against: {right}. Black is the same.")
    };
    // One picture alone would pass for a difference.
    let has_both = Memo::new(move |_| {
        let has = |side: RwSignal<Side>| look.picture(side.get()).is_some();
        has(look.left) && has(look.right)
    });
    view! {
        <Frame look>
            <Show
                when=move || has_both.get()
                fallback=move || view! { <div class="compare-layer"><Waits look /></div> }
            >
                <div class="compare-layer">
                    <Layer look side=look.left />
                </div>
                <div class="compare-layer difference">
                    <Layer look side=look.right />
                </div>
            </Show>
        </Frame>
        <p class="soft">{caption}</p>
    }
}

/// One beside the other, at the same place.
#[component]
pub fn Beside(look: Look) -> impl IntoView {
    let sides = [look.left, look.right].map(|side| {
        view! {
            <figure>
                <Frame look>
                    <div class="compare-layer">
                        <Layer look side />
                    </div>
                </Frame>
                <figcaption class="soft">{move || look.caption(side.get())}</figcaption>
            </figure>
        }
    });
    view! { <div class="compare-beside">{sides.into_iter().collect_view()}</div> }
}

/// Pictures that can be zoomed and panned.
#[component]
fn Frame(look: Look, children: Children) -> impl IntoView {
    let pan = move |event: PointerEvent| {
        if slide::is_held(&event) {
            look.zoom.pan(&event);
        }
    };
    view! {
        <div
            class="compare-frame"
            class:zoomed=move || look.zoom.is_in()
            on:pointerdown=move |event| {
                if look.zoom.is_in() {
                    slide::capture(&event);
                }
            }
            on:pointermove=pan
            on:wheel=move |event| look.zoom.by_wheel(&event)
        >
            <Measure look />
            {children()}
        </div>
    }
}

/// Gives the frame the shape of what is drawn, and is not seen.
#[component]
fn Measure(look: Look) -> impl IntoView {
    let measure = Memo::new(move |_| look.measure());
    let link = look.desk.link;
    view! { <img class="compare-measure" src=move || link.blob_url(measure.get()) alt="" /> }
}

/// One picture, or that it is being drawn.
#[component]
fn Layer(look: Look, side: RwSignal<Side>) -> impl IntoView {
    let picture = Memo::new(move |_| look.picture(side.get()));
    view! {
        <Show
            when=move || picture.with(Option::is_some)
            fallback=move || view! { <Waits look /> }
        >
            <img
                src=move || picture.get().and_then(|id| look.desk.link.blob_url(id))
                alt=move || look.caption(side.get())
                draggable="false"
                style:transform=move || look.zoom.scale()
                style:transform-origin=move || look.zoom.origin()
            />
        </Show>
    }
}

/// In place of a picture that is not there yet, or will not be.
#[component]
fn Waits(look: Look) -> impl IntoView {
    let dial = look.desk.dial;
    let is_coming = Memo::new(move |_| dial.with(|dial| dial.trouble().is_none()));
    let says = move || {
        if is_coming.get() {
            "Drawing…"
        } else {
            "Not drawn"
        }
    };
    view! {
        <p class="compare-waits" aria-busy=move || is_coming.get().to_string()>
            {says}
        </p>
    }
}
