//! One pair of the table, with what is said of it.

use leptos::prelude::*;
use mimeo_workbench::workbench::{Pair, PairsCommand};
use mimeo_workbench::{Command, Slot, words};

use super::cell::Cell;
use crate::bench::Bench;

/// What a row shows beside its pictures.
#[derive(Clone, PartialEq, Default)]
struct Shown {
    is_on_stage: bool,
    caption: String,
    weight: String,
    level: String,
    /// How much is masked, in words.
    mask: String,
    /// What is wrong or suspicious, a sentence each.
    warnings: Vec<String>,
}

impl Shown {
    fn of(pair: &Pair, is_on_stage: bool) -> Self {
        let frame = pair.frame();
        let suspicious = frame.and_then(|frame| frame.known_warnings());
        let suspicious = suspicious.unwrap_or_default().iter();
        let identical = frame.and_then(|frame| frame.difference.as_ref()?.as_ref().err());
        let warnings = pair
            .note
            .clone()
            .into_iter()
            .chain(identical.map(ToString::to_string))
            .chain(suspicious.map(ToString::to_string));
        Self {
            is_on_stage,
            caption: pair.caption.clone(),
            weight: pair.weight.get().to_string(),
            level: pair.level.get().to_string(),
            mask: pair
                .masked_share()
                .map_or_else(|| "–".to_owned(), words::percent),
            warnings: warnings.collect(),
        }
    }
}

#[component]
pub fn Row(
    /// Which pair, from 0.
    at: usize,
    /// Changes when one more pair was looked at.
    looked: ReadSignal<u32>,
) -> impl IntoView {
    let bench = expect_context::<Bench>();
    let number = at + 1;
    let is_open = RwSignal::new(false);
    let shown = Memo::new(move |_| {
        looked.track();
        bench.with_all(|bench| {
            let set = bench.set();
            let pair = set.pairs().get(at);
            pair.map_or_else(Shown::default, |pair| Shown::of(pair, set.chosen() == at))
        })
    });
    let apply = move |command| _ = bench.apply(Command::Pairs(command));
    let warnings = Memo::new(move |_| shown.with(|shown| shown.warnings.clone()));
    let has_warnings = Memo::new(move |_| warnings.with(|warnings| !warnings.is_empty()));
    view! {
        <tr
            class:chosen=move || shown.with(|shown| shown.is_on_stage)
            aria-current=move || shown.with(|shown| shown.is_on_stage.then_some("true"))
        >
            <th scope="row">
                {number}
                <Show when=move || has_warnings.get()>
                    <span class="set-warned" title=move || warnings.get().join(" ")>
                        <span aria-hidden="true">"⚠"</span>
                        <span class="hidden">" has warnings, told under More"</span>
                    </span>
                </Show>
            </th>
            <Cell at which=Slot::Original />
            <Cell at which=Slot::Target />
            <td class="set-mask">{move || shown.with(|shown| shown.mask.clone())}</td>
            <td class="set-caption">
                <textarea
                    rows="2"
                    aria-label=format!("Caption of pair {number}")
                    prop:value=move || shown.with(|shown| shown.caption.clone())
                    on:change=move |event| apply(PairsCommand::Caption(at, event_target_value(&event)))
                ></textarea>
            </td>
            <td>
                <button
                    class="quiet"
                    aria-label=format!("More of pair {number}")
                    aria-expanded=move || is_open.get().to_string()
                    on:click=move |_| is_open.update(|open| *open = !*open)
                >
                    "⋯"
                </button>
            </td>
        </tr>
        <Show when=move || is_open.get()>
            <tr class="set-more">
                <td colspan="6">
                    <ul class="told">
                        {move || {
                            let warnings = warnings.get().into_iter();
                            warnings.map(|says| view! { <li>{says}</li> }).collect_view()
                        }}
                    </ul>
                    <div class="row" role="group" aria-label=format!("More of pair {number}")>
                        <Typed
                            label="Weight"
                            text=Signal::derive(move || shown.with(|shown| shown.weight.clone()))
                            set=Callback::new(move |typed| apply(PairsCommand::WeightTyped(at, typed)))
                        />
                        <Typed
                            label="Level"
                            text=Signal::derive(move || shown.with(|shown| shown.level.clone()))
                            set=Callback::new(move |typed| apply(PairsCommand::LevelTyped(at, typed)))
                        />
                        <Moves at />
                    </div>
                </td>
            </tr>
        </Show>
    }
}

/// Where the pictures of a pair can go, for who neither drags nor has an Alt key.
#[component]
fn Moves(at: usize) -> impl IntoView {
    let bench = expect_context::<Bench>();
    let apply = move |command| _ = bench.apply(Command::Pairs(command));
    let step = move |slot: Slot, is_up: bool| {
        let to = if is_up {
            at.checked_sub(1)
        } else {
            Some(at + 1)
        };
        to.map(|to| {
            let arrow = if is_up { "↑" } else { "↓" };
            let label = format!("{} {arrow}", slot.letter());
            let says = if is_up { "above" } else { "below" };
            let says = format!("Move {} to the pair {says}", slot.letter());
            let command = PairsCommand::Move {
                from: (at, slot),
                to: (to, slot),
            };
            view! {
                <button aria-label=says.clone() title=says on:click=move |_| apply(command.clone())>
                    {label}
                </button>
            }
        })
    };
    view! {
        {Slot::ALL.map(|slot| [true, false].map(|is_up| step(slot, is_up)).collect_view()).collect_view()}
        <button on:click=move |_| {
            let command = PairsCommand::Move {
                from: (at, Slot::Original),
                to: (at, Slot::Target),
            };
            apply(command);
        }>"⇄ Swap"</button>
        <button on:click=move |_| apply(PairsCommand::Remove(at))>"Remove pair"</button>
    }
}

/// A number that is typed.
#[component]
fn Typed(label: &'static str, text: Signal<String>, set: Callback<String>) -> impl IntoView {
    view! {
        <label class="short">
            {label}
            <input
                type="text"
                inputmode="decimal"
                autocomplete="off"
                prop:value=move || text.get()
                on:change=move |event| set.run(event_target_value(&event))
            />
        </label>
    }
}
