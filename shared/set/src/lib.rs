//! How files become the examples of a set.
//!
//! Somebody drops a folder on the page or names one to the program. Which two of its pictures are a
//! pair is mostly said by their names, in dozens of ways; else by their likeness. Masks and captions
//! lie beside them. Names and pixels only: whoever has the files reads them.
//!
//! ```text
//! paths ─▶ pair_by_name ──────▶ Pairing { pairs, alone, left }
//!                                   │ thumbnails of those that have no pair
//!                                   ▼
//!                           pair_by_likeness ─▶ Pairing
//! paths ─▶ alone_by_name ─────▶ Pairing { alone, left }      (copiers of framing and style)
//! paths, choice ─▶ arrange ───▶ Pairing                      (pairs corrected by hand)
//! caption's bytes ─▶ Caption
//! ```
//!
//! # Rules of names
//! Case, separators (`_`, `-`, `.`, spaces, brackets), extensions, leading zeros and full-width
//! letters make no difference. The first rule that fits a picture settles it:
//!
//! 1. Graded levels: names alike but for a number, one of them 0 (or no number), and at least one a
//!    level beyond doubt (`-2`, `+1`, `1.5`, `minus2`, `level1`). 0 is the original of all others.
//! 2. Halves called by words: `before`/`after`, `orig`/`targ`, `source`/`target`, `前`/`後`…, in the
//!    name or as a folder, and all else alike. Then `a`/`b`.
//! 3. One half says which it is, the other nothing: `girl`, `girl_diff`.
//! 4. Equal names in two folders; A is in the one whose name comes first.
//! 5. The rules 2 and 3 once more, without the ` (1)` that a browser adds.
//! 6. Names alike but for their last number: of an even run without gaps two each are a pair, in its
//!    order.
//!
//! A mask is called `mask` and otherwise as both halves, as A or as B are, in this order; a caption as A,
//! as both or as B, and `.txt` counts before `.caption`. Both may lie in folders of their own (`masks/`,
//! `captions/`).
//!
//! A picture that a rule would pair with two others is paired with none: it is [left](Left), with
//! what to do. The order in which the files come makes no difference.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod assemble;
mod caption;
mod likeness;
mod name;
#[cfg(test)]
mod patterns;
mod rules;
mod why;
mod word;

use std::collections::BTreeMap;

use mimeo_protocol::Level;

use name::{Kind, Name};
use rules::Links;

pub use caption::{Caption, NotText, Tag, common_tags, tags, with_tag, without_tag, written};
pub use likeness::Thumbnail;
pub use why::Why;

/// What the files of a set are, by their place in the list that was given.
///
/// Every file is told once, with two exceptions: hidden files and those of systems are not told at
/// all; and what is common to a graded set (its original, mask and caption) is in several of its
/// pairs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pairing {
    /// In the order of their names, as a person counts: 2 before 10.
    pub pairs: Vec<Paired>,
    /// Pictures that nothing says to be half of a pair, in the order of their names.
    pub alone: Vec<Alone>,
    /// What is not used, in the order of the names, each with the reason.
    pub left: Vec<Left>,
}

/// Two pictures that differ in one thing, and what lies beside them.
#[derive(Debug, Clone, PartialEq)]
pub struct Paired {
    /// A.
    pub original: usize,
    /// B.
    pub target: usize,
    /// Where to learn, if there is a picture for that.
    pub mask: Option<usize>,
    /// The file with the prompt of both, if there is one.
    pub caption: Option<usize>,
    /// At which strength the change is to come; 1 but in graded sets.
    pub level: Level,
    /// Who says so.
    pub evidence: Evidence,
}

/// Who says that two pictures are a pair, and which of them is A.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// The user, or names that leave no doubt.
    Names,
    /// Names say that they are a pair; A is the one whose name comes first, which may be wrong.
    Order,
    /// They look alike; A is the one whose name comes first, which may be wrong.
    Likeness,
}

/// One picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alone {
    /// The picture.
    pub picture: usize,
    /// The file with its prompt, if there is one.
    pub caption: Option<usize>,
}

/// A file that is not used.
#[derive(Debug, Clone, PartialEq)]
pub struct Left {
    /// The file.
    pub file: usize,
    /// Why, in one sentence with what to do.
    pub why: Why,
}

/// Two pictures that are to be a pair, whatever they are called: see [`arrange`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// A.
    pub original: usize,
    /// B.
    pub target: usize,
    /// At which strength the change is to come.
    pub level: Level,
    /// Who says so.
    pub evidence: Evidence,
}

impl Link {
    /// A pair that the user made.
    #[must_use]
    pub const fn new(original: usize, target: usize) -> Self {
        Self {
            original,
            target,
            level: Level::constant(1.0),
            evidence: Evidence::Names,
        }
    }
}

impl Pairing {
    /// The pictures that are half of no pair and could be: those alone, and those whose names leave
    /// open which is the other.
    #[must_use]
    pub fn unpaired(&self) -> Vec<usize> {
        let undecided = self.left.iter().filter(|left| left.why.is_undecided());
        let mut unpaired: Vec<_> = self.alone.iter().map(|alone| alone.picture).collect();
        unpaired.extend(undecided.map(|left| left.file));
        unpaired.sort_unstable();
        unpaired
    }

    /// The pairs as [`arrange`] takes them.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        let link = |pair: &Paired| Link {
            original: pair.original,
            target: pair.target,
            level: pair.level,
            evidence: pair.evidence,
        };
        self.pairs.iter().map(link).collect()
    }
}

/// Pairs pictures by what their files are called.
///
/// - `paths`: relative to what was dropped or named, with `/` between folders
#[must_use]
pub fn pair_by_name(paths: &[&str]) -> Pairing {
    let names = read(paths);
    let links = rules::links(&names);
    assemble::assemble(&names, links)
}

/// Pairs by what they show those pictures that names leave [unpaired](Pairing::unpaired).
///
/// The two that are nearest to each other are a pair, if they are near and no third is nearly as near.
/// Likeness says nothing of which is A, so that is the one whose name comes first.
///
/// - `paths`: as for [`pair_by_name`]
/// - `pairing`: what that gave
/// - `thumbnails`: of pictures, by their place in `paths`; one that is in a pair already stays there
#[must_use]
pub fn pair_by_likeness(
    paths: &[&str],
    pairing: &Pairing,
    thumbnails: &[(usize, Thumbnail)],
) -> Pairing {
    let names = read(paths);
    let unpaired = pairing.unpaired();
    let mut open: Vec<_> = thumbnails.to_vec();
    open.retain(|(file, _)| unpaired.contains(file));
    let mut links = Links {
        pairs: pairing.links(),
        whys: BTreeMap::new(),
    };
    let undecided = pairing
        .left
        .iter()
        .filter(|left| names[left.file].kind == Kind::Picture);
    links
        .whys
        .extend(undecided.map(|left| (left.file, left.why.clone())));
    for link in likeness::links(&names, &open) {
        for file in [link.original, link.target] {
            links.whys.remove(&file);
        }
        links.pairs.push(link);
    }
    assemble::assemble(&names, links)
}

/// Takes each picture for itself, with the caption beside it.
///
/// - `paths`: as for [`pair_by_name`]
#[must_use]
pub fn alone_by_name(paths: &[&str]) -> Pairing {
    assemble::assemble(&read(paths), Links::default())
}

/// Puts masks and captions beside pairs that somebody made, and says what remains.
///
/// A link that names a file that is no picture, or the same file twice, is passed over; so is one with
/// a picture that an earlier link has, unless it is the original of both.
///
/// - `paths`: as for [`pair_by_name`]
#[must_use]
pub fn arrange(paths: &[&str], links: &[Link]) -> Pairing {
    let names = read(paths);
    let mut taken: Vec<Option<Half>> = vec![None; names.len()];
    let mut sound = Links::default();
    for link in links {
        let is_picture = |file| {
            names
                .get(file)
                .is_some_and(|name: &Name| name.kind.is_picture())
        };
        let half = |file: usize| taken.get(file).copied().flatten();
        if is_picture(link.original)
            && is_picture(link.target)
            && link.original != link.target
            && half(link.original) != Some(Half::Target)
            && half(link.target).is_none()
        {
            taken[link.original] = Some(Half::Original);
            taken[link.target] = Some(Half::Target);
            sound.pairs.push(*link);
        }
    }
    assemble::assemble(&names, sound)
}

/// Which half of its pairs a picture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Original,
    Target,
}

/// What the names say, each for itself and whether there are two of one.
fn read(paths: &[&str]) -> Vec<Name> {
    let mut names: Vec<_> = paths.iter().map(|path| Name::read(path)).collect();
    let mut told_apart: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (file, name) in names.iter().enumerate() {
        told_apart.entry(name.place()).or_default().push(file);
    }
    for same in told_apart.into_values().filter(|same| same.len() > 1) {
        for file in same {
            if names[file].kind != Kind::Hidden {
                names[file].kind = Kind::Twin;
            }
        }
    }
    names
}
