//! Which pictures are a pair, by what they show.

use std::collections::BTreeSet;

use mimeo_image::Rgb;

use crate::name::Name;
use crate::{Evidence, Link};

/// Cells along a side.
const SIDE: usize = 32;

/// A cell has changed if a channel differs by this much, of 1; below, it has changed in part. A mean of
/// plain differences would find a head that became smaller farther away than another person on the
/// same ground.
const CHANGED: f32 = 0.1;

/// The largest share of changed cells between two halves. Those of the bundled pairs reach 0.46, where a
/// head becomes smaller; pictures of two people, all on plain grounds, begin at 0.38.
const FARTHEST: f32 = 0.5;

/// How many times as far the next picture must be: of the bundled pairs it is at least 1.14.
const MARGIN: f32 = 1.1;

/// How much two pictures may differ in proportions.
const PROPORTIONS: f32 = 1.1;

/// What pictures are compared by: the mean light of each cell of a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Thumbnail {
    /// Linear RGB in 0..=1, `[32, 32, 3]`.
    cells: Vec<f32>,
    /// Width by height.
    proportion: f32,
}

impl Thumbnail {
    /// Of a picture.
    #[must_use]
    pub fn of(picture: &Rgb) -> Self {
        let linear: Vec<f32> = (0..=255u8).map(linear).collect();
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let mut cells = Vec::with_capacity(SIDE * SIDE * 3);
        for row in 0..SIDE {
            for column in 0..SIDE {
                let mut sums = [0.0f32; 3];
                let (rows, columns) = (cell(row, height), cell(column, width));
                for y in rows.clone() {
                    let start = y * width;
                    let pixels =
                        &picture.pixels()[(start + columns.start) * 3..(start + columns.end) * 3];
                    for pixel in pixels.chunks_exact(3) {
                        for (sum, &sample) in sums.iter_mut().zip(pixel) {
                            *sum += linear[usize::from(sample)];
                        }
                    }
                }
                let area = (rows.len() * columns.len()) as f32;
                cells.extend(sums.map(|sum| sum / area));
            }
        }
        Self {
            cells,
            proportion: width as f32 / height as f32,
        }
    }

    /// The share of cells that have changed; none if one picture is much wider than the other.
    fn distance(&self, other: &Self) -> Option<f32> {
        let by = self.proportion / other.proportion;
        if !(1.0 / PROPORTIONS..=PROPORTIONS).contains(&by) {
            return None;
        }
        let (own, other) = (self.cells.chunks_exact(3), other.cells.chunks_exact(3));
        let changed = own.zip(other).map(|(a, b)| {
            let by = a.iter().zip(b).map(|(a, b)| (a - b).abs());
            by.fold(0.0, f32::max).min(CHANGED) / CHANGED
        });
        Some(changed.sum::<f32>() / (SIDE * SIDE) as f32)
    }
}

/// The pixels of a cell along a side; at least one.
fn cell(at: usize, side: usize) -> std::ops::Range<usize> {
    let start = at * side / SIDE;
    let end = (at + 1) * side / SIDE;
    start..end.max(start + 1)
}

/// sRGB's transfer function (IEC 61966-2-1).
fn linear(sample: u8) -> f32 {
    let value = f32::from(sample) / 255.0;
    if value <= 0.040_45 {
        value / 12.92
    } else {
        ((value + 0.055) / 1.055).powf(2.4)
    }
}

/// Pairs those that are nearest to each other, the nearest first, where no third is nearly as near.
pub fn links(names: &[Name], pictures: &[(usize, Thumbnail)]) -> Vec<Link> {
    let mut pictures: Vec<_> = pictures.iter().collect();
    pictures.sort_by(|a, b| names[a.0].order(&names[b.0]));
    let mut near = Vec::new();
    for (i, (_, a)) in pictures.iter().enumerate() {
        for (j, (_, b)) in pictures.iter().enumerate().skip(i + 1) {
            if let Some(distance) = a.distance(b).filter(|distance| *distance <= FARTHEST) {
                near.push((distance, i, j));
            }
        }
    }
    // Those that are as near keep the order of their names.
    near.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut taken = BTreeSet::new();
    let mut links = Vec::new();
    for &(distance, i, j) in &near {
        if taken.contains(&i) || taken.contains(&j) {
            continue;
        }
        let rivals = near.iter().filter(|&&(_, a, b)| {
            let [of_i, of_j] = [i, j].map(|own| a == own || b == own);
            let other = |own| if a == own { b } else { a };
            of_i != of_j && !taken.contains(&other(if of_i { i } else { j }))
        });
        let next = rivals
            .map(|(distance, ..)| *distance)
            .fold(f32::INFINITY, f32::min);
        taken.extend([i, j]);
        if next > distance * MARGIN {
            links.push(Link {
                evidence: Evidence::Likeness,
                ..Link::new(pictures[i].0, pictures[j].0)
            });
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use mimeo_image::decode;

    use super::*;
    use crate::{Pairing, pair_by_likeness, pair_by_name};

    /// Names of which none says anything, in an order that mixes all pairs.
    fn shuffled(pictures: &[Rgb]) -> (Vec<String>, Vec<(usize, Thumbnail)>) {
        let count = pictures.len();
        // 5 and the count have no common divisor, so that every place is taken once.
        let places = (0..count).map(|i| i * 5 % count);
        let name = |place: usize| {
            format!(
                "{}.png",
                ["oak", "elm", "fir", "yew"][place % 4].repeat(place / 4 + 1)
            )
        };
        let names = places.map(name).collect();
        let thumbnails = pictures.iter().map(Thumbnail::of).enumerate();
        (names, thumbnails.collect())
    }

    fn pair(names: &[String], thumbnails: &[(usize, Thumbnail)]) -> Pairing {
        let paths: Vec<_> = names.iter().map(String::as_str).collect();
        pair_by_likeness(&paths, &pair_by_name(&paths), thumbnails)
    }

    fn bundled() -> Vec<Rgb> {
        let pairs = mimeo_base::pairs().iter();
        let files = pairs.flat_map(|pair| [pair.original_png, pair.target_png]);
        files.map(|file| decode(file).unwrap().picture).collect()
    }

    #[test]
    fn the_bundled_pairs_are_found_among_each_other() {
        let (names, thumbnails) = shuffled(&bundled());
        let pairing = pair(&names, &thumbnails);
        assert_eq!(pairing.pairs.len(), 14, "all of them: {pairing:?}");
        for pair in &pairing.pairs {
            let (a, b) = (pair.original, pair.target);
            assert_eq!(a / 2, b / 2, "{} and {}", names[a], names[b]);
            assert!(names[a] < names[b], "A comes first by name");
            assert_eq!(pair.evidence, Evidence::Likeness, "which is told");
        }
        assert_eq!(
            (pairing.alone, pairing.left),
            (vec![], vec![]),
            "none remains"
        );
    }

    #[test]
    fn people_who_have_no_other_half_stay_alone() {
        let originals: Vec<_> = bundled().into_iter().step_by(2).collect();
        let (names, thumbnails) = shuffled(&originals);
        let pairing = pair(&names, &thumbnails);
        assert_eq!(pairing.pairs, [], "they are other people");
        assert_eq!(pairing.alone.len(), 14, "each for itself");
    }

    #[test]
    fn of_three_alike_none_is_a_pair() {
        let grey = |level: u8| Rgb::filled(40, 40, [level; 3]);
        let (names, thumbnails) = shuffled(&[grey(100), grey(100), grey(100), grey(250)]);
        let pairing = pair(&names, &thumbnails);
        assert_eq!(
            (pairing.pairs.len(), pairing.alone.len()),
            (0, 4),
            "{pairing:?}"
        );
    }

    #[test]
    fn what_names_leave_open_is_found_by_likeness() {
        let [a, b, other] = [[9, 9, 9], [9, 9, 30], [200, 9, 9]].map(|of| Rgb::filled(40, 40, of));
        let names = ["x1.png", "x2.png", "x3.png"].map(str::to_owned);
        let thumbnails: Vec<_> = [a, other, b]
            .iter()
            .map(Thumbnail::of)
            .enumerate()
            .collect();
        let pairing = pair(&names, &thumbnails);
        let [pair] = &pairing.pairs[..] else {
            panic!("one pair: {pairing:?}");
        };
        assert_eq!(
            (pair.original, pair.target),
            (0, 2),
            "the two that are alike"
        );
        let left: Vec<_> = pairing.left.iter().map(|left| left.file).collect();
        assert_eq!(left, [1], "and the third is left as it was");
    }

    #[test]
    fn other_proportions_are_no_pair_and_small_pictures_have_cells_too() {
        let wide = Thumbnail::of(&Rgb::filled(64, 40, [9; 3]));
        let tiny = Thumbnail::of(&Rgb::filled(1, 1, [9; 3]));
        let square = Thumbnail::of(&Rgb::filled(700, 690, [9; 3]));
        assert_eq!(wide.distance(&square), None, "one is wider");
        let distance = tiny.distance(&square).expect("both are square");
        assert!(distance < 1e-4, "the same colour: {distance}");
    }
}
