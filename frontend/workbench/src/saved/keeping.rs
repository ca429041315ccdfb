//! What waits to be kept, and whether it may take the place of what is kept already: a newer Mimeo
//! may have kept it, before this page was opened or in another tab since.

use super::{Part, Unreadable, read_rest, set};
use crate::words;
use crate::workbench::Change;

/// What of the bench waits to be kept.
#[derive(Debug, Default)]
pub struct Keeping {
    waiting: Change,
    /// Why nothing of this page is kept.
    newer: Option<String>,
    /// Whether the user gave up what a newer Mimeo kept.
    is_given_up: bool,
}

impl Keeping {
    /// Nothing waits yet.
    ///
    /// - `newer`: [`super::Restored::newer`]
    #[must_use]
    pub fn new(newer: Option<String>) -> Self {
        Self {
            newer,
            ..Self::default()
        }
    }

    /// Why nothing of this page is kept, in sentences with what to do; none while it is.
    #[must_use]
    pub fn newer(&self) -> Option<&str> {
        self.newer.as_deref()
    }

    /// This waits as well. Whether it shall be kept soon.
    pub fn add(&mut self, change: Change) -> bool {
        self.waiting = self.waiting.and(change);
        self.newer.is_none()
    }

    /// The parts to write now, in the place of what is kept; none where that must stay.
    ///
    /// - `kept`: the settings that lie there at this moment
    /// - `set`: so the list of pairs
    pub fn take(&mut self, kept: Option<&[u8]>, set: Option<&[u8]>) -> Vec<Part> {
        if !self.is_given_up {
            self.newer = kept.and_then(newer).or_else(|| newer_set(set));
            if self.newer.is_some() {
                return Vec::new();
            }
        }
        self.is_given_up = false;
        let change = std::mem::take(&mut self.waiting);
        let is_changed = |part: &Part| match part {
            Part::Original | Part::Target => change.pictures,
            Part::Mask | Part::Set if change.pictures || change.set => true,
            // Where a mask is kept under its hash, the list names it.
            Part::Mask | Part::Set => change.whole_mask || change.mask.is_some(),
            Part::Settings => change.settings || change.pictures,
        };
        Part::ALL.into_iter().filter(is_changed).collect()
    }

    /// The user wants what is on the bench to take the place of what a newer Mimeo kept: all of it,
    /// for the parts of two benches make none.
    pub fn give_up(&mut self) {
        self.newer = None;
        self.is_given_up = true;
        self.waiting = self.waiting.and(Change::everything());
    }
}

/// Why these settings stay where they are; none for settings that this Mimeo may write over.
fn newer(settings: &[u8]) -> Option<String> {
    match read_rest(settings) {
        Err(Unreadable::Newer(format)) => Some(told(&words::newer(&format))),
        Err(Unreadable::Damaged) | Ok(_) => None,
    }
}

/// The same of the list of pairs.
fn newer_set(list: Option<&[u8]>) -> Option<String> {
    match set::read(list) {
        Err(Unreadable::Newer(format)) => Some(told(&words::newer(&format))),
        Err(Unreadable::Damaged) | Ok(_) => None,
    }
}

/// What happens where something was kept by a newer Mimeo.
///
/// - `why`: the sentence that says so
pub(super) fn told(why: &str) -> String {
    format!("{why} What was kept stays, and until then nothing of this page is kept.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::saved::{part, restore};
    use crate::workbench::examples::pair;

    /// Settings as a newer Mimeo keeps them.
    fn of_newer() -> Vec<u8> {
        let settings = part(&pair(), Part::Settings).unwrap();
        let mut json: serde_json::Value = serde_json::from_slice(&settings).unwrap();
        json["format"] = 2.into();
        serde_json::to_vec(&json).unwrap()
    }

    #[test]
    fn what_a_newer_mimeo_kept_is_not_written_over() {
        let kept = of_newer();
        let restored = restore(|key| (key == Part::Settings.key()).then(|| kept.clone()));
        let mut keeping = Keeping::new(restored.newer.clone());
        for change in [Change::settings(), Change::pictures(), Change::whole_mask()] {
            assert!(!keeping.add(change), "{change:?} is not kept");
            assert_eq!(
                keeping.take(Some(&kept), None),
                [],
                "nor by who asks all the same"
            );
        }
        assert_eq!(keeping.newer(), restored.newer.as_deref(), "said as before");
        let told = keeping.newer().unwrap();
        assert!(told.contains("update Mimeo. What was kept stays"), "{told}");
    }

    #[test]
    fn everything_takes_its_place_once_the_user_says_so() {
        let kept = of_newer();
        let mut keeping = Keeping::new(newer(&kept));
        keeping.give_up();
        assert_eq!(keeping.newer(), None, "nothing more to say");
        assert_eq!(
            keeping.take(Some(&kept), None),
            Part::ALL,
            "though nothing changed"
        );
        assert!(keeping.add(Change::settings()), "from here on it is kept");
        assert_eq!(
            keeping.take(Some(&kept), None),
            [],
            "the word was for that time only"
        );
    }

    #[test]
    fn what_a_newer_tab_kept_meanwhile_is_not_written_over_either() {
        let mut keeping = Keeping::new(None);
        assert!(keeping.add(Change::settings()), "nothing is known of it");
        assert_eq!(
            keeping.take(Some(&of_newer()), None),
            [],
            "until it is seen there"
        );
        assert!(keeping.newer().is_some(), "and said");
        assert!(!keeping.add(Change::settings()), "from then on");
        let mut keeping = Keeping::new(None);
        assert!(keeping.add(Change::set()), "nor of a list of pairs");
        let newer = br#"{"format": 2}"#;
        assert_eq!(keeping.take(None, Some(newer)), [], "that is newer");
        assert!(keeping.newer().is_some(), "and said");
    }

    #[test]
    fn only_what_changed_is_written() {
        use Part::{Mask, Original, Set, Settings, Target};
        let settings = part(&pair(), Part::Settings);
        for (change, parts) in [
            (Change::settings(), &[Settings][..]),
            (Change::whole_mask(), &[Mask, Set]),
            (Change::set(), &[Mask, Set]),
            (Change::pictures(), &[Original, Target, Mask, Settings, Set]),
            (
                Change::settings().and(Change::whole_mask()),
                &[Mask, Settings, Set],
            ),
            (Change::default(), &[]),
        ] {
            let mut keeping = Keeping::default();
            assert!(keeping.add(change), "{change:?}");
            assert_eq!(keeping.take(settings.as_deref(), None), parts, "{change:?}");
            assert_eq!(keeping.take(None, None), [], "{change:?}: once");
        }
    }

    #[test]
    fn damaged_settings_keep_nothing_from_being_kept() {
        let mut keeping = Keeping::default();
        assert!(keeping.add(Change::settings()), "it is told elsewhere");
        assert_eq!(
            keeping.take(Some(b"broken"), None),
            [Part::Settings],
            "mended"
        );
    }
}
