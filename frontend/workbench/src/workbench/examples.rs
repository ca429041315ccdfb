//! Workbenches to test with.

use std::sync::Arc;

use mimeo_image::{Rect, Rgb};
use mimeo_protocol::{BaseId, BaseInfo, ModelSize};

use super::{Command, Workbench};
use crate::picture::Picture;

/// Side of the example pictures, px: that of the bundled base.
pub const SIDE: u32 = 128;

/// A grey picture, with a square of another colour in the middle.
pub fn picture(name: &str, square: Option<[u8; 3]>) -> Arc<Picture> {
    picture_of(name, (SIDE, SIDE), square)
}

/// As [`picture`], of any size.
pub fn picture_of(
    name: &str,
    (width, height): (u32, u32),
    square: Option<[u8; 3]>,
) -> Arc<Picture> {
    let middle = |at: u32, side: u32| (side / 3..side * 2 / 3).contains(&at);
    let colour = |x, y| match square {
        Some(colour) if middle(x, width) && middle(y, height) => colour,
        // Not flat, so that pictures can be told from their neighbours.
        _ => [(x * 255 / width) as u8, (y * 255 / height) as u8, 128],
    };
    let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| colour(x, y)));
    let pixels = Rgb::new(width, height, pixels.collect()).unwrap();
    Arc::new(Picture::made(name, pixels).unwrap())
}

/// A bench with A and B that differ in a square.
pub fn pair() -> Workbench {
    let mut bench = Workbench::default();
    bench
        .apply(Command::PlacePair {
            original: picture("a.png", None),
            target: picture("b.png", Some([250, 20, 20])),
            mask: None,
        })
        .unwrap();
    bench.check().unwrap();
    bench
}

/// The part of the frame in which they differ.
pub fn square() -> Rect {
    Rect {
        x: SIDE / 3,
        y: SIDE / 3,
        width: SIDE / 3,
        height: SIDE / 3,
    }
}

/// What a server says about the bundled base.
pub fn base() -> BaseInfo {
    BaseInfo {
        id: BaseId::bundled(),
        title: "Mimeo avatars".to_owned(),
        family: "Stable Diffusion 1.x".to_owned(),
        size: Some(ModelSize::Small),
        native_side: Some(SIDE),
        side_multiple: 32,
        prompts: Vec::new(),
        unusable: None,
        needs_vae: false,
        prediction: Some("ε".to_owned()),
        precision: Some("F32".to_owned()),
        bytes: None,
        preview: None,
    }
}
