//! Masks and captions beside the pictures, and what remains.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::{Kind, Name, Token};
use crate::rules::Links;
use crate::why::Why;
use crate::{Alone, Left, Link, Paired, Pairing, word};

/// Whom a mask or caption would do for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    /// How well it fits; 0 is best.
    rank: u8,
    /// The picture, or the original of the pairs.
    owner: usize,
    /// The only target that it is for.
    target: Option<usize>,
}

/// How a name has to be to belong to a picture or pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As A is called, or as a picture alone.
    Original,
    /// As both are.
    Both,
    /// As B is.
    Target,
}

/// What names masks and captions are to have.
#[derive(Default)]
struct Owners {
    /// By the name without its extension.
    by_stem: BTreeMap<String, Vec<(Way, Candidate)>>,
    /// By what a name says.
    by_key: BTreeMap<String, Vec<(Way, Candidate)>>,
}

/// Puts together what the rules found, and what lies beside.
pub fn assemble(names: &[Name], mut links: Links) -> Pairing {
    let mut files: Vec<_> = (0..names.len()).collect();
    files.sort_by(|&a, &b| names[a].order(&names[b]));
    let mut place = vec![0; names.len()];
    for (i, &file) in files.iter().enumerate() {
        place[file] = i;
    }
    links
        .pairs
        .sort_by_key(|link| (place[link.original], place[link.target]));
    let halves = links
        .pairs
        .iter()
        .flat_map(|link| [link.original, link.target]);
    let halves: BTreeSet<_> = halves.collect();
    let of_kind = |is: fn(Kind) -> bool| {
        let files = files.iter().copied();
        let files = files.filter(|file| is(names[*file].kind) && !halves.contains(file));
        files.collect::<Vec<_>>()
    };
    let masks = of_kind(|kind| kind == Kind::Mask);
    let captions = of_kind(|kind| matches!(kind, Kind::Caption { .. }));
    let singles = of_kind(|kind| kind == Kind::Picture);

    let mut owners = Owners::default();
    owners.add_pairs(names, &links.pairs);
    let for_masks = Beside::find(&masks, |file| {
        let found = owners.candidates(&names[file], &word::MASK);
        (place[file], found)
    });
    owners.add_singles(names, &singles);
    let for_captions = Beside::find(&captions, |file| {
        let found = owners.candidates(&names[file], &word::CAPTION);
        // Of several kinds of caption one counts; that is more than how they are ordered.
        (
            usize::from(names[file].kind.rank()) * names.len() + place[file],
            found,
        )
    });

    let pairs: Vec<_> = links
        .pairs
        .iter()
        .map(|link| Paired {
            original: link.original,
            target: link.target,
            mask: for_masks.choose(link.original, Some(link.target)),
            caption: for_captions.choose(link.original, Some(link.target)),
            level: link.level,
            evidence: link.evidence,
        })
        .collect();
    let alone: Vec<_> = singles
        .iter()
        .filter(|file| !links.whys.contains_key(file))
        .map(|&picture| Alone {
            picture,
            caption: for_captions.choose(picture, None),
        })
        .collect();

    let of_alone = alone.iter().map(|alone| alone.caption);
    let used = pairs.iter().flat_map(|pair| [pair.mask, pair.caption]);
    let used: BTreeSet<_> = used.chain(of_alone).flatten().collect();
    let path = |file: usize| names[file].path.clone();
    let mut whys = links.whys;
    for file in masks.into_iter().filter(|file| !used.contains(file)) {
        let used = for_masks.instead(file).map(path);
        let why = used.map_or(Why::MaskOfNone, |used| Why::SecondMask { used });
        whys.insert(file, why);
    }
    for file in captions.into_iter().filter(|file| !used.contains(file)) {
        let why = match for_captions.instead(file) {
            Some(used) if used != file => Why::SecondCaption { used: path(used) },
            Some(_) => Why::CaptionOfUnused,
            None => Why::CaptionOfNone,
        };
        whys.insert(file, why);
    }
    for &file in &files {
        let why = match names[file].kind {
            Kind::Foreign => Why::NeitherPictureNorCaption,
            Kind::ForeignPicture => Why::FormatOfPicture,
            Kind::Twin => Why::SameName,
            Kind::Picture | Kind::Mask | Kind::Caption { .. } | Kind::Hidden => continue,
        };
        whys.insert(file, why);
    }
    let left = whys.into_iter().map(|(file, why)| Left { file, why });
    let mut left: Vec<_> = left.collect();
    left.sort_by_key(|left| place[left.file]);
    Pairing { pairs, alone, left }
}

impl Owners {
    fn add_pairs(&mut self, names: &[Name], pairs: &[Link]) {
        for link in pairs {
            let (original, target) = (&names[link.original], &names[link.target]);
            let candidate = |target| Candidate {
                rank: 0,
                owner: link.original,
                target,
            };
            self.add(original, Way::Original, candidate(None));
            self.add(target, Way::Target, candidate(Some(link.target)));
            let common = common_key(original, target);
            if !common.is_empty() {
                let of_both = self.by_key.entry(common).or_default();
                of_both.push((Way::Both, candidate(None)));
            }
        }
    }

    fn add_singles(&mut self, names: &[Name], singles: &[usize]) {
        for &owner in singles {
            let candidate = Candidate {
                rank: 0,
                owner,
                target: None,
            };
            self.add(&names[owner], Way::Original, candidate);
        }
    }

    fn add(&mut self, name: &Name, way: Way, candidate: Candidate) {
        let by_stem = self.by_stem.entry(name.stem.clone()).or_default();
        by_stem.push((way, candidate));
        let by_key = self.by_key.entry(name.full_key()).or_default();
        by_key.push((way, candidate));
    }

    /// Whom a mask or caption fits best: one picture, or pairs of one original. None if it fits several
    /// alike, since a file is not used for two pictures.
    fn candidates(&self, name: &Name, stripped: &[&str]) -> Vec<Candidate> {
        // The original's caption says what both have in common; a mask's name mostly says no half.
        let first = match name.kind {
            Kind::Mask => Way::Both,
            _ => Way::Original,
        };
        let rank = |way| match way {
            _ if way == first => 0,
            Way::Original | Way::Both => 3,
            Way::Target => 6,
        };
        let of_stem = self.by_stem.get(&name.stem).map(|found| (0, found));
        let of_key = keys(name, stripped).into_iter().zip(1..);
        let of_key = of_key.filter_map(|(key, fit)| Some((fit, self.by_key.get(&key)?)));
        let found = of_stem.into_iter().chain(of_key).flat_map(|(fit, found)| {
            found.iter().map(move |&(way, candidate)| Candidate {
                rank: rank(way) + fit,
                ..candidate
            })
        });
        let mut found: Vec<_> = found.collect();
        found.sort_unstable();
        found.dedup();
        let Some(&first) = found.first() else {
            return found;
        };
        found.retain(|other| other.rank == first.rank);
        match found.iter().all(|other| other.owner == first.owner) {
            true => found,
            false => Vec::new(),
        }
    }
}

/// Masks or captions by whom they would do for, those that fit best first.
struct Beside {
    by_owner: BTreeMap<usize, Vec<(Candidate, usize)>>,
    own: BTreeMap<usize, Candidate>,
}

impl Beside {
    /// - `candidates`: of a file, with what decides among those that fit alike
    fn find(files: &[usize], candidates: impl Fn(usize) -> (usize, Vec<Candidate>)) -> Self {
        let mut found = Vec::new();
        for &file in files {
            let (order, candidates) = candidates(file);
            found.extend(
                candidates
                    .into_iter()
                    .map(|candidate| (candidate, order, file)),
            );
        }
        found.sort_by_key(|(candidate, order, _)| (candidate.rank, *order));
        let mut beside = Self {
            by_owner: BTreeMap::new(),
            own: BTreeMap::new(),
        };
        for (candidate, _, file) in found {
            let of_owner = beside.by_owner.entry(candidate.owner).or_default();
            of_owner.push((candidate, file));
            beside.own.entry(file).or_insert(candidate);
        }
        beside
    }

    /// The one for a picture, or for a pair of an original.
    fn choose(&self, owner: usize, target: Option<usize>) -> Option<usize> {
        let fits = |(candidate, _): &&(Candidate, usize)| {
            candidate.target.is_none() || candidate.target == target
        };
        let found = self.by_owner.get(&owner)?.iter().find(fits);
        found.map(|(_, file)| *file)
    }

    /// Which is used where this one would be.
    fn instead(&self, file: usize) -> Option<usize> {
        let own = self.own.get(&file)?;
        self.choose(own.owner, own.target)
    }
}

/// What a name says, and what it says but for words of its kind.
fn keys(name: &Name, stripped: &[&str]) -> [String; 2] {
    let is_stripped = |token: &Token| stripped.contains(&token.text.as_str());
    [name.full_key(), name.key(|_, token| is_stripped(token))]
}

/// What the names of two halves both say.
fn common_key(a: &Name, b: &Name) -> String {
    // Names in folders and such without have the name itself in common.
    let parts = a.parts.iter().rev().zip(b.parts.iter().rev());
    let common: Vec<_> = parts.map(|(a, b)| common(a, b)).collect();
    let parts = common.iter().rev().filter(|part| !part.is_empty());
    parts
        .flat_map(|part| ["/".to_owned(), part.join(" ")])
        .collect()
}

/// The longest sequence of words that is in both.
fn common<'a>(a: &'a [Token], b: &[Token]) -> Vec<&'a str> {
    // `lengths[i][j]`: of what is in both `a[i..]` and `b[j..]`.
    let mut lengths = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            lengths[i][j] = match a[i].text == b[j].text {
                true => lengths[i + 1][j + 1] + 1,
                false => lengths[i + 1][j].max(lengths[i][j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut words = Vec::new();
    while i < a.len() && j < b.len() {
        if a[i].text == b[j].text {
            words.push(a[i].text.as_str());
            (i, j) = (i + 1, j + 1);
        } else if lengths[i + 1][j] >= lengths[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    words
}
