//! Tags that captions share, and captions as files beside their pictures, in one archive.

use std::collections::BTreeMap;

use mimeo_set::written;

pub use mimeo_set::Tag;

use crate::picture::Slot;
use crate::workbench::{Pair, Set};

/// As many tags are shown; beyond it one looks at captions, not at a cloud.
const SHOWN: usize = 24;

/// Tags that at least two captions have, those of most of them first.
#[must_use]
pub fn shared_tags(set: &Set) -> Vec<Tag> {
    let captions: Vec<_> = set
        .pairs()
        .iter()
        .map(|pair| pair.caption.as_str())
        .collect();
    let tags = mimeo_set::common_tags(&captions).into_iter();
    tags.take_while(|tag| tag.count > 1).take(SHOWN).collect()
}

/// The captions of a set as a zip archive: text files that are called as A is, as trainers look for
/// them, or as B is where the pictures of two pairs have one name.
#[must_use]
pub fn archive(set: &Set) -> Vec<u8> {
    zip(&files(set))
}

fn files(set: &Set) -> BTreeMap<String, String> {
    let mut files = BTreeMap::<String, String>::new();
    let said = set.pairs().iter().filter(|pair| !pair.caption.is_empty());
    for (number, pair) in (1..).zip(said) {
        let mut names: Vec<_> = names(pair).collect();
        names.push(format!("pair-{number}.txt"));
        let is_free = |name: &&String| files.get(*name).is_none_or(|there| *there == pair.caption);
        if let Some(name) = names.iter().find(is_free) {
            files.insert(name.clone(), pair.caption.clone());
        }
    }
    files
        .into_iter()
        .map(|(name, caption)| (name, written(&caption)))
        .collect()
}

/// What the caption of a pair may be called, the best first.
fn names(pair: &Pair) -> impl Iterator<Item = String> {
    let pictures = Slot::ALL.into_iter().filter_map(|slot| pair.picture(slot));
    pictures.map(|picture| {
        let name = picture.name.as_str();
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        format!("{stem}.txt")
    })
}

/// A zip archive of texts, stored as they are: APPNOTE.TXT 6.3.10 of PKWARE, 4.3.7 (local file header),
/// 4.3.12 (central directory) and 4.3.16 (its end).
fn zip(files: &BTreeMap<String, String>) -> Vec<u8> {
    /// 2.0, as folders and stored files need.
    const VERSION: u16 = 20;
    /// Bit 11: names are UTF-8.
    const FLAGS: u16 = 1 << 11;
    /// 1980-01-01, the earliest that the format knows: an archive of the same captions is the same.
    const DATE: u16 = (1 << 5) | 1;
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, text) in files {
        let start = archive.len() as u32;
        let mut common = Vec::new();
        for number in [VERSION, FLAGS, 0, 0, DATE] {
            common.extend(number.to_le_bytes());
        }
        for number in [crc32(text.as_bytes()), text.len() as u32, text.len() as u32] {
            common.extend(number.to_le_bytes());
        }
        common.extend((name.len() as u16).to_le_bytes());
        common.extend(0_u16.to_le_bytes());

        archive.extend(b"PK\x03\x04");
        archive.extend(&common);
        archive.extend(name.as_bytes());
        archive.extend(text.as_bytes());

        directory.extend(b"PK\x01\x02");
        directory.extend(VERSION.to_le_bytes());
        directory.extend(&common);
        // No comment, disk 0, no attributes.
        directory.extend([0; 10]);
        directory.extend(start.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, length) = (archive.len() as u32, directory.len() as u32);
    archive.extend(&directory);
    archive.extend(b"PK\x05\x06");
    archive.extend([0; 4]);
    for count in [files.len() as u16; 2] {
        archive.extend(count.to_le_bytes());
    }
    for number in [length, start] {
        archive.extend(number.to_le_bytes());
    }
    archive.extend(0_u16.to_le_bytes());
    archive
}

/// CRC-32 as zip and PNG have it, a bit at a time: captions are short.
fn crc32(bytes: &[u8]) -> u32 {
    let rest = bytes.iter().fold(u32::MAX, |rest, byte| {
        (0..8).fold(rest ^ u32::from(*byte), |rest, _| {
            let carry = if rest & 1 == 1 { 0xEDB8_8320 } else { 0 };
            (rest >> 1) ^ carry
        })
    });
    !rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workbench::examples::picture;
    use crate::workbench::{Command, NewPair, PairsCommand, Workbench};

    #[test]
    fn the_checksum_is_that_of_everybody() {
        // The check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms.
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926, "as others compute it");
    }

    #[test]
    fn captions_are_called_as_their_pictures_and_none_is_lost() {
        let new = |a: &str, b: &str, caption: &str| NewPair {
            original: Some(picture(a, None)),
            target: Some(picture(b, Some([9, 9, 9]))),
            caption: caption.to_owned(),
            ..NewPair::default()
        };
        let pairs = vec![
            new("1 a.png", "1 b.png", "a girl"),
            new("2_a.png", "2_b.png", ""),
            new("1 a.png", "3_b.png", "a boy"),
            new("1 a.png", "1 b.png", "a cat"),
            new("1 a.png", "1 b.png", "a dog"),
        ];
        let mut bench = Workbench::default();
        bench
            .apply(Command::Pairs(PairsCommand::Add(pairs)))
            .unwrap();
        let found: Vec<_> = files(bench.set()).into_iter().collect();
        let expected = [
            ("1 a.txt", "a girl\n"),
            ("1 b.txt", "a cat\n"),
            ("3_b.txt", "a boy\n"),
            ("pair-4.txt", "a dog\n"),
        ];
        let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(found, expected, "each has a name");
        let shared: Vec<_> = shared_tags(bench.set())
            .into_iter()
            .map(|tag| tag.text)
            .collect();
        assert_eq!(shared, [""; 0], "no two of them say the same");
    }

    #[test]
    fn an_archive_lists_every_file_where_it_begins() {
        let texts = [("é.txt", "a girl"), ("b.txt", "a boy, 帽子")];
        let texts = texts.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let archive = zip(&texts.clone().into());
        let number = |at: usize, bytes: usize| {
            let bytes = archive[at..at + bytes].iter().rev();
            bytes.fold(0, |number, byte| number << 8 | usize::from(*byte))
        };
        let end = archive.len() - 22;
        assert_eq!(&archive[end..end + 4], b"PK\x05\x06", "it ends as one");
        assert_eq!(number(end + 10, 2), texts.len(), "as many");
        let mut entry = number(end + 16, 4);
        for (name, text) in std::collections::BTreeMap::from(texts) {
            assert_eq!(&archive[entry..entry + 4], b"PK\x01\x02", "{name}");
            let local = number(entry + 42, 4);
            assert_eq!(&archive[local..local + 4], b"PK\x03\x04", "{name}");
            assert_eq!(
                number(local + 14, 4),
                crc32(text.as_bytes()) as usize,
                "{name}"
            );
            let content = local + 30 + name.len();
            assert_eq!(&archive[local + 30..content], name.as_bytes(), "{name}");
            assert_eq!(
                &archive[content..content + text.len()],
                text.as_bytes(),
                "{name}"
            );
            entry += 46 + name.len();
        }
        assert_eq!(entry, end, "and nothing else");
    }
}
