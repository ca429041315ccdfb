//! The two wells, what differs between their pictures, and what is suspicious about them.

mod examples;
mod warnings;
mod well;

use leptos::prelude::*;
use mimeo_workbench::workbench::{PairsCommand, Where};
use mimeo_workbench::{Command, Slot, words};

use crate::bench::Bench;
use crate::widget::number::Range;

pub use examples::{first as first_example, load as load_example};

#[component]
pub fn PairPanel() -> impl IntoView {
    let bench = expect_context::<Bench>();
    let changed = move || {
        bench.with_pictures(|bench| {
            let frame = bench.frame()?;
            match &frame.difference {
                Some(Err(error)) => Some(error.to_string()),
                _ => frame
                    .changed_share()
                    .map(|share| format!("{} of the picture changes", words::percent(share))),
            }
        })
    };
    let of_set = move || {
        bench.with_set(|bench| {
            let set = bench.set();
            let (number, all) = (set.chosen() + 1, set.pairs().len());
            set.has_several().then(|| format!("{number} of {all}"))
        })
    };
    let can_add = Memo::new(move |_| {
        bench.with_set(|bench| bench.frame().is_some() && !bench.set().has_several())
    });
    view! {
        <section class="pair" aria-labelledby="pair-heading">
            <div class="row">
                <h2 id="pair-heading">"Pair"</h2>
                <span class="soft">{of_set}</span>
            </div>
            <well::Well which=Slot::Original />
            <div class="row between">
                <button
                    class="quiet"
                    title="Swap A and B (X)"
                    on:click=move |_| _ = bench.apply(Command::Swap)
                >
                    "⇅ Swap"
                </button>
                <button class="quiet" on:click=move |_| _ = bench.apply(Command::NewPair)>
                    "Start over"
                </button>
                <Show when=move || can_add.get()>
                    <button
                        class="quiet"
                        title="Or drop a folder of pairs"
                        on:click=move |_| _ = bench.apply(Command::Pairs(PairsCommand::AddEmpty))
                    >
                        "Add a pair"
                    </button>
                </Show>
            </div>
            <well::Well which=Slot::Target />
            <Crop />
            <p class="changed" aria-live="polite">{changed}</p>
            {move || {
                let refusal = bench.refusal_at(|place| place == Where::Pair);
                refusal.map(|sentence| view! { <p class="refusal" role="alert">{sentence}</p> })
            }}
            <warnings::Warnings />
            <examples::Examples />
            <super::make::MakePair />
        </section>
    }
}

/// Moves the crop that A, B and mask share, where something is cut away.
#[component]
fn Crop() -> impl IntoView {
    let bench = expect_context::<Bench>();
    // Which way the crop can move: it is as large as the picture the other way.
    let spare = Memo::new(move |_| {
        bench.with_pictures(|bench| {
            let pictures = &bench.pair().pictures;
            let ways = Slot::ALL.map(|slot| {
                let (crop, picture) = (pictures.crop_of(slot)?, pictures.get(slot)?);
                let (width, height) = (picture.pixels.width(), picture.pixels.height());
                Some((crop.width < width, crop.height < height))
            });
            let ways = ways.into_iter().flatten();
            ways.fold((false, false), |all, way| (all.0 || way.0, all.1 || way.1))
        })
    });
    let offset = move || bench.with_pictures(|bench| bench.pair().pictures.offset);
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    view! {
        <Show when=move || spare.get().0>
            <Range
                label="Crop, across"
                span=(0.0, 1.0, 0.01)
                value=Signal::derive(move || offset().0)
                text=Signal::derive(move || percent(offset().0))
                change=Callback::new(move |x| {
                    let y = offset().1;
                    bench.apply(Command::MoveCrop { x, y });
                })
            />
        </Show>
        <Show when=move || spare.get().1>
            <Range
                label="Crop, down"
                span=(0.0, 1.0, 0.01)
                value=Signal::derive(move || offset().1)
                text=Signal::derive(move || percent(offset().1))
                change=Callback::new(move |y| {
                    let x = offset().0;
                    bench.apply(Command::MoveCrop { x, y });
                })
            />
        </Show>
    }
}
