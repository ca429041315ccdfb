//! Files of the trainer in this browser as addresses: a signal for each, which is empty until the
//! file is there. They stay until it trains elsewhere, whatever the trainer writes or removes
//! meanwhile: each is a copy, which the browser keeps.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use leptos::prelude::*;
use web_sys::Url;

use super::worker::TrainerWorker;

/// Path, and what tells apart files that were at this path one after the other.
type Key = (String, String);

/// Every file that was asked for.
#[derive(Default)]
pub struct Objects {
    all: RefCell<BTreeMap<Key, Object>>,
}

#[derive(Clone, Default)]
struct Object {
    url: ArcRwSignal<Option<String>>,
    is_asked: bool,
}

impl Objects {
    /// The address of a file, and again when it is there.
    ///
    /// - `trainer`: who has it; none while nobody answers
    pub fn url(
        &self,
        path: String,
        version: String,
        trainer: Option<&Rc<TrainerWorker>>,
    ) -> Option<String> {
        let key = (path, version);
        let url = {
            let mut all = self.all.borrow_mut();
            let object = all.entry(key.clone()).or_default();
            if let Some(trainer) = trainer {
                object.ask(&key.0, trainer);
            }
            object.url.clone()
        };
        url.get()
    }

    /// Asks for everything that is missing: the worker is there (again).
    pub fn ask_for_missing(&self, trainer: &Rc<TrainerWorker>) {
        for (key, object) in self.all.borrow_mut().iter_mut() {
            // What the last worker was asked for, the next one does not know of.
            object.is_asked = false;
            object.ask(&key.0, trainer);
        }
    }

    /// Lets go of everything: it trains elsewhere now.
    pub fn forget(&self) {
        for object in self.all.take().into_values() {
            if let Some(url) = object.url.get_untracked() {
                // Fails for what is no address.
                _ = Url::revoke_object_url(&url);
            }
        }
    }
}

impl Object {
    fn ask(&mut self, path: &str, trainer: &Rc<TrainerWorker>) {
        if self.is_asked || self.url.with_untracked(Option::is_some) {
            return;
        }
        self.is_asked = true;
        let (url, path, trainer) = (self.url.clone(), path.to_owned(), Rc::clone(trainer));
        leptos::task::spawn_local(async move {
            // A file that is gone has no address; what shows it says so by its other text.
            if let Ok(file) = trainer.get(&path).await {
                url.set(Url::create_object_url_with_blob(&file).ok());
            }
        });
    }
}
