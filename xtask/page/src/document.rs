//! The tags of a page, as far as its maker has to understand them.

use std::ops::Range;

use anyhow::{Context as _, Result, bail};

/// A start tag. What is written in its attributes is taken word for word.
#[derive(Debug)]
pub struct Tag<'a> {
    /// Where it stands in the page, from `<` to after `>`.
    pub range: Range<usize>,
    /// Such as "link".
    pub name: &'a str,
    attributes: Vec<(&'a str, &'a str)>,
}

impl<'a> Tag<'a> {
    /// The value of an attribute, which is empty where none is given.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let mut attributes = self.attributes.iter();
        let found = attributes.find(|(known, _)| *known == name);
        found.map(|(_, value)| *value)
    }

    /// The value of an attribute without which the tag makes no sense.
    pub fn need(&self, name: &str) -> Result<&'a str> {
        self.get(name)
            .with_context(|| format!("<{}> needs the attribute {name}", self.name))
    }

    /// The attributes other than these.
    pub fn others(&self, known: &[&str]) -> impl Iterator<Item = &(&'a str, &'a str)> {
        let attributes = self.attributes.iter();
        attributes.filter(move |(name, _)| !known.contains(name))
    }
}

/// All start tags of a page that are not in a comment.
///
/// # Errors
///
/// For what a browser reads all the same and this does not, such as values without quotes.
pub fn tags(html: &str) -> Result<Vec<Tag<'_>>> {
    let mut tags = Vec::new();
    let mut at = 0;
    while let Some(found) = html[at..].find('<') {
        let start = at + found;
        let rest = &html[start..];
        at = if rest.starts_with("<!--") {
            let end = rest.find("-->");
            start + end.with_context(|| format!("this comment has no end: {}", line(rest)))?
        } else if rest[1..].starts_with(|first: char| first.is_ascii_alphabetic()) {
            let tag =
                tag(html, start).with_context(|| format!("this tag is odd: {}", line(rest)))?;
            let end = tag.range.end;
            tags.push(tag);
            end
        } else {
            start + 1
        };
    }
    Ok(tags)
}

fn tag(html: &str, start: usize) -> Result<Tag<'_>> {
    let (name, mut rest) = word(&html[start + 1..]);
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        if let Some(after) = rest.strip_prefix('>') {
            return Ok(Tag {
                range: start..html.len() - after.len(),
                name,
                attributes,
            });
        }
        if let Some(after) = rest.strip_prefix('/') {
            rest = after;
            continue;
        }
        let (name, after) = word(rest);
        if name.is_empty() {
            bail!("it has no end");
        }
        rest = after;
        let mut value = "";
        if let Some(after) = rest.strip_prefix('=') {
            let quoted = after.strip_prefix('"');
            let quoted = quoted.with_context(|| format!("put the value of {name} in quotes"))?;
            let parts = quoted.split_once('"');
            (value, rest) = parts.with_context(|| format!("the value of {name} has no end"))?;
        }
        attributes.push((name, value));
    }
}

/// The name that a text begins with, and what follows.
fn word(text: &str) -> (&str, &str) {
    let ends = |byte: char| byte.is_ascii_whitespace() || "/>=".contains(byte);
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

/// The first line of a text, to show where something stands.
fn line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_with_their_attributes_and_their_place() {
        let html = r#"<p>a < b</p> <link data-trunk rel="css" href="x/y.css" />!"#;
        let found = tags(html).unwrap();
        let names: Vec<_> = found.iter().map(|tag| tag.name).collect();
        assert_eq!(names, ["p", "link"], "start tags only");
        let link = &found[1];
        assert_eq!(link.get("href"), Some("x/y.css"), "a value");
        assert_eq!(link.get("data-trunk"), Some(""), "an attribute by itself");
        assert_eq!(link.get("src"), None, "one that is not there");
        assert_eq!(&html[link.range.end..], "!", "where it ends");
        let others: Vec<_> = link.others(&["rel", "data-trunk"]).collect();
        assert_eq!(others, [&("href", "x/y.css")], "all but the known ones");
    }

    #[test]
    fn what_only_looks_like_a_tag_is_none() {
        let html = r#"<!-- <link data-trunk> --><link rel="icon" href="data:,<svg a='b'/>"><br>"#;
        let found = tags(html).unwrap();
        let names: Vec<_> = found.iter().map(|tag| tag.name).collect();
        assert_eq!(names, ["link", "br"], "neither in comments nor in values");
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (html, says) in [
            ("<p>\n<link rel=css>\n", "put the value of rel in quotes"),
            ("<link rel=\"css>", "has no end"),
            ("<link rel", "has no end"),
            ("<!-- never closed", "never closed"),
        ] {
            let error = format!("{:#}", tags(html).unwrap_err());
            assert!(error.contains(says), "{html}: {error}");
        }
    }
}
