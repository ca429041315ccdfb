//! Messages to bytes and back: MessagePack with named fields.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Rejection;

/// Largest frame that a client may send: messages hold ids and numbers; pictures go over HTTP.
pub const MAX_CLIENT_FRAME: usize = 256 << 10;
/// Largest frame that a server sends: a snapshot of [`crate::Snapshot::MAX_JOBS`] jobs.
pub const MAX_SERVER_FRAME: usize = 16 << 20;
/// The longest explanation that is sent back.
const MAX_REASON: usize = 300;

/// A frame that is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is larger than any message.
    #[error("this message has {bytes} bytes, and at most {limit} are taken.")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// It is something else.
    #[error("this message cannot be understood ({what}).")]
    Undecodable {
        /// What is wrong with it.
        what: String,
    },
}

impl DecodeError {
    /// What is wrong, for a sentence about something that was stored and not sent.
    #[must_use]
    pub fn reason(self) -> String {
        match self {
            Self::TooLarge { bytes, limit } => {
                format!("it has {bytes} bytes, and at most {limit} are read")
            }
            Self::Undecodable { what } => what,
        }
    }
}

/// What a server answers to it.
impl From<DecodeError> for Rejection {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::TooLarge { bytes, limit } => Self::TooLarge {
                bytes: bytes as u64,
                limit: limit as u64,
            },
            DecodeError::Undecodable { what } => Self::Undecodable { what },
        }
    }
}

/// The bytes of a message.
#[must_use]
pub fn encode(message: &impl Serialize) -> Vec<u8> {
    // Messages are plain data with string keys, which MessagePack can always hold.
    rmp_serde::to_vec_named(message).unwrap_or_default()
}

/// The message in a frame.
///
/// # Errors
/// [`DecodeError`] for anything that is not one whole message.
pub fn decode<T: DeserializeOwned>(frame: &[u8], limit: usize) -> Result<T, DecodeError> {
    if frame.len() > limit {
        let bytes = frame.len();
        return Err(DecodeError::TooLarge { bytes, limit });
    }
    let undecodable = |what: &str| {
        let what = what.chars().filter(|character| !character.is_control());
        DecodeError::Undecodable {
            what: what.take(MAX_REASON).collect(),
        }
    };
    let mut rest = frame;
    let message = T::deserialize(&mut rmp_serde::Deserializer::new(&mut rest))
        .map_err(|error| undecodable(&error.to_string()))?;
    if rest.is_empty() {
        Ok(message)
    } else {
        Err(undecodable("there is more after its end"))
    }
}
