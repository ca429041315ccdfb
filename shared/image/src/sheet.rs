//! Contact sheets: a table of pictures with labels, as `mimeo grid` writes them.

use crate::decode::{MAX_MEGAPIXELS, MAX_SIDE, check_size};
use crate::error::ImageError;
use crate::rgb::Rgb;
use crate::text::{self, Font};

/// Around everything, px.
const MARGIN: u32 = 16;
/// Between pictures, and between labels and pictures, px.
const GAP: u32 = 8;
/// Longer row labels are wrapped.
const ROW_LABEL_CHARS: usize = 24;
/// Longer column labels and titles are cut.
const MAX_HEAD_LINES: usize = 3;

/// A table of pictures. Labels that are empty take no room.
#[derive(Debug, Clone, Default)]
pub struct Sheet {
    /// Above everything.
    pub title: String,
    /// One label above each column.
    pub columns: Vec<String>,
    /// The rows, top to bottom.
    pub rows: Vec<SheetRow>,
    /// Each pixel is drawn as a square of this side (0 counts as 1).
    pub scale: u32,
}

/// One row of a [`Sheet`].
#[derive(Debug, Clone)]
pub struct SheetRow {
    /// Left of the pictures.
    pub label: String,
    /// One for each column, all of one size.
    pub pictures: Vec<Rgb>,
}

impl Sheet {
    /// Whether the sheet can be drawn once it has its pictures; for before these are made.
    ///
    /// - `picture`: width and height that each will have, px
    ///
    /// # Errors
    /// [`ImageError::SheetTooLarge`] when it cannot.
    pub fn check_size(&self, picture: (u32, u32)) -> Result<(), ImageError> {
        Layout::new(self, picture).map(|_| ())
    }

    /// Draws the sheet on white.
    ///
    /// # Errors
    /// [`ImageError::SheetLayout`] when there is no picture, a row has not one for each column, or
    /// the pictures differ in size; [`ImageError::SheetTooLarge`] when the sheet would be.
    pub fn render(&self) -> Result<Rgb, ImageError> {
        let layout = Layout::new(self, self.picture_size()?)?;
        let mut canvas = Rgb::filled(layout.width, layout.height, [255; 3]);

        for (line, text) in (0..).zip(&layout.title) {
            text::draw(
                &mut canvas,
                MARGIN,
                MARGIN + line * Font::Title.line_height(),
                text,
                Font::Title,
            );
        }
        for (column, lines) in (0..).zip(&layout.column_labels) {
            layout.draw_column_label(&mut canvas, column, lines);
        }
        for (row, SheetRow { label, pictures }) in (0..).zip(&self.rows) {
            layout.draw_row_label(&mut canvas, row, label);
            for (column, picture) in (0..).zip(pictures) {
                let (x, y) = (layout.left_of(column), layout.top_of(row));
                draw_enlarged(&mut canvas, x, y, picture, layout.scale);
            }
        }
        Ok(canvas)
    }

    /// The size all pictures have.
    fn picture_size(&self) -> Result<(u32, u32), ImageError> {
        let fault = |reason: String| Err(ImageError::SheetLayout { reason });
        let size = |picture: &Rgb| (picture.width(), picture.height());
        let Some(first) = self.rows.iter().flat_map(|row| &row.pictures).next() else {
            return fault("it has no pictures".to_owned());
        };
        for (number, row) in (1..).zip(&self.rows) {
            let (found, expected) = (row.pictures.len(), self.columns.len());
            if found != expected {
                return fault(format!(
                    "row {number} has {found} pictures for {expected} columns"
                ));
            }
            if let Some(other) = row
                .pictures
                .iter()
                .find(|picture| size(picture) != size(first))
            {
                let ((width, height), (other_width, other_height)) = (size(first), size(other));
                return fault(format!(
                    "row {number} has a picture of {other_width}x{other_height} px among {width}x{height} px"
                ));
            }
        }
        Ok(size(first))
    }
}

/// Where everything goes, px.
struct Layout {
    width: u32,
    height: u32,
    title: Vec<String>,
    column_labels: Vec<Vec<String>>,
    /// Left edge of the first column.
    left: u32,
    /// Top edge of the first row.
    top: u32,
    scale: u32,
    /// One picture, enlarged.
    cell: (u32, u32),
    row_label_chars: usize,
}

impl Layout {
    /// - `picture`: width and height of each, px
    fn new(sheet: &Sheet, picture: (u32, u32)) -> Result<Self, ImageError> {
        let (picture_width, picture_height) = picture;
        let scale = sheet.scale.max(1);
        // Saturated sums are too large as well, so the check below catches them.
        let cell = (
            picture_width.saturating_mul(scale),
            picture_height.saturating_mul(scale),
        );

        let longest = sheet
            .rows
            .iter()
            .map(|row| row.label.chars().count())
            .max()
            .unwrap_or(0);
        let row_label_chars = longest.min(ROW_LABEL_CHARS);
        let label_width = match row_label_chars {
            0 => 0,
            chars => chars as u32 * Font::Label.char_width() + GAP,
        };
        let left = MARGIN + label_width;
        let width = left
            .saturating_add(table_side(sheet.columns.len(), cell.0))
            .saturating_add(MARGIN);

        let fitting = |room: u32, font: Font| (room / font.char_width()) as usize;
        let title = text::wrap(
            &sheet.title,
            fitting(width - 2 * MARGIN, Font::Title),
            MAX_HEAD_LINES,
        );
        let label =
            |label: &String| text::wrap(label, fitting(cell.0, Font::Label), MAX_HEAD_LINES);
        let column_labels: Vec<Vec<String>> = sheet.columns.iter().map(label).collect();
        let label_lines = column_labels.iter().map(Vec::len).max().unwrap_or(0);
        let band = |lines: usize, font: Font| match lines {
            0 => 0,
            lines => lines as u32 * font.line_height() + GAP,
        };
        let top = MARGIN + band(title.len(), Font::Title) + band(label_lines, Font::Label);
        let height = top
            .saturating_add(table_side(sheet.rows.len(), cell.1))
            .saturating_add(MARGIN);
        check_size(width, height).map_err(|_too_large| ImageError::SheetTooLarge {
            width,
            height,
            max_side: MAX_SIDE,
            max_megapixels: MAX_MEGAPIXELS,
        })?;
        Ok(Self {
            width,
            height,
            title,
            column_labels,
            left,
            top,
            scale,
            cell,
            row_label_chars,
        })
    }

    fn left_of(&self, column: u32) -> u32 {
        self.left + column * (self.cell.0 + GAP)
    }

    fn top_of(&self, row: u32) -> u32 {
        self.top + row * (self.cell.1 + GAP)
    }

    /// Centred over the column, its last line next to the pictures.
    fn draw_column_label(&self, canvas: &mut Rgb, column: u32, lines: &[String]) {
        let font = Font::Label;
        let top = self.top - GAP - lines.len() as u32 * font.line_height();
        for (line, text) in (0..).zip(lines) {
            let text_width = text.chars().count() as u32 * font.char_width();
            let x = self.left_of(column) + self.cell.0.saturating_sub(text_width) / 2;
            text::draw(canvas, x, top + line * font.line_height(), text, font);
        }
    }

    /// Left of the row, centred in its height.
    fn draw_row_label(&self, canvas: &mut Rgb, row: u32, label: &str) {
        let font = Font::Label;
        let max_lines = (self.cell.1 / font.line_height()) as usize;
        let lines = text::wrap(label, self.row_label_chars, max_lines);
        let text_height = lines.len() as u32 * font.line_height();
        let top = self.top_of(row) + self.cell.1.saturating_sub(text_height) / 2;
        for (line, text) in (0..).zip(&lines) {
            text::draw(canvas, MARGIN, top + line * font.line_height(), text, font);
        }
    }
}

/// `count` cells with gaps between them.
fn table_side(count: usize, cell: u32) -> u32 {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    count
        .saturating_mul(cell.saturating_add(GAP))
        .saturating_sub(GAP)
}

/// Draws each pixel of `picture` as a square of `scale` px.
fn draw_enlarged(canvas: &mut Rgb, x: u32, y: u32, picture: &Rgb, scale: u32) {
    let (scale, stride) = (scale as usize, canvas.width() as usize * 3);
    let rows = picture.pixels().chunks_exact(picture.width() as usize * 3);
    let lines = canvas
        .pixels_mut()
        .chunks_exact_mut(stride)
        .skip(y as usize);
    let enlarged_rows = rows.flat_map(|row| std::iter::repeat_n(row, scale));
    for (line, row) in lines.zip(enlarged_rows) {
        let enlarged = row
            .chunks_exact(3)
            .flat_map(|pixel| std::iter::repeat_n(pixel, scale));
        for (to, from) in line[x as usize * 3..].chunks_exact_mut(3).zip(enlarged) {
            to.copy_from_slice(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(columns: usize, rows: usize) -> Sheet {
        let row = |i: usize| SheetRow {
            label: format!("row {i}"),
            pictures: (0..columns)
                .map(|j| Rgb::filled(40, 30, [i as u8, j as u8, 200]))
                .collect(),
        };
        Sheet {
            title: "A sheet".to_owned(),
            columns: (0..columns).map(|j| format!("c{j}")).collect(),
            rows: (0..rows).map(row).collect(),
            scale: 2,
        }
    }

    #[test]
    fn every_picture_is_enlarged_in_its_place() {
        let sheet = example(3, 2);
        let layout = Layout::new(&sheet, (40, 30)).unwrap();
        let canvas = sheet.render().unwrap();
        for (row, column) in [(0, 0), (0, 2), (1, 1)] {
            let (x, y) = (layout.left_of(column), layout.top_of(row));
            let colour = Some([row as u8, column as u8, 200]);
            assert_eq!(
                canvas.pixel(x, y),
                colour,
                "first corner of {row}, {column}"
            );
            assert_eq!(
                canvas.pixel(x + 79, y + 59),
                colour,
                "last corner of {row}, {column}"
            );
            assert_eq!(
                canvas.pixel(x + 80, y),
                Some([255; 3]),
                "white right of {row}, {column}"
            );
        }
        assert_eq!(
            canvas.pixel(canvas.width() - MARGIN, layout.top),
            Some([255; 3]),
            "the margin"
        );
    }

    #[test]
    fn labels_and_title_are_drawn_and_take_room_only_where_given() {
        let canvas = example(2, 1).render().unwrap();
        let bare = Sheet {
            title: String::new(),
            columns: vec![String::new(); 2],
            rows: vec![SheetRow {
                label: String::new(),
                ..example(2, 1).rows.swap_remove(0)
            }],
            scale: 2,
        };
        let bare = bare.render().unwrap();
        let table = (2 * MARGIN + 2 * 80 + GAP, 2 * MARGIN + 60);
        assert_eq!(
            (bare.width(), bare.height()),
            table,
            "nothing but pictures and margins"
        );
        assert!(
            canvas.width() > bare.width() && canvas.height() > bare.height(),
            "labels need room"
        );
        let dark = canvas
            .pixels()
            .chunks_exact(3)
            .filter(|pixel| **pixel == [0x22; 3])
            .count();
        assert!(dark > 50, "text was drawn, {dark} px are fully dark");
    }

    #[test]
    fn a_table_with_holes_is_refused() {
        let mut sheet = example(2, 2);
        sheet.rows[1].pictures.pop();
        let error = sheet.render().unwrap_err().to_string();
        assert!(
            error.contains("row 2 has 1 pictures for 2 columns"),
            "{error}"
        );

        let mut sheet = example(2, 2);
        sheet.rows[1].pictures[0] = Rgb::filled(41, 30, [0; 3]);
        let error = sheet.render().unwrap_err().to_string();
        assert!(error.contains("41x30"), "{error}");

        assert!(Sheet::default().render().is_err(), "no pictures at all");
    }

    #[test]
    fn a_sheet_of_gigabytes_is_refused() {
        let mut sheet = example(2, 2);
        sheet.scale = u32::MAX;
        assert!(
            matches!(sheet.render(), Err(ImageError::SheetTooLarge { .. })),
            "before allocating"
        );
    }

    #[test]
    fn a_sheet_that_would_be_too_large_is_refused_before_there_is_a_picture() {
        let with_columns = |count: usize| Sheet {
            columns: vec!["strength 1".to_owned(); count],
            ..example(0, 2)
        };
        let picture = (128, 128);
        for count in [1, 10, 61, 62, 1000] {
            let is_small = with_columns(count).check_size(picture).is_ok();
            let pictures = vec![Rgb::filled(128, 128, [0; 3]); count];
            let mut drawn = with_columns(count);
            for row in &mut drawn.rows {
                row.pictures.clone_from(&pictures);
            }
            assert_eq!(drawn.render().is_ok(), is_small, "of {count} columns");
        }
        let error = with_columns(1000).check_size(picture).unwrap_err();
        let sentence = error.to_string();
        assert!(sentence.contains("fewer columns"), "what to do: {sentence}");
    }

    #[test]
    fn tiny_pictures_do_not_break_the_layout() {
        let pictures = vec![Rgb::filled(1, 1, [7; 3])];
        let rows = vec![SheetRow {
            label: "a very long label indeed".repeat(9),
            pictures,
        }];
        let columns = vec!["a long column label".to_owned()];
        let sheet = Sheet {
            title: "title".to_owned(),
            columns,
            rows,
            scale: 1,
        };
        assert!(sheet.render().is_ok(), "labels are cut instead");
    }
}
