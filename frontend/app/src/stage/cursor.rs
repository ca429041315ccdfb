//! The brush as a circle under the pointer, and shapes that are half drawn.

use leptos::prelude::*;
use mimeo_workbench::Tool;
use mimeo_workbench::tool::Outline;

use super::Stage;

#[component]
pub fn Cursor(stage: Stage) -> impl IntoView {
    let toolbox = stage.bench.toolbox;
    let is_brush = move || {
        let tool = toolbox.with(|tools| tools.tool());
        matches!(tool, Tool::Brush | Tool::Eraser)
    };
    let diameter = move || {
        let diameter = f64::from(toolbox.with(|tools| tools.brush().diameter));
        diameter * stage.view.get().scale
    };
    let is_shown = move || {
        let has_frame = stage.bench.with_pictures(|bench| bench.frame().is_some());
        has_frame && stage.cursor.get().is_some() && is_brush() && !stage.pans.get()
    };
    let transform = move || {
        let (x, y) = stage.cursor.get().unwrap_or_default();
        let radius = diameter() / 2.0;
        format!("translate({}px, {}px)", x - radius, y - radius)
    };
    let points = move || {
        let view = stage.view.get();
        let on_stage = |(x, y): (f32, f32)| {
            let (x, y) = (f64::from(x), f64::from(y));
            format!("{},{}", x * view.scale + view.x, y * view.scale + view.y)
        };
        let corners = match stage.outline.get() {
            None => Vec::new(),
            Some(Outline::Lasso(points)) => points,
            Some(Outline::Box((left, top), (right, bottom))) => {
                vec![(left, top), (right, top), (right, bottom), (left, bottom)]
            }
        };
        let corners: Vec<_> = corners.into_iter().map(on_stage).collect();
        corners.join(" ")
    };
    view! {
        <div
            class="brush-cursor"
            class:shown=is_shown
            aria-hidden="true"
            style:transform=transform
            style:width=move || format!("{}px", diameter())
            style:height=move || format!("{}px", diameter())
        ></div>
        <svg class="outline" aria-hidden="true">
            <polygon points=points></polygon>
        </svg>
    }
}
