//! Every run: what waits, in order, and what was done, the newest first.

use leptos::prelude::*;
use mimeo_protocol::{BlobId, ClientMessage, JobId, UnreadableJob};
use mimeo_workbench::Run;
use mimeo_workbench::runs::differs;
use mimeo_workbench::words;
use wasm_bindgen::JsCast as _;
use web_sys::{DragEvent, HtmlElement};

use super::delete_button::DeleteButton;
use super::run_bar::DiscardDialog;
use crate::link::Link;
use crate::page::{Page, Tab};

/// Runs that are listed at first, and more at each wish for more.
const PAGE: usize = 30;
/// Differences that are told; the rest is counted.
const DIFFERENCES: usize = 4;

#[component]
pub fn RunsList() -> impl IntoView {
    let link = expect_context::<Link>();
    let limit = RwSignal::new(PAGE);
    let asks = RwSignal::new(None::<JobId>);
    let ids = Memo::new(move |_| {
        link.runs.with(|runs| {
            let others = runs.iter().filter(|run| !is_waiting(run));
            others.map(Run::id).collect::<Vec<_>>()
        })
    });
    let listed = move || ids.with(|ids| ids.iter().take(limit.get()).copied().collect::<Vec<_>>());
    let has_more = Memo::new(move |_| ids.with(|ids| ids.len() > limit.get()));
    let is_empty = Memo::new(move |_| link.runs.with(|runs| runs.is_empty()));
    let unreadable = Memo::new(move |_| link.runs.with(|runs| runs.unreadable().to_vec()));
    view! {
        <section class="runs" aria-label="Runs">
            <Show when=move || is_empty.get()>
                <p class="soft">"No run yet. What you train is listed here."</p>
            </Show>
            <Queue asks />
            <ul class="runs-list">
                <For each=move || unreadable.get() key=|job| job.id let:job>
                    <UnreadableRow job />
                </For>
                <For each=listed key=|id| *id let:id>
                    <RunRow id />
                </For>
            </ul>
            <Show when=move || has_more.get()>
                <button class="quiet" on:click=move |_| limit.update(|limit| *limit += PAGE)>
                    "Show older"
                </button>
            </Show>
            <DiscardDialog asks />
        </section>
    }
}

fn is_waiting(run: &Run) -> bool {
    *run.state() == mimeo_protocol::JobState::Queued
}

/// What a row shows; a row is drawn again only when this changes.
#[derive(Debug, Clone, PartialEq)]
struct RunFacts {
    name: String,
    pairs: Option<String>,
    state: &'static str,
    scores: Option<String>,
    thumbnail: Option<BlobId>,
    submitted_millis: u64,
    is_over: bool,
    has_result: bool,
}

impl From<&Run> for RunFacts {
    fn from(run: &Run) -> Self {
        Self {
            name: run.job().name.to_string(),
            pairs: run.pairs(),
            state: words::state(run.state()),
            scores: run.scores().map(words::scores),
            thumbnail: run.thumbnail(),
            submitted_millis: run.submitted_millis(),
            is_over: run.state().is_over(),
            has_result: run.result().is_some() && run.scores().is_some(),
        }
    }
}

#[component]
fn RunRow(id: JobId) -> impl IntoView {
    let (link, page) = (expect_context::<Link>(), expect_context::<Page>());
    let facts = Memo::new(move |_| link.runs.with(|runs| runs.get(id).map(RunFacts::from)));
    // Its pictures are in its events.
    Effect::new(move |_| {
        if link.is_connected() {
            link.follow(id);
        }
    });
    let name = move || facts.with(|facts| facts.as_ref().map(|facts| facts.name.clone()));
    let pairs = move || facts.with(|facts| facts.as_ref()?.pairs.clone());
    let state = move || facts.with(|facts| facts.as_ref().map(|facts| facts.state));
    let scores = move || facts.with(|facts| facts.as_ref().and_then(|facts| facts.scores.clone()));
    let thumbnail = Memo::new(move |_| facts.with(|facts| facts.as_ref()?.thumbnail));
    let is_over =
        Memo::new(move |_| facts.with(|facts| facts.as_ref().is_some_and(|it| it.is_over)));
    let age = move || {
        let submitted = facts.with(|facts| Some(facts.as_ref()?.submitted_millis))?;
        Some(words::ago(submitted, page.now_millis.get()))
    };
    let is_shown = Memo::new(move |_| page.shown.get() == Some(id));
    let show = move |_| {
        let has_result =
            facts.with_untracked(|facts| facts.as_ref().is_some_and(|it| it.has_result));
        page.shown.set(Some(id));
        page.tab
            .set(if has_result { Tab::Result } else { Tab::Run });
    };
    let delete = Callback::new(move |request| ClientMessage::Delete { request, job: id });
    view! {
        <li class="run-row" class:shown=move || is_shown.get()>
            <Thumbnail picture=thumbnail />
            <div class="run-what">
                <p class="run-title">
                    <span class="run-name">{name}</span>
                    <span class="run-state">{state}</span>
                    <span class="soft">{pairs}</span>
                    <span class="soft">{age}</span>
                </p>
                <p>{scores}</p>
                <Differences id />
            </div>
            <div class="run-actions" role="group" aria-label=name>
                <button aria-pressed=move || is_shown.get().to_string() on:click=show>
                    "Show"
                </button>
                <button on:click=move |_| page.run_again.run(id)>"Run again"</button>
                <Show when=move || is_over.get()>
                    <DeleteButton message=delete />
                </Show>
            </div>
        </li>
    }
}

/// A run of which nothing can be shown but why.
#[component]
fn UnreadableRow(job: UnreadableJob) -> impl IntoView {
    let page = expect_context::<Page>();
    let (id, submitted) = (job.id, job.submitted_millis);
    let name = format!("Run {id}");
    let age = move || submitted.map(|at| words::ago(at, page.now_millis.get()));
    let delete = Callback::new(move |request| ClientMessage::Delete { request, job: id });
    view! {
        <li class="run-row">
            // Where the others have their picture.
            <span class="thumbnail" aria-hidden="true"></span>
            <div class="run-what">
                <p class="run-title">
                    <span class="run-name">{name.clone()}</span>
                    <span class="run-state">"Cannot be read"</span>
                    <span class="soft">{age}</span>
                </p>
                <p>{words::unreadable(&job)}</p>
            </div>
            <div class="run-actions" role="group" aria-label=name>
                <DeleteButton message=delete />
            </div>
        </li>
    }
}

#[component]
fn Thumbnail(picture: Memo<Option<BlobId>>) -> impl IntoView {
    let link = expect_context::<Link>();
    // The name stands beside it.
    view! {
        <img
            class="thumbnail"
            alt=""
            width="64"
            height="64"
            loading="lazy"
            draggable="false"
            src=move || picture.get().and_then(|picture| link.blob_url(picture))
        />
    }
}

/// What this run changed against the one before it.
#[component]
fn Differences(id: JobId) -> impl IntoView {
    let link = expect_context::<Link>();
    // Jobs do not change, so this is found once for each pair of them, and when copiers are renamed.
    let before = Memo::new(move |_| link.runs.with(|runs| runs.previous(id).map(Run::id)));
    let changes = Memo::new(move |_| {
        let before = before.get()?;
        link.runs.with_untracked(|runs| {
            let (before, after) = (runs.get(before)?, runs.get(id)?);
            link.host
                .with(|host| Some(differs(before.job(), after.job(), &host.copiers)))
        })
    });
    move || {
        let changes = changes.get()?;
        if changes.is_empty() {
            return Some(
                view! { <p class="run-changes soft">"Same as the run before"</p> }.into_any(),
            );
        }
        let more = changes.len().saturating_sub(DIFFERENCES);
        let told = changes.into_iter().take(DIFFERENCES).map(|(label, value)| {
            view! {
                <li>
                    {label} " " <b>{value}</b>
                </li>
            }
        });
        Some(
            view! {
                <ul class="run-changes" aria-label="Changed since the run before">
                    {told.collect_view()}
                    {(more > 0).then(|| view! { <li class="soft">{format!("and {more} more")}</li> })}
                </ul>
            }
                .into_any(),
        )
    }
}

/// Moving waiting runs.
#[derive(Clone, Copy)]
struct Order {
    link: Link,
    ids: Memo<Vec<JobId>>,
    dragged: RwSignal<Option<JobId>>,
    is_pending: RwSignal<bool>,
    refusal: RwSignal<Option<String>>,
    /// What became of the last move.
    said: RwSignal<String>,
    /// A button that has to have the focus again once its row was moved.
    refocus: StoredValue<Option<String>>,
}

impl Order {
    fn new(link: Link) -> Self {
        let order = Self {
            link,
            ids: Memo::new(move |_| {
                link.runs
                    .with(|runs| runs.waiting().iter().map(|run| run.id()).collect())
            }),
            dragged: RwSignal::new(None),
            is_pending: RwSignal::new(false),
            refusal: RwSignal::new(None),
            said: RwSignal::new(String::new()),
            refocus: StoredValue::new(None),
        };
        Effect::new(move |_| {
            order.ids.track();
            if let Some(selector) = order.refocus.try_update_value(Option::take).flatten() {
                focus_soon(selector);
            }
        });
        order
    }

    fn place(self, job: JobId) -> Option<usize> {
        self.ids.with(|ids| ids.iter().position(|id| *id == job))
    }

    /// Moves a run by so many places.
    fn step(self, job: JobId, by: isize) {
        let wanted = self.link.runs.with_untracked(|runs| runs.moved(job, by));
        let Some(before) = wanted.filter(|_| !self.is_pending.get_untracked()) else {
            return;
        };
        self.is_pending.set(true);
        leptos::task::spawn_local(async move {
            let answer = self
                .link
                .ask(|request| ClientMessage::Reorder {
                    request,
                    job,
                    before,
                })
                .await;
            // The list may be closed by now.
            _ = self.is_pending.try_set(false);
            if answer.is_err() {
                _ = self.refocus.try_set_value(None);
            }
            _ = self.refusal.try_set(answer.err());
        });
        let all = self.ids.with_untracked(Vec::len);
        if let Some(now) = untrack(|| self.place(job)) {
            let to = now.saturating_add_signed(by).min(all.saturating_sub(1)) + 1;
            self.said.set(format!("Moved to place {to} of {all}"));
        }
    }

    /// Drops the dragged run where this one is.
    fn drop_at(self, job: JobId) {
        let dragged = self.dragged.try_update(Option::take).flatten();
        let places = dragged.and_then(|dragged| {
            untrack(|| Some((dragged, self.place(dragged)?, self.place(job)?)))
        });
        if let Some((dragged, from, to)) = places {
            self.step(dragged, to as isize - from as isize);
        }
    }
}

#[component]
fn Queue(asks: RwSignal<Option<JobId>>) -> impl IntoView {
    let order = Order::new(expect_context::<Link>());
    let ids = order.ids;
    view! {
        <Show when=move || ids.with(|ids| !ids.is_empty())>
            <h3 id="waiting">"Waiting"</h3>
            <ol class="queue" aria-labelledby="waiting">
                <For each=move || ids.get() key=|id| *id let:id>
                    <WaitingRow id order asks />
                </For>
            </ol>
        </Show>
        <p class="hidden" role="status">
            {order.said}
        </p>
        {move || order.refusal.get().map(|why| view! { <p class="refusal" role="alert">{why}</p> })}
    }
}

#[component]
fn WaitingRow(id: JobId, order: Order, asks: RwSignal<Option<JobId>>) -> impl IntoView {
    let (link, page) = (order.link, expect_context::<Page>());
    let facts = Memo::new(move |_| link.runs.with(|runs| runs.get(id).map(RunFacts::from)));
    let name = move || facts.with(|facts| facts.as_ref().map(|facts| facts.name.clone()));
    let thumbnail = Memo::new(move |_| facts.with(|facts| facts.as_ref()?.thumbnail));
    let is_over = RwSignal::new(false);
    let grab = move |event: DragEvent| {
        order.dragged.set(Some(id));
        if let Some(transfer) = event.data_transfer() {
            transfer.set_effect_allowed("move");
        }
    };
    let hover = move |event: DragEvent| {
        if order.dragged.get_untracked().is_some() {
            event.prevent_default();
            is_over.set(true);
        }
    };
    let drop = move |event: DragEvent| {
        is_over.set(false);
        if order.dragged.get_untracked().is_some() {
            event.prevent_default();
            // A file that is dropped on the page is something else.
            event.stop_propagation();
            order.drop_at(id);
        }
    };
    view! {
        <li
            class="run-row waiting"
            class:drop-here=move || is_over.get()
            draggable="true"
            on:dragstart=grab
            on:dragover=hover
            on:dragleave=move |_| is_over.set(false)
            on:dragend=move |_| order.dragged.set(None)
            on:drop=drop
        >
            <Thumbnail picture=thumbnail />
            <div class="run-what">
                <p class="run-name">{name}</p>
                <Differences id />
            </div>
            <div class="run-actions" role="group" aria-label=name>
                <MoveButton id order by=-1 />
                <MoveButton id order by=1 />
                <button on:click=move |_| page.run_again.run(id)>"Run again"</button>
                <button class="quiet" on:click=move |_| asks.set(Some(id))>
                    "Discard…"
                </button>
                {move || link.refusal(id).map(|why| view! { <p class="refusal" role="alert">{why}</p> })}
            </div>
        </li>
    }
}

#[component]
fn MoveButton(id: JobId, order: Order, by: isize) -> impl IntoView {
    let (label, side) = if by < 0 {
        ("Earlier", "earlier")
    } else {
        ("Later", "later")
    };
    let can_move = Memo::new(move |_| order.link.runs.with(|runs| runs.moved(id, by).is_some()));
    let press = move |_| {
        if can_move.get_untracked() {
            let selector = format!("[data-move='{side}-{id}']");
            order.refocus.set_value(Some(selector));
            order.step(id, by);
        }
    };
    view! {
        <button
            class="quiet"
            data-move=format!("{side}-{id}")
            aria-disabled=move || (!can_move.get()).to_string()
            aria-busy=move || order.is_pending.get().to_string()
            on:click=press
        >
            {label}
        </button>
    }
}

/// Puts the focus on what this selector finds, once it is drawn.
fn focus_soon(selector: String) {
    request_animation_frame(move || {
        // Nothing found means nothing to focus.
        let found = document().query_selector(&selector).ok().flatten();
        if let Some(element) = found.and_then(|element| element.dyn_into::<HtmlElement>().ok()) {
            _ = element.focus();
        }
    });
}
