//! Shows a file in its folder, with the file manager of this computer.

use std::io;
use std::path::Path;

/// Opens the folder of a file, with the file selected where the system can do that.
///
/// # Errors
/// When no file manager could be started.
#[expect(clippy::disallowed_methods, reason = "a file manager, of a file here")]
#[cfg(target_os = "macos")]
pub fn reveal(file: &Path) -> io::Result<()> {
    start(std::process::Command::new("open").arg("-R").arg(file))
}

/// Opens the folder of a file, with the file selected where the system can do that.
///
/// # Errors
/// When no file manager could be started.
#[expect(clippy::disallowed_methods, reason = "a file manager, of a file here")]
#[cfg(windows)]
pub fn reveal(file: &Path) -> io::Result<()> {
    use std::os::windows::process::CommandExt as _;
    // Quoted by hand: Explorer reads everything behind the comma as the path.
    let select = format!("/select,\"{}\"", file.display());
    start(std::process::Command::new("explorer").raw_arg(select))
}

/// Opens the folder of a file, with the file selected where the system can do that.
///
/// # Errors
/// When no file manager could be started.
#[expect(clippy::disallowed_methods, reason = "a file manager, of a file here")]
#[cfg(not(any(target_os = "macos", windows)))]
pub fn reveal(file: &Path) -> io::Result<()> {
    open::that_detached(file.parent().unwrap_or(file))
}

/// Only starts it: what a file manager ends with says nothing.
#[cfg(any(target_os = "macos", windows))]
fn start(command: &mut std::process::Command) -> io::Result<()> {
    let mut started = command.spawn()?;
    // Whoever is not waited for stays in the table of processes.
    std::thread::spawn(move || started.wait());
    Ok(())
}
