//! The pictures that were drawn while a run trained, as a grid: columns are steps, rows strengths.

use mimeo_protocol::{BlobId, Phase, Strength};

/// One picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Shot {
    /// When it was drawn.
    pub column: Column,
    /// Strength of the LoRA.
    pub strength: Strength,
    /// The picture, a PNG.
    pub picture: BlobId,
    /// What was asked for.
    pub prompt: String,
    /// The noise it started from.
    pub seed: u64,
}

/// A moment of a run at which pictures were drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Column {
    /// The pass; [`Phase::Saving`] for the result as it is saved.
    pub phase: Phase,
    /// Steps done in it.
    pub step: u32,
}

impl Column {
    /// "Step 10", "Copier, step 10", "Result".
    #[must_use]
    pub fn label(self) -> String {
        let step = self.step;
        match self.phase {
            Phase::Saving => "Result".to_owned(),
            Phase::Copier => format!("Copier, step {step}"),
            _ => format!("Step {step}"),
        }
    }

    fn order(self) -> (Phase, u32) {
        (self.phase, self.step)
    }
}

/// The grid.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Previews {
    /// In order of columns, and within each of strength.
    shots: Vec<Shot>,
}

impl Previews {
    /// Adds a picture; one that is drawn again replaces the first.
    pub(super) fn add(&mut self, shot: Shot) {
        let key = |shot: &Shot| (shot.column.order(), shot.strength.get());
        let new = key(&shot);
        let at = self.shots.partition_point(|known| key(known) < new);
        match self.shots.get_mut(at) {
            Some(known) if key(known) == new => *known = shot,
            _ => self.shots.insert(at, shot),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.shots.is_empty()
    }

    /// Every picture, column by column.
    #[must_use]
    pub fn shots(&self) -> &[Shot] {
        &self.shots
    }

    /// The moments, the earliest first.
    #[must_use]
    pub fn columns(&self) -> Vec<Column> {
        let mut columns: Vec<Column> = self.shots.iter().map(|shot| shot.column).collect();
        columns.dedup();
        columns
    }

    /// The strengths that occur, the lowest first.
    #[must_use]
    pub fn rows(&self) -> Vec<Strength> {
        let mut rows: Vec<Strength> = self.shots.iter().map(|shot| shot.strength).collect();
        rows.sort_by(|a, b| a.get().total_cmp(&b.get()));
        rows.dedup();
        rows
    }

    /// The picture at a place.
    #[must_use]
    pub fn at(&self, column: Column, strength: Strength) -> Option<&Shot> {
        let is_there = |shot: &&Shot| shot.column == column && shot.strength == strength;
        self.shots.iter().find(is_there)
    }

    /// The newest picture of the change itself: strength 1, and not of the copier.
    #[must_use]
    pub fn latest_change(&self) -> Option<&Shot> {
        let is_change =
            |shot: &&Shot| shot.strength.get() == 1.0 && shot.column.phase != Phase::Copier;
        self.shots.iter().rfind(is_change)
    }

    /// What must be true at any time.
    pub(super) fn check(&self) -> Result<(), String> {
        let key = |shot: &Shot| (shot.column.order(), shot.strength.get());
        if self.shots.is_sorted_by(|a, b| key(a) < key(b)) {
            Ok(())
        } else {
            Err("the previews are not in order, each once".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shot(phase: Phase, step: u32, strength: f64, picture: u8) -> Shot {
        Shot {
            column: Column { phase, step },
            strength: Strength::try_from(strength).unwrap(),
            picture: BlobId::from_sha256([picture; 32]),
            prompt: "a face".to_owned(),
            seed: 1,
        }
    }

    #[test]
    fn the_grid_is_in_order_however_the_pictures_come() {
        let mut previews = Previews::default();
        for (phase, step, strength) in [
            (Phase::Saving, 30, 1.0),
            (Phase::Training, 10, 1.0),
            (Phase::Training, 10, -1.0),
            (Phase::Copier, 50, 0.0),
            (Phase::Training, 0, 0.0),
        ] {
            previews.add(shot(phase, step, strength, 0));
        }
        let labels: Vec<String> = previews.columns().into_iter().map(Column::label).collect();
        assert_eq!(
            labels,
            ["Copier, step 50", "Step 0", "Step 10", "Result"],
            "columns in time"
        );
        let rows: Vec<f64> = previews.rows().into_iter().map(Strength::get).collect();
        assert_eq!(rows, [-1.0, 0.0, 1.0], "rows by strength");
    }

    #[test]
    fn a_picture_that_is_drawn_again_takes_the_place_of_the_first() {
        let mut previews = Previews::default();
        previews.add(shot(Phase::Training, 10, 1.0, 1));
        previews.add(shot(Phase::Training, 10, 1.0, 2));
        assert_eq!(
            previews.shots(),
            [shot(Phase::Training, 10, 1.0, 2)],
            "once"
        );
    }

    #[test]
    fn the_picture_of_a_run_is_its_latest_change() {
        let mut previews = Previews::default();
        previews.add(shot(Phase::Copier, 50, 1.0, 1));
        assert_eq!(previews.latest_change(), None, "the copier draws A only");
        previews.add(shot(Phase::Training, 20, 1.0, 2));
        previews.add(shot(Phase::Training, 20, 0.0, 3));
        let latest = previews.latest_change().unwrap();
        assert_eq!(
            latest.picture,
            BlobId::from_sha256([2; 32]),
            "at strength 1"
        );
    }
}
