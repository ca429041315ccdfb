//! The strength dial of a result: which picture it shows, and which one to draw next.
//!
//! Pictures at five strengths are drawn beforehand, so that turning the dial shows something at
//! once; where it comes to rest, exactly that strength is drawn. One picture is on its way at a
//! time. Whatever is wished meanwhile, the latest wish is asked for next.

use std::collections::BTreeMap;

use mimeo_protocol::{BlobId, Phase, Strength};

use crate::runs::Shot;

/// A place on the dial: a strength from -2 to 2 in steps of 0.05.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Notch(i8);

impl Notch {
    /// The base alone.
    pub const BASE: Self = Self(0);
    /// The change made.
    pub const CHANGE: Self = Self(20);
    /// What is drawn before anybody asks.
    pub const PREPARED: [Self; 5] = [Self(-40), Self(-20), Self::BASE, Self::CHANGE, Self(40)];
    const PER_UNIT: f64 = 20.0;

    /// The closest one; 0 if this is no number.
    #[must_use]
    pub fn nearest(strength: f64) -> Self {
        Self((strength.clamp(-2.0, 2.0) * Self::PER_UNIT).round() as i8)
    }

    /// The one of exactly this strength, if the dial has it.
    #[must_use]
    pub fn of(strength: Strength) -> Option<Self> {
        let notch = Self::nearest(strength.get());
        (notch.strength() == strength).then_some(notch)
    }

    /// What it stands for.
    #[must_use]
    pub fn strength(self) -> Strength {
        // No notch is beyond the ends, since only `nearest` makes them.
        Strength::constant(f64::from(self.0) / Self::PER_UNIT)
    }

    const fn distance(self, other: Self) -> u8 {
        self.0.abs_diff(other.0)
    }
}

/// What is drawn at every strength.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wish {
    /// What to draw.
    pub prompt: String,
    /// The noise it starts from.
    pub seed: u64,
}

/// One picture to be drawn.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// Of what.
    pub wish: Wish,
    /// How strong.
    pub at: Notch,
}

/// What the dial shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// The strength it was drawn at: the dial's own, or the closest there is.
    pub at: Notch,
    /// The picture.
    pub picture: BlobId,
}

/// The dial and every picture that was drawn for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Dial {
    wish: Wish,
    at: Notch,
    /// Whether it is let go: while it is turned, nothing is drawn for where it happens to be.
    rests: bool,
    drawn: BTreeMap<Ask, BlobId>,
    /// On its way.
    asked: Option<Ask>,
    /// Why the last picture did not come; nothing is asked for until somebody wants it again.
    trouble: Option<String>,
}

impl Dial {
    /// A dial at strength 1, in motion until it is told to [`Self::rest`].
    #[must_use]
    pub const fn new(wish: Wish) -> Self {
        Self {
            wish,
            at: Notch::CHANGE,
            rests: false,
            drawn: BTreeMap::new(),
            asked: None,
            trouble: None,
        }
    }

    /// What is drawn.
    #[must_use]
    pub const fn wish(&self) -> &Wish {
        &self.wish
    }

    /// Where it is.
    #[must_use]
    pub const fn at(&self) -> Notch {
        self.at
    }

    /// Draws something else from now on.
    pub fn set_wish(&mut self, wish: Wish) {
        self.wish = wish;
        self.rest();
    }

    /// It is being turned.
    pub const fn turn(&mut self, at: Notch) {
        self.at = at;
        self.rests = false;
    }

    /// It stays where it is; what failed may be tried again.
    pub fn rest(&mut self) {
        self.rests = true;
        self.trouble = None;
    }

    /// Takes the pictures that the run drew itself, wherever they are what the dial would ask for.
    pub fn know(&mut self, shots: &[Shot]) {
        for shot in shots.iter().filter(|shot| is_of_result(shot)) {
            if let Some(at) = Notch::of(shot.strength) {
                let wish = Wish {
                    prompt: shot.prompt.clone(),
                    seed: shot.seed,
                };
                self.drawn.insert(Ask { wish, at }, shot.picture);
            }
        }
    }

    /// What to ask for now, which counts as asked from here on; none while something is on its way,
    /// while it is turned, after a failure, and when everything is there.
    pub fn ask(&mut self) -> Option<Ask> {
        if !self.rests || self.asked.is_some() || self.trouble.is_some() {
            return None;
        }
        let is_missing = |at: &Notch| self.picture(*at).is_none();
        let mut prepared = Notch::PREPARED;
        // What is next to be turned to; of two as close, the stronger.
        prepared.sort_by_key(|at| (at.distance(self.at), std::cmp::Reverse(*at)));
        // The base is what it is compared with, so it comes before all others.
        let mut wanted = [self.at, Notch::BASE].into_iter().chain(prepared);
        let at = wanted.find(is_missing)?;
        self.asked = Some(self.ask_at(at));
        self.asked.clone()
    }

    /// What came of it; the sentence says why nothing did.
    pub fn answered(&mut self, ask: &Ask, answer: Result<BlobId, String>) {
        if self.asked.as_ref() == Some(ask) {
            self.asked = None;
        }
        match answer {
            Ok(picture) => _ = self.drawn.insert(ask.clone(), picture),
            // What nobody wishes any more may fail unheard.
            Err(_) if ask.wish != self.wish => {}
            Err(why) => self.trouble = Some(why),
        }
    }

    /// The picture at a strength, if it was drawn.
    #[must_use]
    pub fn picture(&self, at: Notch) -> Option<BlobId> {
        self.drawn.get(&self.ask_at(at)).copied()
    }

    /// The picture that is closest to where the dial is; of two as close, the stronger.
    #[must_use]
    pub fn shown(&self) -> Option<Shown> {
        let here = self.drawn.iter().filter(|(ask, _)| ask.wish == self.wish);
        let closest =
            here.min_by_key(|(ask, _)| (ask.at.distance(self.at), std::cmp::Reverse(ask.at)));
        closest.map(|(ask, picture)| Shown {
            at: ask.at,
            picture: *picture,
        })
    }

    /// Whether exactly what it stands at is still to come.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.trouble.is_none() && self.picture(self.at).is_none()
    }

    /// Why the last picture did not come.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    fn ask_at(&self, at: Notch) -> Ask {
        Ask {
            wish: self.wish.clone(),
            at,
        }
    }
}

/// Whether a picture of a run shows its result, and not the LoRA as it was on the way there. The
/// base alone is the same at any time.
fn is_of_result(shot: &Shot) -> bool {
    shot.column.phase == Phase::Saving || shot.strength.get() == 0.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::*;
    use crate::runs::Column;

    fn wish(prompt: &str) -> Wish {
        Wish {
            prompt: prompt.to_owned(),
            seed: 7,
        }
    }

    fn picture(number: u8) -> BlobId {
        BlobId::from_sha256([number; 32])
    }

    fn resting() -> Dial {
        let mut dial = Dial::new(wish("a face"));
        dial.rest();
        dial
    }

    /// Answers everything that it asks for, and says at which strengths that was.
    fn draw_all(dial: &mut Dial) -> Vec<f64> {
        let mut strengths = Vec::new();
        while let Some(ask) = dial.ask() {
            dial.answered(&ask, Ok(picture(strengths.len() as u8)));
            strengths.push(ask.at.strength().get());
        }
        strengths
    }

    #[test]
    fn five_pictures_are_drawn_beforehand_its_own_and_the_base_first() {
        let mut dial = resting();
        assert_eq!(
            draw_all(&mut dial),
            [1.0, 0.0, 2.0, -1.0, -2.0],
            "then from strength 1 outwards"
        );
        assert_eq!(dial.ask(), None, "each once");
    }

    #[test]
    fn while_it_is_turned_it_shows_the_closest_picture_and_asks_for_none() {
        let mut dial = resting();
        draw_all(&mut dial);
        dial.turn(Notch::nearest(-0.6));
        let shown = dial.shown().unwrap();
        assert_eq!(shown.at.strength().get(), -1.0, "the closest of the five");
        assert!(dial.is_waiting(), "it is not the one it stands at");
        assert_eq!(dial.ask(), None, "it may not stay there");
    }

    #[test]
    fn where_it_rests_exactly_that_is_drawn_once() {
        let mut dial = resting();
        draw_all(&mut dial);
        dial.turn(Notch::nearest(-0.6));
        dial.rest();
        assert_eq!(draw_all(&mut dial), [-0.6], "that one");
        assert!(!dial.is_waiting(), "it is there");
        dial.turn(Notch::nearest(1.5));
        dial.turn(Notch::nearest(-0.6));
        dial.rest();
        assert_eq!(dial.ask(), None, "and kept");
        assert_eq!(dial.shown().unwrap().at, Notch::nearest(-0.6), "and shown");
    }

    #[test]
    fn one_picture_is_on_its_way_and_the_latest_wish_comes_next() {
        let mut dial = resting();
        let first = dial.ask().unwrap();
        dial.turn(Notch::nearest(0.3));
        dial.rest();
        dial.turn(Notch::nearest(0.7));
        dial.rest();
        assert_eq!(dial.ask(), None, "something is on its way");
        dial.answered(&first, Ok(picture(1)));
        let second = dial.ask().unwrap();
        assert_eq!(second.at.strength().get(), 0.7, "0.3 is wished no more");
    }

    #[test]
    fn another_prompt_leaves_the_old_pictures_behind_and_keeps_them() {
        let mut dial = resting();
        let old = dial.ask().unwrap();
        dial.set_wish(wish("a dog"));
        dial.answered(&old, Ok(picture(1)));
        assert_eq!(dial.shown(), None, "the face is no dog");
        assert_eq!(
            dial.ask().unwrap().wish,
            wish("a dog"),
            "which is asked for"
        );
        dial.set_wish(wish("a face"));
        assert_eq!(dial.shown().unwrap().picture, picture(1), "still there");
    }

    #[test]
    fn a_failure_is_told_and_not_repeated_until_somebody_wants_it() {
        let mut dial = resting();
        let ask = dial.ask().unwrap();
        dial.answered(&ask, Err("The base is gone.".to_owned()));
        assert_eq!(dial.trouble(), Some("The base is gone."), "at its place");
        assert_eq!(dial.ask(), None, "no storm of requests");
        assert!(!dial.is_waiting(), "nothing is coming");
        dial.rest();
        assert_eq!(dial.ask(), Some(ask), "tried again");
    }

    #[test]
    fn what_nobody_wishes_any_more_may_fail() {
        let mut dial = resting();
        let old = dial.ask().unwrap();
        dial.set_wish(wish("a dog"));
        dial.answered(&old, Err("Too late.".to_owned()));
        assert_eq!(dial.trouble(), None, "unheard");
        assert!(dial.ask().is_some(), "the dog is drawn");
    }

    #[test]
    fn pictures_of_the_run_are_used_where_they_show_the_result() {
        let shot = |phase, strength, number| Shot {
            column: Column { phase, step: 30 },
            strength: Strength::constant(strength),
            picture: picture(number),
            prompt: "a face".to_owned(),
            seed: 7,
        };
        let mut dial = resting();
        dial.know(&[
            shot(Phase::Copier, 0.0, 1),
            shot(Phase::Training, -1.0, 2),
            shot(Phase::Saving, 1.0, 3),
            shot(Phase::Saving, 0.33, 4),
        ]);
        assert_eq!(
            dial.picture(Notch::BASE),
            Some(picture(1)),
            "the base is the base at any time"
        );
        assert_eq!(
            dial.shown().map(|shown| shown.picture),
            Some(picture(3)),
            "the result"
        );
        assert_eq!(
            draw_all(&mut dial),
            [2.0, -1.0, -2.0],
            "what the LoRA was before it was calibrated is not what it is"
        );
    }

    #[test]
    fn another_seed_is_another_picture() {
        let mut dial = resting();
        draw_all(&mut dial);
        dial.set_wish(Wish {
            seed: 8,
            ..wish("a face")
        });
        assert_eq!(draw_all(&mut dial).len(), 5, "all five again");
    }

    #[test]
    fn every_notch_is_a_strength_and_back() {
        for number in -40..=40 {
            let notch = Notch(number);
            assert_eq!(Notch::of(notch.strength()), Some(notch), "{notch:?}");
        }
        assert_eq!(Notch::nearest(f64::NAN), Notch::BASE, "no number");
        assert_eq!(Notch::nearest(9.0), Notch(40), "the end");
    }

    #[derive(Debug, Clone)]
    enum Event {
        Turn(i8),
        Rest,
        Wish(u64),
        Next,
        Answer(bool),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (-40_i8..=40).prop_map(Event::Turn),
            proptest::strategy::Just(Event::Rest),
            (0_u64..3).prop_map(Event::Wish),
            proptest::strategy::Just(Event::Next),
            any::<bool>().prop_map(Event::Answer),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_it_comes_to_show_what_it_stands_at(
            events in proptest::collection::vec(event(), 0..60)
        ) {
            let mut dial = resting();
            let mut under_way: Option<Ask> = None;
            for event in events {
                match event {
                    Event::Turn(number) => dial.turn(Notch(number)),
                    Event::Rest => dial.rest(),
                    Event::Wish(seed) => dial.set_wish(Wish { seed, ..wish("a face") }),
                    Event::Next => if let Some(ask) = dial.ask() {
                        prop_assert!(under_way.is_none(), "one at a time");
                        prop_assert!(!dial.drawn.contains_key(&ask), "nothing twice");
                        under_way = Some(ask);
                    },
                    Event::Answer(succeeds) => if let Some(ask) = under_way.take() {
                        let answer = if succeeds { Ok(picture(1)) } else { Err("no".to_owned()) };
                        dial.answered(&ask, answer);
                    },
                }
            }
            if let Some(ask) = under_way {
                dial.answered(&ask, Ok(picture(2)));
            }
            dial.rest();
            draw_all(&mut dial);
            prop_assert_eq!(dial.shown().map(|shown| shown.at), Some(dial.at()));
        }
    }
}
