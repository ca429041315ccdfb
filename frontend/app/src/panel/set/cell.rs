//! One picture of the table: click, drag, keys.

use leptos::ev::{DragEvent, KeyboardEvent};
use leptos::prelude::*;
use mimeo_workbench::workbench::PairsCommand;
use mimeo_workbench::{Command, Slot};

use super::focus;
use crate::bench::Bench;
use crate::files;
use crate::link::Link;
use crate::page::Page;

/// What a picture that is dragged carries: its place, "3 A".
const PICTURE: &str = "application/x-mimeo-picture";

#[component]
pub fn Cell(
    at: usize,
    // Leptos keeps the name `slot` of a property for itself.
    which: Slot,
) -> impl IntoView {
    let place = (at, which);
    let bench = expect_context::<Bench>();
    let (link, page) = (expect_context::<Link>(), expect_context::<Page>());
    let is_over = RwSignal::new(false);
    let picture =
        move || bench.with_set(|bench| bench.set().pairs().get(at)?.picture(which).cloned());
    let name = Memo::new(move |_| picture().map(|picture| picture.name.clone()));
    let address = files::address_of(picture);
    let is_on_stage = Memo::new(move |_| bench.with_set(|bench| bench.set().chosen() == at));
    let (letter, number) = (which.letter(), at + 1);
    let label = move || match name.get() {
        Some(name) => format!("{letter} of pair {number}: {name}"),
        None => format!("{letter} of pair {number}: none"),
    };
    let choose = move || _ = bench.apply(Command::Pairs(PairsCommand::Choose(at)));
    let pressed = move |event: KeyboardEvent| {
        if event.ctrl_key() || event.meta_key() || event.shift_key() {
            return;
        }
        let count = bench.with(|bench| bench.set().pairs().len());
        let Some(to) = focus::neighbour(&event.key(), place, count) else {
            return;
        };
        event.prevent_default();
        if !event.alt_key() {
            return focus::give((to.0.min(count - 1), to.1));
        }
        if bench.apply(Command::Pairs(PairsCommand::Move { from: place, to })) {
            // A pair that gave its only picture is gone.
            let now = bench.with(|bench| bench.set().chosen());
            focus::give_soon((now, to.1));
        }
    };
    let dropped = move |event: DragEvent| {
        event.prevent_default();
        event.stop_propagation();
        is_over.set(false);
        let Some(transfer) = event.data_transfer() else {
            return;
        };
        let from = transfer.get_data(PICTURE).ok();
        match from.as_deref().and_then(read_place) {
            Some(from) => {
                let command = PairsCommand::Move { from, to: place };
                bench.apply(Command::Pairs(command));
            }
            None => {
                choose();
                files::take(bench, link, page, Some(which), files::taken_of(&transfer));
            }
        }
    };
    view! {
        <td
            class:over=move || is_over.get()
            on:dragover=move |event| {
                event.prevent_default();
                is_over.set(true);
            }
            on:dragleave=move |_| is_over.set(false)
            on:drop=dropped
        >
            <button
                class="set-picture"
                id=focus::id(place)
                aria-label=label
                aria-describedby="set-keys"
                title=move || name.get()
                tabindex=move || if is_on_stage.get() { "0" } else { "-1" }
                draggable=move || name.with(Option::is_some).to_string()
                on:dragstart=move |event| {
                    if let Some(transfer) = event.data_transfer() {
                        // Without data the drag means nothing, and nothing comes of it.
                        _ = transfer.set_data(PICTURE, &format!("{at} {letter}"));
                    }
                }
                on:keydown=pressed
                on:click=move |_| choose()
            >
                {move || match address.get() {
                    Some(address) => {
                        view! { <img src=address alt="" draggable="false" decoding="async" /> }.into_any()
                    }
                    None => view! { <span aria-hidden="true">"–"</span> }.into_any(),
                }}
            </button>
        </td>
    }
}

fn read_place(text: &str) -> Option<(usize, Slot)> {
    let (at, letter) = text.split_once(' ')?;
    let slot = Slot::ALL.into_iter().find(|slot| slot.letter() == letter)?;
    Some((at.parse().ok()?, slot))
}
