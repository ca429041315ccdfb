//! Where what is kept lies, by path below the worker's own folder.

use mimeo_protocol::{BlobId, FileId, JobId};

/// Where a picture is kept.
#[must_use]
pub fn blob_path(id: BlobId) -> String {
    format!("blobs/{id}")
}

/// Where an uploaded LoRA is kept.
#[must_use]
pub fn lora_path(id: BlobId) -> String {
    format!("loras/{id}")
}

/// Where a result is kept.
#[must_use]
pub fn file_path(id: FileId) -> String {
    format!("files/{id}")
}

/// Where the state is kept from which a job can go on.
#[must_use]
pub fn state_path(id: JobId) -> String {
    format!("states/{id}")
}
