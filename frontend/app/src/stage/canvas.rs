//! Pixels onto canvases.

use leptos::html::Canvas;
use leptos::prelude::*;
use mimeo_image::Rect;
use wasm_bindgen::{Clamped, JsCast as _};
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement, ImageData};

/// Gives a canvas a size and all its pixels, `[height, width, 4]` straight RGBA.
pub fn put_whole(canvas: NodeRef<Canvas>, width: u32, height: u32, rgba: &[u8]) {
    let Some(canvas) = canvas.get_untracked() else {
        return;
    };
    // Setting a size clears the canvas, even if it is the same one.
    if (canvas.width(), canvas.height()) != (width, height) {
        canvas.set_width(width);
        canvas.set_height(height);
    }
    put(&canvas, Rect::whole(width, height), rgba);
}

/// Replaces a part of a canvas.
pub fn put_part(canvas: NodeRef<Canvas>, part: Rect, rgba: &[u8]) {
    if let Some(canvas) = canvas.get_untracked() {
        put(&canvas, part, rgba);
    }
}

fn put(canvas: &HtmlCanvasElement, part: Rect, rgba: &[u8]) {
    let context = canvas.get_context("2d").ok().flatten();
    let context = context.and_then(|context| context.dyn_into::<CanvasRenderingContext2d>().ok());
    let data = ImageData::new_with_u8_clamped_array_and_sh(Clamped(rgba), part.width, part.height);
    if let (Some(context), Ok(data)) = (context, data) {
        // Fails for a part without pixels only, which shows nothing.
        _ = context.put_image_data(&data, f64::from(part.x), f64::from(part.y));
    }
}
