//! One line at the bottom of a terminal that is drawn again and again, under lines that stay. Where
//! there is no terminal, only the lines, and now and then the one that would be drawn.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::{Duration, Instant};

/// Lines of a log, not of a terminal, come this far apart.
const IN_LOGS: Duration = Duration::from_secs(30);
/// Drawing more often would only flicker.
const ON_TERMINALS: Duration = Duration::from_millis(200);

/// To the start of the line, without what stood there.
const CLEAR: &str = "\r\x1b[2K";
/// A long line is cut at the edge, not continued below.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

/// Where progress is shown.
pub struct Screen {
    is_terminal: bool,
    drawn: Instant,
}

impl Screen {
    /// The standard error, a terminal or not.
    pub fn of_stderr() -> Self {
        Self {
            is_terminal: stderr().is_terminal(),
            drawn: Instant::now(),
        }
    }

    /// Shows what begins; the first line about it comes one interval later.
    pub fn begin(&mut self, text: &str) {
        self.line(text);
        self.drawn = Instant::now();
    }

    /// Shows a line that stays.
    pub fn line(&self, text: &str) {
        let clear = if self.is_terminal { CLEAR } else { "" };
        show(&format!("{clear}{text}\n"));
    }

    /// Whether it is time to draw the moving line.
    pub fn is_due(&self) -> bool {
        let interval = if self.is_terminal {
            ON_TERMINALS
        } else {
            IN_LOGS
        };
        self.drawn.elapsed() >= interval
    }

    /// Draws the moving line.
    pub fn draw(&mut self, text: &str) {
        self.drawn = Instant::now();
        if self.is_terminal {
            show(&format!("{CLEAR}{NO_WRAP}{text}{WRAP}"));
        } else {
            show(&format!("{text}\n"));
        }
    }

    /// Takes the moving line away.
    pub fn clear(&self) {
        if self.is_terminal {
            show(CLEAR);
        }
    }
}

fn show(text: &str) {
    let mut stderr = stderr().lock();
    // Whoever closed it does not want to see it; the build goes on.
    _ = stderr.write_all(text.as_bytes());
    _ = stderr.flush();
}
