//! Why something that was asked for cannot be done.

use std::error::Error;

use mimeo_checkpoint::LoraFileError;
use mimeo_engine::EngineError;
use mimeo_image::ImageError;
use mimeo_protocol::CopierId;

/// Why something that was asked for cannot be done: one sentence that says what is wrong and what
/// to do.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// What is named is not here or cannot be read; the server's own sentence.
    #[error("{0}")]
    Unreadable(String),
    /// A picture or mask cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A LoRA cannot be used.
    #[error(transparent)]
    Lora(#[from] LoraFileError),
    /// The engine cannot do it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The copier that a job builds upon was deleted.
    #[error(
        "the copier {copier} is not here any more. Choose another one, or let the job train its own."
    )]
    NoCopier {
        /// Which.
        copier: CopierId,
    },
    /// The engine answered nothing where it always answers something.
    #[error("nothing was {done}. Please report this.")]
    Nothing {
        /// What should have been done.
        done: &'static str,
    },
}

/// An error with its causes, in one line.
pub fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_follow_after_colons() {
        let source = std::io::Error::other("the disk is gone");
        let file = "x.safetensors".to_owned();
        let error = mimeo_checkpoint::CheckpointError::Io { file, source };
        let text = in_full(&ServiceError::from(EngineError::from(error)));
        assert!(
            text.ends_with("\"x.safetensors\": the disk is gone"),
            "once each: {text}"
        );
    }
}
