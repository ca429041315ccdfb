//! A picture from whoever trains.

use mimeo_protocol::{BlobId, ClientMessage, PreviewRequest, ServerMessage};

use crate::link::Link;

/// Draws a picture.
///
/// # Errors
/// The other side's sentence, or ours.
pub async fn draw(link: Link, preview: PreviewRequest) -> Result<BlobId, String> {
    let ask = |request| ClientMessage::Preview { request, preview };
    match link.ask(ask).await? {
        ServerMessage::Preview { picture, .. } => Ok(picture),
        _ => Err("Something else came back than a picture. Reload the page.".to_owned()),
    }
}
