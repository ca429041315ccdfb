//! The pictures of the stage, one canvas each, in one box that CSS moves and scales.

use leptos::html::Canvas;
use leptos::prelude::*;
use mimeo_image::{Rect, Rgb};
use mimeo_workbench::{Change, Frame, Workbench, as_trained};

use super::{Stage, canvas, frame_size};
use crate::page::Shown;

/// Colour and share of the mask above the pictures.
const MASK: ([u8; 3], f32) = ([255, 45, 110], 0.55);

#[component]
pub fn Layers(stage: Stage) -> impl IntoView {
    let Stage { bench, page, .. } = stage;
    let [original, target, difference, mask, trained, grid] =
        [(); 6].map(|()| NodeRef::<Canvas>::new());

    let size = Memo::new(move |_| bench.with_pictures(frame_size));
    Effect::new(move |_| {
        bench.with_pictures(|workbench| {
            if let Some(frame) = workbench.frame() {
                put_picture(original, frame.original.as_ref());
                put_picture(target, frame.target.as_ref());
                put_difference(difference, frame);
            }
        });
    });
    // Whatever changed before the canvas was there.
    Effect::new(move |_| {
        if mask.get().is_some() {
            bench.with_pictures(|workbench| put_mask(mask, workbench, None));
        }
    });
    bench.paint_with(move |workbench: &Workbench, change: Change| {
        if change.whole_mask {
            put_mask(mask, workbench, None);
        } else if let Some(dirty) = change.mask {
            put_mask(mask, workbench, Some(dirty));
        }
    });
    Effect::new(move |_| {
        if page.view.get() == Shown::AsTrained && grid.get().is_some() {
            bench.with_all(|workbench| put_trained(trained, grid, workbench));
        }
    });

    let has = move |slot| bench.with_pictures(|workbench| workbench.picture(slot).is_some());
    let shows = move |layer: Shown| shows_layer(layer, page.view.get(), page.blinks.get(), has);
    let has_mask =
        move || page.has_mask_on.get() && !page.blinks.get() && page.view.get() != Shown::AsTrained;
    let cut = move || {
        let is_split = page.view.get() == Shown::Split && !page.blinks.get();
        let percent = if is_split {
            stage.split.get() * 100.0
        } else {
            0.0
        };
        format!("inset(0 0 0 {percent}%)")
    };
    let transform = move || {
        let view = stage.view.get();
        format!(
            "translate({}px, {}px) scale({})",
            view.x, view.y, view.scale
        )
    };
    let pixels =
        move |side: fn((u32, u32)) -> u32| move || format!("{}px", size.get().map_or(0, side));
    view! {
        <div
            class="layers"
            class:enlarged=move || { stage.view.get().scale > 1.5 }
            style:transform=transform
            style:width=pixels(|size| size.0)
            style:height=pixels(|size| size.1)
        >
            <canvas node_ref=original class:shown=move || shows(Shown::Original)></canvas>
            <canvas
                node_ref=target
                class:shown=move || shows(Shown::Target)
                style:clip-path=cut
            ></canvas>
            <canvas node_ref=difference class:shown=move || shows(Shown::Difference)></canvas>
            <canvas node_ref=trained class:shown=move || shows(Shown::AsTrained)></canvas>
            <canvas
                node_ref=grid
                class="trained"
                class:shown=move || shows(Shown::AsTrained)
            ></canvas>
            <canvas node_ref=mask class="mask" class:shown=has_mask></canvas>
        </div>
    }
}

/// Whether a layer is seen.
fn shows_layer(
    layer: Shown,
    view: Shown,
    blinks: bool,
    has: impl Fn(mimeo_workbench::Slot) -> bool,
) -> bool {
    use mimeo_workbench::Slot::{Original, Target};
    let below = match view {
        // What is not there cannot be shown: then the other one.
        _ if blinks && has(Original) => Shown::Original,
        Shown::Target if !has(Target) => Shown::Original,
        Shown::Original if !has(Original) => Shown::Target,
        view => view,
    };
    match layer {
        Shown::Original => !matches!(below, Shown::Target),
        Shown::Target => matches!(below, Shown::Target | Shown::Split),
        layer => layer == below,
    }
}

fn put_picture(node: NodeRef<Canvas>, picture: Option<&Rgb>) {
    if let Some(picture) = picture {
        canvas::put_whole(node, picture.width(), picture.height(), &picture.to_rgba());
    }
}

fn put_difference(node: NodeRef<Canvas>, frame: &Frame) {
    if let Some(difference) = frame.difference() {
        let (width, height) = (difference.width(), difference.height());
        canvas::put_whole(node, width, height, &difference.heat_rgba());
    }
}

/// Draws all of the mask, or a part of it.
fn put_mask(node: NodeRef<Canvas>, workbench: &Workbench, part: Option<Rect>) {
    let Some(mask) = workbench.mask() else {
        return;
    };
    let (width, height) = (mask.width(), mask.height());
    let (colour, share) = MASK;
    match part {
        Some(part) => canvas::put_part(node, part, &mask.overlay_rgba(part, colour, share)),
        None => {
            let rgba = mask.overlay_rgba(Rect::whole(width, height), colour, share);
            canvas::put_whole(node, width, height, &rgba);
        }
    }
}

/// What is really trained: B as it is after compositing, and above it the latent grid.
fn put_trained(target: NodeRef<Canvas>, grid: NodeRef<Canvas>, workbench: &Workbench) {
    put_picture(target, as_trained::target(workbench).as_ref());
    if let Some((width, height, rgba)) = as_trained::grid_rgba(workbench, MASK.0) {
        canvas::put_whole(grid, width, height, &rgba);
    }
}
