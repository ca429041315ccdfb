//! What a reload keeps: the workbench and the bases that were picked from disk in IndexedDB, small
//! choices in local storage.

pub mod bases;

use std::collections::BTreeMap;

use idb::{
    Database, DatabaseEvent as _, Factory, ObjectStore, ObjectStoreParams, Query, TransactionMode,
};
use js_sys::Uint8Array;
use leptos::prelude::*;
use mimeo_workbench::saved::{self, Part, Restored};
use wasm_bindgen::{JsCast as _, JsValue};

const DATABASE: &str = "mimeo";
const STORE: &str = "bench";
/// Changes are kept once nothing changed for so long, ms.
const QUIET_MILLIS: u64 = 300;

/// What to write under which key; none for what is not there any more.
pub type Parts = Vec<(String, Option<Vec<u8>>)>;

/// What is kept at the moment that something takes its place.
pub struct There {
    /// The settings.
    pub settings: Option<Vec<u8>>,
    /// The list of pairs.
    pub set: Option<Vec<u8>>,
    /// Every key.
    pub keys: Vec<String>,
}

thread_local! {
    /// Until it is quiet.
    static TIMER: std::cell::Cell<Option<TimeoutHandle>> = const { std::cell::Cell::new(None) };
}

/// Keeps what changed, once it is quiet.
///
/// - `parts`: what to write in the place of what is there
pub fn keep_soon(parts: impl FnOnce(&There) -> Parts + 'static) {
    let quiet = std::time::Duration::from_millis(QUIET_MILLIS);
    let keep_now = move || {
        TIMER.take();
        leptos::task::spawn_local(async move {
            if let Err(error) = keep(parts).await {
                leptos::logging::warn!("this page's state cannot be kept: {error}");
            }
        });
    };
    let timer = set_timeout_with_handle(keep_now, quiet).ok();
    if let Some(earlier) = TIMER.replace(timer) {
        earlier.clear();
    }
}

async fn keep(parts: impl FnOnce(&There) -> Parts) -> Result<(), idb::Error> {
    let database = open().await?;
    let transaction = database.transaction(&[STORE], TransactionMode::ReadWrite)?;
    let store = transaction.object_store(STORE)?;
    // In the same transaction: no other tab writes between the look and the deed.
    let there = There {
        settings: kept(&store, Part::Settings.key()).await?,
        set: kept(&store, Part::Set.key()).await?,
        keys: keys(&store).await?,
    };
    for (key, bytes) in parts(&there) {
        let key = JsValue::from_str(&key);
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
    let kept = read().await.unwrap_or_default();
    saved::restore(|key| kept.get(key).cloned())
}

async fn read() -> Result<BTreeMap<String, Vec<u8>>, idb::Error> {
    let database = open().await?;
    let transaction = database.transaction(&[STORE], TransactionMode::ReadOnly)?;
    let store = transaction.object_store(STORE)?;
    let mut parts = BTreeMap::new();
    for key in keys(&store).await? {
        if let Some(bytes) = kept(&store, &key).await? {
            parts.insert(key, bytes);
        }
    }
    database.close();
    Ok(parts)
}

async fn keys(store: &ObjectStore) -> Result<Vec<String>, idb::Error> {
    let keys = store.get_all_keys(None, None)?.await?;
    Ok(keys.iter().filter_map(JsValue::as_string).collect())
}

async fn kept(store: &ObjectStore, key: &str) -> Result<Option<Vec<u8>>, idb::Error> {
    let key = Query::Key(JsValue::from_str(key));
    let value = store.get(key)?.await?;
    let bytes = value.and_then(|value| value.dyn_into::<Uint8Array>().ok());
    Ok(bytes.map(|bytes| bytes.to_vec()))
}

async fn open() -> Result<Database, idb::Error> {
    open_with(DATABASE, STORE).await
}

/// Opens a database of one store.
async fn open_with(database: &str, store: &'static str) -> Result<Database, idb::Error> {
    let mut request = Factory::new()?.open(database, Some(1))?;
    request.on_upgrade_needed(move |event| {
        // Without its store the next step fails, and says so.
        if let Ok(database) = event.database() {
            _ = database.create_object_store(store, ObjectStoreParams::new());
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
