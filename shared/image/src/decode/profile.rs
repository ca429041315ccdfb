//! From the colours that a file's numbers mean to sRGB, which is what models are trained on.
//!
//! Between two files of the same picture, one in sRGB and one in another space, the numbers differ
//! everywhere by a little: enough to be learnt as a part of the change. The conversion is that of
//! moxcms, which follows the ICC specification; LittleCMS gives the same within 1 of 255
//! (`tests/parity/pictures.rs`).

use image::{DynamicImage, RgbImage, RgbaImage};
use moxcms::{
    Chromaticity, CicpColorPrimaries, CicpProfile, CmsError, ColorPrimaries, ColorProfile,
    DataColorSpace, Layout, MatrixCoefficients, ProfileText, RenderingIntent, ToneReprCurve,
    TransferCharacteristics, Transform16BitExecutor, TransformOptions,
};

use super::note::Note;
use crate::error::ImageError;

/// What a file's numbers mean.
pub(super) enum Colours {
    /// An ICC profile, as it is in the file.
    Icc(Vec<u8>),
    /// Adobe RGB by name only, as cameras say it.
    AdobeRgb,
    /// Numbers of ITU-T H.273.
    CodePoints {
        primaries: u8,
        transfer: u8,
        is_full_range: bool,
    },
    /// What a PNG says in numbers of its own.
    Measured {
        /// From light to number: 0.45 in most files.
        gamma: Option<f32>,
        /// x and y of white, red, green and blue.
        chromaticities: Option<[(f32, f32); 4]>,
    },
}

/// Gammas nearer than this to 1 / 2.2 stand for sRGB's curve, which has no gamma: the PNG
/// specification gives sRGB that number (11.3.2.5), and libpng takes the same distance for the same.
const SAME_GAMMA: f32 = 0.05;

/// Rows that are converted at a time, so that no second copy of the picture is made in 16 bits.
const ROWS: u32 = 64;

/// No name of a profile is longer than this many letters when it is told.
const MAX_NAME: usize = 60;

/// A picture's colours in sRGB, 8 bits a channel; the picture as it is where they are in sRGB already
/// (within 1 of 255), or where what the file says cannot be used.
///
/// # Errors
/// [`ImageError::Hdr`].
pub(super) fn to_srgb(
    image: DynamicImage,
    colours: Colours,
) -> Result<(DynamicImage, Option<Note>), ImageError> {
    let source = match Source::of(colours) {
        Ok(source) => source,
        Err(unusable) => return Ok((image, Some(unusable.note()?))),
    };
    Ok(match convert(&image, &source.profile) {
        Ok(None) => (image, None),
        Ok(Some(converted)) => (converted, Some(source.note())),
        Err(unusable) => (image, Some(unusable.note()?)),
    })
}

/// Inks as colours in sRGB.
///
/// - `inks`: `[height, width, 4]`: cyan, magenta, yellow and black, 255 all of it
///
/// # Errors
/// [`ImageError::WrongByteCount`] when the size and the bytes do not belong together.
pub(super) fn inks_to_srgb(
    (width, height): (u32, u32),
    inks: &[u8],
    colours: Option<Colours>,
) -> Result<(DynamicImage, Note), ImageError> {
    let (pixels, note) = match profiled(width, inks, colours) {
        Some(converted) => converted,
        None => (rule_of_thumb(inks), Note::InksWithoutProfile),
    };
    let found = pixels.len() as u64;
    let image = RgbImage::from_raw(width, height, pixels);
    let image = image.ok_or(ImageError::WrongByteCount {
        width,
        height,
        expected: u64::from(width) * u64::from(height) * 3,
        found,
    })?;
    Ok((image.into(), note))
}

/// None without a profile of such inks.
fn profiled(width: u32, inks: &[u8], colours: Option<Colours>) -> Option<(Vec<u8>, Note)> {
    let source = Source::of(colours?).ok()?;
    if source.profile.color_space != DataColorSpace::Cmyk {
        return None;
    }
    // Four samples a pixel, by whatever name.
    let transform = transform(&source.profile, Layout::Rgba, Layout::Rgb).ok()?;
    let mut pixels = Vec::with_capacity(inks.len() / 4 * 3);
    let mut converted = Vec::new();
    for rows in inks.chunks(width as usize * 4 * ROWS as usize) {
        let samples: Vec<u16> = rows.iter().map(|&ink| u16::from(ink) * 257).collect();
        converted.resize(samples.len() / 4 * 3, 0);
        transform.transform(&samples, &mut converted).ok()?;
        pixels.extend(converted.iter().copied().map(to_byte));
    }
    let note = source.note();
    Some((pixels, note))
}

/// As if every ink took away its opposite and black took of all: what browsers do too.
fn rule_of_thumb(inks: &[u8]) -> Vec<u8> {
    let pixels = inks.as_chunks::<4>().0.iter();
    let pixels = pixels.flat_map(|&[cyan, magenta, yellow, black]| {
        [cyan, magenta, yellow].map(|ink| {
            let light = u32::from(255 - ink) * u32::from(255 - black);
            ((light + 127) / 255) as u8
        })
    });
    pixels.collect()
}

/// A profile, and what people call it.
struct Source {
    profile: ColorProfile,
    name: String,
}

/// Why colours cannot be converted.
enum Unusable {
    /// They are brighter than any that sRGB has.
    Hdr(&'static str),
    /// In words that follow "cannot be used".
    Because(String),
}

impl Unusable {
    fn because(reason: &str) -> Self {
        Self::Because(reason.to_owned())
    }

    fn note(self) -> Result<Note, ImageError> {
        match self {
            Self::Hdr(transfer) => Err(ImageError::Hdr { transfer }),
            Self::Because(reason) => Ok(Note::UnusableProfile { reason }),
        }
    }
}

impl From<CmsError> for Unusable {
    fn from(error: CmsError) -> Self {
        Self::Because(one_line(&error.to_string()))
    }
}

impl Source {
    fn of(colours: Colours) -> Result<Self, Unusable> {
        let (profile, name) = match colours {
            Colours::Icc(bytes) => {
                let profile = ColorProfile::new_from_slice(&bytes)?;
                let name = name(&profile);
                (profile, name)
            }
            Colours::AdobeRgb => {
                let name = "Adobe RGB (1998)".to_owned();
                (ColorProfile::new_adobe_rgb(), name)
            }
            Colours::CodePoints {
                primaries,
                transfer,
                is_full_range,
            } => code_points(primaries, transfer, is_full_range)?,
            Colours::Measured {
                gamma,
                chromaticities,
            } => {
                let name = "the gamma and primaries that it names".to_owned();
                (measured(gamma, chromaticities)?, name)
            }
        };
        let transfer = profile.cicp.map(|points| points.transfer_characteristics);
        match transfer {
            Some(TransferCharacteristics::Smpte2084) => Err(Unusable::Hdr("PQ")),
            Some(TransferCharacteristics::Hlg) => Err(Unusable::Hdr("HLG")),
            _ => Ok(Self { profile, name }),
        }
    }

    fn note(self) -> Note {
        Note::Converted { from: self.name }
    }
}

fn code_points(
    primaries: u8,
    transfer: u8,
    is_full_range: bool,
) -> Result<(ColorProfile, String), Unusable> {
    if !is_full_range {
        return Err(Unusable::because("it is for a video's range of numbers"));
    }
    let profile = ColorProfile::new_from_cicp(CicpProfile {
        color_primaries: CicpColorPrimaries::try_from(primaries)?,
        transfer_characteristics: TransferCharacteristics::try_from(transfer)?,
        matrix_coefficients: MatrixCoefficients::Identity,
        full_range: true,
    });
    if !profile.is_matrix_shaper() {
        let reason = format!("its code points {primaries} and {transfer} are not known");
        return Err(Unusable::Because(reason));
    }
    let name = match (primaries, transfer) {
        (12, 13) => "Display P3".to_owned(),
        (9, _) => "BT.2020".to_owned(),
        _ => format!("the code points {primaries} and {transfer}"),
    };
    Ok((profile, name))
}

fn measured(
    gamma: Option<f32>,
    chromaticities: Option<[(f32, f32); 4]>,
) -> Result<ColorProfile, Unusable> {
    let mut profile = ColorProfile::new_srgb();
    // It would go before the curves.
    profile.cicp = None;
    if let Some(points) = chromaticities {
        let [white, red, green, blue] = points.map(|(x, y)| Chromaticity::new(x, y));
        let primaries = ColorPrimaries { red, green, blue };
        profile.update_rgb_colorimetry(white.to_xyyb(), primaries);
        let numbers = profile.colorant_matrix().v;
        let is_sound = |number: &f64| number.is_finite() && number.abs() < 4.0;
        if !numbers.iter().flatten().all(is_sound) {
            return Err(Unusable::because("no colours have these primaries"));
        }
    }
    if let Some(gamma) = gamma
        && (gamma * 2.2 - 1.0).abs() >= SAME_GAMMA
    {
        if !(0.05..=5.0).contains(&gamma) {
            return Err(Unusable::because("no picture has this gamma"));
        }
        let curve = ToneReprCurve::Parametric(vec![gamma.recip()]);
        profile.red_trc = Some(curve.clone());
        profile.green_trc = Some(curve.clone());
        profile.blue_trc = Some(curve);
    }
    Ok(profile)
}

fn name(profile: &ColorProfile) -> String {
    let text = match &profile.description {
        Some(ProfileText::PlainString(text)) => text.as_str(),
        Some(ProfileText::Localizable(texts)) => {
            texts.first().map_or("", |text| text.value.as_str())
        }
        Some(ProfileText::Description(text)) if text.ascii_string.is_empty() => {
            text.unicode_string.as_str()
        }
        Some(ProfileText::Description(text)) => text.ascii_string.as_str(),
        None => "",
    };
    match one_line(text) {
        name if name.is_empty() => "the colours of its profile".to_owned(),
        name => name,
    }
}

/// A text from a file, fit to be shown in a terminal.
fn one_line(text: &str) -> String {
    let letters = text.chars().filter(|letter| !letter.is_control());
    let line: String = letters.take(MAX_NAME).collect();
    line.trim().to_owned()
}

/// None where the colours are those of sRGB already.
fn convert(image: &DynamicImage, profile: &ColorProfile) -> Result<Option<DynamicImage>, Unusable> {
    let (is_coloured, has_alpha) = (image.color().has_color(), image.color().has_alpha());
    let (from, to) = match (profile.color_space, has_alpha) {
        (DataColorSpace::Gray, _) if is_coloured => {
            return Err(Unusable::because("it is for grey pictures"));
        }
        (DataColorSpace::Gray, false) => (Layout::Gray, Layout::Rgb),
        (DataColorSpace::Gray, true) => (Layout::GrayAlpha, Layout::Rgba),
        // Also for grey pictures, which programs that work in colour only write.
        (DataColorSpace::Rgb, false) => (Layout::Rgb, Layout::Rgb),
        (DataColorSpace::Rgb, true) => (Layout::Rgba, Layout::Rgba),
        _ => return Err(Unusable::because("it is for other kinds of pictures")),
    };
    let transform = transform(profile, from, to)?;
    if changes_nothing(&*transform, from, to)? {
        return Ok(None);
    }
    let (width, height) = (image.width(), image.height());
    let mut pixels = Vec::new();
    let mut converted = Vec::new();
    for top in (0..height).step_by(ROWS as usize) {
        let rows = image.crop_imm(0, top, width, ROWS.min(height - top));
        let samples = match from {
            Layout::Gray => rows.into_luma16().into_raw(),
            Layout::GrayAlpha => rows.into_luma_alpha16().into_raw(),
            Layout::Rgba => rows.into_rgba16().into_raw(),
            _ => rows.into_rgb16().into_raw(),
        };
        converted.resize(samples.len() / from.channels() * to.channels(), 0);
        transform.transform(&samples, &mut converted)?;
        pixels.extend(converted.iter().copied().map(to_byte));
    }
    let image = match has_alpha {
        true => RgbaImage::from_raw(width, height, pixels).map(DynamicImage::from),
        false => RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
    };
    Ok(image)
}

fn to_byte(sample: u16) -> u8 {
    ((u32::from(sample) + 128) / 257) as u8
}

fn transform(
    profile: &ColorProfile,
    from: Layout,
    to: Layout,
) -> Result<std::sync::Arc<Transform16BitExecutor>, CmsError> {
    let options = TransformOptions {
        rendering_intent: intent(profile),
        ..TransformOptions::default()
    };
    profile.create_transform_16bit(from, &ColorProfile::new_srgb(), to, options)
}

/// Which of a profile's tables is used; without tables, all are the same.
///
/// Of screens and cameras, the colours as they are measured: tables made to please fit them to paper,
/// with its grey for black. Of presses, those made to please, which fit paper to a screen.
fn intent(profile: &ColorProfile) -> RenderingIntent {
    let mut tables = [
        (
            RenderingIntent::RelativeColorimetric,
            &profile.lut_a_to_b_colorimetric,
        ),
        (RenderingIntent::Perceptual, &profile.lut_a_to_b_perceptual),
        (RenderingIntent::Saturation, &profile.lut_a_to_b_saturation),
    ];
    if profile.color_space == DataColorSpace::Cmyk {
        tables.swap(0, 1);
    }
    let found = tables.into_iter().find(|(_, table)| table.is_some());
    found.map_or(RenderingIntent::Perceptual, |(intent, _)| intent)
}

/// Whether every colour stays where it is, within 1 of 255: most pictures have a profile, and in most
/// it is one of the many that describe sRGB.
fn changes_nothing(
    transform: &Transform16BitExecutor,
    from: Layout,
    to: Layout,
) -> Result<bool, CmsError> {
    /// One of 255, and what tables of 16 bits are off by.
    const NEAR: u16 = 257 + 40;
    let greys = (0..=255_u16).map(|level| [level * 257; 3]);
    let levels = || (0..=8_u16).map(|step| step * 8191 + step / 8 * 7);
    let colours =
        levels().flat_map(|r| levels().flat_map(move |g| levels().map(move |b| [r, g, b])));
    let is_grey = matches!(from, Layout::Gray | Layout::GrayAlpha);
    let tried: Vec<[u16; 3]> = match is_grey {
        true => greys.collect(),
        false => greys.chain(colours).collect(),
    };
    let samples = tried.iter().flat_map(|&[r, g, b]| {
        let opaque = u16::MAX;
        match from {
            Layout::Gray => vec![r],
            Layout::GrayAlpha => vec![r, opaque],
            Layout::Rgba => vec![r, g, b, opaque],
            _ => vec![r, g, b],
        }
    });
    let samples: Vec<u16> = samples.collect();
    let mut converted = vec![0; tried.len() * to.channels()];
    transform.transform(&samples, &mut converted)?;
    let mut pairs = tried.iter().zip(converted.chunks_exact(to.channels()));
    Ok(pairs.all(|(before, after)| {
        let mut channels = before.iter().zip(after);
        channels.all(|(before, after)| before.abs_diff(*after) <= NEAR)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colourful() -> DynamicImage {
        let image = RgbImage::from_fn(16, 16, |x, y| {
            image::Rgb([(x * 17) as u8, (y * 17) as u8, (x * y) as u8])
        });
        image.into()
    }

    fn measured_as(gamma: f32, chromaticities: [(f32, f32); 4]) -> Colours {
        Colours::Measured {
            gamma: Some(gamma),
            chromaticities: Some(chromaticities),
        }
    }

    const SRGB: [(f32, f32); 4] = [(0.3127, 0.329), (0.64, 0.33), (0.3, 0.6), (0.15, 0.06)];

    #[test]
    fn what_only_says_that_it_is_srgb_is_left_alone_without_a_word() {
        let points = Colours::CodePoints {
            primaries: 1,
            transfer: 13,
            is_full_range: true,
        };
        for colours in [measured_as(0.45455, SRGB), points] {
            let (image, note) = to_srgb(colourful(), colours).unwrap();
            assert_eq!(image, colourful(), "not one pixel changes");
            assert_eq!(note, None, "and there is nothing to tell");
        }
    }

    #[test]
    fn a_gamma_is_applied() {
        // Linear light: half of it is 188 in sRGB (IEC 61966-2-1).
        let grey: DynamicImage = image::GrayImage::from_pixel(3, 2, image::Luma([128])).into();
        let (image, note) = to_srgb(grey, measured_as(1.0, SRGB)).unwrap();
        assert_eq!(
            image.to_rgb8().get_pixel(2, 1).0,
            [188; 3],
            "the curve of sRGB"
        );
        let told = note.unwrap().to_string();
        assert!(told.contains("gamma"), "{told}");
    }

    #[test]
    fn alpha_passes_untouched() {
        let image = RgbaImage::from_fn(5, 70, |x, y| image::Rgba([200, 10, 10, (x + y) as u8]));
        let colours = Colours::AdobeRgb;
        let (converted, note) = to_srgb(image.clone().into(), colours).unwrap();
        let alphas = |image: &RgbaImage| image.pixels().map(|it| it.0[3]).collect::<Vec<_>>();
        assert_eq!(
            alphas(&converted.to_rgba8()),
            alphas(&image),
            "what is cut out"
        );
        let from = "Adobe RGB (1998)".to_owned();
        assert_eq!(note, Some(Note::Converted { from }), "what was done");
    }

    #[test]
    fn colours_brighter_than_a_screen_are_refused_by_name() {
        for (transfer, name) in [(16, "PQ"), (18, "HLG")] {
            let colours = Colours::CodePoints {
                primaries: 9,
                transfer,
                is_full_range: true,
            };
            let error = to_srgb(colourful(), colours).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("export"), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_said_and_the_numbers_stay() {
        let black = [(0.0, 0.0); 4];
        for colours in [
            Colours::Icc(b"no profile".to_vec()),
            measured_as(0.0, SRGB),
            measured_as(0.45455, black),
            Colours::CodePoints {
                primaries: 2,
                transfer: 2,
                is_full_range: true,
            },
            Colours::CodePoints {
                primaries: 1,
                transfer: 13,
                is_full_range: false,
            },
        ] {
            let (image, note) = to_srgb(colourful(), colours).unwrap();
            assert_eq!(image, colourful(), "as stored");
            let told = note.unwrap().to_string();
            assert!(told.contains("taken as sRGB"), "{told}");
        }
    }

    #[test]
    fn inks_without_a_profile_are_a_guess_and_said_to_be() {
        let inks = [
            [0, 0, 0, 0],
            [255, 0, 0, 0],
            [0, 0, 0, 255],
            [0, 255, 255, 128],
        ]
        .concat();
        let (image, note) = inks_to_srgb((2, 2), &inks, None).unwrap();
        let expected = [[255, 255, 255], [0, 255, 255], [0, 0, 0], [127, 0, 0]].concat();
        assert_eq!(
            image.to_rgb8().into_raw(),
            expected,
            "white, cyan, black, a dark red"
        );
        assert_eq!(note, Note::InksWithoutProfile, "and it is said");
        assert!(
            inks_to_srgb((2, 3), &inks, None).is_err(),
            "two rows are not three"
        );
    }

    #[test]
    fn names_of_profiles_cannot_write_to_a_terminal() {
        assert_eq!(
            one_line("\u{1b}[31mred\r\n\0 "),
            "[31mred",
            "no control characters"
        );
        assert_eq!(
            one_line(&"long ".repeat(99)).len(),
            MAX_NAME - 1,
            "and not a page of it"
        );
    }
}
