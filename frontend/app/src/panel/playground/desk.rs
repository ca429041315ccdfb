//! What is set and drawn in the playground: kept for as long as the page is open, and the settings
//! beyond.

use leptos::prelude::*;
use leptos::task::spawn_local;
use mimeo_protocol::LoraRef;
use mimeo_workbench::playground::{Drawing, Playground, PlaygroundSettings, fitting_base};

use super::draw::draw;
use crate::bench::Bench;
use crate::link::Link;
use crate::storage;

/// Where the settings are kept.
const SETTINGS: &str = "mimeo.playground";

thread_local! {
    static KEPT: Kept = Kept::restored();
}

/// What outlives the panel.
#[derive(Clone)]
struct Kept {
    settings: ArcRwSignal<PlaygroundSettings>,
    state: ArcRwSignal<Playground>,
}

impl Kept {
    fn restored() -> Self {
        let settings = storage::choice(SETTINGS);
        let settings = settings.and_then(|json| serde_json::from_str(&json).ok());
        Self {
            settings: ArcRwSignal::new(settings.unwrap_or_default()),
            state: ArcRwSignal::new(Playground::default()),
        }
    }
}

/// The playground, as its panel uses it.
#[derive(Clone, Copy)]
pub struct Desk {
    /// Whoever draws.
    pub link: Link,
    /// Whose recipe says how prompts are read.
    pub bench: Bench,
    /// What the next picture will be.
    pub settings: RwSignal<PlaygroundSettings>,
    /// What is on its way and what was drawn.
    pub state: RwSignal<Playground>,
    /// The picture that is looked at; none: the newest.
    pub shown: RwSignal<Option<Drawing>>,
}

impl Desk {
    /// The playground as it was left.
    pub fn new() -> Self {
        let kept = KEPT.with(Kept::clone);
        let settings = RwSignal::from(kept.settings);
        Effect::new(move |_| {
            if let Ok(json) = settings.with(serde_json::to_string) {
                storage::keep_choice(SETTINGS, &json);
            }
        });
        Self {
            link: expect_context::<Link>(),
            bench: expect_context::<Bench>(),
            settings,
            state: kept.state.into(),
            shown: RwSignal::new(None),
        }
    }

    /// Draws what is set, after what is on its way.
    pub fn draw(self) {
        let link = self.link;
        let mut settings = self.settings.get_untracked();
        settings.prompt_syntax = self.bench.prompt_syntax();
        link.host.with_untracked(|host| {
            // What the list of bases shows while the wanted one is not there.
            if let Some(base) = fitting_base(&host.bases, &settings.base) {
                settings.choose_base(base.id.clone());
            }
        });
        self.shown.set(None);
        let state = KEPT.with(|kept| kept.state.clone());
        state.update(|state| state.wish(settings));
        spawn_local(async move {
            while let Some(settings) = state.try_update(Playground::ask).flatten() {
                let answer = draw(link, settings.request()).await;
                state.update(|state| state.answered(answer));
            }
        });
    }

    /// Adds a LoRA, even when the panel was left meanwhile.
    ///
    /// # Errors
    /// A sentence when it is there already, or there are too many.
    pub fn add(self, lora: LoraRef, name: &str) -> Result<(), String> {
        let settings = KEPT.with(|kept| kept.settings.clone());
        let added = settings.try_update(|settings| settings.add(lora, name));
        added.unwrap_or(Ok(()))
    }

    /// Notes what of a LoRA is not applied.
    pub fn set_remark(self, lora: LoraRef, remark: Option<String>) {
        let settings = KEPT.with(|kept| kept.settings.clone());
        settings.update(|settings| settings.set_remark(lora, remark));
    }

    /// The picture that is looked at.
    pub fn drawing(self) -> Option<Drawing> {
        let newest = || self.state.with(|state| state.drawings().first().cloned());
        self.shown.get().or_else(newest)
    }

    /// Forgets what was drawn: it trains elsewhere now, and the pictures are not there.
    pub fn forget_drawings() {
        KEPT.with(|kept| kept.state.set(Playground::default()));
    }

    /// Looks at a picture again, with its settings in the fields.
    pub fn restore(self, drawing: Drawing) {
        self.settings.set(drawing.settings.clone());
        self.shown.set(Some(drawing));
    }
}
