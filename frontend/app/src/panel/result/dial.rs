//! The strength dial, and what is drawn at every strength.

use leptos::prelude::*;
use mimeo_workbench::dial::{Notch, Wish};
use mimeo_workbench::words;

use super::desk::Desk;
use crate::panel::playground::seed::Seed;
use crate::panel::prompt_notes::PromptNotes;
use crate::widget::number::Range;

#[component]
pub fn StrengthDial(desk: Desk) -> impl IntoView {
    let dial = desk.dial;
    let at = move || dial.with(|dial| dial.at().strength().get());
    let is_waiting = Memo::new(move |_| dial.with(|dial| dial.is_waiting()));
    let turn = move |strength| {
        dial.update(|dial| dial.turn(Notch::nearest(strength)));
        desk.rest_soon();
    };
    let is_exact = Memo::new(move |_| {
        dial.with(|dial| dial.shown().is_some_and(|shown| shown.at == dial.at()))
    });
    let shown = move || {
        let shown = dial.with(|dial| dial.shown())?;
        Some(words::strength(shown.at.strength().get()))
    };
    let says = move || match (is_exact.get(), shown()) {
        (true, Some(exact)) => format!("Shown is {exact}"),
        (false, Some(closest)) => format!("Shown is {closest}, the closest so far"),
        (_, None) if is_waiting.get() => "The first picture is being drawn".to_owned(),
        (_, None) => String::new(),
    };
    let drawn = Memo::new(move |_| match shown() {
        Some(exact) if is_exact.get() => format!("Drawn at strength {exact}"),
        _ => String::new(),
    });
    view! {
        <section class="dial" aria-label="Strength dial" aria-busy=move || is_waiting.get().to_string()>
            <Range
                label="Strength"
                span=(-2.0, 2.0, 0.05)
                value=Signal::derive(at)
                text=Signal::derive(move || words::strength(at()))
                change=Callback::new(turn)
            />
            <p class="soft">{says}</p>
            <p class="hidden" role="status">{move || drawn.get()}</p>
            <Trouble desk />
            <WishFields desk />
        </section>
    }
}

#[component]
fn Trouble(desk: Desk) -> impl IntoView {
    let dial = desk.dial;
    let trouble = Memo::new(move |_| dial.with(|dial| dial.trouble().map(str::to_owned)));
    move || {
        trouble.get().map(|why| {
            view! {
                <p class="refusal" role="alert">
                    {why} " " <button on:click=move |_| desk.rest()>"Try again"</button>
                </p>
            }
        })
    }
}

/// Another prompt or seed draws all strengths anew.
#[component]
fn WishFields(desk: Desk) -> impl IntoView {
    let dial = desk.dial;
    let set = move |wish| {
        if dial.with_untracked(|dial| *dial.wish() != wish) {
            dial.update(|dial| dial.set_wish(wish));
            desk.draw_dial();
        }
    };
    let wish = move || dial.with_untracked(|dial| dial.wish().clone());
    view! {
        <div class="row">
            <label class="stacked grow">
                "Prompt"
                <input
                    type="text"
                    prop:value=move || dial.with(|dial| dial.wish().prompt.clone())
                    on:change=move |event| {
                        let prompt = event_target_value(&event);
                        set(Wish { prompt, ..wish() });
                    }
                />
            </label>
            <Seed
                value=Signal::derive(move || dial.with(|dial| dial.wish().seed))
                change=Callback::new(move |seed| set(Wish { seed, ..wish() }))
                button="Another"
                other=|seed| seed.wrapping_add(1)
            />
        </div>
        <PromptNotes
            prompt=Signal::derive(move || dial.with(|dial| dial.wish().prompt.clone()))
            syntax=Signal::derive(move || desk.prompt_syntax())
        />
    }
}
