//! A table of pictures, prompts × strengths: what is drawn, what comes next and how long it takes.

use mimeo_protocol::{BlobId, Strength};

use crate::words;

/// More rows are refused.
pub const MAX_PROMPTS: usize = 24;
/// More columns are refused.
pub const MAX_STRENGTHS: usize = 9;
/// What stands in the field of strengths at first.
pub const STRENGTHS: &str = "\u{2212}1, 0, 0.5, 1";

/// One place of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Which prompt, from 0.
    pub row: usize,
    /// Which strength, from 0.
    pub column: usize,
}

/// One picture to be drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// Where it belongs.
    pub place: Position,
    /// What to draw.
    pub prompt: String,
    /// How strong.
    pub strength: Strength,
    /// The noise it starts from.
    pub seed: u64,
}

/// What a place holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// Not drawn yet.
    Pending,
    /// Drawn.
    Drawn(BlobId),
    /// Tried in vain; it is tried again when the table goes on.
    Failed,
}

/// The table.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    prompts: Vec<String>,
    strengths: Vec<Strength>,
    seed: u64,
    /// Row by row.
    cells: Vec<Cell>,
    /// On its way.
    asked: Option<Ask>,
    is_stopped: bool,
    trouble: Option<String>,
    /// How long each picture took, seconds.
    times: Vec<f64>,
}

impl Grid {
    /// An empty table, from what stands in the two fields: a prompt a line, strengths with commas.
    ///
    /// # Errors
    /// A sentence when there is nothing to draw, too much, or something that is no strength.
    pub fn new(prompts: &str, strengths: &str, seed: u64) -> Result<Self, String> {
        let prompts = lines(prompts)?;
        let strengths = parse_strengths(strengths)?;
        Ok(Self {
            cells: vec![Cell::Pending; prompts.len() * strengths.len()],
            prompts,
            strengths,
            seed,
            asked: None,
            is_stopped: false,
            trouble: None,
            times: Vec::new(),
        })
    }

    /// The rows.
    #[must_use]
    pub fn prompts(&self) -> &[String] {
        &self.prompts
    }

    /// The columns.
    #[must_use]
    pub fn strengths(&self) -> &[Strength] {
        &self.strengths
    }

    /// What a place holds; none outside of the table.
    #[must_use]
    pub fn cell(&self, place: Position) -> Option<Cell> {
        (place.column < self.strengths.len())
            .then(|| self.cells.get(self.index(place)).copied())
            .flatten()
    }

    /// What to ask for now, which counts as asked from here on; none while something is on its way,
    /// after a stop or a failure, and when the table is full. Row by row.
    pub fn ask(&mut self) -> Option<Ask> {
        if self.asked.is_some() || self.is_stopped {
            return None;
        }
        let is_missing = |cell: &Cell| !matches!(cell, Cell::Drawn(_));
        let index = self.cells.iter().position(is_missing)?;
        let columns = self.strengths.len();
        let (row, column) = (index / columns, index % columns);
        self.asked = Some(Ask {
            place: Position { row, column },
            prompt: self.prompts[row].clone(),
            strength: self.strengths[column],
            seed: self.seed,
        });
        self.asked.clone()
    }

    /// What came of it, and how long that took, in seconds. After a failure the table stops, since
    /// whatever failed one picture would fail the rest. An answer that was asked for by another
    /// table changes nothing.
    pub fn answered(&mut self, ask: &Ask, answer: Result<BlobId, String>, secs: f64) {
        if self.asked.as_ref() != Some(ask) {
            return;
        }
        self.asked = None;
        let index = self.index(ask.place);
        match answer {
            Ok(picture) => {
                self.cells[index] = Cell::Drawn(picture);
                self.times.push(secs);
            }
            Err(why) => {
                self.cells[index] = Cell::Failed;
                self.trouble = Some(why);
                self.is_stopped = true;
            }
        }
    }

    /// Draws no more after the picture that is on its way.
    pub const fn stop(&mut self) {
        self.is_stopped = true;
    }

    /// Goes on with what is missing.
    pub fn go_on(&mut self) {
        self.is_stopped = false;
        self.trouble = None;
    }

    /// Whether a picture is on its way to this place.
    #[must_use]
    pub fn is_asked(&self, place: Position) -> bool {
        self.asked.as_ref().is_some_and(|ask| ask.place == place)
    }

    /// Whether pictures are being drawn.
    #[must_use]
    pub fn is_drawing(&self) -> bool {
        self.asked.is_some() || !(self.is_stopped || self.is_full())
    }

    /// Whether every picture is there.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.drawn() == self.total()
    }

    /// Pictures that are there.
    #[must_use]
    pub fn drawn(&self) -> usize {
        let is_drawn = |cell: &&Cell| matches!(cell, Cell::Drawn(_));
        self.cells.iter().filter(is_drawn).count()
    }

    /// Pictures in all.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.cells.len()
    }

    /// Why it stopped, if not by itself or by the user.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// How long the rest takes, in seconds; none before two pictures were drawn: the first one may
    /// have had to wait for the base to be read.
    #[must_use]
    pub fn left_secs(&self) -> Option<f64> {
        let (_, steady) = self.times.split_first()?;
        let mean = steady.iter().sum::<f64>() / steady.len() as f64;
        let left = (self.total() - self.drawn()) as f64;
        (!steady.is_empty()).then_some(mean * left)
    }

    /// "5 of 12", and while it draws "5 of 12 · 20 s left".
    #[must_use]
    pub fn progress(&self) -> String {
        let count = format!("{} of {}", self.drawn(), self.total());
        match self.left_secs() {
            Some(left) if self.is_drawing() => {
                format!("{count} \u{b7} {} left", words::duration(left))
            }
            _ => count,
        }
    }

    /// The pictures row by row, once every one is there.
    #[must_use]
    pub fn rows(&self) -> Option<Vec<Vec<BlobId>>> {
        let picture = |cell: &Cell| match cell {
            Cell::Drawn(picture) => Some(*picture),
            Cell::Pending | Cell::Failed => None,
        };
        let rows = self.cells.chunks(self.strengths.len());
        rows.map(|row| row.iter().map(picture).collect()).collect()
    }

    const fn index(&self, place: Position) -> usize {
        place.row * self.strengths.len() + place.column
    }
}

fn lines(text: &str) -> Result<Vec<String>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    match lines.len() {
        0 => Err("There is no prompt. Write at least one, each on a line of its own.".to_owned()),
        count if count > MAX_PROMPTS => Err(format!(
            "{count} prompts are too many, {MAX_PROMPTS} can be. Take some lines away."
        )),
        _ => Ok(lines),
    }
}

fn parse_strengths(text: &str) -> Result<Vec<Strength>, String> {
    let separator = |letter: char| letter == ',' || letter == ';' || letter.is_whitespace();
    let mut strengths = Vec::new();
    for part in text.split(separator).filter(|part| !part.is_empty()) {
        // As this page writes them, with a real minus.
        let typed = part.replace('\u{2212}', "-");
        let strength: Strength = typed.parse().map_err(|_out_of_range| {
            let part: String = part.chars().take(20).collect();
            format!(
                "{part:?} is no strength. Write numbers from \u{2212}2 to 2 with commas between them, such as {STRENGTHS}."
            )
        })?;
        if !strengths.contains(&strength) {
            strengths.push(strength);
        }
    }
    match strengths.len() {
        0 => Err(format!(
            "There is no strength. Write some with commas between them, such as {STRENGTHS}."
        )),
        count if count > MAX_STRENGTHS => Err(format!(
            "{count} strengths are too many, {MAX_STRENGTHS} can be. Take some away."
        )),
        _ => Ok(strengths),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn picture(number: usize) -> BlobId {
        BlobId::from_sha256([number as u8; 32])
    }

    fn grid() -> Grid {
        Grid::new("a face\na dog", "-1, 0, 1", 7).unwrap()
    }

    /// Draws so many pictures, each in this time.
    fn draw(grid: &mut Grid, count: usize, secs: f64) {
        for number in 0..count {
            let ask = grid.ask().unwrap();
            grid.answered(&ask, Ok(picture(number)), secs);
        }
    }

    #[test]
    fn the_fields_become_rows_and_columns() {
        let grid = Grid::new("  a face \n\n a dog\n", "\u{2212}1, 0;0.5 1 1.0", 0).unwrap();
        assert_eq!(grid.prompts(), ["a face", "a dog"], "without empty lines");
        let strengths: Vec<f64> = grid.strengths().iter().map(|one| one.get()).collect();
        assert_eq!(
            strengths,
            [-1.0, 0.0, 0.5, 1.0],
            "each once, in their order"
        );
        assert!(
            Grid::new("a", STRENGTHS, 0).is_ok(),
            "what stands there at first"
        );
    }

    #[test]
    fn what_cannot_be_drawn_is_refused_with_a_remedy() {
        for (prompts, strengths, remedy) in [
            (" \n", "1", "Write at least one"),
            ("a", "", "Write some"),
            ("a", "strong", "\"strong\" is no strength"),
            ("a", "3", "from \u{2212}2 to 2"),
            ("a\n".repeat(25).as_str(), "1", "Take some lines away"),
            ("a", "0 .1 .2 .3 .4 .5 .6 .7 .8 .9", "Take some away"),
        ] {
            let why = Grid::new(prompts, strengths, 0).unwrap_err();
            assert!(why.contains(remedy), "{why}");
        }
    }

    #[test]
    fn pictures_are_asked_for_one_at_a_time_row_by_row() {
        let mut grid = grid();
        let mut asked = Vec::new();
        while let Some(ask) = grid.ask() {
            assert_eq!(grid.ask(), None, "one at a time");
            assert!(grid.is_asked(ask.place), "it is on its way there");
            grid.answered(&ask, Ok(picture(asked.len())), 1.0);
            asked.push((ask.prompt, ask.strength.get()));
        }
        let (face, dog) = ("a face".to_owned(), "a dog".to_owned());
        let expected = [
            (&face, -1.0),
            (&face, 0.0),
            (&face, 1.0),
            (&dog, -1.0),
            (&dog, 0.0),
            (&dog, 1.0),
        ];
        let expected = expected.map(|(prompt, strength)| (prompt.clone(), strength));
        assert_eq!(asked, expected, "row by row");
        assert!(grid.is_full() && !grid.is_drawing(), "done");
        let second_row = grid.rows().unwrap().swap_remove(1);
        assert_eq!(second_row, [3, 4, 5].map(picture), "each in its place");
    }

    #[test]
    fn the_time_left_leaves_out_the_first_picture() {
        let mut grid = grid();
        assert_eq!(grid.progress(), "0 of 6", "nothing is known");
        draw(&mut grid, 1, 60.0);
        assert_eq!(grid.left_secs(), None, "the base had to be read");
        draw(&mut grid, 2, 4.0);
        assert_eq!(grid.left_secs(), Some(12.0), "three more");
        assert_eq!(grid.progress(), "3 of 6 \u{b7} 12 s left", "in words");
        grid.stop();
        assert_eq!(
            grid.progress(),
            "3 of 6",
            "nothing is left when it is stopped"
        );
    }

    #[test]
    fn a_stop_keeps_what_is_there_and_goes_on_with_the_rest() {
        let mut grid = grid();
        draw(&mut grid, 2, 1.0);
        let ask = grid.ask().unwrap();
        grid.stop();
        assert!(
            grid.is_drawing(),
            "the picture that is on its way is awaited"
        );
        grid.answered(&ask, Ok(picture(9)), 1.0);
        assert!(!grid.is_drawing(), "stopped");
        assert_eq!((grid.ask(), grid.drawn()), (None, 3), "three stay");
        assert_eq!(grid.rows(), None, "no sheet with holes");
        grid.go_on();
        draw(&mut grid, 3, 1.0);
        assert!(grid.is_full(), "the other three");
    }

    #[test]
    fn a_failure_stops_and_is_tried_again() {
        let mut grid = grid();
        let ask = grid.ask().unwrap();
        grid.answered(&ask, Err("The companion is gone.".to_owned()), 1.0);
        assert_eq!(
            grid.cell(ask.place),
            Some(Cell::Failed),
            "seen in its place"
        );
        assert_eq!(grid.trouble(), Some("The companion is gone."), "and said");
        assert_eq!(grid.ask(), None, "the others would fail as well");
        grid.go_on();
        assert_eq!(grid.ask(), Some(ask), "the same one");
        assert_eq!(grid.trouble(), None, "not any more");
    }

    #[test]
    fn an_answer_to_another_table_changes_nothing() {
        let mut old = Grid::new("a cat", "1", 0).unwrap();
        let ask = old.ask().unwrap();
        let mut new = grid();
        new.answered(&ask, Ok(picture(1)), 1.0);
        assert_eq!(new, grid(), "it belongs elsewhere");
    }

    #[test]
    fn there_is_nothing_beside_the_table() {
        let beside = Position { row: 0, column: 3 };
        assert_eq!(
            grid().cell(beside),
            None,
            "which is no cell of the next row"
        );
    }

    proptest! {
        #[test]
        fn whatever_fails_and_stops_it_can_be_filled(steps in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut grid = grid();
            let mut under_way = None;
            for step in steps {
                match step % 4 {
                    0 => under_way = grid.ask().or(under_way),
                    1 => grid.stop(),
                    2 => grid.go_on(),
                    _ => if let Some(ask) = under_way.take() {
                        let answer = if step < 128 { Ok(picture(1)) } else { Err("no".to_owned()) };
                        grid.answered(&ask, answer, 1.0);
                    },
                }
                prop_assert_eq!(under_way.is_some(), grid.asked.is_some(), "one is on its way");
                prop_assert!(grid.left_secs().is_none_or(|left| left >= 0.0), "time runs forward");
            }
            if let Some(ask) = under_way {
                grid.answered(&ask, Ok(picture(2)), 1.0);
            }
            grid.go_on();
            let missing = grid.total() - grid.drawn();
            draw(&mut grid, missing, 1.0);
            prop_assert!(grid.is_full(), "in the end");
        }
    }
}
