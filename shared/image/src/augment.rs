//! Other versions of an example: A, B and the mask, changed alike.

use crate::error::ImageError;
use crate::fit::Fit;
use crate::mask::Mask;
use crate::rgb::Rgb;

/// What is done to every picture of an example, in this order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Augmentation {
    /// Left and right change places.
    pub is_mirrored: bool,
    /// Share of each side that is kept.
    pub kept: f64,
    /// Where in the picture that is, as [`Fit::with_offset`] has it.
    pub offset: (f64, f64),
    /// By how much hues are turned, in degrees.
    pub hue: f64,
}

impl Augmentation {
    /// None.
    pub const NONE: Self = Self {
        is_mirrored: false,
        kept: 1.0,
        offset: (0.5, 0.5),
        hue: 0.0,
    };

    /// A picture, changed.
    ///
    /// # Errors
    /// [`ImageError`] never, for a picture of any size.
    pub fn picture(&self, picture: &Rgb) -> Result<Rgb, ImageError> {
        let mut picture = picture.clone();
        let (width, height) = (picture.width(), picture.height());
        if self.is_mirrored {
            let pixels = mirrored::<3>(picture.pixels(), width);
            picture = Rgb::new(width, height, pixels)?;
        }
        if self.kept < 1.0 {
            picture = self.fit(width, height).picture(&picture)?;
        }
        if self.hue != 0.0 {
            picture = Rgb::new(width, height, turned(picture.pixels(), self.hue))?;
        }
        Ok(picture)
    }

    /// A mask, changed; its values stay.
    ///
    /// # Errors
    /// As [`Self::picture`].
    pub fn mask(&self, mask: &Mask) -> Result<Mask, ImageError> {
        let mut mask = mask.clone();
        let (width, height) = (mask.width(), mask.height());
        if self.is_mirrored {
            mask = Mask::new(width, height, mirrored::<1>(mask.values(), width))?;
        }
        if self.kept < 1.0 {
            mask = self.fit(width, height).mask(&mask)?;
        }
        Ok(mask)
    }

    fn fit(&self, width: u32, height: u32) -> Fit {
        let (x, y) = self.offset;
        Fit::part(width, height, self.kept).with_offset(x, y)
    }
}

/// Rows of `N` numbers a pixel, each the other way round.
fn mirrored<const N: usize>(values: &[u8], width: u32) -> Vec<u8> {
    let rows = values.chunks_exact(width as usize * N);
    rows.flat_map(|row| row.chunks_exact(N).rev().flatten().copied())
        .collect()
}

/// Colours whose hue is turned and whose luminance stays (W3C Filter Effects Module Level 1,
/// `feColorMatrix` of type `hueRotate`).
fn turned(pixels: &[u8], degrees: f64) -> Vec<u8> {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let matrix = [
        [
            0.213 + cos * 0.787 - sin * 0.213,
            0.715 - cos * 0.715 - sin * 0.715,
            0.072 - cos * 0.072 + sin * 0.928,
        ],
        [
            0.213 - cos * 0.213 + sin * 0.143,
            0.715 + cos * 0.285 + sin * 0.140,
            0.072 - cos * 0.072 - sin * 0.283,
        ],
        [
            0.213 - cos * 0.213 - sin * 0.787,
            0.715 - cos * 0.715 + sin * 0.715,
            0.072 + cos * 0.928 + sin * 0.072,
        ],
    ];
    let (colours, _) = pixels.as_chunks::<3>();
    let turned = colours.iter().flat_map(|colour| {
        let colour = colour.map(f64::from);
        matrix.map(|row| {
            let sum: f64 = row
                .iter()
                .zip(colour)
                .map(|(share, value)| share * value)
                .sum();
            // The cast keeps it within what a picture can hold.
            sum.round() as u8
        })
    });
    turned.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pixel another colour, its left half painted.
    fn example() -> (Rgb, Mask) {
        let pixels = (0..8 * 6_u32).flat_map(|at| [(at * 5) as u8, 255 - at as u8, at as u8]);
        let values = (0..8 * 6_u32).map(|at| if at % 8 < 4 { 255 } else { 0 });
        let picture = Rgb::new(8, 6, pixels.collect()).expect("its bytes");
        (
            picture,
            Mask::new(8, 6, values.collect()).expect("its values"),
        )
    }

    #[test]
    fn nothing_leaves_everything_as_it_is() {
        let (picture, mask) = example();
        let same = Augmentation::NONE.picture(&picture).expect("a picture");
        assert!(same == picture, "untouched");
        let same = Augmentation::NONE.mask(&mask).expect("a mask");
        assert!(same == mask, "untouched");
    }

    #[test]
    fn mirrored_twice_it_is_as_before_and_the_mask_follows() {
        let (picture, mask) = example();
        let mirror = Augmentation {
            is_mirrored: true,
            ..Augmentation::NONE
        };
        let once = mirror.picture(&picture).expect("a picture");
        assert_eq!(
            once.pixels()[..3],
            picture.pixels()[21..24],
            "right is left"
        );
        assert!(
            mirror.picture(&once).expect("a picture") == picture,
            "twice"
        );
        let painted = mirror.mask(&mask).expect("a mask");
        assert_eq!(painted.value(0, 0), Some(0), "the left half is not painted");
        assert_eq!(painted.value(7, 5), Some(255), "the right half is");
    }

    #[test]
    fn what_is_cut_off_is_scaled_away_and_the_size_stays() {
        let (picture, mask) = example();
        let part = Augmentation {
            kept: 0.5,
            offset: (0.0, 0.0),
            ..Augmentation::NONE
        };
        let cut = part.picture(&picture).expect("a picture");
        assert_eq!((cut.width(), cut.height()), (8, 6), "as it was");
        let painted = part.mask(&mask).expect("a mask");
        assert_eq!(painted.coverage(), 1.0, "the left half is all that is left");
    }

    #[test]
    fn hues_turn_and_greys_stay() {
        let grey = Rgb::filled(2, 2, [90; 3]);
        let turn = |degrees| Augmentation {
            hue: degrees,
            ..Augmentation::NONE
        };
        assert!(
            turn(77.0).picture(&grey).expect("a picture") == grey,
            "grey"
        );
        let red = Rgb::filled(1, 1, [200, 50, 50]);
        let third = turn(120.0).picture(&red).expect("a picture");
        let [r, g, b] = third.pixels()[..] else {
            panic!("one pixel")
        };
        assert!(g > r && g > b, "red becomes green: {r} {g} {b}");
    }
}
