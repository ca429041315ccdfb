//! The table of what the judge found.

use serde::Serialize;

use super::super::laid_out;
use super::curve::{Curve, Point};
use crate::cli::score_table::percent;

/// The shares of people gained at which curves are compared.
const EQUAL: [f64; 2] = [0.5, 0.8];

/// What a curve is worth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Merit {
    /// See [`Curve::area`].
    pub area: f64,
    /// Where half of the people gained the change; none if they never do.
    pub at_half: Option<Point>,
    /// Where four of five did.
    pub at_most: Option<Point>,
    /// As saved.
    pub at_strength_1: Option<Point>,
    /// Seconds of training; 0 for a file.
    pub secs: f64,
}

impl Merit {
    /// That of a curve.
    pub fn of(curve: &Curve, secs: f64) -> Self {
        let [at_half, at_most] = EQUAL.map(|gained| curve.at_gained(gained));
        Self {
            area: curve.area(),
            at_half,
            at_most,
            at_strength_1: curve.at_strength(1.0),
            secs,
        }
    }

    /// The mean; of points, over those that have one.
    fn mean(all: &[Self]) -> Self {
        let count = all.len().max(1) as f64;
        let point = |of: fn(&Self) -> Option<Point>| {
            let points: Vec<Point> = all.iter().filter_map(of).collect();
            Point::mean(&points)
        };
        Self {
            area: all.iter().map(|it| it.area).sum::<f64>() / count,
            at_half: point(|it| it.at_half),
            at_most: point(|it| it.at_most),
            at_strength_1: point(|it| it.at_strength_1),
            secs: all.iter().map(|it| it.secs).sum::<f64>() / count,
        }
    }
}

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pair: String,
    method: String,
    #[serde(flatten)]
    merit: Merit,
    /// Left out of the means: it changes more than one attribute.
    control: bool,
}

/// The mean of a method over pairs, and how many of them it rests on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mean {
    #[serde(flatten)]
    row: Row,
    pairs: usize,
    reached_half: usize,
    reached_most: usize,
}

impl Row {
    /// The row of a pair and a method.
    pub fn new(pair: &str, method: &str, merit: Merit, control: bool) -> Self {
        Self {
            pair: pair.to_owned(),
            method: method.to_owned(),
            merit,
            control,
        }
    }

    /// The mean of each method over the pairs that change one attribute.
    pub fn means(rows: &[Self]) -> Vec<Mean> {
        let mut methods: Vec<&str> = Vec::new();
        for row in rows {
            if !methods.contains(&&*row.method) {
                methods.push(&row.method);
            }
        }
        let means = methods.into_iter().filter_map(|method| {
            let own = rows
                .iter()
                .filter(|row| row.method == method && !row.control);
            let own: Vec<Merit> = own.map(|row| row.merit).collect();
            let reached = |of: fn(&Merit) -> Option<Point>| own.iter().filter_map(of).count();
            (!own.is_empty()).then(|| Mean {
                row: Self::new("mean", method, Merit::mean(&own), false),
                pairs: own.len(),
                reached_half: reached(|it| it.at_half),
                reached_most: reached(|it| it.at_most),
            })
        });
        means.collect()
    }

    /// The row as it stands in the table.
    pub fn line(&self) -> String {
        let Merit {
            area,
            at_half,
            at_most,
            at_strength_1,
            secs,
        } = self.merit;
        let pair = match self.control {
            true => format!("{} *", self.pair),
            false => self.pair.clone(),
        };
        let mut cells = vec![pair, self.method.clone(), format!("{:.1}", area * 100.0)];
        for point in [at_half, at_most] {
            cells.extend(at_equal(point));
        }
        cells.push(told(at_strength_1, |it| percent(it.gained)));
        cells.extend(beside(at_strength_1));
        cells.push(format!("{secs:.1}"));
        laid_out(&cells, &WIDTHS)
    }
}

impl Mean {
    /// The row, and below it what it does not say: the pairs that never gained so much are not in its mean.
    pub fn lines(&self) -> String {
        let Self {
            row,
            pairs,
            reached_half,
            reached_most,
        } = self;
        let method = &row.method;
        format!(
            "{}\n{method}: 50 % reached on {reached_half} of {pairs} pairs, 80 % on {reached_most}",
            row.line()
        )
    }
}

/// Strength, kept, pull and elsewhere at equal gained.
fn at_equal(point: Option<Point>) -> [String; 4] {
    let [kept, pull, elsewhere] = beside(point);
    let strength = told(point, |it| format!("{:.2}", it.strength));
    [strength, kept, pull, elsewhere]
}

fn beside(point: Option<Point>) -> [String; 3] {
    [
        told(point, |it| percent(it.kept)),
        told(point, |it| percent(it.pull)),
        told(point, |it| format!("{:.1}", it.elsewhere)),
    ]
}

fn told(point: Option<Point>, tell: impl Fn(Point) -> String) -> String {
    point.map_or_else(|| "–".to_owned(), tell)
}

/// The names of the columns; those of `@50` and `@80` are at equal gained, those of `@1` at strength 1.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Columns {
    columns: [&'static str; 16],
}

/// Of this table.
pub const COLUMNS: Columns = Columns {
    columns: [
        "pair", "method", "area", "at@50", "kept@50", "pull@50", "else@50", "at@80", "kept@80",
        "pull@80", "else@80", "gain@1", "kept@1", "pull@1", "else@1", "secs",
    ],
};

/// The table's head.
pub fn head() -> String {
    laid_out(&COLUMNS.columns, &WIDTHS)
}

const WIDTHS: [usize; 16] = [16, 7, 5, 5, 7, 7, 7, 5, 7, 7, 7, 6, 6, 6, 6, 6];

#[cfg(test)]
mod tests {
    use super::*;

    fn merit(gained: f64) -> Merit {
        let curve = Curve::new([Point {
            strength: 1.0,
            gained,
            kept: 0.9,
            pull: 0.1,
            elsewhere: 5.0,
        }]);
        Merit::of(&curve, 2.0)
    }

    #[test]
    fn rows_stand_below_their_head() {
        let row = Row::new("small_head/00", "copier", merit(0.6), true);
        let (head, line) = (head(), row.line());
        assert_eq!(
            head.chars().count(),
            line.chars().count(),
            "\n{head}\n{line}"
        );
    }

    #[test]
    fn means_leave_controls_out_and_say_what_they_rest_on() {
        let rows = [
            Row::new("a", "addift", merit(1.0), false),
            Row::new("b", "addift", merit(0.6), false),
            Row::new("c", "addift", merit(0.0), true),
            Row::new("a", "plain", merit(0.2), false),
        ];
        let means = Row::means(&rows);
        let told: Vec<_> = means
            .iter()
            .map(|mean| (mean.pairs, mean.reached_half, mean.reached_most))
            .collect();
        assert_eq!(told, [(2, 2, 1), (1, 0, 0)], "{means:?}");
        let at_strength_1 = means[0].row.merit.at_strength_1.unwrap();
        assert!((at_strength_1.gained - 0.8).abs() < 1e-12, "{means:?}");
        let text = means[1].lines();
        assert!(text.contains("50 % reached on 0 of 1 pairs"), "{text}");
    }
}
