//! Files that are dropped together become pairs: by their names, then by likeness, with the masks and
//! captions that lie beside them.

use std::collections::BTreeMap;
use std::sync::Arc;

use mimeo_checkpoint::printable;
use mimeo_image::decode_mask_file;
use mimeo_protocol::Level;
use mimeo_set::{
    Alone, Caption, Evidence, Paired, Pairing, Thumbnail, pair_by_likeness, pair_by_name,
};

use crate::dropped::Kind;
use crate::picture::Picture;
use crate::workbench::{NewPair, Pair};

/// Longest quote of a folder's name.
const QUOTE: usize = 200;
/// Endings of captions.
const CAPTIONS: [&str; 2] = [".txt", ".caption"];

/// Whether files are a set rather than one pair: more than two pictures, a folder with a picture, or
/// captions beside two.
///
/// - `paths`: names, with `/` where they came in a folder
/// - `has_several`: whether there are several pairs already, to which two pictures are one more
#[must_use]
pub fn is_set(paths: &[&str], has_several: bool) -> bool {
    let of_set = || paths.iter().filter(|path| is_of_set(path));
    let is_picture = |path: &str| Kind::of(path) == Kind::Picture && !is_caption(path);
    let pictures = of_set().filter(|path| is_picture(path)).count();
    let has_captions = of_set().any(|path| is_caption(path));
    let has_folder = of_set().any(|path| path.contains('/'));
    let enough = if has_several { 2 } else { 3 };
    pictures >= enough || pictures > 1 && has_captions || pictures > 0 && has_folder
}

/// Whether a file may belong to a set: every one of a folder does, and else no recipe and no weights.
#[must_use]
pub fn is_of_set(path: &str) -> bool {
    path.contains('/') || Kind::of(path) == Kind::Picture
}

/// Why a folder without pictures is not taken.
#[must_use]
pub fn without_pictures(folder: &str) -> String {
    let folder = printable(folder, QUOTE);
    format!(
        "{folder} holds no pictures. Drop a folder of pairs; a base in diffusers' layout is chosen as the base."
    )
}

/// Whether a file is a caption.
#[must_use]
pub fn is_caption(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    CAPTIONS.iter().any(|ending| path.ends_with(ending))
}

/// What a caption's file says.
///
/// # Errors
/// When it is no text, with its name.
pub fn caption(path: &str, bytes: &[u8]) -> Result<String, String> {
    let caption = Caption::read(bytes).map_err(|error| format!("{path}: {error}"))?;
    Ok(caption.text)
}

/// Files on their way to becoming pairs.
#[derive(Debug)]
pub struct Gathering {
    paths: Vec<String>,
    pairing: Pairing,
    read: BTreeMap<usize, Content>,
    /// Why files are left out, beside what their names say.
    unreadable: BTreeMap<usize, String>,
}

/// What a file holds.
#[derive(Debug)]
enum Content {
    Picture(Arc<Picture>),
    Text(String),
}

/// What files became.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Pairs, and pictures for themselves.
    pub pairs: Vec<NewPair>,
    /// What is left out and why, a sentence for each file.
    pub left: Vec<String>,
    /// The outcome in a few words.
    pub said: String,
}

impl Gathering {
    /// Pairs files by their names.
    ///
    /// - `paths`: names, with `/` where they came in a folder
    #[must_use]
    pub fn of(paths: &[&str]) -> Self {
        let paths = without_top(paths);
        let names: Vec<_> = paths.iter().map(String::as_str).collect();
        let pairing = pair_by_name(&names);
        Self {
            paths,
            pairing,
            read: BTreeMap::new(),
            unreadable: BTreeMap::new(),
        }
    }

    /// The files that have to be read, by their place among the paths.
    #[must_use]
    pub fn wanted(&self) -> Vec<usize> {
        let pairs = self.pairing.pairs.iter().flat_map(|pair| {
            let beside = pair.mask.into_iter().chain(pair.caption);
            [pair.original, pair.target].into_iter().chain(beside)
        });
        // Whatever text lies there: two pictures that look alike may have one.
        let texts = (0..self.paths.len()).filter(|file| is_caption(&self.paths[*file]));
        let mut wanted: Vec<_> = pairs.chain(texts).chain(self.pairing.unpaired()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    /// Takes in what a file holds, or why it cannot be read.
    pub fn put(&mut self, file: usize, content: Result<Vec<u8>, String>) {
        let Some(path) = self.paths.get(file) else {
            return;
        };
        let understood = content.and_then(|bytes| {
            if is_caption(path) {
                let caption = Caption::read(&bytes).map_err(|error| error.to_string())?;
                return Ok(Content::Text(caption.text));
            }
            let picture = Picture::read(path, bytes).map_err(|error| error.to_string())?;
            Ok(Content::Picture(Arc::new(picture)))
        });
        match understood {
            Ok(content) => _ = self.read.insert(file, content),
            Err(why) => _ = self.unreadable.insert(file, why),
        }
    }

    /// What all of them became.
    #[must_use]
    pub fn finish(mut self) -> Gathered {
        let pairing = self.by_likeness();
        let mut pairs: Vec<_> = pairing.pairs.iter().map(|pair| self.paired(pair)).collect();
        let found = pairs.len();
        pairs.extend(pairing.alone.iter().filter_map(|alone| self.alone(alone)));
        let mut left = Vec::new();
        for each in &pairing.left {
            let (name, why) = (&self.paths[each.file], each.why.to_string());
            // A picture that could be half of a pair is for the user to place.
            match self.picture(each.file).filter(|_| each.why.is_undecided()) {
                Some(picture) => pairs.push(NewPair {
                    original: Some(picture),
                    note: Some(format!("{name}: {why}")),
                    ..NewPair::default()
                }),
                None => left.push(format!("{name}: {why}")),
            }
        }
        let unreadable = self.unreadable.iter();
        left.extend(unreadable.map(|(file, why)| format!("{}: {why}", self.paths[*file])));
        pairs.retain(|pair| pair.original.is_some() || pair.target.is_some());
        let alone = pairs.len().saturating_sub(found);
        let counted = |count: usize, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        };
        let said = [
            counted(found, "pair", "pairs"),
            counted(alone, "picture alone", "pictures alone"),
            counted(left.len(), "file left out", "files left out"),
        ];
        let said: Vec<_> = said.into_iter().flatten().collect();
        Gathered {
            pairs,
            left,
            said: said.join(", "),
        }
    }

    /// The pairs with those that names leave open and likeness tells.
    fn by_likeness(&self) -> Pairing {
        let unpaired = self.pairing.unpaired().into_iter();
        let thumbnails = unpaired.filter_map(|file| {
            let picture = self.picture(file)?;
            Some((file, Thumbnail::of(&picture.pixels)))
        });
        let thumbnails: Vec<_> = thumbnails.collect();
        if thumbnails.len() < 2 {
            return self.pairing.clone();
        }
        let paths: Vec<_> = self.paths.iter().map(String::as_str).collect();
        pair_by_likeness(&paths, &self.pairing, &thumbnails)
    }

    fn paired(&mut self, pair: &Paired) -> NewPair {
        let [original, target] = [pair.original, pair.target].map(|file| self.picture(file));
        let missing = [pair.original, pair.target].into_iter().find_map(|file| {
            Some(format!(
                "{}: {}",
                self.paths[file],
                self.unreadable.get(&file)?
            ))
        });
        let mask = pair.mask.and_then(|file| {
            let mask = decode_mask_file(&self.picture(file)?.file);
            match mask {
                Ok(mask) => Some(mask.mask),
                Err(error) => {
                    self.unreadable.insert(file, error.to_string());
                    None
                }
            }
        });
        let by_likeness = (pair.evidence == Evidence::Likeness)
            .then(|| "Paired by likeness: check whether these two belong together.".to_owned());
        NewPair {
            original,
            target,
            mask,
            caption: self.caption(pair.caption),
            numbers: self.numbers(pair.level),
            note: missing.or(by_likeness),
        }
    }

    fn alone(&self, alone: &Alone) -> Option<NewPair> {
        Some(NewPair {
            original: Some(self.picture(alone.picture)?),
            caption: self.caption(alone.caption),
            note: Some("No other picture goes with it, by name or by likeness.".to_owned()),
            ..NewPair::default()
        })
    }

    fn numbers(&self, level: Level) -> Option<(mimeo_protocol::Weight, Level)> {
        (level != Pair::USUAL.1).then_some((Pair::USUAL.0, level))
    }

    fn picture(&self, file: usize) -> Option<Arc<Picture>> {
        match self.read.get(&file) {
            Some(Content::Picture(picture)) => Some(picture.clone()),
            _ => None,
        }
    }

    fn caption(&self, file: Option<usize>) -> String {
        match file.and_then(|file| self.read.get(&file)) {
            Some(Content::Text(text)) => text.clone(),
            _ => String::new(),
        }
    }
}

/// The paths without the folder in which all of them lie: its name says nothing.
fn without_top(paths: &[&str]) -> Vec<String> {
    let top = paths.first().and_then(|path| path.split_once('/'));
    let top = top.map(|(top, _)| top).filter(|top| {
        let is_below = |path: &&str| path.split_once('/').is_some_and(|(first, _)| first == *top);
        paths.iter().all(is_below)
    });
    let cut = top.map_or(0, |top| top.len() + 1);
    paths.iter().map(|path| path[cut..].to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use mimeo_image::{Mask, encode_mask_png};

    use super::*;
    use crate::workbench::examples::{SIDE, picture};

    fn gather(files: &[(&str, Vec<u8>)]) -> Gathered {
        let paths: Vec<_> = files.iter().map(|(path, _)| *path).collect();
        let mut gathering = Gathering::of(&paths);
        for file in gathering.wanted() {
            gathering.put(file, Ok(files[file].1.clone()));
        }
        gathering.finish()
    }

    fn png(red: u8) -> Vec<u8> {
        picture("any", Some([red, 9, 9])).file.clone()
    }

    fn names(gathered: &Gathered) -> Vec<[Option<String>; 2]> {
        let name = |picture: &Option<Arc<Picture>>| Some(picture.as_ref()?.name.clone());
        let pairs = gathered.pairs.iter();
        pairs
            .map(|pair| [&pair.original, &pair.target].map(name))
            .collect()
    }

    #[test]
    fn two_pictures_are_one_pair_as_ever_and_more_are_a_set() {
        for (paths, has_several, expected) in [
            (&["a.png", "b.png"][..], false, false),
            (&["a.png", "b.png"], true, true),
            (&["a.png"], true, false),
            (&["a.png", "b.png", "c.png"], false, true),
            (&["a.png", "b.png", "a.txt"], false, true),
            (&["set/a.png", "set/b.png"], false, true),
            (&["notes.txt"], false, false),
            (&["a.png", "notes.txt"], false, false),
            (&["set/a.png"], false, true),
            (&["mine.json", "x.safetensors"], true, false),
            (
                &["base/unet/config.json", "base/unet/model.safetensors"],
                false,
                false,
            ),
        ] {
            assert_eq!(is_set(paths, has_several), expected, "{paths:?}");
        }
    }

    #[test]
    fn a_folder_becomes_pairs_with_their_masks_and_captions() {
        let mut mask = Mask::empty(SIDE, SIDE);
        mask.fill_rect(crate::workbench::examples::square(), 255);
        let gathered = gather(&[
            ("faces/2_b.png", png(40)),
            ("faces/1_a.png", png(10)),
            ("faces/1_b.png", png(20)),
            ("faces/2_a.png", png(30)),
            ("faces/1.txt", b"\xEF\xBB\xBFa girl, hat\r\n".to_vec()),
            ("faces/1_mask.png", encode_mask_png(&mask).unwrap()),
            ("faces/.DS_Store", Vec::new()),
        ]);
        let pair = |a: &str, b: &str| [Some(a.to_owned()), Some(b.to_owned())];
        let expected = [pair("1_a.png", "1_b.png"), pair("2_a.png", "2_b.png")];
        assert_eq!(names(&gathered), expected, "in the order of their names");
        let [first, second] = &gathered.pairs[..] else {
            panic!("two pairs");
        };
        assert_eq!(first.caption, "a girl, hat", "without what editors add");
        assert_eq!(first.mask.as_ref(), Some(&mask), "where to learn");
        assert_eq!(second.caption, "", "none lies beside it");
        assert_eq!(gathered.left, [""; 0], "nothing to tell");
        assert_eq!(gathered.said, "2 pairs", "in a few words");
    }

    #[test]
    fn what_cannot_be_read_is_named_and_its_other_half_stays() {
        let gathered = gather(&[
            ("1_a.png", png(10)),
            ("1_b.png", b"broken".to_vec()),
            ("readme.pdf", Vec::new()),
        ]);
        assert_eq!(names(&gathered), [[Some("1_a.png".to_owned()), None]], "A");
        let note = gathered.pairs[0].note.clone().unwrap_or_default();
        assert!(note.starts_with("1_b.png: "), "{note}");
        let left = gathered.left.join("\n");
        assert!(
            left.contains("1_b.png: ") && left.contains("readme.pdf: "),
            "{left}"
        );
    }

    #[test]
    fn pictures_whose_names_say_nothing_are_paired_by_likeness_and_that_is_told() {
        let faces = [picture("any", None), picture("any", Some([200, 30, 30]))];
        let other = crate::picture::Picture::made(
            "any",
            mimeo_image::Rgb::filled(SIDE, SIDE, [5, 200, 90]),
        );
        let gathered = gather(&[
            ("IMG_10.png", faces[0].file.clone()),
            ("photo.png", faces[1].file.clone()),
            ("green field.png", other.unwrap().file),
        ]);
        let [pair, alone] = &gathered.pairs[..] else {
            panic!("{:?}", names(&gathered));
        };
        let note = pair.note.clone().unwrap_or_default();
        assert!(note.starts_with("Paired by likeness"), "{note}");
        assert!(
            alone.target.is_none() && alone.note.is_some(),
            "the third is alone"
        );
        assert_eq!(gathered.said, "1 pair, 1 picture alone", "in a few words");
    }

    #[test]
    fn graded_pictures_share_their_original_and_have_levels() {
        let gathered = gather(&[
            ("head -1.png", png(10)),
            ("head 0.png", png(20)),
            ("head 2.png", png(30)),
        ]);
        let levels: Vec<_> = gathered
            .pairs
            .iter()
            .map(|pair| pair.numbers.map_or(1.0, |(_, level)| level.get()))
            .collect();
        assert_eq!(levels, [-1.0, 2.0], "{:?}", names(&gathered));
    }
}
