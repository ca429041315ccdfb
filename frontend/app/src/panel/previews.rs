//! The pictures that a run draws while it trains: columns are steps, rows are strengths.

use leptos::html::Div;
use leptos::prelude::*;
use mimeo_protocol::{Phase, ResultFile, Strength};
use mimeo_workbench::Run;
use mimeo_workbench::runs::{Column, Shot};
use mimeo_workbench::words;
use wasm_bindgen::JsCast as _;
use web_sys::{HtmlElement, KeyboardEvent};

use crate::link::Link;
use crate::page::Page;

/// A row of the grid: pictures of one strength, or what can be saved.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Row {
    Pictures(Strength),
    Files,
}

impl Row {
    fn label(self) -> String {
        match self {
            Self::Pictures(strength) => words::strength(strength.get()),
            Self::Files => "File".to_owned(),
        }
    }

    /// For telling rows apart, also as text in the page.
    fn key(self) -> String {
        match self {
            Self::Pictures(strength) => strength.to_string(),
            Self::Files => "file".to_owned(),
        }
    }
}

/// A place that the keyboard can be at.
#[derive(Debug, Clone, Copy, PartialEq)]
struct PreviewCell {
    column: Column,
    row: Row,
}

/// What every cell of a grid needs.
#[derive(Clone, Copy)]
struct Grid {
    run: Signal<Run>,
    columns: Memo<Vec<Column>>,
    rows: Memo<Vec<Row>>,
    /// Where the keyboard is; only that cell is a stop of the Tab key.
    cursor: Memo<Option<PreviewCell>>,
    wanted: RwSignal<Option<PreviewCell>>,
    area: NodeRef<Div>,
}

#[component]
pub fn PreviewGrid(#[prop(into)] run: Signal<Run>) -> impl IntoView {
    let grid = Grid::new(run);
    let has_any = Memo::new(move |_| grid.columns.with(|columns| !columns.is_empty()));
    let none = Memo::new(move |_| run.with(why_none));
    view! {
        <section class="previews" aria-label="Previews">
            <div class="previews-head">
                <h3>"Previews"</h3>
                <p class="hint">"Enter opens one on the stage, S stars it"</p>
            </div>
            <Show
                when=move || has_any.get()
                fallback=move || view! { <p class="soft">{none}</p> }
            >
                <Cells grid />
            </Show>
        </section>
    }
}

impl Grid {
    fn new(run: Signal<Run>) -> Self {
        let columns = Memo::new(move |_| run.with(Run::columns));
        let rows = Memo::new(move |_| {
            let strengths = run.with(|run| run.previews().rows());
            let pictures = strengths.into_iter().map(Row::Pictures);
            pictures.chain([Row::Files]).collect::<Vec<_>>()
        });
        let wanted = RwSignal::new(None::<PreviewCell>);
        // A place of another run is none of this one: then the newest picture of the change.
        let cursor = Memo::new(move |_| {
            let wanted = wanted.get();
            run.with(|run| {
                wanted
                    .filter(|place| is_there(run, *place))
                    .or_else(|| newest(run))
            })
        });
        Self {
            run,
            columns,
            rows,
            cursor,
            wanted,
            area: NodeRef::new(),
        }
    }

    /// Moves by so many columns and rows, over empty places.
    fn step(self, by: (isize, isize)) {
        let (columns, rows) = (self.columns.get_untracked(), self.rows.get_untracked());
        let Some(at) = self.cursor.get_untracked() else {
            return;
        };
        let column = columns.iter().position(|column| *column == at.column);
        let row = rows.iter().position(|row| *row == at.row);
        let (Some(mut column), Some(mut row)) = (column, row) else {
            return;
        };
        loop {
            let (Some(next_column), Some(next_row)) = (
                column.checked_add_signed(by.0),
                row.checked_add_signed(by.1),
            ) else {
                return;
            };
            let (Some(to_column), Some(to_row)) = (columns.get(next_column), rows.get(next_row))
            else {
                return;
            };
            let place = PreviewCell {
                column: *to_column,
                row: *to_row,
            };
            if self.run.with_untracked(|run| is_there(run, place)) {
                return self.go(place);
            }
            (column, row) = (next_column, next_row);
        }
    }

    /// To the first or last column of the row.
    fn to_end(self, is_last: bool) {
        let Some(at) = self.cursor.get_untracked() else {
            return;
        };
        let mut columns = self.columns.get_untracked();
        if is_last {
            columns.reverse();
        }
        let places = columns
            .into_iter()
            .map(|column| PreviewCell { column, ..at });
        let end = self
            .run
            .with_untracked(|run| places.into_iter().find(|place| is_there(run, *place)));
        if let Some(end) = end {
            self.go(end);
        }
    }

    fn go(self, place: PreviewCell) {
        self.wanted.set(Some(place));
        let area = self.area.get_untracked();
        // Once the cell is the one that Tab stops at.
        request_animation_frame(move || {
            let cell = area.and_then(|area| area.query_selector("[tabindex='0']").ok().flatten());
            if let Some(cell) = cell.and_then(|cell| cell.dyn_into::<HtmlElement>().ok()) {
                _ = cell.focus();
            }
        });
    }

    fn key(self, event: &KeyboardEvent, page: Page) {
        if event.ctrl_key() || event.meta_key() || event.alt_key() {
            return;
        }
        match event.key().as_str() {
            "ArrowLeft" => self.step((-1, 0)),
            "ArrowRight" => self.step((1, 0)),
            "ArrowUp" => self.step((0, -1)),
            "ArrowDown" => self.step((0, 1)),
            "Home" => self.to_end(false),
            "End" => self.to_end(true),
            "s" | "S" => self.star(page),
            _ => return,
        }
        event.prevent_default();
        // The same keys paint on the stage.
        event.stop_propagation();
    }

    fn star(self, page: Page) {
        let Some(PreviewCell {
            column,
            row: Row::Pictures(strength),
        }) = self.cursor.get_untracked()
        else {
            return;
        };
        let shot = |run: &Run| run.previews().at(column, strength).map(|shot| shot.picture);
        if let Some(picture) = self.run.with_untracked(shot) {
            toggle_star(page, picture.to_string());
        }
    }
}

/// What stands in place of the grid.
fn why_none(run: &Run) -> &'static str {
    match (run.state().is_over(), &run.job().previews) {
        (true, _) => "None were drawn",
        (false, Some(_)) => "The first ones come while it trains",
        (false, None) => "None are planned; Preview now draws some",
    }
}

fn is_there(run: &Run, place: PreviewCell) -> bool {
    match place.row {
        Row::Pictures(strength) => run.previews().at(place.column, strength).is_some(),
        Row::Files => {
            let has_column = run.columns().contains(&place.column);
            has_column && run.file_at(place.column).is_some()
        }
    }
}

fn newest(run: &Run) -> Option<PreviewCell> {
    let previews = run.previews();
    let shot = previews.latest_change().or_else(|| previews.shots().last());
    let picture = shot.map(|shot| PreviewCell {
        column: shot.column,
        row: Row::Pictures(shot.strength),
    });
    // Where nothing was drawn, something was saved: else there is no column.
    let file = || Some((run.columns().pop()?, Row::Files));
    picture.or_else(|| file().map(|(column, row)| PreviewCell { column, row }))
}

fn toggle_star(page: Page, picture: String) {
    page.starred.update(|starred| {
        if !starred.remove(&picture) {
            starred.insert(picture);
        }
    });
}

#[component]
fn Cells(grid: Grid) -> impl IntoView {
    let page = expect_context::<Page>();
    let columns = grid.columns;
    view! {
        <div
            class="preview-grid"
            role="grid"
            aria-label="Previews: a column for each step, a row for each strength"
            node_ref=grid.area
            on:keydown=move |event| grid.key(&event, page)
        >
            <div role="row" class="preview-row">
                <span role="columnheader" class="preview-corner">
                    "Strength"
                </span>
                <For each=move || columns.get() key=|column| *column let:column>
                    <span role="columnheader" class="preview-step">
                        {column.label()}
                    </span>
                </For>
            </div>
            <For each=move || grid.rows.get() key=|row| row.key() let:row>
                <div role="row" class="preview-row">
                    <span role="rowheader" class="preview-strength">
                        {row.label()}
                    </span>
                    <For each=move || columns.get() key=|column| *column let:column>
                        <Cell grid place=PreviewCell { column, row } />
                    </For>
                </div>
            </For>
        </div>
    }
}

#[component]
fn Cell(grid: Grid, place: PreviewCell) -> impl IntoView {
    let PreviewCell { column, row } = place;
    let is_stop = Memo::new(move |_| grid.cursor.get() == Some(place));
    let content = match row {
        Row::Pictures(strength) => {
            let shot = Memo::new(move |_| {
                grid.run
                    .with(|run| run.previews().at(column, strength).cloned())
            });
            let picture = move || {
                shot.get()
                    .map(|shot| view! { <Picture grid place shot is_stop /> })
            };
            picture.into_any()
        }
        Row::Files => {
            let file = Memo::new(move |_| grid.run.with(|run| run.file_at(column).cloned()));
            let link = move || {
                file.get()
                    .map(|file| view! { <FileLink grid place file is_stop /> })
            };
            link.into_any()
        }
    };
    view! {
        <div role="gridcell" class="preview-cell" class:preview-file=row == Row::Files>
            {content}
        </div>
    }
}

fn tab_stop(is_stop: Memo<bool>) -> &'static str {
    if is_stop.get() { "0" } else { "-1" }
}

#[component]
fn Picture(grid: Grid, place: PreviewCell, shot: Shot, is_stop: Memo<bool>) -> impl IntoView {
    let (link, page) = (expect_context::<Link>(), expect_context::<Page>());
    let picture = shot.picture;
    let name = picture.to_string();
    let is_starred = Memo::new({
        let name = name.clone();
        move |_| page.starred.with(|starred| starred.contains(&name))
    });
    let is_open = Memo::new(move |_| page.on_stage.get() == Some(picture));
    let moment = format!(
        "{}, strength {}",
        shot.column.label(),
        words::strength(shot.strength.get())
    );
    let alt = match shot.prompt.as_str() {
        "" => moment.clone(),
        prompt => format!("{moment}: {prompt}"),
    };
    let star_label = format!("Star {moment}");
    view! {
        <button
            class="preview"
            aria-pressed=move || is_open.get().to_string()
            tabindex=move || tab_stop(is_stop)
            on:focus=move |_| grid.wanted.set(Some(place))
            on:click=move |_| page.on_stage.set((!is_open.get_untracked()).then_some(picture))
        >
            <img src=move || link.blob_url(picture) alt=alt width="96" height="96" loading="lazy" />
        </button>
        <button
            class="star"
            aria-label=star_label
            aria-pressed=move || is_starred.get().to_string()
            tabindex="-1"
            on:click=move |_| toggle_star(page, name.clone())
        >
            <span aria-hidden="true">{move || if is_starred.get() { "★" } else { "☆" }}</span>
        </button>
    }
}

#[component]
fn FileLink(
    grid: Grid,
    place: PreviewCell,
    file: ResultFile,
    is_stop: Memo<bool>,
) -> impl IntoView {
    let link = expect_context::<Link>();
    let text = match place.column.phase {
        Phase::Saving => "Save the LoRA",
        _ => "Save this step",
    };
    let (moment, size) = (place.column.label(), words::bytes(file.bytes));
    let label = format!("{text}: {moment}, {size}");
    let name = file.name.clone();
    view! {
        <a
            class="save-step"
            href=move || link.file_url(&file)
            download=name
            title=label.clone()
            aria-label=label
            tabindex=move || tab_stop(is_stop)
            on:focus=move |_| grid.wanted.set(Some(place))
        >
            {text}
        </a>
    }
}
