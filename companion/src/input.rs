//! Files that a user named and that are read whole.

use std::fs;
use std::path::Path;

use crate::exit::BadInput;

/// Reads a file.
///
/// - `what`: what it should be, such as "picture"
/// - `max_bytes`: far above any of these
///
/// # Errors
/// When it cannot be one, with its path.
pub fn read(path: &Path, what: &str, max_bytes: u64) -> Result<Vec<u8>, BadInput> {
    let refuse = |why: String| BadInput::file(why, path);
    let unreadable = |error| {
        refuse(format!(
            "the {what} cannot be read ({error}); check the path"
        ))
    };
    // Asked before opening, because opening a named pipe waits for its other end.
    let info = fs::metadata(path).map_err(unreadable)?;
    if info.is_dir() {
        return Err(refuse(format!("this is a folder; choose the {what} in it")));
    }
    if !info.is_file() {
        return Err(refuse(format!(
            "this is no {what} file; choose another one"
        )));
    }
    if info.len() > max_bytes {
        return Err(refuse(format!(
            "this file is too large for a {what}; choose another one"
        )));
    }
    fs::read(path).map_err(unreadable)
}
