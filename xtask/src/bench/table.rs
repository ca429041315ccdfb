//! The result as a table of all sides and their ratio.

use super::measure::Measurement;

const BYTES_PER_MIB: f64 = (1 << 20) as f64;

/// Columns of Mimeo, of the others, and of Mimeo by the best of the others.
pub fn table(mimeo: &Measurement, others: &[(&str, Measurement)]) -> String {
    let line = |label: &str, ours: String, theirs: Vec<String>, ratio: String| {
        let theirs: String = theirs.iter().map(|cell| format!("{cell:>22}")).collect();
        format!("{label:<18}{ours:>10}{theirs}{ratio:>10}")
    };
    let row = |label: &str, of: fn(&Measurement) -> Option<f64>, digits: usize| {
        let ours = of(mimeo);
        let theirs: Vec<Option<f64>> = others.iter().map(|(_, other)| of(other)).collect();
        let best = theirs.iter().flatten().copied().reduce(f64::min);
        let ratio = ours.zip(best).map(|(ours, best)| ours / best);
        let theirs = theirs.iter().map(|value| number(*value, digits)).collect();
        line(label, number(ours, digits), theirs, number(ratio, 2))
    };
    let names = others.iter().map(|(name, _)| (*name).to_owned()).collect();
    [
        line("", "Mimeo".to_owned(), names, "ratio".to_owned()),
        row("s/step, median", |side| Some(side.median_secs()), 4),
        row("s/step, fastest", |side| Some(side.min_secs()), 4),
        row("s to first step", |side| Some(side.start_secs), 2),
        row("peak memory, MiB", peak_mib, 0),
    ]
    .join("\n")
}

fn peak_mib(side: &Measurement) -> Option<f64> {
    side.peak_bytes.map(|bytes| bytes as f64 / BYTES_PER_MIB)
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_ours_by_theirs_and_what_is_unknown_is_a_dash() {
        let mimeo = Measurement {
            start_secs: 0.5,
            ..Measurement::default()
        };
        let torch = Measurement {
            start_secs: 5.0,
            peak_bytes: Some(600 << 20),
            ..Measurement::default()
        };
        let slower = Measurement {
            start_secs: 50.0,
            peak_bytes: Some(0),
            ..Measurement::default()
        };
        let text = table(&mimeo, &[("slower", slower), ("torch", torch)]);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            rows[3],
            ["s", "to", "first", "step", "0.50", "50.00", "5.00", "0.10"],
            "{text}"
        );
        assert_eq!(
            rows[4],
            ["peak", "memory,", "MiB", "-", "0", "600", "-"],
            "{text}"
        );
    }
}
