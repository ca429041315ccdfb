//! The run that is shown: where it is, how far, and what can be done about it.

use leptos::html;
use leptos::prelude::*;
use mimeo_protocol::{JobControl, JobId, JobState, Phase};
use mimeo_workbench::Run;
use mimeo_workbench::runs::{PhaseProgress, PhaseStatus};
use mimeo_workbench::words;
use web_sys::FocusEvent;

use super::recipe::from_disk;
use crate::bench::Bench;
use crate::link::Link;
use crate::page::Page;
use crate::widget::question::open_while_asked;

#[component]
pub fn RunBar(#[prop(into)] run: Signal<Run>) -> impl IntoView {
    let name = Memo::new(move |_| run.with(|run| run.job().name.to_string()));
    let headline = Memo::new(move |_| run.with(Run::headline));
    let announcement = Memo::new(move |_| run.with(Run::announcement));
    let remarks = Memo::new(move |_| run.with(Run::remarks));
    let title = NodeRef::<html::H2>::new();
    view! {
        <section class="run-bar" aria-label="Run">
            <div class="run-head">
                <h2 class="run-name" tabindex="-1" node_ref=title>
                    {name}
                </h2>
                <p class="run-headline">{headline}</p>
                <Facts run />
            </div>
            <Phases run />
            <InThisTab />
            <WaitsForBase run />
            <Trouble run />
            <Controls run title />
            <ul class="run-remarks">
                {move || {
                    remarks.get().into_iter().map(|text| view! { <li>{text}</li> }).collect_view()
                }}
            </ul>
            <p class="hidden" role="status">
                {announcement}
            </p>
        </section>
    }
}

/// How long it took, and how well the copier copies while it is trained.
#[component]
fn Facts(run: Signal<Run>) -> impl IntoView {
    let page = expect_context::<Page>();
    let elapsed = Memo::new(move |_| {
        let now_millis = page.now_millis.get();
        let (elapsed, is_over) = run.with(|run| {
            let elapsed = run.elapsed_millis(now_millis)?;
            Some((
                words::duration((elapsed / 1000) as f64),
                run.state().is_over(),
            ))
        })?;
        Some(if is_over {
            format!("took {elapsed}")
        } else {
            format!("{elapsed} so far")
        })
    });
    let pairs = Memo::new(move |_| run.with(Run::pairs));
    let fidelity = Memo::new(move |_| {
        run.with(|run| {
            let is_copying = run.current_phase() == Some(Phase::Copier);
            run.copy_fidelity().filter(|_| is_copying)
        })
    });
    view! {
        <p class="run-facts">
            {move || pairs.get().map(|pairs| view! { <span>{pairs}</span> })}
            {move || elapsed.get().map(|elapsed| view! { <span>{elapsed}</span> })}
            {move || {
                fidelity
                    .get()
                    .map(|share| view! { <span>{format!("copies A: {}", words::percent(share))}</span> })
            }}
        </p>
    }
}

/// What a run in this browser needs of its user.
#[component]
fn InThisTab() -> impl IntoView {
    let (link, page) = (expect_context::<Link>(), expect_context::<Page>());
    let runs_here = Memo::new(move |_| link.runs_here());
    let says = move || match page.was_hidden.get() {
        true => {
            "This tab was hidden for a while, and browsers slow hidden tabs down: keep it in sight to train at full speed"
        }
        false => {
            "It trains in this tab: keep it open, and in sight, since browsers slow hidden tabs down"
        }
    };
    view! {
        <Show when=move || runs_here.get()>
            <p class="soft">{says}</p>
        </Show>
    }
}

/// What keeps a run in this browser from beginning: a base or a VAE from disk that is closed.
#[component]
fn WaitsForBase(run: Signal<Run>) -> impl IntoView {
    let (bench, link) = (expect_context::<Bench>(), expect_context::<Link>());
    let awaited = Memo::new(move |_| {
        let awaited = || {
            let look = |run: &Run| {
                link.shelf.with(|shelf| {
                    link.host
                        .with(|host| shelf.awaited(run.state(), run.job(), &host.bases, &host.vaes))
                })
            };
            run.with(look)
        };
        let awaited = link.is_browser().then(awaited).flatten();
        awaited.into_iter().collect::<Vec<_>>()
    });
    move || from_disk::rows(bench, link, awaited.get(), from_disk::Place::Run)
}

#[component]
fn Phases(run: Signal<Run>) -> impl IntoView {
    let phases = Memo::new(move |_| run.with(Run::phases));
    let order = Memo::new(move |_| {
        phases.with(|phases| phases.iter().map(|phase| phase.phase).collect::<Vec<_>>())
    });
    view! {
        <ol class="phases" aria-label="Phases">
            <For each=move || order.get() key=|phase| *phase let:phase>
                <PhaseRow
                    phase
                    progress=Signal::derive(move || {
                        phases.with(|phases| phases.iter().find(|known| known.phase == phase).copied())
                    })
                />
            </For>
        </ol>
    }
}

#[component]
fn PhaseRow(phase: Phase, progress: Signal<Option<PhaseProgress>>) -> impl IntoView {
    let link = expect_context::<Link>();
    let label = words::phase(phase);
    let progress = Memo::new(move |_| progress.get());
    // The trainer itself cannot tell while its GPU is made ready.
    let compiling = Memo::new(move |_| {
        let is_compiling = phase == Phase::Compiling;
        is_compiling.then(|| link.arrival.with(|arrival| arrival.compiling()))?
    });
    let status = move || progress.with(|progress| progress.map(|progress| progress.status));
    let (mark, meaning) = (
        move || status().map_or("", |status| mark(status).0),
        move || status().map_or("", |status| mark(status).1),
    );
    let share = move || {
        let told = progress.with(|progress| progress.and_then(|progress| progress.share()));
        let share = compiling.with(|bar| bar.as_ref().and_then(|bar| bar.share));
        share
            .filter(|_| status() == Some(PhaseStatus::UnderWay))
            .or(told)
            .map(|share| share.to_string())
    };
    view! {
        <li
            class="phase"
            class:under-way=move || status() == Some(PhaseStatus::UnderWay)
            class:planned=move || status() == Some(PhaseStatus::Planned)
            aria-current=move || (status() == Some(PhaseStatus::UnderWay)).then_some("step")
        >
            <span class="phase-label">
                <span aria-hidden="true">{mark}</span>
                {label}
                <span class="hidden">" "{meaning}</span>
                {move || compiling.get().map(|bar| view! { <span class="soft">" "{bar.text}</span> })}
            </span>
            <progress aria-label=label max="1" value=share></progress>
        </li>
    }
}

/// The sign before a phase, and what it means.
const fn mark(status: PhaseStatus) -> (&'static str, &'static str) {
    match status {
        PhaseStatus::Planned => ("", "comes later"),
        PhaseStatus::UnderWay => ("▸ ", "is under way"),
        PhaseStatus::Done => ("✓ ", "is done"),
        PhaseStatus::Skipped => ("– ", "was not needed"),
        PhaseStatus::Ended => ("✕ ", "is where it ended"),
    }
}

/// What the state offers, in the order of the buttons.
const fn offered(state: &JobState) -> &'static [JobControl] {
    use JobControl as C;
    match state {
        JobState::Queued => &[C::Discard],
        JobState::Running { .. } => &[
            C::Pause,
            C::PreviewNow,
            C::SaveNow,
            C::StopAndKeep,
            C::Discard,
        ],
        JobState::Paused { .. } => &[
            C::Resume,
            C::PreviewNow,
            C::SaveNow,
            C::StopAndKeep,
            C::Discard,
        ],
        JobState::Finished => &[],
        JobState::Stopped | JobState::Failed { .. } => &[C::Retry],
    }
}

const fn label(control: JobControl) -> &'static str {
    match control {
        JobControl::Pause => "Pause",
        JobControl::Resume => "Resume",
        JobControl::StopAndKeep => "Stop and keep",
        JobControl::Discard => "Discard…",
        JobControl::SaveNow => "Save now",
        JobControl::PreviewNow => "Preview now",
        JobControl::Retry => "Retry",
    }
}

#[component]
fn Controls(run: Signal<Run>, title: NodeRef<html::H2>) -> impl IntoView {
    let link = expect_context::<Link>();
    let offered = Memo::new(move |_| run.with(|run| offered(run.state())));
    let id = Memo::new(move |_| run.with(Run::id));
    let asks = RwSignal::new(None::<JobId>);
    // Why a button that cannot be used was of no use.
    let excuse = RwSignal::new(None::<String>);
    let refusal = fresh_refusal(link, id, offered);
    let said = move || excuse.get().or_else(|| refusal.get());
    Effect::new(move |_| {
        offered.track();
        excuse.set(None);
    });
    let holds_focus = keep_focus(offered, title);
    // Pause and Resume are one button, so that it keeps the focus.
    let slots = move || (0..offered.with(|offered| offered.len())).collect::<Vec<_>>();
    view! {
        <div
            class="controls"
            role="group"
            aria-label="Steer the run"
            on:focusin=move |_| holds_focus.set_value(true)
            on:focusout=move |event: FocusEvent| {
                if event.related_target().is_some() {
                    holds_focus.set_value(false);
                }
            }
        >
            <For each=slots key=|at| *at let:at>
                <ControlButton
                    run
                    control=Signal::derive(move || offered.with(|offered| offered.get(at).copied()))
                    asks
                    excuse
                />
            </For>
            <Gentler run />
            {move || said().map(|why| view! { <p class="refusal" role="alert">{why}</p> })}
        </div>
        <DiscardDialog asks />
    }
}

/// Why the last wish was refused, until the run is in another state.
fn fresh_refusal(
    link: Link,
    id: Memo<JobId>,
    offered: Memo<&'static [JobControl]>,
) -> Memo<Option<String>> {
    let refusal = Memo::new(move |_| link.refusal(id.get()));
    let outdated = RwSignal::new(None::<String>);
    Effect::new(move |_| {
        offered.track();
        outdated.set(refusal.get_untracked());
    });
    Effect::new(move |_| {
        // A new wish was sent: what comes of it is news, be it the same sentence.
        if refusal.with(Option::is_none) {
            outdated.set(None);
        }
    });
    Memo::new(move |_| {
        refusal
            .get()
            .filter(|why| outdated.with(|old| old.as_ref() != Some(why)))
    })
}

/// The remedy for a loss that broke down.
#[component]
fn Gentler(run: Signal<Run>) -> impl IntoView {
    let page = expect_context::<Page>();
    let diverged = Memo::new(move |_| run.with(|run| run.is_diverged().then(|| run.id())));
    move || {
        let id = diverged.get()?;
        Some(view! {
            <button class="control" on:click=move |_| page.run_again.run(id)>
                "Half the learning rate"
            </button>
        })
    }
}

/// Buttons that go take the focus with them; then it goes to the run's name.
fn keep_focus(offered: Memo<&'static [JobControl]>, title: NodeRef<html::H2>) -> StoredValue<bool> {
    let holds_focus = StoredValue::new(false);
    Effect::new(move |_| {
        offered.track();
        request_animation_frame(move || {
            // The run may have been put away meanwhile.
            let held = holds_focus.try_get_value().unwrap_or(false);
            let active = document().active_element();
            let is_lost = active.is_none_or(|active| active.tag_name() == "BODY");
            let title = title.try_get_untracked().flatten();
            if let Some(title) = title.filter(|_| held && is_lost) {
                _ = title.focus();
            }
        });
    });
    holds_focus
}

#[component]
fn ControlButton(
    run: Signal<Run>,
    control: Signal<Option<JobControl>>,
    asks: RwSignal<Option<JobId>>,
    excuse: RwSignal<Option<String>>,
) -> impl IntoView {
    let link = expect_context::<Link>();
    let control = Memo::new(move |_| control.get());
    let id = Memo::new(move |_| run.with(Run::id));
    let reason = Memo::new(move |_| {
        let control = control.get()?;
        run.with(|run| run.can(control).err())
    });
    let is_pending = move || {
        let control = control.get();
        control.is_some_and(|control| link.is_pending(id.get(), control))
    };
    let text = move || {
        let label = control.get().map_or("", label);
        if is_pending() {
            format!("{}…", label.trim_end_matches('…'))
        } else {
            label.to_owned()
        }
    };
    let press = move |_| {
        let Some(control) = control.get_untracked() else {
            return;
        };
        if untrack(is_pending) {
            return;
        }
        if let Some(reason) = reason.get_untracked() {
            let label = label(control).trim_end_matches('…');
            excuse.set(Some(format!("{label}: {reason}")));
            return;
        }
        excuse.set(None);
        if control == JobControl::Discard {
            asks.set(Some(id.get_untracked()));
        } else {
            link.control(id.get_untracked(), control);
        }
    };
    view! {
        <button
            class="control"
            aria-busy=move || is_pending().to_string()
            aria-disabled=move || (reason.get().is_some() || is_pending()).to_string()
            title=move || reason.get()
            on:click=press
        >
            {text}
        </button>
    }
}

/// The one question that has to be answered before anything else.
#[component]
pub fn DiscardDialog(
    /// The run that is asked about; none while nothing is asked.
    asks: RwSignal<Option<JobId>>,
) -> impl IntoView {
    let link = expect_context::<Link>();
    let dialog = open_while_asked(asks);
    let discard = move |_| {
        if let Some(job) = asks.get_untracked() {
            link.control(job, JobControl::Discard);
        }
        asks.set(None);
    };
    view! {
        <dialog class="discard" aria-label="Discard this run?" node_ref=dialog on:close=move |_| asks.set(None)>
            <h2>"Discard this run?"</h2>
            <p>"What it trained so far is thrown away."</p>
            <div class="row">
                <button autofocus on:click=move |_| asks.set(None)>
                    "Keep it"
                </button>
                <button class="danger" on:click=discard>
                    "Discard"
                </button>
            </div>
        </dialog>
    }
}

/// What is wrong.
#[component]
fn Trouble(run: Signal<Run>) -> impl IntoView {
    let trouble = Memo::new(move |_| {
        run.with(|run| {
            let reason = run.reason()?.to_owned();
            let report = run.state().is_over().then(|| run.report());
            Some((reason, report))
        })
    });
    move || {
        let (reason, report) = trouble.get()?;
        Some(view! {
            <div class="trouble">
                <p role="alert">{reason}</p>
                {report.map(|report| view! { <Details report /> })}
            </div>
        })
    }
}

/// Everything that somebody who is to help has to know.
#[component]
fn Details(report: String) -> impl IntoView {
    let copied = RwSignal::new("");
    let text = report.clone();
    let copy = move |_| {
        let text = text.clone();
        leptos::task::spawn_local(async move {
            let writing = window().navigator().clipboard().write_text(&text);
            let written = wasm_bindgen_futures::JsFuture::from(writing).await;
            let said = match written {
                Ok(_) => "Copied",
                Err(_) => "This browser does not allow that. Select the text and copy it.",
            };
            // The run may have been put away meanwhile.
            _ = copied.try_set(said);
        });
    };
    view! {
        <details class="report">
            <summary>"Details"</summary>
            <pre tabindex="0">{report}</pre>
            <div class="row">
                <button class="quiet" on:click=copy>
                    "Copy"
                </button>
                <span role="status">{copied}</span>
            </div>
        </details>
    }
}
