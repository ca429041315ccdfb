//! A picture from the companion.

use mimeo_protocol::{BlobId, ClientMessage, PreviewRequest, ServerMessage};

use crate::link::Link;

/// Draws a picture.
///
/// # Errors
/// The companion's sentence, or ours.
pub async fn draw(link: Link, preview: PreviewRequest) -> Result<BlobId, String> {
    let ask = |request| ClientMessage::Preview { request, preview };
    match link.ask(ask).await? {
        ServerMessage::Preview { picture, .. } => Ok(picture),
        _ => {
            Err("The companion answered something else than a picture. Reload the page.".to_owned())
        }
    }
}
