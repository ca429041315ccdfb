//! One well: drop, pick, drag, and the crop on its picture.

use leptos::ev::DragEvent;
use leptos::html::Input;
use leptos::prelude::*;
use mimeo_workbench::workbench::Where;
use mimeo_workbench::{Command, Slot};

use crate::bench::Bench;
use crate::files::{self, Taken};
use crate::link::Link;
use crate::page::Page;

/// What a well that is dragged carries.
const WELL: &str = "application/x-mimeo-well";

#[component]
pub fn Well(which: Slot) -> impl IntoView {
    // Leptos keeps the name `slot` of a property for itself.
    let slot = which;
    let bench = expect_context::<Bench>();
    let (link, page) = (expect_context::<Link>(), expect_context::<Page>());
    let input = NodeRef::<Input>::new();
    let is_over = RwSignal::new(false);
    let name = Memo::new(move |_| {
        bench.with_pictures(|bench| bench.picture(slot).map(|picture| picture.name.clone()))
    });
    let (letter, meaning) = match slot {
        Slot::Original => ("A", "before"),
        Slot::Target => ("B", "after"),
    };
    let picked = move |_| {
        if let Some(input) = input.get_untracked() {
            let file = input.files().and_then(|files| files.get(0));
            let taken = file.into_iter().map(Taken::from).collect();
            files::take(bench, link, page, Some(slot), taken);
            // The same file can be picked again.
            input.set_value("");
        }
    };
    let dropped = move |event: DragEvent| {
        event.prevent_default();
        event.stop_propagation();
        is_over.set(false);
        let Some(transfer) = event.data_transfer() else {
            return;
        };
        let well = transfer.get_data(WELL).unwrap_or_default();
        if well.is_empty() {
            files::take(bench, link, page, Some(slot), files::taken_of(&transfer));
        } else if well != letter {
            bench.apply(Command::Swap);
        }
    };
    let drag_begins = move |event: DragEvent| {
        if let Some(transfer) = event.data_transfer() {
            // Without data the drag means nothing, and nothing comes of it.
            _ = transfer.set_data(WELL, letter);
        }
    };
    view! {
        <div
            class="well"
            class:over=move || is_over.get()
            class:filled=move || name.with(Option::is_some)
            role="group"
            aria-label=format!("{letter}, {meaning}")
            draggable=move || name.with(Option::is_some).to_string()
            on:dragstart=drag_begins
            on:dragover=move |event| {
                event.prevent_default();
                is_over.set(true);
            }
            on:dragleave=move |_| is_over.set(false)
            on:drop=dropped
        >
            <div class="well-head">
                <strong>{letter}</strong>
                <span class="soft">{meaning}</span>
                <span class="well-name">{move || name.get()}</span>
                <Show when=move || name.with(Option::is_some)>
                    <button
                        class="quiet"
                        aria-label=format!("Remove {letter}")
                        on:click=move |_| _ = bench.apply(Command::Remove(slot))
                    >
                        "✕"
                    </button>
                </Show>
            </div>
            <Show when=move || name.with(Option::is_some)>
                <Thumbnail which=slot />
            </Show>
            <label class="file">
                {move || if name.with(Option::is_some) { "Replace…" } else { "Drop, paste or choose…" }}
                <input
                    type="file"
                    accept="image/png,image/jpeg,image/webp"
                    aria-label=format!("Choose {letter}")
                    data-well=letter
                    node_ref=input
                    on:change=picked
                />
            </label>
            <Notes which=slot />
            {move || {
                let refusal = bench.refusal_at(|place| place == Where::Well(slot));
                refusal.map(|sentence| view! { <p class="refusal" role="alert">{sentence}</p> })
            }}
        </div>
    }
}

/// What reading the file changed about the picture.
#[component]
fn Notes(which: Slot) -> impl IntoView {
    let bench = expect_context::<Bench>();
    let notes = Memo::new(move |_| {
        bench.with_pictures(|bench| {
            let notes = bench.picture(which).map(|picture| picture.notes.iter());
            let notes = notes.into_iter().flatten().map(ToString::to_string);
            notes.collect::<Vec<_>>()
        })
    });
    view! {
        <ul class="told soft" aria-live="polite">
            {move || {
                let notes = notes.get().into_iter();
                notes.map(|note| view! { <li>{note}</li> }).collect_view()
            }}
        </ul>
    }
}

/// The whole picture, with what is kept of it.
#[component]
fn Thumbnail(which: Slot) -> impl IntoView {
    let slot = which;
    let bench = expect_context::<Bench>();
    let address =
        files::address_of(move || bench.with_pictures(|bench| bench.picture(slot).cloned()));
    // Left, top, width and height of what is kept, in % of the picture.
    let crop = Memo::new(move |_| {
        bench.with_pictures(|bench| {
            let pictures = &bench.pair().pictures;
            let (picture, crop) = (pictures.get(slot)?, pictures.crop_of(slot)?);
            let share = |part: u32, whole: u32| f64::from(part) * 100.0 / f64::from(whole.max(1));
            let (width, height) = (picture.pixels.width(), picture.pixels.height());
            Some([
                share(crop.x, width),
                share(crop.y, height),
                share(crop.width, width),
                share(crop.height, height),
            ])
        })
    });
    let is_cut = move || {
        crop.get()
            .is_some_and(|[_, _, width, height]| width < 99.9 || height < 99.9)
    };
    let side = move |at: usize| move || format!("{}%", crop.get().map_or(0.0, |crop| crop[at]));
    view! {
        <div class="well-picture">
            <img src=move || address.get() alt="" draggable="false" />
            <div
                class="kept"
                class:shown=is_cut
                aria-hidden="true"
                style:left=side(0)
                style:top=side(1)
                style:width=side(2)
                style:height=side(3)
                on:pointerdown=move |event| crate::widget::slide::capture(&event)
                on:pointermove=move |event| {
                    if crate::widget::slide::is_held(&event) {
                        move_crop(bench, slot, &event);
                    }
                }
            ></div>
        </div>
    }
}

/// Moves the crop as far as the pointer moved over the thumbnail.
fn move_crop(bench: Bench, slot: Slot, event: &web_sys::PointerEvent) {
    use wasm_bindgen::JsCast as _;
    let kept = event.current_target();
    let thumbnail =
        kept.and_then(|kept| kept.dyn_into::<web_sys::Element>().ok()?.parent_element());
    let Some(thumbnail) = thumbnail else {
        return;
    };
    let bounds = thumbnail.get_bounding_client_rect();
    let offset = bench.with(|bench| {
        let pictures = &bench.pair().pictures;
        let (picture, crop) = (pictures.get(slot)?, pictures.crop_of(slot)?);
        let along = |moved: i32, shown: f64, whole: u32, kept: u32, now: f64| {
            let spare = f64::from(whole - kept) * shown / f64::from(whole.max(1));
            if spare < 0.5 {
                now
            } else {
                now + f64::from(moved) / spare
            }
        };
        let (width, height) = (picture.pixels.width(), picture.pixels.height());
        let (x, y) = pictures.offset;
        Some((
            along(event.movement_x(), bounds.width(), width, crop.width, x),
            along(event.movement_y(), bounds.height(), height, crop.height, y),
        ))
    });
    if let Some((x, y)) = offset {
        bench.apply(Command::MoveCrop { x, y });
    }
}
