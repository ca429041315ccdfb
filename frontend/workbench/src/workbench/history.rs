//! Undo and redo: what a command replaced, kept until memory for it runs out.

use std::collections::VecDeque;

use mimeo_image::MaskPatch;

use super::command::Change;
use super::set::Pair;
use super::state::{Settings, State};

/// Memory for undo, in bytes; the oldest steps are forgotten beyond it.
const CAP: usize = 128 << 20;

/// Something that a command replaced, to be put back. Pairs are named by their place, which is theirs
/// again once what came after is undone.
#[derive(Debug, Clone)]
pub enum Restore {
    /// A part of a pair's mask.
    Patch(usize, MaskPatch),
    /// A pair.
    Pair(usize, Box<Pair>),
    /// A pair that was taken out.
    Insert(usize, Box<Pair>),
    /// That there was no such pair.
    Remove(usize),
    /// Recipe, name and base.
    Settings(Box<Settings>),
}

impl Restore {
    /// Puts it back and keeps what it replaced: swapping twice changes nothing. The pair that it
    /// concerns comes onto the stage, so that one sees what happens.
    fn swap(&mut self, state: &mut State) -> Change {
        let set = &mut state.set;
        match self {
            Self::Patch(at, patch) => {
                let is_other = set.choose(*at);
                let Some(mask) = set.pair_mut().mask_mut() else {
                    return Change::default();
                };
                let dirty = patch.swap(mask);
                if is_other {
                    return Change::another_pair();
                }
                Change::mask(dirty)
            }
            Self::Pair(at, pair) => {
                set.choose(*at);
                if let Some(there) = set.get_mut(*at) {
                    std::mem::swap(there, pair);
                }
                Change::another_pair()
            }
            Self::Insert(at, pair) => {
                set.insert(*at, (**pair).clone());
                *self = Self::Remove(*at);
                Change::another_pair()
            }
            Self::Remove(at) => {
                if let Some(pair) = set.remove(*at) {
                    *self = Self::Insert(*at, Box::new(pair));
                }
                Change::another_pair()
            }
            Self::Settings(settings) => {
                std::mem::swap(&mut **settings, &mut state.settings);
                Change::settings()
            }
        }
    }

    fn is_of(&self, pair: usize) -> bool {
        matches!(self, Self::Patch(at, _) | Self::Pair(at, _) if *at == pair)
    }

    /// Whether other pairs have other places afterwards.
    const fn moves_others(&self) -> bool {
        matches!(self, Self::Insert(..) | Self::Remove(_))
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Patch(_, patch) => patch.bytes(),
            Self::Pair(_, pair) | Self::Insert(_, pair) => pair.own_bytes(),
            Self::Remove(_) => 0,
            Self::Settings(_) => size_of::<Settings>(),
        }
    }
}

/// One thing that a user did.
#[derive(Debug, Clone)]
pub struct Step {
    /// What it was, to be said beside Undo: "Paint".
    pub label: &'static str,
    /// What it replaced, in the order in which it did.
    restores: Vec<Restore>,
}

impl Step {
    /// A step that replaced these.
    #[must_use]
    pub const fn new(label: &'static str, restores: Vec<Restore>) -> Self {
        Self { label, restores }
    }

    fn bytes(&self) -> usize {
        self.restores.iter().map(Restore::bytes).sum()
    }

    fn swap(&mut self, state: &mut State) -> Change {
        let mut change = Change::default();
        let before = state.set.chosen();
        // Of many pairs none is more to be seen than the one on the stage.
        let is_seen =
            self.restores.len() > 2 || self.restores.iter().any(|restore| restore.is_of(before));
        let stays = is_seen && !self.restores.iter().any(Restore::moves_others);
        // Backwards, and then the other way round for redo.
        for restore in self.restores.iter_mut().rev() {
            change = change.and(restore.swap(state));
        }
        self.restores.reverse();
        if stays {
            state.set.choose(before);
        }
        change
    }
}

/// What can be undone and redone.
#[derive(Debug, Clone, Default)]
pub struct History {
    done: VecDeque<Step>,
    undone: Vec<Step>,
    /// Whether the next step of the same label joins the last one: a slider that is dragged.
    is_open: bool,
}

impl History {
    /// Adds what was done; nothing that was undone can be redone then.
    pub fn push(&mut self, step: Step) {
        self.is_open = false;
        self.undone.clear();
        self.done.push_back(step);
        while self.done.len() > 1 && self.bytes() > CAP {
            self.done.pop_front();
        }
    }

    /// As [`Self::push`], but steps of one label in a row become one.
    pub fn push_or_join(&mut self, step: Step) {
        let joins = self.is_open
            && self
                .done
                .back()
                .is_some_and(|last| last.label == step.label);
        if !joins {
            self.push(step);
        }
        // The older state is the one to go back to, so a step that joins adds nothing.
        self.undone.clear();
        self.is_open = true;
    }

    /// Makes something more a part of the last step.
    pub fn extend_last(&mut self, restore: Restore) {
        if let Some(step) = self.done.back_mut() {
            step.restores.push(restore);
        }
    }

    /// Steps in a row are no longer one.
    pub const fn close(&mut self) {
        self.is_open = false;
    }

    /// Undoes the last step; none if there is none.
    pub fn undo(&mut self, state: &mut State) -> Option<Change> {
        let mut step = self.done.pop_back()?;
        let change = step.swap(state);
        self.undone.push(step);
        self.is_open = false;
        Some(change)
    }

    /// Does what was undone last; none if nothing was.
    pub fn redo(&mut self, state: &mut State) -> Option<Change> {
        let mut step = self.undone.pop()?;
        let change = step.swap(state);
        self.done.push_back(step);
        self.is_open = false;
        Some(change)
    }

    /// What undo would undo.
    #[must_use]
    pub fn undo_label(&self) -> Option<&'static str> {
        self.done.back().map(|step| step.label)
    }

    /// What redo would do.
    #[must_use]
    pub fn redo_label(&self) -> Option<&'static str> {
        self.undone.last().map(|step| step.label)
    }

    /// Memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let steps = self.done.iter().chain(&self.undone);
        steps.map(Step::bytes).sum()
    }
}
