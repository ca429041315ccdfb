//! The workbench as the page holds it: one value, one way to change it, and a signal for each part
//! that is drawn by itself.

use std::rc::Rc;

use leptos::prelude::*;
use mimeo_protocol::{MemoryPlan, PromptSyntax};
use mimeo_workbench::preflight::{self, PreflightFacts, Problem, Submission, Verdict};
use mimeo_workbench::saved::{self, Keeping, Part, Restored};
use mimeo_workbench::workbench::Where;
use mimeo_workbench::{Change, Check, Command, Refusal, Toolbox, Workbench};

use crate::link::Link;
use crate::storage;

/// Something that is drawn without going through a signal: the mask, dab by dab.
type Painter = Rc<dyn Fn(&Workbench, Change)>;

/// The workbench, and what follows its changes.
#[derive(Clone, Copy)]
pub struct Bench {
    workbench: StoredValue<Workbench, LocalStorage>,
    painters: StoredValue<Vec<Painter>, LocalStorage>,
    keeping: StoredValue<Keeping, LocalStorage>,
    triggers: Triggers,
    /// Tool and brush.
    pub toolbox: RwSignal<Toolbox>,
    /// Why the last command was refused, and where to say it.
    pub refusal: RwSignal<Option<Refusal>>,
    /// What the job would take, once whoever trains answered.
    pub plan: RwSignal<Option<MemoryPlan>>,
    /// Why nothing of this page is kept; none while it is.
    pub unkept: RwSignal<Option<String>>,
}

/// One trigger for each part of the workbench.
#[derive(Clone, Copy)]
struct Triggers {
    pictures: Trigger,
    mask: Trigger,
    set: Trigger,
    settings: Trigger,
}

impl Bench {
    /// The bench as it was when the page was closed.
    pub fn new(restored: Restored) -> Self {
        let Restored { state, lost, newer } = restored;
        let lost = lost.map(|sentence| Refusal::new(Where::Pair, sentence));
        Self {
            workbench: StoredValue::new_local(Workbench::with_state(state)),
            painters: StoredValue::new_local(Vec::new()),
            keeping: StoredValue::new_local(Keeping::new(newer.clone())),
            triggers: Triggers {
                pictures: Trigger::new(),
                mask: Trigger::new(),
                set: Trigger::new(),
                settings: Trigger::new(),
            },
            toolbox: RwSignal::new(Toolbox::default()),
            refusal: RwSignal::new(lost),
            plan: RwSignal::new(None),
            unkept: RwSignal::new(newer),
        }
    }

    /// Does what the user wants; a refusal is said at its place.
    pub fn apply(self, command: Command) -> bool {
        let is_stroke = matches!(command, Command::ExtendStroke(_));
        let outcome = self
            .workbench
            .try_update_value(|workbench| workbench.apply(command));
        match outcome {
            Some(Ok(change)) => {
                if !is_stroke && self.refusal.with_untracked(Option::is_some) {
                    self.refusal.set(None);
                }
                self.follow(change);
                true
            }
            Some(Err(refusal)) => {
                self.refusal.set(Some(refusal));
                false
            }
            None => false,
        }
    }

    /// How prompts are read.
    pub fn prompt_syntax(self) -> PromptSyntax {
        self.with(|bench| bench.settings().recipe.prompt_syntax)
    }

    /// The same for what is drawn anew when it changes.
    pub fn prompt_syntax_signal(self) -> Signal<PromptSyntax> {
        Signal::derive(move || self.with_settings(|bench| bench.settings().recipe.prompt_syntax))
    }

    /// Does several things in a row.
    pub fn apply_all(self, commands: Vec<Command>) {
        for command in commands {
            self.apply(command);
        }
    }

    fn follow(self, change: Change) {
        if change.is_nothing() {
            return;
        }
        let painters = self.painters.get_value();
        self.workbench.with_value(|workbench| {
            for painter in &painters {
                painter(workbench, change);
            }
        });
        // While a stroke is under way, numbers and warnings wait: pixels first.
        if self.with(Workbench::is_painting) {
            return;
        }
        if change.pictures {
            self.triggers.pictures.notify();
        }
        if change.mask.is_some() || change.whole_mask {
            self.triggers.mask.notify();
        }
        if change.set {
            self.triggers.set.notify();
        }
        if change.settings {
            self.triggers.settings.notify();
        }
        let keeps = self.keeping.try_update_value(|keeping| keeping.add(change));
        if keeps == Some(true) {
            self.keep_soon();
        }
    }

    fn keep_soon(self) {
        storage::keep_soon(move |there| {
            let (settings, set) = (there.settings.as_deref(), there.set.as_deref());
            let parts = self
                .keeping
                .try_update_value(|keeping| keeping.take(settings, set))
                .unwrap_or_default();
            let unkept = self
                .keeping
                .with_value(|keeping| keeping.newer().map(str::to_owned));
            if unkept != self.unkept.get_untracked() {
                self.unkept.set(unkept);
            }
            self.with(|workbench| {
                let part = |part: &Part| (part.key().to_owned(), saved::part(workbench, *part));
                let mut written: Vec<_> = parts.iter().map(part).collect();
                if parts.contains(&Part::Set) {
                    written.extend(saved::files(workbench, &there.keys));
                }
                written
            })
        });
    }

    /// Keeps this page in the place of what a newer Mimeo kept.
    pub fn keep_all_the_same(self) {
        self.keeping.update_value(Keeping::give_up);
        self.unkept.set(None);
        self.keep_soon();
    }

    /// Draws with this whenever something changes, at once.
    pub fn paint_with(self, painter: impl Fn(&Workbench, Change) + 'static) {
        self.painters
            .update_value(|painters| painters.push(Rc::new(painter)));
    }

    /// Looks at the workbench, without following it.
    pub fn with<T>(self, look: impl FnOnce(&Workbench) -> T) -> T {
        self.workbench.with_value(look)
    }

    /// Looks at the workbench, and again when the pair changes.
    pub fn with_pictures<T>(self, look: impl FnOnce(&Workbench) -> T) -> T {
        self.triggers.pictures.track();
        self.with(look)
    }

    /// Looks at the workbench, and again when the mask changes.
    pub fn with_mask<T>(self, look: impl FnOnce(&Workbench) -> T) -> T {
        self.triggers.pictures.track();
        self.triggers.mask.track();
        self.with(look)
    }

    /// Looks at the workbench, and again when pairs come, go or change.
    pub fn with_set<T>(self, look: impl FnOnce(&Workbench) -> T) -> T {
        self.triggers.set.track();
        self.with_pictures(look)
    }

    /// Looks at the workbench, and again when recipe, name or base change.
    pub fn with_settings<T>(self, look: impl FnOnce(&Workbench) -> T) -> T {
        self.triggers.settings.track();
        self.with(look)
    }

    /// Looks at the workbench, and again when anything changes.
    pub fn with_all<T>(self, look: impl FnOnce(&Workbench) -> T) -> T {
        self.triggers.settings.track();
        self.triggers.set.track();
        self.with_mask(look)
    }

    /// The sentence of the last refusal, if it belongs here.
    pub fn refusal_at(self, is_here: impl Fn(Where) -> bool) -> Option<String> {
        self.refusal.with(|refusal| {
            let refusal = refusal.as_ref().filter(|refusal| is_here(refusal.place))?;
            Some(refusal.sentence.clone())
        })
    }

    /// What the preflight finds, now and after every change.
    pub fn verdicts(self, link: Link) -> [(Check, Verdict); 4] {
        self.with_facts(link, preflight::verdicts)
    }

    /// Whether only what is on its way is missing.
    pub fn only_waits(self, link: Link) -> bool {
        self.with_facts(link, preflight::only_waits)
    }

    /// The job, with its pictures.
    pub fn submission(self, link: Link) -> Result<Submission, Vec<Problem>> {
        self.with_facts(link, preflight::to_job)
    }

    fn with_facts<T>(
        self,
        link: Link,
        look: impl FnOnce(&Workbench, PreflightFacts<'_>) -> T,
    ) -> T {
        let line = link.line();
        let plan = self.plan.get();
        link.host.with(|host| {
            self.with_all(|workbench| {
                let (base, vae) = (&workbench.settings().base, &workbench.settings().vae);
                let facts = PreflightFacts {
                    line,
                    base: host.base(base),
                    vaes: &host.vaes,
                    copiers: &host.copiers,
                    way_back: link.way_back(base.as_str()),
                    vae_way_back: vae.as_ref().and_then(|vae| link.way_back(vae.as_str())),
                    plan: plan.as_ref(),
                };
                look(workbench, facts)
            })
        })
    }
}
