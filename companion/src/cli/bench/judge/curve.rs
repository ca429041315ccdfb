//! What a LoRA does over its strengths, and what that is worth.

use serde::Serialize;

/// Counts of what was read at one strength.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    /// People who lacked what B has, and those who have it now.
    pub gained: Share,
    /// Other attributes, and those that stayed.
    pub kept: Share,
    /// Attributes of A that somebody lacked, and those that somebody has now.
    pub pulled: Share,
    /// Sum over people of the mean change outside of the mask, and their number.
    pub elsewhere: Share,
}

/// So much of so much.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Share {
    part: f64,
    whole: f64,
}

impl Share {
    /// One more, which counts or does not.
    pub fn count(&mut self, counts: bool) {
        self.add(f64::from(u8::from(counts)));
    }

    /// One more, of this size.
    pub fn add(&mut self, size: f64) {
        self.part += size;
        self.whole += 1.0;
    }

    /// Nothing of nothing is nothing.
    fn of_one(self) -> f64 {
        self.part / self.whole.max(1.0)
    }
}

/// What a LoRA does at one strength; shares of 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// How strongly it acts.
    pub strength: f64,
    /// Share of the people who lacked what B has and now have it.
    pub gained: f64,
    /// Share of other attributes that stayed.
    pub kept: f64,
    /// Share of the attributes of A that somebody lacked and now has.
    pub pull: f64,
    /// Mean change outside of the mask, of 255.
    pub elsewhere: f64,
}

impl Point {
    /// No LoRA.
    pub const NOTHING: Self = Self {
        strength: 0.0,
        gained: 0.0,
        kept: 1.0,
        pull: 0.0,
        elsewhere: 0.0,
    };

    /// What was counted at a strength.
    pub fn new(strength: f64, tally: &Tally) -> Self {
        Self {
            strength,
            gained: tally.gained.of_one(),
            kept: tally.kept.of_one(),
            pull: tally.pulled.of_one(),
            elsewhere: tally.elsewhere.of_one(),
        }
    }

    /// The one between two, `share` of the way.
    fn between(from: &Self, to: &Self, share: f64) -> Self {
        let mix = |value: fn(&Self) -> f64| value(from) + (value(to) - value(from)) * share;
        Self {
            strength: mix(|it| it.strength),
            gained: mix(|it| it.gained),
            kept: mix(|it| it.kept),
            pull: mix(|it| it.pull),
            elsewhere: mix(|it| it.elsewhere),
        }
    }

    /// The mean of several; none of none.
    pub fn mean(points: &[Self]) -> Option<Self> {
        let count = points.len() as f64;
        let mean = |value: fn(&Self) -> f64| points.iter().map(value).sum::<f64>() / count;
        (!points.is_empty()).then(|| Self {
            strength: mean(|it| it.strength),
            gained: mean(|it| it.gained),
            kept: mean(|it| it.kept),
            pull: mean(|it| it.pull),
            elsewhere: mean(|it| it.elsewhere),
        })
    }
}

/// Points of rising strength, the first of which is [`Point::NOTHING`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Curve(Vec<Point>);

impl Curve {
    /// The curve through these.
    pub fn new(points: impl IntoIterator<Item = Point>) -> Self {
        Self([Point::NOTHING].into_iter().chain(points).collect())
    }

    /// Where so many have gained the change for the first time, between two strengths in
    /// proportion; none if that is never so.
    pub fn at_gained(&self, gained: f64) -> Option<Point> {
        let crossing = |pair: &&[Point]| pair[0].gained < gained && pair[1].gained >= gained;
        let pair = self.0.windows(2).find(crossing)?;
        let share = (gained - pair[0].gained) / (pair[1].gained - pair[0].gained);
        Some(Point::between(&pair[0], &pair[1], share))
    }

    /// The area under kept over gained, of 1: what was never gained counts as nothing kept.
    pub fn area(&self) -> f64 {
        let (mut area, mut most) = (0.0, 0.0);
        for pair in self.0.windows(2) {
            if pair[1].gained > most {
                // Only what is new: what is gained a second time costs nothing.
                let share = (most - pair[0].gained) / (pair[1].gained - pair[0].gained);
                let from = Point::between(&pair[0], &pair[1], share);
                area += (pair[1].gained - most) * (from.kept + pair[1].kept) / 2.0;
                most = pair[1].gained;
            }
        }
        area
    }

    /// All of them.
    pub fn points(&self) -> &[Point] {
        &self.0
    }

    /// The point of a strength that was measured.
    pub fn at_strength(&self, strength: f64) -> Option<Point> {
        let mut points = self.0.iter();
        points.find(|point| point.strength == strength).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(strength: f64, gained: f64, kept: f64) -> Point {
        Point {
            strength,
            gained,
            kept,
            pull: 0.0,
            elsewhere: 10.0 * strength,
        }
    }

    #[test]
    fn equal_gained_lies_between_strengths() {
        let curve = Curve::new([
            point(0.5, 0.4, 0.9),
            point(1.0, 0.6, 0.7),
            point(2.0, 0.5, 0.2),
        ]);
        let half = curve.at_gained(0.5).unwrap();
        for (found, expected) in [
            (half.strength, 0.75),
            (half.gained, 0.5),
            (half.kept, 0.8),
            (half.elsewhere, 7.5),
        ] {
            assert!((found - expected).abs() < 1e-12, "{half:?}");
        }
        assert_eq!(curve.at_gained(0.8), None, "never so many");
        assert_eq!(
            curve.at_gained(0.6),
            curve.at_strength(1.0),
            "a point of its own"
        );
    }

    #[test]
    fn area_is_what_is_kept_while_more_is_gained() {
        let all = Curve::new([point(1.0, 1.0, 1.0)]);
        assert_eq!(
            all.area(),
            1.0,
            "everybody gains it and nothing else changes"
        );
        let half = Curve::new([point(1.0, 0.5, 1.0), point(2.0, 0.3, 0.0)]);
        assert_eq!(half.area(), 0.5, "what falls again adds nothing");
        let again = Curve::new([
            point(0.5, 0.5, 1.0),
            point(1.0, 0.0, 0.5),
            point(2.0, 1.0, 0.5),
        ]);
        assert_eq!(
            again.area(),
            0.5 + 0.25,
            "the second half with half of the rest"
        );
    }

    #[test]
    fn nothing_counted_is_nothing() {
        let mut tally = Tally::default();
        assert_eq!(Point::new(1.0, &tally).gained, 0.0, "nobody lacked it");
        tally.gained.count(true);
        tally.gained.count(false);
        tally.elsewhere.add(3.0);
        let point = Point::new(1.0, &tally);
        assert_eq!((point.gained, point.elsewhere), (0.5, 3.0));
    }
}
