//! The set of pairs: more of them, in other places, and what is said of each.

use std::sync::Arc;

use mimeo_image::{ImageError, Sizing};
use mimeo_protocol::{InvalidNumber, Level, Weight};
use mimeo_set::{Evidence, Link, arrange, tags, with_tag, without_tag};

use super::history::{Restore, Step};
use super::mask::suggested;
use super::set::Pair;
use super::state::Pictures;
use super::{Change, NewPair, PairsCommand, Refusal, Where, Workbench};
use crate::frame::Frame;
use crate::picture::{Picture, Slot};
use crate::words;

/// Memory for the pictures of a set, in bytes: a page may have 4 GiB in all, and undo, the stage and
/// the files on their way need theirs.
const CAP: usize = 1 << 30;

impl Workbench {
    pub(super) fn apply_pairs(&mut self, command: PairsCommand) -> Result<Change, Refusal> {
        match command {
            PairsCommand::Add(pairs) => self.add(pairs),
            PairsCommand::AddEmpty => {
                let empty = Pair::empty(self.settings().sizing());
                let restore = self.push_pair(empty);
                self.history.push(Step::new("Add a pair", vec![restore]));
                Ok(Change::another_pair())
            }
            PairsCommand::Choose(at) => Ok(self.choose(at)),
            PairsCommand::Remove(at) => Ok(self.remove(at)),
            PairsCommand::Move { from, to } => self.move_picture(from, to),
            PairsCommand::Caption(at, text) => {
                let text = text.trim();
                Ok(self.tell("Edit caption", at, |pair| {
                    text.clone_into(&mut pair.caption)
                }))
            }
            PairsCommand::CaptionFiles(files) => self.caption_files(&files),
            PairsCommand::WeightTyped(at, typed) => {
                let weight = Weight::RANGE
                    .parse(&typed)
                    .map_err(|error| refused(&error))?;
                // In range, so that nothing is refused.
                let weight = Weight::try_from(weight).unwrap_or(Pair::USUAL.0);
                Ok(self.tell("Weight", at, |pair| pair.weight = weight))
            }
            PairsCommand::LevelTyped(at, typed) => {
                let level = Level::RANGE
                    .parse(&typed)
                    .map_err(|error| refused(&error))?;
                let level = Level::try_from(level).unwrap_or(Pair::USUAL.1);
                Ok(self.tell("Level", at, |pair| pair.level = level))
            }
            PairsCommand::Tag(tag) => Ok(self.toggle_tag(&tag)),
            PairsCommand::Suggest => Ok(self.suggest_masks()),
        }
    }

    fn choose(&mut self, at: usize) -> Change {
        // What is dragged on another pair is another step.
        self.history.close();
        if self.state.set.choose(at) {
            Change::another_pair()
        } else {
            Change::default()
        }
    }

    fn add(&mut self, pairs: Vec<NewPair>) -> Result<Change, Refusal> {
        let sizing = self.settings().sizing();
        let mut made = Vec::with_capacity(pairs.len());
        for new in pairs {
            made.extend(fitted(new, sizing)?);
        }
        let bytes: usize = made.iter().map(Pair::bytes).sum();
        if self.set().bytes() + bytes > CAP {
            let (needed, room) = (self.set().bytes() + bytes, CAP);
            let (needed, room) = (words::bytes(needed as u64), words::bytes(room as u64));
            let sentence = format!(
                "These pictures would take {needed} in this page, which has room for {room}. Add fewer, or train their folder with `mimeo train --set FOLDER`."
            );
            return Err(Refusal::new(Where::Set, sentence));
        }
        let mut restores = Vec::with_capacity(made.len());
        for pair in made {
            let is_bare = !self.set().has_several() && self.pair().is_empty();
            restores.push(if is_bare && restores.is_empty() {
                self.replace_pair(pair)
            } else {
                self.push_pair(pair)
            });
        }
        let [first, ..] = &restores[..] else {
            return Ok(Change::default());
        };
        // The first of them is looked at first.
        if let Restore::Pair(at, _) | Restore::Remove(at) = *first {
            self.state.set.choose(at);
        }
        self.history.push(Step::new("Add pairs", restores));
        Ok(Change::another_pair())
    }

    fn push_pair(&mut self, pair: Pair) -> Restore {
        let at = self.set().pairs().len();
        self.state.set.insert(at, pair);
        Restore::Remove(at)
    }

    fn remove(&mut self, at: usize) -> Change {
        let Some(restore) = self.take_out(at) else {
            return if self.set().has_several() {
                Change::default()
            } else {
                self.start_over()
            };
        };
        self.history.push(Step::new("Remove pair", vec![restore]));
        Change::another_pair()
    }

    fn take_out(&mut self, at: usize) -> Option<Restore> {
        let pair = self.state.set.remove(at)?;
        Some(Restore::Insert(at, Box::new(pair)))
    }

    /// Empties the bench.
    pub(super) fn start_over(&mut self) -> Change {
        let is_bare = self.pair().is_empty() && !self.pair().is_told_of();
        if is_bare && !self.set().has_several() {
            return Change::default();
        }
        let mut restores = Vec::new();
        while let Some(restore) = self.take_out(self.set().pairs().len() - 1) {
            restores.push(restore);
        }
        let empty = Pair::empty(self.settings().sizing());
        restores.push(self.replace_pair(empty));
        self.history.push(Step::new("Start over", restores));
        Change::another_pair()
    }

    fn move_picture(&mut self, from: (usize, Slot), to: (usize, Slot)) -> Result<Change, Refusal> {
        let count = self.set().pairs().len();
        let (source, is_new) = (from.0, to.0 >= count);
        let target = to.0.min(count);
        let Some(pair) = self.set().pairs().get(source) else {
            return Ok(Change::default());
        };
        // What is alone already needs no pair of its own.
        let is_pointless = is_new && pair.only_picture().is_some();
        let Some(picture) = pair.picture(from.1).cloned().filter(|_| !is_pointless) else {
            return Ok(Change::default());
        };
        if from == to {
            return Ok(Change::default());
        }
        let place = |pair: &Pair, changes: &[(Slot, Option<Arc<_>>)]| {
            let mut pictures = pair.pictures.clone();
            for (slot, picture) in changes {
                pictures.set(*slot, picture.clone());
            }
            pictures.offset = Pictures::MIDDLE;
            pictures.refit()?;
            Ok::<_, ImageError>(pair.with_pictures(pictures))
        };
        if source == target {
            self.state.set.choose(source);
            return self.set_pictures("Swap A and B", |pictures| {
                std::mem::swap(&mut pictures.original, &mut pictures.target);
            });
        }
        let new = Pair::empty(self.settings().sizing());
        let other = self.set().pairs().get(target).unwrap_or(&new);
        let displaced = other.picture(to.1).cloned();
        let left = place(pair, &[(from.1, displaced)]).map_err(|error| at_pair(source, &error))?;
        let taken = place(other, &[(to.1, Some(picture))]);
        let taken = taken.map_err(|error| at_pair(target, &error))?;

        let mut restores = Vec::new();
        let is_left_empty = left.is_empty();
        self.state.set.choose(source);
        restores.push(self.replace_pair(left));
        restores.push(if is_new {
            self.push_pair(taken)
        } else {
            self.state.set.choose(target);
            self.replace_pair(taken)
        });
        if is_left_empty {
            restores.extend(self.take_out(source));
        }
        self.history.push(Step::new("Move picture", restores));
        Ok(Change::another_pair())
    }

    /// Changes what is said of a pair.
    fn tell(&mut self, label: &'static str, at: usize, change: impl FnOnce(&mut Pair)) -> Change {
        let restore = self.told(at, change);
        if let Some(restore) = restore {
            self.history.push(Step::new(label, vec![restore]));
            return Change::set();
        }
        Change::default()
    }

    fn told(&mut self, at: usize, change: impl FnOnce(&mut Pair)) -> Option<Restore> {
        let pair = self.state.set.get_mut(at)?;
        let before = pair.clone();
        change(pair);
        let told = |pair: &Pair| (pair.caption.clone(), pair.weight, pair.level);
        let is_changed = told(&before) != told(pair);
        is_changed.then(|| Restore::Pair(at, Box::new(before)))
    }

    fn toggle_tag(&mut self, tag: &str) -> Change {
        let has_it = |pair: &Pair| tags(&pair.caption).any(|own| own == tag);
        let is_everywhere = self.set().pairs().iter().all(has_it);
        let places = 0..self.set().pairs().len();
        let restores: Vec<_> = places
            .filter_map(|at| {
                self.told(at, |pair| {
                    pair.caption = if is_everywhere {
                        without_tag(&pair.caption, tag)
                    } else {
                        with_tag(&pair.caption, tag)
                    };
                })
            })
            .collect();
        if restores.is_empty() {
            return Change::default();
        }
        let label = if is_everywhere {
            "Remove tag"
        } else {
            "Add tag"
        };
        self.history.push(Step::new(label, restores));
        Change::set()
    }

    /// Gives each file's text to the pair, or the picture alone, beside which it lies by its name.
    fn caption_files(&mut self, files: &[(String, String)]) -> Result<Change, Refusal> {
        let found = self.beside(files);
        if found.is_empty() {
            let why = "no picture here has the name of this caption. Call it as its picture is called, such as a.txt for a.png, and drop the picture first.";
            return Err(Refusal::new(Where::Set, why.to_owned()));
        }
        let told = found
            .into_iter()
            .filter_map(|(at, text)| self.told(at, |pair| text.clone_into(&mut pair.caption)));
        let restores: Vec<_> = told.collect();
        if restores.is_empty() {
            return Ok(Change::default());
        }
        self.history.push(Step::new("Add captions", restores));
        Ok(Change::set())
    }

    /// Which pair each of these files is the caption of, and what it says.
    fn beside<'a>(&self, files: &'a [(String, String)]) -> Vec<(usize, &'a str)> {
        // A picture of several pairs, such as the original of graded levels, is one file.
        let mut pictures: Vec<&Picture> = Vec::new();
        let mut pairs = Vec::new();
        for pair in self.set().pairs() {
            let halves = Slot::ALL.map(|slot| {
                let picture = pair.picture(slot)?;
                let is_same =
                    |known: &&Picture| (known.id, &known.name) == (picture.id, &picture.name);
                let known = pictures.iter().position(is_same);
                Some(known.unwrap_or_else(|| {
                    pictures.push(picture);
                    pictures.len() - 1
                }))
            });
            pairs.push(halves);
        }
        let names = pictures.iter().map(|picture| &picture.name);
        let paths: Vec<&str> = names
            .chain(files.iter().map(|(name, _)| name))
            .map(String::as_str)
            .collect();
        let links = pairs.iter().filter_map(|halves| {
            Some(Link {
                original: halves[0]?,
                target: halves[1]?,
                level: Pair::USUAL.1,
                evidence: Evidence::Names,
            })
        });
        let pairing = arrange(&paths, &links.collect::<Vec<_>>());
        let found = pairs.iter().enumerate().filter_map(|(at, halves)| {
            let mut of_pairs = pairing.pairs.iter();
            let pair = of_pairs.find(|pair| [pair.original, pair.target].map(Some) == *halves);
            // One whose B is another pair's as well is no pair to the names, which know A alone.
            let caption = match (pair, halves) {
                (Some(pair), _) => pair.caption,
                (None, [Some(picture), _] | [None, Some(picture)]) => {
                    let mut of_alone = pairing.alone.iter();
                    of_alone.find(|alone| alone.picture == *picture)?.caption
                }
                (None, [None, None]) => None,
            };
            let (_, text) = files.get(caption?.checked_sub(pictures.len())?)?;
            Some((at, text.as_str()))
        });
        found.collect()
    }

    fn suggest_masks(&mut self) -> Change {
        let mut restores = Vec::new();
        for at in 0..self.set().pairs().len() {
            let pair = &self.set().pairs()[at];
            let difference = pair.frame().and_then(Frame::difference);
            let Some(difference) = difference.filter(|_| pair.painted().is_none()) else {
                continue;
            };
            let mask = suggested(difference);
            if let Some(pair) = self.state.set.get_mut(at) {
                let before = pair.clone();
                *pair.mask_mut() = Some(mask);
                restores.push(Restore::Pair(at, Box::new(before)));
            }
        }
        if restores.is_empty() {
            return Change::default();
        }
        self.history.push(Step::new("Suggest masks", restores));
        Change::whole_mask().and(Change::set())
    }

    /// Fits every pair to another size.
    pub(super) fn refit(&mut self, sizing: Sizing, place: Where) -> Result<Vec<Restore>, Refusal> {
        let pairs = self.set().pairs().iter().enumerate();
        let fitted = pairs.map(|(at, pair)| {
            let fitted = pair.refitted(sizing);
            fitted.map_err(|error| match self.set().has_several() {
                true => at_pair(at, &error).at(place),
                false => Refusal::from(error).at(place),
            })
        });
        let fitted = fitted.collect::<Result<Vec<_>, _>>()?;
        let mut restores = Vec::with_capacity(fitted.len());
        for (at, pair) in fitted.into_iter().enumerate() {
            if let Some(there) = self.state.set.get_mut(at) {
                let before = std::mem::replace(there, pair);
                restores.push(Restore::Pair(at, Box::new(before)));
            }
        }
        Ok(restores)
    }
}

/// A pair as it is put in; two where its pictures do not fit together, each with the reason.
fn fitted(new: NewPair, sizing: Sizing) -> Result<Vec<Pair>, Refusal> {
    let NewPair {
        original,
        target,
        mask,
        caption,
        numbers,
        note,
    } = new;
    let (weight, level) = numbers.unwrap_or(Pair::USUAL);
    let pair = |original: Option<_>, target: Option<_>, note: Option<String>| {
        let mut pictures = Pictures {
            original,
            target,
            sizing,
            ..Pictures::default()
        };
        pictures.refit()?;
        let mut pair = Pair::new(pictures, mask.as_ref());
        pair.caption.clone_from(&caption);
        (pair.weight, pair.level, pair.note) = (weight, level, note);
        Ok::<_, ImageError>(pair)
    };
    let error = match pair(original.clone(), target.clone(), note) {
        Ok(pair) => return Ok(vec![pair]),
        Err(error) => error,
    };
    let why = Some(error.to_string());
    let alone = |picture: Arc<Picture>, slot| {
        let name = picture.name.clone();
        let alone = match slot {
            Slot::Original => pair(Some(picture), None, why.clone()),
            Slot::Target => pair(None, Some(picture), why.clone()),
        };
        alone.map_err(|error| Refusal::new(Where::Set, format!("{name}: {error}")))
    };
    let pictures = [(original, Slot::Original), (target, Slot::Target)];
    let pictures = pictures.into_iter();
    pictures
        .filter_map(|(picture, slot)| Some(alone(picture?, slot)))
        .collect()
}

fn at_pair(at: usize, error: &ImageError) -> Refusal {
    Refusal::new(Where::Set, format!("Pair {}: {error}", at + 1))
}

fn refused(error: &InvalidNumber) -> Refusal {
    Refusal::new(Where::Set, error.to_string())
}
