//! A line of the table that compares the methods.

use mimeo_engine::Scores;
use mimeo_protocol::Method;
use serde::Serialize;

use super::laid_out;
use crate::cli::score_table::percent;

/// What one training run reached.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measured {
    /// How well the copier copied; only method copier has one.
    pub copy_fidelity: Option<f64>,
    /// See [`Scores::edit_gain`].
    pub edit_gain: f64,
    /// See [`Scores::spill`].
    pub spill: f64,
    /// Share of unseen pictures that gained the change.
    pub held_out_gained: f64,
    /// How far unseen pictures went towards the change.
    pub held_out_progress: f64,
    /// Mean change elsewhere in unseen pictures, of 255.
    pub held_out_elsewhere: f64,
    /// Share of runs in which more strength is more change.
    pub monotone: f64,
    /// Correlation of change with strength.
    pub correlation: f64,
    /// Seconds of training, copier included.
    pub secs: f64,
}

impl Measured {
    /// The numbers of a run that go into the table.
    pub fn new(scores: &Scores, secs: f64) -> Self {
        Self {
            copy_fidelity: scores.copy_fidelity,
            edit_gain: scores.edit_gain,
            spill: scores.spill,
            held_out_gained: scores.held_out.gained,
            held_out_progress: scores.held_out.progress,
            held_out_elsewhere: scores.held_out.elsewhere,
            monotone: f64::from(u8::from(scores.linearity.monotone)),
            correlation: scores.linearity.correlation,
            secs,
        }
    }

    fn mean(all: &[Self]) -> Self {
        let mean =
            |value: fn(&Self) -> f64| all.iter().map(value).sum::<f64>() / all.len().max(1) as f64;
        let fidelities: Vec<f64> = all.iter().filter_map(|one| one.copy_fidelity).collect();
        let fidelity = fidelities.iter().sum::<f64>() / fidelities.len() as f64;
        Self {
            copy_fidelity: (!fidelities.is_empty()).then_some(fidelity),
            edit_gain: mean(|one| one.edit_gain),
            spill: mean(|one| one.spill),
            held_out_gained: mean(|one| one.held_out_gained),
            held_out_progress: mean(|one| one.held_out_progress),
            held_out_elsewhere: mean(|one| one.held_out_elsewhere),
            monotone: mean(|one| one.monotone),
            correlation: mean(|one| one.correlation),
            secs: mean(|one| one.secs),
        }
    }
}

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pair: String,
    method: Method,
    #[serde(flatten)]
    measured: Measured,
}

impl Row {
    /// The row of a pair and a method: the mean over its runs.
    pub fn of_pair(pair: &str, method: Method, runs: &[Measured]) -> Self {
        Self {
            pair: pair.to_owned(),
            method,
            measured: Measured::mean(runs),
        }
    }

    /// The mean of a method over all rows; none if it has none.
    pub fn mean(method: Method, rows: &[Self]) -> Option<Self> {
        let own: Vec<Measured> = rows
            .iter()
            .filter(|row| row.method == method)
            .map(|row| row.measured)
            .collect();
        (!own.is_empty()).then(|| Self::of_pair("mean", method, &own))
    }

    /// The row as it stands in the table.
    pub fn line(&self) -> String {
        let Measured {
            copy_fidelity,
            edit_gain,
            spill,
            held_out_gained,
            held_out_progress,
            held_out_elsewhere,
            monotone,
            correlation,
            secs,
        } = self.measured;
        let copy = copy_fidelity.map(percent).unwrap_or_default();
        laid_out(
            &[
                &self.pair,
                self.method.name(),
                &copy,
                &percent(edit_gain),
                &percent(spill),
                &percent(held_out_gained),
                &percent(held_out_progress),
                &format!("{held_out_elsewhere:.1}"),
                &percent(monotone),
                &format!("{correlation:.2}"),
                &format!("{secs:.1}"),
            ],
            &WIDTHS,
        )
    }
}

/// The table's head.
pub const HEAD: Head = Head([
    "pair",
    "method",
    "copy",
    "gain",
    "spill",
    "gained",
    "progress",
    "elsewhere",
    "monotone",
    "r",
    "secs",
]);

/// The names of the columns.
pub struct Head([&'static str; 11]);

impl Head {
    /// The head as it stands above the table.
    pub fn line(&self) -> String {
        laid_out(&self.0, &WIDTHS)
    }

    /// The names, for machines.
    pub fn columns(&self) -> impl Serialize + use<> {
        #[derive(Serialize)]
        struct Columns {
            columns: [&'static str; 11],
        }
        Columns { columns: self.0 }
    }
}

const WIDTHS: [usize; 11] = [15, 7, 6, 6, 6, 6, 8, 9, 8, 5, 6];

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(edit_gain: f64, copy_fidelity: Option<f64>) -> Measured {
        Measured {
            copy_fidelity,
            edit_gain,
            spill: 0.0,
            held_out_gained: 0.0,
            held_out_progress: 0.0,
            held_out_elsewhere: 0.0,
            monotone: 1.0,
            correlation: 1.0,
            secs: 1.0,
        }
    }

    #[test]
    fn means_are_per_method() {
        let rows = [
            Row::of_pair("a", Method::Copier, &[measured(0.2, Some(0.8))]),
            Row::of_pair(
                "b",
                Method::Copier,
                &[measured(0.4, Some(0.9)), measured(0.8, Some(0.9))],
            ),
            Row::of_pair("a", Method::Plain, &[measured(0.9, None)]),
        ];
        let mean = Row::mean(Method::Copier, &rows).unwrap();
        assert!(
            (mean.measured.edit_gain - 0.4).abs() < 1e-12,
            "seeds first, then pairs"
        );
        assert_eq!(
            Row::mean(Method::Plain, &rows)
                .unwrap()
                .measured
                .copy_fidelity,
            None,
            "no copier"
        );
        assert_eq!(Row::mean(Method::Addift, &rows), None, "never run");
    }

    #[test]
    fn rows_stand_below_their_head() {
        let row = Row::of_pair(
            "closed_eyes/00",
            Method::Copier,
            &[measured(-1.0, Some(1.0))],
        );
        let (head, line) = (HEAD.line(), row.line());
        assert_eq!(
            head.chars().count(),
            line.chars().count(),
            "\n{head}\n{line}"
        );
    }
}
