//! SHA-256 sums, as `sha256sum` writes and checks them.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

/// The line of a file.
pub fn line(path: &str, bytes: &[u8]) -> String {
    format!("{}  {path}\n", sum(bytes))
}

/// A sum in hexadecimal.
pub fn sum(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The sum of each path in a file of such lines; what is no such line is left out.
pub fn parse(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.split_once("  "));
    lines
        .map(|(sum, path)| (path.to_owned(), sum.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_sha256sum_writes() {
        assert_eq!(
            line("a b.txt", b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a b.txt\n",
            "the sum of the standard's example"
        );
    }

    #[test]
    fn lines_are_read_back() {
        let text = line("a b.txt", b"abc") + &line("c", b"");
        let read = parse(&text);
        assert_eq!(read.len(), 2, "{read:?}");
        assert_eq!(read["a b.txt"], sum(b"abc"), "found by its path");
    }
}
