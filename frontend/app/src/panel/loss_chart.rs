//! The losses of the run that is shown.

use leptos::html::Div;
use leptos::prelude::*;
use mimeo_workbench::Run;
use mimeo_workbench::chart::{
    Chart, Dot, Lane, PlacedPin, Reading, Scale, Size, loss_text, samples,
};
use mimeo_workbench::words;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::{Element, KeyboardEvent, PointerEvent, ResizeObserver};

use crate::storage;

/// Under this name the browser remembers the scale.
const SCALE: &str = "loss-scale";
/// CSS px.
const HEIGHT: f64 = 180.0;
/// Until the page knows better, CSS px.
const WIDTH: f64 = 480.0;
/// Rows of the table.
const ROWS: usize = 20;

#[component]
pub fn LossChart(#[prop(into)] run: Signal<Run>) -> impl IntoView {
    let remembered = storage::choice(SCALE).is_some_and(|scale| scale == "log");
    let scale = RwSignal::new(if remembered {
        Scale::Log
    } else {
        Scale::Linear
    });
    let is_log = move || scale.get() == Scale::Log;
    let switch = move |_| {
        let is_log = !untrack(is_log);
        scale.set(if is_log { Scale::Log } else { Scale::Linear });
        storage::keep_choice(SCALE, if is_log { "log" } else { "linear" });
    };
    let has_points = Memo::new(move |_| run.with(|run| !run.curves().is_empty()));
    let is_over = Memo::new(move |_| run.with(|run| run.state().is_over()));
    view! {
        <section class="loss" aria-label="Loss">
            <div class="loss-head">
                <h3>"Loss"</h3>
                <p class="hint">"Loss is noisy here; trust the previews"</p>
                <button aria-pressed=move || is_log().to_string() on:click=switch>
                    "Log scale"
                </button>
            </div>
            <Show
                when=move || has_points.get()
                fallback=move || {
                    let text = if is_over.get() {
                        "No step was done"
                    } else {
                        "The curve begins with the first step"
                    };
                    view! { <p class="soft">{text}</p> }
                }
            >
                <Plot run scale />
                <LeakKey run />
                <Table run />
            </Show>
        </section>
    }
}

/// The drawing, and the cursor that reads it.
#[component]
fn Plot(run: Signal<Run>, scale: RwSignal<Scale>) -> impl IntoView {
    let area = NodeRef::<Div>::new();
    let width = width_of(area);
    let chart = Memo::new(move |_| {
        let size = Size {
            width: width.get(),
            height: HEIGHT,
        };
        run.with(|run| Chart::of(run, size, scale.get()))
    });
    // Number of the step that is read; none: the last one.
    let cursor = RwSignal::new(None::<usize>);
    let last = Memo::new(move |_| run.with(|run| count(run).saturating_sub(1)));
    let reading = Memo::new(move |_| {
        let at = cursor.get().unwrap_or(usize::MAX).min(last.get());
        chart.with(|chart| run.with(|run| chart.reading(run.curves(), at)))
    });
    let hover = move |event: PointerEvent| {
        let x = f64::from(event.offset_x());
        cursor.set(chart.with(|chart| run.with(|run| chart.nearest(run.curves(), x))));
    };
    let read_by_key = move |event: KeyboardEvent| {
        let (now, end) = (cursor.get_untracked(), last.get_untracked());
        let now = now.unwrap_or(end).min(end);
        let moved = match event.key().as_str() {
            "ArrowLeft" | "ArrowDown" => now.saturating_sub(1),
            "ArrowRight" | "ArrowUp" => (now + 1).min(end),
            "PageDown" => now.saturating_sub(10),
            "PageUp" => (now + 10).min(end),
            "Home" => 0,
            "End" => end,
            "Escape" => {
                cursor.set(None);
                return;
            }
            _ => return,
        };
        event.prevent_default();
        event.stop_propagation();
        cursor.set(Some(moved));
    };
    let text = move || {
        let reading = reading.get()?;
        let pinned = chart.with(|chart| pinned(chart, &reading));
        let leaked = run.with(|run| leaked(run, &reading));
        Some(reading_text(&reading) + pinned + &leaked.unwrap_or_default())
    };
    view! {
        <div
            class="loss-area"
            node_ref=area
            role="slider"
            tabindex="0"
            aria-label="Step of the loss chart"
            aria-valuemin="1"
            aria-valuemax=move || (last.get() + 1).to_string()
            aria-valuenow=move || (cursor.get().unwrap_or(usize::MAX).min(last.get()) + 1).to_string()
            aria-valuetext=text
            on:keydown=read_by_key
            on:pointermove=hover
            on:pointerdown=hover
            on:pointerleave=move |_| cursor.set(None)
        >
            <Drawing chart reading=Signal::derive(move || reading.get().filter(|_| cursor.get().is_some())) />
        </div>
        <p class="loss-reading" aria-hidden="true">
            {text}
            {move || {
                let clipped = chart.with(|chart| chart.clipped);
                (clipped > 0).then(|| format!(" · {clipped} beyond the chart"))
            }}
        </p>
    }
}

/// "Training, step 12: 0.0123, mean 0.0145".
fn reading_text(reading: &Reading) -> String {
    let (phase, point) = (words::phase(reading.phase), &reading.point);
    let (loss, mean) = (loss_text(point.loss), loss_text(point.ema));
    format!("{phase}, step {}: {loss}, mean {mean}", point.step)
}

/// What was made at the step that is read.
fn pinned(chart: &Chart, reading: &Reading) -> &'static str {
    let here = chart
        .pins
        .iter()
        .map(|placed| placed.pin)
        .find(|pin| pin.column.phase == reading.phase && pin.column.step == reading.point.step);
    match here.map(|pin| (pin.has_preview, pin.has_file)) {
        Some((true, true)) => ", previews and saved",
        Some((true, false)) => ", previews",
        Some((false, _)) => ", saved",
        None => "",
    }
}

/// What the leak meter told last, at the step that is read.
fn leaked(run: &Run, reading: &Reading) -> Option<String> {
    if reading.phase != mimeo_protocol::Phase::Training {
        return None;
    }
    let mut before = run.leaks().iter().rev();
    let point = before.find(|point| point.step <= reading.point.step)?;
    let percent = |share: f32| words::percent(share.into());
    Some(format!(
        " · other pictures have {} of the change and {} of another",
        percent(point.intended),
        percent(point.unintended)
    ))
}

fn count(run: &Run) -> usize {
    run.curves().iter().map(|curve| curve.points().len()).sum()
}

#[component]
fn Drawing(chart: Memo<Chart>, reading: Signal<Option<Reading>>) -> impl IntoView {
    let edges =
        move || chart.with(|chart| (chart.left(), chart.right(), chart.top(), chart.bottom()));
    let grid = move || {
        let (left, right, ..) = edges();
        let ticks = chart.with(|chart| chart.ticks.clone()).into_iter();
        ticks
            .map(|tick| {
                view! {
                    <line class="grid-line" x1=left x2=right y1=tick.at y2=tick.at />
                    <text class="tick" text-anchor="end" x=left - 6.0 y=tick.at + 4.0>
                        {tick.label}
                    </text>
                }
            })
            .collect_view()
    };
    let lanes = move || {
        let (_, _, top, bottom) = edges();
        let lanes = chart.with(|chart| chart.lanes.clone()).into_iter();
        lanes
            .map(|lane| view! { <LaneDrawing lane top bottom /> })
            .collect_view()
    };
    let pins = move || {
        let (_, _, top, bottom) = edges();
        let pins = chart.with(|chart| chart.pins.clone()).into_iter();
        pins.map(|pin| view! { <PinDrawing pin top bottom /> })
            .collect_view()
    };
    let cursor = move || {
        let (_, _, top, bottom) = edges();
        reading.get().map(
            |Reading {
                 at: Dot { x, y }, ..
             }| {
                view! {
                    <line class="cursor-line" x1=x x2=x y1=top y2=bottom />
                    <circle class="cursor-dot" cx=x cy=y r="4" />
                }
            },
        )
    };
    view! {
        <svg
            class="loss-drawing"
            aria-hidden="true"
            focusable="false"
            width="100%"
            height=HEIGHT
            viewBox=move || chart.with(|chart| format!("0 0 {} {}", chart.size.width, chart.size.height))
        >
            {grid}
            {lanes}
            {pins}
            {cursor}
        </svg>
    }
}

#[component]
fn LaneDrawing(lane: Lane, top: f64, bottom: f64) -> impl IntoView {
    let ticks = lane.ticks.iter().map(|tick| {
        let label = tick.label.clone();
        view! {
            <text class="tick" text-anchor="middle" x=tick.at y=bottom + 14.0>
                {label}
            </text>
        }
    });
    let class = match lane.phase {
        mimeo_protocol::Phase::Copier => "lane lane-copier",
        _ => "lane",
    };
    view! {
        <g class=class>
            <line class="foot" x1=lane.left x2=lane.right y1=bottom y2=bottom />
            <text class="lane-name" x=lane.left y=top - 6.0>
                {words::phase(lane.phase)}
            </text>
            {ticks.collect_view()}
            <path class="raw" d=dots_path(&lane.dots) />
            <path class="mean" d=line_path(&lane.line) />
            <path class="intended" d=line_path(&lane.intended) />
            <path class="unintended" d=line_path(&lane.unintended) />
        </g>
    }
}

/// What the lines of the leak meter are, and the same as numbers.
#[component]
fn LeakKey(run: Signal<Run>) -> impl IntoView {
    let leaks = Memo::new(move |_| run.with(|run| run.leaks().to_vec()));
    let rows = move || {
        let points = leaks.get().into_iter();
        points
            .map(|point| {
                view! {
                    <tr>
                        <td>{point.step}</td>
                        <td>{words::percent(point.intended.into())}</td>
                        <td>{words::percent(point.unintended.into())}</td>
                    </tr>
                }
            })
            .collect_view()
    };
    view! {
        <Show when=move || !leaks.with(Vec::is_empty)>
            <p class="leak-key hint">
                <svg width="24" height="8" aria-hidden="true"><path class="intended" d="M0 4h24" /></svg>
                " the change in pictures that it is not trained on (top: all of it) "
                <svg width="24" height="8" aria-hidden="true"><path class="unintended" d="M0 4h24" /></svg>
                " other change in them"
            </p>
            <details class="loss-table">
                <summary>"Leak meter as a table"</summary>
                <table>
                    <thead>
                        <tr>
                            <th scope="col">"Step"</th>
                            <th scope="col">"The change"</th>
                            <th scope="col">"Other change"</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </details>
        </Show>
    }
}

/// A diamond for previews, a square for saves; both for both.
#[component]
fn PinDrawing(pin: PlacedPin, top: f64, bottom: f64) -> impl IntoView {
    let x = pin.x;
    view! {
        <g class="pin">
            <line class="pin-line" x1=x x2=x y1=top y2=bottom />
            {pin
                .pin
                .has_file
                .then(|| view! { <rect class="pin-file" x=x - 3.0 y=bottom - 3.0 width="6" height="6" /> })}
            {pin
                .pin
                .has_preview
                .then(|| {
                    view! { <path class="pin-preview" d=format!("M{x} {} l5 5 l-5 5 l-5 -5 z", top - 5.0) /> }
                })}
        </g>
    }
}

/// Every dot is a line of no length with round ends: one element for all of them.
fn dots_path(dots: &[Dot]) -> String {
    dots.iter()
        .map(|Dot { x, y }| format!("M{x:.1} {y:.1}h0"))
        .collect()
}

fn line_path(dots: &[Dot]) -> String {
    let letters = std::iter::once('M').chain(std::iter::repeat('L'));
    letters
        .zip(dots)
        .map(|(letter, Dot { x, y })| format!("{letter}{x:.1} {y:.1}"))
        .collect()
}

/// The same as numbers, made when it is opened.
#[component]
fn Table(run: Signal<Run>) -> impl IntoView {
    let is_open = RwSignal::new(false);
    let rows = Memo::new(move |_| {
        if is_open.get() {
            run.with(|run| samples(run.curves(), ROWS))
        } else {
            Vec::new()
        }
    });
    let toggled = move |event: web_sys::Event| {
        let details = event
            .current_target()
            .and_then(|details| details.dyn_into::<Element>().ok());
        is_open.set(details.is_some_and(|details| details.has_attribute("open")));
    };
    view! {
        <details class="loss-table" on:toggle=toggled>
            <summary>"Losses as a table"</summary>
            <table>
                <thead>
                    <tr>
                        <th scope="col">"Phase"</th>
                        <th scope="col">"Step"</th>
                        <th scope="col">"Loss"</th>
                        <th scope="col">"Mean"</th>
                    </tr>
                </thead>
                <tbody>
                    {move || {
                        rows.get()
                            .into_iter()
                            .map(|(phase, point)| {
                                view! {
                                    <tr>
                                        <td>{words::phase(phase)}</td>
                                        <td>{point.step}</td>
                                        <td>{loss_text(point.loss)}</td>
                                        <td>{loss_text(point.ema)}</td>
                                    </tr>
                                }
                            })
                            .collect_view()
                    }}
                </tbody>
            </table>
        </details>
    }
}

/// How wide an element is, in CSS px, whenever that changes.
fn width_of(area: NodeRef<Div>) -> RwSignal<f64> {
    let width = RwSignal::new(WIDTH);
    let observed = StoredValue::new_local(None::<(ResizeObserver, Closure<dyn FnMut()>)>);
    Effect::new(move |_| {
        let Some(element) = area.get() else { return };
        let measure = {
            let element = element.clone();
            move || {
                let now = f64::from(element.client_width());
                if now > 0.0 && width.try_get_untracked().is_some_and(|known| known != now) {
                    width.set(now);
                }
            }
        };
        measure();
        let measure = Closure::<dyn FnMut()>::new(measure);
        let function: &JsValue = measure.as_ref();
        if let Ok(observer) = ResizeObserver::new(function.unchecked_ref()) {
            observer.observe(&element);
            observed.set_value(Some((observer, measure)));
        }
    });
    on_cleanup(move || {
        // Before the closure goes, or the observer would call into nothing.
        observed.try_update_value(|observed| {
            if let Some((observer, _)) = observed.take() {
                observer.disconnect();
            }
        });
    });
    width
}
