//! Where A and B differ: the map, a suggested mask, and what is wrong with a pair.

use std::fmt;

use crate::align::Alignment;
use crate::colour::match_colour;
use crate::error::ImageError;
use crate::mask::Mask;
use crate::rgb::Rgb;
use crate::window;

/// The map `|A - B|` of two pictures that are not identical.
#[derive(Clone, PartialEq, Eq)]
pub struct Difference {
    width: u32,
    height: u32,
    /// `[height, width]`: the largest difference of the three channels.
    values: Vec<u8>,
}

impl Difference {
    /// Compares pixel by pixel.
    ///
    /// # Errors
    /// [`ImageError::PairSizesDiffer`]; [`ImageError::Identical`] when there is no difference.
    pub fn between(a: &Rgb, b: &Rgb) -> Result<Self, ImageError> {
        Rgb::check_same_size(a, b)?;
        let pixels = a.pixels().chunks_exact(3).zip(b.pixels().chunks_exact(3));
        let largest = |(a, b): (&[u8], &[u8])| {
            a.iter()
                .zip(b)
                .map(|(a, b)| a.abs_diff(*b))
                .max()
                .unwrap_or(0)
        };
        let values: Vec<u8> = pixels.map(largest).collect();
        if values.iter().all(|&value| value == 0) {
            return Err(ImageError::Identical);
        }
        Ok(Self {
            width: a.width(),
            height: a.height(),
            values,
        })
    }

    /// Width in px.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in px.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The map, `[height, width]`.
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    /// The share of pixels that differ by more than `threshold`, 0..=1.
    pub fn changed_share(&self, threshold: u8) -> f64 {
        let changed = self
            .values
            .iter()
            .filter(|&&value| value > threshold)
            .count();
        changed as f64 / self.values.len() as f64
    }

    /// A mask of the pixels that differ by more than `threshold`. May be empty.
    pub fn mask_above(&self, threshold: u8) -> Mask {
        let above = self
            .values
            .iter()
            .map(|&v| if v > threshold { 255 } else { 0 });
        Mask::from_parts(self.width, self.height, above.collect())
    }

    /// The map for the eye, straight RGBA, `[height, width, 4]`: from transparent where nothing
    /// differs over violet and pink to orange where all does.
    ///
    /// All colours are of one lightness, at which they can be told from black and from white, and
    /// equal steps of the ramp look equal. It grows with the square root of the difference, or
    /// what is slight would not be seen.
    pub fn heat_rgba(&self) -> Vec<u8> {
        let ramp = heat_ramp();
        let colours = self.values.iter().map(|&value| ramp[usize::from(value)]);
        colours.flatten().collect()
    }

    /// A mask of what changed, with holes closed and a margin of 1/64 of the longer side, so that
    /// soft edges and shadows are inside. Never empty.
    ///
    /// What counts as changed depends on the pair: the median difference is what the untouched
    /// part carries (0 when saved losslessly, a few levels after JPEG), and a change must stand
    /// out of it in the mean of 3x3 px, so that single noisy pixels do not count.
    pub fn suggested_mask(&self) -> Mask {
        let width = self.width as usize;
        let mut changed = self.above(self.floor());
        if changed.iter().all(|&value| value == 0) {
            // The whole change is that faint: then it is all there is to learn.
            changed = self.mask_above(0).values().to_vec();
        }

        let margin = (width.max(self.height as usize) / 64).max(1);
        // Growing by two margins and shrinking by one closes holes and leaves one margin.
        let grown = window::max(&changed, width, 2 * margin);
        let values = window::min(&grown, width, margin);
        Mask::from_parts(self.width, self.height, values)
    }

    /// The same map with 0 where it does not stand out of what the untouched part carries, so that
    /// noise all over a picture does not count as much as the change. All of it if nothing stands
    /// out.
    ///
    /// Unlike [`Self::suggested_mask`], what differs by more than noise ever does always counts:
    /// where most of B has another colour, the median is no noise.
    pub fn without_noise(&self) -> Self {
        let stands_out = self.above(self.floor().min(f32::from(SLIGHT)));
        let values = self.values.iter().zip(stands_out);
        let values: Vec<u8> = values
            .map(|(value, stands_out)| value & stands_out)
            .collect();
        if values.iter().all(|&value| value == 0) {
            return self.clone();
        }
        Self { values, ..*self }
    }

    /// What the untouched part may differ by, of 255, for all that is known of it.
    fn floor(&self) -> f32 {
        const CLEAN_THRESHOLD: f32 = 4.0;
        const NOISE_FACTOR: f32 = 4.0;
        CLEAN_THRESHOLD + NOISE_FACTOR * f32::from(median(self.values.clone()))
    }

    /// 255 where the mean of 3x3 px is more than `floor`, else 0, `[height, width]`.
    fn above(&self, floor: f32) -> Vec<u8> {
        let smooth = window::mean(&self.values, self.width as usize, 1);
        let binary = |value| if value > floor { 255 } else { 0 };
        smooth.into_iter().map(binary).collect()
    }
}

impl fmt::Debug for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = self.changed_share(0) * 100.0;
        write!(
            f,
            "Difference({}x{}, {share:.1} % changed)",
            self.width, self.height
        )
    }
}

/// RGBA of each difference.
fn heat_ramp() -> [[u8; 4]; 256] {
    // In OKLCh (Ottosson 2020), hues in radians.
    const LIGHTNESS: f64 = 0.68;
    const CHROMA: f64 = 0.17;
    const HUES: (f64, f64) = (-1.2, 1.1);
    const ALPHAS: (f64, f64) = (0.35, 1.0);
    let mix = |(from, to): (f64, f64), share: f64| from + (to - from) * share;
    std::array::from_fn(|value| {
        if value == 0 {
            return [0; 4];
        }
        let share = (value as f64 / 255.0).sqrt();
        let hue = mix(HUES, share);
        let [r, g, b] = of_oklab([LIGHTNESS, CHROMA * hue.cos(), CHROMA * hue.sin()]);
        [r, g, b, (mix(ALPHAS, share) * 255.0).round() as u8]
    })
}

/// The sRGB bytes of a colour in OKLab.
fn of_oklab([lightness, a, b]: [f64; 3]) -> [u8; 3] {
    let long = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let medium = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let short = (lightness - 0.089_484_177_5 * a - 1.291_485_548_0 * b).powi(3);
    let linear = [
        4.076_741_662_1 * long - 3.307_711_591_3 * medium + 0.230_969_929_2 * short,
        -1.268_438_004_6 * long + 2.609_757_401_1 * medium - 0.341_319_396_5 * short,
        -0.004_196_086_3 * long - 0.703_418_614_7 * medium + 1.707_614_701_0 * short,
    ];
    linear.map(|value| {
        let encoded = if value <= 0.003_130_8 {
            12.92 * value
        } else {
            1.055 * value.powf(1.0 / 2.4) - 0.055
        };
        (encoded * 255.0).round() as u8
    })
}

/// What makes a pair teach more than the user meant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PairWarning {
    /// Nearly all of B is lighter or darker than A by about the same.
    BrightnessShift {
        /// Median of B - A, in levels of 255.
        levels: i16,
    },
    /// B was moved or scaled against A, and that explains most of the difference.
    Unaligned {
        /// What lays B on A.
        alignment: Alignment,
    },
    /// Most pixels, or most of those away from the change, differ, but only a little, as after
    /// JPEG compression.
    Noise {
        /// The share of these pixels that differ at all, 0..=1.
        share: f64,
    },
    /// Most pixels differ a lot, as when B is another picture.
    MostlyChanged {
        /// The share of pixels that differ strongly, 0..=1.
        share: f64,
    },
}

impl PairWarning {
    /// The likeliest trouble of a pair, if any. A hint for people, to be shown and not enforced.
    ///
    /// # Errors
    /// As [`warnings`].
    pub fn of(a: &Rgb, b: &Rgb, mask: Option<&Mask>) -> Result<Option<Self>, ImageError> {
        Ok(warnings(a, b, mask)?.into_iter().next())
    }
}

/// All troubles of a pair, the likeliest first: each is looked for in what those before it leave
/// unexplained.
///
/// Outside a mask A and B should be the same, so with one, brightness is judged there. Noise and
/// another picture outside it are not learnt, and so not told.
///
/// # Errors
/// As [`Difference::between`]; [`ImageError::MaskSizeDiffers`].
pub fn warnings(a: &Rgb, b: &Rgb, mask: Option<&Mask>) -> Result<Vec<PairWarning>, ImageError> {
    let difference = Difference::between(a, b)?;
    if let Some(mask) = mask {
        mask.check_on(a)?;
    }
    // A mask that leaves next to nothing says nothing about the rest.
    let mask = mask.filter(|mask| left_by(mask) >= LEAST_LEFT);

    let shift = brightness_shift(a, b, mask);
    let matched = shift.map(|_| match_colour(a, b, mask)).transpose()?;
    let unaligned = unaligned(&difference, a, matched.as_ref().unwrap_or(b));
    let mut found: Vec<PairWarning> = shift.into_iter().chain(unaligned).collect();
    if mask.is_none() && found.is_empty() {
        found.extend(noise(&difference));
    }
    if mask.is_none() && found.is_empty() {
        found.extend(mostly_changed(&difference));
    }
    Ok(found)
}

/// The least share of a picture from which the rest is judged.
const LEAST_LEFT: f64 = 0.05;

/// Differences of more than this are more than noise.
const SLIGHT: u8 = 16;

/// Differences of more than this are a change.
const STRONG: u8 = 32;

fn left_by(mask: &Mask) -> f64 {
    let left = mask.values().iter().filter(|&&value| value == 0).count();
    left as f64 / mask.values().len() as f64
}

fn brightness_shift(a: &Rgb, b: &Rgb, mask: Option<&Mask>) -> Option<PairWarning> {
    let is_left = |i: usize| mask.is_none_or(|mask| mask.values()[i] == 0);
    let shifts = shifts(a, b).into_iter().enumerate();
    let shifts: Vec<i16> = shifts
        .filter(|(i, _)| is_left(*i))
        .map(|(_, v)| v)
        .collect();
    let levels = median(shifts.clone());
    let together = shifts
        .iter()
        .filter(|shift| shift.signum() == levels.signum())
        .count();
    // An edit that recolours the background moves much of the picture, but hardly all of it.
    let is_shift = levels.abs() >= 2 && together as f64 >= 0.75 * shifts.len() as f64;
    is_shift.then_some(PairWarning::BrightnessShift { levels })
}

fn unaligned(difference: &Difference, a: &Rgb, b: &Rgb) -> Option<PairWarning> {
    // Where little differs, B lies on A; that spares clean pairs the search.
    const LEAST_TOUCHED: f64 = 0.2;
    if difference.changed_share(0) < LEAST_TOUCHED {
        return None;
    }
    let alignment = Alignment::estimate(a, b)?;
    let is_explained = leaves_the_rest(alignment, a, b);
    is_explained.then_some(PairWarning::Unaligned { alignment })
}

/// Whether what lies on A already stays there when B is aligned, up to little of what is gained. Where
/// a part of the picture moved and the rest did not, such as a head that became smaller, that is the
/// edit.
fn leaves_the_rest(alignment: Alignment, a: &Rgb, b: &Rgb) -> bool {
    const ALIKE: u8 = 8;
    /// A pixel alone is alike by chance, one with its surroundings is not, px.
    const SURROUNDINGS: usize = 2;
    const MOST_LOST: f64 = 0.1;
    let Ok(before) = Difference::between(a, b) else {
        return false;
    };
    let Ok(after) = Difference::between(a, &alignment.apply(b)) else {
        return true;
    };
    let around = window::max(before.values(), a.width() as usize, SURROUNDINGS);
    let (mut lost, mut gained) = (0.0, 0.0);
    let values = before.values().iter().zip(after.values());
    for ((&before, &after), around) in values.zip(around) {
        if around <= ALIKE && after > STRONG {
            lost += 1.0;
        } else if before > ALIKE && after <= ALIKE {
            gained += 1.0;
        }
    }
    lost <= MOST_LOST * gained
}

fn noise(difference: &Difference) -> Option<PairWarning> {
    let touched = difference.changed_share(0);
    let clearly = difference.changed_share(SLIGHT);
    if touched >= 0.5 && clearly < touched / 2.0 {
        return Some(PairWarning::Noise { share: touched });
    }
    noise_away_from_the_change(difference)
}

/// Compression disturbs a picture everywhere, an edit only around itself.
fn noise_away_from_the_change(difference: &Difference) -> Option<PairWarning> {
    const AWAY: usize = 16;
    const LEAST_TOUCHED: f64 = 0.4;
    const MOST_CLEARLY: f64 = 0.05;
    let strong = difference.mask_above(STRONG);
    let width = difference.width as usize;
    let near = window::max(strong.values(), width, AWAY);
    let values = difference.values.iter().zip(near);
    let away: Vec<u8> = values
        .filter(|(_, near)| *near == 0)
        .map(|(&v, _)| v)
        .collect();
    if (away.len() as f64) < LEAST_LEFT * difference.values.len() as f64 {
        return None;
    }
    let share = |least: u8| {
        let above = away.iter().filter(|&&value| value > least).count();
        above as f64 / away.len() as f64
    };
    let is_noise = share(0) >= LEAST_TOUCHED && share(SLIGHT) <= MOST_CLEARLY;
    is_noise.then(|| PairWarning::Noise { share: share(0) })
}

fn mostly_changed(difference: &Difference) -> Option<PairWarning> {
    let share = difference.changed_share(STRONG);
    (share >= 0.6).then_some(PairWarning::MostlyChanged { share })
}

impl fmt::Display for PairWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: &f64| (share * 100.0).round();
        match self {
            Self::BrightnessShift { levels } => {
                let direction = if *levels > 0 { "lighter" } else { "darker" };
                let levels = levels.unsigned_abs();
                write!(
                    f,
                    "B is {direction} than A nearly everywhere (by {levels} of 255), and that would be learnt too; match their brightness."
                )
            }
            Self::Unaligned { alignment } => {
                let Alignment { dx, dy, scale } = alignment;
                write!(
                    f,
                    "B does not lie on A (it does when moved by {dx:.1}, {dy:.1} px and scaled by {scale:.3}), and that would be learnt too; align B first."
                )
            }
            Self::Noise { share } => write!(
                f,
                "A and B differ slightly in {} % of the picture, as after JPEG compression; save both losslessly, or mask only what is meant.",
                percent(share)
            ),
            Self::MostlyChanged { share } => write!(
                f,
                "A and B differ strongly in {} % of the picture; check that they show the same scene, or mask only what is meant.",
                percent(share)
            ),
        }
    }
}

/// B - A of each pixel, channels averaged.
fn shifts(a: &Rgb, b: &Rgb) -> Vec<i16> {
    let sum = |pixel: &[u8]| pixel.iter().map(|&channel| i16::from(channel)).sum::<i16>();
    let pixels = a.pixels().chunks_exact(3).zip(b.pixels().chunks_exact(3));
    pixels.map(|(a, b)| (sum(b) - sum(a)) / 3).collect()
}

/// The middle value; of none, the default.
fn median<T: Copy + Default + Ord>(mut values: Vec<T>) -> T {
    if values.is_empty() {
        return T::default();
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable(middle).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::align::tests::scene;
    use crate::rect::Rect;

    const SIDE: u32 = 64;

    /// A gradient with a soft texture, so that no colour is everywhere.
    fn example() -> Rgb {
        let bytes =
            |i: u32| [40 + i % SIDE * 2, 60 + i / SIDE * 2, 80 + i * 7 % 13].map(|v| v as u8);
        Rgb::new(SIDE, SIDE, (0..SIDE * SIDE).flat_map(bytes).collect()).unwrap()
    }

    fn mapped(picture: &Rgb, change: impl Fn(u32, u32, u8) -> u8) -> Rgb {
        let mut picture = picture.clone();
        let width = picture.width();
        for (i, byte) in picture.pixels_mut().iter_mut().enumerate() {
            let i = i as u32 / 3;
            *byte = change(i % width, i / width, *byte);
        }
        picture
    }

    /// A 12x12 px square.
    fn in_square(x: u32, y: u32) -> bool {
        (20..32).contains(&x) && (30..42).contains(&y)
    }

    /// -2..=2, the same for the same place.
    fn noise(x: u32, y: u32) -> i16 {
        (((x * 7919) ^ (y * 104_729)) % 5) as i16 - 2
    }

    fn noisy(x: u32, y: u32, byte: u8) -> u8 {
        (i16::from(byte) + noise(x, y)).clamp(0, 255) as u8
    }

    #[test]
    fn the_largest_channel_counts() {
        let a = Rgb::new(2, 1, vec![10, 20, 30, 0, 0, 0]).unwrap();
        let b = Rgb::new(2, 1, vec![12, 15, 30, 0, 0, 0]).unwrap();
        let difference = Difference::between(&a, &b).unwrap();
        assert_eq!(difference.values(), [5, 0], "5 is more than 2 and 0");
        assert_eq!(difference.changed_share(0), 0.5, "one of two pixels");
        assert_eq!(difference.changed_share(5), 0.0, "none by more than 5");
    }

    #[test]
    fn identical_pictures_are_refused() {
        let error = Difference::between(&example(), &example()).unwrap_err();
        assert!(matches!(error, ImageError::Identical), "{error}");
    }

    #[test]
    fn the_suggested_mask_covers_the_change_with_a_small_margin() {
        let b = mapped(
            &example(),
            |x, y, v| if in_square(x, y) { 255 - v } else { v },
        );
        let mask = Difference::between(&example(), &b)
            .unwrap()
            .suggested_mask();
        assert!(covers_square(&mask), "all that changed is inside");
        assert!(
            mask.coverage() < 18.0 * 18.0 / 4096.0,
            "and little else: {mask:?}"
        );
    }

    #[test]
    fn the_suggested_mask_sees_through_noise() {
        let b = mapped(&example(), |x, y, v| {
            noisy(x, y, if in_square(x, y) { 255 - v } else { v })
        });
        let mask = Difference::between(&example(), &b)
            .unwrap()
            .suggested_mask();
        assert!(covers_square(&mask), "the change stands out of the noise");
        assert!(mask.coverage() < 0.1, "the noise is not selected: {mask:?}");
    }

    fn covers_square(mask: &Mask) -> bool {
        let at = |x: u32, y: u32| mask.values()[(y * SIDE + x) as usize];
        (0..SIDE * SIDE)
            .map(|i| (i % SIDE, i / SIDE))
            .all(|(x, y)| !in_square(x, y) || at(x, y) == 255)
    }

    #[test]
    fn the_suggested_mask_of_a_faint_change_is_not_empty() {
        let b = mapped(
            &example(),
            |x, y, v| if (x, y) == (5, 5) { v + 1 } else { v },
        );
        let mask = Difference::between(&example(), &b)
            .unwrap()
            .suggested_mask();
        assert!(
            !mask.is_empty(),
            "one level in one pixel is still the change"
        );
    }

    #[test]
    fn a_clean_edit_gives_no_warning() {
        let b = mapped(
            &example(),
            |x, y, v| if in_square(x, y) { 255 - v } else { v },
        );
        assert_eq!(
            PairWarning::of(&example(), &b, None).unwrap(),
            None,
            "nothing to complain about"
        );

        let half = mapped(&example(), |x, _, v| if x < 36 { v + 60 } else { v });
        assert_eq!(
            PairWarning::of(&example(), &half, None).unwrap(),
            None,
            "56 % recoloured is an edit"
        );
    }

    #[test]
    fn a_brightness_shift_is_told_with_its_direction() {
        let b = mapped(&example(), |x, y, v| noisy(x, y, v.saturating_sub(6)));
        let warning = PairWarning::of(&example(), &b, None).unwrap().unwrap();
        assert!(
            matches!(warning, PairWarning::BrightnessShift { levels: -7..=-5 }),
            "{warning:?}"
        );
        assert!(warning.to_string().contains("darker"), "{warning}");
    }

    #[test]
    fn noise_everywhere_is_told() {
        let warning = PairWarning::of(&example(), &mapped(&example(), noisy), None).unwrap();
        assert!(
            matches!(warning, Some(PairWarning::Noise { .. })),
            "{warning:?}"
        );
    }

    #[test]
    fn another_picture_is_told() {
        let b = mapped(&example(), |x, y, v| {
            v.wrapping_add(60 + ((x * y) % 97) as u8 * 2)
        });
        let warning = PairWarning::of(&example(), &b, None).unwrap();
        assert!(
            matches!(warning, Some(PairWarning::MostlyChanged { .. })),
            "{warning:?}"
        );
    }

    /// 256x256 px with detail of all sizes.
    fn photo() -> Rgb {
        scene(256, 256, (0.0, 0.0, 1.0))
    }

    /// Another colour in the left `columns`.
    fn recoloured(picture: &Rgb, columns: u32) -> Rgb {
        mapped(picture, |x, _, v| if x < columns { 255 - v / 2 } else { v })
    }

    #[test]
    fn noise_is_told_beside_a_large_change() {
        let b = recoloured(&photo(), 150);
        assert_eq!(warnings(&photo(), &b, None).unwrap(), [], "a clean edit");
        let noisy = mapped(&b, noisy);
        let found = warnings(&photo(), &noisy, None).unwrap();
        assert!(
            matches!(found[..], [PairWarning::Noise { share }] if share > 0.5),
            "{found:?}"
        );
    }

    #[test]
    fn a_moved_b_is_told_with_the_way_back() {
        let b = recoloured(&scene(256, 256, (5.0, -3.0, 1.0)), 40);
        let found = warnings(&photo(), &b, None).unwrap();
        let [PairWarning::Unaligned { alignment }] = found[..] else {
            panic!("{found:?}");
        };
        let off = (alignment.dx - 5.0).hypot(alignment.dy + 3.0);
        assert!(off < 0.2, "{alignment:?}");
        assert!(found[0].to_string().contains("align"), "{}", found[0]);
    }

    #[test]
    fn a_lighter_and_moved_b_is_told_both() {
        let b = scene(256, 256, (0.0, 6.0, 1.0));
        let b = mapped(&b, |_, _, v| v.saturating_add(80));
        let found = warnings(&photo(), &b, None).unwrap();
        assert!(
            matches!(
                found[..],
                [
                    PairWarning::BrightnessShift { .. },
                    PairWarning::Unaligned { .. }
                ]
            ),
            "{found:?}"
        );
    }

    #[test]
    fn with_a_mask_only_what_reaches_into_it_is_told() {
        let mut mask = Mask::empty(256, 256);
        let whole = Rect::whole(256, 256);
        mask.fill_rect(
            Rect {
                width: 150,
                ..whole
            },
            255,
        );
        let edited = recoloured(&photo(), 150);
        let told = |b: &Rgb| warnings(&photo(), b, Some(&mask)).unwrap();
        assert_eq!(told(&mapped(&edited, noisy)), [], "noise is left out");
        let lighter = mapped(&edited, |_, _, v| v.saturating_add(9));
        assert!(
            matches!(
                told(&lighter)[..],
                [PairWarning::BrightnessShift { levels: 9 }]
            ),
            "brightness is not: {:?}",
            told(&lighter)
        );
        let small = warnings(&photo(), &edited, Some(&Mask::full(9, 9)));
        assert!(small.is_err(), "a mask of another size");
    }

    #[test]
    fn the_mask_above_a_threshold_is_what_differs_by_more() {
        let a = Rgb::filled(3, 1, [10; 3]);
        let b = Rgb::new(3, 1, vec![10, 10, 10, 15, 10, 10, 16, 10, 10]).unwrap();
        let difference = Difference::between(&a, &b).unwrap();
        assert_eq!(difference.mask_above(5).values(), [0, 0, 255], "by 6");
        assert_eq!(difference.mask_above(0).values(), [0, 255, 255], "at all");
        assert!(difference.mask_above(255).is_empty(), "nothing can");
    }

    #[test]
    fn the_heat_map_hides_what_is_equal_and_is_read_on_black_and_white() {
        let ramp = heat_ramp();
        assert_eq!(ramp[0][3], 0, "equal is transparent");
        // Relative luminance and contrast as WCAG 2 defines them.
        let linear = |byte: u8| {
            let value = f64::from(byte) / 255.0;
            if value <= 0.04045 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        };
        for (value, [r, g, b, alpha]) in ramp.into_iter().enumerate().skip(1) {
            assert!(alpha >= ramp[value - 1][3], "ever more opaque, at {value}");
            let luminance = 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
            let (on_black, on_white) = ((luminance + 0.05) / 0.05, 1.05 / (luminance + 0.05));
            assert!(
                on_black > 4.5 && on_white > 2.5,
                "contrast {on_black:.1} and {on_white:.1} at {value}"
            );
        }
        let chroma = |[r, _, b, _]: [u8; 4]| i16::from(r) - i16::from(b);
        assert!(
            chroma(ramp[1]) < -40 && chroma(ramp[255]) > 100,
            "violet to orange: {:?} {:?}",
            ramp[1],
            ramp[255]
        );
    }
}
