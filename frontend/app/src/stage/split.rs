//! The line between A and B.

use leptos::prelude::*;

use super::{Stage, frame_size};
use crate::page::Shown;
use crate::widget::split_line::SplitLine;

#[component]
pub fn Line(stage: Stage) -> impl IntoView {
    let split = stage.split;
    let is_shown = move || {
        let has_both = stage
            .bench
            .with_pictures(|bench| bench.frame().is_some_and(|frame| frame.pair().is_some()));
        has_both && stage.page.view.get() == Shown::Split
    };
    let left = move || {
        let view = stage.view.get();
        let width = stage
            .bench
            .with_pictures(frame_size)
            .map_or(0, |size| size.0);
        format!("{}px", view.x + split.get() * f64::from(width) * view.scale)
    };
    let drag = move |event: web_sys::PointerEvent| {
        let area = stage.area.get_untracked();
        let width = stage.bench.with(frame_size).map_or(1, |size| size.0);
        if let Some(area) = area {
            let view = stage.view.get_untracked();
            let left = area.get_bounding_client_rect().left() + f64::from(area.client_left());
            let x = f64::from(event.client_x()) - left;
            let share = (x - view.x) / (f64::from(width) * view.scale);
            split.set(share.clamp(0.0, 1.0));
        }
    };
    view! {
        <Show when=is_shown>
            <SplitLine
                label="Line between A and B"
                side="A"
                share=split
                left=Signal::derive(left)
                drag=Callback::new(drag)
            />
        </Show>
    }
}
