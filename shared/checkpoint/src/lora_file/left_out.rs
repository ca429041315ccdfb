//! What a file holds and Mimeo does not apply, by kind and count.

use std::collections::BTreeMap;
use std::fmt;

/// How many modules of each kind are left out when a LoRA is applied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeftOut(BTreeMap<&'static str, usize>);

impl LeftOut {
    /// Whether everything is applied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each kind with the number of its modules.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.0.iter().map(|(kind, count)| (*kind, *count))
    }

    /// Counts one more module.
    pub fn add(&mut self, kind: &'static str) {
        *self.0.entry(kind).or_default() += 1;
    }

    /// For the user, of the file called `name`; none if everything is applied.
    #[must_use]
    pub fn sentence(&self, name: &str) -> Option<String> {
        (!self.is_empty()).then(|| {
            format!("Not all of {name} is applied. Left out are, by number of modules: {self}.")
        })
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (kind, count)) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(formatter, "{comma}{kind} {count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_with_their_counts() {
        let mut left_out = LeftOut::default();
        assert_eq!(left_out.sentence("x"), None, "nothing is left out");
        for kind in ["norm layers", "LoHa", "norm layers"] {
            left_out.add(kind);
        }
        assert_eq!(
            left_out.sentence("x").as_deref(),
            Some(
                "Not all of x is applied. Left out are, by number of modules: LoHa 1, norm layers 2."
            ),
            "each kind once"
        );
    }
}
