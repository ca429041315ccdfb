//! What is on its way before it can train in the browser: a program, a base, the GPU's programs.

use crate::words;

/// How far everything is that is on its way; none where nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrival {
    /// Bytes of the trainer's program that are here, and all of them where that is known.
    pub program: Option<(u64, Option<u64>)>,
    /// Bytes of the base.
    pub base: Option<(u64, u64)>,
    /// Programs that the browser has made ready for its GPU, and about how many there will be.
    pub pipelines: Option<(u32, u32)>,
}

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// What is on its way.
    pub label: &'static str,
    /// How far it is, in words.
    pub text: String,
    /// From 0 to 1; none where the end is not known.
    pub share: Option<f64>,
}

impl Arrival {
    /// A bar for everything that is on its way, in the order in which it comes.
    #[must_use]
    pub fn bars(&self) -> Vec<Bar> {
        let [program, base] = [
            self.program.map(|(done, total)| ("Trainer", done, total)),
            self.base.map(|(done, total)| ("Base", done, Some(total))),
        ]
        .map(|part| part.map(|(label, done, total)| of_bytes(label, done, total)));
        let bars = [program, base, self.compiling()];
        bars.into_iter().flatten().collect()
    }

    /// The bar of the GPU's programs, while they are made ready.
    #[must_use]
    pub fn compiling(&self) -> Option<Bar> {
        let (done, expected) = self.pipelines?;
        // More than were expected is no end yet.
        let total = (done <= expected).then_some(expected);
        Some(Bar {
            label: "GPU programs",
            text: match total {
                Some(total) => format!("{done} of about {total}"),
                None => format!("{done} so far"),
            },
            share: share(done.into(), total.map(u64::from)),
        })
    }

    /// The share of what matters most now, as "45 %"; empty where nothing is on its way or its end
    /// is not known.
    #[must_use]
    pub fn percent(&self) -> String {
        let share = self.bars().first().and_then(|bar| bar.share);
        share.map(words::percent).unwrap_or_default()
    }
}

fn of_bytes(label: &'static str, done: u64, total: Option<u64>) -> Bar {
    // A server that compresses tells a smaller number than what arrives.
    let total = total.filter(|total| done <= *total);
    let text = match total {
        Some(total) => format!("{} of {}", words::bytes(done), words::bytes(total)),
        None => words::bytes(done),
    };
    let share = share(done, total);
    Bar { label, text, share }
}

fn share(done: u64, total: Option<u64>) -> Option<f64> {
    let total = total.filter(|total| *total > 0)?;
    Some(done as f64 / total as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_and_the_end_is_told_where_it_is_known() {
        let arrival = Arrival {
            program: Some((1_200_000, Some(3_900_000))),
            base: Some((500_000, 19_000_000)),
            pipelines: None,
        };
        let texts: Vec<_> = arrival.bars().into_iter().map(|bar| bar.text).collect();
        assert_eq!(texts, ["1.2 MB of 3.9 MB", "500 kB of 19.0 MB"], "in order");
        assert_eq!(arrival.percent(), "31 %", "of what comes first");
    }

    #[test]
    fn an_end_that_was_passed_is_none() {
        let arrival = Arrival {
            program: Some((4_000_000, Some(900_000))),
            pipelines: Some((170, 150)),
            ..Arrival::default()
        };
        for bar in arrival.bars() {
            assert_eq!(bar.share, None, "{}", bar.label);
        }
        assert_eq!(arrival.percent(), "", "nobody knows");
    }

    #[test]
    fn nothing_on_its_way_has_no_bars() {
        assert!(Arrival::default().bars().is_empty(), "nothing to show");
        let empty = Arrival {
            base: Some((0, 0)),
            ..Arrival::default()
        };
        assert_eq!(empty.bars()[0].share, None, "no division by zero");
    }
}
