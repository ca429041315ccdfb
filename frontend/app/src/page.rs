//! What the page shows, apart from the work itself.

use std::collections::BTreeSet;

use leptos::prelude::*;
use mimeo_protocol::{BlobId, JobId};
use mimeo_workbench::dropped::Dropped;

/// Which part of the lower half is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    /// The run that is shown.
    Run,
    /// Its result.
    Result,
    /// All runs.
    Runs,
    /// Drawing with any LoRAs.
    Playground,
}

/// What the stage shows of the pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// A.
    Original,
    /// B.
    Target,
    /// A left, B right of a line.
    Split,
    /// Where they differ.
    Difference,
    /// The latent grid with the weights of the loss.
    AsTrained,
}

impl Shown {
    /// In the order of keys 1 to 5.
    pub const ALL: [Self; 5] = [
        Self::Original,
        Self::Target,
        Self::Split,
        Self::Difference,
        Self::AsTrained,
    ];

    /// What its button says.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Original => "A",
            Self::Target => "B",
            Self::Split => "Split",
            Self::Difference => "Difference",
            Self::AsTrained => "As trained",
        }
    }
}

/// Where the lower half is.
pub const LOWER: &str = "lower";

/// What is shown.
#[derive(Clone, Copy)]
pub struct Page {
    /// The run on the page.
    pub shown: RwSignal<Option<JobId>>,
    /// A preview opened on the stage.
    pub on_stage: RwSignal<Option<BlobId>>,
    /// Previews with a star, by their names.
    pub starred: RwSignal<BTreeSet<String>>,
    /// The time, each second while something runs.
    pub now_millis: RwSignal<u64>,
    /// Loads a run's pair and recipe onto the bench.
    pub run_again: Callback<JobId>,
    /// The open part of the lower half.
    pub tab: RwSignal<Tab>,
    /// What the stage shows of the pair.
    pub view: RwSignal<Shown>,
    /// Whether nobody saw the page for a part of the run in this tab.
    pub was_hidden: RwSignal<bool>,
    /// Whether A is shown while a key is held.
    pub blinks: RwSignal<bool>,
    /// Whether the mask is drawn.
    pub has_mask_on: RwSignal<bool>,
    /// Whether single keys do something (WCAG 2.1.4).
    pub single_keys: RwSignal<bool>,
    /// Whether the list of keys is open.
    pub shows_keys: RwSignal<bool>,
    /// A LoRA or recipe that was dropped, to say what came back with it.
    pub brought_back: RwSignal<Option<Dropped>>,
    /// Files that were dropped with others and are no part of a pair, a sentence each.
    pub left_files: RwSignal<Vec<String>>,
    /// Something that has no place of its own: said, and then gone.
    pub said: RwSignal<Option<String>>,
}

impl Page {
    /// A page that shows nothing yet.
    pub fn new(run_again: Callback<JobId>) -> Self {
        Self {
            shown: RwSignal::new(None),
            on_stage: RwSignal::new(None),
            starred: RwSignal::new(BTreeSet::new()),
            now_millis: RwSignal::new(now_millis()),
            run_again,
            tab: RwSignal::new(Tab::Run),
            view: RwSignal::new(Shown::Target),
            was_hidden: RwSignal::new(false),
            blinks: RwSignal::new(false),
            has_mask_on: RwSignal::new(true),
            single_keys: RwSignal::new(true),
            shows_keys: RwSignal::new(false),
            brought_back: RwSignal::new(None),
            left_files: RwSignal::new(Vec::new()),
            said: RwSignal::new(None),
        }
    }

    /// Opens a part of the lower half and brings it into sight.
    pub fn open(self, tab: Tab) {
        self.tab.set(tab);
        request_animation_frame(move || {
            if let Some(lower) = document().get_element_by_id(LOWER) {
                let options = web_sys::ScrollIntoViewOptions::new();
                // Smooth or at once, as the style sheet has it for those who want less motion.
                options.set_block(web_sys::ScrollLogicalPosition::Start);
                lower.scroll_into_view_with_scroll_into_view_options(&options);
            }
        });
    }

    /// Says something that has no place of its own.
    pub fn say(self, sentence: impl Into<String>) {
        self.said.set(Some(sentence.into()));
    }
}

/// Milliseconds since 1970.
pub fn now_millis() -> u64 {
    js_sys::Date::now() as u64
}
