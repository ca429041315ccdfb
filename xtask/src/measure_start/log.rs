//! A log whose lines begin with the seconds since its start, and the parts it tells of.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::sync::Mutex;
use std::time::Instant;

/// Writes what a program says, each line with the seconds since `started`.
pub fn keep(said: impl Read, started: Instant, log: &Mutex<impl Write>) {
    for line in BufReader::new(said).split(b'\n').map_while(Result::ok) {
        let secs = started.elapsed().as_secs_f64();
        let text = String::from_utf8_lossy(&line);
        if let Ok(mut log) = log.lock() {
            // What is measured goes on without its log.
            _ = writeln!(log, "{secs:8.1} {text}");
        }
    }
}

/// What a log consists of, with seconds: a part begins with a line such as "Building the page …" or
/// "=== test ===", and ends with the next.
pub fn parts(log: &str) -> Vec<(String, f64)> {
    let lines = log.lines().filter_map(|line| {
        let (secs, text) = line.trim_start().split_once(' ')?;
        Some((secs.parse::<f64>().ok()?, text))
    });
    let mut parts = vec![("before the first part".to_owned(), 0.0)];
    let mut last = 0.0;
    for (secs, text) in lines {
        last = secs;
        if let Some(title) = title(text) {
            parts.push((title, secs));
        }
    }
    let ends: Vec<f64> = parts.iter().skip(1).map(|(_, begin)| *begin).collect();
    let ends = ends.into_iter().chain([last]);
    let lengths = parts.iter().zip(ends);
    lengths
        .map(|((title, begin), end)| (title.clone(), end - begin))
        .collect()
}

fn title(text: &str) -> Option<String> {
    let step = text
        .strip_prefix("=== ")
        .and_then(|text| text.strip_suffix(" ==="));
    let begins = text
        .strip_suffix(" …")
        .filter(|text| text.starts_with(|first: char| first.is_uppercase()));
    step.or(begins).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_lasts_until_the_next_one() {
        let log = "     0.5    Compiling clap v4\n     2.0 Installing trunk 0.21.14 …\n    \
                   10.0    Compiling axum v0.8\n    62.0 Building the page …\n    70.0 done\n";
        assert_eq!(
            parts(log),
            [
                ("before the first part".to_owned(), 2.0),
                ("Installing trunk 0.21.14".to_owned(), 60.0),
                ("Building the page".to_owned(), 8.0),
            ],
            "with what stands before the first"
        );
    }

    #[test]
    fn the_steps_of_the_checks_are_parts() {
        let log = "     0.0 \n     1.0 === fmt ===\n     3.0 === clippy ===\n     9.0 All.\n";
        assert_eq!(
            parts(log)[1..],
            [("fmt".to_owned(), 2.0), ("clippy".to_owned(), 6.0)],
            "two"
        );
    }

    #[test]
    fn lines_are_kept_with_their_seconds() {
        let log = Mutex::new(Vec::new());
        keep(&b"one\ntwo\n"[..], Instant::now(), &log);
        let text = String::from_utf8(log.into_inner().unwrap()).unwrap();
        assert_eq!(text, "     0.0 one\n     0.0 two\n", "both at once");
    }
}
