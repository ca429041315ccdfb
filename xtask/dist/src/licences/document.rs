//! One text of all licences: who is in it, then every text once.

use std::collections::{BTreeMap, BTreeSet};

use spdx::{Expression, LicenseItem, ParseMode};

use super::packages::Known;

/// Between two texts.
const RULE: &str =
    "================================================================================";

/// Writes the document.
///
/// - `has_rust`: whether the licences of Rust's library lie beside it
pub fn write(packages: &[Known], has_rust: bool) -> String {
    let mut text = head(packages.len(), has_rust);
    for known in packages {
        text.push_str(&entry(known));
    }
    // Who brings the same text, word for word.
    let mut owners = BTreeMap::<&str, Vec<&str>>::new();
    for known in packages {
        for licence in &known.texts {
            owners.entry(licence).or_default().push(&known.name);
        }
    }
    let mut owners: Vec<_> = owners.into_iter().collect();
    // Those of many packages first, then in the order of the packages.
    owners.sort_by(|(_, left), (_, right)| right.len().cmp(&left.len()).then(left.cmp(right)));
    for (licence, names) in owners {
        text.push_str(&format!("\n{RULE}\n{}\n\n{licence}\n", wrapped(&names)));
    }
    for (name, licence) in standard_texts(packages) {
        text.push_str(&format!(
            "\n{RULE}\n{name}, for packages that bring no text of their own\n\n{licence}\n"
        ));
    }
    text
}

fn head(count: usize, has_rust: bool) -> String {
    let rust = if has_rust {
        "RUST-LIBRARY.html holds the licences of what is in Rust's library."
    } else {
        "It is at https://github.com/rust-lang/rust."
    };
    format!(
        "The work of others in Mimeo
===========================

Mimeo's program, its page and its trainer for browsers contain {count} packages of others. Each is
listed with its licence and with the parts that it is in; the texts follow. Where a licence offers a
choice, any of its texts may apply.

Rust's standard library is in every part, under MIT OR Apache-2.0.
{rust}
The bundled base and the letters on sheets are named in NOTICE.

"
    )
}

fn entry(known: &Known) -> String {
    let parts: Vec<_> = known.parts.iter().copied().collect();
    let mut text = format!("{}, {} ({})\n", known.name, known.licence, parts.join(", "));
    if !known.origin.is_empty() {
        text.push_str(&format!("    {}\n", known.origin));
    }
    if known.texts.is_empty() && !known.authors.is_empty() {
        text.push_str(&format!("    by {}\n", known.authors.join(", ")));
    }
    text
}

/// The texts of licences whose packages bring none, by name.
fn standard_texts(packages: &[Known]) -> BTreeMap<&'static str, &'static str> {
    let without = packages.iter().filter(|known| known.texts.is_empty());
    let licences: BTreeSet<&str> = without.map(|known| known.licence.as_str()).collect();
    let mut texts = BTreeMap::new();
    for licence in licences {
        // Lax, since older packages write `MIT/Apache-2.0`.
        let Ok(expression) = Expression::parse_mode(licence, ParseMode::LAX) else {
            continue;
        };
        for wanted in expression.requirements() {
            if let LicenseItem::Spdx { id, .. } = wanted.req.license {
                texts.insert(id.name, id.text());
            }
        }
    }
    texts
}

/// Names in lines of at most eighty characters.
fn wrapped(names: &[&str]) -> String {
    let mut lines = vec![String::new()];
    for (place, name) in names.iter().enumerate() {
        let comma = if place + 1 < names.len() { "," } else { ":" };
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if line.is_empty() {
            line.push_str(&format!("{name}{comma}"));
        } else if line.len() + name.len() + 2 > RULE.len() {
            lines.push(format!("{name}{comma}"));
        } else {
            line.push_str(&format!(" {name}{comma}"));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str, licence: &str, texts: &[&str]) -> Known {
        Known {
            name: name.to_owned(),
            licence: licence.to_owned(),
            authors: vec!["Ada".to_owned()],
            parts: ["page", "program"].into(),
            texts: texts.iter().map(|text| (*text).to_owned()).collect(),
            ..Known::default()
        }
    }

    #[test]
    fn a_text_of_several_packages_stands_there_once_with_their_names() {
        let packages = [
            known("one 1.0.0", "MIT", &["the words of MIT"]),
            known("two 2.0.0", "MIT", &["the words of MIT"]),
        ];
        let text = write(&packages, true);
        assert_eq!(text.matches("the words of MIT").count(), 1, "{text}");
        assert!(text.contains("one 1.0.0, two 2.0.0:"), "{text}");
        assert!(text.contains("one 1.0.0, MIT (page, program)"), "{text}");
    }

    #[test]
    fn a_package_without_a_text_gets_the_usual_one_and_names_its_authors() {
        let text = write(&[known("bare 0.1.0", "MIT/Zlib", &[])], false);
        for words in [
            "by Ada",
            "Permission is hereby granted",
            "MIT, for",
            "Zlib, for",
        ] {
            assert!(text.contains(words), "{words} in:\n{text}");
        }
    }
}
