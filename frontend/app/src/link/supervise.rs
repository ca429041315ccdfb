//! What happens on the line is reported to the supervisor, and what it decides is done.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::{AbortHandle, Abortable};
use gloo_timers::future::TimeoutFuture;
use leptos::prelude::*;
use mimeo_workbench::Runs;
use mimeo_workbench::backend::{Arrival, Backend};
use mimeo_workbench::link::{Effect, Event, Host, Supervisor};

use super::{Link, WISH, adapter};
use crate::storage;

impl Link {
    /// Tells the supervisor what happened, and does what it says.
    pub(super) fn report(self, event: Event) {
        let wires = self.wires();
        let effects = wires.supervisor.borrow_mut().on(event);
        for effect in effects {
            self.carry_out(effect);
        }
        self.show(&wires.supervisor.borrow());
    }

    /// A page that is looked at again, or a network that is back, does not wait out its pause.
    pub(super) fn report_when_seen(self) {
        for event in ["online", "pageshow", "focus"] {
            let seen = move |_| self.report(Event::Seen);
            // For as long as the page is open.
            std::mem::forget(window_event_listener_untyped(event, seen));
        }
    }

    /// Nothing of this reports anything at once: the supervisor has said all it wants by then.
    fn carry_out(self, effect: Effect) {
        let wires = self.wires();
        match effect {
            Effect::Keep(wish) => storage::keep_choice(WISH, wish.name()),
            Effect::AskForGpu => leptos::task::spawn_local(async move {
                self.report(Event::Gpu(adapter::probe().await));
            }),
            Effect::Forget => self.forget(),
            Effect::Connect(place) => self.connect(place),
            Effect::HangUp => self.hang_up(),
            Effect::TakeOver => {
                if let Some(trainer) = self.trainer() {
                    trainer.take_over();
                }
            }
            Effect::Wait => {
                let second = move || self.report(Event::Second);
                let timer = set_timeout_with_handle(second, Duration::from_secs(1)).ok();
                if let Some(earlier) = wires.timer.replace(timer) {
                    earlier.clear();
                }
            }
        }
    }

    fn connect(self, place: Backend) {
        let (line, hung_up) = AbortHandle::new_pair();
        self.wires().line.replace(Some(line.clone()));
        leptos::task::spawn_local(async move {
            let talk = Abortable::new(Box::pin(self.talk(place, line)), hung_up);
            if let Ok(end) = talk.await {
                self.report(Event::Ended(end));
            }
        });
    }

    fn hang_up(self) {
        let wires = self.wires();
        if let Some(line) = wires.line.take() {
            line.abort();
        }
        wires.requests.end(self.gone());
        if let Some(trainer) = wires.trainer.take() {
            trainer.end();
        }
        self.arrival.set(Arrival::default());
    }

    fn forget(self) {
        self.runs.set(Runs::default());
        self.host.set(Host::default());
        self.pending.set(Vec::new());
        self.refusals.set(BTreeMap::new());
        self.wires().objects.forget();
        leptos::task::spawn_local(async move {
            // What the page still shows of the old place must not be asked for at the new one.
            TimeoutFuture::new(0).await;
            self.report(Event::Forgotten);
        });
    }

    fn show(self, supervisor: &Supervisor) {
        set(self.status, supervisor.status());
        set(self.wish, &supervisor.wish());
        set(self.facts, supervisor.facts());
        set(self.place, &supervisor.place());
        set(self.reason, supervisor.reason());
    }
}

/// Only what is new is drawn anew.
fn set<T, U>(signal: RwSignal<T>, now: &U)
where
    T: Borrow<U> + Send + Sync + 'static,
    U: ToOwned<Owned = T> + PartialEq + ?Sized,
{
    if signal.with_untracked(|shown| shown.borrow() != now) {
        signal.set(now.to_owned());
    }
}
