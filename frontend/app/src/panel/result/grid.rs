//! The table of pictures, prompts × strengths.

use leptos::prelude::*;
use mimeo_protocol::Strength;
use mimeo_workbench::grid::{Cell, Grid, Position};
use mimeo_workbench::words;

use super::desk::Desk;
use super::sheet;
use crate::page::Page;
use crate::panel::playground::seed::Seed;
use crate::panel::prompt_notes::PromptNotes;

#[component]
pub fn GridPanel(desk: Desk) -> impl IntoView {
    view! {
        <details class="fold grid-panel">
            <summary>"Prompts × strengths"</summary>
            <Fields desk />
            <Progress desk />
            <Table desk />
        </details>
    }
}

#[component]
fn Fields(desk: Desk) -> impl IntoView {
    let refusal = RwSignal::new(None::<String>);
    let seed = RwSignal::new(desk.dial.with_untracked(|dial| dial.wish().seed));
    let draw = move |_| {
        let (prompts, strengths) = (desk.prompts.get_untracked(), desk.strengths.get_untracked());
        let grid = Grid::new(&prompts, &strengths, seed.get_untracked());
        refusal.set(grid.as_ref().err().cloned());
        if let Ok(grid) = grid {
            desk.grid.set(Some(grid));
            desk.draw_grid();
        }
    };
    view! {
        <label class="stacked">
            "Prompts, one on each line"
            <textarea
                rows="5"
                prop:value=move || desk.prompts.get()
                on:input=move |event| desk.prompts.set(event_target_value(&event))
            ></textarea>
        </label>
        <PromptNotes prompt=desk.prompts syntax=Signal::derive(move || desk.prompt_syntax()) />
        <div class="row">
            <label class="stacked grow">
                "Strengths, with commas"
                <input
                    type="text"
                    prop:value=move || desk.strengths.get()
                    on:input=move |event| desk.strengths.set(event_target_value(&event))
                />
            </label>
            <Seed
                value=Signal::from(seed)
                change=Callback::new(move |number| seed.set(number))
                button="Another"
                other=|number| number.wrapping_add(1)
            />
            <button on:click=draw>"Draw the grid"</button>
        </div>
        {move || refusal.get().map(|why| view! { <p class="refusal" role="alert">{why}</p> })}
    }
}

/// How far it is, and what can be done about it.
#[component]
fn Progress(desk: Desk) -> impl IntoView {
    let of = move |look: fn(&Grid) -> String| {
        Memo::new(move |_| {
            desk.grid
                .with(|grid| grid.as_ref().map(look).unwrap_or_default())
        })
    };
    let is = move |look: fn(&Grid) -> bool| {
        Memo::new(move |_| desk.grid.with(|grid| grid.as_ref().is_some_and(look)))
    };
    let (progress, trouble) = (
        of(Grid::progress),
        of(|grid| grid.trouble().unwrap_or_default().to_owned()),
    );
    let (is_there, is_drawing, is_full) = (is(|_| true), is(Grid::is_drawing), is(Grid::is_full));
    let count = of(|grid| grid.total().to_string());
    let drawn = of(|grid| grid.drawn().to_string());
    let stop = move |_| {
        desk.grid
            .update(|grid| grid.iter_mut().for_each(Grid::stop))
    };
    let go_on = move |_| {
        desk.grid
            .update(|grid| grid.iter_mut().for_each(Grid::go_on));
        desk.draw_grid();
    };
    let said = move || match is_full.get() {
        true => format!("All {} pictures are drawn", count.get()),
        false => String::new(),
    };
    view! {
        <Show when=move || is_there.get()>
            <div class="row">
                <progress
                    aria-label="Pictures drawn"
                    max=move || count.get()
                    prop:value=move || drawn.get()
                ></progress>
                <span>{move || progress.get()}</span>
                <Show when=move || is_drawing.get()>
                    <button on:click=stop>"Stop"</button>
                </Show>
                <Show when=move || !is_drawing.get() && !is_full.get()>
                    <button on:click=go_on>"Go on"</button>
                </Show>
                <Show when=move || is_full.get()>
                    <SaveSheet desk />
                </Show>
            </div>
            <Show when=move || !trouble.with(String::is_empty)>
                <p class="refusal" role="alert">{move || trouble.get()}</p>
            </Show>
        </Show>
        <p class="hidden" role="status">{said}</p>
    }
}

#[component]
fn SaveSheet(desk: Desk) -> impl IntoView {
    let (is_busy, refusal) = (RwSignal::new(false), RwSignal::new(None::<String>));
    let save = move |_| {
        let Some(grid) = desk
            .grid
            .get_untracked()
            .filter(|_| !is_busy.get_untracked())
        else {
            return;
        };
        is_busy.set(true);
        let (link, name) = (desk.link, desk.name());
        leptos::task::spawn_local(async move {
            let saved = sheet::save(link, &name, &grid).await;
            // The panel may be gone by then.
            _ = is_busy.try_set(false);
            _ = refusal.try_set(saved.err());
        });
    };
    view! {
        <button aria-busy=move || is_busy.get().to_string() on:click=save>
            {move || if is_busy.get() { "Saving…" } else { "Save as picture" }}
        </button>
        {move || refusal.get().map(|why| view! { <p class="refusal" role="alert">{why}</p> })}
    }
}

#[component]
fn Table(desk: Desk) -> impl IntoView {
    // Drawn anew for another table only, and not with every picture.
    let heads = Memo::new(move |_| {
        desk.grid.with(|grid| {
            let grid = grid.as_ref()?;
            Some((grid.prompts().to_vec(), grid.strengths().to_vec()))
        })
    });
    move || {
        let (prompts, strengths) = heads.get()?;
        let columns = strengths.iter().map(|strength| {
            let label = words::strength(strength.get());
            view! { <th scope="col">{label}</th> }
        });
        let columns = columns.collect_view();
        let rows = prompts.into_iter().enumerate().map(|(row, prompt)| {
            let cells = strengths.iter().enumerate().map(|(column, strength)| {
                let (place, prompt) = (Position { row, column }, prompt.clone());
                view! { <td><Picture desk place prompt strength=*strength /></td> }
            });
            let cells = cells.collect_view();
            view! { <tr><th scope="row">{prompt.clone()}</th>{cells}</tr> }
        });
        Some(view! {
            <div class="grid-scroll" role="region" tabindex="0" aria-label="Table of pictures">
                <table>
                    <caption>"What each prompt becomes at each strength"</caption>
                    <thead><tr><td></td>{columns}</tr></thead>
                    <tbody>{rows.collect_view()}</tbody>
                </table>
            </div>
        })
    }
}

/// One picture of the table; a click shows it on the stage.
#[component]
fn Picture(desk: Desk, place: Position, prompt: String, strength: Strength) -> impl IntoView {
    let page = expect_context::<Page>();
    let cell = Memo::new(move |_| desk.grid.with(|grid| grid.as_ref()?.cell(place)));
    let is_asked = Memo::new(move |_| {
        desk.grid
            .with(|grid| grid.as_ref().is_some_and(|grid| grid.is_asked(place)))
    });
    let alt = format!("{prompt}, strength {}", words::strength(strength.get()));
    move || match cell.get() {
        Some(Cell::Drawn(picture)) => {
            let src = move || desk.link.blob_url(picture);
            let alt = alt.clone();
            view! {
                <button
                    class="picture"
                    title="Show on the stage"
                    on:click=move |_| page.on_stage.set(Some(picture))
                >
                    <img src=src alt=alt />
                </button>
            }
            .into_any()
        }
        Some(Cell::Failed) if !is_asked.get() => {
            view! { <span class="soft">"Failed"</span> }.into_any()
        }
        _ if is_asked.get() => {
            view! { <span class="soft" aria-busy="true">"Drawing…"</span> }.into_any()
        }
        _ => view! { <span class="soft">"Waits"</span> }.into_any(),
    }
}
