//! Picture files by what is in them.

use mimeo_protocol::BlobId;
use sha2::{Digest as _, Sha256};

/// The id of a file with these bytes, the same wherever it is.
pub fn id_of(bytes: &[u8]) -> BlobId {
    BlobId::from_sha256(Sha256::digest(bytes).into())
}
