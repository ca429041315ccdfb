//! Small dark text on light pictures, from glyphs that are already rasterised.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use crate::rgb::Rgb;

/// The two sizes a sheet needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Font {
    Label,
    Title,
}

impl Font {
    /// Width of every character, px.
    pub(crate) fn char_width(self) -> u32 {
        let (weight, height) = self.raster();
        get_raster_width(weight, height) as u32
    }

    /// Height of a line, px.
    pub(crate) fn line_height(self) -> u32 {
        self.raster().1.val() as u32
    }

    fn raster(self) -> (FontWeight, RasterHeight) {
        match self {
            Self::Label => (FontWeight::Regular, RasterHeight::Size16),
            Self::Title => (FontWeight::Bold, RasterHeight::Size20),
        }
    }
}

/// Breaks `text` between words (and inside words longer than a line) into at most `max_lines` of
/// at most `max_chars`. What does not fit is cut, which "..." shows.
pub(crate) fn wrap(text: &str, max_chars: usize, max_lines: usize) -> Vec<String> {
    let (max_chars, max_lines) = (max_chars.max(1), max_lines.max(1));
    let mut lines: Vec<String> = Vec::new();
    let mut room = 0;
    for word in text.split_whitespace() {
        let chars: Vec<char> = word.chars().collect();
        for (i, piece) in chars.chunks(max_chars).enumerate() {
            match lines.last_mut() {
                Some(line) if i == 0 && piece.len() < room => {
                    line.push(' ');
                    line.extend(piece);
                    room -= piece.len() + 1;
                }
                _ => {
                    lines.push(piece.iter().collect());
                    room = max_chars - piece.len();
                }
            }
        }
    }
    if lines.len() > max_lines {
        lines.truncate(max_lines);
        if let Some(last) = lines.last_mut() {
            let kept: String = last.chars().take(max_chars.saturating_sub(3)).collect();
            *last = format!("{}...", kept.trim_end_matches([' ', ',']));
        }
    }
    lines
}

/// Draws one line with its top left corner at `x`, `y`; what lies outside the picture is cut.
/// Characters the font lacks become question marks.
pub(crate) fn draw(picture: &mut Rgb, x: u32, y: u32, text: &str, font: Font) {
    let (weight, height) = font.raster();
    let mut left = x;
    for char in text.chars() {
        let glyph = get_raster(char, weight, height).or_else(|| get_raster('?', weight, height));
        for (dy, row) in glyph.iter().flat_map(|glyph| glyph.rows()).enumerate() {
            for (dx, &ink) in row.iter().enumerate() {
                darken(picture, left + dx as u32, y + dy as u32, ink);
            }
        }
        left = left.saturating_add(font.char_width());
    }
}

/// Blends a pixel towards the text colour by `ink` of 255.
fn darken(picture: &mut Rgb, x: u32, y: u32, ink: u8) {
    const TEXT_COLOUR: u32 = 0x22;
    if x >= picture.width() || y >= picture.height() {
        return;
    }
    let start = (y as usize * picture.width() as usize + x as usize) * 3;
    let ink = u32::from(ink);
    for channel in &mut picture.pixels_mut()[start..start + 3] {
        *channel = ((u32::from(*channel) * (255 - ink) + TEXT_COLOUR * ink) / 255) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        let lines = wrap("bob hair, black hair, tan skin", 12, 9);
        assert_eq!(
            lines,
            ["bob hair,", "black hair,", "tan skin"],
            "whole words"
        );
        assert_eq!(wrap("ab cd", 5, 9), ["ab cd"], "an exact fit is one line");
        assert!(wrap("   ", 5, 9).is_empty(), "nothing to say, no line");
    }

    #[test]
    fn long_words_and_long_texts_are_cut() {
        assert_eq!(
            wrap("abcdefgh ij", 3, 9),
            ["abc", "def", "gh", "ij"],
            "inside the word"
        );
        assert_eq!(
            wrap("one, two, three", 5, 2),
            ["one,", "tw..."],
            "the cut is shown"
        );
        assert_eq!(
            wrap("a b", 0, 0),
            ["..."],
            "no room at all is still an answer"
        );
    }

    #[test]
    fn unknown_characters_become_question_marks() {
        let drawn = |text: &str| {
            let mut picture = Rgb::filled(40, 20, [255; 3]);
            draw(&mut picture, 2, 2, text, Font::Label);
            picture
        };
        assert_eq!(drawn("\u{732B}"), drawn("?"), "the font has no kanji");
        assert_ne!(drawn("é"), drawn("e"), "but it has accents");
    }

    #[test]
    fn text_over_the_edge_is_cut() {
        let mut picture = Rgb::filled(10, 10, [255; 3]);
        draw(&mut picture, 5, 5, "Wide text", Font::Title);
        assert_eq!(
            (picture.width(), picture.height()),
            (10, 10),
            "no panic, no growth"
        );
    }
}
