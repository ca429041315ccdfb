//! Masks and captions beside the pictures, and what remains.

use std::collections::BTreeMap;

use crate::name::{Kind, Name, Token};
use crate::rules::Links;
use crate::why::Why;
use crate::{Alone, Left, Link, Paired, Pairing, word};

/// A mask or caption that would do for a picture or pair.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    file: usize,
    /// The picture, or the original of the pairs.
    owner: usize,
    /// The only target that it is for.
    target: Option<usize>,
    /// How well it fits; 0 is best.
    rank: u8,
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
    let in_pair = |file| {
        let mut pairs = links.pairs.iter();
        pairs.any(|link| link.original == file || link.target == file)
    };
    let of_kind = |is: fn(Kind) -> bool| {
        let files = files.iter().copied();
        files
            .filter(move |&file| is(names[file].kind))
            .collect::<Vec<_>>()
    };
    let mut masks = of_kind(|kind| kind == Kind::Mask);
    masks.retain(|&file| !in_pair(file));
    let captions = of_kind(|kind| matches!(kind, Kind::Caption { .. }));
    let mut singles = of_kind(|kind| kind == Kind::Picture);
    singles.retain(|&file| !in_pair(file));

    let beside = |file, stripped: &[&str]| best(candidates(names, file, &links.pairs, stripped));
    let mut for_masks: Vec<_> = masks
        .iter()
        .flat_map(|&file| beside(file, &word::MASK))
        .collect();
    // A mask of both is meant for both; the other half's may be another.
    for_masks.sort_by_key(|found| (found.rank, place[found.file]));
    let mut for_captions = Vec::new();
    let mut of_left = BTreeMap::new();
    for &file in &captions {
        let mut found = candidates(names, file, &links.pairs, &word::CAPTION);
        found.extend(singles.iter().filter_map(|&owner| {
            Some(Candidate {
                file,
                owner,
                target: None,
                rank: fit(&names[file], &names[owner], &word::CAPTION)?,
            })
        }));
        for found in best(found) {
            match links.whys.contains_key(&found.owner) {
                true => _ = of_left.insert(file, Why::CaptionOfUnused),
                false => for_captions.push(found),
            }
        }
    }
    for_captions
        .sort_by_key(|found| (found.rank, names[found.file].kind.rank(), place[found.file]));
    let choose = |found: &[Candidate], owner: usize, target: Option<usize>| {
        let fits = |found: &&Candidate| {
            found.owner == owner && (found.target.is_none() || found.target == target)
        };
        found.iter().find(fits).map(|found| found.file)
    };

    let pairs: Vec<_> = links
        .pairs
        .iter()
        .map(|link| Paired {
            original: link.original,
            target: link.target,
            mask: choose(&for_masks, link.original, Some(link.target)),
            caption: choose(&for_captions, link.original, Some(link.target)),
            level: link.level,
            evidence: link.evidence,
        })
        .collect();
    let alone: Vec<_> = singles
        .iter()
        .filter(|file| !links.whys.contains_key(file))
        .map(|&picture| Alone {
            picture,
            caption: choose(&for_captions, picture, None),
        })
        .collect();

    let used_mask = |file| pairs.iter().any(|pair| pair.mask == Some(file));
    let used_caption = |file| {
        let of_pairs = pairs.iter().map(|pair| pair.caption);
        let mut all = of_pairs.chain(alone.iter().map(|alone| alone.caption));
        all.any(|caption| caption == Some(file))
    };
    let instead = |found: &[Candidate], file: usize| {
        let own = found.iter().find(|found| found.file == file)?;
        let used = choose(found, own.owner, own.target)?;
        Some(names[used].path.clone())
    };
    let mut whys = links.whys;
    whys.append(&mut of_left);
    for file in masks.into_iter().filter(|&file| !used_mask(file)) {
        let used = instead(&for_masks, file);
        whys.insert(
            file,
            used.map_or(Why::MaskOfNone, |used| Why::SecondMask { used }),
        );
    }
    for file in captions.into_iter().filter(|&file| !used_caption(file)) {
        let used = instead(&for_captions, file);
        let why = used.map_or(Why::CaptionOfNone, |used| Why::SecondCaption { used });
        whys.entry(file).or_insert(why);
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
    let mut left: Vec<_> = whys
        .into_iter()
        .map(|(file, why)| Left { file, why })
        .collect();
    left.sort_by_key(|left| place[left.file]);
    Pairing { pairs, alone, left }
}

/// For which pairs a mask or caption would do.
fn candidates(names: &[Name], file: usize, pairs: &[Link], stripped: &[&str]) -> Vec<Candidate> {
    let name = &names[file];
    let mut found = Vec::new();
    for link in pairs {
        let (original, target) = (&names[link.original], &names[link.target]);
        let common = common_key(original, target);
        let of_both = !common.is_empty();
        let of_both = of_both && keys(name, stripped).contains(&common);
        // The original's caption says what both have in common; a mask's name mostly says no half.
        let ranks = match name.kind {
            Kind::Mask => [3, 0, 6],
            _ => [0, 3, 6],
        };
        let ways = [
            fit(name, original, stripped).map(|rank| (ranks[0] + rank, None)),
            of_both.then_some((ranks[1], None)),
            fit(name, target, stripped).map(|rank| (ranks[2] + rank, Some(link.target))),
        ];
        found.extend(ways.into_iter().flatten().map(|(rank, target)| Candidate {
            file,
            owner: link.original,
            target,
            rank,
        }));
    }
    found
}

/// Those that fit best, if they are of one owner: a file is not used for two pictures.
fn best(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    let Some(rank) = candidates.iter().map(|found| found.rank).min() else {
        return candidates;
    };
    candidates.retain(|found| found.rank == rank);
    let owner = candidates[0].owner;
    match candidates.iter().all(|found| found.owner == owner) {
        true => candidates,
        false => Vec::new(),
    }
}

/// How well the name of a file fits that of a picture: 0 is the same, and the more the less.
fn fit(name: &Name, picture: &Name, stripped: &[&str]) -> Option<u8> {
    if name.stem == picture.stem {
        return Some(0);
    }
    let key = picture.full_key();
    let place = keys(name, stripped).iter().position(|own| *own == key);
    place.map(|place| place as u8 + 1)
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
