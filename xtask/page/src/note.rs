//! What a page was made of, so that it is not made again of the same: reading all of the programs
//! takes longer than everything else in a start where nothing changed.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::folder;
use crate::page::Order;

/// Names what goes in and what came out, each file with its length and when it was changed.
///
/// - `sources`: files and folders besides the programs
pub fn of(order: &Order, sources: &[PathBuf]) -> String {
    let mut note = format!("without {:?}\n", order.without);
    // This program, which may make another page tomorrow.
    let maker = env::current_exe().unwrap_or_default();
    let single = [&maker, &order.index].into_iter();
    for path in single.chain(order.programs.values()).chain(sources) {
        add(path, &mut note);
    }
    add(&order.dist, &mut note);
    note
}

fn add(path: &Path, note: &mut String) {
    if path.is_dir() {
        // A folder that cannot be read is like none; making the page says why.
        for name in folder::files(path).unwrap_or_default() {
            add_file(&path.join(name), note);
        }
    } else {
        add_file(path, note);
    }
}

fn add_file(file: &Path, note: &mut String) {
    let state = fs::metadata(file).ok();
    let state = state.map(|file| (file.len(), file.modified().ok()));
    // Writing to a string does not fail.
    _ = writeln!(note, "{} {state:?}", file.display());
}
