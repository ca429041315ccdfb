//! The stage: the pair, the mask on it, and the pointers that paint.
//!
//! Every picture is a canvas of the frame's own size, and all of them lie in one box that CSS moves
//! and scales: zooming and panning redraw nothing, and a dab redraws its own rectangle only.

mod canvas;
mod cursor;
mod layers;
mod pointer;
mod split;
mod toolbar;

use leptos::html::Div;
use leptos::prelude::*;
use mimeo_workbench::tool::Outline;
use mimeo_workbench::view::Fingers;
use mimeo_workbench::{Tool, View, Workbench};

use crate::bench::Bench;
use crate::page::{Page, Shown};
use crate::panel::pair::{first_example, load_example};
use crate::widget::segmented::Segmented;

/// What the stage remembers.
#[derive(Clone, Copy)]
pub struct Stage {
    bench: Bench,
    page: Page,
    area: NodeRef<Div>,
    /// Where the frame is.
    view: RwSignal<View>,
    /// Whether drags pan: Space is down.
    pub pans: RwSignal<bool>,
    /// Where the line between A and B is, 0..=1.
    split: RwSignal<f64>,
    /// Where the pointer is, in CSS px of the stage.
    cursor: RwSignal<Option<(f64, f64)>>,
    /// What is half drawn.
    outline: RwSignal<Option<Outline>>,
    fingers: StoredValue<Fingers>,
    /// Whether nobody zoomed or panned since the frame was fitted: then it stays fitted.
    is_fitted: StoredValue<bool>,
    /// Where a drag that pans was last.
    panned_from: StoredValue<Option<(f64, f64)>>,
}

impl Stage {
    /// A stage that shows the whole frame.
    pub fn new(bench: Bench, page: Page) -> Self {
        Self {
            bench,
            page,
            area: NodeRef::new(),
            view: RwSignal::new(View::fit((1, 1), (1.0, 1.0))),
            pans: RwSignal::new(false),
            split: RwSignal::new(0.5),
            cursor: RwSignal::new(None),
            outline: RwSignal::new(None),
            fingers: StoredValue::new(Fingers::default()),
            is_fitted: StoredValue::new(true),
            panned_from: StoredValue::new(None),
        }
    }

    /// Shows the whole frame.
    pub fn fit(self) {
        let frame = self.bench.with(frame_size).unwrap_or((1, 1));
        if let Some(area) = self.area.get_untracked() {
            let size = (
                f64::from(area.client_width()),
                f64::from(area.client_height()),
            );
            self.view.set(View::fit(frame, size));
            self.is_fitted.set_value(true);
        }
    }

    /// Zooms or pans as the user wants it.
    fn look(self, view: View) {
        self.is_fitted.set_value(false);
        self.view.set(view);
    }

    /// Zooms around the middle.
    pub fn zoom(self, factor: f64) {
        if let Some(area) = self.area.get_untracked() {
            let middle = (
                f64::from(area.client_width()) / 2.0,
                f64::from(area.client_height()) / 2.0,
            );
            self.look(self.view.get_untracked().zoomed(factor, middle));
        }
    }

    /// Whether the pointer is over the stage.
    pub fn is_pointed_at(self) -> bool {
        self.cursor.with_untracked(Option::is_some)
    }

    /// Takes another tool in hand.
    pub fn choose(self, tool: Tool) {
        let taken_back = self.bench.toolbox.try_update(|tools| tools.choose(tool));
        self.bench.apply_all(taken_back.unwrap_or_default());
        self.outline.set(None);
    }

    /// Takes back what is half done.
    pub fn cancel(self) {
        let taken_back = self
            .bench
            .toolbox
            .try_update(mimeo_workbench::Toolbox::cancel);
        self.bench.apply_all(taken_back.unwrap_or_default());
        self.outline.set(None);
        self.page.on_stage.set(None);
    }
}

fn frame_size(workbench: &Workbench) -> Option<(u32, u32)> {
    let frame = workbench.frame()?;
    Some((frame.width(), frame.height()))
}

/// The stage with everything around it.
#[component]
pub fn StagePanel(stage: Stage) -> impl IntoView {
    let Stage { bench, page, .. } = stage;
    let has_frame =
        Memo::new(move |_| bench.with_pictures(|workbench| workbench.frame().is_some()));
    let size = Memo::new(move |_| bench.with_pictures(frame_size));
    Effect::new(move |_| {
        if size.get().is_some() {
            // Once the stage has its size.
            request_animation_frame(move || stage.fit());
        }
    });
    let resized = window_event_listener(leptos::ev::resize, move |_| {
        if stage.is_fitted.get_value() {
            stage.fit();
        }
    });
    on_cleanup(move || resized.remove());
    let views = Shown::ALL.map(|shown| (shown, shown.label())).to_vec();
    view! {
        <section class="stage" aria-label="Stage">
            <Show when=move || has_frame.get()>
                <div class="stage-views">
                    <Segmented
                        legend="View"
                        options=views.clone()
                        chosen=Signal::derive(move || Some(page.view.get()))
                        choose=Callback::new(move |shown| page.view.set(shown))
                    />
                    <label class="check">
                        <input
                            type="checkbox"
                            prop:checked=move || page.has_mask_on.get()
                            on:change=move |event| page.has_mask_on.set(event_target_checked(&event))
                        />
                        "Show mask"
                    </label>
                    <button class="quiet" title="Fit to the stage (0)" on:click=move |_| stage.fit()>
                        "Fit"
                    </button>
                </div>
            </Show>
            <pointer::Area stage>
                <layers::Layers stage />
                <split::Line stage />
                <cursor::Cursor stage />
                <Preview stage />
                <Show when=move || !has_frame.get()>
                    <Empty stage />
                </Show>
            </pointer::Area>
            <Show when=move || has_frame.get()>
                <toolbar::Toolbar stage />
            </Show>
        </section>
    }
}

/// What one sees first.
#[component]
fn Empty(stage: Stage) -> impl IntoView {
    let bench = stage.bench;
    let takes_pictures = Memo::new(move |_| {
        bench.with_settings(|bench| bench.settings().recipe.method.takes_pictures())
    });
    view! {
        <div class="stage-empty">
            <Show
                when=move || takes_pictures.get()
                fallback=|| {
                    view! {
                        <p class="lead">
                            "Two prompts need no pictures. Write them in the recipe, then train."
                        </p>
                    }
                }
            >
                <p class="lead">
                    "Drop two pictures that differ in one thing. The LoRA will make that change, and nothing else."
                </p>
                <p class="soft">
                    "The first is A, before; the second B, after"
                </p>
                <button class="train" on:click=move |_| load_example(bench, first_example())>
                    "Try the example"
                </button>
            </Show>
        </div>
    }
}

/// A preview that was opened on the stage.
#[component]
fn Preview(stage: Stage) -> impl IntoView {
    let link = expect_context::<crate::link::Link>();
    let on_stage = stage.page.on_stage;
    view! {
        <Show when=move || on_stage.with(Option::is_some)>
            <figure class="stage-preview">
                <img
                    src=move || on_stage.get().and_then(|id| link.blob_url(id))
                    alt="The preview, enlarged"
                />
                <button on:click=move |_| on_stage.set(None)>"Back to the pair"</button>
            </figure>
        </Show>
    }
}
