//! What jobs and tasks name by an id, wherever the server keeps it.

use mimeo_checkpoint::{AsyncReadAt, LoraFile};
use mimeo_protocol::{BlobId, LoraRef};

use crate::error::ServiceError;

/// The server's pictures and LoRAs.
pub trait Shelf {
    /// The bytes of a picture; or in one sentence why it cannot be read.
    fn picture(&self, id: BlobId) -> impl Future<Output = Result<Vec<u8>, String>>;

    /// The file of a LoRA and what people call it; or in one sentence why it cannot be read.
    fn lora(
        &self,
        lora: &LoraRef,
    ) -> impl Future<Output = Result<(Box<dyn AsyncReadAt>, String), String>>;

    /// Keeps a picture that was drawn for a user; or tells in one sentence why it cannot be kept.
    fn keep_picture(&self, png: &[u8]) -> impl Future<Output = Result<BlobId, String>>;
}

pub(crate) async fn read_picture(id: BlobId, shelf: &impl Shelf) -> Result<Vec<u8>, ServiceError> {
    shelf.picture(id).await.map_err(ServiceError::Unreadable)
}

/// A LoRA and what people call it.
pub(crate) async fn read_lora(
    lora: &LoraRef,
    shelf: &impl Shelf,
) -> Result<(LoraFile, String), ServiceError> {
    let (file, name) = shelf.lora(lora).await.map_err(ServiceError::Unreadable)?;
    Ok((LoraFile::read(file).await?, name))
}
