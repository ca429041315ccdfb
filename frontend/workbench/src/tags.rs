//! Captions as lists of tags: what stands between commas.

use std::collections::BTreeMap;

/// As many are shown; beyond it one looks at captions, not at a cloud.
const SHOWN: usize = 24;

/// A tag and how many captions have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// What stands between the commas.
    pub text: String,
    /// How many captions have it.
    pub count: usize,
}

/// The tags of a caption, in its order.
pub fn of(caption: &str) -> impl Iterator<Item = &str> {
    let tags = caption.split(',').map(str::trim);
    tags.filter(|tag| !tag.is_empty())
}

/// Whether a caption has a tag.
#[must_use]
pub fn has(caption: &str, tag: &str) -> bool {
    of(caption).any(|there| there == tag)
}

/// The caption with a tag, at its end if it is new.
#[must_use]
pub fn with(caption: &str, tag: &str) -> String {
    match (has(caption, tag), caption.trim().is_empty()) {
        (true, _) => caption.to_owned(),
        (false, true) => tag.to_owned(),
        (false, false) => format!("{}, {tag}", caption.trim().trim_end_matches(',')),
    }
}

/// The caption without a tag.
#[must_use]
pub fn without(caption: &str, tag: &str) -> String {
    if !has(caption, tag) {
        return caption.to_owned();
    }
    let rest: Vec<_> = of(caption).filter(|there| *there != tag).collect();
    rest.join(", ")
}

/// Tags that at least two captions have, those of most of them first.
#[must_use]
pub fn common<'a>(captions: impl Iterator<Item = &'a str>) -> Vec<Tag> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for caption in captions {
        let mut tags: Vec<_> = of(caption).collect();
        // Said twice, it still is one caption.
        tags.sort_unstable();
        tags.dedup();
        for tag in tags {
            *counts.entry(tag).or_default() += 1;
        }
    }
    let tags = counts.into_iter().filter(|(_, count)| *count > 1);
    let mut tags: Vec<_> = tags
        .map(|(text, count)| Tag {
            text: text.to_owned(),
            count,
        })
        .collect();
    tags.sort_by_key(|tag| usize::MAX - tag.count);
    tags.truncate(SHOWN);
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_added_once_and_taken_away_whole() {
        for (caption, added) in [
            ("", "smile"),
            ("a girl", "a girl, smile"),
            ("a girl, ", "a girl, smile"),
            ("smile, a girl", "smile, a girl"),
            ("big smile", "big smile, smile"),
        ] {
            assert_eq!(with(caption, "smile"), added, "{caption:?}");
        }
        for (caption, rest) in [
            ("smile", ""),
            ("a girl, smile,hat", "a girl, hat"),
            ("big smile ,  hat", "big smile ,  hat"),
        ] {
            assert_eq!(without(caption, "smile"), rest, "{caption:?}");
        }
    }

    #[test]
    fn tags_that_many_captions_share_come_first_and_those_of_one_not_at_all() {
        let captions = ["hat, a boy, hat", "a boy", "a boy, hat, sky", "a girl"];
        let found = common(captions.into_iter());
        let found: Vec<_> = found
            .iter()
            .map(|tag| (tag.text.as_str(), tag.count))
            .collect();
        assert_eq!(found, [("a boy", 3), ("hat", 2)], "by how many have them");
    }
}
