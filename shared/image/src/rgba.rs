//! Straight (not premultiplied) RGBA bytes, as a canvas of the browser takes them.

use crate::mask::Mask;
use crate::rect::{Rect, rows_of};
use crate::rgb::Rgb;

impl Rgb {
    /// All of it, `[height, width, 4]`, opaque.
    pub fn to_rgba(&self) -> Vec<u8> {
        self.rgba_of(Rect::whole(self.width(), self.height()))
    }

    /// What of `rect` lies in the picture, `[height, width, 4]`, opaque.
    pub fn rgba_of(&self, rect: Rect) -> Vec<u8> {
        let part = rect.clipped(self.width(), self.height());
        let mut rgba = vec![255; part.area() * 4];
        let rows = rows_of(self.pixels(), self.width(), 3, part);
        let pixels = rows.flat_map(|row| row.chunks_exact(3));
        for (rgba, rgb) in rgba.chunks_exact_mut(4).zip(pixels) {
            rgba[..3].copy_from_slice(rgb);
        }
        rgba
    }
}

impl Mask {
    /// What of `rect` lies in the mask, `[height, width, 4]`: the colour, as opaque as the pixel
    /// is selected, times `opacity` (0..=1).
    pub fn overlay_rgba(&self, rect: Rect, colour: [u8; 3], opacity: f32) -> Vec<u8> {
        let part = rect.clipped(self.width(), self.height());
        let opacity = (opacity.clamp(0.0, 1.0) * 256.0).round() as u32;
        let alpha = |value: u8| (u32::from(value) * opacity / 256) as u8;
        let [r, g, b] = colour;
        let mut rgba = [r, g, b, 0].repeat(part.area());
        let values = rows_of(self.values(), self.width(), 1, part).flatten();
        for (rgba, &value) in rgba.chunks_exact_mut(4).zip(values) {
            rgba[3] = alpha(value);
        }
        rgba
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_picture_is_opaque_and_cut_at_its_border() {
        let picture = Rgb::new(2, 2, (1..=12).collect()).unwrap();
        assert_eq!(
            picture.to_rgba()[..8],
            [1, 2, 3, 255, 4, 5, 6, 255],
            "a row"
        );
        let (x, y, width, height) = (1, 1, 9, 9);
        let corner = Rect {
            x,
            y,
            width,
            height,
        };
        assert_eq!(picture.rgba_of(corner), [10, 11, 12, 255], "the last pixel");
    }

    #[test]
    fn an_overlay_is_as_opaque_as_the_mask() {
        let mask = Mask::new(3, 1, vec![0, 100, 255]).unwrap();
        let overlay = |opacity| mask.overlay_rgba(Rect::whole(3, 1), [9, 8, 7], opacity);
        assert_eq!(
            overlay(1.0),
            [9, 8, 7, 0, 9, 8, 7, 100, 9, 8, 7, 255],
            "in the colour everywhere, or canvases blend towards black"
        );
        let alphas = |rgba: Vec<u8>| rgba.into_iter().skip(3).step_by(4).collect::<Vec<_>>();
        assert_eq!(alphas(overlay(0.5)), [0, 50, 127], "half");
        assert_eq!(alphas(overlay(f32::NAN)), [0, 0, 0], "no opacity is none");
    }
}
