//! What a reload keeps: the workbench in IndexedDB, small choices in local storage.

use idb::{Database, DatabaseEvent as _, Factory, ObjectStoreParams, Query, TransactionMode};
use js_sys::Uint8Array;
use leptos::prelude::*;
use mimeo_workbench::Change;
use mimeo_workbench::saved::{self, Part, Restored};
use wasm_bindgen::{JsCast as _, JsValue};

use crate::bench::Bench;

const DATABASE: &str = "mimeo";
const STORE: &str = "bench";
/// Changes are kept once nothing changed for so long, ms.
const QUIET_MILLIS: i32 = 300;

thread_local! {
    /// What changed since it was kept last, and the timer that waits.
    static WAITING: std::cell::RefCell<(Change, Option<TimeoutHandle>)> =
        std::cell::RefCell::default();
}

/// Keeps what changed, once it is quiet.
pub fn keep_soon(bench: Bench, change: Change) {
    WAITING.with_borrow_mut(|(waiting, timer)| {
        *waiting = waiting.and(change);
        if let Some(timer) = timer.take() {
            timer.clear();
        }
        let quiet = std::time::Duration::from_millis(QUIET_MILLIS as u64);
        let keep_now = move || {
            let change = WAITING.with_borrow_mut(|(waiting, timer)| {
                *timer = None;
                std::mem::take(waiting)
            });
            leptos::task::spawn_local(async move {
                if let Err(error) = keep(bench, change).await {
                    leptos::logging::warn!("this page's state cannot be kept: {error}");
                }
            });
        };
        *timer = set_timeout_with_handle(keep_now, quiet).ok();
    });
}

async fn keep(bench: Bench, change: Change) -> Result<(), idb::Error> {
    let is_changed = |part| match part {
        Part::Original | Part::Target => change.pictures,
        Part::Mask => change.whole_mask || change.mask.is_some() || change.pictures,
        Part::Settings => change.settings || change.pictures,
    };
    let parts: Vec<_> = Part::ALL
        .into_iter()
        .filter(|part| is_changed(*part))
        .map(|part| (part, bench.with(|workbench| saved::part(workbench, part))))
        .collect();
    let database = open().await?;
    let transaction = database.transaction(&[STORE], TransactionMode::ReadWrite)?;
    let store = transaction.object_store(STORE)?;
    for (part, bytes) in parts {
        let key = JsValue::from_str(part.key());
        match bytes {
            Some(bytes) => {
                let value = Uint8Array::from(&bytes[..]);
                store.put(&value, Some(&key))?.await?;
            }
            None => store.delete(Query::Key(key))?.await?,
        }
    }
    transaction.commit()?.await?;
    database.close();
    Ok(())
}

/// The workbench as it was kept, and what of it is lost; an empty one where nothing can be read.
pub async fn restore() -> Restored {
    let mut parts = read().await.unwrap_or_default();
    saved::restore(|part| {
        let at = parts.iter().position(|(kept, _)| *kept == part)?;
        Some(parts.swap_remove(at).1)
    })
}

async fn read() -> Result<Vec<(Part, Vec<u8>)>, idb::Error> {
    let database = open().await?;
    let transaction = database.transaction(&[STORE], TransactionMode::ReadOnly)?;
    let store = transaction.object_store(STORE)?;
    let mut parts = Vec::new();
    for part in Part::ALL {
        let key = Query::Key(JsValue::from_str(part.key()));
        let value = store.get(key)?.await?;
        if let Some(bytes) = value.and_then(|value| value.dyn_into::<Uint8Array>().ok()) {
            parts.push((part, bytes.to_vec()));
        }
    }
    database.close();
    Ok(parts)
}

async fn open() -> Result<Database, idb::Error> {
    let mut request = Factory::new()?.open(DATABASE, Some(1))?;
    request.on_upgrade_needed(|event| {
        // Without its store the next step fails, and says so.
        if let Ok(database) = event.database() {
            _ = database.create_object_store(STORE, ObjectStoreParams::new());
        }
    });
    request.await
}

/// A small choice, as it was kept.
pub fn choice(key: &str) -> Option<String> {
    let storage = window().local_storage().ok().flatten()?;
    storage.get_item(key).ok().flatten()
}

/// Keeps a small choice.
pub fn keep_choice(key: &str, value: &str) {
    if let Ok(Some(storage)) = window().local_storage() {
        // A browser that keeps nothing still works.
        _ = storage.set_item(key, value);
    }
}
