//! The result as a table of both sides and their ratio.

use super::measure::Measurement;

const BYTES_PER_MIB: f64 = (1 << 20) as f64;

/// Rows of Mimeo, torch and Mimeo / torch.
pub fn table(mimeo: &Measurement, torch: &Measurement) -> String {
    let row = |label: &str, of: fn(&Measurement) -> Option<f64>, digits: usize| {
        let (ours, theirs) = (of(mimeo), of(torch));
        let ratio = ours.zip(theirs).map(|(ours, theirs)| ours / theirs);
        format!(
            "{label:<18}{:>10}{:>10}{:>10}",
            number(ours, digits),
            number(theirs, digits),
            number(ratio, 2)
        )
    };
    [
        format!("{:<18}{:>10}{:>10}{:>10}", "", "Mimeo", "torch", "ratio"),
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
        let text = table(&mimeo, &torch);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            rows[3],
            ["s", "to", "first", "step", "0.50", "5.00", "0.10"],
            "{text}"
        );
        assert_eq!(
            rows[4],
            ["peak", "memory,", "MiB", "-", "600", "-"],
            "{text}"
        );
    }
}
