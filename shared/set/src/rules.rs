//! Which pictures are a pair, by their names: the rules that the head of this crate lists.

use std::collections::{BTreeMap, BTreeSet};

use mimeo_protocol::Level;

use crate::name::{Kind, Name, Place, Token};
use crate::why::Why;
use crate::word::{self, ADDED, FAMILIES, Family, Side};
use crate::{Evidence, Link};

/// What the rules found.
#[derive(Debug, Default)]
pub struct Links {
    /// The pairs.
    pub pairs: Vec<Link>,
    /// Why a picture is in none, where that is to be told.
    pub whys: BTreeMap<usize, Why>,
}

/// Pairs pictures by their names.
pub fn links(names: &[Name]) -> Links {
    let mut pictures: Vec<_> = (0..names.len()).collect();
    pictures.retain(|&file| names[file].kind == Kind::Picture);
    pictures.sort_by(|&a, &b| names[a].order(&names[b]));
    let mut is_open = vec![false; names.len()];
    let mut by_key: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for &file in &pictures {
        is_open[file] = true;
        by_key.entry(names[file].full_key()).or_default().push(file);
    }
    let mut rules = Rules {
        names,
        pictures,
        is_open,
        by_key,
        found: Links::default(),
    };
    rules.graded();
    rules.words(Counters::Count);
    rules.half_silent(Counters::Count);
    rules.without_original();
    rules.equal_names();
    rules.words(Counters::Ignored);
    rules.half_silent(Counters::Ignored);
    rules.numbered();
    rules.found
}

/// Whether `girl (1)` is another name than `girl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counters {
    Count,
    Ignored,
}

struct Rules<'a> {
    names: &'a [Name],
    /// In the order of their names.
    pictures: Vec<usize>,
    /// Whether no rule has settled a file.
    is_open: Vec<bool>,
    /// Pictures by all that their names say.
    by_key: BTreeMap<String, Vec<usize>>,
    found: Links,
}

/// A picture as one of several that differ in a number.
#[derive(Debug, Clone, Copy)]
struct Graded {
    file: usize,
    level: f64,
    /// Whether the name leaves no doubt that it is one.
    is_said: bool,
}

impl Rules<'_> {
    /// Graded levels, with their original.
    fn graded(&mut self) {
        for (key, group) in self.levels() {
            let mut group: Vec<_> = group
                .into_iter()
                .filter(|of| self.is_open[of.file])
                .collect();
            let is_zero = |of: &Graded| of.level == 0.0;
            if !group.iter().any(is_zero) {
                let bare = self.bare(&key);
                group.extend(bare.map(|file| Graded {
                    file,
                    level: 0.0,
                    is_said: false,
                }));
            }
            let is_said = group.iter().any(|of| of.is_said);
            if !is_said || !group.iter().any(is_zero) || group.iter().all(is_zero) {
                continue;
            }
            group.sort_by(|a, b| a.level.total_cmp(&b.level));
            if group.windows(2).any(|two| two[0].level == two[1].level) {
                let files: Vec<_> = group.iter().map(|of| of.file).collect();
                self.leave_undecided(&files);
                continue;
            }
            let zero = group.iter().find(|of| is_zero(of)).map(|of| of.file);
            let Some(original) = zero else { continue };
            for of in group.iter().filter(|of| !is_zero(of)) {
                match Level::try_from(of.level) {
                    Ok(level) => self.found.pairs.push(Link {
                        level,
                        ..Link::new(original, of.file)
                    }),
                    Err(_) => _ = self.found.whys.insert(of.file, Why::LevelTooFar),
                }
            }
            let files: Vec<_> = group.iter().map(|of| of.file).collect();
            self.close(&files);
        }
    }

    /// Levels that are said to be such, and what they are levels of is not there.
    fn without_original(&mut self) {
        for group in self.levels().into_values() {
            let group: Vec<_> = group
                .into_iter()
                .filter(|of| self.is_open[of.file])
                .collect();
            if group.len() > 1 && group.iter().all(|of| of.is_said && of.level != 0.0) {
                for of in &group {
                    self.found.whys.insert(of.file, Why::NoOriginal);
                }
                let files: Vec<_> = group.iter().map(|of| of.file).collect();
                self.close(&files);
            }
        }
    }

    /// Halves that are called by words.
    fn words(&mut self, counters: Counters) {
        for family in &FAMILIES {
            let mut halves: BTreeMap<String, [Vec<usize>; 2]> = BTreeMap::new();
            for file in self.open() {
                for (side, key) in self.sides(file, family, counters) {
                    let halves = halves.entry(key).or_default();
                    halves[side as usize].push(file);
                }
            }
            // From a to c they are no halves: somebody counts in letters.
            let counted = match family.side("a") {
                Some(_) => self.with_letter("c"),
                None => BTreeMap::new(),
            };
            let mut edges = Vec::new();
            for (key, [originals, targets]) in &halves {
                if originals.is_empty() || targets.is_empty() {
                    continue;
                }
                if let Some(more) = counted.get(key) {
                    let files = [originals, targets].into_iter().flatten().copied();
                    self.leave_undecided(&files.chain([*more]).collect::<Vec<_>>());
                    continue;
                }
                let pairs = originals
                    .iter()
                    .flat_map(|a| targets.iter().map(move |b| (*a, *b)));
                edges.extend(pairs.map(|(a, b)| Link::new(a, b)));
            }
            self.settle(edges);
        }
    }

    /// One half says which it is, the other nothing.
    fn half_silent(&mut self, counters: Counters) {
        let mut edges = Vec::new();
        let silent = self.open().map(|file| {
            let key = self.names[file].key(|_, token| is_ignored(token, counters));
            (key, file)
        });
        let mut by_key: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (key, file) in silent {
            by_key.entry(key).or_default().push(file);
        }
        for file in self.open() {
            for family in FAMILIES.iter().chain([&ADDED]) {
                for (side, key) in self.sides(file, family, counters) {
                    let is_a = family.side("a") == Some(side);
                    if key.is_empty() || is_a {
                        continue;
                    }
                    let others = by_key.get(&key).into_iter().flatten().copied();
                    edges.extend(
                        others
                            .filter(|&other| other != file)
                            .map(|other| match side {
                                Side::Original => Link::new(file, other),
                                Side::Target => Link::new(other, file),
                            }),
                    );
                }
            }
        }
        self.settle(edges);
    }

    /// The same name in two folders.
    fn equal_names(&mut self) {
        let mut groups: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for file in self.open() {
            let name = &self.names[file];
            let own = name.parts.len() - 1;
            for part in 0..own {
                let key = name.key(|place, _| place.part == part);
                // A folder without words is one all the same.
                groups.entry((own, part, key)).or_default().push(file);
            }
        }
        let mut edges = Vec::new();
        for group in groups.values() {
            for (i, &a) in group.iter().enumerate() {
                edges.extend(group[i + 1..].iter().map(|&b| Link {
                    evidence: Evidence::Order,
                    ..Link::new(a, b)
                }));
            }
        }
        edges.retain(|link| !self.are_same_half(link.original, link.target));
        self.settle(edges);
    }

    /// Names that differ in their last number: of an even run two each.
    fn numbered(&mut self) {
        let mut groups: BTreeMap<String, Vec<(u64, usize)>> = BTreeMap::new();
        for file in self.open() {
            let name = &self.names[file];
            let own = name.parts.len() - 1;
            let numbers = name
                .tokens()
                .filter(|(place, token)| place.part == own && token.number.is_some());
            if let Some((place, token)) = numbers.last()
                && let Some(count) = token.count()
            {
                let key = name.key(|other, _| other == place);
                groups.entry(key).or_default().push((count, file));
            }
        }
        for (key, mut group) in groups {
            group.retain(|&(_, file)| self.is_open[file]);
            let first = group.iter().map(|(count, _)| *count).min();
            // The first of several is often not counted: `girl`, `girl2`; `image`, `image (1)`.
            if let Some(first @ 1..=2) = first {
                let bare = self.bare(&key);
                group.extend(bare.map(|file| (first - 1, file)));
            }
            group.sort_unstable();
            let has_half = |&(_, file): &(u64, usize)| half(&self.names[file]).is_some();
            if group.len() < 2 || group.iter().any(has_half) {
                continue;
            }
            if group.windows(2).any(|two| two[0].0 == two[1].0) {
                let files: Vec<_> = group.iter().map(|of| of.1).collect();
                self.leave_undecided(&files);
                continue;
            }
            let evidence = match group.len() {
                2 => Evidence::Names,
                _ => Evidence::Order,
            };
            for run in group
                .chunk_by(|a, b| a.0 + 1 == b.0)
                .filter(|run| run.len() > 1)
            {
                if run.len() % 2 == 0 {
                    let pairs = run.chunks_exact(2).map(|two| Link {
                        evidence,
                        ..Link::new(two[0].1, two[1].1)
                    });
                    self.found.pairs.extend(pairs);
                } else {
                    let count = run.len();
                    let whys = run.iter().map(|of| (of.1, Why::OddRun { count }));
                    self.found.whys.extend(whys);
                }
                let files: Vec<_> = run.iter().map(|of| of.1).collect();
                self.close(&files);
            }
        }
    }

    /// Takes what is a pair beyond doubt, and leaves what could be halves of several.
    fn settle(&mut self, edges: Vec<Link>) {
        let mut others: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        let mut links: BTreeMap<_, Vec<Link>> = BTreeMap::new();
        for link in edges {
            let (a, b) = (link.original, link.target);
            if !self.is_open[a] || !self.is_open[b] {
                continue;
            }
            others.entry(a).or_default().insert(b);
            others.entry(b).or_default().insert(a);
            links.entry((a.min(b), a.max(b))).or_default().push(link);
        }
        let mut closed = Vec::new();
        for ((a, b), links) in links {
            let same_way = links.iter().all(|link| link.original == links[0].original);
            if others[&a].len() == 1 && others[&b].len() == 1 && same_way {
                self.found.pairs.push(links[0]);
                closed.extend([a, b]);
            }
        }
        for file in &closed {
            others.remove(file);
        }
        for (file, others) in others {
            let why = self.several(others.into_iter());
            self.found.whys.insert(file, why);
            closed.push(file);
        }
        self.close(&closed);
    }

    /// Leaves all of them, since each could belong to each.
    fn leave_undecided(&mut self, files: &[usize]) {
        for file in files {
            let others = files.iter().filter(|other| *other != file);
            let why = self.several(others.copied());
            self.found.whys.insert(*file, why);
        }
        self.close(files);
    }

    fn several(&self, others: impl Iterator<Item = usize>) -> Why {
        let mut others: Vec<_> = others.map(|file| &self.names[file]).collect();
        others.sort_by(|a, b| a.order(b));
        Why::Several {
            others: others.into_iter().map(|name| name.path.clone()).collect(),
        }
    }

    /// What no rule has settled, in the order of the names.
    fn open(&self) -> impl Iterator<Item = usize> {
        let pictures = self.pictures.iter().copied();
        pictures.filter(|&file| self.is_open[file])
    }

    fn close(&mut self, files: &[usize]) {
        for &file in files {
            self.is_open[file] = false;
        }
    }

    /// The one open picture that says this and nothing else.
    fn bare(&self, key: &str) -> Option<usize> {
        let files = self.by_key.get(key).into_iter().flatten().copied();
        let mut found = files.filter(|&file| self.is_open[file]);
        match (found.next(), found.next()) {
            (Some(file), None) if !key.is_empty() => Some(file),
            _ => None,
        }
    }

    /// Open pictures by what their names say but for a letter.
    fn with_letter(&self, letter: &str) -> BTreeMap<String, usize> {
        let of_picture = |file| {
            let name: &Name = &self.names[file];
            let places = name.tokens().filter(|(_, token)| token.text == letter);
            places.map(move |(place, _)| (name.key(|other, _| other == place), file))
        };
        self.open().flat_map(of_picture).collect()
    }

    /// As which half a picture may be called in this family, and what its name says besides. A word
    /// that stands there twice may mean it once (`a girl a`), or twice (`before/girl before`).
    fn sides(&self, file: usize, family: &Family, counters: Counters) -> Vec<(Side, String)> {
        let name = &self.names[file];
        let said: Vec<_> = name
            .tokens()
            .filter_map(|(place, token)| Some((place, family.side(&token.text)?)))
            .collect();
        let key = |without: &[Place]| {
            name.key(|place, token| without.contains(&place) || is_ignored(token, counters))
        };
        let mut sides: Vec<_> = said
            .iter()
            .map(|&(place, side)| (side, key(&[place])))
            .collect();
        if let [(_, first), _, ..] = said[..]
            && said.iter().all(|(_, side)| *side == first)
        {
            let places: Vec<_> = said.iter().map(|(place, _)| *place).collect();
            sides.push((first, key(&places)));
        }
        sides
    }

    /// Pictures by what their names say but for a level.
    fn levels(&self) -> BTreeMap<String, Vec<Graded>> {
        let mut levels: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for file in self.open() {
            let name = &self.names[file];
            for (part, tokens) in name.parts.iter().enumerate() {
                let Some(last) = tokens.iter().rposition(|token| token.number.is_some()) else {
                    continue;
                };
                let is = |words: &[&str], token: &Token| words.contains(&token.text.as_str());
                let is_word = |token: &&Token| {
                    is(&word::LEVEL, token) || is(&word::BELOW, token) || is(&word::ABOVE, token)
                };
                let words = tokens[..last].iter().rev().take_while(is_word).count();
                let is_below = tokens[last - words..last]
                    .iter()
                    .any(|token| is(&word::BELOW, token));
                let number = tokens[last].number.unwrap_or_default();
                let key = name.key(|place, _| {
                    place.part == part && (last - words..=last).contains(&place.token)
                });
                levels.entry(key).or_default().push(Graded {
                    file,
                    // Without the sign that a zero may have.
                    level: if is_below { -number } else { number } + 0.0,
                    is_said: tokens[last].is_level || words > 0,
                });
            }
        }
        levels
    }

    /// Whether both are said to be the same half: two pictures after the change are no pair.
    fn are_same_half(&self, a: usize, b: usize) -> bool {
        let [a, b] = [a, b].map(|file| half(&self.names[file]));
        a.is_some() && a == b
    }
}

/// Which half a name leaves no doubt to be: by the plainest words, or as a whole folder.
fn half(name: &Name) -> Option<Side> {
    let mut sides = name.tokens().filter_map(|(place, token)| {
        let is_whole = name.parts[place.part].len() == 1 && place.part + 1 < name.parts.len();
        let families = if is_whole {
            &FAMILIES[..]
        } else {
            &FAMILIES[..2]
        };
        families.iter().find_map(|family| family.side(&token.text))
    });
    sides.next()
}

/// Whether a token does not count: what a browser adds to a name that exists.
fn is_ignored(token: &Token, counters: Counters) -> bool {
    counters == Counters::Ignored && token.is_counter
}
