//! Files of the trainer in this browser as addresses: a signal for each, which is empty until the
//! file is there. They stay until it trains elsewhere, whatever the trainer writes or removes
//! meanwhile: each is a copy, which the browser keeps.

use std::cell::RefCell;
use std::collections::BTreeMap;

use leptos::prelude::*;
use web_sys::Url;

use super::{Link, Status, worker};

/// Every file that was asked for.
#[derive(Default)]
pub struct Objects {
    all: RefCell<BTreeMap<(String, String), Object>>,
}

#[derive(Clone, Default)]
struct Object {
    url: ArcRwSignal<Option<String>>,
    is_asked: bool,
}

/// The address of a file, and again when it is there.
///
/// - `version`: what tells apart files that were at this path one after the other
pub fn url(link: Link, path: String, version: String) -> Option<String> {
    let key = (path, version);
    let wires = link.wires();
    let url = {
        let mut all = wires.objects.all.borrow_mut();
        all.entry(key.clone()).or_default().url.clone()
    };
    if link
        .status
        .with_untracked(|status| *status == Status::Connected)
    {
        ask(link, key);
    }
    url.get()
}

/// Asks for everything that is missing: the worker is there (again).
pub fn ask_for_missing(link: Link) {
    let wires = link.wires();
    let keys: Vec<_> = {
        let mut all = wires.objects.all.borrow_mut();
        // What the last worker was asked for, the next one does not know of.
        all.values_mut().for_each(|object| object.is_asked = false);
        all.keys().cloned().collect()
    };
    for key in keys {
        ask(link, key);
    }
}

fn ask(link: Link, key: (String, String)) {
    let wires = link.wires();
    let url = {
        let mut all = wires.objects.all.borrow_mut();
        let Some(object) = all.get_mut(&key) else {
            return;
        };
        if object.is_asked || object.url.with_untracked(Option::is_some) {
            return;
        }
        object.is_asked = true;
        object.url.clone()
    };
    leptos::task::spawn_local(async move {
        // A file that is gone has no address; what shows it says so by its other text.
        if let Ok(file) = worker::get(link, &key.0).await {
            url.set(Url::create_object_url_with_blob(&file).ok());
        }
    });
}

/// Lets go of everything: it trains elsewhere now.
pub fn forget(link: Link) {
    let all = link.wires().objects.all.take();
    for object in all.into_values() {
        if let Some(url) = object.url.get_untracked() {
            // Fails for what is no address.
            _ = Url::revoke_object_url(&url);
        }
    }
}
