//! Numbers on the command line that belong to no recipe, refused in the words of those that do.

use std::ops::RangeInclusive;

use mimeo_protocol::{InvalidNumber, Range};

/// Reads whole numbers.
///
/// - `name`: what the number is, in the user's words
/// - `range`: what is allowed, within what a [`u32`] holds
pub fn whole(
    name: &'static str,
    range: RangeInclusive<u32>,
) -> impl Fn(&str) -> Result<u32, InvalidNumber> + Clone + Send + Sync + 'static {
    let range = Range {
        name,
        min: f64::from(*range.start()),
        max: f64::from(*range.end()),
        is_whole: true,
    };
    // In range, so that nothing is cut off.
    move |text| range.parse(text).map(|value| value as u32)
}

/// Reads numbers with a fraction.
///
/// - `name`: what the number is, in the user's words
pub fn decimal(
    name: &'static str,
    range: RangeInclusive<f64>,
) -> impl Fn(&str) -> Result<f64, InvalidNumber> + Clone + Send + Sync + 'static {
    let range = Range {
        name,
        min: *range.start(),
        max: *range.end(),
        is_whole: false,
    };
    move |text| range.parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_refused_by_name_with_what_is_allowed() {
        let steps = whole("Steps", 1..=1000);
        assert_eq!(steps("20"), Ok(20), "as typed");
        for text in ["0", "1001", "1.5", "1,5", "-3", "nan", ""] {
            let refusal = steps(text).unwrap_err().to_string();
            assert!(refusal.starts_with("Steps must be "), "{text}: {refusal}");
            assert!(refusal.contains("between 1 and 1000"), "{text}: {refusal}");
        }
        let guidance = decimal("Guidance", 0.0..=50.0);
        assert_eq!(guidance("7.5"), Ok(7.5), "as typed");
        for text in ["7,5", "51", "-1", "inf"] {
            let refusal = guidance(text).unwrap_err().to_string();
            assert!(refusal.contains("between 0 and 50"), "{text}: {refusal}");
        }
    }
}
