//! The table as one picture.

use mimeo_image::{Rgb, Sheet, SheetRow, decode, encode_png};
use mimeo_protocol::BlobId;
use mimeo_workbench::grid::Grid;

use crate::files;
use crate::link::Link;

/// Smaller pictures are enlarged to about this width, px, so that their labels fit above them.
const WIDTH: u32 = 256;

/// Downloads the table as a contact sheet.
///
/// # Errors
/// A sentence when a picture is gone, or the sheet would be too large.
pub async fn save(link: Link, name: &str, grid: &Grid) -> Result<(), String> {
    let rows = grid
        .rows()
        .ok_or("The table has holes. Draw all of it first.")?;
    let mut sheet = Sheet {
        title: name.to_owned(),
        columns: grid
            .strengths()
            .iter()
            .map(|strength| format!("strength {strength}"))
            .collect(),
        rows: Vec::new(),
        scale: 1,
    };
    for (label, row) in grid.prompts().iter().zip(rows) {
        let mut pictures = Vec::new();
        for picture in row {
            pictures.push(fetch(link, picture).await?);
        }
        sheet.rows.push(SheetRow {
            label: label.clone(),
            pictures,
        });
    }
    let picture = sheet.rows.iter().flat_map(|row| &row.pictures).next();
    sheet.scale = picture.map_or(1, |picture| (WIDTH / picture.width()).max(1));
    let png = sheet
        .render()
        .and_then(|sheet| encode_png(&sheet))
        .map_err(|error| error.to_string())?;
    files::download(&format!("{name}-grid.png"), "image/png", &png);
    Ok(())
}

async fn fetch(link: Link, picture: BlobId) -> Result<Rgb, String> {
    let file = link.fetch_blob(picture).await?;
    Ok(decode(&file).map_err(|error| error.to_string())?.picture)
}
