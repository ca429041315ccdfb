//! What a caption says.

use std::collections::BTreeMap;

use thiserror::Error;

/// Bytes that are no caption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("This caption is not in UTF-8; save it as UTF-8 text.")]
pub struct NotText;

/// A caption as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caption {
    /// One line without spaces around it; empty if there was nothing.
    pub text: String,
    /// How many lines more had something in them, and are not read.
    pub lines_left_out: usize,
}

impl Caption {
    /// Reads a caption's file.
    ///
    /// Of several lines the first that says something counts, as in kohya's sd-scripts
    /// (`library/train_util.py`, `read_caption`, without wildcards). A byte order mark is no part of it.
    ///
    /// # Errors
    /// [`NotText`] when it is not UTF-8, nor UTF-16 that says so.
    pub fn read(bytes: &[u8]) -> Result<Self, NotText> {
        let text = text(bytes)?;
        let lines = text.lines().map(str::trim);
        let mut lines = lines.filter(|line| !line.is_empty());
        Ok(Self {
            text: lines.next().unwrap_or_default().to_owned(),
            lines_left_out: lines.count(),
        })
    }
}

/// The bytes of a caption's file: one line.
#[must_use]
pub fn written(caption: &str) -> String {
    let words: Vec<_> = caption.split_whitespace().collect();
    match words.is_empty() {
        true => String::new(),
        false => format!("{}\n", words.join(" ")),
    }
}

/// What stands between commas, without spaces around it, in its order.
pub fn tags(caption: &str) -> impl Iterator<Item = &str> {
    let tags = caption.split(',').map(str::trim);
    tags.filter(|tag| !tag.is_empty())
}

/// A tag, and how many captions have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// As it is written.
    pub text: String,
    /// How many captions have it.
    pub count: usize,
}

/// All tags of some captions: the most frequent first, of equal ones the one that comes first.
#[must_use]
pub fn common_tags(captions: &[&str]) -> Vec<Tag> {
    let mut found: Vec<Tag> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for caption in captions {
        let mut own: Vec<_> = tags(caption).collect();
        own.sort_unstable();
        own.dedup();
        for tag in tags(caption) {
            places.entry(tag).or_insert_with(|| {
                found.push(Tag {
                    text: tag.to_owned(),
                    count: 0,
                });
                found.len() - 1
            });
        }
        for tag in own {
            found[places[tag]].count += 1;
        }
    }
    // Stable: the first of equal ones stays the first.
    found.sort_by_key(|tag| std::cmp::Reverse(tag.count));
    found
}

/// The caption with a tag at its end, if it has not got it.
#[must_use]
pub fn with_tag(caption: &str, tag: &str) -> String {
    let tag = tag.trim();
    if tag.is_empty() || tags(caption).any(|own| own == tag) {
        return caption.to_owned();
    }
    let caption = caption.trim().trim_end_matches(',').trim_end();
    match caption.is_empty() {
        true => tag.to_owned(),
        false => format!("{caption}, {tag}"),
    }
}

/// The caption without a tag; all else stays as it is written but for the commas.
#[must_use]
pub fn without_tag(caption: &str, tag: &str) -> String {
    let tag = tag.trim();
    if !tags(caption).any(|own| own == tag) {
        return caption.to_owned();
    }
    let others: Vec<_> = tags(caption).filter(|own| *own != tag).collect();
    others.join(", ")
}

/// UTF-8, or UTF-16 as old editors of Windows save it.
fn text(bytes: &[u8]) -> Result<String, NotText> {
    let units = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let text = String::from_utf16(&pairs.iter().map(|pair| unit(*pair)).collect::<Vec<_>>());
        text.ok().filter(|_| rest.is_empty()).ok_or(NotText)
    };
    match bytes {
        [0xFF, 0xFE, rest @ ..] => units(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => units(rest, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] | rest => std::str::from_utf8(rest)
            .map(str::to_owned)
            .ok()
            .ok_or(NotText),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> String {
        Caption::read(bytes).expect("text").text
    }

    #[test]
    fn a_caption_is_read_as_editors_save_it() {
        assert_eq!(read(b"  a girl, smile \n"), "a girl, smile", "trimmed");
        assert_eq!(read(b"a girl\r\n"), "a girl", "as Windows ends lines");
        assert_eq!(read(b"\xEF\xBB\xBFa girl"), "a girl", "a mark before it");
        assert_eq!(read(b"\xFF\xFEa\0 \0b\0"), "a b", "UTF-16");
        assert_eq!(read(b"\xFE\xFF\x52\x4D"), "前", "the other way round");
        assert_eq!(
            read("笑顔, 眼鏡".as_bytes()),
            "笑顔, 眼鏡",
            "not only English"
        );
        assert_eq!(read(b""), "", "nothing");
        assert_eq!(read(b" \r\n\n"), "", "as good as nothing");
    }

    #[test]
    fn of_several_lines_the_first_counts_and_the_others_are_told() {
        let caption = Caption::read(b"\n a girl\n\nin the park\nat noon\n").expect("text");
        assert_eq!(caption.text, "a girl", "the first that says something");
        assert_eq!(caption.lines_left_out, 2, "not the empty ones");
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for bytes in [&b"\xFF\xD8\xFF\xE0"[..], b"caf\xE9", b"\xFF\xFEa"] {
            assert_eq!(Caption::read(bytes), Err(NotText), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(written(" a girl,\n smile "), "a girl, smile\n", "one line");
        assert_eq!(written("  "), "", "nothing stays nothing");
        assert_eq!(
            read(written("笑顔, a").as_bytes()),
            "笑顔, a",
            "there and back"
        );
    }

    #[test]
    fn tags_are_counted_once_a_caption_and_keep_their_order() {
        let captions = ["girl, smile, hat", "smile, girl, girl", " smile ,, red hat"];
        let tag = |text: &str, count| Tag {
            text: text.to_owned(),
            count,
        };
        assert_eq!(
            common_tags(&captions),
            [
                tag("smile", 3),
                tag("girl", 2),
                tag("hat", 1),
                tag("red hat", 1)
            ],
            "by how many have it"
        );
        assert_eq!(common_tags(&[]), [], "of none, none");
    }

    #[test]
    fn a_tag_is_added_once_and_taken_away() {
        assert_eq!(with_tag("girl,", "smile"), "girl, smile", "at the end");
        assert_eq!(with_tag("", "smile"), "smile", "to nothing");
        assert_eq!(
            with_tag("girl, smile", " smile "),
            "girl, smile",
            "it has it"
        );
        assert_eq!(with_tag("girl", " "), "girl", "no tag");
        assert_eq!(
            without_tag("girl, smile ,hat", "smile"),
            "girl, hat",
            "gone"
        );
        assert_eq!(without_tag("girl,smile", "hat"), "girl,smile", "as it was");
        assert_eq!(without_tag("smile", "smile"), "", "nothing left");
    }
}
