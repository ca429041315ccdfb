//! Making B from A.

use crate::error::ImageError;
use crate::inpaint;
use crate::mask::Mask;
use crate::resample::{Axis, Kernel, resample};
use crate::rgb::Rgb;
use crate::window;

/// A change of a picture that makes a B of an A.
///
/// Numbers beyond their range are taken as the nearest end of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Edit {
    /// Without colours, as bright as before.
    Greyscale,
    /// Out of focus.
    Blur {
        /// How far a pixel spreads, in px.
        radius: u32,
    },
    /// A line drawing: dark lines on white where brightness changes.
    Outline,
    /// Few levels of each channel.
    Posterise {
        /// At least 2.
        levels: u8,
    },
    /// Away from middle grey, or towards it.
    Contrast {
        /// 0 is all grey, 1 is as before.
        factor: f32,
    },
    /// Painted over.
    Paint {
        /// sRGB.
        colour: [u8; 3],
        /// 0..=1.
        opacity: f32,
    },
    /// Moved and scaled about its centre. What it uncovers is filled from around it.
    Transform {
        /// To the right, px.
        dx: f32,
        /// Down, px.
        dy: f32,
        /// 0.05..=20.
        scale: f32,
    },
}

impl Edit {
    /// The picture with this edit, blended in by the mask's values (`None`: everywhere).
    ///
    /// # Errors
    /// [`ImageError::MaskSizeDiffers`]; [`ImageError::EmptyMask`] since nothing would change.
    pub fn apply(&self, picture: &Rgb, mask: Option<&Mask>) -> Result<Rgb, ImageError> {
        if let Some(mask) = mask {
            mask.check_on(picture)?;
            if mask.is_empty() {
                return Err(ImageError::EmptyMask);
            }
        }
        let edited = match *self {
            Self::Greyscale => mapped(picture, |rgb| [grey(rgb); 3]),
            Self::Blur { radius } => blurred(picture, radius),
            Self::Outline => outlined(picture),
            Self::Posterise { levels } => tabled(picture, |value| posterised(value, levels)),
            Self::Contrast { factor } => {
                let factor = factor.max(0.0);
                tabled(picture, |value| (f32::from(value) - 127.5) * factor + 127.5)
            }
            Self::Paint { colour, opacity } => {
                let share = opacity.clamp(0.0, 1.0);
                mapped(picture, |rgb| {
                    std::array::from_fn(|c| {
                        let (from, to) = (f32::from(rgb[c]), f32::from(colour[c]));
                        (from + (to - from) * share).round() as u8
                    })
                })
            }
            // This one moves the mask as well.
            Self::Transform { dx, dy, scale } => {
                let (dx, dy, scale) = (f64::from(dx), f64::from(dy), f64::from(scale));
                let shift = Shift { dx, dy, scale };
                return Ok(match mask {
                    Some(mask) => transformed(picture, mask, shift),
                    None => shift.of_picture(picture, centre_of(picture)),
                });
            }
        };
        Ok(match mask {
            Some(mask) => blended(picture, &edited, mask),
            None => edited,
        })
    }
}

/// `over` where the mask is white, `under` where it is black.
fn blended(under: &Rgb, over: &Rgb, mask: &Mask) -> Rgb {
    let mut blended = under.clone();
    let pixels = blended.pixels_mut().chunks_exact_mut(3);
    let pixels = pixels.zip(over.pixels().chunks_exact(3)).zip(mask.values());
    for ((pixel, over), &share) in pixels {
        let share = u32::from(share);
        for (channel, &over) in pixel.iter_mut().zip(over) {
            let sum = u32::from(*channel) * (255 - share) + u32::from(over) * share;
            *channel = ((sum + 127) / 255) as u8;
        }
    }
    blended
}

fn mapped(picture: &Rgb, edit: impl Fn([u8; 3]) -> [u8; 3]) -> Rgb {
    let pixels = picture.pixels().chunks_exact(3);
    let pixels = pixels.flat_map(|rgb| edit([rgb[0], rgb[1], rgb[2]]));
    Rgb::from_parts(picture.width(), picture.height(), pixels.collect())
}

/// Each channel by itself.
fn tabled(picture: &Rgb, edit: impl Fn(u8) -> f32) -> Rgb {
    let table: [u8; 256] = std::array::from_fn(|value| edit(value as u8).round() as u8);
    mapped(picture, |rgb| rgb.map(|value| table[usize::from(value)]))
}

/// The brightness of a colour, by the weights of ITU-R BT.709.
fn grey([r, g, b]: [u8; 3]) -> u8 {
    let sum = 2126 * u32::from(r) + 7152 * u32::from(g) + 722 * u32::from(b);
    ((sum + 5000) / 10_000) as u8
}

fn posterised(value: u8, levels: u8) -> f32 {
    let steps = f32::from(levels.max(2) - 1);
    (f32::from(value) / 255.0 * steps).round() / steps * 255.0
}

fn blurred(picture: &Rgb, radius: u32) -> Rgb {
    let width = picture.width() as usize;
    let radius = radius.min(picture.width().max(picture.height())) as usize;
    let channel = |c: usize| -> Vec<u8> {
        let values: Vec<u8> = picture
            .pixels()
            .iter()
            .skip(c)
            .step_by(3)
            .copied()
            .collect();
        window::smooth(&values, width, radius)
    };
    let (reds, greens, blues) = (channel(0), channel(1), channel(2));
    let pixels = reds.into_iter().zip(greens).zip(blues);
    let pixels = pixels.flat_map(|((r, g), b)| [r, g, b]);
    Rgb::from_parts(picture.width(), picture.height(), pixels.collect())
}

fn outlined(picture: &Rgb) -> Rgb {
    /// A step by this many levels gives a black line.
    const BLACK_STEP: f32 = 64.0;
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let greys: Vec<u8> = picture
        .pixels()
        .chunks_exact(3)
        .map(|rgb| grey([rgb[0], rgb[1], rgb[2]]))
        .collect();
    // A little smoother, or every noisy pixel has an outline.
    let smooth = window::smooth(&greys, width, 1);
    let at = |x: usize, y: usize| f32::from(smooth[y * width + x]);
    let mut pixels = Vec::with_capacity(picture.pixels().len());
    for y in 0..height {
        let (above, below) = (y.saturating_sub(1), (y + 1).min(height - 1));
        for x in 0..width {
            let (left, right) = (x.saturating_sub(1), (x + 1).min(width - 1));
            // Sobel and Feldman's operator: slopes across, averaged along the edge.
            let across = |y: usize| at(right, y) - at(left, y);
            let down = |x: usize| at(x, below) - at(x, above);
            let dx = (across(above) + 2.0 * across(y) + across(below)) / 4.0;
            let dy = (down(left) + 2.0 * down(x) + down(right)) / 4.0;
            let ink = dx.hypot(dy) / BLACK_STEP;
            pixels.extend([(255.0 * (1.0 - ink)).max(0.0).round() as u8; 3]);
        }
    }
    Rgb::from_parts(picture.width(), picture.height(), pixels)
}

/// A move and a scale.
#[derive(Clone, Copy)]
struct Shift {
    dx: f64,
    dy: f64,
    scale: f64,
}

impl Shift {
    fn of_picture(self, picture: &Rgb, centre: (f64, f64)) -> Rgb {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let across = Axis::moved(width, centre.0, self.scale, self.dx, Kernel::Cubic);
        let down = Axis::moved(height, centre.1, self.scale, self.dy, Kernel::Cubic);
        let pixels = resample::<3>(picture.pixels(), width, &across, &down);
        Rgb::from_parts(picture.width(), picture.height(), pixels)
    }

    fn of_mask(self, mask: &Mask, centre: (f64, f64)) -> Mask {
        // With a border of black: what is cut off at the picture's edge must not grow there.
        let (width, height) = (mask.width() as usize, mask.height() as usize);
        let wide = width + 2;
        let mut bordered = vec![0; wide * (height + 2)];
        let rows = bordered.chunks_exact_mut(wide).skip(1);
        for (row, values) in rows.zip(mask.values().chunks_exact(width)) {
            row[1..=width].copy_from_slice(values);
        }
        let axis = |side: usize, centre: f64, by: f64| {
            Axis::moved(side + 2, centre + 1.0, self.scale, by, Kernel::Triangle)
        };
        let (across, down) = (
            axis(width, centre.0, self.dx),
            axis(height, centre.1, self.dy),
        );
        let moved = resample::<1>(&bordered, wide, &across, &down);
        let rows = moved.chunks_exact(wide).skip(1).take(height);
        let values = rows.flat_map(|row| &row[1..=width]).copied().collect();
        Mask::from_parts(mask.width(), mask.height(), values)
    }
}

/// What the mask selects, moved over a picture in which it is no longer.
fn transformed(picture: &Rgb, mask: &Mask, shift: Shift) -> Rgb {
    let left: Vec<bool> = mask.values().iter().map(|&value| value == 0).collect();
    let without = blended(picture, &inpaint::filled(picture, &left), mask);
    let centre = centre_of_selection(mask);
    let moved = shift.of_picture(picture, centre);
    blended(&without, &moved, &shift.of_mask(mask, centre))
}

fn centre_of(picture: &Rgb) -> (f64, f64) {
    let (width, height) = (f64::from(picture.width()), f64::from(picture.height()));
    (width / 2.0, height / 2.0)
}

/// The middle of the smallest box around all that is selected.
fn centre_of_selection(mask: &Mask) -> (f64, f64) {
    let width = mask.width() as usize;
    let (mut columns, mut rows) = ((usize::MAX, 0), (usize::MAX, 0));
    for (y, row) in mask.values().chunks_exact(width).enumerate() {
        let first = row.iter().position(|&value| value > 0);
        let last = row.iter().rposition(|&value| value > 0);
        if let (Some(first), Some(last)) = (first, last) {
            columns = (columns.0.min(first), columns.1.max(last + 1));
            rows = (rows.0.min(y), y + 1);
        }
    }
    let middle = |(start, end): (usize, usize)| (start.min(end) + end) as f64 / 2.0;
    (middle(columns), middle(rows))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::align::tests::scene;
    use crate::rect::Rect;

    const ALL: [Edit; 7] = [
        Edit::Greyscale,
        Edit::Blur { radius: 5 },
        Edit::Outline,
        Edit::Posterise { levels: 3 },
        Edit::Contrast { factor: 1.7 },
        Edit::Paint {
            colour: [200, 10, 60],
            opacity: 0.8,
        },
        Edit::Transform {
            dx: 6.0,
            dy: -3.0,
            scale: 1.2,
        },
    ];

    fn example() -> Rgb {
        scene(64, 48, (0.0, 0.0, 1.0))
    }

    /// White in the 16x12 px at 20, 16.
    fn patch() -> Mask {
        let mut mask = Mask::empty(64, 48);
        mask.fill_rect(rect(20, 16, 16, 12), 255);
        mask
    }

    fn rect(x: u32, y: u32, width: u32, height: u32) -> Rect {
        Rect {
            x,
            y,
            width,
            height,
        }
    }

    #[test]
    fn outside_the_mask_nothing_changes_and_inside_all_as_without() {
        let (picture, mask) = (example(), patch());
        for edit in &ALL[..6] {
            let (masked, whole) = (
                edit.apply(&picture, Some(&mask)),
                edit.apply(&picture, None),
            );
            let (masked, whole) = (masked.unwrap(), whole.unwrap());
            assert_ne!(masked, picture, "{edit:?} is seen");
            for (i, &value) in (0u32..).zip(mask.values()) {
                let (x, y) = (i % 64, i / 64);
                let expected = if value == 255 { &whole } else { &picture };
                assert_eq!(
                    masked.pixel(x, y),
                    expected.pixel(x, y),
                    "{edit:?} at {x}, {y}"
                );
            }
        }
    }

    #[test]
    fn soft_pixels_change_by_their_value() {
        let white = Rgb::filled(3, 1, [255; 3]);
        let mask = Mask::new(3, 1, vec![0, 51, 255]).unwrap();
        let (colour, opacity) = ([0, 0, 0], 1.0);
        let painted = Edit::Paint { colour, opacity }.apply(&white, Some(&mask));
        let painted = painted.unwrap();
        let reds: Vec<u8> = painted.pixels().iter().step_by(3).copied().collect();
        assert_eq!(reds, [255, 204, 0], "none, a fifth and all of the black");
    }

    #[test]
    fn every_edit_does_what_it_says() {
        let one = |rgb: [u8; 3], edit: Edit| {
            let edited = edit.apply(&Rgb::filled(9, 9, rgb), None).unwrap();
            edited.pixel(4, 4).unwrap()
        };
        assert_eq!(one([255, 0, 0], Edit::Greyscale), [54; 3], "red is dark");
        assert_eq!(
            one([9, 99, 200], Edit::Outline),
            [255; 3],
            "flat has no lines"
        );
        let levels = |levels| Edit::Posterise { levels };
        assert_eq!(
            one([100, 130, 250], levels(3)),
            [128, 128, 255],
            "0, 128 or 255"
        );
        assert_eq!(
            one([100, 130, 250], levels(0)),
            [0, 255, 255],
            "at least two"
        );
        let contrast = |factor| Edit::Contrast { factor };
        assert_eq!(one([100, 200, 0], contrast(0.0)), [128; 3], "all grey");
        assert_eq!(one([100, 200, 0], contrast(2.0)), [73, 255, 0], "more");
        assert_eq!(one([1, 2, 3], contrast(1.0)), [1, 2, 3], "as before");
    }

    #[test]
    fn a_step_becomes_a_dark_line() {
        let mut picture = Rgb::filled(20, 20, [40; 3]);
        picture.pixels_mut()[..600].fill(200);
        let lines = Edit::Outline.apply(&picture, None).unwrap();
        assert_eq!(lines.pixel(9, 10), Some([0; 3]), "on the edge");
        assert_eq!(lines.pixel(9, 3), Some([255; 3]), "away from it");
    }

    #[test]
    fn what_is_moved_arrives_and_leaves_no_hole() {
        let mut picture = Rgb::filled(64, 48, [90, 120, 150]);
        for (i, pixel) in picture.pixels_mut().chunks_exact_mut(3).enumerate() {
            if (20..36).contains(&(i % 64)) && (16..28).contains(&(i / 64)) {
                pixel.copy_from_slice(&[250, 20, 30]);
            }
        }
        let (dx, dy, scale) = (20.0, -8.0, 0.5);
        let moved = Edit::Transform { dx, dy, scale }.apply(&picture, Some(&patch()));
        let moved = moved.unwrap();
        for i in 0..64 * 48 {
            let (x, y) = (i % 64, i / 64);
            // From the middle 28, 22 to 48, 14, half as large.
            let inside = (45..51).contains(&x) && (12..16).contains(&y);
            let near = (43..53).contains(&x) && (10..18).contains(&y);
            let rgb = moved.pixel(x, y).unwrap();
            // The cubic overshoots a little along edges.
            let is_red = rgb[0] > 235 && rgb[1] < 40 && rgb[2] < 50;
            assert!(!inside || is_red, "{rgb:?} at {x}, {y}");
            assert!(near || rgb == [90, 120, 150], "{rgb:?} at {x}, {y}");
        }
    }

    #[test]
    fn moving_everything_moves_the_picture() {
        let picture = example();
        let (dx, dy, scale) = (3.0, 2.0, 1.0);
        let moved = Edit::Transform { dx, dy, scale }
            .apply(&picture, None)
            .unwrap();
        assert_eq!(
            moved.pixel(13, 12),
            picture.pixel(10, 10),
            "to the right, down"
        );
        let full = Edit::Transform { dx, dy, scale }.apply(&picture, Some(&Mask::full(64, 48)));
        assert_eq!(
            full.unwrap().pixel(13, 12),
            picture.pixel(10, 10),
            "as with all white"
        );
    }

    #[test]
    fn no_number_breaks_an_edit() {
        let picture = example();
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, 0.0, 1e30] {
            let colour = [1, 2, 3];
            let edits = [
                Edit::Contrast { factor: odd },
                Edit::Paint {
                    colour,
                    opacity: odd,
                },
                Edit::Blur { radius: u32::MAX },
                Edit::Transform {
                    dx: odd,
                    dy: odd,
                    scale: odd,
                },
            ];
            for edit in edits {
                for mask in [None, Some(&patch())] {
                    let edited = edit.apply(&picture, mask).unwrap();
                    assert_eq!(edited.width(), 64, "{edit:?} is an answer");
                }
            }
        }
    }

    #[test]
    fn a_mask_that_selects_nothing_or_does_not_fit_is_refused() {
        for edit in ALL {
            let empty = edit.apply(&example(), Some(&Mask::empty(64, 48)));
            assert!(matches!(empty, Err(ImageError::EmptyMask)), "{edit:?}");
            let small = edit.apply(&example(), Some(&Mask::full(6, 4)));
            assert!(
                matches!(small, Err(ImageError::MaskSizeDiffers { .. })),
                "{edit:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_transform_of_nothing_changes_hardly_anything(values in proptest::collection::vec(any::<u8>(), 64 * 48)) {
            let mask = Mask::new(64, 48, values).unwrap();
            let (dx, dy, scale) = (0.0, 0.0, 1.0);
            let picture = example();
            let same = Edit::Transform { dx, dy, scale }.apply(&picture, Some(&mask)).unwrap();
            for ((a, b), share) in picture.pixels().iter().zip(same.pixels()).zip(mask.values().iter().flat_map(|&v| [v; 3])) {
                prop_assert!((1..255).contains(&share) || a == b, "where it is black or white, nothing");
            }
        }
    }
}
