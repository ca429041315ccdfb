//! What is suspicious about a pair, each with its remedy.

use std::time::Duration;

use leptos::prelude::*;
use mimeo_image::PairWarning;
use mimeo_workbench::Command;
use mimeo_workbench::workbench::Remedy;

use crate::bench::Bench;

/// Looking for an alignment takes a moment, so the pictures are drawn first.
const AFTER_PAINT: Duration = Duration::from_millis(60);

#[component]
pub fn Warnings() -> impl IntoView {
    let bench = expect_context::<Bench>();
    let warnings = RwSignal::new(Vec::<PairWarning>::new());
    Effect::new(move |_| {
        let frame = bench.with_pictures(|bench| bench.pair().pictures.frame.clone());
        warnings.set(Vec::new());
        let Some(frame) = frame else {
            return;
        };
        set_timeout(
            move || {
                let is_current = bench.with(|bench| {
                    let current = bench.pair().pictures.frame.as_ref();
                    current.is_some_and(|current| std::sync::Arc::ptr_eq(current, &frame))
                });
                if is_current {
                    warnings.set(frame.warnings().to_vec());
                }
            },
            AFTER_PAINT,
        );
    });
    let dismiss = move |at: usize| warnings.update(|warnings| _ = warnings.remove(at));
    view! {
        <ul class="warnings" aria-live="polite">
            {move || {
                warnings
                    .get()
                    .into_iter()
                    .enumerate()
                    .map(|(at, warning)| {
                        let remedy = remedy(&warning);
                        view! {
                            <li class="note">
                                <p>{warning.to_string()}</p>
                                <div class="row">
                                    {remedy
                                        .map(|(label, remedy)| {
                                            view! {
                                                <button on:click=move |_| _ = bench.apply(Command::Remedy(remedy))>
                                                    {label}
                                                </button>
                                            }
                                        })}
                                    <button class="quiet" on:click=move |_| dismiss(at)>"Leave it"</button>
                                </div>
                            </li>
                        }
                    })
                    .collect_view()
            }}
        </ul>
    }
}

/// What a click does about a warning; none where only another picture helps.
fn remedy(warning: &PairWarning) -> Option<(&'static str, Remedy)> {
    match warning {
        PairWarning::Unaligned { alignment } => Some(("Align B to A", Remedy::Align(*alignment))),
        PairWarning::BrightnessShift { .. } => Some(("Match colours", Remedy::MatchColour)),
        PairWarning::Noise { .. } => Some(("Take A outside the change", Remedy::Composite)),
        PairWarning::MostlyChanged { .. } => None,
    }
}
